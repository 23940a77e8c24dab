"""status and check on pipelines that look well by their numbers, and are not; and on those that are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from fifo_cli.aws.sqs import Queue
from fifo_cli.handlers.json_log import line as journal_line
from tests.cli_harness import Stack, wait_until
from tests.faults import Action, AnswerWithError, Pass
from tests.integration.deployed_pipeline import Pipeline, deployed
from tests.integration.proxy import Proxy, Request


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    with deployed(tmp_path_factory.mktemp("evidence"), stack) as line:
        yield line


@pytest.fixture
def line(shared: Pipeline) -> Pipeline:
    shared.reset()
    shared.forget_logs()
    return shared


def run(**facts: Any) -> str:
    counts: dict[str, Any] = {"received": 0, "delivered": 0, "parked": 0, "failed": 0}
    return journal_line("info", "run ended", **{**counts, **facts})


KEY: dict[str, Any] = {
    "owner": "configuration",
    "what": "key api_key (SSM parameter /k)",
    "reason": "starts with a BOM",
}
RAISED = "[ERROR] ClientError: An error occurred (AccessDenied) when calling SendMessage"
TIMED_OUT = "2026-01-02T11:59:00Z 8a6 Task timed out after 60.00 seconds"


def verdicts(line: Pipeline) -> tuple[int, int, list[str]]:
    """Return the exit codes of check and status, and what status says."""
    status = line.local("status", "-o", "json")
    texts = [one["text"] for one in status.json()["verdict"]["problems"]]
    return line.local("check").code, status.code, texts


def test_a_new_pipeline_and_an_idle_one_are_ok(line: Pipeline) -> None:
    assert verdicts(line) == (0, 0, [])

    line.logged("worker", run(), ago=90)
    line.logged("worker", run(), ago=30)

    assert verdicts(line) == (0, 0, [])


def test_every_run_that_ends_for_a_fault_of_configuration_is_critical_until_one_ends_well(
    line: Pipeline,
) -> None:
    line.send(2)
    for ago in (90, 60, 30):
        line.logged("worker", run(received=2, **KEY), "[ERROR] ConfigurationError: no", ago=ago)

    code, exit_code, texts = verdicts(line)
    assert (code, exit_code) == (2, 1)
    assert "key api_key (SSM parameter /k): starts with a BOM" in texts[0]
    checked = line.local("check", "--format", "json").json()
    assert checked["problems"][0]["next"].startswith("`fifo-cli keys set api_key --")
    assert checked["last_run"]["owner"] == "configuration"

    line.logged("worker", run(received=2, delivered=2))
    assert verdicts(line)[:2] == (0, 0)


@pytest.mark.parametrize(
    ("role", "texts", "code"),
    [
        ("worker", [TIMED_OUT], 1),
        ("worker", [TIMED_OUT, TIMED_OUT + " again"], 2),
        (
            "worker",
            ["[ERROR] Runtime.ImportModuleError: no module", "[ERROR] Runtime.ImportModuleError: x"],
            2,
        ),
        ("enqueuer", [RAISED, RAISED + " again"], 2),
        ("enqueuer", [partial(journal_line, "error", "batch failed", **KEY)], 2),
        ("enqueuer", [RAISED, partial(journal_line, "info", "batch ended", enqueued=1, failed=0)], 0),
    ],
)
def test_functions_that_fail_are_seen_though_the_numbers_are_well(
    line: Pipeline, role: Any, texts: list[str | Callable[..., str]], code: int
) -> None:
    for number, text in enumerate(texts):
        ago = 60 - 20 * number
        at = datetime.now(UTC) - timedelta(seconds=ago)
        line.logged(role, text if isinstance(text, str) else text(at=at), ago=ago)

    assert verdicts(line)[:2] == (code, min(code, 1))


def test_a_group_that_starves_is_judged_by_how_long(line: Pipeline) -> None:
    line.send(1, group="ada")
    failed = {"message_id": "m-ada", "group": "ada", "reason": "the API answered 503"}
    at = datetime.now(UTC) - timedelta(seconds=60)
    line.logged("worker", journal_line("error", "failed", at=at, attempt=1, **failed), ago=60)
    line.logged("worker", run(received=2, delivered=1, failed=1), ago=59)

    code, exit_code, texts = verdicts(line)
    assert (code, exit_code) == (0, 1), "check waits for [check] age"
    assert texts == ["group ada waits for its head: the API answered 503"]
    assert line.local("check", "--age", "30s,1h").code == 1
    assert line.local("check", "--age", "10s,30s").code == 2


@contextlib.contextmanager
def scheduled(line: Pipeline, expression: str) -> Iterator[None]:
    """Have the rule in AWS run the worker by another expression; that is drift meanwhile."""
    rule, events = f"{line.project.name}-1", line.aws.client("events")
    before = events.describe_rule(Name=rule)["ScheduleExpression"]
    events.put_rule(Name=rule, ScheduleExpression=expression)
    try:
        yield
    finally:
        events.put_rule(Name=rule, ScheduleExpression=before)


def test_a_worker_that_is_due_and_does_not_run_is_critical(line: Pipeline) -> None:
    with scheduled(line, "rate(30 minutes)"):
        line.send(1)
        line.logged("worker", run(at=datetime.now(UTC) - timedelta(minutes=20)), ago=1200)
        assert "has not run" not in line.local("check").out, "its next run is to come"
        line.forget_logs()
        line.logged("worker", run(at=datetime.now(UTC) - timedelta(minutes=40)), ago=2400)

        checked = line.local("check")

        assert checked.code == 2
        assert "the worker has not run for 40m" in checked.out
        line.switch(enabled=False)
        assert "has not run" not in line.local("check").out


def test_paused_on_purpose_it_is_not_silent(line: Pipeline) -> None:
    line.send(1)
    line.logged("worker", run(at=datetime.now(UTC) - timedelta(hours=1)), ago=3600)
    line.switch(enabled=False)

    assert verdicts(line) == (1, 1, ["the worker is paused"])


def test_without_a_right_to_the_logs_it_is_unknown_and_not_ok(line: Pipeline, proxy: Proxy) -> None:
    def denied(request: Request) -> Action:
        return (
            AnswerWithError("AccessDeniedException", "you may not", 403)
            if "FilterLog" in request.action
            else Pass()
        )

    proxy.rule = denied

    ran = line.at(proxy.endpoint, "check")
    assert ran.code == 3
    assert "the worker's last runs is not known: " in ran.out
    status = line.at(proxy.endpoint, "status", "-o", "json")
    assert status.code == 1
    assert status.json()["verdict"]["state"] == "unknown"


def test_a_policy_set_by_hand_is_critical_before_sqs_acts(line: Pipeline) -> None:
    sqs, url = line.aws.client("sqs"), line.url("main")
    arns = sqs.get_queue_attributes(QueueUrl=line.url("dlq"), AttributeNames=["QueueArn"])["Attributes"]
    policy = {"deadLetterTargetArn": arns["QueueArn"], "maxReceiveCount": 3}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})
    line.send(1)
    line.api.fail(503)
    try:
        line.local("drain", "--all", "--via", "lambda")
        assert not any("SQS moves" in text for text in verdicts(line)[2])
        line.local("drain", "--all", "--via", "lambda")

        code, exit_code, texts = verdicts(line)

        assert (code, exit_code) == (2, 1)
        assert any("SQS moves a message to the DLQ after 3 receives" in text for text in texts)
        assert any("fifo.toml" in text and "queue" in text for text in texts), texts
        dlq = sqs.get_queue_attributes(
            QueueUrl=line.url("dlq"), AttributeNames=["ApproximateNumberOfMessages"]
        )
        assert dlq["Attributes"]["ApproximateNumberOfMessages"] == "0"
    finally:
        line.local("deploy", "--yes").ok()
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"]).get("Attributes", {})
    assert not found.get("RedrivePolicy")


def test_a_pipeline_deployed_before_gives_up_main_s_policy_after_hold_has_one(line: Pipeline) -> None:
    sqs = line.aws.client("sqs")
    arn = {
        role: sqs.get_queue_attributes(QueueUrl=line.url(role), AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        for role in ("main", "dlq")
    }
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [arn["main"]]}
    policy = {"deadLetterTargetArn": arn["dlq"], "maxReceiveCount": 1000}
    sqs.set_queue_attributes(QueueUrl=line.url("hold"), Attributes={"RedrivePolicy": ""})
    sqs.set_queue_attributes(QueueUrl=line.url("dlq"), Attributes={"RedriveAllowPolicy": json.dumps(allow)})
    sqs.set_queue_attributes(QueueUrl=line.url("main"), Attributes={"RedrivePolicy": json.dumps(policy)})

    plan = line.local("plan", "--check", "-o", "json")
    assert plan.code == 1
    paths = {(one["name"], diff["path"]) for one in plan.json()["changes"] for diff in one["diff"]}
    name = line.name
    assert paths == {
        (f"{name}-dlq.fifo", "redrive_allow.sources"),
        (f"{name}-hold.fifo", "redrive"),
        (f"{name}.fifo", "redrive"),
    }

    line.local("deploy", "--yes").ok()

    assert line.local("plan", "--check").code == 0


# --- Real runs that fail, from the item to the API.

CODE = """
import os

