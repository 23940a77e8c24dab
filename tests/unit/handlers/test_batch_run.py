from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.handlers.batch_run import BatchWorker, read_record
from fifo_cli.handlers.delivery import Verdict
from fifo_cli.handlers.failure import ConfigurationError
from fifo_cli.handlers.runtime import WorkerSettings
from tests.fakes import Clock, FakeSqs
from tests.faults import Action, AnswerWithError, Call, Drop, DropAnswer, Kill, Pass, on
from tests.lambda_poller import failed_ids, record
from tests.unit.handlers.queue_world import NEEDS, AwsRule, Deliveries, World


def failing(*groups: str, status: int = 503, seconds: float = 0.2) -> Any:
    return lambda group, body: (status if group in groups or not groups else 200, seconds)


def received(world: World, *groups: str) -> list[dict[str, Any]]:
    """Put messages, receive what is visible as the poller does, and turn it into what Lambda hands over."""
    world.put(*groups)
    messages = world.sqs.receive_message(QueueUrl="main", MaxNumberOfMessages=10, VisibilityTimeout=360)
    world.sqs.calls.clear()
    return [record(message) for message in messages["Messages"]]


def batch(world: World, *groups: str, receives: int = 1) -> list[dict[str, Any]]:
    """The same, with so many receives."""
    records = received(world, *groups)
    for _ in range(receives - 1):
        world.clock.sleep(400)
        records = received(world)
    return records


def worker(world: World) -> BatchWorker:
    return BatchWorker(
        world.sqs,  # type: ignore[arg-type]
        {"main": "main", "dlq": "dlq"},
        Deliveries(world),  # type: ignore[arg-type]
        world.settings,
        needs=NEEDS,
        journal=world.journal,
        clock=world.clock,
        sleep=world.clock.sleep,
    )


def deliver(world: World, *groups: str, time_left: float = 60, receives: int = 1) -> Any:
    records = batch(world, *groups, receives=receives)
    end = world.clock() + time_left
    return worker(world).deliver(records, lambda: end - world.clock())


def changes(world: World) -> list[list[tuple[str, int]]]:
    return [
        [(entry["ReceiptHandle"].split("#")[0], entry["VisibilityTimeout"]) for entry in request["Entries"]]
        for action, request in world.sqs.calls
        if action == "ChangeMessageVisibilityBatch"
    ]


def test_the_whole_batch_is_hidden_first_then_each_message_is_deleted_when_its_api_said_yes():
    world = World()
    report, left = deliver(world, "a", "a", "b")
    assert world.actions() == ["ChangeMessageVisibilityBatch", *["DeleteMessage"] * 3]
    assert changes(world) == [[("m1", 70), ("m2", 70), ("m3", 70)]]
    assert (left, world.bodies()) == ([], [])
    assert [outcome.status for outcome in report.results] == ["delivered"] * 3


def test_what_is_left_of_a_failed_group_gets_one_pause_tails_first_and_other_groups_go_on():
    world = World(answer=failing("a"))
    _, left = deliver(world, "a", "a", "b", "a")
    assert left == ["m1", "m2", "m4"]
    assert changes(world)[-1] == [("m4", 10), ("m2", 10), ("m1", 10)]
    assert [call.body for call in world.calls] == [1, 3]
    (failed,) = world.lines("failed")
    assert (failed["pause"], failed["message_id"]) == (10, "m1")
    assert failed["paused_until"].endswith("Z")
    assert [line["paused_until"][:16] for line in world.lines("skipped")] == [failed["paused_until"][:16]] * 2


@pytest.mark.parametrize(("receives", "pause"), [(1, 10), (2, 20), (3, 40), (5, 160), (6, 300), (9, 300)])
def test_the_pause_doubles_with_each_receive_up_to_the_longest(receives, pause):
    world = World(answer=failing())
    deliver(world, "a", "a", receives=receives)
    assert changes(world)[-1] == [("m2", pause), ("m1", pause)]


@pytest.mark.parametrize(("asked", "pause"), [(120.0, 120), (90_000.0, 36_000), (0.0, 10), (None, 10)])
def test_retry_after_is_the_pause_within_what_sqs_can_hide_a_message_for(asked, pause):
    world = World()
    made = worker(world)
    attempt = Deliveries(World(answer=failing())).attempt
    message = read_record(batch(world, "a")[0])
    failed = attempt(message, time_left=None, on_doubt=None, on_repeat=None)
    assert made.pause_of(message, replace(failed, retry_after=asked)) == pause
    taken = replace(failed, retry_after=asked, verdict=Verdict.SUCCESS)
    assert made.pause_of(message, taken) == 10, "it stays only because it was not deleted"


class Asking(Deliveries):
    """An API that asks for a pause with each failure."""

    def attempt(self, *args: Any, **more: Any) -> Any:
        return replace(super().attempt(*args, **more), retry_after=120.4)


