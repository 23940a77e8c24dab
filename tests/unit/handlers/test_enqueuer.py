from __future__ import annotations

from typing import Any

import pytest

from fifo_cli.handlers import enqueuer
from fifo_cli.handlers.enqueuer import Enqueuer, handler
from tests.fakes import Clock, FakeSqs, client_error
from tests.unit.handlers.test_records import record, rules


class Context:
    """Lambda's context, with all the time in the world unless told otherwise."""

    def __init__(self, milliseconds: int = 60_000) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@pytest.fixture
def sqs() -> Any:
    return FakeSqs(Clock(), "main", "dlq")


@pytest.fixture
def log() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def invoke(sqs, log, monkeypatch):
    def journal(level: str, message: str, **facts: Any) -> None:
        log.append({"level": level, "message": message, **facts})

    def call(records: list[dict[str, Any]], context: Context | None = None, **options: Any) -> dict[str, Any]:
        made = Enqueuer(rules(**options), sqs, {"main": "main", "dlq": "dlq"}, journal)
        monkeypatch.setattr(enqueuer, "_enqueuer", lambda: made)
        return handler({"Records": records}, context or Context())

    return call


def item(number: int, group: str = "g", **fields: Any) -> dict[str, Any]:
    made = record({"id": {"S": f"i{number}"}, "g": {"S": group}, **fields}, sequence=str(9990 + number))
    return {**made, "eventID": f"e{number}"}


def test_a_batch_is_enqueued_in_order_and_nothing_is_reported(invoke, sqs):
    assert invoke([item(n, "ab"[n % 2]) for n in range(20)], group="g") == {"batchItemFailures": []}
    for remainder, group in enumerate("ab"):
        ids = [m.dedup_id for m in sqs.queues["main"].messages if m.group == group]
        assert ids == [f"e{n}" for n in range(remainder, 20, 2)]


def test_the_same_batch_again_changes_nothing_within_five_minutes(invoke, sqs):
    batch = [item(n) for n in range(5)]
    invoke(batch)
    invoke(batch)
    assert len(sqs.queues["main"].messages) == 5


def test_a_refusal_is_answered_with_the_lowest_sequence_number_not_sent(invoke, sqs):
    sqs.refuse = lambda entry: (
        {"Code": "InternalError", "SenderFault": False}
        if entry["MessageDeduplicationId"] in ("e9", "e12")
        else None
    )
    answer = invoke([item(n, f"g{n % 3}") for n in range(5, 15)], group="g")
    assert answer == {"batchItemFailures": [{"itemIdentifier": "9999"}]}


def test_when_sqs_cannot_be_called_at_all_the_error_counts_as_the_functions(invoke, sqs):
    def refuse(action: str, request: dict[str, Any]) -> None:
        raise client_error(action, "AccessDenied", "no")

    sqs.before = refuse
    with pytest.raises(Exception, match="AccessDenied"):
        invoke([item(1)])


def test_when_sqs_fails_midway_the_rest_is_reported_and_what_was_sent_is_not_repeated(invoke, sqs):
    def refuse_the_second(action: str, request: dict[str, Any]) -> None:
        if len(sqs.calls) == 2:
            raise client_error(action, "AccessDenied", "no")

    sqs.before = refuse_the_second
    assert invoke([item(n) for n in range(5)]) == {"batchItemFailures": [{"itemIdentifier": "9991"}]}


def test_when_the_time_is_up_the_rest_is_left_to_the_next_invocation(invoke, sqs):
    assert invoke([item(1), item(2)], Context(1000)) == {"batchItemFailures": [{"itemIdentifier": "9991"}]}
    assert sqs.calls == []


def test_a_record_that_can_never_be_sent_is_parked_and_does_not_hold_up_the_shard(invoke, sqs, log):
    def code(value: dict[str, Any]) -> Any:
        if value["id"] == "i1":
            raise RuntimeError("no such product")
        return value

    assert invoke([item(0), item(1), item(2)], code=code) == {"batchItemFailures": []}
    assert [m.dedup_id for m in sqs.queues["main"].messages] == ["e0", "e2"]
    (parked,) = sqs.queues["dlq"].messages
    assert parked.attributes["park_reason"]["StringValue"].endswith("RuntimeError: no such product")
    assert [(line["level"], line["message"]) for line in log] == [
        ("info", "enqueued"),
        ("info", "enqueued"),
        ("warning", "parked"),
    ]


def test_the_log_tells_every_records_fate_and_no_body(invoke, log):
    invoke([item(1, secret={"S": "classified"}), {**item(2), "eventName": "MODIFY"}], group="g")
    assert "classified" not in str(log)
    assert log == [
        {
            "level": "info",
            "message": "skipped",
            "event_id": "e2",
            "stream_sequence": "9992",
            "item_key": '{"id":"i1"}',
            "reason": "MODIFY is not in message.events",
        },
        {
            "level": "info",
            "message": "enqueued",
            "event_id": "e1",
            "stream_sequence": "9991",
            "item_key": '{"id":"i1"}',
            "group": "g",
            "message_id": "m1",
            "sequence_number": "1",
            "reason": None,
        },
    ]
