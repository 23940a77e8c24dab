"""How many calls of a move are under way at a time, by what the service says of it."""

from __future__ import annotations

from fifo_cli.operations.transfer.concurrency import SIZE_MIN, AdaptiveConcurrency


def test_each_second_with_throttles_halves_it_but_never_below_two() -> None:
    crew = AdaptiveConcurrency(12)
    assert (crew.hear(0, 0.0), crew.size) == (False, 12)
    assert (crew.hear(1, 0.5), crew.size) == (True, 6)  # at once
    assert (crew.hear(2, 1.0), crew.size) == (False, 6)
    assert (crew.hear(2, 1.5), crew.size) == (True, 3)
    assert (crew.hear(3, 2.5), crew.size) == (True, SIZE_MIN)
    assert (crew.hear(4, 3.5), crew.size) == (False, SIZE_MIN)


def test_each_second_without_one_adds_one_up_to_all() -> None:
    crew = AdaptiveConcurrency(4)
    crew.hear(1, 0.0)
    sizes = []
    for tick in range(1, 8):
        crew.hear(1, tick / 2)
        sizes.append(crew.size)
    assert sizes == [2, 3, 3, 4, 4, 4, 4]


def test_what_was_throttled_before_it_began_is_no_reason() -> None:
    crew = AdaptiveConcurrency(12, throttles=7)
    assert (crew.hear(7, 0.0), crew.size) == (False, 12)
    assert (crew.hear(8, 0.1), crew.size) == (True, 6)


def test_in_its_ups_and_downs_only_a_new_low_is_told() -> None:
    crew = AdaptiveConcurrency(4)
    told = [crew.hear(now // 4 + 1, float(now)) for now in range(20)]
    assert (told.count(True), crew.size) == (1, 4)


def test_one_worker_stays_one() -> None:
    crew = AdaptiveConcurrency(1)
    assert (crew.hear(1, 0.0), crew.size) == (False, 1)