def test_a_pause_that_the_api_asked_for_is_logged_as_such():
    world = World(answer=failing("a"))
    made = worker(world)
    made.delivery = Asking(world)  # type: ignore[assignment]
    made.deliver(batch(world, "a", "a", "b"), lambda: 60)
    (failed,) = world.lines("failed")
    assert (failed["pause"], failed["retry_after"]) == (120.4, 120)
    others = (*world.lines("delivered"), *world.lines("skipped"))
    assert [line["retry_after"] for line in others] == [None, None]


def test_no_pause_is_longer_than_sqs_can_hide_a_message_for():
    world = World(answer=failing("a"), settings=WorkerSettings(retry_first=43_200, retry_longest=43_200))
    deliver(world, "a")
    assert changes(world)[-1] == [("m1", 36_000)]
    world.settings = WorkerSettings(max_rate=1e-6)
    deliver(world, "b", "c")
    assert changes(world)[-1] == [("m3", 36_000)]


def test_a_permanent_failure_is_parked_then_deleted_and_its_group_goes_on():
    world = World(answer=lambda group, body: (422 if body == 1 else 200, 0.1))
    _, left = deliver(world, "a", "a")
    assert (left, world.bodies(), world.bodies("dlq")) == ([], [], [1])
    assert world.actions()[1:4] == ["SendMessage", "DeleteMessage", "DeleteMessage"]


def test_a_group_whose_receipt_handle_has_expired_is_left_alone_and_all_of_it_is_in_the_answer():
    world = World()
    records = batch(world, "a", "a", "b")
    world.clock.sleep(400)
    world.sqs.receive_message(QueueUrl="main", MaxNumberOfMessages=1, VisibilityTimeout=30)
    _, left = worker(world).deliver(records, lambda: 60.0)
    assert (left, world.calls) == (["m1", "m2", "m3"], [])
    assert world.bodies() == [1, 2, 3]


def test_a_tail_that_is_still_ours_is_given_back_when_its_head_is_someone_elses():
    world = World()
    records = batch(world, "a", "a")
    head = world.sqs.queues["main"].messages[0]
    head.handle = "someone else's"
    _, left = worker(world).deliver(records, lambda: 60.0)
    assert (left, world.calls) == (["m1", "m2"], [])
    assert changes(world)[-1] == [("m2", 0)]


def test_nothing_is_begun_that_cannot_be_finished_and_what_had_no_turn_is_given_back_at_once():
    world = World(answer=failing("none", seconds=9))
    _, left = deliver(world, *"aabbc", time_left=30)
    assert [call.body for call in world.calls] == [1, 2]
    assert left == ["m3", "m4", "m5"]
    assert changes(world)[-1] == [("m5", 0), ("m4", 0), ("m3", 0)]
    assert {line["reason"] for line in world.lines("skipped")} == {
        "the function's time was up before its turn"
    }


def test_a_delete_that_fails_keeps_the_message_in_the_answer_and_stops_its_group():
    world = World()
    records = batch(world, "a", "a")
    world.sqs.rule = on("DeleteMessage", do=Drop())
    report, left = worker(world).deliver(records, lambda: 60.0)
    assert left == ["m1", "m2"]
    assert [outcome.status for outcome in report.results] == ["delivered", "skipped"]
    assert changes(world)[-1] == [("m2", 10), ("m1", 10)]


@pytest.mark.parametrize(
    "error", [ConfigurationError("/key", "is gone"), EndpointConnectionError(endpoint_url="http://ssm")]
)
def test_a_fault_of_configuration_or_aws_parks_nothing_and_gives_all_back_with_a_pause(error):
    def answer(group: str, body: int) -> Any:
        raise error

    world = World(answer=answer)
    report, left = deliver(world, "a", "a", "b", "c")
    assert report.error is error
    assert (left, len(world.calls)) == (["m1", "m2", "m3", "m4"], 1)
    assert changes(world)[-1] == [("m4", 10), ("m3", 10), ("m2", 10), ("m1", 10)]
    assert len(world.lines("run failed")) == 1
    assert world.bodies("dlq") == []


def test_a_defect_keeps_its_message_and_its_group_waits():
    def answer(group: str, body: int) -> Any:
        if body == 1:
            raise ZeroDivisionError("a defect")
        return 200, 0.1

    world = World(answer=answer)
    report, left = deliver(world, "a", "b")
    assert (report.error, left) == (None, ["m1"])
    assert world.lines("failed")[0]["owner"] == "program"


def test_sqs_out_of_reach_is_a_failure_of_all_and_what_is_not_released_is_logged():
    world = World()
    records = batch(world, "a", "b")
    world.sqs.rule = on(do=Drop())
    report, left = worker(world).deliver(records, lambda: 60.0)
    assert isinstance(report.error, EndpointConnectionError)
    assert (left, world.calls) == (["m1", "m2"], [])
    assert len(world.lines("not released")) == 1


