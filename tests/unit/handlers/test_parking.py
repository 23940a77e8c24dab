from __future__ import annotations

from typing import Any

from fifo_cli.handlers.limits import MESSAGE_BYTES_MAX
from fifo_cli.handlers.parking import park
from fifo_cli.handlers.visibility import QueueMessage
from tests.fakes import Clock, FakeSqs


def text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def parked(message: QueueMessage, **facts: Any):
    sqs: Any = FakeSqs(Clock(), "dlq")
    facts = {"reason": "HTTP 422: no", "status": 422, "source": "worker", **facts}
    park(sqs, "dlq", message, **facts)
    park(sqs, "dlq", message, **facts)
    (stored,) = sqs.queues["dlq"].messages  # the second was suppressed
    return stored


def held(body: str = "{}", attributes: dict[str, Any] | None = None, **system: str) -> QueueMessage:
    return QueueMessage("m1", "h", body, "group", attributes or {}, system)


def test_everything_of_the_message_is_kept_and_a_repeat_makes_no_second_copy():
    binary = {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
    stored = parked(held('{"a": 1}', {"mine": text("x"), "blob": binary}, AWSTraceHeader="Root=1-2"))
    assert (stored.body, stored.group) == ('{"a": 1}', "group")
    assert stored.attributes["mine"] == text("x")
    assert stored.attributes["blob"] == binary
    assert stored.system["AWSTraceHeader"]["StringValue"] == "Root=1-2"
    assert {"park_reason", "park_status", "park_at", "park_from"} < set(stored.attributes)


def test_the_original_deduplication_id_is_not_used_again():
    assert parked(held(MessageDeduplicationId="original")).dedup_id != "original"


def test_a_reason_from_an_earlier_parking_gives_way_to_the_new_one():
    stored = parked(held(attributes={"park_reason": text("old"), "park_status": text("400")}), status=None)
    assert stored.attributes["park_reason"] == text("HTTP 422: no")
    assert "park_status" not in stored.attributes


def test_a_message_with_ten_attributes_keeps_them_all_and_gets_none_of_ours():
    own = {f"a{n}": text(str(n)) for n in range(10)}
    assert parked(held(attributes=own)).attributes == own


def test_a_message_with_eight_attributes_gets_the_most_telling_two():
    own = {f"a{n}": text(str(n)) for n in range(8)}
    assert set(parked(held(attributes=own)).attributes) - set(own) == {"park_reason", "park_status"}


def test_a_message_at_the_size_limit_is_parked_without_additions():
    assert parked(held("x" * MESSAGE_BYTES_MAX)).attributes == {}


def test_a_long_reason_is_cut_and_an_illegal_one_cleaned():
    stored = parked(held(), reason="\x00" + "x" * 5000)
    assert stored.attributes["park_reason"]["StringValue"] == "?" + "x" * 499


def test_a_record_of_the_enqueuer_s_stays_one_whoever_parks_it():
    stored = parked(held(attributes={"park_from": text("enqueuer")}), source="operator")
    assert stored.attributes["park_from"] == text("enqueuer")
