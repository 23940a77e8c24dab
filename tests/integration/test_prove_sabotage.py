"""For each check of ``prove`` a fault that makes it fail, by its name; else it would check nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest

from fifo_cli.local.receiver import Receiver, Reply
from fifo_cli.model.prove_result import CheckVerdict
from fifo_cli.operations.maintenance_lock import MAINTENANCE_TAG, RESTORE_TAG
from fifo_cli.operations.prove.deployed_receiver import DeployedReceiver
from fifo_cli.operations.prove.prove import STEPS, put_to_rest
from fifo_cli.operations.prove.receiver import HttpReceiver
from fifo_cli.prove_api.api import RecordedDelivery
from tests.cli_harness import Stack
from tests.faults import Action, AnswerWithError, Pass, on
from tests.integration.prove_bed import IMPATIENT, SECRET, Bed, bed
from tests.integration.proxy import Request

DENIED = AnswerWithError("AccessDeniedException", "not authorized", status=403)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Bed]:
    """A deployed pipeline of a run; every fault leaves it at rest."""
    with bed(tmp_path_factory.mktemp("prove"), stack) as made:
        made.must_pass("the API", "deploy")
        yield made


@pytest.fixture
def fresh(tmp_path: Path, stack: Stack) -> Iterator[Bed]:
    """A run before its deploy."""
    with bed(tmp_path, stack) as made:
        yield made


@dataclass
class Once:
    """Does something on the stack the first time that a call comes, before it is forwarded."""

    action: str
    do: Callable[[], object]
    nth: int = 1

    def __post_init__(self) -> None:
        self._seen = 0
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Action:
        if request.action == self.action:
            with self._lock:
                self._seen += 1
                now = self._seen == self.nth
            if now:
                self.do()
        return Pass()


# The API's lies.


def loses_one(bed: Bed) -> None:
    lost: list[RecordedDelivery] = []

    def record(delivery: RecordedDelivery) -> list[RecordedDelivery]:
        if delivery.status == 200 and not lost:
            lost.append(delivery)
            return []
        return [delivery]

    bed.api.store.record = record


def doubles(bed: Bed) -> None:
    bed.api.store.record = lambda delivery: [delivery, delivery]


def reorders(bed: Bed) -> None:
    """Record the first accepted delivery of each group behind the second one."""
    held: dict[str, RecordedDelivery] = {}
    lock = threading.Lock()

    def record(delivery: RecordedDelivery) -> list[RecordedDelivery]:
        if delivery.status != 200:
            return [delivery]
        with lock:
            if delivery.number == 1:
                held[delivery.group] = delivery
                return []
            first = held.pop(delivery.group, None)
        return [delivery] if first is None else [delivery, first]

    bed.api.store.record = record


def is_never_down(bed: Bed) -> None:
    bed.api.store.answer_by = lambda rules: replace(rules, mode="ok")


def takes_any_key(bed: Bed) -> None:
    bed.api.store.answer_by = lambda rules: replace(rules, key_sha256="")


# AWS's faults.


def refused(action: str) -> Callable[[Bed], None]:
    def arm(bed: Bed) -> None:
        bed.proxy.rule = on(action, do=DENIED)

    return arm


def changes_a_queue_by_itself(bed: Bed) -> None:
    url = bed.queue_url(bed.context.names.main)
    sqs = bed.clients.client("sqs")
    bed.proxy.rule = Once(
        "GetQueueAttributes",
        lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"}),
    )


def does_not_feed_the_enqueuer(bed: Bed) -> None:
    client = bed.clients.client("lambda")
    for one in client.list_event_source_mappings(
        FunctionName=bed.context.names.function("enqueuer") + ":live"
    )["EventSourceMappings"]:
        client.update_event_source_mapping(UUID=one["UUID"], Enabled=False)


def loses_a_message_that_is_looked_at(bed: Bed) -> None:
    url = bed.queue_url(bed.context.names.main)
    bed.proxy.rule = Once(
        "ReceiveMessage", lambda: bed.clients.client("sqs").purge_queue(QueueUrl=url), nth=2
    )


def changes_bodies(bed: Bed) -> None:
    def edit(request: Request) -> bytes:
        if request.action != "SendMessageBatch":
            return request.body
        return request.body.replace(b'\\"number\\": 1', b'\\"number\\": 7').replace(
            b'\\"number\\":1', b'\\"number\\":7'
        )

    bed.proxy.edit = edit


def locks_nothing(bed: Bed) -> None:
    """Take every tag off again as soon as it was read by its writer."""
    url = bed.queue_url(bed.context.names.main)
    sqs = bed.clients.client("sqs")

    def rule(request: Request) -> Action:
        if request.action in ("ReceiveMessage", "SendMessageBatch"):
            tags = sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
            sqs.untag_queue(QueueUrl=url, TagKeys=sorted({MAINTENANCE_TAG} & tags.keys()))
        return Pass()

    bed.proxy.rule = rule


def forgets_hold(bed: Bed) -> None:
    """Empty hold whenever a redrive --in-order reads a queue."""
    main, hold = (bed.queue_url(name) for name in (bed.context.names.main, bed.context.names.hold))
    sqs = bed.clients.client("sqs")

    def rule(request: Request) -> Action:
        if request.action == "ReceiveMessage":
            tags = sqs.list_queue_tags(QueueUrl=main).get("Tags", {})
            if RESTORE_TAG in tags:
                sqs.purge_queue(QueueUrl=hold)
        return Pass()

    bed.proxy.rule = rule


def refuses_the_rollback(bed: Bed) -> None:
    """Let an alias be moved by the two functions' deploy, and not again."""
    seen = 0
    lock = threading.Lock()

    def rule(request: Request) -> Action:
        nonlocal seen
        if request.method != "PUT" or not request.path.endswith("/aliases/live"):
            return Pass()
        with lock:
            seen += 1
            return DENIED if seen > 2 else Pass()

    bed.proxy.rule = rule


