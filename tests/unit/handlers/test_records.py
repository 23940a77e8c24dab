from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fifo_cli.handlers.records import MESSAGE_BYTES_MAX, Outgoing, Rules, Skipped, plain, to_message
from fifo_cli.handlers.runtime import from_document

NOTHING = {"events": ["INSERT"], "where": None, "body": None, "group": None}


def rules(code=None, **message: Any) -> Rules:
    return Rules(
        from_document(
            {
                "pipeline": "p",
                "queues": {"main": "p.fifo", "dlq": "p-dlq.fifo"},
                "message": {**NOTHING, **message},
                "messages_per_run": 10,
                "run_needs": 15,
                "apis": [],
                "code": {"message": "orders:to_message" if code else None, "request": None},
            }
        ),
        code,
    )


def record(
    image: dict[str, Any] | None = None, *, event="INSERT", sequence="300", **data: Any
) -> dict[str, Any]:
    new = {"id": {"S": "i1"}, "total": {"N": "12.50"}} if image is None else image
    return {
        "eventID": "e1",
        "eventName": event,
        "dynamodb": {
            "Keys": {"id": {"S": "i1"}},
            "NewImage": new,
            "SequenceNumber": sequence,
            "ApproximateCreationDateTime": 1_700_000_000.0,
            **data,
        },
    }


def sent(answer: Outgoing | Skipped) -> Outgoing:
    assert isinstance(answer, Outgoing)
    return answer


def test_an_insert_becomes_a_message_with_all_its_attributes():
    assert to_message(record(), rules()) == Outgoing(
        queue="main",
        group="all",
        dedup_id="e1",
        body='{"id":"i1","total":12.5}',
        attributes={
            "event_id": "e1",
            "stream_sequence": "300",
            "event_name": "INSERT",
            "item_key": '{"id":"i1"}',
            "created_at": "2023-11-14T22:13:20.000Z",
        },
        stream_sequence="300",
    )


def test_a_record_read_from_the_stream_directly_gives_the_same_message_as_one_from_lambda():
    direct = record(ApproximateCreationDateTime=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    direct["dynamodb"]["NewImage"]["blob"] = {"B": b"\x00\xff"}
    lambdas = record()
    lambdas["dynamodb"]["NewImage"]["blob"] = {"B": "AP8="}
    assert to_message(direct, rules()) == to_message(lambdas, rules())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"S": ""}, ""),
        ({"N": "1"}, 1),
        ({"BOOL": False}, False),
        ({"NULL": True}, None),
        ({"B": b"\x00"}, "AA=="),
        ({"SS": ["b", "a"]}, ["a", "b"]),
        ({"NS": ["10", "9", "0.5"]}, [0.5, 9, 10]),
        ({"BS": [b"\xff", b"\x00"]}, ["/w==", "AA=="]),
        ({"M": {"a": {"L": [{"M": {}}, {"L": []}]}}}, {"a": [{}, []]}),
    ],
)
def test_every_attribute_type_becomes_plain_json(value, expected):
    assert plain(value) == expected


def test_events_that_are_not_wanted_are_skipped():
    assert to_message(record(event="MODIFY"), rules()) == Skipped("300", "MODIFY is not in message.events")


def test_a_removal_is_told_by_its_old_image():
    removal = record(event="REMOVE", OldImage={"id": {"S": "old"}})
    assert sent(to_message(removal, rules(events=["REMOVE"]))).body == '{"id":"old"}'


@pytest.mark.parametrize(
    ("where", "kept"), [("total > `12`", True), ("total > `13`", False), ("`0`", True), ("nix", False)]
)
def test_where_decides_as_jmespath_does(where, kept):
    assert isinstance(to_message(record(), rules(where=where)), Outgoing) is kept


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("id", "i1"),
        ("total", "12.5"),
        ("absent", "all"),
        ("[id, total]", '["i1",12.5]'),
        ("@", '{"id":"i1","total":12.5}'),
    ],
)
def test_group_is_made_of_whatever_the_expression_gives(group, expected):
    assert sent(to_message(record(), rules(group=group))).group == expected


def test_body_is_what_the_expression_gives():
    assert (
        sent(to_message(record(), rules(body="{order: id, sum: total}"))).body == '{"order":"i1","sum":12.5}'
    )


def test_the_users_code_makes_the_body_or_skips():
    assert sent(to_message(record(), rules(code=lambda item: {"n": item["id"]}))).body == '{"n":"i1"}'
    assert to_message(record(), rules(code=lambda item: None)) == Skipped(
        "300", "orders:to_message returned None"
    )


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (rules(code=lambda item: _raise(KeyError("x"))), "orders:to_message raised KeyError: 'x'"),
        (rules(code=lambda item: _raise(SystemExit(3))), "orders:to_message raised SystemExit: 3"),
        (rules(code=lambda item: {1, 2}), "the body is not JSON"),
        (rules(code=lambda item: float("nan")), "the body is not JSON"),
        (rules(where="length(total)"), "message.where failed"),
        (rules(group="sum(id)"), "message.group failed"),
    ],
)
def test_what_raises_goes_to_the_dlq_with_the_item_and_the_reason(made, reason):
    message = sent(to_message(record(), made))
    assert (message.queue, message.body) == ("dlq", '{"id":"i1","total":12.5}')
    assert message.attributes["park_reason"].startswith(reason)
    assert message.attributes["park_from"] == "enqueuer"
    assert message.attributes["stream_sequence"] == "300"
    assert message.dedup_id != "e1"


def test_an_item_over_the_size_limit_goes_to_the_dlq_by_its_key():
    message = sent(to_message(record({"id": {"S": "i1"}, "big": {"S": "x" * MESSAGE_BYTES_MAX}}), rules()))
    assert message.queue == "dlq"
    assert json.loads(message.body) == {"item_key": {"id": "i1"}, "stream_sequence": "300"}
    assert str(MESSAGE_BYTES_MAX) in message.attributes["park_reason"]
    assert message.size <= MESSAGE_BYTES_MAX


def test_a_message_exactly_at_the_limit_is_sent_and_one_byte_more_is_not():
    overhead = sent(to_message(record({"b": {"S": ""}}), rules())).size
    fits = record({"b": {"S": "x" * (MESSAGE_BYTES_MAX - overhead)}})
    exceeds = record({"b": {"S": "x" * (MESSAGE_BYTES_MAX - overhead + 1)}})
    assert sent(to_message(fits, rules())).size == MESSAGE_BYTES_MAX
    assert sent(to_message(fits, rules())).queue == "main"
    assert sent(to_message(exceeds, rules())).queue == "dlq"


def test_a_stream_without_images_is_reported_not_guessed():
    bare = record()
    del bare["dynamodb"]["NewImage"]
    message = sent(to_message(bare, rules()))
    assert (message.queue, "NewImage" in message.attributes["park_reason"]) == ("dlq", True)


def test_a_reason_never_holds_what_an_attribute_may_not():
    message = sent(to_message(record(), rules(code=lambda item: _raise(ValueError("a\x00b\ud800")))))
    assert message.attributes["park_reason"] == "orders:to_message raised ValueError: a?b?"
