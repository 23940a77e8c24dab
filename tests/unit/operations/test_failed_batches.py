from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from fifo_cli.aws.sqs import Queue, RejectedEntry
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Progressed, Waiting, Warned
from fifo_cli.model.message import ReceivedMessage, from_sqs
from fifo_cli.model.queue_counts import Counted
from fifo_cli.operations.stream import failed_batches as failed
from fifo_cli.operations.stream.failed_batches import (
    FailedBatch,
    InFlightBatches,
    NotAFailureRecordError,
    delete_done,
    held,
    parse_failure,
    read_failed,
)
from fifo_cli.operations.stream.reader import ReadPace
from fifo_cli.operations.stream.replay_store import temporary_checkpoint
from tests.unit.operations.simulated_stream import FastClock, SimulatedStream, chain, record

TABLE = "arn:aws:dynamodb:eu-west-1:1:table/orders"
STREAM = f"{TABLE}/stream/2026-01-02T03:04:05.678"


def failure(shard: str = "shardId-1", first: str = "0012", last: str = "0034", **more: Any) -> dict[str, Any]:
    info = {
        "shardId": shard,
        "startSequenceNumber": first,
        "endSequenceNumber": last,
        "approximateArrivalOfFirstRecord": "2026-01-02T03:04:05Z",
        "approximateArrivalOfLastRecord": "2026-01-02T03:04:06Z",
        "batchSize": 3,
        "streamArn": STREAM,
    }
    return {
        "requestContext": {"requestId": "r", "functionArn": "f", "condition": "RetryAttemptsExhausted"},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": None},
        "version": "1.0",
        "timestamp": "2026-01-02T03:04:07.000Z",
        "DDBStreamBatchInfo": {**info, **more.pop("info", {})},
        **more,
    }


def parse(document: Any) -> FailedBatch:
    return parse_failure(json.dumps(document), table_arn=TABLE)


def test_a_failure_record_names_shard_and_range():
    assert parse(failure()) == FailedBatch(STREAM, "shardId-1", "0012", "0034", 3)


def test_one_made_for_s3_holds_the_records_as_text_or_as_they_are():
    raw = record(12)
    raw["dynamodb"]["ApproximateCreationDateTime"] = 1_767_323_000.0
    event = {"Records": [raw]}
    for payload in (event, json.dumps(event)):
        assert parse(failure(payload=payload)).records == (raw,)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "not JSON",
        "[" * 100_000,
        json.dumps({"DDBStreamBatchInfo": None}),
        json.dumps(failure(info={"startSequenceNumber": "first"})),
        json.dumps(failure(info={"batchSize": "many"})),
        json.dumps({"DDBStreamBatchInfo": {"streamArn": STREAM}}),
        json.dumps(failure(payload="{}")),
        json.dumps(failure(payload={"Records": [{"eventID": "e", "eventName": "ALTER", "dynamodb": {}}]})),
        json.dumps(failure(payload={"Records": [{"eventID": "e", "eventName": "INSERT", "dynamodb": {}}]})),
    ],
)
def test_whatever_else_a_message_holds_is_said_to_be_none(body):
    with pytest.raises(NotAFailureRecordError, match="it is not a failure record"):
        parse_failure(body, table_arn=TABLE)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("null", "its parts are not what Lambda documents"),
        ("not JSON", "it is not JSON"),
        ("{}", "it has no DDBStreamBatchInfo"),
        (json.dumps({"DDBStreamBatchInfo": {"streamArn": STREAM}}), "it has no shardId"),
        (
            json.dumps(failure(info={"startSequenceNumber": "0035"})),
            "it begins at 0035, after its end 0034",
        ),
    ],
)
def test_what_is_wrong_with_it_is_said_in_a_persons_words(body, said):
    with pytest.raises(NotAFailureRecordError) as raised:
        parse_failure(body, table_arn=TABLE)
    assert str(raised.value) == f"it is not a failure record of a stream: {said}"


def test_a_failure_record_of_another_table_is_none_of_ours():
    for arn in (STREAM.replace("orders", "others"), STREAM.replace("orders", "orders-2")):
        with pytest.raises(NotAFailureRecordError, match="no stream of this pipeline's table"):
            parse(failure(info={"streamArn": arn}))


def test_batches_are_worked_off_in_the_order_of_stream_shard_and_number():
    later = f"{TABLE}/stream/2026-02-02T03:04:05.678"
    batches = [
        parse(failure("b", "2")),
        parse(failure("a", "10")),
        parse(failure("a", "9")),
        parse(failure("a", "1", info={"streamArn": later})),
    ]
    shown = [(b.stream == later, b.shard, b.first) for b in sorted(batches, key=lambda batch: batch.order)]
    assert shown == [(False, "a", "9"), (False, "a", "10"), (False, "b", "2"), (True, "a", "1")]