def to_message(item):
    if item["id"] == "bad":
        raise ValueError("no such product")
    return item
"""
BREAKS_IN_LAMBDA = "if 'AWS_LAMBDA_FUNCTION_NAME' in os.environ: raise ImportError('no such module')\n"


class Story:
    """A pipeline with code of the user's and a key, its runs started by hand."""

    def __init__(self, line: Pipeline) -> None:
        self.line = line
        (line.project.folder / "code").mkdir(exist_ok=True)

    def code(self, text: str) -> None:
        (self.line.project.folder / "code" / "mine.py").write_text(text)
        self.line.local("deploy", "--yes").ok()

    def put(self, *ids: str) -> None:
        items = "\n".join(json.dumps({"id": one, "grp": "a"}) for one in ids)
        self.line.project.local("put", "-", input=items).ok()

    def held(self) -> tuple[int, int]:
        return tuple(  # type: ignore[return-value]
            Queue(self.line.aws, self.line.project.names, role).counts().total for role in ("main", "dlq")
        )

    def settle(self, main: int, dlq: int = 0) -> None:
        wait_until(lambda: self.held() == (main, dlq), timeout=60)

    def tick(self) -> None:
        """Start the worker as its schedule does."""
        name = self.line.project.names.function("worker")
        self.line.aws.client("lambda").invoke(FunctionName=name, Qualifier="live", Payload=b"{}")

    def check_ok(self) -> None:
        assert verdicts(self.line) == (0, 0, [])

    def delivered(self) -> list[str]:
        return [json.loads(one.body)["id"] for one in self.line.api.accepted]


