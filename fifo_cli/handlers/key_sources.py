"""Where the value of a key is, as ``keys`` of fifo.toml writes it.

``/path`` is a parameter of SSM, ``secretsmanager:NAME`` a secret of Secrets Manager, and
``secretsmanager:NAME#FIELD`` one text of the JSON object that a secret holds. NAME may be an ARN.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SECRET_PREFIX: Final = "secretsmanager:"


class Secret(NamedTuple):
    """A secret by its name or ARN, and the field of its JSON object that is meant; None is all of it."""

    id: str
    field: str | None = None

    def __str__(self) -> str:
        return f"secret {self.id}" if self.field is None else f"secret {self.id}, field {self.field}"


def secret_of(source: str) -> Secret | None:
    """Return the secret that a source names; None for an SSM parameter.

    Neither a name nor an ARN of a secret holds a # (API Reference, CreateSecret): the first one ends it.
    """
    if not source.startswith(SECRET_PREFIX):
        return None
    name, has_field, field = source.removeprefix(SECRET_PREFIX).partition("#")
    return Secret(name, field if has_field else None)
