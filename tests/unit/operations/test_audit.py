from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.aws.logs import LogEvent
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.settings import Settings
from fifo_cli.operations.monitor.logs import LogLine
from fifo_cli.operations.queues.browse import BrowseResult
from fifo_cli.operations.stream.audit import Audit, MissingIds, _verdict
from fifo_cli.operations.stream.audit_store import AuditedRecord
from fifo_cli.operations.stream.evidence import LogEntry, OpenRun, Purge, killed_invocations
from fifo_cli.operations.stream.record_state import Judge
from fifo_cli.operations.stream.trace import _Trace
from tests.unit.operations.pipeline_world import START, World

WRITES = st.tuples(
    st.just("write"),
    st.integers(0, 5),
    st.sampled_from("ab"),
    st.sampled_from([1, 1, 1, 0]),
    st.sampled_from(["INSERT", "INSERT", "INSERT", "MODIFY", "REMOVE"]),
)
ENQUEUES = st.tuples(st.just("enqueue"), st.sampled_from([False, False, False, True]))
RUNS = st.tuples(st.just("work"), st.integers(1, 12), st.sampled_from([200, 200, 422, 503]))
TROUBLES = st.one_of(
    st.tuples(st.just("give_up")),
    st.tuples(st.just("pause"), st.booleans()),
    st.tuples(st.just("replay"), st.sampled_from([1, 400]), st.integers(0, 9), st.integers(1, 20)),
    st.tuples(st.just("redrive")),
    st.tuples(st.just("redrive")),
    st.tuples(st.just("park"), st.integers(1, 2)),
    st.tuples(st.just("purge"), st.sampled_from(["main", "dlq"])),
    st.tuples(st.just("take_away"), st.sampled_from(["main", "dlq"])),
    st.tuples(st.just("wait"), st.just(400)),
)
# A round: some items, trouble or none, the enqueuer's turn, the worker's turn.
ROUNDS = st.tuples(
    st.lists(WRITES, min_size=1, max_size=9),
    st.lists(TROUBLES, max_size=2),
    st.lists(ENQUEUES, min_size=1, max_size=1),
    st.lists(TROUBLES, max_size=2),
    st.lists(RUNS, max_size=2),
)
HISTORIES = st.lists(ROUNDS, min_size=2, max_size=5).map(
    lambda rounds: [action for one in rounds for part in one for action in part]
)


PIPELINE = Settings.model_validate(
    {
        "pipeline": {"name": "orders"},
        "table": {"name": "orders"},
        "schedule": {"expressions": ["rate(5 minutes)"]},
        "api": ({"url": "https://api.example.com"},),
    }
)


def play(world: World, actions: list[tuple[Any, ...]]) -> None:
    for name, *arguments in actions:
        match name:
            case "write":
                world.write(*arguments)
            case "enqueue":
                world.enqueue(wrong=arguments[0])
            case "pause":
                world.paused = arguments[0]
            case "replay":
                pause, first, count = arguments  # after five minutes, SQS no longer suppresses what was sent
                world.clock.sleep(pause)
                world.replay(first, first + count)
            case "work":
                world.work(arguments[0], answering(arguments[1]))
            case "wait":
                world.clock.sleep(arguments[0])
            case _:
                getattr(world, name)(*arguments)


def answering(code: int) -> Callable[[str], int]:
    """Return an API that answers so; what is permanent for one message is not for the next."""
    return lambda event_id: code if code != 422 or int(event_id[1:]) % 2 else 200


def truth(world: World, since: datetime) -> dict[str, Any]:
    """Tell what an audit should say: by what the API took, the queues hold and the mapping has read."""
    times: dict[str, list[float]] = {}
    for event_id, at in world.accepted:
        times.setdefault(event_id, []).append(at)
    main, dlq = world.in_queue("main"), world.in_queue("dlq")
    proven, room = set(world.behind_ten().values()), world.room()
    sent_to = world.sent_to()
    text: dict[str, str] = {}
    wanted: list[tuple[str, str]] = []
    for index, record in enumerate(world.stream):
        data, event_id = record["dynamodb"], record["eventID"]
        image = data.get("NewImage", {})
        if data["ApproximateCreationDateTime"] < int(since.timestamp()):
            continue
        if record["eventName"] != "INSERT" or image["n"]["N"] == "0":
            continue
        wanted.append((event_id, image["g"]["S"]))
        if event_id in times:
            text[event_id] = "delivered"
        elif event_id in main & (world.seen["main"] | proven):
            text[event_id] = "queued"
        elif event_id in dlq & world.seen["dlq"]:
            text[event_id] = "parked"
        elif event_id in taken_away(world):
            text[event_id] = "moved"
        elif event_id in sent_to:
            text[event_id] = sent_to[event_id]
        else:
            text[event_id] = "waiting" if index >= world.position else "missing"
    counted(text, room)
    late = {
        event_id
        for place, (event_id, group) in enumerate(wanted)
        for later, other in wanted[place + 1 :]
        if group == other and event_id in times and later in times and times[later][0] < times[event_id][0]
    }
    return {
        **{
            word: Counter(text.values())[word]
            for word in ("delivered", "queued", "parked", "unknown", "waiting", "moved")
        },
        "records": len(wanted),
        "missing": {event_id for event_id, word in text.items() if word == "missing"},
        "duplicated": {event_id for event_id, _ in wanted if len(times.get(event_id, ())) > 1},
        "reordered": late,
    }


def counted(text: dict[str, str], room: Mapping[str, int]) -> None:
    """Say of those that were sent to a queue last, and are seen nowhere, whether its count has room."""
    for queue, word in (("main", "queued"), ("dlq", "parked")):
        unplaced = [event_id for event_id, place in text.items() if place == queue]
        fits = word if len(unplaced) <= room[queue] else "unknown"
        elsewhere = "unknown" if any(room.values()) else "missing"
        text |= dict.fromkeys(unplaced, fits if room[queue] else elsewhere)


