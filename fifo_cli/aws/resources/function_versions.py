"""The published versions of a function, and which of them its ``live`` alias points to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.errors import MISSING, calling, unless_answered
from fifo_cli.aws.resources.function import version_properties
from fifo_cli.errors import NotDeployedError
from fifo_cli.invocation import command_line
from fifo_cli.model.names import LIVE_ALIAS
from fifo_cli.model.worker_trigger import TAKES_BATCHES

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import FunctionConfigurationTypeDef

UNPUBLISHED: Final = "$LATEST"
# It is gone already, or another alias points to it.
_NOT_DELETED: Final = MISSING | {"ResourceConflictException"}
# What differs between the two functions of one deploy.
_OWN: Final = frozenset({"handler", "role", "logging", "environment"})


@dataclass(frozen=True, slots=True)
class Version:
    """One published version; ``content`` is what it has in common with the other function's of one deploy.

    ``takes_batches`` if the queue may start it.
    """

    number: int
    content: Mapping[str, Any]
    takes_batches: bool


@dataclass(frozen=True, slots=True)
class VersionAdmin:
    """Versions by the function's name."""

    client: LambdaClient

    def list(self, function: str) -> tuple[Version, ...]:
        """Return the published versions, the oldest first; raises NotDeployedError without a function."""
        with calling(f"function {function}"):
            pages = self.client.get_paginator("list_versions_by_function").paginate(FunctionName=function)
            found = [one for page in pages for one in page["Versions"] if one["Version"] != UNPUBLISHED]
        versions = (
            Version(int(one["Version"]), _content(one), one.get("Description") == TAKES_BATCHES)
            for one in found
        )
        return tuple(sorted(versions, key=lambda one: one.number))

    def live(self, function: str) -> int:
        """Return the version that ``live`` points to; raises NotDeployedError without that alias."""
        with calling(f"alias {function}:{LIVE_ALIAS}"):
            version = self.client.get_alias(FunctionName=function, Name=LIVE_ALIAS)["FunctionVersion"]
        if not version.isdigit():
            raise NotDeployedError(
                f"alias {function}:{LIVE_ALIAS} points to {version}, which is not a version",
                hint=f"put it right with {command_line('deploy')}",
            )
        return int(version)

    def point(self, function: str, version: int | str) -> None:
        """Point ``live`` to a version, all of it."""
        with calling(f"alias {function}:{LIVE_ALIAS}"):
            self.client.update_alias(
                FunctionName=function,
                Name=LIVE_ALIAS,
                FunctionVersion=str(version),
                RoutingConfig={"AdditionalVersionWeights": {}},
            )

    def delete(self, function: str, number: int) -> None:
        """Delete a version, unless it is gone or another alias points to it."""
        with calling(f"version {number} of {function}"):
            delete = partial(self.client.delete_function, FunctionName=function, Qualifier=str(number))
            unless_answered(_NOT_DELETED, delete)


def _content(configuration: FunctionConfigurationTypeDef) -> dict[str, Any]:
    return {name: value for name, value in version_properties(configuration).items() if name not in _OWN}
