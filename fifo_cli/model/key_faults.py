"""Which keys a fault of configuration may be about, and the commands that set or restore them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fifo_cli.handlers.key_sources import secret_of
from fifo_cli.handlers.placeholders import PLACEHOLDER
from fifo_cli.invocation import aws_command_line, command_line

if TYPE_CHECKING:
    from fifo_cli.model.settings import Settings

# The words of handlers/failure.py and handlers/api_keys.py.
_AUTH: Final = re.compile(r"\[api\] auth(?: of (?P<api>.+))?: (?P<fields>[\w, ]+)")
_KEY: Final = "key "
_SOURCES: Final = "[api] keys: "
_DELETED: Final = "scheduled for deletion"
_NAMED_MAX: Final = 3
_WITHOUT_FIELDS: Final = ("the secret is not a JSON object", "the secret is binary")
ANOTHER_SECRET: Final = "name another secret in [api] keys, or all of this one: without # and the field"


def key_commands(what: str, text: str, settings: Settings) -> str:
    """Return the commands for the keys that a fault of ``what`` may be about, "" if it is about none.

    ``text`` is what is said of it.
    """
    names = _keys_of(what, settings)
    if _DELETED in text and names:
        return _restore_commands(names, settings)
    if any(words in text for words in _WITHOUT_FIELDS) and any(_is_field(name, settings) for name in names):
        return f"{ANOTHER_SECRET}, then {command_line('deploy')}"
    return set_commands(names) if names or what.startswith(_SOURCES) else ""


def set_commands(names: Sequence[str]) -> str:
    """Return the commands that set keys; where these are many, or not known, how to find them."""
    if 0 < len(names) <= _NAMED_MAX:
        return " and ".join(command_line("keys set", name) for name in names)
    return f"{command_line('keys list')}, then {command_line('keys set NAME')}"


def _is_field(name: str, settings: Settings) -> bool:
    """Whether a key is a field of a secret, which ``keys set`` cannot set in what is not JSON."""
    secret = secret_of(settings.parameters.get(name, ""))
    return secret is not None and secret.field is not None


def _restore_commands(names: list[str], settings: Settings) -> str:
    """Return the commands that restore the secrets of keys that are scheduled for deletion."""
    found = (secret_of(settings.parameters.get(name, "")) for name in names)
    ids = sorted({secret.id for secret in found if secret})
    return " and ".join(aws_command_line("secretsmanager restore-secret --secret-id", one) for one in ids)


def _keys_of(what: str, settings: Settings) -> list[str]:
    """Return the placeholders of the keys, in the order of fifo.toml."""
    sources = settings.parameters
    if what.startswith(_KEY):
        return [what.split(" ", 2)[1]]
    if what.startswith(_SOURCES):
        listed = what.removeprefix(_SOURCES).split(", ")
        named = {name for name, source in sources.items() if {source, source.partition("#")[0]} & set(listed)}
    else:
        named = _keys_of_auth(what, settings)
    return [name for name in sources if name in named]


def _keys_of_auth(what: str, settings: Settings) -> set[str]:
    match = _AUTH.fullmatch(what)
    if match is None:
        return set()
    return {
        name
        for api, named in zip(settings.api, settings.api_names, strict=True)
        if match["api"] in (None, named)
        for field in match["fields"].split(", ")
        for name in PLACEHOLDER.findall(str(getattr(api.auth, field, "")))
    }
