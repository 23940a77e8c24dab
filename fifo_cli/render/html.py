"""HTML whose texts are escaped by construction: only what was made here is ``Html``."""

from __future__ import annotations

import html

from fifo_cli.render.text import printable


class Html(str):
    """A piece of HTML."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: object) -> Html:
    """Return an element; text in it is escaped, and what could reorder or hide text is shown by its number.

    An attribute's underscores are hyphens, and one at the end of its name is left out: ``class_``.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"' for key, value in attributes.items()
    )
    return Html(f"<{name}{given}>{joined(*content)}</{name}>")


def void(name: str, /, **attributes: object) -> Html:
    """Return an element that has no content and no end."""
    return Html(element(name, **attributes).removesuffix(f"</{name}>"))


def joined(*content: str) -> Html:
    """Return pieces one after the other; those that are not ``Html`` are escaped."""
    return Html("".join(one if isinstance(one, Html) else _escaped(one) for one in content))


def _escaped(text: str) -> str:
    return html.escape(printable(text, keep="\n"))
