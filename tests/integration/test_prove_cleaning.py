"""What ``prove`` removes, what it never touches, and what it names since it may not look or remove."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws import account_resources
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.events import Event
from fifo_cli.model.names import PIPELINE_TAG
from fifo_cli.operations.prove.cleaning import Cleaner
from fifo_cli.operations.prove.deployed_receiver import DeployedReceiver
from fifo_cli.operations.prove.prove import earlier
from fifo_cli.operations.prove.run_resources import OWNER_TAG, find, new_name
from tests.cli_harness import Stack
from tests.faults import Action, AnswerWithError, Pass, forward_all, on
from tests.integration.prove_bed import KEYS, REGION, SECRET, LyingReceiver
from tests.integration.proxy import Proxy, Request
from tests.integration.test_prove import start

DENIED = AnswerWithError("AccessDenied", "not authorized", status=403)
OVER = {OWNER_TAG: "elsewhere/1/2026-01-02T03:04:05Z"}
AT_WORK = {OWNER_TAG: "elsewhere/1/2999-01-02T03:04:05Z"}
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}],
}
LISTS = {
    *(
        "DescribeAlarms",
        "DescribeLogGroups",
        "DescribeParameters",
        "ListEventSourceMappings",
        "ListFunctions",
    ),
    *("ListPolicies", "ListQueues", "ListRoles", "ListRules", "ListSchedules", "ListTables"),
}


def lists(request: Request) -> bool:
    """Say whether a request lists a kind of resource of the account."""
    path = request.path.partition("?")[0].rstrip("/")
    return request.action in LISTS or (
        request.method == "GET"
        and path.rpartition("/")[2] in ("functions", "event-source-mappings", "schedules")
    )


@pytest.fixture
def folder(tmp_path: Path, stack: Stack) -> Path:
    stack.lend(tmp_path)
    return tmp_path


class Account:
    """Makes what a run could have left, and what only looks so; all of it is removed at the end."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.made: list[tuple[str, str]] = []

    def queue(self, name: str, tags: dict[str, str]) -> None:
        self.aws.client("sqs").create_queue(QueueName=name, Attributes={"FifoQueue": "true"}, tags=tags)
        self.made.append(("queue", name))

    def table(self, name: str, tags: dict[str, str]) -> None:
        self.aws.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": key, "Value": text} for key, text in tags.items()],
        )
        self.made.append(("table", name))

    def log_group(self, name: str, tags: dict[str, str]) -> None:
        self.aws.client("logs").create_log_group(logGroupName=name, tags=tags)
        self.made.append(("log-group", name))

    def parameter(self, name: str, tags: dict[str, str]) -> None:
        self.aws.client("ssm").put_parameter(
            Name=name,
            Value="x",
            Type="SecureString",
            Tags=[{"Key": key, "Value": text} for key, text in tags.items()],
        )
        self.made.append(("parameter", name))

    def policy(self, name: str, tags: dict[str, str]) -> None:
        self.aws.client("iam").create_policy(
            PolicyName=name,
            PolicyDocument=json.dumps(POLICY),
            Tags=[{"Key": key, "Value": text} for key, text in tags.items()],
        )
        self.made.append(("policy", name))

    def there(self) -> set[tuple[str, str]]:
        names = {
            kind: account_resources.names_of(self.aws, kind, "") for kind in ("queue", "table", "policy")
        }
        names["parameter"] = account_resources.names_of(self.aws, "parameter", "fifo-prove-")
        names["log-group"] = account_resources.names_of(self.aws, "log-group", "fifo-prove-")
        return {(kind, name) for kind, name in self.made if name in names[kind]}

    def remove(self) -> None:
        for kind, name in self.there():
            if kind == "queue":
                sqs = self.aws.client("sqs")
                sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
            elif kind == "table":
                self.aws.client("dynamodb").delete_table(TableName=name)
            else:
                account_resources.delete(self.aws, kind, name)


@pytest.fixture
def account(clients: Aws) -> Iterator[Account]:
    made = Account(clients)
    yield made
    made.remove()