def taken_away(world: World) -> set[str]:
    """Return what a command took out of the queues, and nothing put back since."""
    last: dict[str, LogEntry] = {}
    for fact in world.lines:
        if fact.logger in ("operator", "worker") or fact.line.message == "enqueued":
            last[str(fact.line.facts.get("event_id"))] = fact
    return {event_id for event_id, fact in last.items() if fact.line.message in ("dumped", "purged")}


def verdict(world: World, since: datetime = START) -> tuple[dict[str, Any], int]:
    with Audit(world, world.rules, since=since, now=world.now, sleep=world.clock.sleep) as result:
        document = result.document()
        code = int(result.exit_code)
    lists = ("missing", "duplicated", "reordered")
    assert len(document["missing"]) == len({row["event_id"] for row in document["missing"]})
    text: dict[str, Any] = {word: {row["event_id"] for row in document[word]} for word in lists}
    words = ("records", "delivered", "queued", "parked", "unknown", "waiting", "moved")
    assert document["records"] == sum(document[word] for word in words[1:]) + len(document["missing"])
    return {**text, **{word: document[word] for word in words}}, code


@settings(max_examples=200, deadline=None)
@given(HISTORIES, st.sampled_from([0, 0, 0, 2]))
def test_after_any_history_the_audit_says_what_is_true(actions, late):
    world = World()
    play(world, actions)
    world.clock.sleep(1)
    since = START + timedelta(seconds=late)
    text, code = verdict(world, since)
    true = truth(world, since)
    assert text == true
    assert not text["missing"] & (world.in_queue("main") | world.in_queue("dlq"))
    wrong = any(true[word] for word in ("missing", "duplicated", "reordered", "unknown"))
    late_ones = [
        one
        for one in world.stream[world.position :]
        if world.now.timestamp() - one["dynamodb"]["ApproximateCreationDateTime"] > 300
    ]
    assert code == 1 if wrong else code == 0 or late_ones


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.booleans(), st.sampled_from([None, "worker", "replay"]), st.sampled_from([0, 0, 900]))
def test_after_any_history_trace_calls_lost_only_what_the_audit_calls_missing(actions, purged, run, settle):
    """One judge for both; the audit knows more of the queues, by the numbers in the logs."""
    world = World()
    play(world, [*actions, ("purge", "main")] if purged else actions)
    world.clock.sleep(1)
    world.open = [OpenRun(run, START, world.now)] if run else []
    options: Any = {"since": START, "now": world.now, "settle": timedelta(seconds=settle)}
    with Audit(world, world.rules, **options, sleep=lambda _: None) as result:
        judged: dict[str, str] = {
            entry.event_id: word
            for word in ("missing", "unknown", "waiting", "moved")
            for entry, _ in result.store.judged(word)
        }
    stages = {
        event.record.event_id: event.stage
        for item in range(6)
        for event in _Trace(world, PIPELINE, {"id": f"i{item}"}, [{"id": f"i{item}"}], world.rules, **options)
        .result()
        .events
        if not event.record.unwanted
    }
    allowed = {
        "missing": {"lost", "stream", "queued", "unclear"},
        "unknown": {"unclear", "queued", "parked"},
        "waiting": {"stream"},
        "moved": {"moved"},
    }
    for event_id, stage in stages.items():
        word = judged.get(event_id, "found")
        assert stage in allowed.get(word, {"queued", "stuck", "parked", "delivered", "unclear"})


def settled(**changes: Any) -> Mapping[str, Any]:
    """Return a verdict with nothing to complain of but for ``changes``."""
    nothing: dict[str, Any] = {"missing": set(), "duplicated": set(), "reordered": set()}
    zero = dict.fromkeys(("records", "delivered", "queued", "parked", "unknown", "waiting", "moved"), 0)
    return {**nothing, **zero, **changes}


@pytest.fixture
def world() -> World:
    return World()


def fine(event_id: str) -> int:
    return 200


def test_what_is_delivered_once_and_in_order_is_proven(world):
    for n in range(4):
        world.write(n, "ab"[n % 2], 1)
    world.enqueue()
    world.work(10, fine)
    assert verdict(world) == (settled(records=4, delivered=4), 0)


@pytest.mark.parametrize(("queue", "word"), [("main", "dumped"), ("main", "purged"), ("dlq", "dumped")])
def test_what_an_operator_took_away_is_moved_and_not_missing(world, queue, word):
    world.write(1, "a", 1)
    world.enqueue()
    if queue == "dlq":
        world.park(1)
    world.take_away(queue, word)
    world.clock.sleep(1)
    assert verdict(world) == (settled(records=1, moved=1), 0)
    options: Any = {"since": START, "now": world.now, "settle": timedelta()}
    trace = _Trace(world, PIPELINE, {"id": "i1"}, [{"id": "i1"}], world.rules, **options).result()
    assert (trace.stage, trace.detail) == ("moved", f"{word} at 2026-01-02T03:00:01.400Z by alice")


def test_what_was_put_back_and_then_lost_is_missing(world):
    world.write(1, "a", 1)
    world.enqueue()
    world.take_away("main")
    world.clock.sleep(400)
    world.replay(0, 1)
    assert verdict(world) == (settled(records=1, queued=1), 0)
    world.purge("main")
    assert verdict(world)[0] == settled(records=1, missing={"e0"})


@pytest.mark.parametrize(
    ("queue", "before", "expected"),
    [
        ("main", 0, {"moved": 1}),
        ("dlq", 0, {"missing": {"e0"}}),  # it was in main
        ("main", 3600, {"missing": {"e0"}}),  # sent long after the purge
    ],
)
def test_what_was_in_a_queue_that_was_purged_for_good_is_moved(world, queue, before, expected):
    world.write(1, "a", 1)
    world.enqueue()
    world.emptied = [Purge(queue, world.now - timedelta(seconds=before), "purged by alice")]
    world.purge("main")
    assert verdict(world)[0] == settled(records=1, **expected)


