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
import re
import sys
import threading
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

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
# Two pieces of a long text share a secret only if it is in so much of both; see `long`.
_SEAM: Final = 500
_LAYERS: Final = 7
# What comes out of a text that was made to be decoded in many ways may be endless: bytes in all.
_DECODED_MAX: Final = 1_000_000
# An outage answers every message with the same page.
_KNOWN_MAX: Final = 100
# Of what is made for each call: more than 64 threads have in hand, and a few tokens (characters).
_MADE_MAX: Final = 20_000
_WAITING_MAX: Final = 200
# The readable parts of a JSON Web Token (RFC 7519): what follows is its signature.
_SIGNED: Final = re.compile(r"\AeyJ[\w-]*\.[\w-]*\.")
# PEM (RFC 7468): the words in its frame, and what it holds.
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,60})-----(.*?)-----END [A-Z0-9 ]{1,60}-----", re.DOTALL)

_BLANK: Final = re.compile(rb"[\s\0]+")
_BLANK_OR_PLUS: Final = re.compile(rb"[\s\0+]+")  # a form writes a space as +
# What may come between the characters of a text: a class of a pattern.
_GAP: Final = rb"\s\0\"',.;|\[\]"
_SPREAD: Final = re.compile(rb"[%b]+" % _GAP)
# A text so spread: eight pieces or more, each a character (in UTF-8, or escaped), or a few of them.
_SPREAD_RUN: Final = re.compile(
    rb"[\"']?(?:(?:\\u[0-9a-fA-F]{4}|[^%b]{1,4})[%b\\]{1,20}){8,}[^%b]{,4}" % (_GAP, _GAP, _GAP)
)
# A character of a list, as JSON and as Python write it, perhaps escaped.
_QUOTED: Final = tuple(
    re.compile(rb"%b(\\.[0-9a-fA-F]{0,4}|[^%b\\]{1,4})%b" % (quote, quote, quote), re.DOTALL)
    for quote in (b'"', b"'")
)
_NO_LETTER: Final = re.compile(rb"[^A-Za-z0-9]+")
_ESCAPE: Final = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}"
    rb"|U00([0-9a-fA-F]{6})|x([0-9a-fA-F]{2})|([0-3][0-7]{2})|(.))",
    re.DOTALL,
)
_CONTROLS: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
# With u: JavaScript's escape(), and IIS.
_PERCENT: Final = re.compile(rb"%(?:([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))")
_PAIR: Final = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
_QUOTED_PRINTABLE: Final = re.compile(rb"=([0-9a-fA-F]{2})|=\r?\n")
# Units of 16 bits in base64; what has another length was cut off, or is not UTF-7.
_UTF7: Final = re.compile(
    rb"\+((?:[A-Za-z0-9+/]{8})*(?:[A-Za-z0-9+/]{3}){0,2})(?:-|(?![A-Za-z0-9+/]))|\+[A-Za-z0-9+/]+\Z"
)
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{10,}")
_HEX_TO_BASE32: Final = bytes.maketrans(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUV", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)
# Both alphabets of RFC 4648, sections 6 and 7: runs in upper and lower case, and what makes the first of it.
_BASE32: Final = (
    (re.compile(rb"[A-Z2-7]{12,}"), re.compile(rb"[a-z2-7]{12,}"), None),
    (re.compile(rb"[0-9A-V]{12,}"), re.compile(rb"[0-9a-v]{12,}"), _HEX_TO_BASE32),
)
# What colours a page or a terminal.
_MARKUP: Final = re.compile(rb"<[^<>]{0,200}>|\x1b\[[0-9;]*[A-Za-z]")
_DECIMAL: Final = re.compile(rb"(?<!\d)-?\d{1,3}(?!\d)")
_HEX_GAP: Final = re.compile(rb"\\x|0x|U\+|[^0-9A-Za-z]+")
_PACKED: Final = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")  # gzip, zlib
_UNPACKED_MAX: Final = 65_536
_HEX: Final = re.compile(rb"[0-9a-fA-F]{14,}")


class _Traces:
    """What values leave in a text: pieces of their characters, and of the bytes that they may be."""

    def __init__(self) -> None:
        self.values: set[str] = set()
        self.size = 0  # characters in all
        self.parts: set[str] = set()
        self.encoded_parts: set[tuple[int, ...]] = set()

    def add(self, value: str, forms: Iterable[bytes]) -> None:
        self.size += len(value)
        self.parts |= {_folded(part) for part in _windows(value)}
        pieces = {part for form in forms for part in _byte_windows(form)}
        self.encoded_parts |= pieces - {(0,) * _PART, (32,) * _PART}
        self.values.add(value)


class Redactor:
    """Hides the values that were added to it; a call returns the text that may be shown.

    Of what was made of them, for a call or for an hour, only the latest is hidden: all would be too much.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of changes
        self._values: frozenset[str] = frozenset()
        self._known: dict[str, str] = {}
        self._spellings: re.Pattern[str] | None = None
        self._words: re.Pattern[str] | None = None
        self._encoded_words: re.Pattern[bytes] | None = None
        # The values', then what was made of them: the latest, and what was the latest before.
        self._traces = (_Traces(), _Traces(), _Traces())
        self._waiting: dict[str, bool] = {}

    def add(self, value: str) -> None:
        """Hide ``value`` from now on; a value of less than four characters cannot be hidden.

        A value that is JSON has fields, and they are hidden too. The lines that frame PEM are not: they have
        ordinary words.
        """
        found = {one for text in (value, *_texts_in(value)) for one in _without_frames(text)}
        with self._lock:
            added = {
                (one, public) for one, public in found if len(one) >= SECRET_MIN and one not in self._values
            }
            if not added:
                return
            self._values |= {one for one, _ in added}
            if words := [one for one in self._values if len(one) <= _WORD_MAX]:
                pattern = rf"(?<![A-Za-z0-9])(?:{_any_of(words).pattern})(?![A-Za-z0-9])"
                self._words = re.compile(pattern, re.IGNORECASE)
                self._encoded_words = re.compile(pattern.encode("utf-8", "surrogatepass"), re.IGNORECASE)
            if long := [one for one in self._values if len(one) > _WORD_MAX]:
                self._spellings = _any_of({form for one in long for form in _spellings(one)})
            for one, public in added:
                if len(one) > _WORD_MAX:
                    self._traces[0].add(one, [_raw(one)] if public else _meanings(one))
            self._known = {}  # last: what another thread redacts meanwhile is kept in the old one

    def add_made(self, value: str, *, readable: bool = False) -> None:
        """Hide a text that was made of the values, such as a token or a signature, for some time.

        ``readable``: decoded, it has words that may be shown. It is looked at when a text is to be redacted.
        """
        if value not in self._traces[1].values:
            with self._lock:
                self._waiting[value] = readable
                if len(self._waiting) > _WAITING_MAX:
                    del self._waiting[next(iter(self._waiting))]

    def _take_made(self) -> None:
        with self._lock:
            values, latest, before = self._traces
            for value, readable in self._waiting.items():
                if latest.size > _MADE_MAX:
                    latest, before = _Traces(), latest
                latest.add(
                    value,
                    _meanings(_SIGNED.sub("", value)) | {_raw(value)} if not readable else [_raw(value)],
                )
            self._traces, self._waiting, self._known = (values, latest, before), {}, {}

    def __call__(self, text: str) -> str:
        """Return the beginning of ``text`` with the secrets hidden, or :data:`WITHHELD`."""
        return self._redacted(text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + "…")

    def long(self, text: str) -> str:
        """Return all of ``text``, such as a line that the user's code logs, with the secrets hidden."""
        if len(text) <= _TEXT_MAX or not self._hides():
            return self._redacted(text)
        pieces = [text[at : at + _TEXT_MAX] for at in range(0, len(text), _TEXT_MAX)]
        shown = [self._redacted(piece) for piece in pieces]
        for at, (left, right) in enumerate(pairwise(pieces)):
            seam = left[-_SEAM:] + right[:_SEAM]
            if self._redacted(seam) != seam:
                shown[at] = shown[at + 1] = WITHHELD
        return "".join(shown)

    def _hides(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._values or self._waiting or self._traces[1].values)

    def _redacted(self, text: str) -> str:
        if not self._hides():
            return text
        if self._waiting:
            self._take_made()
        known = self._known
        if (shown := known.get(text)) is None:
            masked = self._masked(text)
            shown = WITHHELD if self._holds_more(masked.encode("utf-8", "surrogatepass")) else masked
            if len(known) >= _KNOWN_MAX:
                known.clear()
            known[text] = shown
        return shown

    def _holds_more(self, text: bytes) -> bool:
        """Decode ``text`` layer by layer: True if a part of a secret comes out, or too much to look at."""
        found, newest, size = {text}, {text}, 0
        for _ in range(_LAYERS):
            if any(map(self._is_in, newest)):
                return True
            forms = newest.union(*map(_joined, newest))
            newest = {inner for form in forms for inner in _decoded(form) if len(inner) >= SECRET_MIN} - found
            found |= newest
            size += sum(map(len, newest))
            if size > _DECODED_MAX:
                return True
        return any(map(self._is_in, newest))

    def _masked(self, text: str) -> str:
        """Put ``***`` for secrets and their parts that stand as they are, and for usual spellings."""
        for pattern in (self._spellings, self._words):
            if pattern is not None:
                text = pattern.sub(_HIDDEN, text)
        folded = _folded(text)
        parts = [traces.parts for traces in self._traces if traces.parts]
        pieces: list[str] = []
        end = 0  # of what was hidden last
        for start, window in enumerate(_windows(folded)):
            if any(window in some for some in parts):
                if start > end or not pieces:
                    pieces += [text[end:start], _HIDDEN]
                end = start + _PART
        return "".join([*pieces, text[end:]])

    def _is_in(self, layer: bytes) -> bool:
        """Say whether a part of a secret is in ``layer``, perhaps with something between its characters."""
        parts = [traces.encoded_parts for traces in self._traces if traces.encoded_parts]
        for form in _forms(layer):
            if not all(some.isdisjoint(_byte_windows(form)) for some in parts):
                return True
        return self._encoded_words is not None and self._encoded_words.search(layer) is not None


def _raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _meanings(value: str) -> set[bytes]:
    """Return the bytes that a secret may be, as text and decoded: a PEM file is shown in hexadecimal, say."""
    forms = _forms(_raw(value))
    forms |= {inner for form in forms for inner in _decoded(form)}
    if not value.isascii():  # of other text, _BLANK makes UTF-16 ASCII
        forms |= {value.encode(name, "surrogatepass") for name in ("utf-16-le", "utf-16-be")}
    with contextlib.suppress(UnicodeEncodeError):
        forms.add(value.encode("latin-1"))
    return forms


def _spellings(value: str) -> set[str]:
    """Return a secret as JSON, URLs, HTML, Python and base64 spell it."""
    raw = _raw(value)
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


def _windows(text: str) -> Iterator[str]:
    return (text[at : at + _PART] for at in range(len(text) - _PART + 1))


def _byte_windows(data: bytes) -> Iterator[tuple[int, ...]]:
    """Return all pieces of seven bytes, in lower case."""
    folded = data.lower()
    return zip(*(folded[at:] for at in range(_PART)), strict=False)


def _forms(layer: bytes) -> set[bytes]:
    """Return ``layer``, and what is left of it without what may have come between the characters."""
    return {layer, *(gap.sub(b"", layer) for gap in (_BLANK, _BLANK_OR_PLUS, _SPREAD, _MARKUP, _NO_LETTER))}


def _joined(text: bytes) -> Iterator[bytes]:
    """Join what may be one encoded text: wrapped in lines, also in the middle of an escape, or spread."""
    yield _BLANK.sub(b"", text)
    for match in _SPREAD_RUN.finditer(text):
        run = match[0]
        yield _SPREAD.sub(b"", run)
        # Such characters may be a part of what is spread: a list of bytes would be one long number.
        yield from (b"".join(quoted.findall(run)) for quoted in _QUOTED)
        yield from (run[start::step] for step in (2, 3) for start in range(step))


def _decoded(text: bytes) -> Iterator[bytes]:
    """Decode ``text`` in every usual way; where it begins or ends in the middle, too.

    What is missing at the beginning of a run is filled up, so that every byte that is all there comes out.
    """
    yield from _unescaped_forms(text)
    blankless = _BLANK.sub(b"", text)
    runs = _BASE64.findall(blankless.translate(bytes.maketrans(b"-_", b"+/")))
    for missing in range(4 if runs else 0):
        yield b"\n".join(_base64(b"A" * missing + run) for run in runs)
    runs = _HEX.findall(_HEX_GAP.sub(b"", text))
    for offset in range(2 if runs else 0):
        yield b"\n".join(binascii.unhexlify(run[offset : len(run) - (len(run) - offset) % 2]) for run in runs)
    if packed := _PACKED.search(text):
        with contextlib.suppress(zlib.error):
            yield zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(
                text[packed.start() :], _UNPACKED_MAX
            )
    # Ordinary words are not joined to one: lower case only where it stands in one piece.
    for upper, lower, to_base32 in _BASE32:
        runs = [*upper.findall(blankless), *lower.findall(text)]
        for missing in range(8 if runs else 0):
            yield b"\n".join(_base32(b"A" * missing + run.upper().translate(to_base32)) for run in runs)


def _unescaped_forms(text: bytes) -> Iterator[bytes]:
    """Undo what spells characters one by one."""
    if b"\\" in text:
        yield _ESCAPE.sub(_unescaped, text)
        yield _ESCAPE.sub(lambda match: _unescaped(match, to_bytes=False), text)
    if b"%" in text:
        yield _PAIR.sub(_one_character, _PERCENT.sub(_percent, text))
    if b"&" in text:
        yield html.unescape(text.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if b"=" in text:
        yield _QUOTED_PRINTABLE.sub(_byte, text)
    if b"+" in text:
        yield _UTF7.sub(_utf7, text)
    # A list of bytes as Java and Python print it, JavaScript's Buffer, and its arrays, with numbered bytes.
    numbers = bytes(int(one) & 0xFF for one in _DECIMAL.findall(text))
    yield from (numbers, numbers[::2], numbers[1::2])


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


def _percent(match: re.Match[bytes]) -> bytes:
    return _byte(match) if match[1] else chr(int(match[2], 16)).encode("utf-8", "surrogatepass")


def _one_character(match: re.Match[bytes]) -> bytes:
    """Return the character that two halves of UTF-16 mean, each of which stood for itself."""
    halves = match[0].decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
    return halves.decode("utf-16-le").encode()


def _utf7(match: re.Match[bytes]) -> bytes:
    units = _base64(match[1]) if match[1] else b"\0+"
    return units[: len(units) // 2 * 2].decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _base64(run: bytes) -> bytes:
    """Decode a run; of four characters at its end that are not all there, the bytes that are."""
    whole, rest = run[: len(run) // 4 * 4], len(run) % 4
    end = run[len(whole) :] + b"=" * (4 - rest) if rest > 1 else b""
    return base64.b64decode(whole + end)


def _base32(run: bytes) -> bytes:
    """Decode a run; of eight characters at its end that are not all there, the bytes that are."""
    rest = len(run) % 8
    run = run[:-1] if rest in (1, 3, 6) else run  # five bits a character: these make no whole byte
    return base64.b32decode(run + b"=" * (-len(run) % 8))


def _without_frames(value: str) -> Iterator[tuple[str, bool]]:
    """Yield what is secret of a value, and whether that is public once it is decoded, as certificates are."""
    for kind, block in _PEM.findall(value):
        yield block.strip(), "PRIVATE KEY" not in kind
    rest = _PEM.sub("", value)
    if rest.strip() or rest == value:
        yield (rest if rest == value else rest.strip()), False


def _texts_in(value: str) -> Iterator[str]:
    """Return the texts in a value that is a JSON object or list."""
    if value.lstrip()[:1] not in ("{", "["):
        return
    with contextlib.suppress(ValueError, RecursionError):
        left = [json.loads(value)]
        while left:
            match left.pop():
                case str() as text:
                    yield text
                case dict() as fields:
                    left += fields.values()
                case list() as items:
                    left += items
