"""``python -m tests.bench``: measure, print tables; with ``--write``, put them into docs/performance.md."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.bench.bench import FULL, NORMAL, QUICK, Bench
from tests.bench.keeping import KeepError, Kept
from tests.bench.report import Report, Section, is_writable, text, this_program, write
from tests.cli_harness import ROOT

PARTS = (
    "startup",
    "functions",
    "concurrency",
    "outage",
    "redriving",
    "delivering",
    "filing",
    "replaying",
    "memory",
)
DOCUMENT = ROOT / "docs" / "performance.md"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal asks to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def main() -> int:
    """Run the parts asked for; 1 if a budget is not met, 128 and the signal's number if one came."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quick", action="store_true", help="less of everything, in two minutes")
    amount.add_argument("--full", action="store_true", help="runs with 10,000 messages, too: an hour more")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep the tables of each part there, and measure no part that is there already",
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT.name}")
    asked = parser.parse_args()
    if asked.write and (asked.quick or asked.only):
        parser.error("--write puts all tables into the document: not with --quick or --only")
    if asked.write and not is_writable(DOCUMENT):
        parser.error(f"{DOCUMENT} lacks the marks between which --write puts the tables")
    mode = "quick" if asked.quick else "full" if asked.full else "normal"
    report = Report(mode, this_program(), [])
    try:
        kept = Kept.open(asked.keep, report) if asked.keep else None
    except KeepError as error:
        parser.error(str(error))
    for number in _SIGNALS:
        signal.signal(number, _end)
    try:
        _measure(report, asked.only or PARTS, kept)
    except Ended as ended:
        _say("interrupted; what was measured until then:")
        sys.stdout.write(text(report))
        return ended.code
    sys.stdout.write(text(report))
    if asked.write:
        write(DOCUMENT, report)
    return int(not all(budget.met for budget in report.budgets))


def _measure(report: Report, parts: tuple[str, ...], kept: Kept | None) -> None:
    """Measure the parts that are not kept, and keep them."""
    size = {"quick": QUICK, "normal": NORMAL, "full": FULL}[report.mode]
    began = time.monotonic()
    for part in parts:
        _say(f"{time.monotonic() - began:4.0f} s  {part}")
        measured: list[Section] | None = kept.load(part) if kept else None
        if measured is None:
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                measured = importlib.import_module(f"tests.bench.{part}").measure(Bench(size, Path(folder)))
            if kept:
                kept.save(part, measured)
        report.sections.extend(measured)
    _say(f"{time.monotonic() - began:4.0f} s  done")


def _end(number: int, frame: FrameType | None) -> NoReturn:
    # Ending what was started takes a moment, and nothing may interrupt that.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Ended(number)


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