@pytest.mark.parametrize(
    ("unseen", "expected"),
    [(None, {"moved": 2}), (2, {"moved": 2}), (1, {"unknown": 2}), (0, {"unknown": 2})],
)
def test_a_purge_does_not_explain_more_than_it_can_have_taken(world, unseen, expected):
    world.write(1, "a", 1)
    world.write(2, "b", 1)
    world.enqueue()
    world.emptied = [Purge("main", world.now, "purged by alice", unseen)]
    world.purge("main")
    assert verdict(world)[0] == settled(records=2, **expected)


def test_what_a_purge_named_is_moved_beside_what_was_gone_before(world):
    world.write(1, "a", 1)
    world.enqueue()
    world.purge("main")  # by nobody's command
    world.write(2, "b", 1)
    world.enqueue()
    world.take_away("main", "purged")
    world.emptied = [Purge("main", world.now, "purged by alice", 0)]
    assert verdict(world)[0] == settled(records=2, moved=1, unknown=1)


GONE = "the history is gone, so whether somebody dumped or purged it is not known"
DENIED = "could not be read (denied)"


@pytest.mark.parametrize(
    ("facts", "emptied", "expected", "said"),
    [
        ({"history_begins": None}, True, {"unknown": 1}, GONE),
        (
            {"history_begins": START + timedelta(minutes=9)},
            True,
            {"unknown": 1},
            "reaches back to 2026",
        ),
        (
            {"history_failure": "denied"},
            True,
            {"unknown": 1},
            DENIED,
        ),
        ({"history_begins": START}, True, {"missing": {"e0"}}, ""),
        # What a queue shows needs no history.
        ({"history_begins": None}, False, {"queued": 1}, ""),
        ({"history_failure": "denied"}, False, {"queued": 1}, ""),
    ],
)
def test_without_the_history_what_is_in_no_queue_is_unknown(world, facts, emptied, expected, said):
    for name, value in facts.items():
        setattr(world, name, value)
    world.write(1, "a", 1)
    world.enqueue()
    if emptied:
        world.purge("main")
    assert verdict(world)[0] == settled(records=1, **expected)
    with Audit(world, world.rules, since=START, now=world.now) as result:
        notes = [note for note in result.summary.notes if said and said in note]
        assert len(notes) == bool(said)
        assert all(
            "look into their files; if nobody did, `fifo-cli replay --key KEY` sends it" in n for n in notes
        )
        assert len(MissingIds(result)) == ("missing" in expected)
    options: Any = {"since": START, "now": world.now, "settle": timedelta()}
    traced = _Trace(world, PIPELINE, {"id": "i1"}, [{"id": "i1"}], world.rules, **options).result()
    assert (traced.stage, said in traced.detail) == (
        {"unknown": "unclear", "missing": "lost", "queued": "queued"}[next(iter(expected))],
        True,
    )


def test_without_the_history_what_was_never_enqueued_is_missing_all_the_same(world):
    world.history_begins = None
    world.write(1, "a", 1)
    world.enqueue(wrong=True)
    assert verdict(world)[0] == settled(records=1, missing={"e0"})


def test_an_empty_window_is_proven(world):
    assert verdict(world) == (settled(), 0)


def test_what_a_wrong_version_skipped_is_missing_with_the_reason(world):
    world.write(1, "a", 1)
    world.enqueue(wrong=True)
    with Audit(world, world.rules, since=START, now=world.now) as result:
        (row,) = result.findings().missing
    assert (row.event_id, row.key, row.group, row.stream_sequence) == (
        "e0",
        {"id": "i1"},
        "a",
        "100",
    )
    assert row.reason.startswith("skipped by the enqueuer at 2026-01-02T03:00:00.400Z, by rules other")


def test_a_message_that_moves_on_during_the_audit_is_not_missing(world):
    """Seen in no queue, as it was delivered between the reading of the logs and the look."""
    world.write(1, "a", 1)
    world.enqueue()
    look = world.look

    def deliver_then_look(role: Any, take: Any) -> Any:
        world.work(1, fine)
        return look(role, take)

    world.look = deliver_then_look
    assert verdict(world) == (settled(records=1, delivered=1), 0)


def test_a_message_that_is_redriven_behind_our_back_is_not_missing(world):
    """From the DLQ, through which we had not looked yet, into main, through which we had."""
    world.write(1, "a", 1)
    world.enqueue()
    world.park(1)
    look = world.look

    def look_then_redrive(role: Any, take: Any) -> Any:
        found = look(role, take)
        if role == "main":
            world.redrive()
        return found

    world.look = look_then_redrive
    assert verdict(world) == (settled(records=1, queued=1), 0)


def test_a_line_that_is_logged_late_is_waited_for(world):
    world.write(1, "a", 1)
    world.enqueue()
    world.work(1, fine)
    held_back = world.lines.pop()
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        world.lines.append(held_back)

    with Audit(world, world.rules, since=START, now=world.now, sleep=sleep) as result:
        assert (result.summary.delivered, result.summary.missing) == (1, 0)
    assert waits == [0.0]


def test_a_deleted_log_of_deliveries_makes_unknown_and_not_missing(world):
    world.write(1, "a", 1)
    world.enqueue()
    world.work(1, fine)
    world.forget_log("worker")
    assert verdict(world) == (settled(records=1, unknown=1), 1)
    with Audit(world, world.rules, since=START, now=world.now) as result:
        (note,) = result.summary.notes
    assert note.startswith("1 unknown: the worker's log reaches back to 2026-01-02T03:00:03.4")


def test_a_log_group_that_is_gone_makes_unknown_and_not_missing(world):
    world.write(1, "a", 1)
    world.enqueue()
    world.work(1, fine)
    world.forget_log("worker")
    world.logs["worker"] = None
    assert verdict(world)[0] == settled(records=1, unknown=1)


