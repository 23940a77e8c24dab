"""The event source mapping as a resource."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.stub import ANY

from fifo_cli.aws.resources.event_source_mapping import MappingAdmin
from fifo_cli.model.planning import differences
from fifo_cli.model.resources import Found, Resource
from tests.unit.aws.bench import Bench

U0, U1, U2, U9 = (f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}" for digit in "0129")


class Table:
    """A table with a stream, as far as a mapping looks."""

    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/items/stream/2026"

    def describe_table(self, **_: Any) -> dict[str, Any]:
        return {"Table": {"StreamSpecification": {"StreamEnabled": True}, "LatestStreamArn": self.arn}}


MAPPING = Resource(
    "event-source-mapping",
    "orders-enqueuer",
    {
        "table": "items",
        "function": "arn:aws:lambda:eu-west-1:123456789012:function:orders-enqueuer:live",
        "filters": [{"eventName": ["INSERT"]}],
        "batch_size": 100,
        "batching_window": 0,
        "response_types": ["ReportBatchItemFailures"],
        "bisect": True,
        "retries": 10_000,
        "record_age": 75_600,
        "parallelization": 1,
        "on_failure": "arn:aws:sqs:eu-west-1:123456789012:orders-stream-failures",
        "others": [],
    },
    {"fifo-cli:pipeline": "orders"},
)


def mappings(bench: Bench) -> MappingAdmin:
    table: Any = Table()
    return MappingAdmin(bench.client, table, "items", bench.waiter)


def test_a_mapping_waits_for_its_roles_permissions_and_until_it_runs(bench: Bench) -> None:
    said = (
        "Cannot access stream arn. Please ensure the role can perform the GetRecords, GetShardIterator,"
        " DescribeStream, and ListStreams Actions on your stream in IAM."
    )
    bench.refuse("create_event_source_mapping", "InvalidParameterValueException", said)
    # From the beginning: LATEST may skip records, and AT_TIMESTAMP is refused for DynamoDB.
    asked = {
        "EventSourceArn": Table.arn,
        "StartingPosition": "TRIM_HORIZON",
        "Enabled": True,
        "Tags": ANY,
        "FunctionName": MAPPING.properties["function"],
        "FilterCriteria": {"Filters": [{"Pattern": '{"eventName":["INSERT"]}'}]},
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": 10_000,
        "MaximumRecordAgeInSeconds": 75_600,
        "ParallelizationFactor": 1,
        "DestinationConfig": {"OnFailure": {"Destination": MAPPING.properties["on_failure"]}},
    }
    bench.answer("create_event_source_mapping", {"UUID": U1, "State": "Creating"}, asked)
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Creating"})
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Enabling"})
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Enabled"})
    alone = [listed(U1, Table.arn, "orders-enqueuer:live"), listed(U0, Table.arn, "another-function:live")]
    bench.answer("list_event_source_mappings", {"EventSourceMappings": alone}, {"EventSourceArn": Table.arn})
    mappings(bench).create(MAPPING)
    bench.check("waiting for its role's permissions to be in effect", "creating", "enabling")


def test_of_two_mappings_that_two_deploys_made_at_once_each_leaves_the_same(bench: Bench) -> None:
    live = "orders-enqueuer:live"
    for ours, both in ((U1, (U2, U1)), (U2, (U1, U2))):
        bench.answer("create_event_source_mapping", {"UUID": ours, "State": "Enabled"})
        bench.answer("get_event_source_mapping", {"UUID": ours, "State": "Enabled"})
        mappings_seen = [listed(one, Table.arn, live) for one in both]
        bench.answer("list_event_source_mappings", {"EventSourceMappings": mappings_seen})
        bench.answer("delete_event_source_mapping", {"UUID": U2}, {"UUID": U2})
        bench.refuse("get_event_source_mapping", "ResourceNotFoundException", "gone")
        mappings(bench).create(MAPPING)
    bench.check()


def test_a_mapping_that_is_deleted_while_it_is_read_is_none(bench: Bench) -> None:
    found = {"EventSourceMappings": [listed(U1, Table.arn, "orders-enqueuer:live")]}
    for _ in range(3):
        bench.answer("list_event_source_mappings", found)
    bench.refuse("list_tags", "ResourceNotFoundException", "gone")
    assert mappings(bench).read("orders-enqueuer") is None
    bench.check()


@pytest.mark.parametrize(
    ("states", "enabled"),
    [
        (["Enabled"], True),
        (["Enabling"], True),
        (["Creating"], True),
        (["Disabling"], False),
        (["Disabled"], False),
        (["Updating", "Enabled"], True),
        (["Updating", "Updating", "Disabled"], False),  # it rests, and its settings are changed
        (["Updating", "Disabling", "Disabled"], False),
    ],
)
def test_a_mapping_that_is_updated_runs_or_rests_as_it_shows_afterwards(
    bench: Bench, states: list[str], enabled: bool
) -> None:
    found = {"EventSourceMappings": [listed(U1, Table.arn, "orders-enqueuer:live", states[0])]}
    for _ in range(3):
        bench.answer("list_event_source_mappings", found)
    for state in states[1:] + states[-1:] * (len(states) > 1):
        bench.answer("get_event_source_mapping", {"UUID": U1, "State": state})
    bench.answer("list_tags", {"Tags": {}})
    read = mappings(bench).read("orders-enqueuer")
    assert read is not None
    assert read.facts["enabled"] is enabled
    bench.stub.assert_no_pending_responses()


def test_a_busy_mapping_is_updated_when_it_has_settled(bench: Bench) -> None:
    found = Found(
        "event-source-mapping",
        "orders-enqueuer",
        {"others": []},
        facts={"uuid": U1, "arn": _arn(U1), "enabled": True, "others": []},
    )
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Updating"})
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Disabled"})
    bench.refuse("update_event_source_mapping", "ResourceInUseException", "in use")
    bench.answer("update_event_source_mapping", {"UUID": U1, "State": "Updating"})
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Disabled"})
    bench.answer("tag_resource", expected={"Resource": _arn(U1), "Tags": ANY})
    mappings(bench).update(MAPPING, found, frozenset({"bisect"}))
    bench.check("updating", "busy with another update")


def _arn(uuid: str) -> str:
    return f"arn:aws:lambda:eu-west-1:123456789012:event-source-mapping:{uuid}"


def listed(uuid: str, stream: str, function: str, state: str = "Enabled") -> dict[str, Any]:
    arn = f"arn:aws:lambda:eu-west-1:123456789012:function:{function}"
    return {
        "UUID": uuid,
        "EventSourceArn": stream,
        "FunctionArn": arn,
        "State": state,
        "EventSourceMappingArn": _arn(uuid),
        "FilterCriteria": {"Filters": [{"Pattern": '{"eventName":["REMOVE","INSERT"]}'}]},
    }


def test_the_mapping_of_the_present_stream_is_read_and_further_ones_are_named(bench: Bench) -> None:
    live = "orders-enqueuer:live"
    bench.answer(
        "list_event_source_mappings", {"EventSourceMappings": [listed(U0, "arn:old", "orders-enqueuer")]}
    )
    bench.answer(
        "list_event_source_mappings",
        {"EventSourceMappings": [listed(U9, Table.arn, live), listed(U1, Table.arn, live, "Deleting")]},
    )
    others = [listed(U9, Table.arn, live), listed(U2, Table.arn, "another-function")]
    bench.answer("list_event_source_mappings", {"EventSourceMappings": others}, {"EventSourceArn": Table.arn})
    bench.answer("list_tags", {"Tags": {"a": "b"}}, {"Resource": _arn(U9)})
    found = mappings(bench).read("orders-enqueuer")
    assert found is not None
    assert (found.facts["uuid"], found.facts["others"], found.tags) == (U9, [U0], {"a": "b"})
    [other] = found.properties["others"]
    assert other.endswith(":function:orders-enqueuer")
    assert (found.properties["table"], found.properties["filters"]) == (
        "items",
        [{"eventName": ["INSERT", "REMOVE"]}],
    )
    assert (found.properties["retries"], found.properties["record_age"]) == (-1, -1)


def test_a_mapping_of_another_stream_is_read_with_that_streams_arn(bench: Bench) -> None:
    bench.answer(
        "list_event_source_mappings",
        {"EventSourceMappings": [listed(U0, "arn:old", "orders-enqueuer:live")]},
    )
    bench.answer("list_event_source_mappings", {"EventSourceMappings": []})
    bench.answer("list_event_source_mappings", {"EventSourceMappings": []})
    bench.answer("list_tags", {"Tags": {}})
    found = mappings(bench).read("orders-enqueuer")
    assert found is not None
    assert found.properties["table"] == "arn:old"


def test_a_function_that_does_not_exist_has_no_mapping(bench: Bench) -> None:
    for _ in range(2):
        bench.refuse("list_event_source_mappings", "ResourceNotFoundException", "Function not found")
    bench.answer("list_event_source_mappings", {"EventSourceMappings": []})
    assert mappings(bench).read("orders-enqueuer") is None


MAIN = "arn:aws:sqs:eu-west-1:123456789012:orders.fifo"
POLLING = Resource(
    "event-source-mapping",
    "orders-worker",
    {
        "queue": MAIN,
        "function": "arn:aws:lambda:eu-west-1:123456789012:function:orders-worker:live",
        "filters": [],
        "batch_size": 10,
        "response_types": ["ReportBatchItemFailures"],
        "max_functions": 7,
        "others": [],
    },
    {"fifo-cli:pipeline": "orders"},
)
SETTINGS = {
    "FunctionName": POLLING.properties["function"],
    "FilterCriteria": {},
    "BatchSize": 10,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "ScalingConfig": {"MaximumConcurrency": 7},
}


def both(bench: Bench) -> MappingAdmin:
    """The mappings of a pipeline whose worker reads main."""
    table: Any = Table()
    functions = ("orders-enqueuer", "orders-worker")
    return MappingAdmin(bench.client, table, "items", bench.waiter, functions, "orders-worker", lambda: MAIN)


def polling(uuid: str, function: str = "orders-worker:live", source: str = MAIN) -> dict[str, Any]:
    found = listed(uuid, source, function)
    del found["FilterCriteria"]
    return {
        **found,
        "BatchSize": 10,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 7},
    }


def test_a_mapping_of_main_has_no_filter_and_waits_until_the_visibility_timeout_is_known(
    bench: Bench,
) -> None:
    said = "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds"
    bench.refuse("create_event_source_mapping", "InvalidParameterValueException", said)
    asked = {"EventSourceArn": MAIN, "Enabled": False, "Tags": ANY, **SETTINGS}
    bench.answer("create_event_source_mapping", {"UUID": U1, "State": "Creating"}, asked)
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Disabled"})
    mine = {"EventSourceMappings": [polling(U1)]}
    bench.answer("list_event_source_mappings", mine, {"EventSourceArn": MAIN})
    both(bench).create(replace(POLLING, enabled=False))
    bench.check("waiting for the visibility timeout of its queue to be known to Lambda")


def test_how_many_functions_it_starts_and_a_filter_by_hand_are_put_right_in_place(bench: Bench) -> None:
    theirs = {
        **polling(U1),
        "ScalingConfig": {"MaximumConcurrency": 2},
        "FilterCriteria": {"Filters": [{"Pattern": '{"body":[1]}'}]},
    }
    for _ in range(3):
        bench.answer("list_event_source_mappings", {"EventSourceMappings": [theirs]})
    bench.answer("list_tags", {"Tags": dict(POLLING.tags)})
    found = both(bench).read("orders-worker")
    assert found is not None
    assert {one.path: (one.old, one.new) for one in differences(POLLING, found)} == {
        "max_functions": (2, 7),
        "filters": ([{"body": [1]}], []),
    }
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Enabled"})
    bench.answer("update_event_source_mapping", {"UUID": U1}, {"UUID": U1, **SETTINGS})
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Enabled"})
    bench.answer("tag_resource")
    both(bench).update(POLLING, found, frozenset({"max_functions", "filters"}))
    bench.check()


def test_each_function_has_the_mapping_of_its_source_and_others_of_main_are_named(bench: Bench) -> None:
    """One of the stream that somebody pointed at the worker is the enqueuer's, as before."""
    strange = listed(U2, Table.arn, "orders-worker:live")
    mine, theirs = polling(U1), polling(U9, "billing:live")
    for _ in range(2):
        bench.answer("list_event_source_mappings", {"EventSourceMappings": [strange, mine]})
    bench.answer("list_event_source_mappings", {"EventSourceMappings": [mine, theirs]})
    bench.answer("list_tags", {"Tags": {}})
    found = both(bench).read("orders-worker")
    assert found is not None
    assert (found.facts["uuid"], found.properties["queue"], found.properties["others"]) == (U1, MAIN, [])
    for _ in range(5):
        bench.answer("list_event_source_mappings", {"EventSourceMappings": [strange, mine]})
    bench.answer("list_tags", {"Tags": {}})
    fed = both(bench).read("orders-enqueuer")
    assert fed is not None
    assert (fed.facts["uuid"], fed.properties["others"]) == (U2, [])
    bench.answer("list_event_source_mappings", {"EventSourceMappings": [mine, theirs]})
    assert both(bench).others_of_main() == [theirs["FunctionArn"]]
    bench.check()


def test_a_disabled_mapping_that_must_run_is_enabled(bench: Bench) -> None:
    found = Found("event-source-mapping", "orders-worker", {}, facts={"uuid": U1, "enabled": False})
    for _ in range(3):
        bench.answer("list_event_source_mappings", {"EventSourceMappings": [polling(U1)]})
    bench.answer("list_tags", {"Tags": {}})
    bench.answer("get_event_source_mapping", {"UUID": U1, "State": "Disabled"})
    bench.answer("update_event_source_mapping", {"UUID": U1}, {"UUID": U1, "Enabled": True})
    both(bench).update(POLLING, found, frozenset({"enabled"}))
    bench.check()
