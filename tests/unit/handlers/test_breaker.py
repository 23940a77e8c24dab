from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.handlers.breaker import Breaker, Opened
from tests.fakes import Clock


def made(limit: int = 3, *, first: float = 10, longest: float = 60) -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(limit, first=first, longest=longest, clock=clock), clock


def fail(breaker: Breaker, *groups: str, **options: Any) -> list[Opened | None]:
    answers = []
    for group in groups:
        assert breaker.admits(group)
        answers.append(breaker.failed(group, **options))
    return answers


def succeed(breaker: Breaker, group: str) -> bool:
    assert breaker.admits(group)
    return breaker.succeeded(group)


def test_failures_of_different_groups_in_a_row_open_it_for_the_first_pause():
    breaker, clock = made()
    assert fail(breaker, "a", "b", "c") == [None, None, Opened(3, 10)]
    assert breaker.is_open
    assert not breaker.admits("d")
    assert breaker.pause_left("d") == 10
    clock.sleep(9)
    assert breaker.pause_left("d") == 1


def test_the_same_group_counts_once_and_a_success_begins_a_new_row():
    breaker, _ = made()
    assert fail(breaker, "a", "a", "a", "b") == [None] * 4
    assert not succeed(breaker, "x")
    assert fail(breaker, "c", "d") == [None, None]
    assert not breaker.is_open


def test_zero_never_opens():
    breaker, _ = made(0)
    assert fail(breaker, *(f"g{n}" for n in range(50))) == [None] * 50
    assert breaker.pause_left("g1") == 0


def test_when_the_pause_is_over_one_probe_is_let_through_and_its_success_closes_it():
    breaker, clock = made()
    fail(breaker, "a", "b", "c")
    clock.sleep(10)
    assert breaker.admits("d")
    assert breaker.succeeded("d")
    assert not breaker.is_open
    assert breaker.admits("e")


def open_for_long(breaker: Breaker, clock: Clock, probes: int) -> list[float]:
    """Let so many probes fail; return the pauses after them."""
    pauses = []
    for number in range(probes):
        clock.sleep(breaker.pause_left("x"))
        (opened,) = fail(breaker, f"probe{number}")
        assert opened is not None
        assert not breaker.admits("y")
        pauses.append(opened.pause)
    return pauses


def test_a_probe_that_fails_opens_it_again_and_after_many_for_twice_as_long_up_to_the_longest():
    breaker, clock = made(1)
    fail(breaker, "a")
    assert breaker.is_young
    assert open_for_long(breaker, clock, 11) == [10] * 6 + [20, 40, 60, 60, 60]
    assert not breaker.is_young


def test_after_a_success_the_first_pause_is_the_first_again():
    breaker, clock = made(1)
    fail(breaker, "a")
    open_for_long(breaker, clock, 9)
    clock.sleep(60)
    succeed(breaker, "e")
    assert fail(breaker, "f") == [Opened(1, 10)]
    assert breaker.is_young


def test_the_api_may_ask_for_a_longer_pause_but_not_for_longer_than_the_longest():
    breaker, clock = made()
    assert fail(breaker, "a", "b", "c", retry_after=30)[-1] == Opened(3, 30)
    clock.sleep(30)
    assert fail(breaker, "d", retry_after=3600) == [Opened(4, 60)]


def test_calls_under_way_when_it_opens_neither_make_its_pause_longer_nor_are_they_probes():
    breaker, clock = made()
    for group in "abcde":
        assert breaker.admits(group)
    assert [breaker.failed(group) for group in "abcde"] == [None, None, Opened(3, 10), None, None]
    clock.sleep(10)
    assert fail(breaker, "f") == [Opened(6, 10)]


def test_a_success_of_a_call_under_way_closes_it():
    breaker, _ = made()
    assert breaker.admits("x")
    fail(breaker, "a", "b", "c")
    assert breaker.succeeded("x")
    assert breaker.admits("d")


