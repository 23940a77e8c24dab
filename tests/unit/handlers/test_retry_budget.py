from __future__ import annotations

from fifo_cli.handlers.retry_budget import RetryBudget
from tests.fakes import Clock


def made(most: float = 10) -> tuple[RetryBudget, Clock]:
    clock = Clock()
    return RetryBudget(most=most, clock=clock), clock


def fail(budget: RetryBudget, clock: Clock, seconds: float, *, retry: bool = True) -> None:
    began = clock()
    clock.sleep(seconds)
    budget.failed(began, retry=retry)


def test_retries_may_fail_for_what_is_saved_up_and_for_a_fifth_of_the_time():
    budget, clock = made(10)
    fail(budget, clock, 10)
    assert budget.allows(), "2 of the 10 seconds were gained meanwhile"
    fail(budget, clock, 10)
    assert not budget.allows()
    clock.sleep(29)
    budget.ended()
    assert not budget.allows()
    clock.sleep(2)
    budget.ended()
    assert budget.allows()


def test_a_first_failure_costs_nothing_and_saves_up_nothing():
    budget, clock = made(10)
    fail(budget, clock, 13)
    assert not budget.allows()
    fail(budget, clock, 100, retry=False)
    assert not budget.allows()
    clock.sleep(3)
    budget.ended()
    assert budget.allows()


def test_of_calls_side_by_side_each_counts_from_the_end_of_the_one_before():
    budget, clock = made(10)
    began = clock()
    clock.sleep(10)
    for _ in range(8):
        budget.failed(began, retry=True)
    assert budget.allows()


def test_idle_time_counts_in_full_but_no_more_is_saved_up_than_the_most():
    budget, clock = made(10)
    fail(budget, clock, 20)
    clock.sleep(7)
    budget.begin()
    assert budget.allows()
    clock.sleep(1_000)
    budget.begin()
    fail(budget, clock, 13)
    assert not budget.allows()
