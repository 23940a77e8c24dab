"""Functions as resources: what Lambda must be waited for, by its own words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.stub import ANY

from fifo_cli.aws.resources.function import FunctionAdmin, wait_ready
from fifo_cli.aws.resources.gateway import AlreadyExists
from fifo_cli.errors import AwsError
from fifo_cli.model.resources import Found, Resource
from tests.unit.aws.bench import ARN, READY, VERSION, Bench

FUNCTION = Resource(
    "function", "orders-worker", {**VERSION, "reserved_concurrency": 1}, {"fifo-cli:pipeline": "orders"}
)
ZIPS = {"orders-worker": b"zip"}


def test_a_role_that_is_too_new_is_waited_for(bench: Bench) -> None:
    said = "The role defined for the function cannot be assumed by Lambda."
    bench.refuse("create_function", "InvalidParameterValueException", said)
    bench.refuse("create_function", "InvalidParameterValueException", said)
    bench.answer("create_function")
    bench.answer("get_function", {"Configuration": {"State": "Pending", "LastUpdateStatus": "InProgress"}})
    bench.answer("get_function", READY)
    bench.answer(
        "put_function_concurrency",
        expected={"FunctionName": "orders-worker", "ReservedConcurrentExecutions": 1},
    )
    FunctionAdmin(bench.client, ZIPS, bench.waiter).create(FUNCTION)
    bench.check("waiting for its role to be known to Lambda", "being made ready by Lambda")


def test_another_invalid_parameter_is_not_waited_for(bench: Bench) -> None:
    bench.refuse(
        "create_function", "InvalidParameterValueException", "The runtime parameter is not supported."
    )
    with pytest.raises(AwsError, match=r"function orders-worker.*The runtime parameter is not supported"):
        FunctionAdmin(bench.client, ZIPS, bench.waiter).create(FUNCTION)
    bench.check()


def test_a_role_that_never_becomes_known_is_given_up_on(bench: Bench) -> None:
    for _ in range(200):
        bench.refuse(
            "create_function", "InvalidParameterValueException", "The role cannot be assumed by Lambda."
        )
    with pytest.raises(
        AwsError, match=r"orders-worker: still waiting for its role to be known to Lambda after 29. s"
    ):
        FunctionAdmin(bench.client, ZIPS, bench.waiter).create(FUNCTION)


def test_a_function_that_is_there_already_is_reported_apart(bench: Bench) -> None:
    bench.refuse("create_function", "ResourceConflictException", "Function already exist: orders-worker")
    with pytest.raises(AlreadyExists):
        FunctionAdmin(bench.client, ZIPS, bench.waiter).create(FUNCTION)


def test_an_update_waits_between_code_and_configuration(bench: Bench) -> None:
    busy = "The operation cannot be performed at this time. An update is in progress for resource"
    found = Found("function", "orders-worker", {}, facts={"arn": ARN})
    bench.answer("get_function", READY)
    bench.refuse("update_function_code", "ResourceConflictException", busy)
    bench.answer(
        "update_function_code",
        expected={"FunctionName": "orders-worker", "ZipFile": b"zip", "Architectures": ["arm64"]},
    )
    bench.answer("get_function", {"Configuration": {"State": "Active", "LastUpdateStatus": "InProgress"}})
    bench.answer("get_function", READY)
    bench.answer(
        "update_function_configuration", expected={**configuration(), "Environment": {"Variables": {}}}
    )
    bench.answer("get_function", READY)
    bench.answer("tag_resource", expected={"Resource": ARN, "Tags": ANY})
    changed = frozenset({"code_sha256", "memory", "environment"})
    FunctionAdmin(bench.client, ZIPS, bench.waiter).update(FUNCTION, found, changed)
    bench.check("busy with another update", "being updated by Lambda")


def configuration() -> dict[str, Any]:
    return {
        "FunctionName": "orders-worker",
        "Handler": VERSION["handler"],
        "Runtime": "python3.13",
        "MemorySize": 256,
        "Timeout": 60,
        "Role": VERSION["role"],
    }


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"State": "Failed", "StateReason": "no subnet"}, "function orders-worker failed: no subnet"),
        (
            {"State": "Active", "LastUpdateStatus": "Failed", "LastUpdateStatusReason": "bad zip"},
            "the update of function orders-worker failed: bad zip",
        ),
    ],
)
def test_a_function_that_failed_is_not_waited_for(bench: Bench, state: dict[str, Any], said: str) -> None:
    bench.answer("get_function", {"Configuration": state})
    with pytest.raises(AwsError, match=said):
        wait_ready(bench.client, bench.waiter, "orders-worker")


def test_a_function_is_read_without_the_values_of_its_environment(bench: Bench) -> None:
    configuration = {
        **READY["Configuration"],
        "CodeSha256": "c2hh",
        "Architectures": ["arm64"],
        "VpcConfig": {"SubnetIds": ["subnet-2", "subnet-1"], "SecurityGroupIds": []},
        "Environment": {"Variables": {"KEY": "sesame"}},
    }
    bench.answer("get_function", {"Configuration": configuration, "Tags": {"a": "b"}})
    found = FunctionAdmin(bench.client).read("orders-worker")
    assert found is not None
    assert "sesame" not in repr(found)
    assert found.properties["environment"] == ["KEY"]
    assert found.properties["subnets"] == ["subnet-1", "subnet-2"]
    assert (found.tags, found.properties["reserved_concurrency"]) == ({"a": "b"}, None)


def test_reserved_concurrency_is_given_up_where_none_is_wanted(bench: Bench) -> None:
    wanted = replace(FUNCTION, properties={**VERSION, "reserved_concurrency": None})
    found = Found("function", "orders-worker", {**VERSION, "reserved_concurrency": 1}, facts={"arn": ARN})
    bench.answer("get_function", READY)
    bench.answer("delete_function_concurrency", expected={"FunctionName": "orders-worker"})
    bench.answer("tag_resource", expected={"Resource": ARN, "Tags": ANY})
    FunctionAdmin(bench.client, {}, bench.waiter).update(wanted, found, frozenset({"reserved_concurrency"}))
    bench.check()


@pytest.mark.parametrize(("unreserved", "can"), [(101, True), (100, False), (10, False)])
def test_concurrency_is_reserved_only_where_a_hundred_stay_unreserved(
    bench: Bench, unreserved: int, can: bool
) -> None:
    bench.answer("get_account_settings", {"AccountLimit": {"UnreservedConcurrentExecutions": unreserved}})
    assert FunctionAdmin(bench.client).can_reserve() is can


def test_an_account_that_does_not_tell_its_limits_has_nothing_to_reserve(bench: Bench) -> None:
    bench.refuse("get_account_settings", "AccessDeniedException", "no")
    assert FunctionAdmin(bench.client).can_reserve() is False
