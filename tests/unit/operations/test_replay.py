from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.dynamodb_streams import Stream
from fifo_cli.aws.logs import LogEvent, MissingLogGroup
from fifo_cli.errors import AwsError, ExitCode
from fifo_cli.events import Event, Noted, Warned
from fifo_cli.model.names import Place
from fifo_cli.model.settings import Project, load
from fifo_cli.operations.stream import replay
from fifo_cli.operations.stream import replay_records as gathering
from fifo_cli.operations.stream.failed_batches import Kept
from fifo_cli.operations.stream.reader import ReadPace, Window
from fifo_cli.operations.stream.replay import Replay, ReplayOptions, ReplayResult
from fifo_cli.operations.stream.replay_store import Sums
from tests.unit.operations.simulated_stream import START, FastClock, SimulatedStream, chain

NOW = datetime.fromtimestamp(START + 600, UTC)
CONFIG = """
[pipeline]
name = "orders"
[table]
name = "orders"
[schedule]
expressions = ["rate(5 minutes)"]
[[api]]
url = "https://api.example.com"
"""


class Sqs:
    """As much of SQS as is asked before anything is sent."""

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": f"https://sqs/{QueueName}"}


class FakeAws:
    place = Place("1", "eu-west-1")

    def client(self, service: str) -> Sqs:
        assert service == "sqs"
        return Sqs()


@dataclass
class Missing:
    """What an audit found missing."""

    ids: frozenset[str]
    notes: tuple[str, ...] = ()
    resting: str = ""
    asked: list[datetime] = field(default_factory=list)
    expired: int = 0

    def __contains__(self, event_id: object) -> bool:
        return event_id in self.ids

    def __len__(self) -> int:
        return len(self.ids)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "fifo.toml").write_text(CONFIG)
    return load(tmp_path / "fifo.toml")


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> SimulatedStream:
    made = SimulatedStream([chain("a", range(10), closed=False)])
    arn = "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-01-02T03:00:00.000"
    monkeypatch.setattr(gathering, "table_streams", lambda aws, table, **more: [Stream(arn, True)])
    monkeypatch.setattr(gathering, "StreamSource", lambda aws, arn: made)
    return made


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def asked(project, stream, events) -> Replay:
    clock = FastClock()
    return Replay(
        FakeAws(),  # type: ignore[arg-type]
        project,
        ReplayOptions(Window(until=NOW)),
        project.folder / ".fifo",
        listener=events.append,
        now=NOW,
        pace=ReadPace(sleep=clock.sleep, clock=clock, workers=1),
    )


def with_missing(monkeypatch: pytest.MonkeyPatch, asked: Replay, missing: Missing, **more: Any) -> Replay:
    @contextmanager
    def audited(*args: object, since: datetime, **options: object) -> Iterator[Missing]:
        missing.asked.append(since)
        yield missing

    monkeypatch.setattr(replay, "audit", audited)
    monkeypatch.setattr(replay, "MissingIds", lambda result: result)
    return replace(asked, options=replace(asked.options, missing=True, **more))


def shown(work: Any, asked: Replay) -> list[str]:
    return [row.event_id for row in asked.preview(work).records]


def test_what_is_gathered_is_shown_and_nothing_is_left_behind(asked):
    with asked.gathered() as work:
        assert shown(work, asked) == [f"e{n}" for n in range(10)]
        assert asked.preview(work).exit_code is ExitCode.OK
    assert not list((asked.folder / "replay").glob("*.db*"))


def test_only_what_is_missing_is_replayed(asked, monkeypatch):
    missing = Missing(frozenset({"e3", "e7"}))
    asked = with_missing(monkeypatch, asked, missing)
    with asked.gathered(dry_run=True) as work:
        assert shown(work, asked) == ["e3", "e7"]
        assert asked.preview(work).document()["expired"] == 0
    assert missing.asked == [NOW - timedelta(hours=24)]


