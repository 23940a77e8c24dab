"""The API's keys: read when first needed, kept in memory, never written anywhere.

They are in SSM's Parameter Store and in Secrets Manager; key_sources.py has the forms.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from botocore.exceptions import ClientError

from . import exact_json
from .failure import ConfigurationError
from .key_sources import SECRET_PREFIX, Secret, secret_of
from .limits import PARAMETERS_PER_CALL
from .redaction import SECRET_MIN, Redactor

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

# What SSM, Secrets Manager and KMS answer where this function may not, or cannot, read a value: no later run
# will either. InvalidRequestException: the secret is scheduled for deletion (API Reference, GetSecretValue).
_UNREADABLE: Final = frozenset(
    {
        "AccessDeniedException",
        "DecryptionFailure",
        "InvalidKeyId",
        "InvalidParameterException",
        "InvalidRequestException",
        "ParameterVersionNotFound",
        "UnsupportedParameterType",
        "ValidationException",
    }
)


class Hide(Protocol):
    """Hides what was made of secrets: :meth:`Keys.hide`."""

    def __call__(self, made: str, *, readable: bool = False) -> None: ...


class KeyValues(NamedTuple):
    """The values of all keys by their placeholders, as one reading found them; readings count from 1."""

    generation: int
    values: Mapping[str, str]


class Keys:
    """Placeholder name → value, read together and re-read after a rotation; safe to share between threads.

    ``sources`` says where each value is, in the words of ``keys`` in fifo.toml. ``ssm`` and
    ``secrets_manager`` are the clients, None where no source needs them; ``keys_of`` makes them.
    """

    def __init__(
        self, ssm: SSMClient | None, sources: Mapping[str, str], secrets_manager: Any = None
    ) -> None:
        self._ssm = ssm
        self._secrets_manager = secrets_manager
        self._sources = dict(sources)
        self._lock = threading.Lock()
        self._current = KeyValues(0, {})
        self._redactor = Redactor()
        self._too_short: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self._sources)

    def current(self) -> KeyValues:
        """Return the values, reading them if that was not done yet."""
        with self._lock:
            if self._current.generation == 0:
                self._read()
            return self._current

    def renew(self, generation: int) -> None:
        """Read the values again, unless another thread has done so since ``generation``."""
        with self._lock:
            if generation == self._current.generation:
                self._read()

    def label(self, name: str) -> str:
        """Name a key so that a person finds it."""
        source = self._sources.get(name, "?")
        return f"key {name} ({secret_of(source) or f'SSM parameter {source}'})"

    def hide_value(self, value: str) -> None:
        """Hide a secret that is not the value of one key alone."""
        self._redactor.add(value)

    def hide(self, made: str, *, readable: bool = False) -> None:
        """Hide what was made of the values, such as a token; see :meth:`Redactor.add_made`."""
        self._redactor.add_made(made, readable=readable)

    def redact(self, text: str) -> str:
        """Hide every value that was ever read, in every encoding; see :mod:`redaction`."""
        return self._redactor(text)

    def redact_long(self, text: str) -> str:
        """Hide them in a text of any length, all of which is to be shown."""
        return self._redactor.long(text)

    @property
    def too_short(self) -> tuple[str, ...]:
        """The labels of the keys whose values are too short to be hidden in a text."""
        return tuple(self.label(name) for name in sorted(self._too_short))

    def _read(self) -> None:
        """Read all values; raises ConfigurationError, or botocore's errors."""
        secrets = {name: secret for name, source in self._sources.items() if (secret := secret_of(source))}
        parameters = {name: source for name, source in self._sources.items() if name not in secrets}
        found = _parameters(self._ssm, parameters.values())
        # Several fields of one secret are one call, and of one version.
        ids = {secret.id for secret in secrets.values()}
        texts = _secrets(self._secrets_manager, ids)
        _check_existence({*parameters.values()} - found.keys(), ids - texts.keys())
        values = {name: found[parameter] for name, parameter in parameters.items()}
        for name, secret in secrets.items():
            value, fault = _value_in(texts[secret.id], secret)
            if fault:
                raise ConfigurationError(self.label(name), fault)
            values[name] = value
        for value in values.values():
            self._redactor.add(value)
        self._too_short |= {name for name, value in values.items() if len(value) < SECRET_MIN}
        ordered = {name: values[name] for name in self._sources}
        self._current = KeyValues(self._current.generation + 1, ordered)


