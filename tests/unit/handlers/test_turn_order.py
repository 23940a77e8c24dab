from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.handlers.breaker import Breaker
from fifo_cli.handlers.turn_order import Turn, TurnOrder
from fifo_cli.handlers.visibility import QueueMessage
from tests.fakes import Clock

# What ``chance`` says for the first, the newest, and any of three ways; of the last two for all but FIRST.
FIRST, NEWEST, ANY = 0.2, 0.4, 0.8


def message(group: str, number: int = 1, *, receives: int = 1) -> QueueMessage:
    system = {"ApproximateReceiveCount": str(receives)}
    name = f"{group}{number}"
    return QueueMessage(name, f"{name}#{receives}", json.dumps(name), group, {}, system)


def batch(*groups: str, receives: int = 1) -> list[QueueMessage]:
    return [message(group, receives=receives) for group in groups]


def order(
    count: int | None = None,
    *,
    clock: Clock | None = None,
    chance: Callable[[], float] = lambda: FIRST,
    failed: Iterable[str] = (),
    failing: Iterable[str] = (),
    breaker: int = 0,
) -> TurnOrder:
    """Make an order; ``failed`` failed before a success, ``failing`` since."""
    known = Breaker(breaker, first=10, longest=300)
    for group in failed:
        known.failed(group)
    known.succeeded("x")
    for group in failing:
        known.failed(group)
    return TurnOrder(count, known, clock=clock or Clock(), chance=chance)


def taken(line: TurnOrder, *, searching: bool = False) -> Turn:
    turn = line.take(searching=searching)
    assert turn is not None
    return turn


def play(line: TurnOrder, *, stays: str = "", searching: bool = False) -> list[str]:
    """Take turns one after the other, those of groups in ``stays`` in vain; return the groups."""
    groups = []
    while (turn := line.take(searching=searching)) is not None:
        groups.append(turn.group)
        line.finish(turn, tried=1 if turn.group in stays else len(turn.messages), stays=turn.group in stays)
    return groups


def test_new_heads_go_first_in_the_order_of_receipt_and_with_what_is_behind_them():
    line = order()
    line.add([message("x", receives=2), message("a", 1), message("b", 1), message("b", 2)])
    turns = [taken(line) for _ in range(3)]
    assert [[m.message_id for m in turn.messages] for turn in turns] == [["a1"], ["b1", "b2"], ["x1"]]


def test_the_others_wait_while_new_heads_may_be_received():
    line = order()
    line.add(batch("x", receives=2))
    assert line.take(searching=True) is None
    assert taken(line, searching=False).group == "x"


def test_one_turn_of_three_is_for_those_that_were_received_before():
    line = order()
    line.add(batch(*"abcdef"))
    line.add(batch(*"uvwxyz", receives=2))
    assert "".join(play(line, stays="uvwxyz", searching=True)) == "abucdvefw"


def test_those_that_are_delivered_count_as_any_other():
    line = order()
    line.add(batch(*"abcd"))
    line.add(batch(*"uvwxyz", receives=2))
    assert "".join(play(line, searching=True)) == "abuvwxyzcd"


def test_they_take_no_more_than_a_third_of_the_time():
    clock = Clock()
    line = order(clock=clock)
    line.add(batch(*(f"n{number}" for number in range(30))))
    line.add(batch(*(f"x{number}" for number in range(30)), receives=5))
    took: dict[str, float] = {"n": 0, "x": 0}
    while line.ready:
        turn = taken(line, searching=True)
        seconds = 10 if turn.retry else 1
        clock.sleep(seconds)
        took[turn.group[0]] += seconds
        line.finish(turn, tried=1, stays=turn.retry)
    assert took == {"n": 30, "x": 20}, "one begins when the others have had two thirds"


def test_those_received_least_go_first_and_those_that_failed_here_last():
    line = order(failed="ab")
    line.add(
        [message(group, receives=receives) for group, receives in zip("abcd", (9, 2, 7, 3), strict=True)]
    )
    assert "".join(play(line)) == "dcba"


def test_as_long_as_nothing_fails_the_oldest_goes_first_whatever_chance_says():
    line = order(chance=lambda: ANY)
    line.add(batch(*"abcdef"))
    assert "".join(play(line)) == "abcdef"


def test_once_a_head_failed_it_may_be_the_newest_or_any():
    line = order(chance=iter([FIRST, NEWEST, ANY, 0.5, FIRST, FIRST]).__next__)
    line.add(batch(*"abcdef"))
    assert "".join(play(line, stays="a")) == "abfdce"


def test_what_is_like_the_first_of_those_received_before_may_go_instead():
    line = order(chance=iter([NEWEST, ANY, 0.99, FIRST, NEWEST, FIRST]).__next__)
    line.add(
        [message(group, receives=number) for group, number in zip("abcde", (2, 2, 2, 7, 9), strict=True)]
    )
    assert "".join(play(line)) == "ceabd"


def test_after_a_failure_the_next_one_is_not_the_oldest():
    for chance, group in ((FIRST, "f"), (0.6, "d")):
        line = order(failing="x", chance=itertools.repeat(chance).__next__)
        line.add(batch(*"abcdef"))
        assert taken(line).group == group


