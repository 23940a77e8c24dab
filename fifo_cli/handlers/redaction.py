"""Secrets are kept out of every text that is logged, printed or stored with a message.

An API may send a key back in its answer, in any encoding. So a text is handled in two steps. What stands in
it as it is, whole or in part, or whole in a usual spelling, becomes ``***``. Then the rest is decoded in
every usual way, one within another. If a part of a secret comes out, nobody can say for certain what else is
in the text: all of it is withheld.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import html
import json
import logging
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

WITHHELD: Final = "(text withheld: it may hold a key)"
_HIDDEN: Final = "***"
# Shorter values would hide ordinary words; `keys set` refuses them, and the worker and `drain` warn of them.
SECRET_MIN: Final = 4
# So many characters in a row of a secret are a part of it; fewer are found in ordinary text.
_PART: Final = 7
# A secret up to this length is hidden only where it stands alone: the key "test" is not in "contest".
_WORD_MAX: Final = 7
# A reason has a few hundred characters. More is not searched, so more is not shown.
_TEXT_MAX: Final = 4_000
_LAYERS: Final = 7

_BLANK: Final = re.compile(rb"[\s\0]+")
_BLANK_OR_PLUS: Final = re.compile(rb"[\s\0+]+")  # a form writes a space as +
_ESCAPE: Final = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}"
    rb"|U00([0-9a-fA-F]{6})|x([0-9a-fA-F]{2})|([0-3][0-7]{2})|(.))",
    re.DOTALL,
)
_CONTROLS: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_PERCENT: Final = re.compile(rb"%([0-9a-fA-F]{2})")
_QUOTED_PRINTABLE: Final = re.compile(rb"=([0-9A-F]{2})|=\r?\n")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{10,}")
_HEX_GAP: Final = re.compile(rb"\\x|0x|[\s\0:,-]+")
_HEX: Final = re.compile(rb"[0-9a-fA-F]{14,}")

# What these log may hold a decrypted parameter, a header or a URL, at DEBUG a whole answer.
_LIBRARIES: Final = frozenset({"boto3", "botocore", "httpcore", "httpx", "urllib3"})


class Redactor:
    """Hides the values that were added to it; a call returns the text that may be shown."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._parts: frozenset[str] = frozenset()
        self._spellings: re.Pattern[str] | None = None
        self._words: re.Pattern[str] | None = None
        self._encoded_parts: frozenset[bytes] = frozenset()
        self._encoded_words: re.Pattern[bytes] | None = None

    def add(self, value: str) -> None:
        """Hide ``value`` from now on; a value of less than four characters cannot be hidden."""
        if len(value) < SECRET_MIN or value in self._values:
            return
        self._values |= {value}
        if len(value) > _WORD_MAX:
            spellings = {form for one in self._values if len(one) > _WORD_MAX for form in _spellings(one)}
            self._spellings = _any_of(spellings)
            self._parts |= {_folded(part) for part in _windows(value)}
            raw = value.encode("utf-8", "surrogatepass")
            with contextlib.suppress(UnicodeEncodeError):
                self._encoded_parts |= {part.lower() for part in _windows(value.encode("latin-1"))}
            forms = {raw, _BLANK.sub(b"", raw), _BLANK_OR_PLUS.sub(b"", raw)}
            self._encoded_parts |= {part.lower() for form in forms for part in _windows(form)}
        else:
            words = _any_of(one for one in self._values if len(one) <= _WORD_MAX).pattern
            self._words = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", re.IGNORECASE)
            encoded = self._words.pattern.encode("utf-8", "surrogatepass")
            self._encoded_words = re.compile(encoded, re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """Return ``text`` with the secrets hidden, or :data:`WITHHELD`."""
        if not self._values:
            return text
        if len(text) > _TEXT_MAX:
            text = text[:_TEXT_MAX] + "…"
        masked = self._masked(text)
        if any(self._is_in(layer) for layer in _layers(masked.encode("utf-8", "surrogatepass"))):
            return WITHHELD
        return masked

    def _masked(self, text: str) -> str:
        """Put ``***`` for secrets and their parts that stand as they are, and for usual spellings."""
        for pattern in (self._spellings, self._words):
            if pattern is not None:
                text = pattern.sub(_HIDDEN, text)
        folded = _folded(text)
        spans: list[list[int]] = []
        for start in range(len(folded) - _PART + 1):
            if folded[start : start + _PART] in self._parts:
                if spans and start <= spans[-1][1]:
                    spans[-1][1] = start + _PART
                else:
                    spans.append([start, start + _PART])
        pieces, shown = [], 0
        for start, end in spans:
            pieces += [text[shown:start], _HIDDEN]
            shown = end
        return "".join([*pieces, text[shown:]])

    def _is_in(self, layer: bytes) -> bool:
        """Say whether a part of a secret stands in ``layer``, perhaps over several lines."""
        for form in {layer, _BLANK.sub(b"", layer), _BLANK_OR_PLUS.sub(b"", layer)}:
            folded = form.lower()
            if any(folded[at : at + _PART] in self._encoded_parts for at in range(len(folded) - _PART + 1)):
                return True
        return self._encoded_words is not None and self._encoded_words.search(layer) is not None


def guard_library_logs(redact: Callable[[str], str]) -> None:
    """Redact what AWS's and the HTTP client's libraries log, at any level, with any handlers.

    Their debug text, which may hold whole answers of Parameter Store, is left out.
    """
    make = logging.getLogRecordFactory()
    make = getattr(make, "unguarded", make)

    def guarded(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if record.name.partition(".")[0] in _LIBRARIES:
            is_debug = record.levelno <= logging.DEBUG
            record.msg = WITHHELD if is_debug else redact(record.getMessage())
            record.args, record.exc_info, record.exc_text = (), None, None
        return record

    guarded.unguarded = make  # type: ignore[attr-defined]
    logging.setLogRecordFactory(guarded)


def _spellings(value: str) -> set[str]:
    """Return a secret as JSON, URLs, HTML, Python and base64 spell it."""
    raw = value.encode("utf-8", "surrogatepass")
    return {
        value,
        html.escape(value),
        repr(value)[1:-1],
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        urllib.parse.quote(raw),
        urllib.parse.quote(raw, safe=""),
        urllib.parse.quote_plus(raw),
    }


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Match any of ``texts``, the longest first, in upper or lower case."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))), re.IGNORECASE)


def _folded(text: str) -> str:
    """Return ``text`` in lower case, its length kept."""
    return text.lower() if text.isascii() else "".join(_fold(char) for char in text)


def _fold(char: str) -> str:
    return char.lower() if len(char.lower()) == 1 else char


def _windows(value: Any) -> Iterator[Any]:
    return (value[at : at + _PART] for at in range(len(value) - _PART + 1))


def _layers(text: bytes) -> set[bytes]:
    """Return ``text`` and all that comes out when it is decoded, layer by layer."""
    found, newest = {text}, {text}
    for _ in range(_LAYERS):
        # An encoded text may be wrapped in the middle of an escape.
        forms = newest | {_BLANK.sub(b"", outer) for outer in newest}
        newest = {inner for form in forms for inner in _decoded(form) if len(inner) >= SECRET_MIN} - found
        found |= newest
    return found


def _decoded(text: bytes) -> Iterator[bytes]:
    """Decode ``text`` in every usual way; where it begins or ends in the middle, too."""
    if b"\\" in text:
        yield _ESCAPE.sub(_unescaped, text)
        yield _ESCAPE.sub(lambda match: _unescaped(match, to_bytes=False), text)
    if b"%" in text:
        yield _PERCENT.sub(_byte, text)
    if b"&" in text:
        yield html.unescape(text.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if b"=" in text:
        yield _QUOTED_PRINTABLE.sub(_byte, text)
    runs = _BASE64.findall(_BLANK.sub(b"", text).translate(bytes.maketrans(b"-_", b"+/")))
    for offset in range(4 if runs else 0):
        yield b"\n".join(_base64(run[offset:]) for run in runs)
    runs = _HEX.findall(_HEX_GAP.sub(b"", text))
    for offset in range(2 if runs else 0):
        yield b"\n".join(binascii.unhexlify(run[offset : len(run) - (len(run) - offset) % 2]) for run in runs)


def _unescaped(match: re.Match[bytes], *, to_bytes: bool = True) -> bytes:
    r"""Return what an escape means; \xXX and octal mean a byte in C and nginx, a character in Python."""
    high, low, four, braced, eight, byte, octal, other = match.groups()
    if high:
        point = 0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00
    elif code := four or braced or eight:
        point = int(code, 16)
    elif byte or octal:
        point = int(byte, 16) if byte else int(octal, 8)
        if to_bytes:
            return bytes([point])
    else:
        return _CONTROLS.get(other, other)
    return chr(point).encode("utf-8", "surrogatepass") if point <= sys.maxunicode else match[0]


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)]) if match[1] else b""


def _base64(run: bytes) -> bytes:
    """Decode a run; of four characters at its end that are not all there, the bytes that are."""
    whole, rest = run[: len(run) // 4 * 4], len(run) % 4
    end = run[len(whole) :] + b"=" * (4 - rest) if rest > 1 else b""
    return base64.b64decode(whole + end)