def keys_of(sources: Mapping[str, str], client: Callable[..., Any]) -> Keys:
    """Build the keys; a ``client`` is made, by its service's name, only of a service that holds one."""
    in_secrets = {secret_of(source) is not None for source in sources.values()}
    return Keys(
        client("ssm") if False in in_secrets else None,
        sources,
        client("secretsmanager") if True in in_secrets else None,
    )


def _parameters(ssm: SSMClient | None, names: Iterable[str]) -> dict[str, str]:
    """Read parameters by name; those that do not exist are left out."""
    found: dict[str, str] = {}
    wanted = sorted(set(names))
    for start in range(0, len(wanted), PARAMETERS_PER_CALL):
        assert ssm is not None, "there are parameters, so there is a client"
        some = wanted[start : start + PARAMETERS_PER_CALL]
        # Unknown names come back in InvalidParameters, without an error (API Reference, GetParameters).
        try:
            answer = ssm.get_parameters(Names=some, WithDecryption=True)
        except ClientError as error:
            _blame_configuration(error, some)
            raise
        found |= {parameter["Name"]: parameter["Value"] for parameter in answer["Parameters"]}
    return found


def _secrets(client: Any, ids: Set[str]) -> dict[str, str | None]:
    """Read the current version of secrets by name or ARN, None for one that is binary.

    Those that do not exist or have no value are left out. One call each: for the call that reads several, IAM
    knows no resource (API Reference, BatchGetSecretValue).
    """
    found: dict[str, str | None] = {}
    for secret_id in sorted(ids):
        try:
            # What a rotation is still trying out has another stage (AWSPENDING).
            answer = client.get_secret_value(SecretId=secret_id, VersionStage="AWSCURRENT")
            found[secret_id] = answer.get("SecretString")
        except ClientError as error:
            if _code(error) != "ResourceNotFoundException":
                _blame_configuration(error, [SECRET_PREFIX + secret_id])
                raise
    return found


def _check_existence(parameters: Set[str], secrets: Set[str]) -> None:
    """Raise ConfigurationError if parameters or secrets are missing; it names all of them."""
    reasons = [
        *(["no such SSM parameter"] if parameters else []),
        *(["no such secret, or it has no value"] if secrets else []),
    ]
    if reasons:
        named = [*sorted(parameters), *(SECRET_PREFIX + one for one in sorted(secrets))]
        raise ConfigurationError(f"[api] keys: {', '.join(named)}", "; ".join(reasons))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _blame_configuration(error: ClientError, sources: Iterable[str]) -> None:
    """Raise ConfigurationError if no later run can read these sources either."""
    code, what = _code(error), f"[api] keys: {', '.join(sources)}"
    said = str(error.response.get("Error", {}).get("Message", ""))
    if code == "InvalidRequestException" and "deletion" in said:
        raise ConfigurationError(what, "the secret is scheduled for deletion") from error
    if code in _UNREADABLE or ("KMS" in code and "Throttl" not in code):
        raise ConfigurationError(what, f"AWS does not let it be read ({code})", said) from error


def _value_in(text: str | None, secret: Secret) -> tuple[str, str | None]:
    """Return a key's value in what a secret holds, and why it has none; no text quotes what it holds."""
    if text is None:
        return "", "the secret is binary, and a key is text"
    if secret.field is None:
        return text, None if text else "the secret is empty"
    fields = json_fields(text)
    if fields is None:
        return "", "the secret is not a JSON object, so it has no fields"
    if secret.field not in fields:
        return "", "the JSON of the secret has no such field"
    value = fields[secret.field]
    if not isinstance(value, str):
        return "", f"the field is {_KINDS.get(type(value), 'a number')}, and a key is text"
    return value, None if value else "the field is empty"


_KINDS: Final = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}


def json_fields(text: str) -> dict[str, Any] | None:
    """Return the fields of a JSON object, its numbers exact; None for any other text."""
    try:
        fields = exact_json.loads(text)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def header_fault(value: str) -> str | None:
    """Say why a key's value cannot stand in an HTTP header, without quoting it; None if it can."""
    if not value:
        return "its value is empty"
    if value[0] == "\ufeff":
        return "its value begins with a byte order mark (U+FEFF)"
    if value != value.strip():
        where, edge = ("begins", value[0]) if value[0].isspace() else ("ends", value[-1])
        what = "a line break" if edge in "\r\n" else "white space"
        return f"its value {where} {'with' if where == 'begins' else 'in'} {what}"
    for place, character in enumerate(value, 1):
        if not (character.isascii() and (character.isprintable() or character == "\t")):
            kind = "a line break or another control character" if character.isascii() else "not ASCII"
            return f"character {place} of its value is {kind}, which an HTTP header cannot hold"
    return None
