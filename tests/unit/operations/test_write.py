"""Writing many items: in order within a chain, side by side beyond, whatever the table refuses."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.errors import AwsError, NotDeployedError
from fifo_cli.events import Event, Progressed
from fifo_cli.operations.table.put import NewItem, PutResult, put
from fifo_cli.operations.table.write import chains_of

KEYS = (("id", "S"),)
# Of each call: the codes of a refusal of the whole, or how many of its items are left.
Trouble = Callable[[str, list[str]], str | int]


class Table:
    """DynamoDB as far as a put needs it; every call is checked against its rules."""

    def __init__(self, trouble: Trouble = lambda call, ids: 0) -> None:
        self.trouble = trouble
        self.written: list[tuple[str, str, int]] = []  # key, group, number
        self.calls: Counter[str] = Counter()
        self.lock = threading.Lock()

    def client(self, service: str) -> Table:
        assert service == "dynamodb"
        return self

    def put_item(self, *, TableName: str, Item: dict[str, Any]) -> dict[str, Any]:
        self._take("PutItem", [Item])
        return {}

    def batch_write_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:
        [(table, requests)] = RequestItems.items()
        items = [one["PutRequest"]["Item"] for one in requests]
        left = self._take("BatchWriteItem", items)
        return {"UnprocessedItems": {table: [{"PutRequest": {"Item": one}} for one in left]} if left else {}}

    def _take(self, call: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        keys = [one["id"]["S"] for one in items]
        groups = [one["g"]["S"] for one in items]
        assert len(set(keys)) == len(keys) <= 25
        assert len(set(groups)) == len(groups)
        with self.lock:
            self.calls[call] += 1
            trouble = self.trouble(call, keys)
            if isinstance(trouble, str):
                raise ClientError({"Error": {"Code": trouble, "Message": "no"}}, call)
            done = items[trouble:] if call == "BatchWriteItem" else items
            # In a batch, in no order.
            for one in random.sample(done, len(done)):
                self.written.append((one["id"]["S"], one["g"]["S"], int(one["n"]["N"])))
            return items[:trouble] if call == "BatchWriteItem" else []


def entries(*pairs: tuple[str, str]) -> list[NewItem]:
    return [
        NewItem("line", n, {"id": key, "g": group, "n": Decimal(n)})
        for n, (key, group) in enumerate(pairs, 1)
    ]


class NoPause(threading.Event):
    """A stop that nobody sets, and that is not waited for: a pause ends at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def run(table: Table, items: list[NewItem], **options: Any) -> PutResult:
    aws: Any = table
    return put(aws, "t", KEYS, items, **{"group": "g", "stop": NoPause(), **options})


def in_order(numbers: list[int]) -> bool:
    """Say whether the last write of each comes in order: one that is repeated has no effect."""
    return numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("names", "chains"),
    [
        ([], []),
        ([["a"], ["b"], ["a"]], [[0, 2], [1]]),
        ([["a", 1], ["b", 1], ["b", 2]], [[0, 1, 2]]),
        ([["a", 1], ["b", 2], ["c", 1], ["c", 2]], [[0, 1, 2, 3]]),
        ([["a", 1], ["b", 2], ["c", 3]], [[0], [1], [2]]),
        ([["a", 3], ["b", 2], ["b", 3], ["d", 4]], [[0, 1, 2], [3]]),
    ],
)
def test_a_lane_is_what_shares_a_group_or_a_key_directly_or_by_others(names: Any, chains: Any) -> None:
    assert [list(chain) for chain in chains_of(names)] == chains


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("ABCD")), max_size=60),
    st.lists(st.sampled_from([0, 0, 0, 1, 3, 25]), max_size=30),
)
def test_a_group_and_a_key_are_written_in_order_whatever_is_left_unprocessed(
    pairs: list[tuple[str, str]], left: list[int]
) -> None:
    troubles = iter(left)
    table = Table(lambda call, ids: next(troubles, 0))
    result = run(table, entries(*pairs))
    assert (result.written, result.error) == (len(pairs), None)
    assert sorted(n for _, _, n in table.written) == list(range(1, len(pairs) + 1))
    for place, names in enumerate(("abcdefghij", "ABCD")):
        for name in names:
            assert in_order([one[2] for one in table.written if one[place] == name])


