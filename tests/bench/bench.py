"""What every part of the bench works with: how much to measure, a folder, and the services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.service import embedded_stack

# What a call to SQS takes within a region, about.
LATENCY = 0.010


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure. ``runs`` is of the long races that a budget is about; ``matrix`` of all others."""

    starts: int
    runs: int
    matrix: int | None  # None: three of short ones, one of long ones
    messages: tuple[int, ...]
    groups: tuple[int, ...]
    many: tuple[int, ...]  # messages of the long runs, over the most groups; the budgets are for 5,000
    lean: tuple[int, ...]  # messages against the lean double
    drained: int  # the most of these for drain, which takes some milliseconds for each
    records: int  # of a function's warm runs


QUICK = Size(
    starts=3,
    runs=1,
    matrix=1,
    messages=(100,),
    groups=(1, 100),
    many=(),
    lean=(500, 2_000),
    drained=500,
    records=100,
)
NORMAL = Size(
    starts=11,
    runs=7,
    matrix=None,
    messages=(1_000,),
    groups=(1, 10, 500),
    many=(5_000,),
    lean=(1_000, 10_000, 100_000),
    drained=10_000,
    records=500,
)
FULL = replace(NORMAL, messages=(1_000, 10_000), drained=100_000)


@dataclass(frozen=True)
class Bench:
    """One run of the bench. ``folder`` is its own, and short-lived."""

    size: Size
    folder: Path
    endpoint: str | None = None  # of a stack that runs already, if there is one

    @contextmanager
    def stack(self) -> Iterator[str]:
        """Run an embedded stack of one's own: what one part left in it must not slow the next."""
        if self.endpoint is not None:
            yield self.endpoint
            return
        with embedded_stack(self.folder / "stack") as endpoint:
            yield endpoint