def test_without_the_enqueuers_log_what_is_in_no_queue_and_no_delivery_is_missing(world):
    world.write(1, "a", 1)
    world.enqueue(wrong=True)
    world.forget_log("enqueuer")
    assert verdict(world)[0] == settled(records=1, missing={"e0"})


def test_what_was_sent_behind_ten_of_its_group_that_are_there_is_there_as_well(world):
    for n in range(30):
        world.write(n, "ab"[n > 14], 1)
        world.enqueue()
    assert verdict(world) == (settled(records=30, queued=30), 0)


def test_what_stood_before_the_ten_that_are_seen_is_missing_if_the_rest_is_known(world):
    """Twenty of a group, of which somebody deleted the third."""
    for n in range(20):
        world.write(n, "a", 1)
    world.enqueue()
    main = world.sqs.queues["main"]
    main.remove(main.messages[2])
    assert verdict(world) == (settled(records=20, queued=19, missing={"e2"}), 1)


@pytest.mark.parametrize(("gone", "queued"), [(0, 13), (1, 10), (2, 10)], ids=["none", "one", "two"])
def test_without_numbers_in_the_log_what_is_behind_ten_is_queued_by_the_count(world, gone, queued):
    """Of the three that no look shows some may be gone: then nobody knows which."""
    for n in range(13):
        world.write(n, "a", 1)
    world.enqueue()
    for fact in world.lines:
        fact.line.facts.pop("sequence_number")
    for _ in range(gone):
        main = world.sqs.queues["main"]
        main.remove(main.messages[-1])
    expected = settled(records=13, queued=queued, unknown=3 if gone else 0)
    assert verdict(world) == (expected, 1 if gone else 0)
    with Audit(world, world.rules, since=START, now=world.now) as result:
        summary = result.summary
    assert summary.queued_unseen == (0 if gone else 3)
    if gone:
        (note,) = summary.notes
        assert note.startswith(
            f"3 unknown: sent, and {gone} of these 3 are in no queue any more: {3 - gone} can be behind those"
        )


def test_a_later_copy_that_was_redriven_proves_nothing_by_the_first_ones_number(world):
    """Parked and redriven: it is at the end now, behind eleven, and no log shows that copy's number."""
    for n in range(12):
        world.write(n, "a", 1)
    world.enqueue()
    world.park(1)
    world.redrive()
    with Audit(world, world.rules, since=START, now=world.now) as result:
        assert (result.summary.queued, result.summary.queued_unseen, result.exit_code) == (12, 1, 0)


def test_while_a_consumer_holds_the_head_it_says_so_and_what_to_do(world):
    for n in range(13):
        world.write(n, "a", 1)
    world.enqueue()
    world.sqs.receive_message(QueueUrl="main", MaxNumberOfMessages=2, VisibilityTimeout=60)
    with Audit(world, world.rules, since=START, now=world.now) as result:
        summary, code = result.summary, result.exit_code
    assert (summary.queued, summary.queued_unseen, summary.unknown, code) == (13, 13, 0, 0)
    (reason,) = summary.reasons
    assert (reason.state, reason.number) == ("queued", 13)
    assert reason.reason == (
        "sent, and deeper than can be seen, or in flight, in main (0 of 13 known): 2 held"
        " by a consumer, behind which nothing is shown; audit again when it is done, or after"
        " `fifo-cli pause worker --wait`"
    )


@pytest.mark.parametrize(
    ("logger", "last", "word"),
    [("worker", 0, "unknown"), ("worker", -400, "missing"), ("replay", 0, "missing")],
)
def test_what_a_drain_without_an_end_may_have_delivered_is_unknown(world, logger, last, word):
    """The lines of its last moment are lost if it is killed."""
    world.write(1, "a", 1)
    world.enqueue()
    world.purge("main")
    world.clock.sleep(500)
    sent = START + timedelta(seconds=0.4)
    world.open = [OpenRun(logger, sent, sent + timedelta(seconds=last))]
    text, code = verdict(world)
    assert code == 1
    assert text == (
        settled(records=1, unknown=1) if word == "unknown" else settled(records=1, missing={"e0"})
    )


def test_what_a_replay_without_an_end_may_have_sent_is_unknown_if_not_all_can_be_seen(world):
    for n in range(13):
        world.write(n, "a", 1)
    world.give_up()
    world.replay(0, 13)
    world.lines = world.lines[:-1]
    world.open = [OpenRun("replay", world.now, world.now)]
    for fact in world.lines:
        fact.line.facts.pop("sequence_number")
    assert verdict(world) == (settled(records=13, queued=12, unknown=1), 1)


def test_what_sqs_suppressed_was_in_a_queue_before(world):
    world.write(1, "a", 1)
    world.write(2, "a", 1)
    world.give_up()
    world.replay(0, 2)
    world.purge("main")
    world.lines = [
        replace(fact, line=replace(fact.line, message="suppressed")) if number else fact
        for number, fact in enumerate(world.lines)
    ]
    with Audit(world, world.rules, since=START, now=world.now) as result:
        reasons = [row.reason.partition(" at ")[0] for row in result.findings().missing]
    assert reasons == ["enqueued by the replay", "suppressed by the replay"]


def test_of_an_expired_stream_what_the_enqueuer_logged_is_audited_and_the_rest_is_said(world):
    for n in range(3):
        world.write(n, "a", 1)
    world.enqueue()
    world.work(2, fine)
    world.purge("main")
    world.write(9, "a", 1)
    world.enqueue()
    world.work(1, fine)
    world.trimmed = 3
    with Audit(world, world.rules, since=START, now=world.now) as result:
        counts, notes, code = result.summary.document(), result.summary.notes, result.exit_code
        missing = [row.event_id for row in result.findings().missing]
    assert (counts["records"], counts["delivered"], missing, code) == (4, 3, ["e2"], 1)
    assert notes[0].startswith("the stream has expired up to 2026-01-02T03:00:0")