def test_what_is_missing_and_no_longer_in_the_stream_has_expired(asked, monkeypatch):
    missing = Missing(frozenset({"e3", "long-gone", "gone-too"}), expired=2)
    asked = with_missing(monkeypatch, asked, missing)
    with asked.gathered(dry_run=True) as work:
        found = asked.preview(work)
    assert (found.document()["expired"], found.exit_code) == (2, ExitCode.ATTENTION)
    assert found.notes == ()


@pytest.mark.parametrize("in_log_only", [0, 1, 2])
@pytest.mark.parametrize("closed", [False, True])
def test_what_is_missing_and_was_not_read_has_expired_only_if_that_is_proven(
    asked, stream, monkeypatch, in_log_only, closed
):
    """The audit saw the others in the stream; empty answers do not prove that they are gone."""
    stream.simulated["a"].closed = closed
    missing = Missing(frozenset({"e3", "not-read", "nor-this"}), expired=in_log_only)
    asked = with_missing(monkeypatch, asked, missing)
    with asked.gathered(dry_run=True) as work:
        found = asked.preview(work)
    assert found.exit_code is ExitCode.ATTENTION
    assert found.document()["expired"] == (2 if closed else in_log_only)
    unread = 0 if closed else 2 - in_log_only
    assert [note.partition(":")[0] for note in found.notes] == (
        [f"{unread} missing records were not read"] if unread else []
    )


@pytest.mark.parametrize(
    ("to", "closed", "empties", "notes"),
    [
        (7, False, 0, 0),  # it was read
        (9, False, 0, 0),
        (12, False, 0, 1),  # nothing that was read is behind it
        (12, True, 0, 0),  # the shard has ended
        (9, False, 99, 1),  # nothing was read at all
        (None, False, 0, 0),
    ],
)
def test_a_replay_up_to_a_record_that_was_not_read_needs_a_look(asked, stream, to, closed, empties, notes):
    stream.simulated["a"].closed = closed
    stream.trouble = lambda kind, number: "empty" if kind == "records" and number <= empties else None
    window = Window(to_sequence=None if to is None else f"{to:030}")
    asked = replace(asked, options=replace(asked.options, window=window))
    with asked.gathered(dry_run=True) as work:
        found = asked.preview(work)
    assert len(found.notes) == notes
    assert found.exit_code is (ExitCode.ATTENTION if notes else ExitCode.OK)


def test_open_shards_whose_end_is_not_proven_are_named_also_when_it_goes_on(asked):
    label = "2026-01-02T03:00:00.000"
    named = [{"shard": f"{label}/a", "read_to": f"{9:030}"}]
    with asked.gathered() as work:
        assert asked.preview(work).document()["unproven_tips"] == named
        work.checkpoint.note(sending="begun")
        work.checkpoint.set_states({"e0": "enqueued"})
    with asked.gathered() as again:
        assert again.checkpoint.sums().enqueued == 1
        assert asked.preview(again).document()["unproven_tips"] == named


def test_of_what_is_missing_a_part_may_be_chosen_and_the_rest_is_not_called_expired(asked, monkeypatch):
    missing = Missing(frozenset({"e3", "e7"}))
    asked = with_missing(monkeypatch, asked, missing, expression="id == 'nobody'")
    with asked.gathered(dry_run=True) as work:
        assert (shown(work, asked), work.expired) == ([], 0)


def test_what_an_audit_cannot_know_is_reported_and_needs_a_look(asked, monkeypatch):
    asked = with_missing(monkeypatch, asked, Missing(frozenset(), notes=("the logs were deleted",)))
    with asked.gathered() as work:
        result = asked.untouched(work)
    assert (result.document()["notes"], result.exit_code) == (["the logs were deleted"], ExitCode.ATTENTION)


def test_what_a_paused_enqueuer_will_send_as_well_is_said(asked, monkeypatch, events):
    asked = with_missing(monkeypatch, asked, Missing(frozenset({"e1"}), resting="not enqueued: it is paused"))
    with asked.gathered(dry_run=True) as work:
        assert shown(work, asked) == ["e1"]
    (said,) = [event.text for event in events if isinstance(event, Warned)]
    assert said.startswith(
        "some are not enqueued: it is paused. When the enqueuer runs again it sends these, too"
    )


