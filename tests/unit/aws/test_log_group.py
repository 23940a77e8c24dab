"""Log groups as resources."""

from __future__ import annotations

import pytest

from fifo_cli.aws.resources.log_group import LogGroupAdmin
from fifo_cli.model.resources import Resource
from tests.unit.aws.resource_life import TAGS, client, live

pytestmark = pytest.mark.usefixtures("moto")


def test_a_log_group_is_found_by_its_whole_name() -> None:
    logs = client("logs")
    logs.create_log_group(logGroupName="/aws/lambda/orders-worker-2")
    wanted = Resource("log-group", "/aws/lambda/orders-worker", {"retention_days": 30}, TAGS)
    live(LogGroupAdmin(logs), wanted, Resource("log-group", wanted.name, {"retention_days": 7}, TAGS))
