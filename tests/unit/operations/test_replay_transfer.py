from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Progressed
from fifo_cli.handlers.enqueuer import Enqueuer
from fifo_cli.operations.stream.replay_store import ReplayRecord, ReplayStore, Sums, temporary_checkpoint
from fifo_cli.operations.stream.replay_transfer import EarlierMessages, ReplayTransfer
from fifo_cli.operations.transfer.result import MoveReport
from fifo_cli.operations.transfer.scheduler import FIRST_PAUSE, TRIES_MAX
from tests import faults
from tests.batch_answers import NOT_DONE
from tests.fakes import Clock, FakeSqs
from tests.faults import Action, Call, Pass, client_error, refusing
from tests.unit.handlers.test_records import rules
from tests.unit.operations.simulated_stream import record

URLS = {"main": "main", "dlq": "dlq"}


class Replaying:
    """A checkpoint, an SQS in memory, and runs of sending between them."""

    def __init__(self, checkpoint: ReplayStore) -> None:
        self.checkpoint = checkpoint
        self.clock = Clock()
        self.sqs = FakeSqs(self.clock, "main", "dlq")
        self.slept = 0.0
        self.events: list[Event] = []
        self.journal: list[str] = []
        self.stop_after: int | None = None

    def add(self, count: int, groups: int = 2, *, start: int = 0, **more: Any) -> None:
        self.checkpoint.add(
            ReplayRecord(f"e{n}", f"{n:030}", n, record(n, f"i{n}", grp={"S": f"g{n % groups}"}, **more))
            for n in range(start, start + count)
        )

    def send(self, *, fresh: str = "", known: dict[str, int] | None = None, **options: Any) -> MoveReport:
        def journal(level: str, message: str, **facts: Any) -> None:
            self.journal.append(message)

        enqueuer = Enqueuer(rules(group="grp", **options), self.sqs, URLS, journal)  # type: ignore[arg-type]
        return ReplayTransfer(self.checkpoint, enqueuer, EarlierMessages(known or {}), fresh).perform(
            workers=1,
            listener=self.events.append,
            stopped=lambda: self.stop_after is not None and len(self.sqs.calls) >= self.stop_after,
            clock=self.clock,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.slept += seconds

    def ids(self, group: str) -> list[str]:
        return [
            one.attributes["event_id"]["StringValue"]
            for one in self.sqs.queues["main"].messages
            if one.group == group
        ]

    def tries(self, event_id: str) -> int:
        """Count the calls that held a message."""
        return sum(
            _event_id(entry) == event_id for _, request in self.sqs.calls for entry in request["Entries"]
        )

    def refuse(self, *ids: str) -> None:
        self.sqs.rule = refusing(lambda entry: _event_id(entry) in ids)


def _event_id(entry: Mapping[str, Any]) -> str:
    return str(entry["MessageAttributes"]["event_id"]["StringValue"])


@pytest.fixture
def replaying() -> Iterator[Replaying]:
    with temporary_checkpoint() as checkpoint:
        yield Replaying(checkpoint)


def test_all_is_sent_in_order_and_noted(replaying):
    replaying.add(7)
    assert replaying.send() == MoveReport(moved=7)
    assert (replaying.ids("g0"), replaying.ids("g1")) == (["e0", "e2", "e4", "e6"], ["e1", "e3", "e5"])
    assert replaying.checkpoint.sums() == Sums(enqueued=7)
    assert replaying.journal == ["enqueued"] * 7
    assert isinstance(replaying.events[-1], Progressed)


def test_each_message_is_noted_before_the_next_call(replaying):
    replaying.add(4, 1)
    noted: list[int] = []

    def note(call: Call) -> Action:
        noted.append(replaying.checkpoint.sums().enqueued)
        return Pass()

    replaying.sqs.rule = note
    replaying.send()
    assert noted == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", NOT_DONE)
def test_what_the_answer_does_not_confirm_waits_for_another_try_and_comes_once(replaying, kind):
    replaying.add(3, 3)
    send = replaying.sqs.send_message_batch

    def spoilt(**request: Any) -> dict[str, Any]:
        answer = send(**request)
        return NOT_DONE[kind](answer) if len(replaying.sqs.calls) == 1 else answer

    replaying.sqs.send_message_batch = spoilt
    replaying.stop_after = 1
    replaying.send()
    assert replaying.checkpoint.sums() == Sums(enqueued=2, waiting=1)
    replaying.stop_after = None
    assert replaying.send().failures == []
    assert replaying.checkpoint.sums().waiting == 0
    assert [replaying.ids(f"g{n}") for n in range(3)] == [["e0"], ["e1"], ["e2"]]


def test_what_the_rules_leave_out_is_skipped_and_what_cannot_be_sent_is_parked(replaying):
    replaying.add(2, keep={"BOOL": True})
    replaying.add(1, start=2, keep={"BOOL": False})
    replaying.add(1, start=3, keep={"BOOL": True}, huge={"S": "x" * 1_100_000})
    replaying.send(where="keep")
    assert replaying.checkpoint.sums() == Sums(enqueued=2, skipped=1, parked=1)
    assert len(replaying.sqs.queues["dlq"].messages) == 1


def test_a_refused_message_is_tried_again_and_nothing_of_its_group_overtakes_it(replaying):
    replaying.add(6)
    # Its third call is noted before the rule sees it.
    replaying.sqs.rule = refusing(lambda entry: _event_id(entry) == "e2" and replaying.tries("e2") < 3)
    assert replaying.send().failures == []
    assert (replaying.ids("g0"), replaying.ids("g1")) == (["e0", "e2", "e4"], ["e1", "e3", "e5"])
    assert replaying.tries("e2") == 3
    assert replaying.slept >= FIRST_PAUSE * (1 + 2)


def test_a_group_that_is_refused_for_good_is_left_and_the_others_go_on(replaying):
    replaying.add(1200)
    replaying.refuse("e2")
    done = replaying.send()
    assert replaying.ids("g0") == ["e0"]
    assert replaying.ids("g1") == [f"e{n}" for n in range(1, 1200, 2)]
    assert replaying.checkpoint.sums() == Sums(enqueued=601, failed=599)
    assert [one.message_id for one in done.failures[:2]] == ["e2", "e4"]
    assert done.failures[0].reason == "InternalError: no"
    assert len(done.failures) == 100
    # The group is given up once, not in every chunk again.
    assert (replaying.tries("e2"), replaying.tries("e4")) == (TRIES_MAX, 0)


def test_a_later_run_sends_what_was_refused_in_its_place(replaying):
    replaying.add(6)
    replaying.refuse("e2")
    replaying.send()
    replaying.refuse()
    replaying.checkpoint.retry_failed()
    replaying.send()
    assert replaying.ids("g0") == ["e0", "e2", "e4"]
    assert replaying.checkpoint.sums() == Sums(enqueued=6)


def test_a_throttled_call_is_made_again(replaying):
    replaying.add(4)
    throttled = faults.AnswerWithError("ThrottlingException", "slow down")
    answers = iter([throttled, throttled])
    replaying.sqs.rule = lambda call: next(answers, Pass())
    assert replaying.send().error is None
    assert replaying.checkpoint.sums() == Sums(enqueued=4)


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (client_error("SendMessageBatch", "AccessDenied", "no"), 5),
        (EndpointConnectionError(endpoint_url="http://x"), 5),
        (RuntimeError("a defect"), 1),
    ],
)
def test_a_call_that_fails_for_good_ends_the_run_and_the_rest_waits(replaying, error, tries):
    replaying.add(4, 1)

    def fail(call: Call) -> Action:
        if len(replaying.sqs.calls) > 2:
            raise error
        return Pass()

    replaying.sqs.rule = fail
    done = replaying.send()
    assert isinstance(done.error, AwsError)
    assert replaying.checkpoint.sums() == Sums(waiting=2, enqueued=2)
    assert len(replaying.sqs.calls) == 2 + tries