def finished(run: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, err = run.communicate(timeout=300)
    return run.returncode, json.loads(out), err


def clean(folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    return finished(start(folder, *(words or ("--local",)), "--clean", "--yes", "-o", "json", "-v"))


def cleaner(proxy: Proxy, heard: list[Event], **environment: str) -> Cleaner:
    aws = Aws(AwsEndpoint(endpoint_url=proxy.endpoint, region=REGION, local=True))
    where = ["--endpoint-url", proxy.endpoint, "--region", REGION]
    return Cleaner(aws, where, {**KEYS, **environment}, heard.append, 0, time.sleep)


def test_a_refused_delete_of_what_may_not_be_listed_is_named_with_its_command(proxy: Proxy) -> None:
    work = cleaner(proxy, [])
    api = DeployedReceiver(work.aws, new_name())
    api.deploy(OVER)

    def rule(request: Request) -> Action:
        functions = "/functions" in request.path
        return DENIED if functions and (lists(request) or request.method == "DELETE") else Pass()

    proxy.rule = rule
    try:
        removed, left = work.remove(api.pipeline, own=True)
    finally:
        proxy.rule = forward_all
        assert api.remove() == {}
    by_name = {one.name: one for one in left}
    assert set(by_name) == {api.name, "fifo-prove-*"}
    assert by_name[api.name].command == f"aws lambda delete-function --function-name {api.name}"
    assert "DeleteFunction" in by_name[api.name].reason
    assert by_name["fifo-prove-*"].command == "aws lambda list-functions"
    assert "ListFunctions is not permitted" in by_name["fifo-prove-*"].reason
    assert {one.type for one in removed} == {"log-group", "role", "table"}


def test_what_may_not_be_listed_is_named_by_clean_and_is_no_success(folder: Path, proxy: Proxy) -> None:
    proxy.rule = lambda request: DENIED if lists(request) else Pass()
    code, document, err = clean(folder, "--endpoint-url", proxy.endpoint)
    assert (code, {one["type"] for one in document["left"]}) == (1, set(account_resources.LISTERS)), err
    for one in document["left"]:
        assert "not looked for" in one["reason"]
        assert "aws " in one["command"]


def test_what_is_not_a_runs_by_its_whole_name_and_its_tags_is_never_touched(
    folder: Path, account: Account
) -> None:
    """Beside a run's remains, which are removed: longer names, none of the tags, some, and another's."""
    run = new_name()
    nine, theirs = f"{run}0", {PIPELINE_TAG: run, **OVER}
    account.log_group(f"/aws/lambda/{nine}-x", {})
    account.log_group(f"/aws/lambda/{run}-other", theirs)
    account.parameter(f"/{nine}/secret", {PIPELINE_TAG: nine})
    account.parameter(f"/{run}/own", theirs)
    account.policy(f"{nine}-role", {})
    account.policy(f"{run}-operator-0", {PIPELINE_TAG: run})
    account.table(f"{run}-prod", theirs)
    account.table(f"{nine}-prod", {})
    account.table(new_name(), {})
    account.queue(f"{new_name()}.fifo", {PIPELINE_TAG: "orders"})
    account.queue(f"{run}.fifo", {PIPELINE_TAG: "orders"})
    kept = account.there()
    account.queue(f"{run}-dlq.fifo", theirs)
    account.parameter(f"/{run}/secret", theirs)
    account.log_group(f"/aws/lambda/{run}-worker", {})  # as Lambda makes it
    code, document, err = clean(folder)
    assert account.there() == kept
    assert {(one["type"], one["name"]) for one in document["removed"]} == set(account.made) - kept
    assert f"not touched: queue {run}.fifo belongs to the pipeline 'orders'" in err
    # It has a name of the run's, and carries the pipeline's tag without the run's own: it was not touched.
    assert (code, [one["name"] for one in document["left"]]) == (1, [f"{run}-operator-0"]), err


def test_a_pipeline_with_a_name_like_a_runs_is_not_destroyed(folder: Path, account: Account) -> None:
    name = new_name()
    account.queue(f"{name}.fifo", {PIPELINE_TAG: name})
    account.parameter(f"/{name}/secret", {})
    kept = account.there()
    code, document, err = clean(folder)
    assert (code, document["left"], document["removed"]) == (0, [], []), err
    assert account.there() == kept


def test_a_log_group_of_no_known_run_is_named_and_not_touched(folder: Path, account: Account) -> None:
    name = f"/aws/lambda/{new_name()}-worker"
    account.log_group(name, {})
    code, document, err = clean(folder)
    assert (code, len(document["left"])) == (1, 1), err
    assert f"aws logs delete-log-group --log-group-name {name}" in document["left"][0]["command"]
    assert account.there() == {("log-group", name)}


def test_what_carries_tags_that_may_not_be_read_is_named_and_not_touched(
    proxy: Proxy, account: Account
) -> None:
    name = new_name()
    account.table(name, {PIPELINE_TAG: name, **OVER})
    proxy.rule = on("ListTagsOfResource", do=DENIED)
    found = earlier(cleaner(proxy, []).aws)
    assert (found.runs, [(one.type, one.name) for one in found.left]) == ((), [("table", name)])
    assert "ListTagsOfResource" in found.left[0].reason


def test_what_an_earlier_run_left_and_cannot_be_removed_is_in_the_next_runs_result(
    folder: Path, proxy: Proxy, account: Account
) -> None:
    name = new_name()
    account.table(name, {PIPELINE_TAG: name, **OVER})
    proxy.rule = lambda request: DENIED if request.action in ("DeleteTable", "CreateQueue") else Pass()
    with LyingReceiver() as api:
        words = ("--endpoint-url", proxy.endpoint, "--yes", "--api", api.url, "-o", "json", "-v")
        code, document, err = finished(start(folder, *words, FIFO_PROVE_SECRET=SECRET))
    left = {one["name"]: one for one in document["left"]}
    assert (code, "DeleteTable" in left[name]["reason"]) == (1, True), err
    assert f"removing what the run {name} left" in err
    proxy.rule = forward_all
    assert clean(folder)[:1] == (0,)
    assert find(account.aws) == []


def test_without_a_question_what_may_be_at_work_stays_and_is_named(folder: Path, account: Account) -> None:
    name = new_name()
    account.queue(f"{name}.fifo", {PIPELINE_TAG: name, **AT_WORK})
    code, document, err = clean(folder)
    assert (code, [one["name"] for one in document["left"]]) == (1, [name]), err
    assert "on elsewhere until 2999-01-02T03:04:05Z" in document["left"][0]["reason"]
    assert account.there() == {("queue", f"{name}.fifo")}
