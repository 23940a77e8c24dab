"""Queues by group and by reason: what a look shows, what it hides, and that all is released."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.model.names import Names
from fifo_cli.operations.queues.order_labels import label
from fifo_cli.operations.queues.peek import peek
from fifo_cli.operations.queues.summary import QueueSummary, summarise
from fifo_cli.render.queue_tables import summary_table
from tests.fakes import Clock
from tests.unit.operations.test_browse import CountingSqs, FakeAws
from tests.unit.operations.test_order_labels import message

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def filled(*messages: tuple[str, str | None]) -> Queue:
    sqs = CountingSqs(Clock(), "p-dlq.fifo")
    for number, (group, reason) in enumerate(messages):
        attributes: Any = {"park_reason": {"DataType": "String", "StringValue": reason}} if reason else {}
        sqs.send_message(
            QueueUrl="p-dlq.fifo",
            MessageBody=str(number),
            MessageGroupId=group,
            MessageDeduplicationId=str(number),
            MessageAttributes=attributes,
        )
    return Queue(FakeAws(sqs), Names("p"), "dlq")


def sums(found: QueueSummary) -> tuple[Any, ...]:
    return (
        found.counted,
        found.seen,
        found.hidden,
        {one.group: one.seen for one in found.groups},
        {one.reason: (one.seen, one.groups) for one in found.reasons},
    )


@pytest.mark.parametrize(
    ("messages", "options", "expected"),
    [
        ([], {}, (0, 0, 0, {}, {})),
        ([("a", None)], {}, (1, 1, 0, {"a": 1}, {None: (1, 1)})),
        (
            [("a", "HTTP 422"), ("b", "HTTP 422"), ("a", "HTTP 404")],
            {},
            (3, 3, 0, {"a": 2, "b": 1}, {"HTTP 422": (2, 2), "HTTP 404": (1, 1)}),
        ),
        ([("a", "x")] * 25, {}, (25, 10, 15, {"a": 10}, {"x": (10, 1)})),
        (
            [("a", "x")] * 25 + [("b", "y")] * 3,
            {},
            (28, 13, 15, {"a": 10, "b": 3}, {"x": (10, 1), "y": (3, 1)}),
        ),
        ([("a", "x"), ("b", "y")], {"group": "b"}, (2, 2, 0, {"b": 1}, {"y": (1, 1)})),
        ([("a", "x"), ("b", "y")], {"expression": "body == `0`"}, (2, 2, 0, {"a": 1}, {"x": (1, 1)})),
        ([("zo%C3%AB", "x")], {"group": "zoë"}, (1, 1, 0, {"zo%C3%AB": 1}, {"x": (1, 1)})),
        ([("a", "x"), ("b", None)], {}, (2, 2, 0, {"a": 1, "b": 1}, {"x": (1, 1), None: (1, 1)})),
        ([("a", "x")], {"group": "nobody"}, (1, 1, 0, {}, {})),
    ],
)
def test_what_is_seen_is_summed_up_and_released(messages: Any, options: Any, expected: Any) -> None:
    queue = filled(*messages)
    found = summarise(queue, **options)
    assert sums(found) == expected
    assert found.exit_code == (ExitCode.ATTENTION if options.get("group") == "nobody" else ExitCode.OK)
    assert queue.counts().in_flight == 0
    assert summary_table(found, width=80, now=NOW)


def test_the_table_has_reasons_groups_and_what_is_hidden() -> None:
    found = summarise(filled(*[("a", "HTTP 422 from shop")] * 12, ("zo%C3%AB", "HTTP 404 from shop")))
    lines = summary_table(found, width=80, now=NOW).splitlines()
    assert lines[0] == "p-dlq.fifo counts 13; 11 seen"
    assert lines[2:5] == [
        "SEEN  GROUPS  REASON",
        "  10       1  HTTP 422 from shop",
        "   1       1  HTTP 404 from shop",
    ]
    assert lines[6].split() == ["GROUP", "SEEN", "OLDEST", "NEWEST"]
    assert [line.split()[:2] for line in lines[7:9]] == [["a", "10"], ["zoë", "1"]]
    assert lines[-1].startswith("p-dlq.fifo: 2 of 13 could not be seen")


def test_many_groups_are_cut_in_the_table_and_whole_in_json() -> None:
    found = summarise(filled(*((f"g{number:02}", "x") for number in range(30))))
    assert "and 10 groups more" in summary_table(found, width=80, now=NOW)
    document = found.document()
    assert len(document["groups"]) == 30
    assert set(document) == {"queue", "counted", "seen", "hidden", "groups", "reasons"}
    assert set(document["groups"][0]) == {"group", "seen", "oldest_sent_at", "newest_sent_at"}


def test_it_does_not_look_where_a_look_could_move_a_message_to_the_dlq() -> None:
    sqs = CountingSqs(Clock(), "p-dlq.fifo")
    sqs.policy = '{"maxReceiveCount": 3, "deadLetterTargetArn": "arn:aws:sqs:r:1:q"}'
    queue = Queue(FakeAws(sqs), Names("p"), "dlq")
    with pytest.raises(UsageError):
        summarise(queue)
    assert summarise(queue, force=True).seen == 0


LONG = "c" * 128
IN_HOLD = ["zo%C3%AB", "zoe", "a#b", LONG, "zo%C3%AB", "*"]


def held() -> Queue:
    """A hold queue with messages of several groups on their way to main, each under its label."""
    sqs = CountingSqs(Clock(), "p-hold.fifo")
    for number, group in enumerate(IN_HOLD):
        labels = label(message(group=group, message_id=f"m-{number}", queue="dlq"))
        sqs.send_message(
            QueueUrl="p-hold.fifo",
            MessageBody=str(number),
            MessageGroupId=labels.group,
            MessageDeduplicationId=labels.dedup_id,
        )
    return Queue(FakeAws(sqs), Names("p"), "hold")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("zoë", ["0", "4"]),
        ("zo%C3%AB", ["0", "4"]),
        ("zoe", ["1"]),
        ("a#b", ["2"]),
        (LONG, ["3"]),
        ("*", ["5"]),
        ("zo", []),
        ("b", []),
    ],
)
def test_a_group_is_found_in_hold_by_its_name_and_not_by_its_label(asked: str, found: list[str]) -> None:
    seen = peek(held(), group=asked)
    assert [one.body for one in seen.messages] == found
    assert seen.missed == (not found)
    by_filter = peek(held(), expression=f"group == '{asked}' || group_id == '{asked}'")
    assert [one.body for one in by_filter.messages] == found
    sums_ = summarise(held(), group=asked)
    assert [one.seen for one in sums_.groups] == ([len(found)] if found else [])


def test_the_groups_of_hold_are_those_of_main() -> None:
    found = {one.group: one.seen for one in summarise(held()).groups}
    assert found == {"zo%C3%AB": 2, "zoe": 1, "a#b": 1, LONG: 1, "*": 1}
