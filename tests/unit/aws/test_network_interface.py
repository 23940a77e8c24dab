"""Whose network interfaces a role is kept for, and how long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.resources.gateway import TimedOut, Waiter
from fifo_cli.aws.resources.network_interface import DELETED_WITHIN_SECONDS, NetworkInterfaces
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Waiting
from tests.fakes import Clock

UUID = "1234abcd-12ab-34cd-56ef-1234567890ab"
EXPECTED = {"Filters": [{"Name": "description", "Values": ["AWS Lambda VPC ENI*"]}]}


def interface(number: int, description: str, requester: str = "AROAEXAMPLE:deployer") -> dict[str, Any]:
    named = f"eni-{number:017}"
    return {"NetworkInterfaceId": named, "Description": description, "RequesterId": requester}


OURS = interface(1, f"AWS Lambda VPC ENI-orders-worker-{UUID}")
OLD_FORM = interface(2, "AWS Lambda VPC ENI: 0f1e", "AROAEXAMPLE:orders-worker")
OTHERS = [
    interface(3, f"AWS Lambda VPC ENI-orders-worker-2-{UUID}"),
    interface(4, f"AWS Lambda VPC ENI-my-orders-worker-{UUID}"),
    interface(5, f"AWS Lambda VPC ENI-orders-enqueuer-{UUID}", "AROAEXAMPLE:orders-enqueuer"),
    interface(6, "AWS Lambda VPC ENI-orders-worker-without"),
    interface(7, "my own", "AROAEXAMPLE:orders-worker"),
]


class Ec2:
    """A stubbed client, a clock, and what was heard."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.stub = Stubber(client)
        self.stub.activate()
        self.clock = Clock()
        self.heard: list[Event] = []

    def answers(self, *pages: list[dict[str, Any]]) -> None:
        for page in pages:
            self.stub.add_response("describe_network_interfaces", {"NetworkInterfaces": page}, EXPECTED)

    def wait(self) -> None:
        waiter = Waiter(self.heard.append, self.clock.sleep, self.clock)
        NetworkInterfaces(lambda: self.client, waiter).wait_deleted("orders-worker")


@pytest.fixture(scope="module")
def client() -> Any:
    return Aws(AwsEndpoint(local=True)).client("ec2")


@pytest.fixture
def ec2(client: Any) -> Iterator[Ec2]:
    made = Ec2(client)
    yield made
    made.stub.deactivate()


@pytest.mark.parametrize("found", [[], OTHERS], ids=["none", "others only"])
def test_where_there_is_none_of_the_function_nothing_is_waited_for(ec2: Ec2, found: Any) -> None:
    ec2.answers(found)
    ec2.wait()
    assert ec2.heard == []


def test_each_of_the_function_is_waited_for_and_named(ec2: Ec2) -> None:
    ec2.answers([OURS, *OTHERS, OLD_FORM], [OLD_FORM, *OTHERS], OTHERS)
    ec2.wait()
    ec2.stub.assert_no_pending_responses()
    both, last = (f"eni-{1:017}, eni-{2:017}", f"eni-{2:017}")
    assert ec2.heard == [
        Waiting("role orders-worker", f"waiting for Lambda to delete {named}, which takes up to 45 minutes")
        for named in (both, last)
    ]


def test_after_45_minutes_it_ends_and_says_what_may_hold_the_interface(ec2: Ec2) -> None:
    began = ec2.clock()
    ec2.answers(*([OURS] for _ in range(600)))
    with pytest.raises(
        TimedOut, match="role orders-worker: still waiting for Lambda to delete eni-"
    ) as ended:
        ec2.wait()
    assert "another function with the same subnets" in ended.value.hint
    assert "run `fifo-cli destroy` again" in ended.value.hint
    assert DELETED_WITHIN_SECONDS - 10 < ec2.clock() - began <= DELETED_WITHIN_SECONDS


def test_who_may_not_look_sees_which_permission_it_takes(ec2: Ec2) -> None:
    ec2.stub.add_client_error("describe_network_interfaces", "UnauthorizedOperation", "not authorized")
    with pytest.raises(
        AwsError, match="DescribeNetworkInterfaces on the network interfaces of orders-worker"
    ):
        ec2.wait()
