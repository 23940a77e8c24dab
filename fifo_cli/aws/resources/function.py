"""Lambda functions as resources: code, configuration, reserved concurrency, tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import error_codes, message_of
from fifo_cli.aws.resources.gateway import Gateway, Pending, Waiter
from fifo_cli.errors import AwsError
from fifo_cli.model.names import START_VARIABLE
from fifo_cli.model.resources import Found, Properties, Resource, stamped

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
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
class FunctionAdmin(Gateway):
    """Functions by name; ``zips`` holds the code of those that may be created or updated."""

    client: LambdaClient
    zips: Mapping[str, bytes] = field(default_factory=dict)
    waiter: Waiter = field(default_factory=Waiter)
    title: ClassVar[str] = "function"
    exists_codes: ClassVar[frozenset[str]] = frozenset({"ResourceConflictException"})

    def _read(self, name: str) -> Found:
        """Return a function's unpublished state; its ARN is a fact."""
        answer = self.client.get_function(FunctionName=name)
        configuration = answer["Configuration"]
        properties = {
            **version_properties(configuration),
            "reserved_concurrency": answer.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
        }
        facts = {"arn": configuration["FunctionArn"]}
        return Found("function", name, properties, answer.get("Tags", {}), facts)

    def _create(self, wanted: Resource) -> None:
        """Create a function and wait until it is active; a role that is too new is waited for."""
        create = partial(
            self.client.create_function,
            FunctionName=wanted.name,
            **_configuration(wanted.properties),
            Architectures=[wanted.properties["architecture"]],
            VpcConfig=_network(wanted.properties),
            Environment=_environment(wanted.properties),
            Code={"ZipFile": self.zips[wanted.name]},
            Tags=stamped(wanted.tags),
        )
        self._change(wanted.name, create)
        self._reserve(wanted)

    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Bring code, then configuration to what is wanted, waiting for each to be in effect."""
        name, properties = wanted.name, wanted.properties
        wait_ready(self.client, self.waiter, name)
        if changed & {"code_sha256", "architecture"}:
            upload = partial(
                self.client.update_function_code,
                FunctionName=name,
                ZipFile=self.zips[name],
                Architectures=[properties["architecture"]],
            )
            self._change(name, upload)
        if changed & _CONFIGURATION:
            settings = _configuration(properties)
            if "environment" in changed:
                settings["Environment"] = _environment(properties)
            if "layers" in changed:
                settings["Layers"] = []
            if "logging" in changed:
                logging = properties["logging"]
                settings["LoggingConfig"] = {"LogFormat": logging["format"], "LogGroup": logging["group"]}
            if changed & _NETWORK:
                settings["VpcConfig"] = _network(properties)
            configure = partial(self.client.update_function_configuration, FunctionName=name, **settings)
            self._change(name, configure)
        if "reserved_concurrency" in changed:
            self._reserve(wanted, found)
        self.client.tag_resource(Resource=found.facts["arn"], Tags=stamped(wanted.tags))

    def _delete(self, found: Found) -> None:
        """Delete a function with its versions and aliases."""
        self.client.delete_function(FunctionName=found.name)

    def can_reserve(self, count: int = 1) -> bool:
        """Say whether the account has so much concurrency to reserve; one that does not say so has none."""
        try:
            limit = self.client.get_account_settings().get("AccountLimit", {})
        except ClientError:
            return False
        return limit.get("UnreservedConcurrentExecutions", 0) - count >= UNRESERVED_MIN

    def _change(self, name: str, call: Callable[[], object]) -> None:
        """Change a function, and wait until that is in effect."""
        self.waiter.accepted(call, passing_refusal, name=name, limit=ROLE_LIMIT)
        wait_ready(self.client, self.waiter, name)

    def _reserve(self, wanted: Resource, found: Found | None = None) -> None:
        if (count := wanted.properties.get("reserved_concurrency")) is not None:
            self.client.put_function_concurrency(FunctionName=wanted.name, ReservedConcurrentExecutions=count)
        elif found is not None:
            self.client.delete_function_concurrency(FunctionName=wanted.name)


def _configuration(properties: Properties) -> dict[str, Any]:
    """Return the settings that every call which writes a function's configuration takes."""
    return {
        "Handler": properties["handler"],
        "Runtime": properties["runtime"],
        "MemorySize": properties["memory"],
        "Timeout": properties["timeout"],
        "Role": properties["role"],
    }


def _environment(properties: Properties) -> EnvironmentTypeDef:
    return {"Variables": dict(text.split("=", 1) for text in properties["environment"])}


def version_properties(configuration: FunctionConfigurationTypeDef) -> dict[str, Any]:
    """Return what a version is made of.

    Of environment variables only the names, except our own: a value may be a secret.
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
        for what, status, key in (
            (f"function {name}", state, "StateReason"),
            (f"the update of function {name}", update, "LastUpdateStatusReason"),
        ):
            if status == "Failed":
                reason = configuration.get(key) or "no reason given"
                raise AwsError(f"{what} failed: {reason}", hint="correct that and deploy again")
        if state == "Pending":
            return Pending("being made ready by Lambda")
        return Pending("being updated by Lambda") if update == "InProgress" else None

    waiter.until(attempt, name=name, limit=READY_LIMIT)


def passing_refusal(error: ClientError) -> str | None:
    """Say what a change of Lambda's has to wait for: a role that is too new, or an update in progress.

    InvalidParameterValueException and ResourceConflictException stand for permanent faults as well, so
    the text decides.
    """
    text, codes = message_of(error), error_codes(error)
    if "InvalidParameterValueException" in codes:
        if "cannot be assumed" in text:
            return "waiting for its role to be known to Lambda"
        if "execution role does not have permissions" in text or "Cannot access stream" in text:
            return "waiting for its role's permissions to be in effect"
        if "visibility timeout" in text:
            return "waiting for the visibility timeout of its queue to be known to Lambda"
    busy = "ResourceConflictException" in codes and ("in progress" in text or "pending" in text.lower())
    return "busy with another update" if busy or "ResourceInUseException" in codes else None


def _network(properties: Properties) -> VpcConfigTypeDef:
    """Return the VPC configuration; empty lists take a function out of its VPC."""
    return {"SubnetIds": properties["subnets"], "SecurityGroupIds": properties["security_groups"]}
