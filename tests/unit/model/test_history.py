"""The events of the history: what is written is read back, and what is not ours is no error."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.errors import ExitCode
from fifo_cli.model.history_events import (
    MOVED_WORDS,
    End,
    Header,
    HistoryEvent,
    Move,
    MovedMessage,
    counts_of,
    encode,
    header_of,
    operations_of,
    parse,
    result_of,
    short_who,
    stayed_of,
    without_stayed,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
LINE_MAX = 256 * 1024 - 26
TEXTS = st.text(max_size=40)
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)
HEADERS = st.builds(
    header_of,
    id=st.text(min_size=1, max_size=16).filter(lambda text: text.isascii()),
    operation=st.sampled_from(["redrive", "keys set"]),
    command=st.text(min_size=1, max_size=40),
    who=TEXTS,
    host=TEXTS,
    began=TIMES,
    reason=TEXTS,
)
MESSAGES = st.builds(MovedMessage, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
MOVES = st.builds(
    Move,
    st.sampled_from(MOVED_WORDS),
    TEXTS,
    TEXTS,
    st.lists(MESSAGES, max_size=30).map(tuple),
    st.booleans(),
)
ENDS = st.builds(
    End, st.sampled_from([0, 1, 2, 3, 75, 130]), st.dictionaries(TEXTS, st.integers(), max_size=3), TEXTS
)


def event(**more: Any) -> HistoryEvent:
    header = header_of(
        id="a1",
        operation="park",
        command="fifo-cli park",
        who="arn:aws:iam::1:user/alice",
        host="ops",
        began=NOW,
    )
    return HistoryEvent(header, NOW, **more)


def test_what_stayed_after_all_did_not_leave() -> None:
    ids = [MovedMessage(name) for name in ("m1", "m2", "m3")]
    begun, ended = event(), event(end=End(1))
    noted = event(move=Move("parked", "main", "dlq", tuple(ids)))
    stayed = event(move=Move("stayed", "main", "dlq", tuple(ids[1:])))
    other = replace(noted, header=replace(noted.header, id="a2"))
    left = replace(noted, move=Move("parked", "main", "dlq", (ids[0],)))
    events = [begun, noted, other, stayed, ended]
    assert list(without_stayed(events, stayed_of(events))) == [begun, left, other, ended]
    assert list(without_stayed([begun, noted], stayed_of([]))) == [begun, noted]
    assert [one.messages for one in operations_of([begun, left, ended])] == [1]


@given(
    HEADERS,
    TIMES,
    st.one_of(st.none(), MOVES),
    st.one_of(st.none(), ENDS),
    st.sampled_from([700, 2_000, LINE_MAX]),
)
def test_what_is_written_is_read_back(header, time, move, end, bytes_max):
    written = HistoryEvent(header, time, move=move, end=None if move else end)
    lines = list(encode(written, bytes_max=max(bytes_max, 8_000)))
    read = [parse(line, logged=NOW) for line in lines]
    assert all(len(line.encode()) <= max(bytes_max, 8_000) for line in lines)
    if move is None:
        assert read == [written]
        return
    together = tuple(message for one in read if one and one.move for message in one.move.messages)
    assert together == move.messages
    assert {one and (one.header, one.time, one.move and one.move.word) for one in read} == {
        (header, time, move.word)
    }


def test_many_messages_take_several_events_each_within_the_limit():
    messages = tuple(
        MovedMessage(f"m{n}", f"e{n}", str(n), "ü" * 100, "d", '{"id": "ü"}') for n in range(5_000)
    )
    lines = list(encode(event(move=Move("dumped", "dlq", "x.jsonl", messages)), bytes_max=LINE_MAX))
    assert len(lines) > 1
    assert max(len(line.encode()) for line in lines) <= LINE_MAX
    read = [parse(line, logged=NOW) for line in lines]
    assert [one.event_id for part in read if part and part.move for one in part.move.messages] == [
        f"e{n}" for n in range(5_000)
    ]


def test_a_message_that_is_too_long_goes_with_its_ids_alone():
    huge = MovedMessage("m", "e", "1", "g" * 9_000, "d", "k" * 9_000)
    lines = encode(event(move=Move("parked", "main", "dlq", (huge, MovedMessage("n")))), bytes_max=4_000)
    read = [parse(line, logged=NOW) for line in lines]
    found = [one for part in read if part and part.move for one in part.move.messages]
    assert found == [MovedMessage("m", "e"), MovedMessage("n")]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "START RequestId: 1",
        "{",
        "[]",
        "null",
        "NaN",
        '{"message": "begun"}',
        '{"message": "begun", "id": 7, "operation": "park"}',
        '{"message": "begun", "id": "", "operation": "park"}',
        '{"message": "delivered", "id": "a", "operation": "park"}',
        '{"message": ["begun"], "id": "a", "operation": "park"}',
        "[" * 100_000,
        next(encode(event(end=End(0)), bytes_max=LINE_MAX))[:-9],
        '{"a":' * 50_000,
    ],
)
def test_what_is_not_ours_or_was_cut_short_is_left_out(line):
    assert parse(line, logged=NOW) is None


@pytest.mark.parametrize(
    "facts",
    [
        {"time": 7, "began": [], "who": None, "host": {}, "command": 1, "reason": False},
        {"time": "yesterday", "began": "9999-12-31T23:59:59-23:59"},
        {"message": "ended", "exit_code": "0", "counts": [1], "error": 3},
        {"message": "ended", "exit_code": True, "counts": {"moved": "x", "failed": None}},
        {"message": "dumped", "messages": "none", "source": 3},
        {"message": "dumped", "messages": [None, 3, {"event_id": 7}, {}], "event": ["history-everything"]},
    ],
)
def test_facts_of_another_kind_are_no_error(facts):
    line = json.dumps({"message": "begun", "id": "a", "operation": "park", **facts})
    read = parse(line, logged=NOW)
    assert read is not None
    assert operations_of([read])[0].document()["operation"] == "park"


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_is_a_result(code):
    assert result_of(code) in ("done", "attention", "refused", "failed", "interrupted")


def test_results_by_exit_code():
    expected = {0: "done", 1: "attention", 2: "refused", 75: "refused", 3: "failed", 130: "interrupted"}
    assert {code: result_of(code) for code in expected} == expected
    assert (result_of(129), result_of(143), result_of(-9)) == ("interrupted", "interrupted", "failed")


def of(id: str, host: str, began: datetime, **more: Any) -> HistoryEvent:
    header = Header(id, "park", "fifo-cli park", "alice", host, began)
    return HistoryEvent(header, more.pop("time", began), **more)


def test_overlapping_operations_are_put_together_and_ordered_by_time_then_host():
    later = NOW + timedelta(seconds=5)
    events = [
        of("1", "b", NOW),
        of("2", "a", NOW),
        of("3", "a", later),
        of("1", "b", NOW, end=End(0, {"moved": 2}), time=later),
        of("3", "a", later, move=Move("parked", "main", "dlq", (MovedMessage("m"),))),
    ]
    found = operations_of(events)
    assert [(one.id, one.result, one.messages) for one in found] == [
        ("2", "unfinished", 0),
        ("1", "done", 0),
        ("3", "unfinished", 1),
    ]
    assert found[1].document() == {
        "time": "2026-01-02T03:04:05.678Z",
        "operation": "park",
        "who": "alice",
        "host": "b",
        "command": "fifo-cli park",
        "result": "done",
        "reason": None,
        "ended": "2026-01-02T03:04:10.678Z",
        "counts": {"moved": 2},
        "messages": 0,
        "id": "1",
    }


def test_a_command_that_began_before_the_window_is_known_from_its_end():
    (found,) = operations_of([of("1", "a", NOW - timedelta(days=9), end=End(75, error="busy"), time=NOW)])
    assert (found.time, found.result, found.error) == (NOW - timedelta(days=9), "refused", "busy")


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:iam::123456789012:user/alice", "alice"),
        ("arn:aws:iam::123456789012:user/team/alice", "team/alice"),
        ("arn:aws:sts::123456789012:assumed-role/operators/alice@example.com", "operators/alice@example.com"),
        ("arn:aws:iam::123456789012:root", "root"),
        ("alice", "alice"),
        ("", ""),
    ],
)
def test_a_person_is_named_by_the_end_of_the_arn(arn, name):
    assert short_who(arn) == name


@pytest.mark.parametrize(
    ("document", "counts"),
    [
        ({"moved": 3, "engine": "client", "remaining": None, "failed": 0}, {"moved": 3, "failed": 0}),
        ({"parked": [{}, {}]}, {"parked": 2}),
        ({"changes": [1], "summary": {"create": 2, "update": 0}}, {"create": 2, "update": 0}),
        ({"enqueuer": "paused", "ok": True}, {}),
    ],
)
def test_the_numbers_of_a_result(document, counts):
    assert counts_of(document) == counts
