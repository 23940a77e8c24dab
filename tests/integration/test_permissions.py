"""Least privilege, checked two ways at once: every call is allowed by IAM, and every permission is used.

The stack refuses what no policy allows; a proxy before it writes down what was asked for.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.cli.app import main
from fifo_cli.local.receiver import Received, Receiver, Reply
from fifo_cli.model.names import Names, Place
from fifo_cli.model.operator_policies import people_policy
from fifo_cli.model.role_policies import role_policy
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.package import build_zips
from tests.cli_harness import Project, clean_environment, new_name, wait_until
from tests.iam_evaluation import Need
from tests.integration.iam_calls import permissions, refused
from tests.integration.iam_stack import REGION, ROOT_KEYS, Guarded, guarded_stack
from tests.integration.proxy import Proxy, Request

PLACE = Place("000000000000", REGION)
TABLES: dict[str, Any] = {
    "alarms": {"sns_topic": "arn:aws:sns:us-east-1:000000000000:oncall"},
}
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
# What Lambda itself does with a function's role (Lambda Developer Guide, "Lambda execution role", and "Using
# Lambda with Amazon DynamoDB"): no code of ours makes these calls.
LOGGING = {"logs:CreateLogStream", "logs:PutLogEvents"}
READING = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}
# What a move by SQS itself takes, of which the embedded stack knows nothing.
NATIVE = {
    "sqs:CancelMessageMoveTask",
    "sqs:ListDeadLetterSourceQueues",
    "sqs:ListMessageMoveTasks",
    "sqs:StartMessageMoveTask",
}
# A time zone makes schedules, which a pause updates; without one there are rules.
RULES = {"events:DisableRule", "events:EnableRule"}
# What a look asks while a mapping is Updating, as it never is on the embedded stack.
UPDATING = {"lambda:GetEventSourceMapping"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_stack(tmp_path_factory.mktemp("guarded")) as stack:
        yield stack


@pytest.fixture
def gate(guarded: Guarded) -> Iterator[Proxy]:
    with Proxy(guarded.endpoint, keep_host=True) as between:
        yield between


class Desk:
    """A project folder at which somebody runs commands, through the proxy."""

    def __init__(
        self, project: Project, gate: Proxy, guarded: Guarded, patch: pytest.MonkeyPatch, out: Any
    ) -> None:
        self.project, self.gate, self.guarded, self.patch, self.out = project, gate, guarded, patch, out
        # The function of each event source mapping that there ever was.
        self.mappings: dict[str, str] = {}

    def sit(self, person: Mapping[str, str]) -> None:
        for name, value in person.items():
            self.patch.setenv(name, value)
        self.patch.chdir(self.project.folder)
        self.gate.clear()

    def run(self, *args: str, input: str = "", code: int | None = 0) -> str:
        """Run a command; nothing may be denied. None stands for any code."""
        self.patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(input.encode())))
        ended = main([*args, "--yes", "--endpoint-url", self.gate.endpoint])
        self._see_mappings()
        ran = self.out.readouterr()
        assert "denied" not in ran.err + ran.out, f"{args}: {ran.err}"
        assert code in (None, ended), f"{args}: exit {ended}\n{ran.err}\n{ran.out}"
        return str(ran.out)

    def _see_mappings(self) -> None:
        found = self.guarded.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        self.mappings |= {one["UUID"]: one["FunctionArn"] for one in found}

    def refused(self, policy: Mapping[str, Any], requests: Iterable[Request]) -> set[Need]:
        return refused(policy, requests, PLACE, self.mappings)


@pytest.fixture
def desk(
    tmp_path: Path,
    receiver: Receiver,
    gate: Proxy,
    guarded: Guarded,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Desk]:
    def make(**tables: Any) -> Desk:
        name = new_name()
        keys = {
            "api_key": f"/{name}/api-key",
            "whole": f"secretsmanager:{name}/whole",
            "part": f"secretsmanager:{name}/part#key",
        }
        api = {"headers": {"Authorization": "Bearer {api_key}", "X-Two": "{whole} {part}"}, "keys": keys}
        overlay = {**TABLES, "api": api, **tables}
        folder = Project.create(tmp_path / name, name, receiver.url, None, overlay)
        return Desk(folder, gate, guarded, monkeypatch, capsys)

    return make


def allowed(policy: Mapping[str, Any]) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def set_keys(at: Desk) -> None:
    for name in ("api_key", "whole", "part"):
        at.run("keys", "set", name, input="sesame\n")


def policy_of(desk: Desk, audience: Any) -> dict[str, Any]:
    return people_policy(load(desk.project.config).settings, PLACE, audience)


def change(desk: Desk, old: str, new: str) -> None:
    config = desk.project.config
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def test_a_deployer_may_do_what_deploy_rollback_keys_and_destroy_take_and_nothing_else(
    desk: Callable[..., Desk], guarded: Guarded
) -> None:
    at = desk()
    name = at.project.name
    boundary = guarded.client("iam").create_policy(
        PolicyName=name,
        PolicyDocument=json.dumps(EVERYTHING),
    )["Policy"]["Arn"]
    policy = policy_of(at, "deployer")
    at.sit(guarded.person(f"{name}-deployer", policy))
    at.run("deploy")
    for _ in range(2):  # to make a secret, and to change it
        set_keys(at)
    _meddle(guarded, at.project.names, boundary)
    # New code, new configuration, a boundary, a time zone; and what was meddled with is put right.
    change(at, '"messages_per_run" = 10', '"messages_per_run" = 7\n"timezone" = "Europe/Berlin"')
    change(at, "[alarms]", f'[functions]\n"permissions_boundary" = "{boundary}"\n"memory" = 512\n\n[alarms]')
    at.run("deploy")
    at.run("plan", "--check")
    change(at, f'"permissions_boundary" = "{boundary}"\n', "")
    change(at, "365 days", "364 days")
    change(at, '[alarms]\n"sns_topic" = "arn:aws:sns:us-east-1:000000000000:oncall"\n', "")
    at.run("deploy")
    at.run("rollback")
    at.run("deploy")
    guarded.client("dynamodb").update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    at.run("deploy")
    _fill(at, guarded)
    at.run("depth")
    at.run("status")
    at.run("logs")
    at.run("destroy", "--keep-queues")
    at.run("destroy")
    made = permissions(at.gate.requests)
    assert allowed(policy) - made == set()
    assert made - allowed(policy) == set()
    assert at.refused(policy, at.gate.requests) == set()


QUEUE = '\n[worker]\n"trigger" = "queue"\n'


def test_who_changes_what_starts_the_worker_may_do_that_and_the_role_may_poll(
    desk: Callable[..., Desk], guarded: Guarded
) -> None:
    at = desk()
    at.sit(ROOT_KEYS)
    at.run("deploy")
    by_rule = policy_of(at, "deployer")
    at.project.config.write_text(at.project.config.read_text() + QUEUE)
    by_queue = policy_of(at, "deployer")
    name, operator = at.project.name, policy_of(at, "operator")
    at.sit(guarded.person(f"{name}-deployer", by_queue))
    at.run("deploy")
    at.run("plan", "--check")
    at.run("rollback")
    at.run("deploy")
    made = permissions(at.gate.requests)
    assert at.refused(by_queue, at.gate.requests) == set()
    assert allowed(by_queue) - allowed(by_rule) == {"lambda:DeleteFunctionConcurrency"} <= made
    at.sit(guarded.person(f"{name}-operator", operator))
    for command in ("pause", "resume"):
        at.run(command, "worker")
    made = permissions(at.gate.requests)
    assert {"lambda:UpdateEventSourceMapping", "lambda:GetEventSourceMapping"} <= made
    assert at.refused(operator, at.gate.requests) == set()
    assert not [action for action in allowed(operator) if action.startswith("events:") and "able" in action]
    change(at, QUEUE, "")
    at.sit(guarded.person(f"{name}-deployer-2", by_rule))
    at.run("deploy")
    assert at.refused(by_rule, at.gate.requests) == set()
    at.run("destroy")


def _meddle(guarded: Guarded, names: Names, policy: str) -> None:
    """Change by hand what takes calls that a deploy otherwise never makes."""
    iam, functions, worker = guarded.client("iam"), guarded.client("lambda"), names.function("worker")
    iam.attach_role_policy(RoleName=worker, PolicyArn=policy)
    iam.put_role_policy(
        RoleName=worker,
        PolicyName="more",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        ),
    )
    sqs, events = guarded.client("sqs"), guarded.client("events")
    url = sqs.get_queue_url(QueueName=names.main)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7"})
    events.untag_resource(ResourceARN=PLACE.rule(names.schedule(1)), TagKeys=["fifo-cli:version"])
    functions.delete_function_event_invoke_config(FunctionName=worker, Qualifier="live")
    mapping = functions.list_event_source_mappings(FunctionName=names.function("enqueuer"))
    functions.update_event_source_mapping(UUID=mapping["EventSourceMappings"][0]["UUID"], BatchSize=7)


def _fill(at: Desk, guarded: Guarded) -> None:
    """Put a message into main: only then is the oldest one's age asked for."""
    sqs = guarded.client("sqs")
    url = sqs.get_queue_url(QueueName=at.project.names.main)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}", MessageGroupId="g", MessageDeduplicationId="d")