@pytest.mark.parametrize("number", ["9" * 5000, "٣", "abc", "-1", ""])
def test_a_line_with_a_number_that_is_not_ours_ends_neither_audit_nor_trace(world, number):
    world.write(1, "a", 1)
    world.enqueue()
    facts = {"event_id": "forged", "item_key": '{"id":"i1"}', "group": "a", "stream_sequence": number}
    line = LogLine(world.now, "enqueuer", "info", "enqueued", {**facts, "sequence_number": number})
    world.lines.append(LogEntry("enqueuer", line))
    world.clock.sleep(1)
    world.begins = world.now
    options: Any = {"since": START, "now": world.now}
    with Audit(world, world.rules, **options, sleep=world.clock.sleep) as result:
        assert result.summary.records == 1
    events = _Trace(world, PIPELINE, {"id": "i1"}, [{"id": "i1"}], world.rules, **options).result().events
    assert {event.record.event_id for event in events} == {"e0", "forged"}


@pytest.mark.parametrize(
    ("handled", "word"),
    [
        ({}, "waiting"),
        ({"s/shard-1": 99}, "waiting"),
        ({"s/shard-1": 101}, "missing"),
        ({"s/child": 500}, "missing"),  # a child is read when its parent is read to its end
        ({"s/stranger": 500}, "waiting"),
    ],
)
def test_a_record_is_passed_by_when_a_later_one_of_its_shard_or_of_a_child_was_handled(handled, word):
    judge = Judge(
        handled=handled,
        related=lambda one, other: one == other or "s/child" in (one, other),
        logs={"enqueuer": START, "worker": START},
    )
    entry = AuditedRecord("e", "s/shard-1", "100", "INSERT", "{}", int(START.timestamp()) + 1, "a")
    assert _verdict(judge, entry, [])[0] == word


def test_a_waiting_record_is_no_gap_until_the_enqueuer_is_minutes_behind(world):
    world.write(1, "a", 1)
    assert verdict(world) == (settled(records=1, waiting=1), 0)
    world.clock.sleep(301)
    assert verdict(world) == (settled(records=1, waiting=1), 1)


def test_what_was_enqueued_from_a_stream_that_was_replaced_shows_that_there_was_one(world):
    world.write(1, "a", 1)
    world.enqueue()
    world.work(1, fine)
    world.clock.sleep(10)
    world.begins = world.now
    world.trimmed, gap = 1, world.stream_pages
    world.write(2, "a", 1)
    world.enqueue()
    world.stream_pages = lambda since, until: (replace(one, gap=False) for one in gap(since, until))
    with Audit(world, world.rules, since=START, now=world.now) as result:
        counts, notes, code = result.summary.document(), result.summary.notes, result.exit_code
    assert (counts["records"], counts["delivered"], counts["queued"], code) == (2, 1, 1, 1)
    assert notes[0].startswith("the stream has expired up to 2026-01-02T03:00:12.4")


def test_a_stream_that_is_younger_than_the_pipeline_is_no_proof_of_what_was_before(world):
    world.clock.sleep(600)
    world.begins = world.now
    with Audit(world, world.rules, since=START, now=world.now) as result:
        (note,), code = result.summary.notes, result.exit_code
    assert (note.partition(",")[0], code) == ("the stream has expired up to 2026-01-02T03:10:00.000Z", 1)
    world.logs = dict.fromkeys(world.logs, world.now)
    assert verdict(world) == (settled(), 0)


def test_a_line_that_cloudwatch_has_twice_is_one_delivery(world):
    world.write(1, "a", 1)
    world.enqueue()
    world.work(1, fine)
    world.lines += world.lines
    assert verdict(world) == (settled(records=1, delivered=1), 0)


def test_lines_that_others_print_into_the_logs_do_no_harm(world):
    world.write(1, "a", 1)
    world.enqueue()
    journal = world._journal("worker")
    journal("info", "delivered", event_id=7)
    journal("info", "delivered", event_id="e0", attempt="first", message_id=None)
    journal("info", "event_id")
    assert verdict(world) == (settled(records=1, delivered=1), 0)


@pytest.mark.parametrize(
    ("waited", "settle", "words"),
    [
        (0, 900, {"delivered": 1, "unknown": 1}),
        (600, 900, {"delivered": 1, "unknown": 1}),
        (1000, 900, {"delivered": 1, "missing": 1}),  # e1 was delivered behind it, longer ago than that
        (10, 30, {"delivered": 1, "missing": 1}),  # waited out between two looks
        (0, 0, {"delivered": 1, "missing": 1}),
    ],
)
def test_a_delivery_whose_line_may_be_late_is_unknown_and_not_missing(world, waited, settle, words):
    """e0 and e1 of one group were delivered; the line about e0 cannot be read."""
    for n in range(2):
        world.write(n, "a", 1)
    world.enqueue()
    world.work(2, fine)
    world.lines = [one for one in world.lines if one.logger != "worker" or "e0" not in str(one.line.facts)]
    world.clock.sleep(waited)
    assert outcome(world, settle) == words


@pytest.mark.parametrize("waited", [0, 10_000])
def test_a_quiet_group_proves_no_absence(world, waited):
    """Written long ago, and nothing behind it: it may have been delivered a minute ago."""
    world.write(1, "a", 1)
    world.enqueue()
    world.purge("main")
    world.clock.sleep(waited)
    assert outcome(world, 900) == {"unknown": 1}
    assert outcome(world, 0) == {"missing": 1}


@pytest.mark.parametrize("counted", [0, 10, 11])
@pytest.mark.parametrize("numbered", [True, False])
def test_counts_that_are_too_low_make_nothing_missing(world, monkeypatch, counted, numbered):
    """Fifteen of a group wait, ten can be seen, and SQS's counts show no more than these."""
    look = world.look
    low = {"main": Counted("orders.fifo", counted, 0, 0)}
    none = Counted("orders.fifo", 0, 0, 0)
    monkeypatch.setattr(
        world, "look", lambda role, take: replace(look(role, take), counts=low.get(role, none))
    )
    for n in range(15):
        world.write(n, "a", 1)
    world.enqueue()
    for fact in world.lines if not numbered else ():
        fact.line.facts.pop("sequence_number", None)
    world.clock.sleep(10_000)
    found = outcome(world, 900)
    assert found.get("missing", 0) == 0
    assert found["queued"] == (15 if numbered else 10)


