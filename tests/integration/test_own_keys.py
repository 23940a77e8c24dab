"""A table that a KMS key of the account encrypts, and policies that do not fit one document."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.plan import plan
from tests.cli_harness import Project, Ran
from tests.faults import AnswerWithError, on
from tests.integration.fork_server import ForkServer
from tests.integration.proxy import Proxy
from tests.integration.test_deploy import settings_of
from tests.integration.test_killed import KEYS

Make = Callable[..., Project]
Run = Callable[..., Ran]
KEY = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = "arn:aws:kms:us-east-1:000000000000:key/ffffabcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def run(fork_server: ForkServer, proxy: Proxy) -> Run:
    def ran(made: Project, *args: str) -> Ran:
        return fork_server.run(made.folder, [*args, "--endpoint-url", proxy.endpoint], KEYS)

    return ran


def table(clients: Aws, name: str, key: str | None) -> None:
    encryption: Any = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    clients.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        **({"SSESpecification": encryption} if key else {}),
    )


def keys_of(policy: Any, sid: str = "UseTableKey") -> dict[str, list[str]]:
    """Return which keys which actions of a policy are for, of one statement."""
    documents = policy if isinstance(policy, list) else [policy]
    found = [one for document in documents for one in document["Statement"] if one["Sid"].startswith(sid)]
    return {action: one["Resource"] for one in found for action in one["Action"]}


def policy_of_role(clients: Aws, made: Project, role: Any) -> Any:
    name = made.names.function(role)
    return clients.client("iam").get_role_policy(RoleName=name, PolicyName="fifo-cli")["PolicyDocument"]


def test_the_enqueuer_may_read_the_stream_of_a_table_that_a_key_of_the_account_encrypts(
    project: Make, clients: Aws, run: Run
) -> None:
    made = project(table={"create": False})
    table(clients, made.name, KEY)
    deploy(clients, load(made.config))
    reads = {"kms:Decrypt": [KEY], "kms:DescribeKey": [KEY]}
    assert keys_of(policy_of_role(clients, made, "enqueuer")) == reads
    assert keys_of(policy_of_role(clients, made, "worker")) == {}
    assert plan(clients, load(made.config)).changes == ()
    status = json.loads(run(made, "status", "-o", "json").out)
    assert [one for one in status["resources"] if one["state"] != "ok"] == []
    # Another key: plan says so, and deploy follows.
    change: Any = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": OTHER_KEY}
    clients.client("dynamodb").update_table(TableName=made.name, SSESpecification=change)
    (changed,) = plan(clients, load(made.config)).changes
    assert (changed.action, changed.kind, changed.name) == ("update", "role", f"{made.name}-enqueuer")
    deploy(clients, load(made.config))
    assert keys_of(policy_of_role(clients, made, "enqueuer"))["kms:Decrypt"] == [OTHER_KEY]


@pytest.mark.parametrize(("key", "count"), [(KEY, 7), (None, 0)])
def test_an_operators_policy_has_the_key_of_the_table(
    project: Make, clients: Aws, run: Run, key: str | None, count: int
) -> None:
    made = project()
    table(clients, made.name, key)
    printed = keys_of(run(made, "policy", "operator").ok().json())
    assert len(printed) == count
    assert all(resource == [key] for resource in printed.values())
    assert keys_of(run(made, "policy", "monitor").ok().json()) == {}


def test_a_policy_is_printed_where_the_table_is_missing_or_may_not_be_looked_at(
    project: Make, run: Run, proxy: Proxy
) -> None:
    made = project()
    missing = run(made, "policy", "deployer").ok()
    assert keys_of(missing.json()) == {}
    assert "encrypts the table" not in missing.err
    proxy.rule = on("DescribeTable", do=AnswerWithError("AccessDeniedException", "not you"))
    denied = run(made, "policy", "deployer").ok()
    assert denied.json() == missing.json()
    assert "whether a key of the account encrypts the table is not known: DescribeTable" in denied.err


def test_more_keys_than_a_role_can_name_are_refused_by_plan(project: Make, run: Run, proxy: Proxy) -> None:
    made = project()
    keys = {f"key_{number}": f"/{made.name}/{'k' * 100}-{number}" for number in range(80)}
    headers = {f"X-Key-{number}": f"{{key_{number}}}" for number in range(80)}
    made.configure(
        settings_of(made, api={"url": "https://api.example.com", "keys": keys, "headers": headers})
    )
    for args in (("plan",), ("deploy", "--yes")):
        ended = run(made, *args)
        assert (ended.code, ended.out) == (2, "")
        assert f"role {made.name}-worker: its policy has 1" in ended.err
        assert "nothing was changed" in ended.err
    assert not [one for one in proxy.requests if one.action.startswith(("Create", "Put"))]


@pytest.mark.parametrize("audience", ["operator", "deployer"])
def test_a_policy_that_does_not_fit_is_printed_as_a_list_of_documents(
    project: Make, clients: Aws, run: Run, audience: str
) -> None:
    made = project()
    keys = {f"key_{number}": f"/{made.name}/{'k' * 60}-{number}" for number in range(60)}
    headers = {f"X-Key-{number}": f"{{key_{number}}}" for number in range(60)}
    api = {"url": "https://api.example.com/orders", "keys": keys, "headers": headers}
    made.configure(settings_of(made, queue={"kms_key": KEY}, api=api))
    table(clients, made.name, OTHER_KEY)
    documents = run(made, "policy", audience).ok().json()
    assert isinstance(documents, list)
    assert len(documents) > 1
    for one in documents:
        assert set(one) == {"Version", "Statement"}
        assert len(json.dumps(one, separators=(",", ":"))) <= 6144
    resources = {
        resource
        for one in documents
        for statement in one["Statement"]
        for resource in statement["Resource"]
        if "parameter/" in resource
    }
    assert len(resources) == 60
    assert keys_of(documents, "UseKey") == {"kms:Decrypt": [KEY], "kms:GenerateDataKey": [KEY]}
    assert set(map(tuple, keys_of(documents).values())) == {(OTHER_KEY,)}
