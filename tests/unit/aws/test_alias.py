"""The live alias as a resource."""

from __future__ import annotations

import pytest

from fifo_cli.aws.resources.alias import AliasAdmin
from fifo_cli.aws.resources.gateway import AlreadyExists
from fifo_cli.errors import AwsError
from fifo_cli.model.resources import Found, Resource
from fifo_cli.model.worker_trigger import TAKES_BATCHES
from tests.unit.aws.bench import READY, VERSION, Bench

ALIAS = Resource(
    "alias", "orders-worker:live", {**VERSION, "routing": {}, "async_retries": 0, "async_age": 60}
)


def test_an_alias_is_made_of_the_code_that_was_uploaded_and_no_other(bench: Bench) -> None:
    bench.answer("get_function", READY)
    bench.answer(
        "publish_version",
        {"Version": "3"},
        {"FunctionName": "orders-worker", "CodeSha256": "c2hh", "Description": TAKES_BATCHES},
    )
    bench.answer("get_function", READY, {"FunctionName": "orders-worker", "Qualifier": "3"})
    bench.answer(
        "create_alias", expected={"FunctionName": "orders-worker", "Name": "live", "FunctionVersion": "3"}
    )
    bench.answer(
        "put_function_event_invoke_config",
        expected={
            "FunctionName": "orders-worker",
            "Qualifier": "live",
            "MaximumRetryAttempts": 0,
            "MaximumEventAgeInSeconds": 60,
        },
    )
    AliasAdmin(bench.client, bench.waiter).create(ALIAS)
    bench.check()


def test_an_alias_that_is_there_already_is_reported_apart_and_another_conflict_in_awss_words(
    bench: Bench,
) -> None:
    bench.answer("get_function", READY)
    bench.refuse("publish_version", "ResourceConflictException", "another state")
    with pytest.raises(AwsError, match=r"PublishVersion on alias orders-worker:live.*another state"):
        AliasAdmin(bench.client, bench.waiter).create(ALIAS)
    bench.answer("get_function", READY)
    bench.answer("publish_version", {"Version": "3"})
    bench.answer("get_function", READY)
    bench.refuse("create_alias", "ResourceConflictException", "Alias already exists")
    with pytest.raises(AlreadyExists):
        AliasAdmin(bench.client, bench.waiter).create(ALIAS)
    bench.check()


def test_an_alias_whose_code_is_right_publishes_nothing(bench: Bench) -> None:
    found = Found("alias", ALIAS.name, {}, facts={"version": "3"})
    bench.answer("put_function_event_invoke_config")
    AliasAdmin(bench.client, bench.waiter).update(ALIAS, found, frozenset({"async_age"}))
    bench.answer(
        "update_alias",
        expected={
            "FunctionName": "orders-worker",
            "Name": "live",
            "FunctionVersion": "3",
            "RoutingConfig": {"AdditionalVersionWeights": {}},
        },
    )
    AliasAdmin(bench.client, bench.waiter).update(ALIAS, found, frozenset({"routing"}))
    bench.check()
