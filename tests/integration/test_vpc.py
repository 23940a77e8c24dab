"""Functions in a VPC: destroy keeps their roles until Lambda has deleted its network interfaces."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.plan import plan
from tests.cli_harness import Project, Stack, wait_until
from tests.integration.fork_server import ForkServer
from tests.integration.proxy import Proxy
from tests.integration.test_deploy import settings_of
from tests.integration.test_killed import KEYS, made_of

Make = Callable[..., Project]
INSIDE = {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}


def asks_ec2(proxy: Proxy) -> int:
    return sum(b"DescribeNetworkInterfaces" in one.body for one in proxy.requests)


def interface(clients: Aws, function: str) -> str:
    """Make an interface as Lambda does."""
    made = clients.client("ec2").create_network_interface(
        SubnetId="subnet-1", Description=f"AWS Lambda VPC ENI-{function}-{uuid.uuid4()}"
    )
    return str(made["NetworkInterface"]["NetworkInterfaceId"])


def roles(clients: Aws, made: Project) -> list[str]:
    listed = clients.client("iam").list_roles()["Roles"]
    return sorted(one["RoleName"] for one in listed if one["RoleName"].startswith(f"{made.name}-"))


@pytest.fixture
def destroy(fork_server: ForkServer, proxy: Proxy) -> Callable[[Project], Any]:
    return lambda made: fork_server.start(
        made.folder, ["destroy", "--yes", "--endpoint-url", proxy.endpoint], KEYS
    )


def test_roles_stay_until_lambda_has_deleted_its_network_interfaces(
    project: Make, clients: Aws, stack: Stack, proxy: Proxy, destroy: Callable[[Project], Any]
) -> None:
    made = project(functions=INSIDE)
    deploy(clients, load(made.config))
    assert plan(clients, load(made.config)).changes == ()
    worker = made.names.function("worker")
    found, other = interface(clients, worker), interface(clients, f"{worker}-2")
    for ending in (signal.SIGKILL, signal.SIGINT):
        proxy.clear()
        running = destroy(made)
        wait_until(lambda: asks_ec2(proxy) > 3, timeout=60)
        assert roles(clients, made)[-1] == worker
        running.send(ending)
        ended = running.wait()
        assert ended.code in (-9, 130)
    assert f"waiting for Lambda to delete {found}, which takes up to 45 minutes" in ended.err
    assert f"role {worker} is deleted last" in ended.err
    assert " changes were made" in ended.err
    # All else is gone already, but for the operations log, which is last.
    assert roles(clients, made) == [worker]
    left = (":role/", ":/fifo-cli/")
    assert [arn for arn in made_of(stack, made.name) if not any(part in arn for part in left)] == []
    proxy.clear()
    running = destroy(made)
    wait_until(lambda: asks_ec2(proxy) > 1, timeout=60)
    clients.client("ec2").delete_network_interface(NetworkInterfaceId=found)
    running.wait().ok()
    assert made_of(stack, made.name) == []
    clients.client("ec2").delete_network_interface(NetworkInterfaceId=other)


def test_out_of_the_vpc_again_the_roles_may_still_delete_network_interfaces_and_destroy_waits(
    project: Make, clients: Aws, proxy: Proxy, destroy: Callable[[Project], Any]
) -> None:
    made = project(functions=INSIDE)
    deploy(clients, load(made.config))
    made.configure(settings_of(made, functions={}))
    deploy(clients, load(made.config))
    assert plan(clients, load(made.config)).changes == ()
    worker = made.names.function("worker")
    network = clients.client("lambda").get_function_configuration(FunctionName=worker).get("VpcConfig", {})
    assert not network.get("SubnetIds")
    policy = clients.client("iam").get_role_policy(RoleName=worker, PolicyName="fifo-cli")["PolicyDocument"]
    assert "ec2:DeleteNetworkInterface" in str(policy)
    found = interface(clients, worker)
    running = destroy(made)
    wait_until(lambda: asks_ec2(proxy) > 1, timeout=60)
    assert worker in roles(clients, made)
    clients.client("ec2").delete_network_interface(NetworkInterfaceId=found)
    running.wait().ok()
    assert roles(clients, made) == []


def test_without_a_vpc_nobody_asks_for_network_interfaces(
    project: Make, clients: Aws, stack: Stack, proxy: Proxy, destroy: Callable[[Project], Any]
) -> None:
    made = project()
    deploy(clients, load(made.config))
    found = interface(clients, made.names.function("worker"))
    ended = destroy(made).wait().ok()
    assert asks_ec2(proxy) == 0
    assert "network interface" not in ended.err
    assert made_of(stack, made.name) == []
    clients.client("ec2").delete_network_interface(NetworkInterfaceId=found)