def test_what_was_parked_may_have_been_moved_back_a_minute_ago(world):
    for n in range(2):
        world.write(n, "a", 1)
    world.enqueue()
    world.work(2, lambda event_id: 422 if event_id == "e0" else 200)
    world.purge("dlq")
    world.clock.sleep(10_000)
    assert outcome(world, 900) == {"delivered": 1, "unknown": 1}


def test_an_enqueuer_whose_line_may_be_late_makes_unknown_and_not_missing(world):
    world.write(1, "a", 1)
    world.give_up()
    world.write(2, "b", 1)
    world.enqueue()
    assert outcome(world, 900) == {"queued": 1, "unknown": 1}
    world.clock.sleep(1000)
    assert outcome(world, 900) == {"queued": 1, "missing": 1}


@pytest.mark.parametrize(
    ("settle", "words"), [(0, {"waiting": 1}), (30, {"waiting": 1}), (900, {"unknown": 1})]
)
def test_behind_a_paused_enqueuer_a_short_settle_time_is_waited_out(world, settle, words):
    """With a long one it may have been enqueued, and delivered, just before the pause."""
    world.paused = True
    world.write(1, "a", 1)
    assert outcome(world, settle) == words


@dataclass(frozen=True)
class Feeding:
    """How the enqueuer is fed, and what an audit then says of a record that it has not come to."""

    title: str
    word: str
    code: int = 0
    note: str = ""
    reason: str = ""
    waited: float = 0  # since it was written, in seconds
    stopped: float | None = None  # the pause, so long after it was written
    settle: float = 0
    facts: Mapping[str, Any] = field(default_factory=lambda: {"paused": True})


PAUSED = "not enqueued: the enqueuer is paused"
BEHIND = "more than 5 minutes: the enqueuer is behind"
FAILING: Mapping[str, Any] = {"failing": "PROBLEM"}
UNMAPPED: Mapping[str, Any] = {"paused": True, "unmapped": True}
TURN = "its turn in the stream has not come"
FEEDINGS = [
    Feeding("just paused", "waiting", reason=PAUSED),
    Feeding("paused for ten minutes", "waiting", waited=600),
    Feeding("paused for 17 hours", "waiting", waited=17 * 3600),
    Feeding("soon expired", "waiting", 1, "18 hours, and it keeps a record for 24", waited=19 * 3600),
    Feeding("no mapping", "missing", 1, reason="not enqueued: there is no event", facts=UNMAPPED),
    Feeding("running", "waiting", reason=TURN, facts={}),
    Feeding("behind", "waiting", 1, BEHIND, waited=301, facts={}),
    Feeding("failing", "waiting", reason=f"{TURN}; the enqueuer's last batch failed: P", facts=FAILING),
    Feeding("failing for long", "waiting", 1, BEHIND, waited=301, facts=FAILING),
    Feeding("written long after the pause", "waiting", settle=900, stopped=-61),
    Feeding("written just after the pause", "unknown", 1, "may not be readable", settle=900, stopped=-59),
    Feeding("written before a pause of now", "unknown", 1, settle=900, stopped=60, waited=120),
    Feeding("written before a pause of half an hour ago", "unknown", 1, settle=900, stopped=60, waited=1800),
    Feeding("written before a pause of an hour ago", "waiting", settle=900, stopped=60, waited=3600),
    Feeding("a pause whose time is not known", "unknown", 1, settle=900, waited=7200),
]  # fmt: skip


@pytest.mark.parametrize("one", FEEDINGS, ids=lambda one: one.title)
def test_what_the_enqueuer_has_not_come_to_is_named_for_what_it_is(world, one: Feeding):
    world.write(1, "a", 1)
    for name, value in one.facts.items():
        setattr(world, name, value)
    if one.stopped is not None:
        world.stopped = START + timedelta(seconds=one.stopped)
    world.clock.sleep(one.waited)
    options: Any = {"since": START, "now": world.now, "settle": timedelta(seconds=one.settle)}
    with Audit(world, world.rules, **options, sleep=lambda _: None) as result:
        summary, code = result.summary, result.exit_code
        reasons = [one.reason for one in summary.reasons] + [one.reason for one in result.findings().missing]
    counts = summary.document()
    assert {word: counts[word] for word in ("waiting", "missing", "unknown") if counts[word]} == {one.word: 1}
    assert (code, one.note in " ".join(summary.notes)) == (one.code, True)
    assert any(reason.startswith(one.reason) for reason in reasons) or one.word == "unknown"
    assert summary.oldest_waiting == (START if one.word == "waiting" else None)
    # Trace says the same.
    stage = _Trace(world, PIPELINE, {"id": "i1"}, [{"id": "i1"}], world.rules, **options).result().stage
    assert stage == {"waiting": "stream", "missing": "stream", "unknown": "unclear"}[one.word]


@pytest.mark.parametrize("settle", [0, 900])
def test_before_a_pause_what_was_passed_by_is_missing_and_what_was_not_waits(world, settle):
    world.write(1, "a", 1)
    world.give_up()
    world.write(2, "b", 1)
    world.enqueue()
    world.clock.sleep(2000)
    world.paused, world.stopped = True, world.now
    world.clock.sleep(100)
    world.write(3, "a", 1)
    world.write(4, "b", 1)
    assert outcome(world, settle) == {"queued": 1, "missing": 1, "waiting": 2}