def test_items_of_many_groups_take_few_calls_and_show_how_far_they_are() -> None:
    table, heard = Table(), list[Event]()
    result = run(table, entries(*((f"{n}", f"g{n % 100}") for n in range(1_000))), listener=heard.append)
    assert result.written == 1_000
    assert table.calls["BatchWriteItem"] < 100
    assert table.calls["PutItem"] < 50
    assert isinstance(heard[0], Progressed)
    assert " of 1,000 written" in heard[0].text
    assert heard[0].share is not None


def test_one_group_is_written_one_by_one() -> None:
    table = Table()
    run(table, entries(*((f"{n}", "all") for n in range(50))), group=None)
    assert table.calls == {"PutItem": 50}


def test_a_policy_without_batches_has_the_items_written_one_by_one() -> None:
    table = Table(lambda call, ids: "AccessDeniedException" if call == "BatchWriteItem" else 0)
    result = run(table, entries(*((f"{n}", f"g{n}") for n in range(100))))
    assert (result.written, result.error) == (100, None)
    assert table.calls["BatchWriteItem"] <= 8


def test_one_item_that_is_refused_is_named_and_the_others_of_its_call_are_written() -> None:
    table = Table(lambda call, ids: "ValidationException" if "5" in ids else 0)
    result = run(table, entries(*((f"{n}", f"g{n}") for n in range(10))))
    assert result.error is not None
    assert 'line 6 ({"id": "5"})' in result.error.message
    assert "5" not in {key for key, _, _ in table.written}
    assert (
        f"{result.written} of 10 items are written, of each message group the first ones"
        in result.error.message
    )
    assert "run the command again to write the rest" in result.error.hint


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]
)
def test_a_table_that_throttles_is_asked_again_until_all_is_written(code: str) -> None:
    tries = Counter[str]()

    def throttle(call: str, ids: list[str]) -> str | int:
        tries[call] += 1
        return code if tries[call] % 3 == 1 else 0

    result = run(Table(throttle), entries(*((f"{n}", f"g{n % 5}") for n in range(60))))
    assert (result.written, result.error) == (60, None)


def test_nothing_written_is_just_the_failure() -> None:
    with pytest.raises(NotDeployedError):
        run(Table(lambda call, ids: "ResourceNotFoundException"), entries(("1", "a"), ("2", "b")))
    with pytest.raises(AwsError):
        run(Table(lambda call, ids: "AccessDeniedException"), entries(("1", "a"), ("2", "b")))


def test_a_stop_ends_what_is_in_hand_and_the_rest_is_saved_where_keys_repeat() -> None:
    stop, saved = threading.Event(), list[str]()

    def halt(call: str, ids: list[str]) -> int:
        stop.set()
        return 0

    def save(lines: Iterable[str]) -> str:
        saved.extend(lines)
        return "/tmp/the rest.jsonl"

    items = entries(("1", "a"), ("2", "b"), ("1", "a"), ("3", "a"))
    result = run(Table(halt), items, stop=stop, save_rest=save)
    assert result.written == 2
    assert saved == ['{"id":"1","g":"a","n":3}\n', '{"id":"3","g":"a","n":4}\n']
    assert result.error is not None
    assert result.error.hint == "write the rest with `fifo-cli put '@/tmp/the rest.jsonl'`"


def test_a_stop_while_the_table_throttles_is_obeyed_at_once() -> None:
    stop = threading.Event()

    def throttle(call: str, ids: list[str]) -> str:
        stop.set()
        return "ThrottlingException"

    result = run(Table(throttle), entries(("1", "a"), ("2", "b")), stop=stop)
    assert result.written == 0
    assert result.error is not None
    assert "interrupted\n0 of 2 items are written" in result.error.message


def test_a_defect_in_a_thread_is_raised_and_hangs_nobody() -> None:
    def break_down(call: str, ids: list[str]) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Table(break_down), entries(*((f"{n}", f"g{n}") for n in range(200))))
