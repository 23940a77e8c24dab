"""purge without a backup, which SQS does by itself."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import AwsError, UsageError
from fifo_cli.events import Event, Waiting
from fifo_cli.model.history_events import Move
from fifo_cli.model.names import Names
from fifo_cli.operations.queues import purge as module
from fifo_cli.operations.queues.purge import PURGE_SECONDS, purge_for_good, refuse_if_shared
from tests.fakes import Clock
from tests.unit.operations.test_browse import CountingSqs, FakeAws, fill

NAMES = Names("orders")


class Bench:
    """A queue whose service is stubbed, and a clock."""

    def __init__(self, target: AwsEndpoint) -> None:
        self.aws = Aws(target)
        self.clock = Clock()
        self.queue = Queue(self.aws, NAMES, "dlq")
        self.queue.__dict__["url"] = "https://sqs/1/orders-dlq.fifo"
        self.stub = Stubber(self.aws.client("sqs"))
        self.text: list[Event] = []

    def counts(self, visible: int) -> None:
        names = {"": visible, "NotVisible": 0, "Delayed": 0}
        found = {f"ApproximateNumberOfMessages{kind}": str(count) for kind, count in names.items()}
        self.stub.add_response("get_queue_attributes", {"Attributes": found})

    def in_progress(self) -> None:
        self.stub.add_client_error("purge_queue", "AWS.SimpleQueueService.PurgeQueueInProgress")

    def purge(self, **options: Any) -> Any:
        began = self.clock.now
        with self.stub:
            result = purge_for_good(
                self.aws,
                self.queue,
                listener=self.text.append,
                sleep=self.clock.sleep,
                clock=self.clock,
                **options,
            )
        self.stub.assert_no_pending_responses()
        return result, self.clock.now - began


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return Bench(AwsEndpoint(region="us-east-1"))


def test_it_waits_the_minute_that_sqs_takes(bench):
    bench.counts(7)
    bench.stub.add_response("purge_queue", {}, {"QueueUrl": bench.queue.url})
    bench.counts(0)
    result, took = bench.purge()
    assert result.document() == {"purged": 7, "backup": None}
    assert (result.remaining, took >= PURGE_SECONDS) == (0, True)
    assert [type(event) for event in bench.text] == [Waiting]


def test_the_embedded_stack_is_not_waited_for():
    bench = Bench(AwsEndpoint(endpoint_url="http://127.0.0.1:9", local=True))
    bench.counts(1)
    bench.stub.add_response("purge_queue", {})
    bench.counts(0)
    assert bench.purge()[1] == 0


def test_a_queue_that_was_purged_a_moment_ago_is_purged_a_minute_later(bench):
    bench.counts(3)
    bench.in_progress()
    bench.stub.add_response("purge_queue", {})
    bench.counts(0)
    result, took = bench.purge()
    assert (result.purged, took >= 2 * PURGE_SECONDS) == (3, True)


def test_while_somebody_else_keeps_purging_it_gives_up_and_says_so(bench):
    bench.counts(3)
    bench.in_progress()
    bench.in_progress()
    with pytest.raises(AwsError, match="being purged by somebody else"):
        bench.purge()


def test_stopped_while_it_waits_for_its_turn_it_has_purged_nothing(bench):
    bench.counts(3)
    bench.in_progress()
    bench.counts(3)
    result, _ = bench.purge(stopped=lambda: bool(bench.text))
    assert (result.purged, result.remaining) == (0, 3)


def test_a_purge_whose_answer_was_lost_is_not_called_nothing(bench):
    bench.counts(3)
    bench.in_progress()  # to the repetition
    bench.counts(0)
    result, _ = bench.purge(stopped=lambda: bool(bench.text))
    assert (result.purged, result.remaining) == (3, 0)


def test_what_was_purged_is_said_though_nothing_can_be_counted_after_it(bench):
    bench.counts(3)
    bench.stub.add_response("purge_queue", {})
    bench.stub.add_client_error("get_queue_attributes", "InternalError", http_status_code=500)
    result, _ = bench.purge(stopped=lambda: bool(bench.text))
    assert (result.purged, result.remaining) == (3, None)
    assert "InternalError" in result.error.message


@pytest.mark.parametrize("code", ["InternalError", "RequestThrottled"])
def test_where_the_effect_of_a_purge_is_not_known_that_is_said(bench, code):
    bench.counts(3)
    bench.stub.add_client_error("purge_queue", code, http_status_code=500)
    with pytest.raises(AwsError, match=r"it is not known whether orders-dlq\.fifo was purged"):
        bench.purge()


def test_a_dlq_that_serves_another_queue_too_is_refused_unless_forced(bench):
    answer = {"queueUrls": ["https://sqs/1/orders.fifo", "https://sqs/1/theirs.fifo"]}
    for _ in range(2):
        bench.stub.add_response("list_dead_letter_source_queues", answer)
    with bench.stub:
        with pytest.raises(UsageError, match=r"dead-letter queue of theirs\.fifo, too"):
            refuse_if_shared(bench.queue, NAMES.main)
        refuse_if_shared(bench.queue, NAMES.main, force=True)


def test_a_service_that_cannot_tell_whose_dlq_it_is_stops_nobody(bench):
    bench.stub.add_client_error("list_dead_letter_source_queues", "InvalidAction")
    with bench.stub:
        refuse_if_shared(bench.queue, NAMES.main)


def test_what_goes_is_noted_before_it_goes_some_at_a_time(monkeypatch):
    """A note of very many would not be written in the time that it is waited for, nor what comes after it."""
    monkeypatch.setattr(module, "_NOTED_AT_A_TIME", 10)
    sqs = CountingSqs(Clock(), "p.fifo")
    fill(sqs, 37, 37)
    aws, moves = FakeAws(sqs), list[Move]()

    def note(move: Move) -> None:
        assert len(sqs.bodies("p.fifo")) == 37
        moves.append(move)

    purge_for_good(aws, Queue(aws, Names("p"), "main"), note=note, clock=sqs.clock)
    assert [len(move.messages) for move in moves] == [10, 10, 10, 7, 0]
    assert [(move.everything, move.unseen) for move in moves] == [(False, None)] * 4 + [(True, 0)]
    assert len({one.message_id for move in moves for one in move.messages}) == 37
    assert sqs.bodies("p.fifo") == []


def test_stopped_while_it_looks_it_has_noted_and_purged_nothing():
    sqs = CountingSqs(Clock(), "p.fifo")
    fill(sqs, 25, 25)
    aws, moves = FakeAws(sqs), list[Move]()
    stopped = lambda: any(action == "ReceiveMessage" for action, _ in sqs.calls)  # noqa: E731
    result = purge_for_good(aws, Queue(aws, Names("p"), "main"), note=moves.append, stopped=stopped)
    assert (moves, result.purged, len(sqs.bodies("p.fifo"))) == ([], 0, 25)