def test_what_sqs_suppressed_is_still_missing_and_when_to_try_again_is_said():
    assert replay._still_missing(2, 1767322800000) == (
        "2 still missing: SQS took them within the last five minutes and drops a second copy; run it again"
        " after 2026-01-02T03:05:00.000Z, or with --fresh"
    )


def test_a_later_run_of_the_same_command_knows_what_the_first_one_found(asked, stream, events):
    with asked.gathered() as work:
        work.checkpoint.note(sending="begun")
        work.checkpoint.set_states({"e0": "enqueued", "e1": "failed"})
    stream.simulated.clear()
    with replace(asked, now=NOW + timedelta(minutes=10)).gathered() as again:
        sums = again.checkpoint.sums()
        assert (again.read, sums) == (10, Sums(waiting=9, enqueued=1))
    text = [event.text for event in events if isinstance(event, Noted)]
    assert text
    assert "1 of 10 records were done by then" in text[0]


def test_another_command_is_another_replay(asked):
    with asked.gathered() as work:
        work.checkpoint.note(sending="begun")
        work.checkpoint.set_states({"e0": "enqueued"})
    other = replace(asked, options=replace(asked.options, fresh=True, asked=("--fresh",)))
    with other.gathered() as work:
        assert work.checkpoint.sums() == Sums(waiting=10)


def test_records_on_which_the_filter_fails_are_told(asked, events):
    asked = replace(asked, options=replace(asked.options, expression="abs(id) > `1`"))
    with asked.gathered(dry_run=True) as work:
        assert shown(work, asked) == []
        result = asked.preview(work)
    (note,) = result.notes
    assert note.startswith(
        "--filter failed on 10 records, which are not replayed; on the first: In function abs"
    )
    assert result.exit_code is ExitCode.ATTENTION


def result(expired: int | None = 0, **sums: int) -> ReplayResult:
    return ReplayResult(9, Sums(**sums), (None, None), expired)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (result(enqueued=5, suppressed=1, skipped=3), 0),
        (result(parked=1), 1),
        (result(failed=1), 1),
        (result(expired=1), 1),
        (result(expired=None), 1),
        (replace(result(), kept=(Kept("m", "expired"),)), 1),
        (replace(result(), notes=("who knows",)), 1),
        (replace(result(failed=1), error=AwsError("no")), 3),
    ],
)
def test_the_exit_code_says_whether_something_needs_a_look(outcome, code):
    assert outcome.exit_code == code


@pytest.mark.parametrize(
    ("outcome", "whole"),
    [
        (result(enqueued=1, parked=1), True),
        (result(waiting=1), False),
        (result(failed=1), False),
        (replace(result(), error=AwsError("no")), False),
    ],
)
def test_a_replay_is_whole_when_nothing_of_it_waits_for_another_run(outcome, whole):
    assert outcome.is_whole is whole


def test_message_ids_are_taken_from_the_enqueuers_own_lines_and_no_others(asked, monkeypatch):
    lines = [
        json.dumps({"level": "info", "message": "enqueued", "message_id": "m1"}),
        json.dumps({"level": "error", "message": "not enqueued", "message_id": "m2"}),
        json.dumps({"level": "info", "message": "enqueued"}),
        json.dumps(["enqueued"]),
        "START enqueued",
    ]
    monkeypatch.setattr(
        replay, "get_log_events", lambda *args, **more: [LogEvent(str(n), 7, t) for n, t in enumerate(lines)]
    )
    assert asked._recent_messages() == {"m1": 7}


@pytest.mark.parametrize("error", [MissingLogGroup("x"), AwsError("denied")])
def test_without_logs_nothing_is_known_and_the_replay_goes_on(asked, monkeypatch, events, error):
    def refuse(*args: object, **more: object) -> list[LogEvent]:
        raise error

    monkeypatch.setattr(replay, "get_log_events", refuse)
    assert asked._recent_messages() == {}
    (said,) = [event.text for event in events if isinstance(event, Warned)]
    assert said.startswith("suppressed messages are counted as enqueued: ")
