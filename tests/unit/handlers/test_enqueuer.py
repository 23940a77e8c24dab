from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.handlers import enqueuer
from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.enqueuer import Enqueuer, handler
from fifo_cli.handlers.runtime import UserCodeError
from tests.fakes import Clock, FakeSqs, silent_journal
from tests.faults import Action, AnswerWithError, Call, Pass, on, refusing
from tests.unit.handlers.test_records import record, rules


class Context:
    """Lambda's context, with all the time in the world otherwise otherwise."""

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
        monkeypatch.setattr(enqueuer, "stdout_journal", journal)
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
    sqs.rule = refusing(lambda entry: entry["MessageDeduplicationId"] in ("e9", "e12"))
    answer = invoke([item(n, f"g{n % 3}") for n in range(5, 15)], group="g")
    assert answer == {"batchItemFailures": [{"itemIdentifier": "9999"}]}


def test_when_sqs_cannot_be_called_at_all_the_error_counts_as_the_functions(invoke, sqs):
    sqs.rule = on(do=AnswerWithError("AccessDenied", "no"))
    with pytest.raises(Exception, match="AccessDenied"):
        invoke([item(1)])


def test_when_sqs_fails_midway_the_rest_is_reported_and_what_was_sent_is_not_repeated(invoke, sqs):
    sqs.rule = on(nth=2, do=AnswerWithError("AccessDenied", "no"))
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
        ("info", "batch ended"),
    ]