def test_a_monitor_may_look_at_everything_without_touching_a_message(
    desk: Callable[..., Desk], guarded: Guarded
) -> None:
    at = desk()
    policy = policy_of(at, "monitor")
    at.sit(ROOT_KEYS)
    at.run("deploy")
    _fill(at, guarded)
    at.sit(guarded.person(f"{at.project.name}-monitor", policy))
    at.run("plan", "--check")
    at.run("keys", "list")
    at.run("logs")
    at.run("status", code=1)
    at.run("check", code=2)
    at.run("depth")
    # The other kind of schedule.
    change(at, '"messages_per_run" = 10', '"messages_per_run" = 10\n"timezone" = "Europe/Berlin"')
    at.run("plan", "--check", code=1)
    at.patch.setenv("AWS_ACCESS_KEY_ID", "test")
    at.patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    asked = at.gate.requests
    at.run("deploy")
    at.sit(guarded.person(f"{at.project.name}-monitor-2", policy))
    at.run("plan", "--check")
    at.run("status", code=1)
    made = permissions([*asked, *at.gate.requests])
    assert "sqs:ReceiveMessage" not in allowed(policy)
    assert allowed(policy) - made == UPDATING
    assert made - allowed(policy) == set()
    assert at.refused(policy, [*asked, *at.gate.requests]) == set()


