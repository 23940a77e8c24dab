from __future__ import annotations

from fifo_cli.handlers.pace import Pace
from tests.fakes import Clock

ANY = float("inf")


def test_without_a_rate_calls_do_not_wait():
    pace = Pace(clock=Clock())
    assert [pace.next_message(within=ANY) for _ in range(3)] == [0, 0, 0]


def test_calls_keep_their_distance_those_that_did_not_wait_count_as_well():
    clock = Clock()
    pace = Pace(2, clock=clock)
    assert [pace.next_message(within=ANY) for _ in range(2)] == [0, 0.5]
    pace.count_call()
    assert (pace.next_message(within=ANY), pace.wait()) == (1.5, 2)
    clock.sleep(9)
    pace.count_call()
    assert (pace.wait(), pace.next_message(within=ANY)) == (0.5, 0.5)


def test_a_message_takes_the_places_of_all_its_calls_from_the_first_on():
    clock = Clock()
    pace = Pace(2, calls=3, clock=clock)
    assert [pace.next_message(within=ANY) for _ in range(3)] == [0, 1.5, 3]
    pace.count_call()
    assert pace.wait() == 5


def test_what_does_not_fit_takes_no_place():
    pace = Pace(2, clock=Clock())
    pace.next_message(within=ANY)
    assert pace.next_message(within=0.1) is None
    assert pace.next_message(within=ANY) == 0.5


def test_the_api_is_waited_for_as_long_as_patience_lasts():
    clock = Clock()
    pace = Pace(patience=10, clock=clock)
    pace.resume_after(7)
    pace.resume_after(3)
    assert pace.next_message(within=ANY) == 7
    clock.sleep(7)
    pace.resume_after(4)
    assert pace.next_message(within=ANY) is None, "3 seconds of patience are left"


def test_calls_keep_their_distance_when_the_api_wants_to_be_called_again():
    pace = Pace(2, clock=Clock())
    pace.resume_after(7)
    assert [pace.next_message(within=ANY) for _ in range(3)] == [7, 7.5, 8]


def test_what_waits_at_the_same_time_takes_its_patience_once():
    clock = Clock()
    pace = Pace(patience=10, clock=clock)
    pace.resume_after(6)
    assert [pace.next_message(within=ANY) for _ in range(3)] == [6, 6, 6]
    clock.sleep(1)
    pace.resume_after(9)
    assert pace.next_message(within=ANY) == 9, "6 and 4 more: that was all"
    clock.sleep(9)
    pace.resume_after(1)
    assert pace.next_message(within=ANY) is None
