"""Messages as lines of a file."""

from __future__ import annotations

import dataclasses
import json
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.model.message import Attribute, Message
from fifo_cli.model.message_json import LINE_BYTES_MAX, LineError, from_line, identity, message_bytes, to_line
from tests.contract.json_shapes import shape_problems

LEGAL = string.ascii_letters + string.digits + string.punctuation
# What SQS takes in a body: all of XML 1.0's characters.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff").filter(
        lambda c: c >= " " or c in "\t\n\r"
    ),
    min_size=1,
)
ATTRIBUTE = (
    st.builds(Attribute, st.sampled_from(["String", "String.json"]), TEXT)
    | st.builds(Attribute, st.just("Number"), st.integers().map(str))
    | st.builds(Attribute, st.sampled_from(["Binary", "Binary.png"]), st.binary(min_size=1))
)
MESSAGES = st.builds(
    Message,
    message_id=st.uuids().map(str),
    group=st.text(LEGAL, min_size=1, max_size=128),
    dedup_id=st.text(LEGAL, min_size=1, max_size=128),
    sequence_number=st.integers(0, 2**128).map(str),
    queue=st.just("dlq"),
    sent_at=st.just(datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
    first_received_at=st.none(),
    receives=st.just(0),
    body=TEXT,
    attributes=st.dictionaries(st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True), ATTRIBUTE, max_size=10),
    trace_header=st.none() | st.just("Root=1-2-3"),
)


@given(message=MESSAGES)
def test_a_message_comes_back_from_its_line_byte_for_byte(message):
    line = to_line(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert from_line(line, queue="dlq") == message


@given(message=MESSAGES)
def test_what_makes_a_line_is_its_id_and_all_that_a_load_restores(message):
    seen_again = dataclasses.replace(message, receives=7, sequence_number="1", queue="main", dedup_id="x")
    assert identity(seen_again) == identity(message)
    for other in (
        dataclasses.replace(message, body=message.body + "."),
        dataclasses.replace(message, group="other" if message.group != "other" else "o"),
        dataclasses.replace(message, message_id="other"),
        dataclasses.replace(message, attributes={**message.attributes, "EXTRA": Attribute("String", "v")}),
    ):
        assert identity(other) != identity(message)
    assert identity(message, salt="a") != identity(message, salt="b")


def line(**fields: object) -> bytes:
    return json.dumps({"group": "g", "body": "b", **fields}).encode()


@pytest.mark.parametrize(
    "sent_at",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-02", "yesterday", "", 5, [1]],
)
def test_an_odd_time_in_a_line_does_not_matter(sent_at):
    message = from_line(line(sent_at=sent_at), queue="dlq")
    assert identity(message) == identity(from_line(line(), queue="dlq"))


def attribute(name: str = "a", **fields: object) -> bytes:
    return line(attributes={name: {"type": "String", "value": "v", **fields}})


def test_group_and_body_are_all_that_a_line_needs():
    found = from_line(b'{"group": "g", "body": "b"}', queue="main")
    assert (found.group, found.body, found.attributes, found.queue) == ("g", "b", {}, "main")
    assert shape_problems("peek (jsonl)", found.document()) == []


def test_half_of_a_surrogate_pair_that_a_queue_holds_all_the_same_has_a_size_and_a_line():
    found = dataclasses.replace(
        from_line(line(), queue="main"), body="x\ud800", attributes={"a": Attribute("String", "\udfff")}
    )
    assert message_bytes(found) == 1 + 3 + (1 + 6 + 3)
    assert b"\\ud800" in to_line(found)


BAD = {
    "no JSON": (b"group: g", "it is not JSON"),
    "not UTF-8": (b'{"group": "\xff", "body": "b"}', "it is not UTF-8"),
    "a list": (b"[]", "no object"),
    "a field twice": (b'{"group": "g", "group": "h", "body": "b"}', "'group' is there twice"),
    "a misspelt field": (line(atributes={}), "unknown field 'atributes'"),
    "no group": (b'{"body": "b"}', "'group' is missing"),
    "an empty group": (line(group=""), "'group' ''"),
    "a group with a space": (line(group="a b"), "'group' 'a b'"),
    "a group that is too long": (line(group="x" * 129), "1 to 128"),
    "a group of another alphabet": (line(group="ä"), "ASCII"),
    "a number for a group": (line(group=7), "'group' 7"),
    "no body": (b'{"group": "g"}', "'body' is missing"),
    "an object for a body": (line(body={"a": 1}), "'body' must be a string"),
    "an empty body": (line(body=""), "at least one character"),
    "a control character": (line(body="a\x01"), "'\\x01' at 1"),
    "half a character": (b'{"group": "g", "body": "\\ud800"}', "'\\ud800' at 0"),
    "a list of attributes": (line(attributes=[]), "'attributes' must be an object"),
    "too many attributes": (
        line(attributes={f"a{n}": {"type": "String", "value": "v"} for n in range(11)}),
        "there are 11 attributes",
    ),
    "a bad name": (attribute("a b"), "not a name"),
    "AWS's own name": (attribute("AWS.x"), "not a name"),
    "two dots": (attribute("a..b"), "not a name"),
    "a name that is too long": (attribute("a" * 257), "not a name"),
    "an attribute without a type": (line(attributes={"a": {"value": "v"}}), "must be {"),
    "an unknown type": (attribute(type="Text"), "the type 'Text'"),
    "an empty value": (attribute(value=""), "at least one character"),
    "bad base64": (attribute(type="Binary", value="AAE"), "must be base64"),
    "no number": (attribute(type="Number", value="1,5"), "is not a number"),
    "a control character in a value": (attribute(value="\x00"), "'\\x00', which SQS refuses"),
    "a trace header that is none": (line(trace_header=1), "'trace_header' must be a string"),
    "too deep": (b"[" * 200_000, "nested too deeply"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_line_that_sqs_would_not_take_is_refused_with_the_reason(kind):
    bad, reason = BAD[kind]
    with pytest.raises(LineError) as caught:
        from_line(bad, queue="main")
    assert reason in str(caught.value)


def test_all_that_is_wrong_with_a_line_is_reported_at_once():
    with pytest.raises(LineError) as caught:
        from_line(b'{"group": "a b", "body": "", "x": 1}', queue="main")
    assert len(caught.value.problems) == 3


def test_the_queues_own_limit_counts_body_names_types_and_values():
    message = from_line(
        line(body="ü" * 10, attributes={"ab": {"type": "Binary", "value": "AAEC"}}), queue="main"
    )
    assert message_bytes(message) == 20 + 2 + 6 + 3
    assert from_line(to_line(message), queue="main", bytes_max=31) == message
    with pytest.raises(LineError, match="31 bytes; the queue takes 30"):
        from_line(to_line(message), queue="main", bytes_max=30)


def test_the_largest_message_fits_into_the_longest_line():
    largest = from_line(line(body="\t" * 1_048_576), queue="main")
    assert len(to_line(largest)) < LINE_BYTES_MAX
