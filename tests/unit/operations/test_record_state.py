"""Where a record is, from what is known of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from fifo_cli.model.message import Attribute, Message
from fifo_cli.model.names import FunctionRole, QueueRole
from fifo_cli.model.worker_log import PausedGroup
from fifo_cli.operations.monitor.logs import LogLine
from fifo_cli.operations.stream.audit_store import Logger
from fifo_cli.operations.stream.evidence import Feed, GivenUp, LogEntry, Purge
from fifo_cli.operations.stream.record_state import (
    PRECEDENCE,
    FoundMessage,
    Hidden,
    Judge,
    RecordHistory,
    Stage,
    worst,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENQUEUED: tuple[Logger, str] = ("enqueuer", "enqueued")
LOGS: dict[FunctionRole, datetime | None] = {"enqueuer": START, "worker": START}
# All that could be seen was seen.
SEEN = Judge(logs=LOGS)
UNREAD = Judge(logs={"worker": START})  # the enqueuer's log is gone


def entry(logger: Logger, word: str, second: int, **facts: Any) -> LogEntry:
    line = LogLine(
        START + timedelta(seconds=second),
        "worker" if logger == "worker" else "enqueuer",
        "info",
        word,
        facts,
    )
    return LogEntry(logger, line, "log")


@pytest.mark.parametrize(
    ("judge", "stage", "detail"),
    [
        (
            Judge(handled={"": 101}),
            "unclear",
            "the enqueuer's log is gone; the worker's log is gone, so a delivery before may not be seen",
        ),
        (
            replace(UNREAD, hidden=Hidden("H")),
            "unclear",
            "the enqueuer's log is gone; it may be further back than can be seen: H",
        ),
        (UNREAD, "lost", "in no queue, and no log shows a delivery"),
    ],
)
def test_without_the_enqueuers_log_it_is_not_said_to_be_in_the_stream_still(judge, stage, detail):
    assert judge(life()) == (stage, detail)
    assert judge(life(unwanted="where is false"))[0] == "filtered"


def test_what_sqs_suppressed_is_reported_by_when_it_came_into_the_queue():
    one = life(ENQUEUED, ("replay", "suppressed"))
    assert one.sent is not None
    assert one.sent.word == "enqueued"
    assert SEEN(life(("replay", "suppressed")))[0] == "lost"


def life(
    *lines: tuple[Any, ...], found: list[FoundMessage] | None = None, unwanted: str = ""
) -> RecordHistory:
    log = [
        entry(line[0], line[1], second, **(line[2] if len(line) > 2 else {}))
        for second, line in enumerate(lines)
    ]
    return RecordHistory("e1", "INSERT", "100", created=START, unwanted=unwanted, log=log, found=found or [])


def found(queue: QueueRole, place: int = 1, **attributes: str) -> FoundMessage:
    message = Message(
        message_id="m1",
        group="g",
        dedup_id="d",
        sequence_number="1",
        queue=queue,
        sent_at=datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
        first_received_at=None,
        receives=0,
        body="{}",
        attributes={name: Attribute("String", value) for name, value in attributes.items()},
    )
    return FoundMessage(message, "g", place)


@pytest.mark.parametrize(
    ("record", "judge", "stage", "detail"),
    [
        (
            life(ENQUEUED, ("worker", "delivered", {"status": 201})),
            SEEN,
            "delivered",
            "at 2026-01-02T03:04:06.000Z with HTTP 201",
        ),
        (
            life(ENQUEUED, ("worker", "delivered"), ("worker", "delivered"), found=[found("main")]),
            SEEN,
            "delivered",
            "at 2026-01-02T03:04:07.000Z, 2 times in all",
        ),
        (life(ENQUEUED, found=[found("main", 3)]), SEEN, "queued", "number 3 in its group g"),
        (
            life(found=[found("hold"), found("dlq")]),
            SEEN,
            "queued",
            "in hold, while an in-order redrive is unfinished",
        ),
        (
            life(ENQUEUED, ("worker", "failed", {"reason": "HTTP 503"}), found=[found("main")]),
            SEEN,
            "stuck",
            "number 1 in its group g; the last attempt, at 2026-01-02T03:04:06.000Z, failed: HTTP 503",
        ),
        (
            life(
                ("worker", "failed", {"reason": "HTTP 503"}), ("worker", "parked"), found=[found("main", 2)]
            ),
            SEEN,
            "queued",
            "number 2 in its group g",
        ),
        (
            life(
                found=[
                    found("dlq", park_reason="no stock", park_status="422", park_at="T", park_from="worker")
                ]
            ),
            SEEN,
            "parked",
            "at T by worker (HTTP 422): no stock",
        ),
        (
            life(found=[found("dlq")]),
            SEEN,
            "parked",
            "at 2026-01-02T03:04:06.000Z: moved to the DLQ by SQS: no reason is kept",
        ),
        (
            life(ENQUEUED),
            Judge(hidden=Hidden("10 of 12 messages of p.fifo seen"), logs={"enqueuer": START}),
            "queued",
            "further back than can be seen, or in flight: 10 of 12 messages of p.fifo seen",
        ),
        (
            life(ENQUEUED),
            Judge(logs={"enqueuer": START}),
            "unclear",
            "the worker's log is gone, so a delivery before may not be seen",
        ),
        (
            life(ENQUEUED, ("worker", "failed")),
            SEEN,
            "lost",
            "failed by the worker at 2026-01-02T03:04:06.000Z; now in no queue, and no log shows a delivery",
        ),
        (
            life(unwanted="message.where is false"),
            SEEN,
            "filtered",
            "becomes no message: message.where is false",
        ),
        (
            life(("enqueuer", "skipped", {"reason": "message.where is false"})),
            SEEN,
            "lost",
            "skipped by the enqueuer at 2026-01-02T03:04:05.000Z, by rules other than those now:"
            " message.where is false",
        ),
        (
            life(),
            replace(SEEN, feed=Feed(given_up=(GivenUp("", 99, 100),))),
            "lost",
            "the enqueuer failed on its batch for good: `fifo-cli replay --failed` sends it",
        ),
        (
            life(),
            replace(SEEN, handled={"": 101}),
            "lost",
            "never enqueued, though later records of its shard were",
        ),
        (
            life(("enqueuer", "not enqueued", {"reason": "Throttled"})),
            SEEN,
            "stream",
            "refused by SQS at 2026-01-02T03:04:05.000Z: Throttled",
        ),
        (life(), replace(SEEN, feed=Feed(False, "paused")), "stream", "not enqueued: paused"),
        (life(), SEEN, "stream", "its turn in the stream has not come"),
    ],
)
def test_a_record_is_where_the_evidence_says(
    record: RecordHistory, judge: Judge, stage: Stage, detail: str
) -> None:
    assert judge(record) == (stage, detail)


def test_an_item_is_where_its_worst_record_is() -> None:
    assert worst(["delivered", "queued", "parked"]) == "parked"
    assert worst(["delivered"]) == "delivered"
    assert worst([]) is None
    assert set(PRECEDENCE) == set(get_args(Stage))


@pytest.mark.parametrize("steps", [(), (ENQUEUED,), (("worker", "parked"),)])
def test_what_a_late_log_line_may_still_show_is_not_called_lost(steps):
    judge = SEEN if steps else UNREAD
    late = replace(judge, settled=START - timedelta(seconds=1))
    assert late(life(*steps))[0] == "unclear"
    assert judge(life(*steps))[0] == "lost"
    assert late(life(*steps, ("worker", "delivered")))[0] == "delivered"


PAUSE = {"paused_until": "2026-01-02T03:09:05Z", "reason": "HTTP 503 from shop"}
HIDDEN = "its group is paused until 2026-01-02T03:09:05.000Z, and cannot be seen before that"


@pytest.mark.parametrize(
    ("word", "minutes", "stage", "detail"),
    [
        (
            "failed",
            1,
            "stuck",
            f"the last attempt, at 2026-01-02T03:04:15.000Z, failed: HTTP 503 from shop; {HIDDEN}",
        ),
        ("skipped", 1, "queued", f"{HIDDEN}: HTTP 503 from shop"),
        ("failed", 6, "queued", "further back than can be seen, or in flight: H"),
    ],
)
def test_a_message_whose_group_is_paused_cannot_be_seen(word, minutes, stage, detail):
    one = life(ENQUEUED)
    one.log.append(entry("worker", word, 10, **PAUSE))

    judge = replace(SEEN, hidden=Hidden("H"))

    assert replace(judge, now=START + timedelta(minutes=minutes))(one) == (stage, detail)
    assert judge(one)[0] == "queued"


def test_a_message_behind_a_paused_head_is_said_to_wait_for_it():
    one = life(ENQUEUED)
    one.group = "g3"
    now = START + timedelta(minutes=1)
    paused = (PausedGroup("g3", now + timedelta(minutes=4), now, "HTTP 503 from shop"),)

    judge = Judge(hidden=Hidden("H"), now=now, paused=paused)

    waits = (
        "behind others of its group g3, which is paused until 2026-01-02T03:09:05.000Z: HTTP 503 from shop"
    )
    assert judge(one) == ("queued", waits)
    one.group = "g4"
    assert judge(one)[1] == "further back than can be seen, or in flight: H"


def test_a_pause_of_an_earlier_attempt_says_nothing():
    one = life(ENQUEUED)
    one.log += [entry("worker", "failed", 10, **PAUSE), entry("worker", "failed", 20, reason="by a drain")]

    judge = replace(SEEN, hidden=Hidden("H"), now=START + timedelta(minutes=1))

    assert "paused" not in judge(one)[1]


@pytest.mark.parametrize(("unseen", "stage"), [(None, "moved"), (1, "moved"), (0, "unclear")])
def test_a_purge_that_named_all_it_took_did_not_take_what_it_did_not_name(unseen, stage):
    purge = Purge("main", START + timedelta(hours=1), "purged by alice", unseen)
    judge = replace(SEEN, purges=(purge,))

    found, why = judge(life(ENQUEUED))

    assert (found, why.partition(",")[0]) == (stage, "purged by alice")
    if stage == "unclear":
        assert why.endswith("it was gone before; `fifo-cli replay --key KEY` sends one again")


@pytest.mark.parametrize(("target", "stage"), [("dlq", "parked"), ("main", "queued")])
def test_what_was_loaded_into_the_dlq_is_looked_for_there(target, stage):
    log = (
        ("worker", "parked"),
        ("operator", "dumped", {"target": "/d.jsonl"}),
        ("operator", "loaded", {"target": target, "reason": "by alice"}),
    )
    judge = replace(SEEN, hidden=Hidden("10 of 12 of main", "10 of 12 of the DLQ"))
    found, detail = judge(life(*log))
    assert found == stage
    assert ("of the DLQ" if target == "dlq" else "of main") in detail
