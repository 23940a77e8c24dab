"""JSON that is safe to look at: what acts on a terminal is escaped as JSON has it, and reads the same."""

from __future__ import annotations

import json
import re
from typing import Any, Final

# For a regular expression: C1 controls and DEL, line ends, surrogates, and the invisible characters that
# reorder the text around them (Unicode UAX #9), "trojan source", or have no width, so that two names look
# alike. The joiners U+200C and U+200D stay: scripts and emoji need them. What is below a space, json escapes.
ACTING: Final = (
    r"\x7f-\x9f\u2028\u2029\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    r"\u00ad\u200b\u2060-\u2064\ufeff"
)
_ACTING: Final = re.compile(f"[{ACTING}]")


def repeated_name(pairs: list[tuple[str, Any]]) -> str | None:
    """Return a name that an object holds twice, if any; for json's ``object_pairs_hook``."""
    names = [name for name, _ in pairs]
    if len(set(names)) == len(names):
        return None
    return next(name for name in names if names.count(name) > 1)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Write readable JSON (RFC 8259): letters of all languages as they are, controls and bidi marks escaped.

    Raises ValueError for what JSON does not have, NaN and infinity.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
