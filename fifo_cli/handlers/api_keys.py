"""The API's keys: read from SSM Parameter Store when first needed, kept in memory, never written anywhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from .failure import ConfigurationError, described
from .limits import PARAMETERS_PER_CALL
from .redaction import SECRET_MIN, Redactor

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

# What SSM and KMS answer where this function may not, or cannot, read a parameter: no later run will either.
_UNREADABLE: Final = frozenset(
    {"AccessDeniedException", "InvalidKeyId", "ParameterVersionNotFound", "UnsupportedParameterType"}
)


class KeysMissingError(ConfigurationError):
    """Parameters that the API needs do not exist; the text names them."""


class Keys:
    """Placeholder name → value, read together and re-read after a rotation; safe to share between threads."""

    def __init__(self, ssm: SSMClient | None, parameters: Mapping[str, str]) -> None:
        self._ssm = ssm
        self._parameters = dict(parameters)
        self._lock = threading.Lock()
        self._values: dict[str, str] = {}
        self._redactor = Redactor()
        self._too_short: frozenset[str] = frozenset()
        self._generation = 0

    def __bool__(self) -> bool:
        return bool(self._parameters)

    def current(self) -> tuple[int, Mapping[str, str]]:
        """Return the values and the generation they belong to, reading them if that was not done yet."""
        with self._lock:
            if self._generation == 0:
                self._read()
            return self._generation, self._values

    def renew(self, generation: int) -> None:
        """Read the values again, unless another thread has done so since ``generation``."""
        with self._lock:
            if generation == self._generation:
                self._read()

    def label(self, name: str) -> str:
        """Name a key so that a person finds it."""
        return f"key {name} (SSM parameter {self._parameters.get(name, '?')})"

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
        """Read all parameters; raises KeysMissingError, or botocore's errors."""
        found: dict[str, str] = {}
        wanted = sorted(set(self._parameters.values()))
        for start in range(0, len(wanted), PARAMETERS_PER_CALL):
            assert self._ssm is not None, "there are parameters, so there is a client"
            names = wanted[start : start + PARAMETERS_PER_CALL]
            # Unknown names come back in InvalidParameters, without an error (API Reference, GetParameters).
            try:
                answer = self._ssm.get_parameters(Names=names, WithDecryption=True)
            except ClientError as error:
                if (code := error.response.get("Error", {}).get("Code", "")) in _UNREADABLE or "KMS" in code:
                    raise ConfigurationError(f"[api] keys: {', '.join(names)}", described(error)) from error
                raise
            found |= {parameter["Name"]: parameter["Value"] for parameter in answer["Parameters"]}
        missing = [name for name in wanted if name not in found]
        if missing:
            raise KeysMissingError(f"[api] keys: {', '.join(missing)}", "no such SSM parameter")
        self._values = {name: found[parameter] for name, parameter in self._parameters.items()}
        for value in found.values():
            self._redactor.add(value)
        self._too_short |= {name for name, value in self._values.items() if len(value) < SECRET_MIN}
        self._generation += 1


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