def test_while_there_is_a_probe_others_wait_for_its_end():
    breaker, clock = made()
    fail(breaker, "a", "b", "c")
    clock.sleep(10)
    assert breaker.admits("d")
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(breaker.admits("e"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert not answers
    breaker.succeeded("d")
    for thread in threads:
        thread.join(10)
    assert answers == [True] * 3


def test_a_probe_that_says_nothing_leaves_its_place_to_another():
    breaker, clock = made()
    fail(breaker, "a", "b", "c")
    clock.sleep(10)
    assert breaker.admits("d")
    breaker.passed_over("d")
    assert fail(breaker, "e") == [Opened(4, 10)]


def test_the_probe_is_kept_for_a_while_for_groups_that_were_turned_away_untried():
    breaker, clock = made()
    fail(breaker, "a", "b", "c")
    assert not breaker.admits("d")
    clock.sleep(10)
    assert breaker.has_failed("a")
    assert not breaker.admits("a")
    assert breaker.pause_left("a") == 10
    assert succeed(breaker, "d")


def test_where_there_are_only_groups_that_failed_one_of_them_is_the_probe():
    breaker, clock = made()
    fail(breaker, "a", "b", "c")
    assert not breaker.admits("a")
    clock.sleep(10)
    assert succeed(breaker, "b")


def test_groups_that_came_to_nothing_elsewhere_do_not_keep_the_probe_for_ever():
    breaker, clock = made()
    fail(breaker, "a", "b", "c")
    assert not breaker.admits("d")
    clock.sleep(20)
    assert succeed(breaker, "a")


def test_groups_that_fail_while_others_are_delivered_open_it_once_and_not_again():
    breaker, clock = made()
    stuck = ["a", "b", "c"]
    fail(breaker, *stuck)
    clock.sleep(10)
    assert succeed(breaker, "d")
    for _ in range(20):
        assert fail(breaker, *stuck) == [None] * 3
    assert fail(breaker, "e", "f") == [None] * 2
    assert fail(breaker, "g")[-1] == Opened(6, 10)


def test_heads_that_were_received_before_are_no_news_once_there_was_a_success_unless_many_fail():
    breaker, _ = made()
    succeed(breaker, "x")
    old = [f"g{number}" for number in range(24)]
    assert fail(breaker, *old, new=False) == [None] * 23 + [Opened(24, 10)]


def test_without_a_success_every_head_that_fails_is_news():
    breaker, _ = made()
    assert fail(breaker, "a", "b", "c", new=False)[-1] == Opened(3, 10)


def test_a_head_that_was_never_received_before_may_be_the_probe_when_the_first_pause_is_over():
    breaker, clock = made(1)
    fail(breaker, "a")
    open_for_long(breaker, clock, 9)
    clock.sleep(9)
    assert not breaker.admits("new", new=True)
    clock.sleep(1)
    assert breaker.pause_left("old") == 50
    assert not breaker.admits("old")
    assert breaker.admits("new", new=True)


def test_a_group_that_was_delivered_since_counts_as_any_other():
    breaker, clock = made()
    fail(breaker, "a", "b", "c")
    clock.sleep(10)
    for group in "abc":
        succeed(breaker, group)
    assert not breaker.has_failed("a")
    assert fail(breaker, "a", "b", "c")[-1] == Opened(3, 10)


def test_it_keeps_few_names_however_many_groups_fail():
    breaker, _ = made(0)
    for number in range(5_000):
        fail(breaker, f"g{number}")
        succeed(breaker, "x")
    assert sum(breaker.has_failed(f"g{number}") for number in range(5_000)) == 200


@pytest.mark.parametrize(("limit", "names"), [(0, 200), (5, 200), (100, 800)])
def test_it_keeps_few_names_in_an_outage_of_any_length(limit, names):
    breaker, _ = made(limit)
    for number in range(5_000):
        breaker.failed(f"g{number}")
    assert sum(breaker.has_failed(f"g{number}") for number in range(5_000)) == names
    assert breaker.has_failed("g4999")


def test_a_run_begins_with_a_probe_though_the_pause_is_not_over():
    breaker, _ = made()
    fail(breaker, "a", "b", "c")
    assert not breaker.admits("d")
    breaker.begin_run()
    assert fail(breaker, "a") == [Opened(3, 10)]
    assert not breaker.admits("d")


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.floats(0, 40)), max_size=60),
    st.integers(1, 4),
)
def test_in_an_outage_it_costs_one_call_a_pause_and_delivery_begins_within_the_longest(history, limit):
    breaker, clock = made(limit)
    for group, works, seconds in history:
        clock.sleep(seconds)
        if breaker.admits(group):
            breaker.succeeded(group) if works else breaker.failed(group)
    for number in range(limit):
        if breaker.admits(f"new{number}"):
            breaker.failed(f"new{number}")
    assert breaker.is_open
    began, calls, pauses = clock(), 0, 0
    while clock() < began + 120:
        for number in range(8):
            if breaker.admits(f"wait{number}"):
                calls += 1
                assert breaker.failed(f"wait{number}") is not None
                pauses += 1
        clock.sleep(1)
    assert calls == pauses <= 120 / 10
    clock.sleep(60)
    assert succeed(breaker, "wait1")
