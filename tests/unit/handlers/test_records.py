from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.limits import MESSAGE_BYTES_MAX
from fifo_cli.handlers.parked_records import NoRecordError, record_of
from fifo_cli.handlers.records import Outgoing, Rules, Skipped, plain, to_message
from fifo_cli.handlers.runtime import from_document

# No record is noted, and no code here hangs.
GUARD = CodeGuard("orders:to_message", Notes(Path("/dev/null/notes")), limit=30, calls_network=False)
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
        GUARD if code else None,
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


def test_a_removal_is_reported_by_its_old_image():
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


# What the DLQ holds of record().
RECORD = {
    "event_name": "INSERT",
    "keys": {"id": {"S": "i1"}},
    "new_image": {"id": {"S": "i1"}, "total": {"N": "12.50"}},
    "old_image": None,
}


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
def test_what_raises_goes_to_the_dlq_with_the_record_and_the_reason(made, reason):
    message = sent(to_message(record(), made))
    assert (message.queue, json.loads(message.body)) == ("dlq", RECORD)
    assert message.attributes["park_reason"].startswith(reason)
    assert message.attributes["park_from"] == "enqueuer"
    assert message.attributes["stream_sequence"] == "300"
    assert message.dedup_id != "e1"


def test_a_record_over_the_size_limit_goes_to_the_dlq_by_its_key():
    message = sent(to_message(record({"id": {"S": "i1"}, "big": {"S": "x" * MESSAGE_BYTES_MAX}}), rules()))
    assert message.queue == "dlq"
    assert json.loads(message.body) == {"event_name": "INSERT", "keys": {"id": {"S": "i1"}}}
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


def _spoil(item: Any) -> Any:
    item["at"] = datetime.now(UTC)
    return item


def _recursive(item: Any) -> Any:
    item["self"] = item
    return item


class _Odd:
    """An object that lies and raises wherever it is asked."""

    def __str__(self) -> str:
        raise SystemExit(9)

    __repr__ = __str__

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise GeneratorExit