def test_groups_are_delivered_side_by_side_and_order_holds_within_each():
    world = World(settings=WorkerSettings(concurrency=8), answer=failing("d", seconds=0))
    report, left = deliver(world, *"abcdabcdab")
    assert left == ["m4", "m8"]
    for group in "abc":
        bodies = [call.body for call in world.calls if call.group == group]
        assert bodies == sorted(bodies)
    assert len(report.results) == 10


def test_max_rate_holds_from_one_batch_to_the_next():
    world = World(settings=WorkerSettings(max_rate=0.5), answer=failing("none", seconds=0))
    made = worker(world)
    began = world.clock()
    for _ in range(2):
        made.deliver(batch(world, "a", "b"), lambda: 60.0)
    assert [call.began - began for call in world.calls] == [0, 2, 4, 6]


def test_what_max_rate_allows_no_call_for_in_time_comes_again_when_it_does():
    world = World(settings=WorkerSettings(max_rate=0.01))
    deliver(world, "a", "b", "b")
    assert changes(world)[-1] == [("m3", 100), ("m2", 100)]
    pauses = [line["pause"] for line in world.lines("skipped")]
    assert pauses == [pytest.approx(100, abs=1)] * 2
    assert pauses == [round(pause, 3) for pause in pauses]
    assert {line["reason"] for line in world.lines("skipped")} == {"max_rate allows its call only later"}


def test_groups_that_were_not_tried_before_go_first():
    world = World()
    records = batch(world, "a", "b", "c", "d")
    for old in records[:2]:
        old["attributes"]["ApproximateReceiveCount"] = "2"
    worker(world).deliver(records, lambda: 60.0)
    assert [call.group for call in world.calls] == ["c", "d", "a", "b"]


def test_retries_that_fail_slowly_take_no_more_than_their_share_of_the_time():
    world = World(answer=failing(seconds=9), settings=WorkerSettings(breaker=0))
    made = worker(world)
    world.put(*(f"g{number}" for number in range(30)))
    for _ in range(30):  # one after the other, the function is never idle
        message = world.sqs.receive_message(QueueUrl="main", MaxNumberOfMessages=1, VisibilityTimeout=360)
        retry = record(message["Messages"][0])
        retry["attributes"]["ApproximateReceiveCount"] = "2"
        made.deliver([retry], lambda: 60.0)
        world.clock.sleep(0 if world.lines("skipped") else 0.1)
    assert len(world.calls) == 3
    assert {line["reason"] for line in world.lines("skipped")} == {
        "it failed before, and calls that failed took their share of the function's time"
    }


def test_the_breaker_gives_batches_back_unseen_with_the_pause_that_is_left():
    world = World(answer=failing())
    made = worker(world)
    made.deliver(batch(world, *"abcdefg"), lambda: 60.0)
    assert len(world.calls) == 5
    (opened,) = world.lines("breaker opened")
    assert (opened["failures"], opened["status"], opened["api"]) == (5, 503, "api.test")
    assert opened["until"].endswith("Z")
    world.clock.sleep(4)
    _, left = made.deliver(received(world, "x", "y"), lambda: 20.0)  # too short to wait for the probe
    assert len(world.calls) == 5
    assert world.actions() == ["ChangeMessageVisibilityBatch"]
    assert {pause for _, pause in changes(world)[0]} <= {*range(6, 16)}
    assert left == ["m8", "m9"]
    assert "the API is not called" in world.lines("skipped")[-1]["reason"]


def test_when_its_pause_is_over_one_call_is_let_through_and_its_success_lets_all_go_on():
    world = World(answer=failing())
    made = worker(world)
    made.deliver(batch(world, *"abcdefg"), lambda: 60.0)
    world.clock.sleep(10)
    made.deliver(received(world, "x", "y"), lambda: 60.0)
    assert [call.group for call in world.calls][5:] == ["x"]
    world.answer = failing("none")
    world.clock.sleep(30)
    made.deliver(received(world), lambda: 60.0)
    assert world.lines("breaker closed") == [{"level": "info"}]
    assert len(world.calls) == 5 + 1 + 9


def test_a_function_waits_for_the_end_of_a_pause_that_is_soon_so_that_it_takes_no_other_batches():
    world = World(answer=failing())
    made = worker(world)
    made.deliver(batch(world, *"abcde"), lambda: 60.0)
    opened_at = world.clock()
    made.deliver(received(world, "x", "y"), lambda: 60.0)
    assert [(call.group, round(call.began - opened_at)) for call in world.calls[5:]] == [("x", 10)]