def enables_what_is_disabled(bed: Bed) -> None:
    def edit(request: Request) -> bytes:
        if request.method == "PUT" and "event-source-mappings" in request.path:
            return request.body.replace(b'"Enabled": false', b'"Enabled": true')
        return request.body

    bed.proxy.edit = edit


def logs_nothing(bed: Bed) -> None:
    """Take the worker's log away before each look at it."""
    logs, group = bed.clients.client("logs"), bed.context.names.log_group("worker")

    def empty() -> None:
        for one in logs.describe_log_streams(logGroupName=group)["logStreams"]:
            logs.delete_log_stream(logGroupName=group, logStreamName=one["logStreamName"])

    def rule(request: Request) -> Action:
        if request.action == "FilterLogEvents":
            empty()
        return Pass()

    bed.proxy.rule = rule


def does_not_take_a_policy(bed: Bed) -> None:
    bed.proxy.rule = on("CreatePolicy", do=AnswerWithError("MalformedPolicyDocument"))


def is_another_account(bed: Bed) -> None:
    bed.proxy.rule = on("GetCallerIdentity", do=DENIED)


def one_action_is_missing(bed: Bed) -> None:
    """Let IAM see a policy without one of its actions."""
    shows_iam(bed, lambda policy: policy.replace("sqs:SendMessage", "sqs:ListQueueTags"))


def allows_everything(bed: Bed) -> None:
    """Answer as an emulator that looks at no policy."""
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    shows_iam(bed, lambda policy: json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def shows_iam(bed: Bed, changed: Callable[[str], str]) -> None:
    """Let IAM simulate changed policies."""

    def edit(request: Request) -> bytes:
        if request.action != "SimulateCustomPolicy":
            return request.body
        fields = parse_qsl(request.body.decode())
        return urlencode(
            [(name, changed(text) if name.startswith("PolicyInput") else text) for name, text in fields]
        ).encode()

    bed.proxy.edit = edit


def answers_of_another_function(bed: Bed) -> None:
    """Let CloudWatch have the worker's metric, and ask it for another function's."""
    shows_a_run(bed)
    bed.proxy.edit = lambda request: (
        request.body.replace(b"-worker", b"-wirker") if "GetMetricData" in request.action else request.body
    )


def shows_a_run(bed: Bed) -> None:
    """Give the stack the metric of a run, as Lambda does; the embedded stack's functions have none."""
    worker = bed.context.names.function("worker")
    bed.clients.client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda",
        MetricData=[
            {
                "MetricName": "Invocations",
                "Dimensions": [{"Name": "FunctionName", "Value": worker}],
                "Value": 1,
            }
        ],
    )


def keeps_a_queue(bed: Bed) -> None:
    """Make a queue again as soon as it is deleted."""
    sqs, name = bed.clients.client("sqs"), bed.context.names.hold

    def rule(request: Request) -> Action:
        if request.action == "ListQueues":
            sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})
        return Pass()

    bed.proxy.rule = rule


FAULTS: dict[str, list[Callable[[Bed], None]]] = {
    "identity": [is_another_account],
    "policies": [does_not_take_a_policy, one_action_is_missing],
    "the API": [],  # a test of its own
    "deploy": [refused("CreateRole"), refused("CreateQueue")],
    "plan and second deploy": [changes_a_queue_by_itself],
    "put to queue": [does_not_feed_the_enqueuer],
    "depth and peek": [loses_a_message_that_is_looked_at],
    "dump, load, purge": [changes_bodies],
    "poison and redrive": [refused("SendMessageBatch")],
    "redrive in order": [reorders],
    "redrive by SQS": [refused("ListMessageMoveTasks")],
    "second redrive refused": [locks_nothing],
    "redrive killed and run again": [forgets_hold],
    "delivery by schedule": [refused("EnableRule"), reorders],
    "delivery by queue": [doubles],
    "put to API": [loses_one],
    "outage and recovery": [is_never_down],
    "key rotation": [takes_any_key],
    "wrong deploy, rollback, replay": [refuses_the_rollback],
    "pause and resume": [enables_what_is_disabled],
    "audit at once": [logs_nothing],
    "audit with all logs": [logs_nothing],
    "idle hours": [loses_one],
    "metrics": [answers_of_another_function],
    "nothing twice": [doubles],
    "destroy": [refused("DeleteQueue")],
    "deploy again at once": [refused("CreateQueue")],
    "nothing left": [keeps_a_queue],
}
_BEFORE_A_DEPLOY = ("identity", "policies", "deploy")
_ENDS = ("destroy", "deploy again at once", "nothing left")