class FakeFailures(Queue):
    """The queue of failures in memory; ``elsewhere`` receives find it in flight with another consumer."""

    def __init__(self, *messages: ReceivedMessage, elsewhere: int = 0) -> None:
        self.name = "orders-stream-failures"
        self.messages = list(messages)
        self.elsewhere = elsewhere
        self.hidden: list[tuple[tuple[str, ...], int]] = []
        self.deleted: list[str] = []
        self.out = 0
        self.receives = 0
        self.refuse_hiding = False
        self.was_hidden = threading.Event()

    def counts(self) -> Counted:
        return Counted("orders.fifo", len(self.messages), self.out + (self.elsewhere > 0), 0)

    def receive(self, **asked: Any) -> list[ReceivedMessage]:
        self.receives += 1
        if self.elsewhere:
            self.elsewhere -= 1
            if not self.elsewhere:
                self.messages.append(message("late"))
        given, self.messages = self.messages[:10], self.messages[10:]
        self.out += len(given)
        return given

    def change_visibility(self, handles: Sequence[str], *, seconds: int) -> list[RejectedEntry]:
        self.hidden.append((tuple(handles), seconds))
        self.was_hidden.set()
        if self.refuse_hiding and seconds:
            raise AwsError("throttled")
        return []

    def delete(self, handles: Sequence[str]) -> list[RejectedEntry]:
        self.deleted += handles
        return []


def message(name: str, body: str | None = None, *, handle: str = "") -> ReceivedMessage:
    text = json.dumps(failure()) if body is None else body
    return from_sqs(
        {"MessageId": name, "ReceiptHandle": handle or f"handle-{name}", "Body": text}, "stream-failures"
    )


def test_all_are_taken_and_given_back_at_the_end():
    queue = FakeFailures(*(message(f"m{n}") for n in range(23)), message("odd", "?"))
    with held(queue, table_arn=TABLE, wait=0) as in_flight:
        assert len(in_flight.batches) == 23
        assert set(in_flight.kept) == {"odd"}
    assert queue.hidden == [(tuple(f"handle-{name}" for name in [*(f"m{n}" for n in range(23)), "odd"]), 0)]


def test_they_are_given_back_when_the_work_on_them_fails():
    queue = FakeFailures(message("m"))
    with pytest.raises(AwsError), held(queue, table_arn=TABLE, wait=0):
        raise AwsError("something else")
    assert queue.hidden == [(("handle-m",), 0)]


def test_what_another_run_holds_is_waited_for():
    queue = FakeFailures(message("m"), elsewhere=6)
    events: list[Event] = []
    with held(queue, table_arn=TABLE, wait=0, listener=events.append) as in_flight:
        assert set(in_flight.batches) == {"m", "late"}
    assert any(isinstance(event, Waiting) for event in events)


def test_what_another_run_holds_is_not_waited_for_without_end():
    queue = FakeFailures(elsewhere=1000)
    with held(queue, table_arn=TABLE, wait=0) as in_flight:
        assert not in_flight.batches
    assert queue.receives < 50


def test_a_message_that_is_given_out_twice_is_one_with_its_newest_handle():
    queue = FakeFailures(message("m"), message("m", handle="newer"))
    with held(queue, table_arn=TABLE, wait=0) as in_flight:
        assert (list(in_flight.batches), in_flight.handles) == (["m"], {"m": "newer"})


def test_they_stay_hidden_as_long_as_it_takes(monkeypatch):
    monkeypatch.setattr(failed, "_REFRESH_SECONDS", 0.01)
    queue = FakeFailures(message("m"))
    queue.refuse_hiding = True
    events: list[Event] = []
    with held(queue, table_arn=TABLE, wait=0, listener=events.append):
        queue.was_hidden.clear()
        assert queue.was_hidden.wait(60)
    assert (("handle-m",), failed.VISIBILITY_SECONDS) in queue.hidden
    assert any(isinstance(event, Warned) and "may come again" in event.text for event in events)


def test_what_was_not_gathered_is_not_deleted_however_little_is_left_to_do():
    queue = FakeFailures(message("m"))
    with held(queue, table_arn=TABLE, wait=0) as in_flight, temporary_checkpoint() as checkpoint:
        assert delete_done(queue, in_flight, checkpoint) == 0
        assert queue.deleted == []
        in_flight.gathered.add("m")
        assert delete_done(queue, in_flight, checkpoint) == 0
        assert queue.deleted == ["handle-m"]
    assert queue.hidden[-1] == ((), 0)