def test_a_record_is_read_with_its_attributes_as_boto3_has_them():
    attributes = {
        "text": {"DataType": "String", "StringValue": "é"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    queue = AwsRule(Clock(), "main")
    queue.send_message(
        QueueUrl="main",
        MessageBody="1",
        MessageGroupId="g",
        MessageDeduplicationId="1",
        MessageAttributes=attributes,
    )
    (message,) = queue.receive_message(QueueUrl="main", MaxNumberOfMessages=1, VisibilityTimeout=1)[
        "Messages"
    ]
    read = read_record(record(message))
    assert read.attributes == attributes
    assert (read.message_id, read.receipt_handle, read.body, read.group) == ("m1", "m1#1", "1", "g")
    assert (read.receives, read.sent_at) == (1, 1_000_000.0)


@pytest.mark.parametrize("attributes", [None, {}])
def test_a_record_without_attributes_is_read(attributes):
    message = {"messageId": "m", "receiptHandle": "h", "body": "{}", "messageAttributes": attributes}
    assert read_record(message).attributes == {}


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        ({}, ""),
        (None, ""),
        ({"batchItemFailures": []}, ""),
        ({"batchItemFailures": None}, ""),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, "a"),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, "ab"),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, "ab"),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, "ab"),
        ({"batchItemFailures": [{"id": "a"}]}, "ab"),
        ({"failures": []}, "ab"),
        ("text", "ab"),
        (object(), "ab"),
    ],
)
def test_the_doubles_poller_reads_answers_as_lambda_does(answer, failed):
    assert failed_ids(answer, ["a", "b"]) == set(failed)


class History:
    """A random history: answers, faults of SQS and ends of functions, drawn from ``seed``."""

    def __init__(self, seed: int, *, trouble: float, killing: float, slow: float) -> None:
        self.random = random.Random(seed)
        self.trouble, self.killing, self.slow = trouble, killing, slow
        self.poison = {self.random.randrange(1, 60) for _ in range(self.random.randrange(3))}
        self.over = False
        self.faults = 0

    def answer(self, group: str, body: int) -> tuple[int, float]:
        if body in self.poison:
            return 422, 0.1
        if not self.over and self.random.random() < self.trouble:
            return self.random.choice([500, 503, 429]), self.random.choice([0.1, 1, 12])
        return 200, 9.9 if self.random.random() < self.slow else 0.1

    def rule(self, call: Call) -> Action:
        if self.over or self.random.random() >= self.killing:
            return Pass()
        self.faults += 1
        faults: list[Action] = [AnswerWithError("InternalError"), DropAnswer(), Kill(), Kill(after=True)]
        return self.random.choice(faults)

    def delay(self) -> float:
        """A batch may be in the poller's hands for longer than the messages stay hidden."""
        late = not self.over and self.random.random() < self.killing / 2
        self.faults += late
        return self.random.choice([100, 355, 370, 800]) if late else 0.0

    def api_kills(self) -> bool:
        killed = not self.over and self.random.random() < self.killing / 2
        self.faults += killed
        return killed


@st.composite
def histories(draw: st.DrawFn) -> tuple[World, History, list[str]]:
    """Draw a world, what will happen in it, and the groups of its messages."""
    history = History(
        draw(st.integers(0, 2**32)),
        trouble=draw(st.sampled_from([0, 0.3, 0.9])),
        killing=draw(st.sampled_from([0, 0.1, 0.4])),
        slow=draw(st.sampled_from([0, 0.3])),
    )
    world = World(
        settings=WorkerSettings(breaker=draw(st.sampled_from([0, 1, 5]))),
        service=draw(st.sampled_from([FakeSqs, AwsRule])),
        max_functions=draw(st.integers(2, 5)),
        timeout=30,
        choose=history.random.randrange,
        delay=history.delay,
        answer=history.answer,
        rule=history.rule,
        api_kills=history.api_kills,
    )
    return world, history, draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=50))


@settings(max_examples=250, deadline=None)
@given(histories())
def test_whatever_happens_order_holds_nothing_is_lost_and_nothing_is_parked_that_is_not_permanent(drawn):
    world, history, names = drawn
    count = len(names)
    world.put(*names[: count // 2])
    world.run(seconds=history.random.choice([1, 100, 3_000]))
    world.put(*names[count // 2 :])
    world.run(seconds=2_000)
    history.over = True
    began = world.clock()
    world.run()
    assert world.violations == []
    assert not [line for line in world.lines("failed") if line["owner"] == "program"]
    poison = {body for body in history.poison if body <= count}
    got = {call.body for call in world.calls if call.status == 200}
    assert got == set(range(1, count + 1)) - poison
    assert set(world.bodies("dlq")) == poison
    if not history.faults:
        assert sorted(call.body for call in world.calls if call.status == 200) == sorted(got)
        assert sorted(world.bodies("dlq")) == sorted(poison)
    assert world.bodies() == []
    assert world.clock() - began < 360 + 300 + 60 * count