def faults(*, shared: bool) -> list[object]:
    chosen = [
        pytest.param(name, arm, id=f"{name}-{number}")
        for name, arms in FAULTS.items()
        for number, arm in enumerate(arms)
        if (name not in (*_BEFORE_A_DEPLOY, *_ENDS)) == shared
    ]
    return list(chosen)


def test_every_check_has_a_fault() -> None:
    assert set(FAULTS) == {step.name for step in STEPS}


@pytest.mark.parametrize(("name", "arm"), faults(shared=True))
def test_a_fault_makes_that_check_fail(shared: Bed, name: str, arm: Callable[[Bed], None]) -> None:
    with shared.truth():
        waits = replace(IMPATIENT, idle=0.1 if name == "idle hours" else 0)
        arm(shared)
        found = shared.check(name, waits=waits)
    put_to_rest(shared.context)
    shared.context.batches.clear()
    assert found[name].verdict is CheckVerdict.FAILED, found[name]


@pytest.mark.parametrize(("name", "arm"), faults(shared=False))
def test_a_fault_before_a_deploy_or_at_the_end_makes_that_check_fail(
    fresh: Bed, name: str, arm: Callable[[Bed], None]
) -> None:
    before = {"destroy": ["the API", "deploy"]}.get(name, ["the API", "deploy", "destroy"])
    if name in _BEFORE_A_DEPLOY:
        before = ["the API"] if name == "deploy" else []
    fresh.must_pass(*before)
    with fresh.truth():
        arm(fresh)
        found = fresh.check(name)
    assert found[name].verdict is CheckVerdict.FAILED, found[name]


def test_a_worker_whose_metric_is_there_passes(shared: Bed) -> None:
    shows_a_run(shared)
    shared.must_pass("metrics")


@pytest.mark.parametrize(
    "arm",
    [
        allows_everything,
        lambda bed: setattr(
            bed.proxy, "rule", on("SimulateCustomPolicy", do=AnswerWithError("InvalidAction", status=501))
        ),
    ],
    ids=["allows everything", "cannot"],
)
def test_where_policies_are_not_simulated_as_iam_does_nothing_is_proven_of_them(
    fresh: Bed, arm: Callable[[Bed], None]
) -> None:
    with fresh.truth():
        arm(fresh)
        found = fresh.check("policies")["policies"]
    assert (found.verdict, "simulate" in found.detail) == (CheckVerdict.NOT_OFFERED, True), found


def test_an_api_that_answers_everybody_makes_that_check_fail(fresh: Bed) -> None:
    with Receiver(answer=lambda received: Reply(200, b'{"received": [], "next": 0}')) as everybody:
        fresh.context.open_receiver = lambda: HttpReceiver(everybody.url, SECRET)
        found = fresh.check("the API")
    assert found["the API"].verdict is CheckVerdict.FAILED
    assert "without the secret" in found["the API"].detail


def test_an_api_that_stays_makes_the_last_check_fail(fresh: Bed) -> None:
    api = DeployedReceiver(fresh.clients, fresh.context.name)
    api.deploy(fresh.context.layout.tags)
    with fresh.truth():
        fresh.proxy.rule = lambda request: (
            DENIED if request.method == "DELETE" and "/functions/" in request.path else Pass()
        )
        found = fresh.check("nothing left")["nothing left"]
    assert (found.verdict, f"function {api.name}" in found.detail) == (CheckVerdict.FAILED, True), found
    fresh.must_pass("nothing left")
    assert {one.type for one in fresh.context.removed} == {"function", "log-group", "role", "table"}
    assert api.found() == []


def test_no_other_verdict_lies(fresh: Bed) -> None:
    """A queue that cannot be made fails the deploy; what needs it is not run, and what does not passes."""
    with fresh.truth():
        fresh.proxy.rule = on("CreateQueue", do=DENIED)
        found = fresh.check("identity", "the API", "deploy", "outage and recovery", "destroy", alone=False)
    assert {name: one.verdict for name, one in found.items()} == {
        "identity": CheckVerdict.PASSED,
        "the API": CheckVerdict.PASSED,
        "deploy": CheckVerdict.FAILED,
        "outage and recovery": CheckVerdict.NOT_RUN,
        "destroy": CheckVerdict.NOT_RUN,
    }