def test_interrupted_it_gathers_no_more():
    in_flight = InFlightBatches(batches={"m": parse(failure())})
    with temporary_checkpoint() as checkpoint:
        read_failed(None, in_flight, checkpoint, ("INSERT",), stopped=lambda: True)  # type: ignore[arg-type]
    assert in_flight.gathered == set()


def test_a_batch_is_gathered_from_its_own_records_and_one_that_lacks_some_is_kept(monkeypatch):
    shard = chain("shardId-1", range(10, 40))
    shard.records[4]["eventName"] = "REMOVE"  # which the mapping filters out: in the range, not in the size
    monkeypatch.setattr(failed, "StreamSource", lambda aws, arn: SimulatedStream([shard]))
    whole = parse(failure(first=f"{12:030}", last=f"{15:030}"))
    cut = parse(failure(first=f"{5:030}", last=f"{11:030}", info={"batchSize": 7}))
    inside = record(99)
    inside["dynamodb"]["ApproximateCreationDateTime"] = 1_767_323_099.0
    carried = parse(failure("gone", payload={"Records": [inside]}, info={"batchSize": 1}))
    in_flight = InFlightBatches(batches={"whole": whole, "cut": cut, "carried": carried})
    clock, events = FastClock(), list[Event]()
    with temporary_checkpoint() as checkpoint:
        pace = ReadPace(sleep=clock.sleep, clock=clock, workers=1)
        read_failed(
            None,  # type: ignore[arg-type]
            in_flight,
            checkpoint,
            ("INSERT",),
            pace=pace,
            listener=events.append,
        )
        found = [one["eventID"] for one in checkpoint.waiting()]
    assert sorted(found) == ["e10", "e11", "e12", "e13", "e14", "e15", "e99"]
    assert (in_flight.expired, in_flight.partial, set(in_flight.kept)) == (5, True, {"cut"})
    assert in_flight.kept["cut"] == "5 of its 7 records have expired"
    assert in_flight.gathered == {"whole", "cut", "carried"}
    shown = [one for one in events if isinstance(one, Progressed)]
    assert " of 11 records of failed batches read" in shown[0].text
    assert shown[0].share is not None


@pytest.mark.parametrize(
    ("last", "closed", "trimmed", "empties", "expired", "kept"),
    [
        (15, False, 0, 0, 0, ""),
        (15, False, 0, 7, 0, ""),  # empty answers in between prove nothing
        (15, False, 0, 99, 0, "4 of its 4 records were not read"),
        (19, False, 0, 0, 0, "4 of its 8 records were not read"),  # the shard gives no more
        (19, True, 0, 0, 4, "4 of its 8 records have expired"),  # it has ended: there are no more
        (15, False, 4, 0, 2, "2 of its 4 records have expired"),  # later ones are there
        (15, True, 8, 0, 4, "4 of its 4 records have expired"),
    ],
)
def test_records_have_expired_only_where_the_shard_proves_it(
    monkeypatch, last, closed, trimmed, empties, expired, kept
):
    shard = chain("shardId-1", range(10, 16), closed=closed, trimmed=min(trimmed, 6))
    if trimmed == 8:
        shard.records, shard.trimmed = [], 0
    stream = SimulatedStream(
        [shard], trouble=lambda kind, number: "empty" if kind == "records" and number <= empties else None
    )
    monkeypatch.setattr(failed, "StreamSource", lambda aws, arn: stream)
    size = last - 11
    batch = parse(failure(first=f"{12:030}", last=f"{last:030}", info={"batchSize": size}))
    in_flight = InFlightBatches(batches={"m": batch})
    clock = FastClock()
    with temporary_checkpoint() as checkpoint:
        pace = ReadPace(sleep=clock.sleep, clock=clock, workers=1)
        read_failed(None, in_flight, checkpoint, ("INSERT",), pace=pace)  # type: ignore[arg-type]
    assert in_flight.expired == expired
    assert in_flight.kept.get("m", "").partition(":")[0] == kept
    assert in_flight.partial is (0 < in_flight.read < size)


def test_an_extension_that_sqs_does_not_confirm_is_said(monkeypatch):
    monkeypatch.setattr(failed, "_REFRESH_SECONDS", 0.01)
    queue = FakeFailures(message("m"))

    def unconfirmed(handles: Sequence[str], *, seconds: int) -> list[RejectedEntry]:
        queue.was_hidden.set()
        return [RejectedEntry(0, "not confirmed")]

    monkeypatch.setattr(queue, "change_visibility", unconfirmed)
    events: list[Event] = []
    with held(queue, table_arn=TABLE, wait=0, listener=events.append):
        queue.was_hidden.clear()
        assert queue.was_hidden.wait(60)
    assert any("may come again: not confirmed" in event.text for event in events if isinstance(event, Warned))
