"""The ``live`` alias of a function as a resource: the version it points to, and how that is invoked."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from fifo_cli.aws.errors import unless_missing
from fifo_cli.aws.resources.function import READY_LIMIT, passing_refusal, version_properties, wait_ready
from fifo_cli.aws.resources.function_versions import UNPUBLISHED, VersionAdmin
from fifo_cli.aws.resources.gateway import Gateway, Waiter
from fifo_cli.errors import FifoError
from fifo_cli.events import Warned
from fifo_cli.model.resources import Found, Resource
from fifo_cli.model.worker_trigger import TAKES_BATCHES

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

VERSIONS_KEPT: Final = 10
_ASYNC: Final = frozenset({"async_retries", "async_age", "async_destinations"})
# All other properties are those of the version that it points to.
_OWN: Final = _ASYNC | {"routing"}


@dataclass(frozen=True, slots=True)
class AliasAdmin(Gateway):
    """Aliases by ``function:alias``."""

    client: LambdaClient
    waiter: Waiter = field(default_factory=Waiter)
    title: ClassVar[str] = "alias"
    exists_codes: ClassVar[frozenset[str]] = frozenset({"ResourceConflictException"})

    def _read(self, name: str) -> Found:
        """Return what an alias points to; facts are its ARN, its version, and if that takes batches."""
        function, _, alias = name.partition(":")
        pointer = self.client.get_alias(FunctionName=function, Name=alias)
        configuration = self.client.get_function(FunctionName=function, Qualifier=alias)["Configuration"]
        properties = {
            **version_properties(configuration),
            "published": pointer["FunctionVersion"] != UNPUBLISHED,
            "routing": dict(pointer.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})),
            **self._async(function, alias),
        }
        facts = {
            "arn": pointer["AliasArn"],
            "version": pointer["FunctionVersion"],
            "takes_batches": configuration.get("Description") == TAKES_BATCHES,
        }
        return Found("alias", name, properties, facts=facts)

    def _create(self, wanted: Resource) -> None:
        """Publish the function as it is and create the alias on that version."""
        function, _, alias = wanted.name.partition(":")
        version = self._publish(function, wanted.properties["code_sha256"])
        self.client.create_alias(FunctionName=function, Name=alias, FunctionVersion=version)
        self._put_async(function, alias, wanted)

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Move the alias to a new version if what it points to differs; that alone publishes."""
        function, _, alias = wanted.name.partition(":")
        versions, old = VersionAdmin(self.client), found.facts["version"]
        if changed - _OWN:
            version = self._publish(function, wanted.properties["code_sha256"])
            versions.point(function, version)
            self._remove_old(function, {version, old})
        elif "routing" in changed:
            versions.point(function, old)
        if changed & _ASYNC:
            self._put_async(function, alias, wanted)

    def _delete(self, found: Found) -> None:
        """Delete an alias; its versions stay."""
        function, _, alias = found.name.partition(":")
        self.client.delete_alias(FunctionName=function, Name=alias)

    def _publish(self, function: str, code: str) -> str:
        """Return the number of a version of the function as it is; Lambda makes none if nothing changed.

        CodeSha256 makes Lambda refuse if somebody else has uploaded other code meanwhile.
        """
        wait_ready(self.client, self.waiter, function)
        publish = partial(
            self.client.publish_version, FunctionName=function, CodeSha256=code, Description=TAKES_BATCHES
        )
        made = self.waiter.accepted(publish, passing_refusal, name=function, limit=READY_LIMIT)
        wait_ready(self.client, self.waiter, function, qualifier=made["Version"])
        return made["Version"]

    def _remove_old(self, function: str, used: set[str]) -> None:
        """Remove old versions beyond those that are kept, never one of ``used``; report a failure."""
        versions = VersionAdmin(self.client)
        try:
            numbers = [one.number for one in versions.list(function)]
            for number in numbers[:-VERSIONS_KEPT]:
                if str(number) not in used:
                    versions.delete(function, number)
        except FifoError as error:
            self.waiter.listener(Warned(f"old versions of {function} were not removed: {error.message}"))

    def _async(self, function: str, alias: str) -> dict[str, Any]:
        ask = self.client.get_function_event_invoke_config
        config = unless_missing(lambda: ask(FunctionName=function, Qualifier=alias))
        if config is None:
            return {}
        return {
            "async_retries": config.get("MaximumRetryAttempts"),
            "async_age": config.get("MaximumEventAgeInSeconds"),
            "async_destinations": {
                outcome: one.get("Destination")
                for outcome, one in config.get("DestinationConfig", {}).items()
                if isinstance(one, dict) and one.get("Destination")
            },
        }

    def _put_async(self, function: str, alias: str, wanted: Resource) -> None:
        if "async_retries" in wanted.properties:
            self.client.put_function_event_invoke_config(
                FunctionName=function,
                Qualifier=alias,
                MaximumRetryAttempts=wanted.properties["async_retries"],
                MaximumEventAgeInSeconds=wanted.properties["async_age"],
            )
