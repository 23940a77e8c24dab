"""The small results of provisioning as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fifo_cli.model.times import iso
from fifo_cli.render.text import fields, table

if TYPE_CHECKING:
    from fifo_cli.local.stack import StackStatus
    from fifo_cli.model.planning import DeployedMapping, DeployedSchedule, Outputs
    from fifo_cli.operations.deploy.api_keys import Keys
    from fifo_cli.operations.deploy.package import PackageResult
    from fifo_cli.operations.deploy.pause import PauseState
    from fifo_cli.operations.deploy.rollback import RollbackResult


def keys_table(result: Keys, *, width: int | None = None) -> str:
    """Write the keys: whether each one's parameter or secret exists, and since when it is as it is."""
    if not result.keys:
        return "fifo.toml names no keys.\n"
    rows = [
        (
            one.name,
            one.parameter,
            "set" if one.exists else one.unusable,
            one.version,
            one.modified_at and iso(one.modified_at),
        )
        for one in result.keys
    ]
    return table(rows, headers=("KEY", "PARAMETER", "STATE", "VERSION", "MODIFIED"), right=(3,), width=width)


def zips_table(result: PackageResult, *, width: int | None = None) -> str:
    rows = [(one.function, one.path, f"{one.size:,}", one.sha256) for one in result.zips]
    return table(rows, headers=("FUNCTION", "PATH", "BYTES", "SHA256"), right=(2,), width=width)


def outputs_table(outputs: Outputs, *, width: int | None = None) -> str:
    """Write where a deployed pipeline's parts are."""

    def each(name: str, values: Mapping[str, str | None]) -> list[tuple[str, object]]:
        return [(f"{name} {part}", value) for part, value in values.items()]

    return fields(
        [
            ("account", outputs.account),
            ("region", outputs.region),
            *each("queues", outputs.queues),
            *each("functions", outputs.functions),
            *each("versions", outputs.versions),
            ("table", outputs.table),
            ("stream", outputs.stream),
            *each("log groups", outputs.log_groups),
            *(("schedules", _schedule(one)) for one in outputs.schedules),
            *([("worker", _mapping(outputs.mapping))] if outputs.mapping else []),
        ],
        width=width,
    )


def moves_table(result: RollbackResult) -> str:
    """Write from which version to which the functions' live alias moves."""
    rows = [(one.name, one.source, one.target) for one in result.functions]
    return table(rows, headers=("FUNCTION", "FROM", "TO"), right=(1, 2))


def pause_table(state: PauseState) -> str:
    return fields([("enqueuer", state.enqueuer), ("worker", state.worker)])


def stack_table(status: StackStatus) -> str:
    if not status.running:
        return "The embedded stack is not running.\n"
    # Other tools need the stack's key; its file is named, the key is not shown.
    return fields(
        [
            ("endpoint", status.endpoint),
            ("pid", status.pid),
            ("key file", status.credentials),
            (
                "other tools",
                "set AWS_SHARED_CREDENTIALS_FILE to the key file, AWS_PROFILE=default,"
                f" AWS_ENDPOINT_URL={status.endpoint}, AWS_DEFAULT_REGION=us-east-1",
            ),
        ]
    )


def _mapping(one: DeployedMapping) -> str:
    state = "running" if one.enabled else "paused"
    return f"started by {one.queue}, {one.max_functions} functions at a time at most, {state}"


def _schedule(one: DeployedSchedule) -> str:
    text = f"next run {iso(one.next_run)}" if one.next_run else "running" if one.enabled else "paused"
    return f"{one.name}, {one.expression}, {text}"
