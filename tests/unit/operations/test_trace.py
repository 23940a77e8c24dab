"""The key that a trace is asked for, and what of it is looked for in the logs."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fifo_cli.aws.logs import LogEvent
from fifo_cli.errors import UsageError
from fifo_cli.handlers import exact_json
from fifo_cli.operations.stream.evidence import logger_of
from fifo_cli.operations.stream.item_keys import read_key, shown_key
from fifo_cli.operations.stream.trace import _fragment, _instant, next_step, trace_key

PLAIN = (("id", "S"),)
NUMBER = (("id", "N"),)
SORTED = (("customer", "S"), ("n", "N"))


@pytest.mark.parametrize(
    ("text", "keys", "key"),
    [
        ("4711", PLAIN, {"id": "4711"}),
        ('{"id": "4711"}', PLAIN, {"id": "4711"}),
        ('"4711"', PLAIN, {"id": "4711"}),
        ("4711", NUMBER, {"id": 4711}),
        ("0.1234567890123456789012", NUMBER, {"id": Decimal("0.1234567890123456789012")}),
        ("c 1", SORTED, {"customer": "c 1"}),
        ('{"customer": "c 1"}', SORTED, {"customer": "c 1"}),
        ('{"customer": "c 1", "n": 2.50}', SORTED, {"customer": "c 1", "n": 2.5}),
        ("{not json", PLAIN, {"id": "{not json"}),
        ('{"id": "{\\"id"}', PLAIN, {"id": '{"id'}),
    ],
)
def test_a_key_is_json_or_the_plain_partition_key(text: str, keys: Any, key: dict[str, Any]) -> None:
    assert trace_key(text, keys) == key


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('{"order": "1"}', PLAIN),
        ('{"id": "1", "n": 2}', PLAIN),
        ('{"customer": "c", "n": "2"}', SORTED),
        ('{"n": 2}', SORTED),
        ("{}", SORTED),
        ('{"customer": "c", "m": 2}', SORTED),
        ("abc", NUMBER),
        ("", PLAIN),
    ],
)
def test_a_key_that_does_not_fit_the_table_is_a_usage_error(text: str, keys: Any) -> None:
    with pytest.raises(UsageError, match=r"whose key is|is not enough"):
        trace_key(text, keys)


@pytest.mark.parametrize("text", ['{"id":', "{'id': '4711'}", '{"id": "4711"', "{"])
def test_what_begins_like_json_and_is_none_is_no_plain_key(text: str) -> None:
    with pytest.raises(UsageError, match=r"begins like JSON, and is not JSON: the table's key is id \(S\)"):
        trace_key(text, PLAIN)


def test_a_refused_key_is_reported_the_whole_key_of_the_table() -> None:
    with pytest.raises(UsageError, match=r"whose key is customer \(S\), n \(N\)"):
        trace_key("{}", SORTED)


@pytest.mark.parametrize(
    "key",
    [
        {"id": "o-12_ab"},
        {"id": 'a "quoted" name'},
        {"id": "back\\slash-and-more"},
        {"id": "Grüße, naïve"},
        {"customer": "c", "n": 12345},
        {"id": "\u2028\u0001"},
    ],
)
def test_what_is_looked_for_in_the_logs_stands_there_as_it_is(key: dict[str, Any]) -> None:
    """The key is JSON in a string of JSON there, so quotes, backslashes and more look different."""
    logged = exact_json.dumps({"message": "delivered", "item_key": exact_json.dumps(key)})
    assert _fragment(key) in logged


def test_a_plain_key_is_looked_for_as_a_whole() -> None:
    assert _fragment({"id": "customer-7/order 12.b:c@d"}) == "customer-7/order 12.b:c@d"


def test_a_number_that_json_readers_would_round_is_shown_as_text() -> None:
    text = '{"id":0.1234567890123456789012,"n":2.5}'
    assert shown_key(read_key(text)) == {"id": "0.1234567890123456789012", "n": 2.5}
    assert read_key("{no") is None


def test_a_replays_lines_are_reported_from_the_functions() -> None:
    by_function = LogEvent("1", 1, "", "2026/11/23/[1]aa1fd6ebb857")
    by_replay = LogEvent("1", 1, "", "replay/host/12-20261123T120000000000")
    assert logger_of("enqueuer", by_function) == "enqueuer"
    assert logger_of("enqueuer", by_replay) == "replay"
    assert logger_of("worker", LogEvent("1", 1, "", "drain/host/12-2026")) == "worker"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-02T03:04:05.678Z", datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("0001-01-01T00:00:00.000+14:00", "0001-01-01T00:00:00.000+14:00"),
        ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59-14:00"),
        ("T", "T"),
    ],
)
def test_the_time_of_parking_is_an_instant_if_it_is_as_we_write_it(text: str, instant: object) -> None:
    assert _instant(text) == instant


ABSURD: Any = [
    ("", PLAIN, "the key '' does not fit this table, whose key is id (S): the key attribute 'id' is empty"),
    ("", NUMBER, "the key '' does not fit this table"),
    ('""', PLAIN, "the key attribute 'id' is empty"),
    ("  ", NUMBER, "the key '  ' does not fit this table"),
    ("abc", NUMBER, "the key attribute 'id' is a string; the table's is a number"),
    ('{"ID": "1"}', PLAIN, "the key attribute 'id' is missing; 'ID' is not a key attribute"),
    ('{"id": null}', PLAIN, "the key attribute 'id' is null; the table's is a string"),
    ('{"id": {"S": "4711"}}', PLAIN, "the key attribute 'id' is an object; the table's is a string"),
    ('{"id": NaN}', NUMBER, "begins like JSON, and is not JSON: the table's key is id (N)"),
    ('{"id": Infinity}', NUMBER, "begins like JSON, and is not JSON"),
    ('{"id": 1e500}', NUMBER, "'id' is out of range"),
    ("a\nb\x1b[1m", NUMBER, r"the key 'a\nb\x1b[1m' does not fit"),
    ("x" * 3000, PLAIN, "the key attribute 'id' has 3,000 bytes"),
    ("{" * 5000, PLAIN, "the key attribute 'id' has 5,000 bytes"),
    ("\ud800", PLAIN, "holds half of a surrogate pair"),
]


@pytest.mark.parametrize(("text", "keys", "said"), ABSURD)
def test_an_absurd_key_is_named_with_the_reason_and_what_to_write(text: str, keys: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        trace_key(text, keys)
    assert said in caught.value.message
    assert caught.value.message.startswith("the key '")
    assert len(caught.value.message) < 400
    assert (caught.value.hint or "").startswith("write '{")


KEY = '{"id": "it\'s"}'


@pytest.mark.parametrize(
    ("stage", "facts", "said"),
    [
        ("filtered", {"unwanted": "message.where is false"},
         "if it should be sent: correct [message] where in fifo.toml, then `fifo-cli deploy`,"
         " then `fifo-cli replay --missing`"),
        ("filtered", {"unwanted": "MODIFY is not in message.events"}, "correct [message] events in"),
        ("filtered", {"unwanted": "orders:to_message returned None"}, "correct your code, then"),
        ("filtered", {"unwanted": "it was written before this pipeline began ([table] start)"},
         """if it should be sent: `fifo-cli replay --key '{"id": "it'"'"'s"}'`"""),
        ("deleted", {"unwanted": "message.where is false"}, "correct [message] where"),
        ("lost", {}, "`fifo-cli replay --missing` sends it"),
        ("parked", {"group": "zo\u00eb x"},
         "`fifo-cli peek --queue dlq --group 'zo\u00eb x'` shows it; once that is fixed,"
         " `fifo-cli redrive --group 'zo\u00eb x'`"),
        ("parked", {}, "`fifo-cli peek --queue dlq` shows it; once that is fixed, `fifo-cli redrive`"),
        ("stuck", {"group": "a"}, "`fifo-cli status` says what to do first"),
        ("moved", {}, "`fifo-cli history` shows who took it away"),
        ("unknown", {}, "check the key; `fifo-cli trace --since 7d"),
        ("deleted", {}, ""),
        ("delivered", {}, ""),
        ("queued", {}, ""),
    ],
)  # fmt: skip
def test_what_an_item_s_place_calls_for_is_named(stage: str, facts: dict[str, str], said: str) -> None:
    found = next_step(stage, KEY, **facts)
    assert said in found if said else not found
