"""What fifo.toml may say, and what is probably not meant: ``plan`` and ``deploy`` warn of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from fifo_cli.handlers.placeholders import PLACEHOLDER
from fifo_cli.invocation import command_line

if TYPE_CHECKING:
    from fifo_cli.model.settings import Api, Settings

# Headers whose value is a key, or has one.
_SECRET_HEADERS: Final = frozenset({"authorization", "x-api-key", "api-key"})
_BAD_REQUEST: Final = "400"


def setting_warnings(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each; no text quotes a value."""
    for number, api in enumerate(settings.api):
        key = f"api[{number}]" if len(settings.api) > 1 else "api"
        for place, name in _literal_secrets(api):
            yield (
                f"{key}.{place} is in fifo.toml as it is, and so in the functions' zips: write {{{name}}} in"
                f' its place, with {name} = "/PATH" in {key}.keys, then {command_line("keys set", name)}'
            )
        if api.auth and api.auth.bad_request and _parks_bad_requests(api):
            others = ", ".join(str(status) for status in api.permanent if str(status) != _BAD_REQUEST)
            yield (
                f"some APIs answer 400, not 401, to {api.auth.bad_request}, and {key}.permanent has 400 by"
                f" default: every message would be parked; if this API does, set permanent = [{others}],"
                " else set it with 400, and this is not said again"
            )


def _literal_secrets(api: Api) -> Iterator[tuple[str, str]]:
    """Yield where a secret is in the file as it is, and a name for its key."""
    for name in api.auth.literal_secrets() if api.auth else ():
        yield f"auth.{name}", name
    for header, text in api.headers.items():
        if header.lower() in _SECRET_HEADERS and not PLACEHOLDER.search(text):
            yield f"headers.{header}", "api_key"


def _parks_bad_requests(api: Api) -> bool:
    """Whether a message that is answered 400 is parked, and nobody has said so."""
    listed = _BAD_REQUEST in map(str, api.permanent)
    return listed and api.on_permanent == "park" and "permanent" not in api.model_fields_set
