"""How many calls of a move are under way at a time, by what the service says of it."""

from __future__ import annotations

from fifo_cli.operations.transfer.concurrency import SIZE_MIN, AdaptiveConcurrency


def test_each_second_with_throttles_halves_it_but_never_below_two() -> None:
    concurrency = AdaptiveConcurrency(12)
    assert (concurrency.adapt(0, 0.0), concurrency.size) == (False, 12)
    assert (concurrency.adapt(1, 0.5), concurrency.size) == (True, 6)  # at once
    assert (concurrency.adapt(2, 1.0), concurrency.size) == (False, 6)
    assert (concurrency.adapt(2, 1.5), concurrency.size) == (True, 3)
    assert (concurrency.adapt(3, 2.5), concurrency.size) == (True, SIZE_MIN)
    assert (concurrency.adapt(4, 3.5), concurrency.size) == (False, SIZE_MIN)


def test_each_second_without_one_adds_one_up_to_all() -> None:
    concurrency = AdaptiveConcurrency(4)
    concurrency.adapt(1, 0.0)
    sizes = []
    for tick in range(1, 8):
        concurrency.adapt(1, tick / 2)
        sizes.append(concurrency.size)
    assert sizes == [2, 3, 3, 4, 4, 4, 4]


def test_what_was_throttled_before_it_began_is_no_reason() -> None:
    concurrency = AdaptiveConcurrency(12, throttles=7)
    assert (concurrency.adapt(7, 0.0), concurrency.size) == (False, 12)
    assert (concurrency.adapt(8, 0.1), concurrency.size) == (True, 6)


def test_in_its_ups_and_downs_only_a_new_low_is_told() -> None:
    concurrency = AdaptiveConcurrency(4)
    text = [concurrency.adapt(now // 4 + 1, float(now)) for now in range(20)]
    assert (text.count(True), concurrency.size) == (1, 4)


def test_one_worker_stays_one() -> None:
    concurrency = AdaptiveConcurrency(1)
    assert (concurrency.adapt(1, 0.0), concurrency.size) == (False, 1)
