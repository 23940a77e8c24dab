"""keys: the SSM parameters that [api].keys names; which exist, and setting one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fifo_cli.aws.ssm import Parameter, get_parameters, put_secret
from fifo_cli.errors import UsageError
from fifo_cli.handlers.api_keys import header_fault
from fifo_cli.handlers.redaction import SECRET_MIN
from fifo_cli.model.limits import ADVANCED_PARAMETER_VALUE_BYTES_MAX, PARAMETER_VALUE_BYTES_MAX
from fifo_cli.model.names import PIPELINE_TAG
from fifo_cli.model.results import Fields, Listed

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Settings


@dataclass(frozen=True, slots=True)
class Key(Fields):
    """A header placeholder and the parameter behind it."""

    name: str
    parameter: str
    exists: bool = False
    version: int | None = None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Keys(Listed):
    """The keys of a pipeline, without their values."""

    keys: tuple[Key, ...]


def list_keys(aws: Aws, settings: Settings) -> Keys:
    """Return every key that fifo.toml names, and whether its parameter exists."""
    parameters = settings.parameters
    found = get_parameters(aws, list(parameters.values())) if parameters else {}
    return Keys(tuple(_key(name, parameter, found.get(parameter)) for name, parameter in parameters.items()))


def resolve_key(settings: Settings, name: str) -> tuple[str, str]:
    """Return placeholder and parameter for either of the two; raise UsageError for any other."""
    parameters = settings.parameters
    for placeholder, parameter in parameters.items():
        if name in (placeholder, parameter):
            return placeholder, parameter
    known = ", ".join(f"{placeholder} ({parameter})" for placeholder, parameter in parameters.items())
    raise UsageError(
        f"fifo.toml has no key {name!r} in [api] keys",
        hint=f"it has {known}" if known else 'add it there first: keys = { api_key = "/path/to/parameter" }',
    )


def check_value(settings: Settings, name: str, value: str, found: Parameter | None = None) -> None:
    """Raise UsageError, which does not quote it, unless ``value`` can be the key ``name``."""
    if not value:
        raise UsageError(
            f"the value for {name} is empty; nothing was set", hint="give it on stdin, or at the prompt"
        )
    size = len(value.encode("utf-8"))
    advanced = found is not None and found.tier == "Advanced"
    most = ADVANCED_PARAMETER_VALUE_BYTES_MAX if advanced else PARAMETER_VALUE_BYTES_MAX
    if size > most:
        kind = "a parameter of the advanced tier" if advanced else "a parameter"
        raise UsageError(
            f"the value for {name} has {size:,} bytes; {kind} holds {most:,}", hint="was it the right file?"
        )
    if "{{" in value:
        raise UsageError(
            f"the value for {name} contains {{{{, which Parameter Store refuses; nothing was set",
            hint="ask the API's owner for another key",
        )
    placed = [header for api in settings.api for header, text in api.headers.items() if f"{{{name}}}" in text]
    if placed and (fault := header_fault(value)):
        raise UsageError(
            f"the value for {name} cannot go into the header {', '.join(placed)}: {fault}; nothing was set",
            hint="give the bare key, on one line; one line break at its end is taken off",
        )
    if len(value) < SECRET_MIN:
        raise UsageError(
            f"the value for {name} has fewer than {SECRET_MIN} characters: it could not be kept out of logs;"
            " nothing was set",
            hint="ask the API's owner for a longer key",
        )


def set_key(aws: Aws, settings: Settings, name: str, value: str) -> Keys:
    """Write a key as a SecureString, creating or overwriting its parameter."""
    placeholder, parameter = resolve_key(settings, name)
    found = get_parameters(aws, [parameter]).get(parameter)
    check_value(settings, placeholder, value, found)
    if found is not None and found.kind != "SecureString":
        raise UsageError(
            f"parameter {parameter} exists as a {found.kind}, readable without decryption;"
            " a parameter's type cannot be changed",
            hint=f"delete it with `aws ssm delete-parameter --name {parameter}` and set it again",
        )
    tags = {PIPELINE_TAG: settings.pipeline.name, **settings.tags}
    put_secret(aws, parameter, value, found=found, tags=tags)
    return Keys((_key(placeholder, parameter, get_parameters(aws, [parameter]).get(parameter)),))


def _key(name: str, parameter: str, found: Parameter | None) -> Key:
    if found is None:
        return Key(name, parameter)
    return Key(name, parameter, exists=True, version=found.version, modified_at=found.modified_at)
