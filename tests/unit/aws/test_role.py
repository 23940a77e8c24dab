"""Roles as resources."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fifo_cli.aws.resources.role import RoleAdmin
from fifo_cli.model.resources import Found, Resource
from tests.unit.aws.resource_life import TAGS, client, live, stubbed

pytestmark = pytest.mark.usefixtures("moto")


def test_a_role_is_made_changed_and_deleted_with_what_hangs_on_it() -> None:
    iam = client("iam")

    def policy(action: str) -> dict[str, Any]:
        statement = {"Sid": "A", "Effect": "Allow", "Action": [action], "Resource": ["*"]}
        return {"Version": "2012-10-17", "Statement": [statement]}

    def trust(service: str) -> dict[str, Any]:
        one = {"Sid": "T", "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        return {"Version": "2012-10-17", "Statement": [one]}

    boundary = iam.create_policy(PolicyName="b", PolicyDocument=json.dumps(policy("sqs:*")))["Policy"]["Arn"]
    properties = {
        "trust": trust("lambda.amazonaws.com"),
        "policy": policy("sqs:SendMessage"),
        "permissions_boundary": None,
    }
    changed = {
        "trust": trust("scheduler.amazonaws.com"),
        "policy": policy("sqs:DeleteMessage"),
        "permissions_boundary": boundary,
    }
    gate = RoleAdmin(iam)
    live(
        gate,
        Resource("role", "orders-worker", properties, TAGS),
        Resource("role", "orders-worker", changed, TAGS),
    )
    gate.create(Resource("role", "orders-worker", changed, TAGS))
    iam.put_role_policy(
        RoleName="orders-worker", PolicyName="more", PolicyDocument=json.dumps(policy("sqs:*"))
    )
    iam.attach_role_policy(RoleName="orders-worker", PolicyArn=boundary)
    found = gate.read("orders-worker")
    assert found is not None
    gate.delete(found)
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_role(RoleName="orders-worker")


def test_a_policy_that_went_with_a_call_whose_answer_was_lost_does_not_keep_the_role() -> None:
    iam, stub = stubbed("iam")
    stub.add_response("list_role_policies", {"PolicyNames": ["fifo-cli"]})
    stub.add_client_error("delete_role_policy", "NoSuchEntity", "The role policy cannot be found")
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    stub.add_response("list_attached_role_policies", {"AttachedPolicies": [{"PolicyArn": arn}]})
    stub.add_client_error("detach_role_policy", "NoSuchEntity", "Policy was not found")
    stub.add_response("delete_role", {}, {"RoleName": "orders-worker"})
    RoleAdmin(iam).delete(Found("role", "orders-worker", {}))
    stub.assert_no_pending_responses()


def test_the_boundary_is_set_before_the_policy_that_a_deployer_may_write_only_within_it() -> None:
    iam, stub = stubbed("iam")
    boundary = "arn:aws:iam::123456789012:policy/pipelines"
    properties = {"policy": {}, "trust": {}, "permissions_boundary": boundary}
    wanted = Resource("role", "orders-worker", properties, TAGS)
    stub.add_response("put_role_permissions_boundary", {})
    stub.add_response("put_role_policy", {})
    stub.add_response("tag_role", {})
    changed = frozenset({"policy", "permissions_boundary"})
    RoleAdmin(iam).update(wanted, Found("role", "orders-worker", {}), changed)
    stub.assert_no_pending_responses()