def test_an_operator_may_move_messages_and_pause_and_what_a_monitor_may(
    desk: Callable[..., Desk], guarded: Guarded, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answer = lambda received: Reply(422) if b"poison" in received.body else None
    at = desk(schedule={"timezone": "Europe/Berlin"})
    policy = policy_of(at, "operator")
    at.sit(ROOT_KEYS)
    at.run("deploy")
    set_keys(at)
    for role in ("enqueuer", "worker"):
        guarded.help_role(at.project.names.function(role))
    person = guarded.person(f"{at.project.name}-operator", policy)
    at.sit(person)
    items = [{"id": str(n), "grp": "g", "what": "poison" if n == 1 else "fine"} for n in range(6)]
    at.run("pause", "worker", "--wait")
    # Items of two groups go into one BatchWriteItem, what has only its own group beside it into a PutItem.
    items.append({"id": "7", "grp": "h", "what": "fine"})
    at.run("put", "-", input="\n".join(map(json.dumps, items)))
    _wait_for(at, 7)
    at.run("peek")
    at.run("drain", "--count", "1")
    at.run("drain", "--count", "3", code=1)
    at.run("drain", "--all", "--via", "lambda")
    at.run("resume")
    at.run("pause", "enqueuer")
    at.run("resume")
    saved = str(tmp_path / "saved.jsonl")
    at.run("redrive")
    at.run("park")
    at.run("dump", saved, "--queue", "dlq", "--move")
    at.run("load", saved, "--queue", "main")
    at.run("park")
    at.run("redrive", "--in-order")
    at.run("park")
    at.run("redrive", "--engine", "native", code=None)  # of which the embedded stack knows nothing
    _purge(at, person)
    at.run("replay", "--since", "1h")
    at.run("replay", "--failed")
    at.run("trace", '{"id": "7"}')
    at.run("audit", code=None)
    made = permissions(at.gate.requests)
    monitor = allowed(policy_of(at, "monitor"))
    assert monitor <= allowed(policy)
    assert allowed(policy) - made - monitor - NATIVE - RULES == set()
    assert made - allowed(policy) == set()
    assert at.refused(policy, at.gate.requests) == set()


def _purge(at: Desk, person: Mapping[str, str]) -> None:
    """Purge in a process that is not waited for: SQS takes a minute, and so does purge."""
    purging = at.project.start(
        "purge", "--queue", "dlq", "--no-backup", "--yes", endpoint=at.gate.endpoint, env=person
    )
    wait_until(lambda: at.gate.counts["PurgeQueue"] > 0)
    purging.interrupt()
    assert "denied" not in purging.wait().err
    # An interrupted purge gives the queue free.
    assert at.gate.counts["UntagQueue"] > 0


def _wait_for(at: Desk, count: int) -> None:
    for _ in range(60):
        if json.loads(at.run("depth", "-o", "json"))["queues"]["main"]["visible"] == count:
            return
        time.sleep(0.25)
    raise AssertionError(f"main never held {count} messages")


def test_an_outsider_is_reported_the_call_the_resource_and_what_to_ask_for(
    desk: Callable[..., Desk], guarded: Guarded, capsys: pytest.CaptureFixture[str]
) -> None:
    at = desk()
    policy = policy_of(at, "deployer")
    without = [
        {**one, "Action": [action for action in one["Action"] if action != "lambda:CreateFunction"]}
        for one in policy["Statement"]
    ]
    at.sit(guarded.person(f"{at.project.name}-half", {**policy, "Statement": without}))
    assert main(["deploy", "--yes", "-q", "--endpoint-url", at.gate.endpoint]) == 3
    message = capsys.readouterr().err
    worker = at.project.names.function("worker")
    assert f"create function {worker}: CreateFunction on function {worker}: permission denied" in message
    assert "lambda:CreateFunction" in message
    assert "changes were made: create queue" not in message.splitlines()[0]
    assert "changes were made: create queue" in message
    assert re.search(r"`fifo-cli policy deployer( -[^`]*)?` prints", message)


def test_a_deployer_who_may_not_change_who_assumes_a_role_is_sent_to_an_administrator(
    desk: Callable[..., Desk], guarded: Guarded, capsys: pytest.CaptureFixture[str]
) -> None:
    boundary = guarded.client("iam").create_policy(
        PolicyName=new_name(), PolicyDocument=json.dumps(EVERYTHING)
    )["Policy"]["Arn"]
    at = desk(functions={"permissions_boundary": boundary})
    at.sit(ROOT_KEYS)
    at.run("deploy")
    worker = at.project.names.function("worker")
    nobody = json.dumps({"Version": "2012-10-17", "Statement": []})
    guarded.client("iam").update_assume_role_policy(RoleName=worker, PolicyDocument=nobody)
    at.sit(guarded.person(f"{at.project.name}-deployer", policy_of(at, "deployer")))
    assert main(["deploy", "--yes", "-q", "--endpoint-url", at.gate.endpoint]) == 3
    said = capsys.readouterr().err
    assert f"update role {worker}: UpdateAssumeRolePolicy on role {worker}: permission denied" in said
    assert re.search(r"An administrator has to run `fifo-cli deploy( -[^`]*)?` once", " ".join(said.split()))
    # The administrator does, and the deployer goes on.
    at.sit(ROOT_KEYS)
    at.run("deploy")
    at.run("plan", "--check")


HANDLER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from fifo_cli.handlers.{role} import handler
class Context:
    def get_remaining_time_in_millis(self):
        return 60_000
answer = handler(json.load(sys.stdin), Context())
print(json.dumps(answer), file=sys.stderr)
"""


def test_each_function_may_make_the_calls_that_its_code_makes_and_no_other(
    desk: Callable[..., Desk], guarded: Guarded, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answer = _poison_and_outage
    at = desk()
    at.sit(ROOT_KEYS)
    at.run("deploy")
    at.run("pause")
    set_keys(at)
    project = load(at.project.config)
    with zipfile.ZipFile(io.BytesIO(build_zips(project, here=True)[0].data)) as made:
        made.extractall(tmp_path / "code")
    names = at.project.names
    events: dict[Any, Any] = {"enqueuer": {"Records": _records()}, "worker": {}}
    lambdas_own = {"enqueuer": LOGGING | READING, "worker": LOGGING}
    for role, event in events.items():
        policy = role_policy(project.settings, PLACE, role)
        person = guarded.person(names.function(role), policy)
        at.gate.clear()
        answer = _invoke(role, event, tmp_path / "code", {**person, "AWS_ENDPOINT_URL": at.gate.endpoint})
        made_calls = permissions(at.gate.requests)
        assert allowed(policy) - made_calls - lambdas_own[role] == set(), role
        assert made_calls - allowed(policy) == set(), role
        assert at.refused(policy, at.gate.requests) == set(), role
        if role == "enqueuer":
            assert answer == {"batchItemFailures": []}
        else:
            statuses = [one["status"] for one in answer["results"]]
            assert sorted(statuses) == ["delivered", "failed", "parked", "skipped"]


def _poison_and_outage(received: Received) -> Reply | None:
    body = json.loads(received.body)
    return {"poison": Reply(422), "outage": Reply(503)}.get(body.get("what"))


def _records() -> list[dict[str, Any]]:
    """Return records to be delivered, parked by the API, failed, held up behind that, and one too large."""
    items = [("1", "a", "fine"), ("2", "a", "poison"), ("3", "b", "outage"), ("4", "b", "later")]
    images = [
        {"id": {"S": number}, "grp": {"S": group}, "what": {"S": what}} for number, group, what in items
    ]
    images.append({"id": {"S": "5"}, "grp": {"S": "c"}, "blob": {"S": "x" * 1_100_000}})
    return [
        {
            "eventID": f"e{number}",
            "eventName": "INSERT",
            "dynamodb": {
                "Keys": {"id": image["id"]},
                "NewImage": image,
                "SequenceNumber": f"{number}00",
                "ApproximateCreationDateTime": 1_700_000_000.0,
            },
        }
        for number, image in enumerate(images, 1)
    ]


def _invoke(role: str, event: Mapping[str, Any], code: Path, env: Mapping[str, str]) -> Any:
    """Run a function's handler out of its zip, as Lambda would, with somebody's credentials."""
    ran = subprocess.run(
        [sys.executable, "-c", HANDLER.format(role=role), str(code)],
        cwd=code,
        env=clean_environment({**env, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}),
        input=json.dumps(event),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stderr.splitlines()[-1])