class _OddError(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class _OddDict(dict[str, Any]):
    def items(self) -> Any:
        raise SystemExit(1)


@pytest.mark.parametrize(
    "code",
    [
        _spoil,
        _recursive,
        lambda item: b"bytes",
        lambda item: (part for part in item),
        lambda item: {"n": float("nan")},
        lambda item: {"n": Decimal("Infinity")},
        lambda item: {"n": 10**5_000},
        lambda item: {1: {2, 3}},
        lambda item: _Odd(),
        lambda item: [_Odd()],
        lambda item: _OddDict(a=Decimal("0.1")),
        lambda item: item.clear() or _raise(RuntimeError("gone")),
        lambda item: _raise(_OddError()),
        lambda item: _raise(asyncio.CancelledError()),
        lambda item: _raise(GeneratorExit()),
        lambda item: _raise(SystemExit()),
        lambda item: _raise(StopIteration()),
        lambda item: _raise(MemoryError()),
        lambda item: _raise(BaseExceptionGroup("g", [SystemExit(1), ValueError("x")])),
        lambda item: _raise(ConnectionError("no network")),
    ],
)
def test_whatever_code_does_the_record_is_parked_as_the_stream_had_it(code):
    raw = record()
    message = sent(to_message(raw, rules(code=code)))
    assert (message.queue, json.loads(message.body)) == ("dlq", RECORD)
    assert message.attributes["event_id"] == "e1"
    assert message.attributes["stream_sequence"] == "300"
    assert raw == record()


def test_a_surrogate_that_code_returns_is_sent_escaped():
    message = sent(to_message(record(), rules(code=lambda item: "\ud800")))
    assert (message.queue, message.body) == ("main", '"\\ud800"')


def test_ctrl_c_while_code_runs_is_not_the_record_s(tmp_path):
    def loop(item: Any) -> Any:
        while True:
            pass

    def ctrl_c() -> bool:
        raise KeyboardInterrupt

    notes = Notes(tmp_path / "notes")
    guard = CodeGuard("orders:to_message", notes, limit=5, calls_network=False, stopped=ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        to_message(record(), replace(rules(code=loop), guard=guard))
    guard.close()


def test_a_keyboard_interrupt_of_codes_own_is_the_record_s():
    assert sent(to_message(record(), rules(code=lambda item: _raise(KeyboardInterrupt())))).queue == "dlq"


def _without(*names: str) -> dict[str, Any]:
    made = record()
    for name in names:
        made.pop(name, None)
        made["dynamodb"] = {key: value for key, value in made.get("dynamodb", {}).items() if key != name}
    return made


def _nested(depth: int) -> Any:
    value: Any = {"S": "x"}
    for _ in range(depth):
        value = {"L": [value]}
    return value


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (record({"x": {"QQ": "1"}}), "an attribute has the unknown type 'QQ'"),
        (record({"x": {"N": "abc"}}), "not a number"),
        (record({"x": {"NS": ["1", "NaN"]}}), ""),
        (record({"x": {}}), ""),
        (record({"x": {"S": "a", "N": "1"}}), ""),
        (record({"x": "not an attribute"}), ""),
        (record({"x": {"M": ["not a map"]}}), ""),
        (record({"x": _nested(5_000)}), ""),
        (record({"x": {"B": object()}}), ""),
        (record(Keys=None), ""),
        (record(Keys={"id": {"QQ": 1}}), ""),
        (record(ApproximateCreationDateTime="soon"), ""),
        (record(ApproximateCreationDateTime=1e300), ""),
        (_without("NewImage"), "the record has no NewImage"),
        (_without("Keys", "NewImage"), "the record has no NewImage"),
        (_without("SequenceNumber"), "the record cannot be read: KeyError: 'SequenceNumber'"),
        (_without("eventID"), "the record cannot be read: KeyError: 'eventID'"),
        (_without("eventName"), "the record cannot be read: KeyError: 'eventName'"),
        ({"eventID": "e1", "eventName": "INSERT"}, "the record cannot be read: KeyError: 'dynamodb'"),
        ({"eventID": "e1", "eventName": "INSERT", "dynamodb": None}, "the record cannot be read"),
        ({}, "the record cannot be read"),
    ],
)
def test_a_malformed_record_is_parked_with_what_can_be_said_of_it(raw, reason):
    message = sent(to_message(raw, rules()))
    assert message.queue == "dlq"
    assert reason in message.attributes["park_reason"]
    assert all(message.attributes.values())
    assert json.loads(message.body)["event_name"] in ("INSERT", None, "None")
    assert message.size <= MESSAGE_BYTES_MAX


def test_a_parked_record_becomes_the_message_that_code_makes_of_it_now():
    raw = record(
        {
            "id": {"S": "i1"},
            "bin": {"B": b"\x00\xff"},
            "n": {"N": "1.999999999999999999"},
            "bs": {"BS": [b"a"]},
            "text": {"S": "\ud800\x00\uffff`"},
        }
    )
    parked = sent(to_message(raw, rules(code=lambda item: _raise(ValueError()))))
    again = record_of(parked.body, parked.attributes)
    assert to_message(again, rules(group="id")) == to_message(raw, rules(group="id"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"id":"i1","total":12.5}', "older fifo-cli"),
        ('{"item_key":{"id":"i1"},"stream_sequence":"300"}', "older fifo-cli"),
        ("not JSON", "older fifo-cli"),
        ("[" * 100_000, "older fifo-cli"),
        ("[]", "older fifo-cli"),
        ('{"event_name":"INSERT","keys":null}', "older fifo-cli"),
        ('{"event_name":"INSERT","keys":{"id":{"S":"i1"}}}', "too large"),
    ],
)
def test_a_parked_message_without_the_record_says_what_to_do(body, reason):
    with pytest.raises(NoRecordError, match=rf"{reason}.*replay"):
        record_of(body, {})


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
ANY_ERROR = st.sampled_from(
    [SystemExit, GeneratorExit, asyncio.CancelledError, ValueError, RecursionError, _OddError, OSError]
)


@given(image=ANY_VALUE, error=ANY_ERROR, event=ANY_VALUE)
def test_no_record_and_no_error_of_code_raises(image, error, event):
    raw = {**record(), "eventName": "INSERT"}
    raw["dynamodb"] = {**raw["dynamodb"], "NewImage": image, "Keys": event}
    parked = sent(to_message(raw, rules(code=lambda item: _raise(error()))))
    assert parked.queue == "dlq"
    assert json.loads(parked.body)["event_name"] == "INSERT"
