"""keys: the SSM parameters and secrets that [api].keys names; which exist, and setting one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from fifo_cli.aws.hidden_values import CreatedMeanwhileError
from fifo_cli.aws.secrets_manager import (
    SecretFacts,
    create_secret,
    get_secret,
    get_value,
    put_value,
    replace_value,
)
from fifo_cli.aws.ssm import Parameter, get_parameters, put_secret
from fifo_cli.errors import AwsError, UsageError
from fifo_cli.handlers import exact_json
from fifo_cli.handlers.api_keys import header_fault, json_fields
from fifo_cli.handlers.auth_values import text_fault, value_fault
from fifo_cli.handlers.key_sources import Secret, secret_of
from fifo_cli.handlers.placeholders import filled, placeholders
from fifo_cli.handlers.redaction import SECRET_MIN
from fifo_cli.invocation import aws_command_line
from fifo_cli.model.key_faults import ANOTHER_SECRET
from fifo_cli.model.limits import (
    ADVANCED_PARAMETER_VALUE_BYTES_MAX,
    PARAMETER_VALUE_BYTES_MAX,
    SECRET_VALUE_BYTES_MAX,
)
from fifo_cli.model.names import PIPELINE_TAG
from fifo_cli.model.results import INTERNAL, Fields, Listed
from fifo_cli.operations.parallel import read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.auth_settings import AuthTable
    from fifo_cli.model.settings import Settings


# Whoever changes the same secret at the same time is done within one of these attempts.
_ATTEMPTS: Final = 5
# Of auth: names, which need not be secret.
_PUBLIC: Final = frozenset({"username", "client_id", "scope", "audience"})


@dataclass(frozen=True, slots=True)
class Key(Fields):
    """A placeholder and the parameter or secret behind it, ``parameter`` as fifo.toml writes it.

    ``exists`` is whether there is a value to read; ``unusable`` says why not. The version is the number of
    the parameter's, or the id of the secret's.
    """

    name: str
    parameter: str
    exists: bool = False
    version: int | str | None = None
    modified_at: datetime | None = None
    unusable: Literal["missing", "scheduled for deletion", "without a value"] = field(
        default="missing", metadata=INTERNAL
    )

    @property
    def set_at(self) -> datetime | None:
        """When the value of a key that exists was set."""
        return self.modified_at if self.exists else None

    @property
    def fault(self) -> str:
        """What is wrong with a key that does not exist."""
        where = secret_of(self.parameter)
        what = f"secret {where.id}" if where else f"parameter {self.parameter}"
        return f"{what} {'does not exist' if self.unusable == 'missing' else f'is {self.unusable}'}"


@dataclass(frozen=True, slots=True)
class Keys(Listed):
    """The keys of a pipeline, without their values."""

    keys: tuple[Key, ...]


def list_keys(aws: Aws, settings: Settings) -> Keys:
    """Return every key that fifo.toml names, and whether its parameter or secret exists."""
    return _look_up(aws, settings.parameters)


def _look_up(aws: Aws, sources: Mapping[str, str]) -> Keys:
    """Ask what is known of the keys: SSM once for all parameters, Secrets Manager for each secret."""
    parameters = [source for source in sources.values() if secret_of(source) is None]
    secrets = {secret.id for source in sources.values() if (secret := secret_of(source))}
    asked = read_all(
        {
            **({"parameters": partial(get_parameters, aws, parameters)} if parameters else {}),
            **{f"secret {one}": partial(get_secret, aws, one) for one in sorted(secrets)},
        }
    )

    def key(name: str, source: str) -> Key:
        if (secret := secret_of(source)) is not None:
            return _key_in_secret(name, source, asked[f"secret {secret.id}"])
        found: Parameter | None = asked["parameters"].get(source)
        if found is None:
            return Key(name, source)
        return Key(name, source, exists=True, version=found.version, modified_at=found.modified_at)

    return Keys(tuple(key(name, source) for name, source in sources.items()))


def _key_in_secret(name: str, source: str, found: SecretFacts | None) -> Key:
    if found is None:
        return Key(name, source)
    if found.deleted_at:
        return Key(name, source, modified_at=found.modified_at, unusable="scheduled for deletion")
    if found.version is None:
        return Key(name, source, modified_at=found.modified_at, unusable="without a value")
    return Key(name, source, exists=True, version=found.version, modified_at=found.modified_at)


def resolve_key(settings: Settings, name: str) -> tuple[str, str]:
    """Return placeholder and source for either of the two; raise UsageError for any other."""
    parameters = settings.parameters
    for placeholder, parameter in parameters.items():
        if name in (placeholder, parameter):
            return placeholder, parameter
    known = ", ".join(f"{placeholder} ({parameter})" for placeholder, parameter in parameters.items())
    raise UsageError(
        f"fifo.toml has no key {name!r} in [api] keys",
        hint=f"it has {known}" if known else 'add it there first: keys = { api_key = "/path/to/parameter" }',
    )


def set_key(aws: Aws, settings: Settings, name: str, value: str) -> Keys:
    """Write a key, creating its parameter or secret or overwriting its value."""
    placeholder, source = resolve_key(settings, name)
    tags = {PIPELINE_TAG: settings.pipeline.name, **settings.tags}
    if (secret := secret_of(source)) is None:
        _set_parameter(aws, settings, placeholder, value, tags)
    else:
        check_value(settings, placeholder, value, SECRET_VALUE_BYTES_MAX, "a secret")
        if secret.field is None:
            _check_fields(settings, placeholder, secret.id, value)
        _set_secret(aws, placeholder, secret, value, tags)
    return _look_up(aws, {placeholder: source})


def check_value(settings: Settings, name: str, value: str, most: int, kind: str) -> None:
    """Raise UsageError, which does not quote it, unless ``value`` can be the key ``name``.

    ``most`` is how many bytes there may be in what it is kept in, a ``kind``.
    """
    if not value:
        raise UsageError(
            f"the value for {name} is empty; nothing was set", hint="give it on stdin, or at the prompt"
        )
    _check_size(f"the value for {name}", value, most, kind)
    placed = [header for api in settings.api for header, text in api.headers.items() if f"{{{name}}}" in text]
    if placed and (fault := header_fault(value)):
        raise UsageError(
            f"the value for {name} cannot go into the header {', '.join(placed)}: {fault}; nothing was set",
            hint="give the bare key, on one line; one line break at its end is taken off",
        )
    places = _places(settings, name)
    for auth, place, template in places:
        if fault := _auth_fault(auth, place, template, name, value):
            raise UsageError(
                f"the value for {name} cannot be {place} of [api] auth: {fault}; nothing was set",
                hint="give it as the API's owner wrote it; one line break at its end is taken off",
            )
    if len(value) < SECRET_MIN:
        public = _PUBLIC.intersection(place for _, place, _ in places)
        raise UsageError(
            f"the value for {name} has fewer than {SECRET_MIN} characters: it could not be kept out of logs;"
            " nothing was set",
            hint=f"write it into fifo.toml, as {sorted(public)[0]} of [api] auth, if it is not secret"
            if public
            else "ask the API's owner for a longer key",
        )


def _places(settings: Settings, name: str) -> list[tuple[AuthTable, str, str]]:
    """Return the texts of ``[api] auth`` in which a key stands, each with its table and its field."""
    return [
        (api.auth, field, str(template))
        for api in settings.api
        for field, template in api.auth or ()
        if api.auth and name in placeholders(str(template))
    ]


def _auth_fault(auth: AuthTable, place: str, template: str, name: str, value: str) -> str | None:
    """Say why a key cannot stand there; of a text with several, the others are not known."""
    if fault := value_fault(place, value):
        return fault
    if set(placeholders(template)) != {name}:
        return None
    return text_fault(auth.type, place, filled(template, {name: value}), time.time())


def _set_parameter(aws: Aws, settings: Settings, name: str, value: str, tags: Mapping[str, str]) -> None:
    """Write a SecureString."""
    parameter = settings.parameters[name]
    found = get_parameters(aws, [parameter]).get(parameter)
    advanced = found is not None and found.tier == "Advanced"
    most = ADVANCED_PARAMETER_VALUE_BYTES_MAX if advanced else PARAMETER_VALUE_BYTES_MAX
    if "{{" in value:
        raise UsageError(
            f"the value for {name} contains {{{{, which Parameter Store refuses; nothing was set",
            hint="ask the API's owner for another key",
        )
    check_value(
        settings, name, value, most, "a parameter of the advanced tier" if advanced else "a parameter"
    )
    if found is not None and found.kind != "SecureString":
        delete = aws_command_line("ssm delete-parameter --name", parameter)
        raise UsageError(
            f"parameter {parameter} exists as a {found.kind}, readable without decryption;"
            " a parameter's type cannot be changed",
            hint=f"delete it with {delete} and set it again",
        )
    put_secret(aws, parameter, value, found=found, tags=tags)


def _set_secret(aws: Aws, name: str, secret: Secret, value: str, tags: Mapping[str, str]) -> None:
    """Write a secret, or one of its fields."""
    found = get_secret(aws, secret.id)
    if found is not None and found.deleted_at:
        restore = aws_command_line("secretsmanager restore-secret --secret-id", secret.id)
        raise UsageError(
            f"secret {secret.id} is scheduled for deletion; nothing was set",
            hint=f"restore it with {restore}",
        )
    if found is None and secret.id.startswith("arn:"):
        raise UsageError(
            f"secret {secret.id} does not exist, and one that is named by its ARN cannot be made",
            hint="correct the ARN, or name the secret by its name: then it is made",
        )
    text = value if secret.field is None else exact_json.dumps({secret.field: value})
    _check_size(f"secret {secret.id} with this value", text, SECRET_VALUE_BYTES_MAX, "a secret")
    if found is None:
        try:
            create_secret(aws, secret.id, text, tags=tags)
        except CreatedMeanwhileError:
            if secret.field is None:
                raise
            _set_field(aws, name, secret.id, secret.field, value)
    elif secret.field is None or found.version is None:
        put_value(aws, secret.id, text)
    else:
        _set_field(aws, name, secret.id, secret.field, value)


def _check_fields(settings: Settings, name: str, secret_id: str, value: str) -> None:
    """Raise UsageError if a secret would lose fields that are keys themselves."""
    sources = [secret for one in settings.parameters.values() if (secret := secret_of(one))]
    wanted = {one.field for one in sources if one.id == secret_id and one.field is not None}
    texts = {key for key, text in (json_fields(value) or {}).items() if isinstance(text, str)}
    if lost := sorted(wanted - texts):
        raise UsageError(
            f"the value for {name} must be a JSON object with the texts {', '.join(lost)}, which other keys"
            " are; nothing was set",
            hint="set the fields one by one, or give the whole JSON object",
        )


def _set_field(aws: Aws, name: str, secret_id: str, key: str, value: str) -> None:
    """Change one field of a secret's JSON; the others stay, also those that are being changed now."""
    for _ in range(_ATTEMPTS):
        current = get_value(aws, secret_id)
        fields = None if current.text is None else json_fields(current.text)
        if fields is None:
            what = "binary" if current.text is None else "not a JSON object"
            raise UsageError(
                f"secret {secret_id} is {what}, so its field {key} cannot be set; nothing was set",
                hint=ANOTHER_SECRET,
            )
        text = exact_json.dumps({**fields, key: value})
        _check_size(f"secret {secret_id} with this value", text, SECRET_VALUE_BYTES_MAX, "a secret")
        if replace_value(aws, secret_id, text, replaces=current.version):
            return
    raise AwsError(
        f"secret {secret_id} is being changed by others again and again; {name} was not set",
        hint="run the command again when they are done",
    )


def _check_size(what: str, value: str, most: int, kind: str) -> None:
    size = len(value.encode("utf-8"))
    if size > most:
        hint = "was it the right file?"
        if most < size <= SECRET_VALUE_BYTES_MAX:
            hint += (
                f" a secret holds {SECRET_VALUE_BYTES_MAX:,}: name one in [api] keys, as secretsmanager:NAME"
            )
        raise UsageError(f"{what} has {size:,} bytes; {kind} holds {most:,}", hint=hint)