@pytest.mark.parametrize(("gone", "words"), [(0, {"parked": 13}), (1, {"parked": 10, "unknown": 3})])
def test_what_is_parked_behind_the_ten_that_are_seen_is_parked_by_the_count(world, gone, words):
    for n in range(13):
        world.write(n, "a", 1)
    world.enqueue()
    world.work(13, lambda event_id: 422)
    for _ in range(gone):
        dlq = world.sqs.queues["dlq"]
        dlq.remove(dlq.messages[-1])
    assert outcome(world, 0) == words
    with Audit(world, world.rules, since=START, now=world.now) as result:
        assert (result.summary.parked_unseen, result.exit_code) == (0 if gone else 3, 1 if gone else 0)
    options: Any = {"since": START, "now": world.now, "settle": timedelta()}
    last = _Trace(world, PIPELINE, {"id": "i12"}, [{"id": "i12"}], world.rules, **options).result()
    if not gone:
        assert (last.stage, last.detail.partition(": ")[2]) == (
            "parked",
            "HTTP 422 from api.test; further back than can be seen: 10 of 13 messages of dlq seen",
        )


@pytest.mark.parametrize(
    ("in_flight", "expected"),
    [
        ("main", {"queued": 2}),  # behind the one in flight
        ("dlq", {"queued": 1, "parked": 1}),
    ],
)
def test_a_message_that_a_consumer_holds_is_where_it_was_sent(world, in_flight, expected):
    for n in range(2):
        world.write(n, "a", 1)
    world.enqueue()
    if in_flight == "dlq":
        world.work(1, lambda event_id: 422)
    world.sqs.receive_message(QueueUrl=in_flight, MaxNumberOfMessages=1, VisibilityTimeout=60)
    assert outcome(world, 0) == expected


def test_a_queue_that_cannot_be_counted_makes_unknown(world, monkeypatch):
    world.write(1, "a", 1)
    world.enqueue()
    refused = BrowseResult("main", failure="permission denied")
    look = world.look
    monkeypatch.setattr(world, "look", lambda role, take: refused if role == "main" else look(role, take))
    assert outcome(world, 0) == {"unknown": 1}


def test_a_queue_that_may_not_be_looked_at_shows_by_its_count_what_is_there(world, monkeypatch):
    world.write(1, "a", 1)
    world.enqueue()
    counts = Counted("orders.fifo", 1, 0, 0, max_receives=3)
    refused = BrowseResult("main", counts=counts, failure="a look is a receive")
    look = world.look
    monkeypatch.setattr(world, "look", lambda role, take: refused if role == "main" else look(role, take))
    assert outcome(world, 0) == {"queued": 1}


def test_evidence_is_proof_at_once_however_young(world):
    world.write(1, "a", 1)
    world.write(2, "a", 1)
    world.enqueue()
    world.work(1, fine)
    assert outcome(world, 900) == {"delivered": 1, "queued": 1}


def outcome(world: World, settle: float) -> dict[str, int]:
    """Return how many records an audit with that settle time finds in each state."""
    words = ("delivered", "queued", "parked", "waiting", "missing", "unknown")
    with Audit(
        world,
        world.rules,
        since=START,
        now=world.now,
        settle=timedelta(seconds=settle),
        sleep=lambda _: None,
    ) as result:
        counts = result.summary.document()
        return {word: counts[word] for word in words if counts[word]}


@pytest.mark.parametrize(
    ("facts", "listed"),
    [
        ({"reason": "ReadTimeout: The read operation timed out"}, ["e0"]),
        ({"reason": "RemoteProtocolError: Server disconnected", "owner": "api"}, ["e0"]),
        ({"reason": "ReadTimeout", "owner": "message"}, []),
        ({"reason": "HTTP 503", "status": 503}, []),
        ({"reason": "ConnectError: [Errno 111] Connection refused", "owner": "api"}, []),
        ({"reason": "no answer from a.test: ReadTimeout: slow", "error_type": "ReadTimeout"}, ["e0"]),
        ({"reason": "no answer from a.test: ConnectError: no", "error_type": "ConnectError"}, []),
        ({"reason": "no call to a.test: orders:to_request raised OSError", "owner": "api"}, []),
        ({"reason": "HTTP 500 from a.test", "status": 500, "owner": "api"}, ["e0"]),
        ({"reason": "HTTP 502 from a.test", "status": 502, "owner": "api"}, ["e0"]),
        ({"reason": "HTTP 504 from a.test", "status": 504, "owner": "api"}, ["e0"]),
        ({"reason": "HTTP 524 from a.test", "status": 524, "owner": "api"}, ["e0"]),
        ({"reason": "HTTP 429 from a.test", "status": 429, "owner": "api"}, []),
        ({"reason": "HTTP 401 from a.test", "status": 401, "owner": "api"}, []),
        ({"reason": "HTTP 501 from a.test", "status": 501, "owner": "api"}, []),
        ({"reason": "HTTP 503 from b.test", "status": 503, "owner": "api", "doubts": 1}, ["e0"]),
        (
            {
                "reason": "HTTP 503 from b.test",
                "status": 503,
                "owner": "api",
                "doubts": 1,
                "taken_by": ["a.test"],
            },
            ["e0"],
        ),
        (
            {"reason": "HTTP 504 from b.test", "status": 504, "doubts": 1, "taken_by": ["a", "b"]},
            ["e0"],
        ),
        ({"reason": "HTTP 504 from b.test", "status": 504, "taken_by": {"odd": 1}}, ["e0"]),
        ({"reason": "no answer from a.test: ConnectTimeout: no", "error_type": "ConnectTimeout"}, []),
        ({"reason": "no answer from a.test: WriteError", "error_type": "WriteError"}, ["e0"]),
        ({"reason": "no answer from a.test: LocalProtocolError", "error_type": "LocalProtocolError"}, []),
    ],
)
def test_what_timed_out_and_was_then_delivered_was_possibly_taken_twice(world, facts, listed):
    world.write(1, "a", 1)
    world.enqueue()
    known = {"event_id": "e0", "item_key": '{"id":"i1"}'}
    line = LogLine(world.now, "worker", "error", "failed", {**known, **facts})
    world.lines.append(LogEntry("worker", line))
    with Audit(world, world.rules, since=START, now=world.now) as result:
        assert list(result.findings().possibly_twice) == []  # not delivered yet
    world.clock.sleep(1)
    world.work(1, fine)
    with Audit(world, world.rules, since=START, now=world.now) as result:
        assert [row.event_id for row in result.findings().possibly_twice] == listed
        assert [row.reason.partition(": ")[2] for row in result.findings().possibly_twice] == [
            facts["reason"]
        ] * len(listed)
        assert (result.summary.possibly_twice, result.exit_code) == (len(listed), 0)
        apis = facts.get("taken_by", ())
        who = f"{' and '.join(apis)} may have it twice, as " if isinstance(apis, list) else ""
        assert all(row.reason.startswith(f"{who}the attempt") for row in result.findings().possibly_twice)
    options: Any = {"since": START, "now": world.now, "settle": timedelta()}
    detail = _Trace(world, PIPELINE, {"id": "i1"}, [{"id": "i1"}], world.rules, **options).result().detail
    assert ("possibly twice" in detail) == bool(listed)


