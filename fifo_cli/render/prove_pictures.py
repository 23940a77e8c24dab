"""The small pictures of the report page: where on the clock a check ran, and how values are spread.

They stretch to the width of their place, so they hold no text; the page has the numbers beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fifo_cli.render.html import Html, element

_WIDTH: Final = 1000
_HEIGHT: Final = 20
# A check that took no time is seen all the same.
_BAR_MIN: Final = 4.0


def bar(start: float, length: float, whole: float, *, kind: str, label: str) -> Html:
    """Draw a bar from ``start`` on, of what is ``whole``; the unit does not matter."""
    scale = _WIDTH / whole if whole > 0 else 0.0
    width = min(max(length * scale, _BAR_MIN), _WIDTH)
    left = min(max(start * scale, 0.0), _WIDTH - width)
    return _picture(
        label,
        _line(f"M0 {_HEIGHT / 2:g}H{_WIDTH}", "axis"),
        element("rect", x=f"{left:.1f}", y=4, width=f"{width:.1f}", height=_HEIGHT - 8, rx=3, class_=kind),
    )


def strip(values: Sequence[float], *, marked: float, label: str) -> Html:
    """Draw a tick for each value, from 0 to the largest; the one that is ``marked`` is drawn stronger."""
    scale = (_WIDTH - 4) / max(*values, 1e-9)
    # Values at one place are one tick: of ten thousand, no more are drawn than can be seen.
    places = sorted({round(2 + max(one, 0.0) * scale) for one in values})
    return _picture(
        label,
        _line(f"M0 {_HEIGHT - 1}H{_WIDTH}", "axis"),
        _line("".join(f"M{place} 3V{_HEIGHT - 2}" for place in places), "tick"),
        _line(f"M{2 + max(marked, 0.0) * scale:.0f} 0V{_HEIGHT}", "marked"),
    )


def _line(path: str, kind: str) -> Html:
    return element("path", d=path, class_=kind, vector_effect="non-scaling-stroke")


def _picture(label: str, *shapes: Html) -> Html:
    return element(
        "svg",
        element("title", label),
        *shapes,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
    )