def test_after_two_failures_in_a_row_more_groups_are_looked_at_before_the_next_turn():
    line = order(10, failing="xy")
    while line.looks_further:
        assert line.take(searching=True) is None
        assert line.wanted() == 10
        line.add(batch(*(f"g{line.groups + number}" for number in range(10))))
    assert line.groups == 40
    assert line.wanted() == 0
    assert taken(line, searching=True).group == "g39"


def test_where_there_are_no_more_the_next_turn_does_not_wait():
    line = order(10, failing="xy")
    line.add(batch("a"))
    assert taken(line, searching=False).group == "a"


def test_of_what_was_only_looked_at_no_more_counts_as_unserved_than_the_count_allows():
    line = order(10, failing="xy")
    line.add(batch(*(f"g{number}" for number in range(40))))
    assert len(line.unserved()) == 10


@pytest.mark.parametrize(("limit", "calls"), [(1, 1), (5, 2), (9, 4), (0, 6)])
def test_until_a_call_succeeded_no_more_are_made_at_a_time_than_half_of_what_opens_the_breaker(limit, calls):
    line = order(breaker=limit)
    line.add(batch(*"abcdef"))
    turns = [turn for _ in range(6) if (turn := line.take(searching=False)) is not None]
    assert len(turns) == calls
    line.finish(turns[0], tried=1, stays=False)
    line.proven = True
    assert [line.take(searching=False) is not None for _ in range(6 - calls)] == [True] * (6 - calls)


def test_no_group_has_two_turns_at_a_time():
    line = order()
    line.add(batch("a"))
    turn = taken(line)
    line.add([message("a", 2)])
    assert line.take(searching=False) is None
    line.finish(turn, tried=1, stays=False)
    assert taken(line).messages[0].message_id == "a2"


def test_a_group_that_failed_has_no_other_turn():
    line = order()
    line.add(batch("a"))
    turn = taken(line)
    line.add([message("a", 2)])
    line.finish(turn, tried=1, stays=True)
    line.add([message("a", 1, receives=2)])
    assert line.take(searching=False) is None
    assert not line.waiting


def test_what_is_behind_a_failed_head_takes_no_turn_of_the_count():
    line = order(3)
    assert line.wanted() == 3
    line.add([message("a", number) for number in range(3)])
    assert line.wanted() == 0
    turn = taken(line)
    line.finish(turn, tried=1, stays=True)
    assert line.wanted() == 2


def test_of_a_group_that_was_held_no_more_have_a_turn_than_the_count_allows():
    line = order(2)
    line.add([message("a", number, receives=2) for number in range(5)])
    line.add([message("b", number, receives=3) for number in range(5)])
    turn = taken(line)
    assert [m.message_id for m in turn.messages] == ["a0", "a1"]
    line.finish(turn, tried=2, stays=False)
    assert not line.waiting


def test_places_of_the_count_are_kept_for_a_third():
    line = order(10)
    line.add(batch(*"abcdef", receives=2))
    assert line.wanted() == 10, "past those to new ones"
    line.add(batch(*"uvwxyz"))
    assert line.wanted() == 1
    line.add(batch("t"))
    assert line.wanted() == 0
    assert sorted(play(line, stays="abcdef")) == sorted("uvwxyzt" + "abc")


def test_of_a_count_of_one_only_some_runs_take_a_head_that_was_received_before():
    for chance, wanted in ((0.3, 0), (0.4, 10)):
        line = order(1, chance=iter([chance]).__next__)
        line.add(batch("a", receives=2))
        assert line.wanted() == wanted


@given(st.data())
def test_whatever_comes_no_group_has_two_turns_and_none_after_a_failure(data):
    count = data.draw(st.one_of(st.none(), st.integers(1, 12)))
    line = order(count, chance=lambda: data.draw(st.floats(0, 0.99)), breaker=data.draw(st.integers(0, 5)))
    flying: list[Turn] = []
    failed: set[str] = set()
    last: dict[str, int] = {}
    tried_in_all = 0
    for number in range(data.draw(st.integers(1, 40))):
        step = data.draw(st.sampled_from(["add", "take", "finish"]))
        if step == "add":
            groups = data.draw(st.lists(st.sampled_from("abcd"), max_size=4))
            receives = data.draw(st.integers(1, 3))
            line.add(message(group, 10 * number + n, receives=receives) for n, group in enumerate(groups))
        elif step == "take" and (turn := line.take(searching=data.draw(st.booleans()))) is not None:
            assert turn.group not in failed
            assert turn.group not in {one.group for one in flying}
            flying.append(turn)
        elif step == "finish" and flying:
            turn = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            stays = data.draw(st.booleans())
            tried = data.draw(st.integers(1, len(turn.messages))) if stays else len(turn.messages)
            tried_in_all += tried
            numbers = [int(one.message_id[1:]) for one in turn.messages]
            assert [last.get(turn.group, -1), *numbers] == sorted([last.get(turn.group, -1), *numbers])
            last[turn.group] = numbers[-1]
            line.finish(turn, tried=tried, stays=stays)
            failed |= {turn.group} if stays else set()
    assert count is None or tried_in_all + sum(len(turn.messages) for turn in flying) <= count