@pytest.fixture
def story(tmp_path: Any, stack: Stack) -> Iterator[Story]:
    tables: dict[str, Any] = {
        "message": {"group": "grp"},
        "handlers": {"source": "code/", "message": "mine:to_message"},
        "api": {"headers": {"X-Key": "{api_key}"}, "keys": {"api_key": "/evidence/key"}},
    }
    with deployed(tmp_path, stack, deploy=False, **tables) as line:
        made = Story(line)
        made.code(CODE)
        line.project.local("keys", "set", "api_key", input="first").ok()
        yield made


def test_a_new_pipeline_is_ok_and_after_a_delivery_too(story: Story) -> None:
    story.check_ok()
    story.put("o1")
    story.settle(1)
    story.tick()
    story.settle(0)
    story.check_ok()


def test_runs_that_end_in_an_error_are_seen_until_one_ends_well(story: Story) -> None:
    story.put("o1")
    story.settle(1)
    story.line.aws.client("ssm").delete_parameter(Name="/evidence/key")
    for _ in range(2):
        story.tick()
    code, exit_code, texts = verdicts(story.line)
    assert (code, exit_code) == (2, 1)
    assert any("/evidence/key" in text for text in texts)
    story.line.project.local("keys", "set", "api_key", input="second").ok()
    story.tick()
    story.settle(0)
    story.check_ok()
    assert story.delivered() == ["o1"]


