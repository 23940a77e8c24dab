"""The small tables of provisioning."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fifo_cli.local.stack import StackStatus
from fifo_cli.model.planning import DeployedMapping, DeployedSchedule, Outputs
from fifo_cli.operations.deploy.api_keys import Key, Keys
from fifo_cli.operations.deploy.package import PackageResult, Packed
from fifo_cli.render.deploy_tables import keys_table, outputs_table, stack_table, zips_table


def test_keys_show_what_is_set_and_what_is_missing() -> None:
    found = Key("api_key", "/o/k", exists=True, version=3, modified_at=datetime(2026, 1, 2, tzinfo=UTC))

    assert keys_table(Keys((found, Key("other", "/o/l")))) == (
        "KEY      PARAMETER  STATE    VERSION  MODIFIED\n"
        "api_key  /o/k       set            3  2026-01-02T00:00:00.000Z\n"
        "other    /o/l       missing        -  -\n"
    )
    assert keys_table(Keys(())) == "fifo.toml names no keys.\n"


def test_zips_show_size_and_hash() -> None:
    result = PackageResult((Packed("o-worker", Path("b/w.zip"), 12345, "ab"),))

    assert zips_table(result) == "FUNCTION  PATH      BYTES  SHA256\no-worker  b/w.zip  12,345  ab\n"


def test_outputs_are_a_line_each() -> None:
    outputs = Outputs(
        account="1",
        region="r",
        queues={"main": "u", "dlq": None},
        functions={"worker": "arn"},
        versions={"worker": "7"},
        table="t",
        stream=None,
        log_groups={"worker": "/l"},
        schedules=(
            DeployedSchedule("o-1", "rate(5 minutes)", True, None),
            DeployedSchedule("o-2", "rate(1 day)", False, None),
            DeployedSchedule("o-3", "cron(0 1 * * ? *)", True, datetime(2026, 1, 2, 1, tzinfo=UTC)),
        ),
    )

    assert outputs_table(outputs) == (
        "account:            1\nregion:             r\n"
        "queues main:        u\nqueues dlq:         -\n"
        "functions worker:   arn\nversions worker:    7\n"
        "table:              t\nstream:             -\n"
        "log groups worker:  /l\n"
        "schedules:          o-1, rate(5 minutes), running\n"
        "schedules:          o-2, rate(1 day), paused\n"
        "schedules:          o-3, cron(0 1 * * ? *), next run 2026-01-02T01:00:00.000Z\n"
    )


def test_the_stack_shows_where_it_listens_or_that_it_does_not() -> None:
    running = StackStatus("http://127.0.0.1:1", 2, running=True, credentials="/a b/credentials")

    assert stack_table(running) == (
        "endpoint:     http://127.0.0.1:1\npid:          2\n"
        "key file:     /a b/credentials\n"
        "other tools:  set AWS_SHARED_CREDENTIALS_FILE to the key file, AWS_PROFILE=default,"
        " AWS_ENDPOINT_URL=http://127.0.0.1:1, AWS_DEFAULT_REGION=us-east-1\n"
    )
    assert stack_table(StackStatus()) == "The embedded stack is not running.\n"


def test_a_worker_that_the_queue_starts_is_shown_with_its_mapping() -> None:
    outputs = Outputs(
        account="1",
        region="r",
        queues={},
        functions={},
        versions={},
        table="t",
        stream=None,
        log_groups={},
        schedules=(),
        mapping=DeployedMapping("o.fifo", True, 7),
    )
    assert outputs_table(outputs).endswith(
        "worker:   started by o.fifo, 7 functions at a time at most, running\n"
    )
    assert outputs.document()["mapping"] == {"queue": "o.fifo", "enabled": True, "max_functions": 7}
    assert "mapping" not in replace(outputs, mapping=None).document()