def test_the_log_shows_every_records_fate_and_no_body(invoke, log):
    invoke([item(1, secret={"S": "classified"}), {**item(2), "eventName": "MODIFY"}], group="g")
    assert "classified" not in str(log)
    assert log[:-1] == [
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


def ends(log: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the line that every invocation ends with."""
    return next(line for line in log if line["message"] in ("batch ended", "batch failed"))


def test_an_invocation_ends_with_its_counts(invoke, log):
    batch = [item(1), item(2, total={"N": "x"}), {**item(3), "eventName": "MODIFY"}]
    invoke(batch)
    counts = {"records": 3, "enqueued": 1, "parked": 1, "skipped": 1, "failed": 0}
    assert ends(log) == {"level": "info", "message": "batch ended", **counts}


def test_an_invocation_that_could_not_send_all_says_why(invoke, sqs, log):
    sqs.rule = refusing(lambda entry: True)
    invoke([item(1), item(2)])
    assert ends(log) == {
        "level": "warning",
        "message": "batch ended",
        "records": 2,
        "enqueued": 0,
        "parked": 0,
        "skipped": 0,
        "failed": 2,
        "owner": "aws",
        "reason": ends(log)["reason"],
    }
    assert "InternalError" in ends(log)["reason"]


def test_a_fault_of_configuration_parks_nothing_and_is_named(sqs, log, monkeypatch):
    def broken() -> Enqueuer:
        raise UserCodeError("orders:to_message", "cannot be loaded: ModuleNotFoundError: no module x")

    monkeypatch.setattr(enqueuer, "_enqueuer", broken)
    monkeypatch.setattr(
        enqueuer, "stdout_journal", lambda level, message, **facts: log.append({"message": message, **facts})
    )
    with pytest.raises(UserCodeError):
        handler({"Records": [item(1)]}, Context())
    assert log == [
        {
            "message": "batch failed",
            "owner": "configuration",
            "what": "orders:to_message",
            "reason": "cannot be loaded: ModuleNotFoundError: no module x",
        }
    ]
    assert not sqs.queues["dlq"].messages


def test_one_record_that_cannot_be_read_stops_no_other(invoke, sqs):
    broken = {**item(2), "dynamodb": None}
    assert invoke([item(1), broken, item(3)]) == {"batchItemFailures": []}
    assert [m.dedup_id for m in sqs.queues["main"].messages] == ["e1", "e3"]
    (parked,) = sqs.queues["dlq"].messages
    assert parked.dedup_id == "park-e2"


CODE = st.sampled_from(
    [
        lambda item: _raise(SystemExit(1)),
        lambda item: _raise(GeneratorExit()),
        lambda item: _raise(KeyboardInterrupt()),
        lambda item: _raise(asyncio.CancelledError()),
        lambda item: _raise(OSError(5, "x")),
        lambda item: item.update(at=object()) or item,
        lambda item: iter(()),
        lambda item: {"n": float("nan")},
    ]
)


def _raise(error: BaseException) -> Any:
    raise error


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), CODE), min_size=1, max_size=12))
def test_whatever_code_does_with_some_records_all_others_are_enqueued_in_order(kinds):
    queues = FakeSqs(Clock(), "main", "dlq")

    def code(value: Any) -> Any:
        bad = kinds[int(value["id"][1:])]
        return value if bad is None else bad(value)

    guard = CodeGuard("orders:to_message", Notes(Path("/dev/null/notes")), limit=30, calls_network=False)
    made = Enqueuer(
        replace(rules(code=code, group="g"), guard=guard),
        queues,  # type: ignore[arg-type]
        {"main": "main", "dlq": "dlq"},
        silent_journal,
    )
    report = made.enqueue([item(number) for number in range(len(kinds))])
    guard.close()
    assert not report.unsent
    good = [f"e{number}" for number, bad in enumerate(kinds) if bad is None]
    assert [m.dedup_id for m in queues.queues["main"].messages] == good
    bad = [f"park-e{number}" for number, bad in enumerate(kinds) if bad is not None]
    assert [m.dedup_id for m in queues.queues["dlq"].messages] == bad


REFUSALS = {
    "characters": ("InvalidMessageContents", "it has characters outside the allowed set"),
    "too long": ("InvalidParameterValue", "Message must be shorter than 262144 bytes."),
    "spelled as a legacy code": ("AWS.SimpleQueueService.InvalidMessageContents", "no"),
    "spelled as an exception": ("InvalidMessageContentsException", "no"),
    "a call too long": ("AWS.SimpleQueueService.BatchRequestTooLong", "262144 bytes, you have sent 300000"),
}


@pytest.mark.parametrize("whole_call", [False, True])
@pytest.mark.parametrize("kind", REFUSALS)
def test_what_sqs_refuses_for_what_it_holds_is_parked_and_its_group_goes_on(
    invoke, sqs, log, kind, whole_call
):
    code, text = REFUSALS[kind]

    def is_bad(entry: Mapping[str, Any]) -> bool:
        return entry["MessageDeduplicationId"] in ("e3", "e12")

    def refuse_call(call: Call) -> Action:
        return AnswerWithError(code, text) if any(map(is_bad, call.json()["Entries"])) else Pass()

    sqs.rule = refuse_call if whole_call else refusing(is_bad, code, text, sender_fault=True)
    answer = invoke([item(n, f"g{n % 5}") for n in range(20)], group="g")
    assert answer == {"batchItemFailures": []}
    main, dlq = sqs.queues["main"].messages, sqs.queues["dlq"].messages
    for group in range(5):
        mine = [m.dedup_id for m in main if m.group == f"g{group}"]
        assert mine == [f"e{n}" for n in range(group, 20, 5) if n not in (3, 12)]
    assert {m.dedup_id for m in dlq} == {"park-e3", "park-e12"}
    reasons = {m.attributes["park_reason"]["StringValue"] for m in dlq}
    assert all(reason.startswith("SQS refuses the message: ") and text in reason for reason in reasons)
    assert [line["event_id"] for line in log if line["message"] == "parked"].count("e3") == 1


@pytest.mark.parametrize(
    ("code", "sender_fault"),
    [
        ("InternalError", False),
        ("InvalidParameterValue", False),
        ("KmsThrottled", True),
        ("AccessDenied", True),
    ],
)
def test_what_sqs_refuses_for_another_reason_is_retried(invoke, sqs, code, sender_fault):
    sqs.rule = refusing(
        lambda entry: entry["MessageDeduplicationId"] == "e3", code, sender_fault=sender_fault
    )
    answer = invoke([item(n, f"g{n}") for n in range(5)], group="g")
    assert answer == {"batchItemFailures": [{"itemIdentifier": "9993"}]}
    assert not sqs.queues["dlq"].messages


def test_what_the_dlq_refuses_too_is_parked_with_its_keys_only_and_retried_if_even_that_fails(invoke, sqs):
    limits = {"main": 5, "dlq": 400}

    def is_long(entry: Mapping[str, Any]) -> bool:
        queue = "dlq" if entry["MessageDeduplicationId"].startswith("park-") else "main"
        return len(entry["MessageBody"]) > limits[queue]

    sqs.rule = refusing(is_long, "InvalidParameterValue", "Message must be shorter", sender_fault=True)
    large = item(1, text={"S": "x" * 500})
    assert invoke([large]) == {"batchItemFailures": []}
    (parked,) = sqs.queues["dlq"].messages
    assert "new_image" not in parked.body
    assert "i1" in parked.attributes["item_key"]["StringValue"]
    limits["dlq"] = 5
    with_next = invoke([item(2, text={"S": "x" * 500}), item(3, group="other")], group="g")
    assert with_next == {"batchItemFailures": [{"itemIdentifier": "9992"}]}