def test_it_stops_between_two_calls(replaying):
    replaying.add(4, 1)
    replaying.stop_after = 2
    done = replaying.send()
    assert (done.stopped, done.error, done.failures) == (True, None, [])
    assert replaying.checkpoint.sums() == Sums(waiting=2, enqueued=2)


def test_the_deduplication_id_is_the_event_id_and_sqs_suppresses_what_it_knows(replaying):
    replaying.add(3)
    replaying.send()
    first = {one.message_id for one in replaying.sqs.queues["main"].messages}
    replaying.checkpoint.set_states({f"e{n}": "waiting" for n in range(3)})
    replaying.journal.clear()
    replaying.send(known=dict.fromkeys(first, 7))
    assert replaying.checkpoint.sums() == Sums(suppressed=3)
    assert replaying.journal == ["suppressed"] * 3
    assert len(replaying.sqs.queues["main"].messages) == 3


def test_an_answer_with_an_older_number_of_its_group_is_a_suppressed_message(replaying):
    replaying.add(4, 1)
    answers = iter(["100", "101", "7", "102"])
    real = replaying.sqs.send_message_batch

    def numbered(**request: Any) -> Any:
        answer = real(**request)
        for one in answer["Successful"]:
            one["SequenceNumber"] = next(answers)
        return answer

    replaying.sqs.send_message_batch = numbered
    replaying.send()
    assert replaying.checkpoint.sums() == Sums(enqueued=3, suppressed=1)


