"""The ``live`` alias of a function as a resource: the version it points to, and how that is invoked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, error_codes, explain, is_missing
from fifo_cli.aws.resources.function import READY_LIMIT, patiently, version_properties, wait_ready
from fifo_cli.aws.resources.function_versions import UNPUBLISHED, VersionAdmin
from fifo_cli.aws.resources.gateway import AlreadyExists, Pending, Waiter
from fifo_cli.errors import FifoError
from fifo_cli.events import Warned
from fifo_cli.model.resources import VERSION_PROPERTIES, Found, Resource

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import AliasConfigurationResponseTypeDef

VERSIONS_KEPT: Final = 10
_ASYNC: Final = frozenset({"async_retries", "async_age", "async_destinations"})
_PUBLISHED: Final = frozenset({*VERSION_PROPERTIES, "published"})


@dataclass(frozen=True, slots=True)
class AliasAdmin:
    """Aliases by ``function:alias``."""

    client: LambdaClient
    waiter: Waiter = field(default_factory=Waiter)

    def read(self, name: str) -> Found | None:
        """Return what an alias points to; its ARN and version are facts."""
        function, _, alias = name.partition(":")
        try:
            pointer = self.client.get_alias(FunctionName=function, Name=alias)
            configuration = self.client.get_function(FunctionName=function, Qualifier=alias)["Configuration"]
        except ClientError as error:
            if is_missing(error):
                return None
            raise explain(error, f"alias {name}") from error
        properties = {
            **version_properties(configuration),
            "published": pointer["FunctionVersion"] != UNPUBLISHED,
            "routing": dict(pointer.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})),
            **self._async(function, alias),
        }
        facts = {"arn": pointer["AliasArn"], "version": pointer["FunctionVersion"]}
        return Found("alias", name, properties, facts=facts)

    def create(self, wanted: Resource) -> None:
        """Publish the function as it is and create the alias on that version."""
        function, _, alias = wanted.name.partition(":")
        with calling(f"alias {wanted.name}"):
            version = self._publish(function, wanted.properties["code_sha256"])
            try:
                self.client.create_alias(FunctionName=function, Name=alias, FunctionVersion=version)
            except ClientError as error:
                if "ResourceConflictException" in error_codes(error):
                    raise AlreadyExists(f"alias {wanted.name} exists already") from error
                raise
            self._put_async(function, alias, wanted)

    def update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Move the alias to a new version if what it points to differs; that alone publishes."""
        function, _, alias = wanted.name.partition(":")
        with calling(f"alias {wanted.name}"):
            if changed & {*_PUBLISHED, "routing"}:
                publishes = bool(changed & _PUBLISHED)
                code = wanted.properties["code_sha256"]
                version = self._publish(function, code) if publishes else found.facts["version"]
                self._point(function, alias, version)
                if publishes:
                    self._forget(function, {version, found.facts["version"]})
            if changed & _ASYNC:
                self._put_async(function, alias, wanted)

    def delete(self, found: Found) -> None:
        """Delete an alias; its versions stay."""
        function, _, alias = found.name.partition(":")
        try:
            self.client.delete_alias(FunctionName=function, Name=alias)
        except ClientError as error:
            if not is_missing(error):
                raise explain(error, f"alias {found.name}") from error

    def _publish(self, function: str, code: str) -> str:
        """Return the number of a version of the function as it is; Lambda makes none if nothing changed.

        CodeSha256 makes Lambda refuse if somebody else has uploaded other code meanwhile.
        """
        wait_ready(self.client, self.waiter, function)
        published: list[str] = []

        def attempt() -> Pending | None:
            published.append(self.client.publish_version(FunctionName=function, CodeSha256=code)["Version"])
            return None

        self.waiter.until(patiently(attempt), name=function, limit=READY_LIMIT)
        wait_ready(self.client, self.waiter, function, qualifier=published[-1])
        return published[-1]

    def _point(self, function: str, alias: str, version: str) -> AliasConfigurationResponseTypeDef:
        return self.client.update_alias(
            FunctionName=function,
            Name=alias,
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": {}},
        )

    def _forget(self, function: str, used: set[str]) -> None:
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
        try:
            config = self.client.get_function_event_invoke_config(FunctionName=function, Qualifier=alias)
        except ClientError as error:
            if is_missing(error):
                return {}
            raise explain(error, f"alias {function}:{alias}") from error
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
