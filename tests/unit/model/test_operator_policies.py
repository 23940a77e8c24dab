"""What people's policies reach, and whether IAM takes them. That they suffice, the integration tests show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

import pytest

from fifo_cli.model.names import ALARM_ROLES, FUNCTION_ROLES, QUEUE_ROLES, Names, Place
from fifo_cli.model.operator_policies import Audience, people_policies, people_policy
from fifo_cli.model.settings import load

PLACE = Place("123456789012", "eu-central-1")
TOML = """
[pipeline]
name = "orders"
[table]
name = "orders"
[schedule]
expressions = ["rate(5 minutes)"]
timezone = "Europe/Berlin"
[api]
url = "https://api.example.com/orders"
keys = { api_key = "/orders/key" }
headers = { Authorization = "Bearer {api_key}" }
"""
AUDIENCES = get_args(Audience)
TABLE_KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def policy(tmp_path: Path):
    def make(audience: Audience) -> dict[str, Any]:
        (tmp_path / "fifo.toml").write_text(TOML)
        return people_policy(load(tmp_path / "fifo.toml").settings, PLACE, audience)

    return make


def _arns(pipeline: str) -> Iterator[str]:
    names = Names(pipeline)
    yield from (PLACE.queue(names.queue(role)) for role in QUEUE_ROLES)
    yield PLACE.queue(names.stream_failures)
    for role in FUNCTION_ROLES:
        yield PLACE.function(names.function(role))
        yield PLACE.function(names.function(role), "live")
        yield PLACE.role(names.function(role))
        yield f"{PLACE.log_group(names.log_group(role))}:*"
    for number in (1, 2, 12):
        yield PLACE.rule(names.schedule(number))
        yield PLACE.schedule(names.schedule(number))
    yield from (PLACE.alarm(names.alarm(role)) for role in ALARM_ROLES)
    yield PLACE.table(pipeline)
    yield PLACE.stream(pipeline, "2026-01-01T00:00:00.000")
    yield PLACE.parameter(f"/{pipeline}/key")


def _patterns(policy: dict[str, Any]) -> set[str]:
    return {one for statement in policy["Statement"] for one in statement["Resource"]} - {"*"}


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("other", ["orders-prod", "order", "orders2", "orders-1"])
def test_no_policy_reaches_another_pipeline_whatever_its_name(policy, audience, other) -> None:
    patterns = _patterns(policy(audience))
    reached = {arn for arn in _arns(other) for pattern in patterns if fnmatchcase(arn, pattern)}
    assert reached == set()


@pytest.mark.parametrize("audience", AUDIENCES)
def test_every_policy_reaches_all_that_its_commands_are_about(policy, audience) -> None:
    patterns = _patterns(policy(audience))
    missed = {arn for arn in _arns("orders") if not any(fnmatchcase(arn, pattern) for pattern in patterns)}
    beyond = {PLACE.parameter("/orders/key"), PLACE.stream("orders", "2026-01-01T00:00:00.000")}
    # Only who sets or uses keys names them, and only who replays reads the stream.
    assert missed <= beyond


def test_what_is_allowed_on_everything_only_lists_and_looks(policy) -> None:
    looks = ("Describe", "Get", "List")
    for audience in AUDIENCES:
        for statement in policy(audience)["Statement"]:
            if statement["Resource"] == ["*"] and "Condition" not in statement:
                assert all(one.partition(":")[2].startswith(looks) for one in statement["Action"])


def test_a_monitor_changes_nothing_and_takes_no_message(policy) -> None:
    actions = {
        one.partition(":")[2] for statement in policy("monitor")["Statement"] for one in statement["Action"]
    }
    assert all(one.startswith(("Describe", "Filter", "Get", "List")) for one in actions)
    assert "ReceiveMessage" not in actions


@pytest.mark.parametrize("audience", AUDIENCES)
def test_whoever_plans_may_ask_again_for_a_mapping_that_is_updating(policy, audience) -> None:
    asking = [
        one["Resource"] for one in policy(audience)["Statement"]
        if "lambda:GetEventSourceMapping" in one["Action"]
    ]  # fmt: skip
    assert asking in ([["*"]], [[PLACE.mapping("*")]])


@pytest.mark.parametrize("audience", AUDIENCES)
def test_statements_have_names_of_their_own(policy, audience) -> None:
    sids = [one["Sid"] for one in policy(audience)["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() for sid in sids)


@pytest.mark.parametrize("audience", AUDIENCES)
def test_a_policy_fits_into_one_managed_policy_of_iam(policy, audience) -> None:
    """IAM User Guide, "IAM and STS quotas": 6,144 characters, white space not counted."""
    text = json.dumps(policy(audience), separators=(",", ":")).replace("orders", "orders-production")
    assert len(text) <= 6144


BOUNDARY = "arn:aws:iam::123456789012:policy/pipelines"
LONGEST = "o" * 55
EVERYTHING = f"""
[pipeline]
name = "{LONGEST}"
[table]
name = "{LONGEST}"
[queue]
kms_key = "alias/{LONGEST}"
[functions]
permissions_boundary = "{BOUNDARY}"
subnets = ["subnet-1"]
security_groups = ["sg-1"]
[alarms]
sns_topic = "arn:aws:sns:eu-central-1:123456789012:oncall"
[schedule]
expressions = ["rate(5 minutes)"]
timezone = "Europe/Berlin"
"""


def _api(number: int, keys: int) -> str:
    named = ", ".join(f'key_{number}_{key} = "/{LONGEST}/api-{number}/key-{key}"' for key in range(keys))
    used = ", ".join(f'X-Key-{key} = "{{key_{number}_{key}}}"' for key in range(keys))
    return (
        f'[[api]]\nurl = "https://api.example.com/{number}"\nkeys = {{ {named} }}\nheaders = {{ {used} }}\n'
    )


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("keys", [1, 5, 20])
def test_every_document_fits_with_every_option_on_and_together_they_allow_the_same(
    tmp_path, audience, keys
) -> None:
    (tmp_path / "fifo.toml").write_text(EVERYTHING + "".join(_api(number, keys) for number in range(5)))
    settings = load(tmp_path / "fifo.toml").settings
    documents = people_policies(settings, PLACE, audience, table_key=TABLE_KEY)
    assert all(len(json.dumps(one, separators=(",", ":"))) <= 6144 for one in documents)
    for document in documents:
        sids = [one["Sid"] for one in document["Statement"]]
        assert len(sids) == len(set(sids))
    whole = people_policy(settings, PLACE, audience, table_key=TABLE_KEY)
    assert _granted(*documents) == _granted(whole)


SECRETS = """
[api.keys]
api_key = "/orders/key"
whole = "secretsmanager:orders/whole"
part = "secretsmanager:orders/part#f"
"""


@pytest.mark.parametrize(
    ("audience", "whole", "part"),
    [
        ("monitor", {"DescribeSecret"}, set()),
        ("operator", {"DescribeSecret", "GetSecretValue"}, set()),
        (
            "deployer",
            {"CreateSecret", "DescribeSecret", "PutSecretValue", "TagResource"},
            # To set a field is to keep the others, and so to read them.
            {"GetSecretValue", "UpdateSecretVersionStage"},
        ),
    ],
)
def test_who_may_do_what_with_secrets(tmp_path, audience, whole, part) -> None:
    old = 'keys = { api_key = "/orders/key" }\n'
    (tmp_path / "fifo.toml").write_text(TOML.replace(old, "") + SECRETS)
    granted = _granted(people_policy(load(tmp_path / "fifo.toml").settings, PLACE, audience))
    secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:orders"
    for name, actions in ((f"{secret}/whole-??????", whole), (f"{secret}/part-??????", whole | part)):
        assert {action for action, resource, _ in granted if resource == name} == {
            f"secretsmanager:{action}" for action in actions
        }
    via = [
        condition for action, _, condition in granted if action.startswith("kms:") and "secrets" in condition
    ]
    assert bool(via) == (audience != "monitor")
    assert all("secretsmanager.eu-central-1.amazonaws.com" in condition for condition in via)


READS = {"kms:Decrypt", "kms:DescribeKey"}
WRITES = {
    *READS,
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
}


@pytest.mark.parametrize(
    ("audience", "actions"), [("monitor", set()), ("operator", WRITES), ("deployer", READS)]
)
def test_who_reads_or_writes_a_table_may_use_the_key_that_encrypts_it(tmp_path, audience, actions) -> None:
    (tmp_path / "fifo.toml").write_text(TOML)
    settings = load(tmp_path / "fifo.toml").settings
    granted = _granted(people_policy(settings, PLACE, audience, table_key=TABLE_KEY))
    assert {action for action, resource, _ in granted if resource == TABLE_KEY} == actions
    without = _granted(people_policy(settings, PLACE, audience))
    assert {action for action, resource, _ in granted - without} == actions


def _granted(*documents: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (action, resource, json.dumps(one.get("Condition")))
        for document in documents
        for one in document["Statement"]
        for action in one["Action"]
        for resource in one["Resource"]
    }


def _iam(policy: dict[str, Any]) -> dict[str, Any]:
    """Return each action on roles with its condition."""
    return {
        action: one.get("Condition")
        for one in policy["Statement"]
        for action in one["Action"]
        if action.startswith("iam:") and not action.startswith(("iam:Get", "iam:List"))
    }


def test_with_a_boundary_a_deployer_makes_and_changes_only_roles_that_have_it(tmp_path) -> None:
    (tmp_path / "fifo.toml").write_text(TOML + f'[functions]\npermissions_boundary = "{BOUNDARY}"\n')
    granted = _iam(people_policy(load(tmp_path / "fifo.toml").settings, PLACE, "deployer"))
    bounded = {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}}
    assert {action for action, condition in granted.items() if condition == bounded} == {
        "iam:CreateRole",
        "iam:DeleteRolePolicy",
        "iam:DetachRolePolicy",
        "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy",
    }
    assert granted.keys() - {a for a, c in granted.items() if c == bounded} == {
        "iam:DeleteRole",
        "iam:PassRole",
        "iam:TagRole",
    }
    assert "iam:PassedToService" in granted["iam:PassRole"]["StringEquals"]


LOOKS_AT_NETWORK = {
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
}


def test_with_subnets_a_deployer_looks_at_the_network(tmp_path) -> None:
    network = '[functions]\nsubnets = ["subnet-1"]\nsecurity_groups = ["sg-1"]\n'
    for text, looks in ((TOML, False), (TOML + network, True)):
        (tmp_path / "fifo.toml").write_text(text)
        policy = people_policy(load(tmp_path / "fifo.toml").settings, PLACE, "deployer")
        actions = {action for one in policy["Statement"] for action in one["Action"]}
        assert {one for one in actions if one.startswith("ec2:")} == (LOOKS_AT_NETWORK if looks else set())