def test_an_answer_without_a_number_is_no_evidence(replaying):
    replaying.add(2, 1)
    real = replaying.sqs.send_message_batch

    def bare(**request: Any) -> Any:
        answer = real(**request)
        for one in answer["Successful"]:
            one.pop("SequenceNumber", None)
        return answer

    replaying.sqs.send_message_batch = bare
    replaying.send()
    assert replaying.checkpoint.sums() == Sums(enqueued=2)


def test_fresh_ids_are_this_replays_own_and_the_same_when_it_is_run_again(replaying):
    replaying.add(2)
    replaying.send()
    for _ in range(2):
        replaying.checkpoint.set_states({f"e{n}": "waiting" for n in range(2)})
        replaying.send(fresh="replay-0a1b2c3d")
    messages = replaying.sqs.queues["main"].messages
    assert [one.dedup_id for one in messages] == ["e0", "e1", "replay-0a1b2c3d-e0", "replay-0a1b2c3d-e1"]
    assert [one.attributes["event_id"]["StringValue"] for one in messages] == ["e0", "e1", "e0", "e1"]


def test_a_full_disk_ends_the_run_with_what_it_is(replaying):
    replaying.add(2, 1)

    def full(states: object) -> None:
        raise AwsError("x.db cannot be used: disk full")

    replaying.checkpoint.set_states = full
    with pytest.raises(AwsError, match="disk full"):
        raise replaying.send().error or AssertionError


def test_what_sqs_refuses_for_its_content_is_parked_in_its_place_and_its_group_goes_on(replaying):
    replaying.add(4, 1)
    replaying.sqs.rule = refusing(
        lambda entry: _event_id(entry) == "e1" and "park_reason" not in entry["MessageAttributes"],
        "InvalidMessageContents",
        "no such characters",
        sender_fault=True,
    )
    assert replaying.send(fresh="replay-0a1b2c3d").failures == []
    assert replaying.ids("g0") == ["e0", "e2", "e3"]
    assert replaying.checkpoint.sums() == Sums(enqueued=3, parked=1)
    (parked,) = replaying.sqs.queues["dlq"].messages
    assert parked.dedup_id == "replay-0a1b2c3d-park-e1"
    assert "no such characters" in parked.attributes["park_reason"]["StringValue"]


def test_nothing_is_read_past_a_record_that_could_not_be_noted(replaying):
    replaying.add(1, keep={"BOOL": True})
    replaying.add(1, start=1, keep={"BOOL": False})
    replaying.add(4, start=2, keep={"BOOL": True})
    set_states = replaying.checkpoint.set_states

    def full_at_first(states: dict[str, Any]) -> None:
        if "skipped" in states.values():
            raise AwsError("x.db cannot be used: disk full")
        set_states(states)

    replaying.checkpoint.set_states = full_at_first
    assert "disk full" in replaying.send(where="keep").error.message
    assert replaying.checkpoint.sums() == Sums(waiting=6)
    replaying.checkpoint.set_states = set_states
    replaying.send(where="keep")
    assert (replaying.ids("g0"), replaying.ids("g1")) == (["e0", "e2", "e4"], ["e3", "e5"])
