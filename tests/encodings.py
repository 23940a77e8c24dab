"""The ways in which a text spells a key: all that an API, a library or the user's code may make of it.

The standard library only: integration tests copy this file beside the user's code in a function.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import quopri
import textwrap
import urllib.parse
from collections.abc import Callable, Iterator

PART = 7  # so many characters in a row of a key are a part of it


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _every_char_percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _every_char_json(text: str) -> str:
    return json.dumps("".join(f"{char}" for char in text)).replace("/", "\\/")


def _u_escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    return "".join(f"\\u{high:02x}{low:02X}" for high, low in zip(units[::2], units[1::2], strict=True))


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "base64": _b64,
    "base64 without padding": lambda text: _b64(text).rstrip("="),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 for URLs, without padding": lambda text: (
        base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    ),
    "base64 in lines of 64": lambda text: "\r\n".join(textwrap.wrap(_b64(text), 64)),
    "base64 of user:KEY": lambda text: _b64(f"user:{text}"),
    "base64 of Bearer KEY": lambda text: _b64(f"Bearer {text}"),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()).decode(),
    "JSON": json.dumps,
    "JSON with \\/": _every_char_json,
    "JSON in JSON": lambda text: json.dumps(json.dumps({"key": text})),
    "\\uXXXX": _u_escaped,
    "repr": repr,
    "ascii": ascii,
    "\\u{X}": lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
    "octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps({"key": text}))),
    "hexadecimal in lines": lambda text: "\n".join(textwrap.wrap(text.encode().hex(), 32)),
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "percent, every character": _every_char_percent,
    "form": urllib.parse.quote_plus,
    "hexadecimal": lambda text: text.encode().hex(),
    "HEXADECIMAL": lambda text: text.encode().hex().upper(),
    "hex dump": lambda text: text.encode().hex(":"),
    "\\xXX": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "HTML": html.escape,
    "HTML, every character": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "quoted-printable": lambda text: quopri.encodestring(text.encode(), quotetabs=True).decode(),
    "in lines": lambda text: "\n".join(textwrap.wrap(text, 20, drop_whitespace=False)),
    "UPPER": str.upper,
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "base32 in lower case, without padding": lambda text: (
        base64.b32encode(text.encode()).decode().rstrip("=").lower()
    ),
    "base32 with the digits first": lambda text: base64.b32hexencode(text.encode()).decode(),
    "base32 with the digits first, in lower case": lambda text: (
        base64.b32hexencode(text.encode()).decode().rstrip("=").lower()
    ),
    "UTF-7": lambda text: text.encode("utf-7", "surrogatepass").decode("ascii"),
    "UTF-16, read as bytes": lambda text: text.encode("utf-16-le").decode("utf-8", "replace"),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "a list of bytes": lambda text: str(list(text.encode())),
    "JavaScript's Buffer": lambda text: json.dumps({"type": "Buffer", "data": list(text.encode())}),
    "JavaScript's Uint8Array": lambda text: json.dumps(dict(enumerate(text.encode()))),
    "CHR()": lambda text: "||".join(f"CHR({byte})" for byte in text.encode()),
    "a list of characters": lambda text: json.dumps(list(text)),
    "base64 of gzip": lambda text: base64.b64encode(gzip.compress(text.encode())).decode(),
    "U+XXXX": lambda text: _u_escaped(text).replace("\\u", " U+"),
    "signed bytes": lambda text: str([byte - 256 * (byte > 127) for byte in text.encode()]),
    "%uXXXX": lambda text: _u_escaped(text).replace("\\", "%"),
    "HTML, every character in hexadecimal": lambda text: "".join(f"&#x{ord(char):X};" for char in text),
    "hexadecimal with 0x": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
}
# Without those that lose something, or of which a piece cannot be read without its beginning.
REVERSIBLE = [name for name in ENCODINGS if name not in ("UPPER", "UTF-16, read as bytes", "base64 of gzip")]


# What the others are made of: a part of a key in any of them would be seen in one of these.
_LOOKED_FOR = (
    *("plain", "JSON", "hexadecimal", "HEXADECIMAL", "hex dump", "percent, every character", "\\uXXXX"),
    *("HTML, every character", "base32"),
)


def encoded(text: str, inner: str, outer: str) -> str:
    """Return ``text`` in one encoding within another."""
    return ENCODINGS[outer](ENCODINGS[inner](text))


def cut(text: str, start: float, end: float) -> str:
    """Return a piece of ``text``, from and to a share of its length."""
    first = round(start * len(text))
    return text[first : max(first, round(end * len(text)))]


def parts(secret: str) -> Iterator[str]:
    """Return what must not be shown: every seven characters in a row."""
    return (secret[at : at + PART] for at in range(len(secret) - PART + 1))


def leak(shown: str, secret: str, inner: str, outer: str) -> str | None:
    """Return a part of ``secret`` that ``shown`` has, in any of the encodings or these two; None if none."""
    for at, part in enumerate(parts(secret)):
        forms = {ENCODINGS[name](part) for name in _LOOKED_FOR} | {
            *_base64_of(part, secret[:at], secret[at + PART :]),
            encoded(part, inner, outer),
        }
        for form in forms:
            if len(form) >= PART and form in shown:
                return form
    return None


def _base64_of(part: str, before: str, after: str) -> Iterator[str]:
    """Return what stands for all of ``part`` in base64, wherever in a longer text the secret begins."""
    raw = part.encode()
    for padding in range(3):
        ahead = b"\0" * padding + before.encode()
        whole = base64.b64encode(ahead + raw + after.encode())
        yield whole[len(ahead) * 8 // 6 : -(-(len(ahead) + len(raw)) * 8 // 6)].decode()
