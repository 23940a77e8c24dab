"""The small results of provisioning as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fifo_cli.render.text import fields, table


def keys_table(document: Mapping[str, Any], *, width: int | None = None) -> str:
    """Write the keys: whether each one's parameter exists, and since when it is as it is."""
    if not document["keys"]:
        return "fifo.toml names no keys.\n"
    rows = [
        (
            key["name"],
            key["parameter"],
            "set" if key["exists"] else "missing",
            key["version"],
            key["modified_at"],
        )
        for key in document["keys"]
    ]
    return table(rows, headers=("KEY", "PARAMETER", "STATE", "VERSION", "MODIFIED"), right=(3,), width=width)


def zips_table(document: Mapping[str, Any], *, width: int | None = None) -> str:
    """Write the zips that were built."""
    rows = [(one["function"], one["path"], f"{one['bytes']:,}", one["sha256"]) for one in document["zips"]]
    return table(rows, headers=("FUNCTION", "PATH", "BYTES", "SHA256"), right=(2,), width=width)


def outputs_table(outputs: Mapping[str, Any], *, width: int | None = None) -> str:
    """Write where a deployed pipeline's parts are; a group of them as "queues main"."""
    pairs: list[tuple[str, object]] = []
    for name, value in outputs.items():
        if isinstance(value, Mapping):
            pairs += [(f"{name.replace('_', ' ')} {part}", one) for part, one in value.items()]
        elif isinstance(value, list):
            pairs += [(name, _schedule(one)) for one in value]
        else:
            pairs.append((name, value))
    return fields(pairs, width=width)


def moves_table(document: Mapping[str, Any]) -> str:
    """Write from which version to which the functions' live alias moves."""
    rows = [(one["name"], one["from"], one["to"]) for one in document["functions"]]
    return table(rows, headers=("FUNCTION", "FROM", "TO"), right=(1, 2))


def pause_table(document: Mapping[str, Any]) -> str:
    """Write whether each function is fed."""
    return fields([("enqueuer", document["enqueuer"]), ("worker", document["worker"])])


def stack_table(document: Mapping[str, Any]) -> str:
    """Write the state of the embedded stack."""
    if not document["running"]:
        return "The embedded stack is not running.\n"
    # Other tools need the stack's key; its file is named, the key is not shown.
    return fields(
        [
            ("endpoint", document["endpoint"]),
            ("pid", document["pid"]),
            ("key file", document["credentials"]),
            (
                "other tools",
                "set AWS_SHARED_CREDENTIALS_FILE to the key file, AWS_PROFILE=default,"
                f" AWS_ENDPOINT_URL={document['endpoint']}, AWS_DEFAULT_REGION=us-east-1",
            ),
        ]
    )


def _schedule(one: Mapping[str, Any]) -> str:
    text = "next run " + one["next_run"] if one["next_run"] else "running" if one["enabled"] else "paused"
    return f"{one['name']}, {one['expression']}, {text}"
