"""What a move shows its progress."""

from __future__ import annotations

import pytest

from fifo_cli.events import Progressed
from fifo_cli.operations.pace import Progress, time_left
from tests.fakes import Clock


def texts(*steps: tuple[float, int, int | None]) -> list[str]:
    """Return what is reported at these times after the beginning: so many done, of so many."""
    clock, events = Clock(), list[Progressed]()
    progress = Progress(events.append, "moved", clock=clock)  # type: ignore[arg-type]
    began = clock()
    for seconds, done, total in steps:
        clock.sleep(began + seconds - clock())
        progress.total = total
        progress.at(done)
    return [one.text for one in events]


def test_the_rate_is_that_of_the_last_ten_seconds_and_the_time_left_follows_from_it() -> None:
    text = texts((0, 0, 5_000), (1, 100, 5_000), (2, 200, 5_000), (3, 300, 5_000), (12, 4_000, 5_000))
    assert text[0] == "0 of 5,000 moved"
    assert text[3] == "300 of 5,000 moved, 100/s, 47 s left"
    assert text[4] == "4,000 of 5,000 moved, 380/s, 3 s left"


def test_after_a_wait_in_which_nothing_flowed_there_is_no_time_left_until_it_is_known_again() -> None:
    text = texts((0.6, 10, 440), (28, 20, 440), (29, 120, 440))
    assert text[1:] == ["20 of 440 moved", "120 of 440 moved, 100/s, 4 s left"]


def test_less_than_one_a_second_is_reported_a_minute() -> None:
    assert texts((10, 5, 60)) == ["5 of 60 moved, 30 a minute, 1 min 50 s left"]


def test_without_a_total_or_beyond_it_there_is_no_time_left() -> None:
    assert texts((1, 50, None), (2, 100, 60)) == ["50 moved, 50/s", "100 moved, 50/s"]


def test_the_time_left_is_rounded_up() -> None:
    assert [time_left(seconds) for seconds in (0.1, 59.2, 125)] == ["1 s", "1 min 0 s", "2 min 5 s"]


@pytest.mark.parametrize(
    ("total", "steps", "heard"),
    [
        (None, [(0, 1)], [("1 read", None)]),
        (10, [(0, 1)], [("1 of 10 read", 0.1)]),
        (10, [(0, 1), (0.15, 2), (0.15, 3)], [("1 of 10 read", 0.1), ("3 of 10 read", 0.3)]),  # five a second
        (10, [(0, 0), (1, 5)], [("0 of 10 read", 0.0), ("5 of 10 read, 5/s, 1 s left", 0.5)]),
        (10, [(1, 12)], [("12 read, 12/s", None)]),  # there were more than was counted
        (500, [(9, 5)], [("5 of 500 read, 33 a minute, 14 min 51 s left", 0.01)]),
        (0, [(0, 1)], [("1 read", None)]),
    ],
)
def test_progress_is_reported_a_few_times_a_second_with_its_share(
    total: int | None, steps: list[tuple[float, int]], heard: list[tuple[str, float | None]]
) -> None:
    clock, events = Clock(), list[Progressed]()
    progress = Progress(events.append, "read", total, clock=clock)  # type: ignore[arg-type]
    for seconds, done in steps:
        clock.sleep(seconds)
        progress.at(done)
    assert [(one.text, one.share) for one in events] == heard
