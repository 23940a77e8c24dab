"""``python -m tests.bench``: measure, print tables; with ``--write``, put them into docs/performance.md."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

from tests.bed import ROOT
from tests.bench.bench import FULL, NORMAL, QUICK, Bench
from tests.bench.report import Section, load, save, text, write

PARTS = ("startup", "functions", "redriving", "delivering", "filing", "replaying", "memory")
DOCUMENT = ROOT / "docs" / "performance.md"


def main() -> int:
    """Run the parts asked for; 1 if a budget is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quick", action="store_true", help="less of everything, in two minutes")
    amount.add_argument("--full", action="store_true", help="short runs with 10,000 messages, too: an hour")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep the tables of each part there, and measure no part that is there already",
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT.name}")
    asked = parser.parse_args()
    size = QUICK if asked.quick else FULL if asked.full else NORMAL
    sections: list[Section] = []
    began = time.monotonic()
    for part in asked.only or PARTS:
        _say(f"{time.monotonic() - began:4.0f} s  {part}")
        kept = asked.keep / f"{part}.json" if asked.keep else None
        if kept is not None and kept.exists():
            sections += load(kept)
            continue
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            bench = Bench(size, Path(folder))
            measured = importlib.import_module(f"tests.bench.{part}").measure(bench)
        if kept is not None:
            save(kept, measured)
        sections += measured
    _say(f"{time.monotonic() - began:4.0f} s  done")
    sys.stdout.write(text(sections))
    if asked.write:
        write(DOCUMENT, sections)
    return int(not all(budget.met for section in sections for budget in section.budgets))


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
