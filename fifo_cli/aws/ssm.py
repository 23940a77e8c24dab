"""SSM parameters: what is known of them, and writing a secret. Values are never read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.errors import calling
from fifo_cli.aws.hidden_values import call_hiding

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

# Systems Manager API Reference, ParameterStringFilter: at most 50 values.
_FILTER_VALUES_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that exists: its metadata, not its value. ``key`` encrypts it, if it is a SecureString."""

    name: str
    kind: str
    version: int
    modified_at: datetime
    key: str | None = None
    tier: str | None = None


def get_parameters(aws: Aws, names: Sequence[str]) -> dict[str, Parameter]:
    """Return those of ``names`` that exist, by name (DescribeParameters: metadata only, no decryption)."""
    return {found.name: found for batch in _batches(sorted(set(names))) for found in _describe(aws, batch)}


def put_secret(aws: Aws, name: str, value: str, *, found: Parameter | None, tags: Mapping[str, str]) -> int:
    """Write a SecureString and return its version; tag it when it is new.

    PutParameter takes no tags together with Overwrite, and an overwrite without KeyId falls back to the
    account's default key (API Reference, PutParameter): the key of the one that was ``found`` is kept.
    """
    settings: dict[str, Any] = {"Name": name, "Value": value, "Type": "SecureString"}
    if found is None:
        settings["Tags"] = [{"Key": key, "Value": text} for key, text in tags.items()]
    else:
        settings["Overwrite"] = True
        settings |= {"KeyId": found.key} if found.key else {}
        settings |= {"Tier": found.tier} if found.tier else {}
    written = call_hiding(
        value, f"parameter {name}", lambda: aws.client("ssm").put_parameter(**settings)["Version"]
    )
    return int(written)


def _describe(aws: Aws, names: Sequence[str]) -> Iterator[Parameter]:
    filters: Any = [{"Key": "Name", "Option": "Equals", "Values": list(names)}]
    with calling(f"parameters {', '.join(names)}"):
        for page in aws.client("ssm").get_paginator("describe_parameters").paginate(ParameterFilters=filters):
            for found in page["Parameters"]:
                yield Parameter(
                    name=found["Name"],
                    kind=found["Type"],
                    version=found["Version"],
                    modified_at=found["LastModifiedDate"],
                    key=found.get("KeyId"),
                    tier=found.get("Tier"),
                )


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _FILTER_VALUES_MAX):
        yield names[start : start + _FILTER_VALUES_MAX]
