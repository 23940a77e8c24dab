"""Outages, and groups that always fail, with the queue as trigger: hours and days on a simulated clock."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fifo_cli.handlers.runtime import WorkerSettings
from tests.unit.handlers.queue_world import World, good_deliveries

DAY = 86_400.0


def outage(groups: int, *, functions: int, seconds: float, **settings: Any) -> World:
    """All calls fail for so long; then the API is back. Returns when all is delivered."""
    chance = random.Random(groups)
    world = World(
        settings=WorkerSettings(**settings), max_functions=functions, choose=chance.randrange, timeout=60
    )
    world.answer = lambda group, body: (503, 0.2)
    names = [f"g{number}" for number in range(groups)]
    world.put(*names)
    world.run(seconds=seconds)
    return world


def recover(world: World) -> tuple[float, float]:
    """The API is back: return after how many seconds the first message was delivered, and the last."""
    waiting = world.bodies()
    assert world.bodies("dlq") == []
    calls, back_at = len(world.calls), world.clock()
    world.answer = lambda group, body: (200, 0.2)
    world.run()
    delivered = world.calls[calls:]
    assert sorted(call.body for call in delivered) == waiting == sorted(waiting)
    assert world.violations == []
    assert world.bodies("dlq") == []
    return delivered[0].began - back_at, world.clock() - back_at


def test_an_outage_of_two_weeks_parks_nothing_reorders_nothing_and_ends_within_the_longest_pause():
    world = outage(3, functions=2, seconds=14 * DAY)
    assert 3 * 14 * DAY / 310 < len(world.calls) < 3 * (14 * DAY / 300 + 10)
    assert len(world.bodies()) == 3
    first, last = recover(world)
    assert first <= 300
    assert last <= 310


def check_calls(world: World, functions: int, breaker: int) -> None:
    """Besides the rows that opened the breakers, each call was the only one of its function in a pause."""
    opened = len(world.lines("breaker opened"))
    assert len(world.calls) == functions * (breaker - 1) + opened
    for worker in world.workers:
        assert worker.breaker.is_open


def test_an_outage_costs_one_call_a_function_and_pause_however_many_groups_wait():
    world = outage(200, functions=4, seconds=1_200)
    check_calls(world, 4, 5)
    assert len(world.calls) <= 4 * (4 + 35 + 5 + 1_200 / 300)
    first, last = recover(world)
    assert first <= 300
    assert last <= 600


@pytest.mark.long  # the one before shows the same with 200 groups
def test_with_a_thousand_groups_an_hour_costs_one_call_a_function_and_pause():
    world = outage(1_000, functions=10, seconds=3_600)
    check_calls(world, 10, 5)
    assert len(world.calls) <= 10 * (4 + 35 + 5 + 3_600 / 300)
    first, last = recover(world)
    assert first <= 300
    assert last <= 600


@pytest.mark.parametrize(
    ("seconds", "breaker"),
    [
        (0.2, 5),
        (12, 5),
        pytest.param(0.2, 0, marks=pytest.mark.slow),
        pytest.param(12, 0, marks=pytest.mark.slow),
    ],
)
def test_groups_that_always_fail_do_not_halve_the_rate_of_the_others(seconds, breaker):
    alone = good_deliveries(0, seconds=0, breaker=breaker)
    assert good_deliveries(30, seconds=seconds, breaker=breaker) >= alone / 2


@pytest.mark.parametrize("breaker", [5, pytest.param(0, marks=pytest.mark.slow)])
def test_two_functions_are_enough_for_that_even_if_each_failure_takes_the_apis_whole_timeout(breaker):
    alone = good_deliveries(0, seconds=0, functions=2, breaker=breaker)
    assert good_deliveries(30, seconds=12, functions=2, breaker=breaker) >= alone / 2


def test_groups_with_full_batches_that_fail_are_passed_while_the_breaker_is_open():
    alone = good_deliveries(0, seconds=0, functions=2)
    assert good_deliveries(30, seconds=3, functions=2, each=10) >= alone / 4


@pytest.mark.slow
def test_groups_that_fail_after_the_apis_whole_timeout_and_come_again_at_once_take_a_third_of_the_time():
    pauses: Any = {"retry_first": 1.0, "retry_longest": 1.0}
    alone = good_deliveries(0, seconds=0)
    assert good_deliveries(30, seconds=12, **pauses) >= alone / 2


def test_one_function_reaches_groups_behind_thirty_that_always_fail():
    assert good_deliveries(30, seconds=0.2, functions=1) > 100
