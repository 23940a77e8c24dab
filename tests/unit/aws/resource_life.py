"""What the tests of resource gateways share: clients of moto, and the life of a resource."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fifo_cli.aws.resources.gateway import AlreadyExists
from fifo_cli.model.names import PIPELINE_TAG
from fifo_cli.model.planning import differences
from fifo_cli.model.resources import Resource

TAGS = {PIPELINE_TAG: "orders", "team": "payments"}


def client(service: str) -> Any:
    """Return a client with credentials of nobody."""
    make: Any = boto3.client
    return make(service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


def stubbed(service: str) -> tuple[Any, Stubber]:
    """Return a client that answers what it is reported to, and what shows it."""
    made = client(service)
    stub = Stubber(made)
    stub.activate()
    return made, stub


def live(gate: Any, wanted: Resource, changed: Resource) -> None:
    """Create, read, find there already, update, read, delete twice."""
    assert gate.read(wanted.name) is None
    gate.create(wanted)
    found = gate.read(wanted.name)
    assert differences(wanted, found) == ()
    diff = differences(changed, found)
    assert diff
    gate.update(changed, found, frozenset(one.path.partition(".")[0] for one in diff))
    again = gate.read(wanted.name)
    assert differences(changed, again) == ()
    with pytest.raises(AlreadyExists):
        gate.create(wanted)
    gate.delete(again)
    assert gate.read(wanted.name) is None
    gate.delete(again)