def test_an_enqueuer_that_raises_on_each_batch_is_critical_until_it_is_fixed(story: Story) -> None:
    story.code(CODE + BREAKS_IN_LAMBDA)
    story.put("o1")
    wait_until(lambda: story.line.local("check").code == 2, timeout=60, interval=0.5)
    code, exit_code, texts = verdicts(story.line)
    assert (code, exit_code, story.held()) == (2, 1, (0, 0))
    assert any("the enqueuer's last invocation" in text and "no such module" in text for text in texts)
    story.code(CODE)
    story.settle(1)
    story.tick()
    story.settle(0)
    story.check_ok()


def test_a_group_behind_a_head_that_fails_is_seen_until_it_moves(story: Story) -> None:
    story.put("o1", "o2")
    story.settle(2)
    story.line.api.fail(503)
    for _ in range(2):
        story.tick()
    texts = verdicts(story.line)[2]
    assert texts[0].startswith("group a waits for its head: ")
    # Critical once it has waited for two seconds.
    wait_until(lambda: story.line.local("check", "--age", "1s,2s").code == 2, interval=0.2)
    story.line.api.recover()
    story.tick()
    story.settle(0)
    story.check_ok()
    assert story.delivered() == ["o1", "o2"]


def test_a_mapping_that_somebody_stopped_is_seen_until_it_runs(story: Story) -> None:
    aws = story.line.aws.client("lambda")
    function = story.line.project.names.function("enqueuer")
    (mapping,) = aws.list_event_source_mappings(FunctionName=f"{function}:live")["EventSourceMappings"]
    aws.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    story.put("o1")
    code, exit_code, texts = verdicts(story.line)
    assert (code, exit_code) == (1, 1)
    assert texts[0].startswith("the enqueuer is paused; the stream forgets a record after 24 h")
    story.line.local("resume", "enqueuer").ok()
    story.settle(1)
    story.tick()
    story.settle(0)
    story.check_ok()


def test_a_record_that_was_parked_is_seen_until_it_is_delivered(story: Story) -> None:
    story.put("bad", "o2")
    story.settle(1, 1)
    story.tick()
    story.settle(0, 1)
    assert verdicts(story.line) == (1, 1, ["1 message in the DLQ"])
    story.code(CODE.replace('"bad"', '"worse"'))
    story.line.local("redrive", "--yes").ok()
    story.tick()
    story.settle(0)
    story.check_ok()
    assert story.delivered() == ["o2", "bad"]


def test_a_worker_that_was_paused_for_long_is_not_silent_when_it_is_resumed(line: Pipeline) -> None:
    line.send(1)
    line.logged("worker", run(at=datetime.now(UTC) - timedelta(hours=5)), ago=5 * 3600)
    with scheduled(line, "rate(30 minutes)"):
        assert "the worker has not run for 5h" in line.local("check").out
        line.local("pause", "worker").ok()
        line.local("resume", "worker").ok()

        assert "has not run" not in line.local("check").out
        line.local("resume", "worker").ok()  # it runs already: nothing that would hide a silence
        past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        line.aws.client("sqs").tag_queue(QueueUrl=line.url("main"), Tags={"fifo-cli:worker-resumed": past})
        assert "the worker has not run for 1h" in line.local("check").out
    assert line.local("plan", "--check").code == 0, "the tag is not drift"
    line.aws.client("sqs").untag_queue(QueueUrl=line.url("main"), TagKeys=["fifo-cli:worker-resumed"])
