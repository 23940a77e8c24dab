"""The function that prove delivers to, on the embedded stack: reached by its URL, in order, and removed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from fifo_cli.aws.resources.function_url import ForbiddenUrlError
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.events import Event, Started, silent
from fifo_cli.model.names import PIPELINE_TAG
from fifo_cli.model.prove_result import Resource
from fifo_cli.model.receiver_protocol import AnswerRules, Mode
from fifo_cli.operations.prove.cleaning import Cleaner
from fifo_cli.operations.prove.deployed_receiver import DeployedReceiver
from fifo_cli.operations.prove.prove import make_context
from fifo_cli.operations.prove.receiver import HttpReceiver
from fifo_cli.operations.prove.run_resources import OWNER_TAG
from fifo_cli.operations.prove.run_resources import new_name as run_name
from tests.cli_harness import Stack, new_name
from tests.faults import AnswerWithError, DropAnswer, Pass, forward_all, on
from tests.integration.prove_bed import run_of
from tests.integration.proxy import Proxy

TAGS = {"team": "payments"}


@pytest.fixture
def made(clients: Aws) -> Iterator[DeployedReceiver]:
    one = DeployedReceiver(clients, new_name())
    yield one
    one.remove()


def parts(name: str) -> list[Resource]:
    return [
        Resource("function", f"{name}-receiver"),
        Resource("log-group", f"/aws/lambda/{name}-receiver"),
        Resource("role", f"{name}-receiver"),
        Resource("table", f"{name}-receiver"),
    ]


def is_removed_whole(made: DeployedReceiver) -> None:
    assert made.found() == parts(made.pipeline)
    assert made.remove() == {}
    assert made.found() == []


def deliver(receiver: HttpReceiver, item: str, **headers: str) -> httpx.Response:
    group, _, number = item.partition("-")
    return httpx.post(
        f"{receiver.url}/deliver",
        json={"id": item, "group": group, "number": int(number)},
        headers={"x-prove-secret": receiver.secret, "Idempotency-Key": f"k-{item}", **headers},
        trust_env=False,
        timeout=60,
    )


def test_deliveries_side_by_side_are_recorded_in_order_by_each_temper(made: DeployedReceiver) -> None:
    receiver = made.deploy(TAGS)

    def send(group: str) -> None:
        for number in range(6):
            assert deliver(receiver, f"{group}-{number}").status_code == 200

    threads = [threading.Thread(target=send, args=(group,)) for group in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = receiver.received()
    assert [one.n for one in found] == list(range(1, 25))
    for group in "abcd":
        assert [one.number for one in found if one.group == group] == list(range(6))
    receiver.forget()
    answers: list[tuple[int, str | None]] = []
    for rules in (
        AnswerRules(mode=Mode.UNAVAILABLE),
        AnswerRules(mode=Mode.THROTTLED, retry_after=7),
        AnswerRules(mode=Mode.SLOW, slow_seconds=0.2),
        AnswerRules(key="the-new-key"),
        AnswerRules(refuse=("e-1",)),
        AnswerRules(),
    ):
        receiver.set_rules(rules)
        answer = deliver(receiver, "e-1", Authorization="Bearer the-old-key")
        answers.append((answer.status_code, answer.headers.get("Retry-After")))
    assert answers == [(503, None), (429, "7"), (200, None), (401, None), (422, None), (200, None)]
    assert [one.status for one in receiver.received()] == [503, 429, 200, 401, 422, 200]
    assert deliver(receiver, "e-1", **{"x-prove-secret": "wrong"}).status_code == 403
    assert len(receiver.received()) == 6


def test_all_of_it_is_tagged_and_removed_and_what_is_another_pipelines_stays(
    made: DeployedReceiver, clients: Aws
) -> None:
    receiver = made.deploy(TAGS)
    name = made.pipeline
    assert made.found() == parts(name)
    dynamodb, logs, iam, functions = (
        clients.client("dynamodb"),
        clients.client("logs"),
        clients.client("iam"),
        clients.client("lambda"),
    )
    table = dynamodb.describe_table(TableName=made.name)["Table"]
    assert not table.get("StreamSpecification", {}).get("StreamEnabled")
    for tags in (
        {
            one["Key"]: one["Value"]
            for one in dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
        },
        {one["Key"]: one["Value"] for one in iam.get_role(RoleName=made.name)["Role"]["Tags"]},
        functions.get_function(FunctionName=made.name)["Tags"],
        logs.list_tags_for_resource(resourceArn=clients.place.log_group(f"/aws/lambda/{made.name}"))["tags"],
    ):
        assert (tags[PIPELINE_TAG], tags["team"]) == (name, "payments")
    # A stranger's role of that name is not ours to remove.
    iam.untag_role(RoleName=made.name, TagKeys=[PIPELINE_TAG])
    assert made.remove() == {}
    assert made.found() == []
    assert iam.get_role(RoleName=made.name)["Role"]["RoleName"] == made.name
    assert httpx.get(f"{receiver.url}/received", trust_env=False).status_code == 404
    iam.tag_role(RoleName=made.name, Tags=[{"Key": PIPELINE_TAG, "Value": name}])
    assert made.found() == [Resource("role", made.name)]
    assert made.remove() == {}
    assert made.found() == []
    assert made.remove() == {}


def test_neither_secret_nor_more_rights_than_it_needs_are_in_the_account(
    made: DeployedReceiver, clients: Aws
) -> None:
    receiver = made.deploy(TAGS)
    function = clients.client("lambda").get_function(FunctionName=made.name)
    assert receiver.secret not in json.dumps(function, default=str)
    policy = clients.client("iam").get_role_policy(RoleName=made.name, PolicyName="fifo-cli")[
        "PolicyDocument"
    ]
    document: Any = json.loads(policy) if isinstance(policy, str) else policy
    assert {action: one["Resource"] for one in document["Statement"] for action in one["Action"]} == {
        "logs:CreateLogStream": [f"{clients.place.log_group(f'/aws/lambda/{made.name}')}:*"],
        "logs:PutLogEvents": [f"{clients.place.log_group(f'/aws/lambda/{made.name}')}:*"],
        "dynamodb:GetItem": [clients.place.table(made.name)],
        "dynamodb:PutItem": [clients.place.table(made.name)],
        "dynamodb:Query": [clients.place.table(made.name)],
    }
    access = json.loads(clients.client("lambda").get_policy(FunctionName=made.name)["Policy"])
    assert {one["Action"]: one["Condition"] for one in access["Statement"]} == {
        "lambda:InvokeFunctionUrl": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        "lambda:InvokeFunction": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
    }


# Besides these calls it takes dynamodb:TagResource, iam:PassRole, iam:TagRole, lambda:TagResource and
# logs:TagResource, and after a lost answer lambda:GetFunctionUrlConfig.
CALLS = {
    "dynamodb": "CreateTable DeleteTable DescribeTable ListTagsOfResource",
    "iam": "CreateRole DeleteRole DeleteRolePolicy GetRole GetRolePolicy ListAttachedRolePolicies"
    " ListRolePolicies PutRolePolicy",
    "lambda": "AddPermission CreateFunction CreateFunctionUrlConfig DeleteFunction DeleteFunctionUrlConfig"
    " GetAccountSettings GetFunction PutFunctionConcurrency",
    "logs": "CreateLogGroup DeleteLogGroup DescribeLogGroups ListTagsForResource PutRetentionPolicy",
}


def test_it_makes_no_calls_but_those_that_a_prover_may_make(made: DeployedReceiver, clients: Aws) -> None:
    called: dict[str, set[str]] = {service: set() for service in CALLS}
    for service, seen in called.items():
        clients.client(service).meta.events.register(  # type: ignore[call-overload]
            "before-call", lambda model, seen=seen, **_: seen.add(model.name)
        )
    made.deploy(TAGS)
    made.found()
    made.remove()
    assert called == {service: set(names.split()) for service, names in CALLS.items()}


def behind(proxy: Proxy) -> Aws:
    return Aws(AwsEndpoint(endpoint_url=proxy.endpoint, local=True))


@pytest.mark.parametrize("step", ["url", "policy"])
def test_where_public_urls_are_forbidden_it_says_so_and_what_was_made_is_removed(
    stack: Stack, proxy: Proxy, step: str
) -> None:
    made = DeployedReceiver(behind(proxy), new_name())
    denied = AnswerWithError(
        "AccessDeniedException", "with an explicit deny in a service control policy", status=403
    )
    proxy.rule = lambda request: (
        denied if request.method == "POST" and request.path.endswith(f"/{step}") else Pass()
    )
    with pytest.raises(ForbiddenUrlError, match="service control policy") as caught:
        made.deploy(TAGS)
    assert "--api URL" in caught.value.hint
    is_removed_whole(made)


@pytest.mark.parametrize(
    "action", ["CreateTable", "CreateLogGroup", "CreateRole", "POST /2015-03-31/functions"]
)
def test_a_call_whose_answer_was_lost_is_completed(proxy: Proxy, action: str) -> None:
    made = DeployedReceiver(behind(proxy), new_name())
    proxy.rule = on(action, nth=1, do=DropAnswer())
    try:
        receiver = made.deploy(TAGS)
        assert deliver(receiver, "a-1").status_code == 200
        assert [one.id for one in receiver.received()] == ["a-1"]
    finally:
        is_removed_whole(made)


def test_a_function_whose_url_may_not_be_deleted_is_deleted_with_it(proxy: Proxy) -> None:
    made = DeployedReceiver(behind(proxy), new_name())
    receiver = made.deploy(TAGS)
    denied = AnswerWithError("AccessDeniedException", "no", status=403)
    proxy.rule = lambda request: (
        denied if request.method == "DELETE" and request.path.endswith("/url") else Pass()
    )
    is_removed_whole(made)
    assert httpx.get(f"{receiver.url}/received", trust_env=False).status_code == 404


def test_what_cannot_be_removed_is_named_with_the_reason(proxy: Proxy) -> None:
    made = DeployedReceiver(behind(proxy), new_name())
    made.deploy(TAGS)
    proxy.rule = on("DeleteRole", do=AnswerWithError("AccessDenied", "no", status=403))
    left = made.remove()
    assert made.found() == list(left) == [Resource("role", made.name)]
    assert "DeleteRole" in left[made.found()[0]]
    proxy.rule = forward_all
    assert made.remove() == {}
    assert made.found() == []


def test_what_a_run_leaves_is_named_with_the_commands_that_remove_it(proxy: Proxy) -> None:
    """Function, role and table have one name; each has a reason of its own."""
    made = DeployedReceiver(behind(proxy), run_name())
    made.deploy({**TAGS, OWNER_TAG: "of a run"})
    denied = AnswerWithError("AccessDenied", "no", status=403)
    proxy.rule = lambda request: denied if request.action in ("DeleteRole", "DeleteTable") else Pass()
    _, left = Cleaner(made.aws, [], {}, silent, 0, time.sleep).remove(made.pipeline)
    assert {one.type: one.command for one in left} == {
        "role": f"aws iam delete-role-policy --policy-name fifo-cli --role-name {made.name}"
        f" && aws iam delete-role --role-name {made.name}",
        "table": f"aws dynamodb delete-table --table-name {made.name}",
    }
    assert {
        one.type: words for one in left for words in ("DeleteRole", "DeleteTable") if words in one.reason
    } == {
        "role": "DeleteRole",
        "table": "DeleteTable",
    }
    proxy.rule = forward_all
    assert made.remove() == {}


def test_what_was_begun_when_a_signal_came_is_in_the_report(stack: Stack, tmp_path: Path) -> None:
    def listen(event: Event) -> None:
        if event == Started("create", "log-group", f"/aws/lambda/{run.name}-receiver"):
            raise KeyboardInterrupt

    run = run_of(stack.endpoint, tmp_path, None, listener=listen, interrupted=lambda: True)
    context = make_context(run, datetime.now(UTC))
    try:
        with pytest.raises(KeyboardInterrupt):
            _ = context.receiver
        assert context.created[0] == Resource("table", f"{run.name}-receiver")
    finally:
        assert DeployedReceiver(run.aws, run.name).remove() == {}
