from __future__ import annotations

from fifo_cli.handlers.pace import Pace
from tests.fakes import Clock


def anything(pause: float) -> bool:
    return True


def test_without_a_rate_calls_do_not_wait():
    pace = Pace(clock=Clock())
    assert [pace.next_call(first=True, fits=anything) for _ in range(3)] == [0, 0, 0]


def test_first_attempts_keep_their_distance_and_later_ones_do_not_count():
    pace = Pace(2, clock=Clock())
    assert [pace.next_call(first=first, fits=anything) for first in (True, True, False, True)] == [
        0,
        0.5,
        0,
        1,
    ]


def test_what_does_not_fit_takes_no_place():
    pace = Pace(2, clock=Clock())
    pace.next_call(first=True, fits=anything)
    assert pace.next_call(first=True, fits=lambda pause: pause < 0.1) is None
    assert pace.next_call(first=True, fits=anything) == 0.5


def test_the_api_is_waited_for_as_long_as_patience_lasts():
    clock = Clock()
    pace = Pace(patience=10, clock=clock)
    pace.resume_after(7)
    pace.resume_after(3)
    assert pace.next_call(first=True, fits=anything) == 7
    clock.sleep(7)
    pace.resume_after(4)
    assert pace.next_call(first=True, fits=anything) is None, "3 seconds of patience are left"
