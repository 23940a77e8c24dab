"""Lambda functions as resources: code, configuration, reserved concurrency, tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, error_codes, explain, is_missing
from fifo_cli.aws.resources.gateway import AlreadyExists, Pending, Waiter
from fifo_cli.errors import AwsError
from fifo_cli.model.names import START_VARIABLE
from fifo_cli.model.resources import Found, Properties, Resource, stamped

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.literals import ArchitectureType, RuntimeType
    from mypy_boto3_lambda.type_defs import (
        EnvironmentTypeDef,
        FunctionConfigurationTypeDef,
        VpcConfigTypeDef,
    )

# A new role is known to Lambda after seconds as a rule; AWS Support has quoted minutes.
ROLE_LIMIT: Final = 300.0
# botocore's own waiters function_active_v2 and function_updated_v2 give up after 300 s.
READY_LIMIT: Final = 300.0
# Lambda keeps a hundred unreserved (Lambda Developer Guide, "Configuring reserved concurrency").
UNRESERVED_MIN: Final = 100
_NETWORK: Final = frozenset({"subnets", "security_groups"})
_CONFIGURATION: Final = (
    frozenset({"handler", "runtime", "memory", "timeout", "role", "environment", "layers", "logging"})
    | _NETWORK
)


@dataclass(frozen=True, slots=True)
class FunctionAdmin:
    """Functions by name; ``zips`` holds the code of those that may be created or updated."""

    client: LambdaClient
    zips: Mapping[str, bytes] = field(default_factory=dict)
    waiter: Waiter = field(default_factory=Waiter)

    def read(self, name: str) -> Found | None:
        """Return a function's unpublished state; its ARN is a fact."""
        try:
            answer = self.client.get_function(FunctionName=name)
        except ClientError as error:
            if is_missing(error):
                return None
            raise explain(error, f"function {name}") from error
        configuration = answer["Configuration"]
        properties = {
            **version_properties(configuration),
            "reserved_concurrency": answer.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
        }
        return Found(
            "function", name, properties, answer.get("Tags", {}), {"arn": configuration["FunctionArn"]}
        )

    def create(self, wanted: Resource) -> None:
        """Create a function and wait until it is active; a role that is too new is waited for."""
        name, properties = wanted.name, wanted.properties

        def attempt() -> Pending | None:
            self.client.create_function(
                FunctionName=name,
                Handler=properties["handler"],
                Runtime=cast("RuntimeType", properties["runtime"]),
                Architectures=[cast("ArchitectureType", properties["architecture"])],
                MemorySize=properties["memory"],
                Timeout=properties["timeout"],
                Role=properties["role"],
                VpcConfig=_network(properties),
                Environment=_environment(properties),
                Code={"ZipFile": self.zips[name]},
                Tags=stamped(wanted.tags),
            )
            return None

        with calling(f"function {name}"):
            try:
                self.waiter.until(patiently(attempt), name=name, limit=ROLE_LIMIT)
            except ClientError as error:
                if "ResourceConflictException" in error_codes(error):
                    raise AlreadyExists(f"function {name} exists already") from error
                raise
            wait_ready(self.client, self.waiter, name)
            self._reserve(wanted)

    def update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Bring code, then configuration to what is wanted, waiting for each to be in effect."""
        name, properties = wanted.name, wanted.properties
        with calling(f"function {name}"):
            wait_ready(self.client, self.waiter, name)
            if changed & {"code_sha256", "architecture"}:
                self._update_code(name, properties)
            if changed & _CONFIGURATION:
                self._update_configuration(name, properties, changed)
            if "reserved_concurrency" in changed:
                self._reserve(wanted)
            self.client.tag_resource(Resource=found.facts["arn"], Tags=stamped(wanted.tags))

    def delete(self, found: Found) -> None:
        """Delete a function with its versions and aliases."""
        try:
            self.client.delete_function(FunctionName=found.name)
        except ClientError as error:
            if not is_missing(error):
                raise explain(error, f"function {found.name}") from error

    def can_reserve(self) -> bool:
        """Say whether the account has concurrency to reserve; one that does not tell has none."""
        try:
            limit = self.client.get_account_settings().get("AccountLimit", {})
        except ClientError:
            return False
        return limit.get("UnreservedConcurrentExecutions", 0) > UNRESERVED_MIN

    def _update_code(self, name: str, properties: Properties) -> None:
        def attempt() -> Pending | None:
            architecture = cast("ArchitectureType", properties["architecture"])
            self.client.update_function_code(
                FunctionName=name, ZipFile=self.zips[name], Architectures=[architecture]
            )
            return None

        self.waiter.until(patiently(attempt), name=name, limit=READY_LIMIT)
        wait_ready(self.client, self.waiter, name)

    def _update_configuration(self, name: str, properties: Properties, changed: frozenset[str]) -> None:
        changes: dict[str, Any] = {
            "Handler": properties["handler"],
            "Runtime": properties["runtime"],
            "MemorySize": properties["memory"],
            "Timeout": properties["timeout"],
            "Role": properties["role"],
        }
        if "environment" in changed:
            changes["Environment"] = _environment(properties)
        if "layers" in changed:
            changes["Layers"] = []
        if "logging" in changed:
            logging = properties["logging"]
            changes["LoggingConfig"] = {"LogFormat": logging["format"], "LogGroup": logging["group"]}
        if changed & _NETWORK:
            changes["VpcConfig"] = _network(properties)

        def attempt() -> Pending | None:
            self.client.update_function_configuration(FunctionName=name, **changes)
            return None

        self.waiter.until(patiently(attempt), name=name, limit=ROLE_LIMIT)
        wait_ready(self.client, self.waiter, name)

    def _reserve(self, wanted: Resource) -> None:
        if (count := wanted.properties.get("reserved_concurrency")) is not None:
            self.client.put_function_concurrency(FunctionName=wanted.name, ReservedConcurrentExecutions=count)


def _environment(properties: Properties) -> EnvironmentTypeDef:
    return {"Variables": dict(text.split("=", 1) for text in properties["environment"])}


def version_properties(configuration: FunctionConfigurationTypeDef) -> dict[str, Any]:
    """Return what a version is made of.

    Of environment variables only the names, but for our own: a value may be a secret.
    """
    network, logging = configuration.get("VpcConfig", {}), configuration.get("LoggingConfig", {})
    return {
        "code_sha256": configuration.get("CodeSha256"),
        "handler": configuration.get("Handler"),
        "runtime": configuration.get("Runtime"),
        "architecture": next(iter(configuration.get("Architectures", [])), "x86_64"),
        "memory": configuration.get("MemorySize"),
        "timeout": configuration.get("Timeout"),
        "role": configuration.get("Role"),
        "subnets": sorted(network.get("SubnetIds", [])),
        "security_groups": sorted(network.get("SecurityGroupIds", [])),
        "environment": sorted(
            f"{name}={value}" if name == START_VARIABLE else name
            for name, value in configuration.get("Environment", {}).get("Variables", {}).items()
        ),
        "layers": [one["Arn"] for one in configuration.get("Layers", [])],
        "logging": {
            "group": logging.get("LogGroup") or f"/aws/lambda/{configuration.get('FunctionName')}",
            "format": logging.get("LogFormat", "Text"),
        },
    }


def wait_ready(client: LambdaClient, waiter: Waiter, name: str, *, qualifier: str | None = None) -> None:
    """Wait until a function (or a version of it) can be changed and run, as botocore's v2 waiters do."""

    def attempt() -> Pending | None:
        arguments = {"Qualifier": qualifier} if qualifier else {}
        configuration = client.get_function(FunctionName=name, **arguments)["Configuration"]
        state, update = configuration.get("State"), configuration.get("LastUpdateStatus")
        if state == "Failed":
            raise AwsError(
                f"function {name} failed: {configuration.get('StateReason') or 'no reason given'}",
                hint="correct that and deploy again",
            )
        if update == "Failed":
            reason = configuration.get("LastUpdateStatusReason") or "no reason given"
            raise AwsError(
                f"the update of function {name} failed: {reason}", hint="correct that and deploy again"
            )
        if state == "Pending":
            return Pending("being made ready by Lambda")
        return Pending("being updated by Lambda") if update == "InProgress" else None

    waiter.until(attempt, name=name, limit=READY_LIMIT)


def patiently(attempt: Callable[[], Pending | None]) -> Callable[[], Pending | None]:
    """Wrap a change so that a role that is too new and an update in progress are Pending, not errors.

    InvalidParameterValueException and ResourceConflictException stand for permanent faults as well, so
    the text decides.
    """

    def wrapped() -> Pending | None:
        try:
            return attempt()
        except ClientError as error:
            if (reason := _transient(error)) is None:
                raise
            return Pending(reason)

    return wrapped


def _transient(error: ClientError) -> str | None:
    said = str(error.response.get("Error", {}).get("Message", ""))
    codes = error_codes(error)
    if "InvalidParameterValueException" in codes:
        if "cannot be assumed" in said:
            return "waiting for its role to be known to Lambda"
        if "execution role does not have permissions" in said or "Cannot access stream" in said:
            return "waiting for its role's permissions to be in effect"
    busy = "ResourceConflictException" in codes and ("in progress" in said or "pending" in said.lower())
    return "busy with another update" if busy or "ResourceInUseException" in codes else None


def _network(properties: Properties) -> VpcConfigTypeDef:
    """Return the VPC configuration; empty lists take a function out of its VPC."""
    return {"SubnetIds": properties["subnets"], "SecurityGroupIds": properties["security_groups"]}
