"""Make docs/pictures: real output of the program on an embedded stack, as SVG by rich's export.

Run it as ``python scripts/pictures.py`` with the dev dependencies installed; it takes half a minute.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pexpect
import pyte
from rich.console import Console
from rich.text import Text

from fifo_cli.local import stack
from fifo_cli.local.receiver import Answer, Received, Receiver, Reply

PICTURES: Final = Path(__file__).resolve().parent.parent / "docs" / "pictures"
COLUMNS: Final = 100
CONFIG: Final = """\
[pipeline]
name = "orders"
[table]
name = "orders"
[message]
group = "customer"
[schedule]
expressions = ["cron(0 18 ? * MON-FRI *)"]
[api]
url = "{url}/orders"
timeout = "2s"
"""
_MOVE_SECONDS: Final = 3.0
GROUPS: Final = ("ada", "bob", "eve")
# rich's names of pyte's colours.
_COLORS: Final = {"brown": "yellow", "default": None}


@dataclass(frozen=True)
class Shop:
    """The folder, where the program runs, and its API."""

    folder: Path
    api: Receiver

    def run(self, *words: str, lines: int = 60) -> Text:
        """Run a command line on a terminal to its end, and return what it wrote."""
        screen, child = self._start(words, lines)
        while _feed(screen, child):
            pass
        child.close()
        return _trimmed(screen)

    def watch(self, moves: Sequence[Callable[[], object]], lines: int = 24) -> Text:
        """Return what watch shows while one move after the other is made."""
        screen, child = self._start(("watch", "--interval", "1s"), lines)
        for move in moves:
            mover = threading.Thread(target=move)
            mover.start()
            enough = time.monotonic() + _MOVE_SECONDS
            while mover.is_alive() or time.monotonic() < enough:
                _feed(screen, child)
        shown = _trimmed(screen, whole=True)
        child.send("q")
        child.expect(pexpect.EOF)
        child.close()
        return shown

    def put(self, count: int, start: int = 0) -> None:
        """Write items to the table, in turn for each group, and wait until they are messages."""
        items = [
            {"id": f"o{number:03}", "customer": GROUPS[number % len(GROUPS)], "total": number * 5}
            for number in range(start, start + count)
        ]
        child = pexpect.spawn(
            sys.executable,
            ["-m", "fifo_cli", "put", "-", "--local"],
            cwd=str(self.folder),
            env=_environment(),
            echo=False,
        )
        for item in items:
            child.sendline(json.dumps(item))
        child.sendeof()
        child.expect(pexpect.EOF)
        time.sleep(2)

    def _start(self, words: Sequence[str], lines: int) -> tuple[Any, Any]:
        screen: Any = pyte.Screen(COLUMNS, lines)
        child = pexpect.spawn(
            sys.executable,
            ["-m", "fifo_cli", *words, "--local"],
            cwd=str(self.folder),
            env=_environment(),
            dimensions=(lines, COLUMNS),
        )
        return screen, child


def main() -> int:
    """Make all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with _shop() as shop:
        shop.run("deploy", "--yes")
        _save("status-healthy", "fifo-cli status", shop.run("status"))
        shop.put(9)
        shop.api.answer = _down_for_ada
        _save("drain-outage", "fifo-cli drain --count 9", shop.run("drain", "--count", "9"))
        shop.run("drain", "--all", "--via", "lambda")
        _save("status-outage", "fifo-cli status", shop.run("status"))
        shop.api.answer = _poison
        shop.put(6, start=9)
        _save("drain-poison", "fifo-cli drain --all", shop.run("drain", "--all"))
        _save("peek-dlq", "fifo-cli peek --queue dlq", shop.run("peek", "--queue", "dlq"))
        shop.api.answer = _down_for_ada
        _save("watch", "fifo-cli watch", shop.watch(_busy(shop)))
    return 0


def _busy(shop: Shop) -> list[Callable[[], object]]:
    """Return a while of traffic: items come in, and the worker delivers what it can."""
    moves: list[Callable[[], object]] = []
    for number in range(6):
        moves.append(partial(shop.put, 9, start=15 + 9 * number))
        moves.append(partial(shop.run, "drain", "--count", "8", "--via", "lambda"))
    return moves


def _down_for_ada(received: Received) -> Answer | None:
    return Reply(503, b"maintenance") if b'"ada"' in received.body else None


def _poison(received: Received) -> Answer | None:
    return Reply(422, b'{"error": "no such product"}') if b'"o010"' in received.body else None


@contextmanager
def _shop() -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="pictures-") as name, Receiver() as api:
        folder = Path(name)
        (folder / "fifo.toml").write_text(CONFIG.format(url=api.url), encoding="utf-8")
        stack.up(folder, port=0)
        try:
            yield Shop(folder, api)
        finally:
            stack.down(folder)


def _environment() -> Any:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FIFO_"))}
    kept.pop("NO_COLOR", None)
    return {**kept, "TERM": "xterm-256color", "LANG": "C.UTF-8", "AWS_EC2_METADATA_DISABLED": "true"}


def _feed(screen: Any, child: Any) -> bool:
    try:
        data = child.read_nonblocking(1 << 16, 0.2)
    except pexpect.TIMEOUT:
        return True
    except pexpect.EOF:
        return False
    pyte.ByteStream(screen).feed(data)
    return True


def _trimmed(screen: Any, *, whole: bool = False) -> Text:
    """Return what is on a screen with its styles, without the empty lines at its end."""
    rows = [screen.buffer[number] for number in range(screen.lines)]
    lines = [_line(row) for row in rows]
    while lines and not whole and not lines[-1].plain.strip():
        lines.pop()
    return Text("\n").join(lines)


def _line(row: Any) -> Text:
    text = Text()
    for style, chars in groupby((row[column] for column in range(COLUMNS)), key=_style):
        text.append("".join(char.data for char in chars), style=style or None)
    text.rstrip()
    return text


def _style(char: Any) -> str:
    return " ".join(filter(None, ["bold" if char.bold else "", _COLORS.get(char.fg, char.fg) or ""]))


def _save(name: str, title: str, text: Text) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(text)
    svg = console.export_svg(title=title, unique_id=name)
    # A picture asks no other server for its letters.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (PICTURES / f"{name}.svg").write_text(svg, encoding="utf-8")
    sys.stderr.write(f"{name}.svg\n")


if __name__ == "__main__":
    sys.exit(main())