@pytest.mark.parametrize(
    ("answers", "listed"),
    [
        ([504, 200], 1),  # and again in the same run, as the API asks
        ([500, 500, 200], 2),
        ([503, 200], 0),
        ([429, 200], 0),
        ([200], 0),
    ],
)
def test_an_attempt_that_was_repeated_within_a_run_is_possibly_twice(world, answers, listed):
    world.write(1, "a", 1)
    world.enqueue()
    left = iter(answers)
    world.work(1, lambda event_id: next(left), retry_after="1")
    with Audit(world, world.rules, since=START, now=world.now) as result:
        assert (result.summary.delivered, result.summary.possibly_twice) == (1, bool(listed))
    (line,) = [one.line for one in world.lines if one.word == "delivered"]
    assert line.number("doubts") == (listed or None)


@pytest.mark.parametrize(
    ("looks", "begun", "ended", "listed"),
    [
        (1, 1, 2, True),  # received once before, and a run was killed between
        (0, 1, 2, False),  # delivered at its first receive: nobody had it before
        (1, None, None, False),  # a look, and no run was killed
        (1, 1, 900, False),  # that run was still at work when another delivered it
        (1, -900, -400, False),  # killed long before it was written
        (3, -10, -1, True),  # its lines may be some minutes older than what it did last
    ],
)
@pytest.mark.parametrize("kind", ["open", "killed"])
def test_what_a_killed_run_had_received_is_possibly_twice(world, kind, looks, begun, ended, listed):
    world.write(1, "a", 1)
    world.enqueue()
    for _ in range(looks):
        world.sqs.receive_message(QueueUrl="main", MaxNumberOfMessages=1, VisibilityTimeout=0)
    if begun is not None:
        moments = [START + timedelta(seconds=seconds) for seconds in (begun, ended)]
        setattr(world, kind, [OpenRun("worker", *moments)])
    world.clock.sleep(60)
    world.work(1, fine)
    with Audit(world, world.rules, since=START, now=world.now) as result:
        rows = list(result.findings().possibly_twice)
        assert (result.summary.possibly_twice, result.exit_code) == (int(listed), 0)
    assert all("did not log its end (it was killed" in row.reason for row in rows)


@pytest.mark.parametrize(("kind", "listed"), [("open", 1), ("killed", 0)])
def test_a_function_that_lambda_ended_received_nothing_that_was_written_after_that(world, kind, listed):
    world.clock.sleep(120)
    world.write(1, "a", 1)
    world.enqueue()
    world.sqs.receive_message(QueueUrl="main", MaxNumberOfMessages=1, VisibilityTimeout=0)
    setattr(world, kind, [OpenRun("worker", START, START + timedelta(seconds=60))])
    world.clock.sleep(60)
    world.work(1, fine)
    with Audit(world, world.rules, since=START, now=world.now) as result:
        assert result.summary.possibly_twice == listed


def invocation(*lines: tuple[int, str], stream: str = "s") -> list[LogEvent]:
    return [LogEvent(f"{stream}{at}", at, text, stream) for at, text in lines]


ENDED = json.dumps({"level": "info", "message": "run ended", "received": 1})
SKIPPED = json.dumps({"message": "skipped", "event_id": "e", "reason": "the run ended before its turn"})


@pytest.mark.parametrize(
    ("lines", "killed"),
    [
        ([(1, "START RequestId: a Version: 1"), (2, ENDED), (3, "REPORT RequestId: a\tDuration: 1 ms")], []),
        ([(1, "START RequestId: a Version: 1"), (3, "REPORT RequestId: a\tStatus: timeout")], [(1, 3)]),
        ([(1, "START RequestId: a Version: 1"), (2, SKIPPED), (3, "REPORT RequestId: a")], [(1, 3)]),
        ([(1, "START RequestId: a"), (9, "START RequestId: b"), (10, ENDED)], [(1, 9)]),
        ([(1, "START RequestId: a"), (90_000, "START RequestId: b"), (90_001, ENDED)], [(1, 60_001)]),
        ([(1, "START RequestId: a")], []),  # at work
        ([(2, ENDED), (3, "REPORT RequestId: a")], []),  # its beginning is before the window
        ([(1, "START RequestId: b"), (1, "REPORT RequestId: a"), (2, ENDED)], []),
    ],
)
def test_an_invocation_that_did_not_log_its_end_was_killed(lines, killed):
    events = [*invocation(*lines), *invocation((4, ENDED), stream="drain/h/1-2")]
    found = killed_invocations(sorted(events, key=lambda event: event.time), timedelta(seconds=60))
    assert [(run.begun, run.last) for run in found] == [
        tuple(datetime.fromtimestamp(at / 1000, UTC) for at in pair) for pair in killed
    ]
