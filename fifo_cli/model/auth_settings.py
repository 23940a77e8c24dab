"""``[api] auth``: a table for each way to authenticate at an API, and what it cannot be together with.

What each way does is in ``handlers/api_auth.py``. Every text may hold ``{placeholders}`` of ``[api] keys``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal, Protocol, get_args

from pydantic import Field, TypeAdapter, ValidationError

from fifo_cli.handlers.placeholders import PLACEHOLDER, SECRET_FIELDS
from fifo_cli.handlers.webhook_secrets import WEBHOOK_SECRETS, webhook_keys
from fifo_cli.model import setting_types as types
from fifo_cli.model.setting_problems import (
    SettingProblem,
    http_problems,
    key_of,
    problems_of,
    shown,
)

_DIGESTS: Final = frozenset({"hex", "base64"})


class ApiTable(Protocol):
    """What ``auth`` is checked against: the ``[api]`` table around it (``Api`` in ``settings``)."""

    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def keys(self) -> Mapping[str, str]: ...
    @property
    def insecure(self) -> bool: ...


class AuthTable(types.TomlTable):
    """What all ways have in common."""

    # Whether a secret itself, or a token, goes to the API.
    sends_secret: ClassVar[bool] = False
    # The placeholders in the text of a key that are not those of [api] keys.
    own_placeholders: ClassVar[Mapping[str, frozenset[str]]] = MappingProxyType({})
    # What the API may answer 400 to, as nobody can read it: a receiver's choice.
    bad_request: ClassVar[str] = ""
    # What it refuses with 401 or 403, and the secret that this is made of.
    credential: ClassVar[tuple[str, str]] = ("key", "key")
    # The headers that it sets, where they have fixed names.
    own_headers: ClassVar[tuple[str, ...]] = ()
    type: str

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers that it sets."""
        return self.own_headers

    def literal_secrets(self) -> list[str]:
        """Return the fields that are secret and in the file as they are."""
        return [
            name for name, text in self if name in SECRET_FIELDS and text and not PLACEHOLDER.search(text)
        ]

    def problems(self, api: ApiTable, key: str) -> Iterator[SettingProblem]:
        """Yield what is wrong with it in ``api``, a table that is called ``key``."""
        names = {name.lower() for name in self.headers}
        for header in api.headers:
            if header.lower() in names:
                yield SettingProblem(f"{key}.headers.{header}", "a header that auth sets", "left out")
        if self.sends_secret:
            yield from http_problems(f"{key}.url", api.url, f'auth = "{self.type}"', insecure=api.insecure)
        for field, text in self:
            own = self.own_placeholders.get(field, frozenset())
            for name in PLACEHOLDER.findall(str(text)):
                if name not in own and name not in api.keys:
                    known = f"a name from {key}.keys ({', '.join(api.keys) or 'empty'})"
                    yield SettingProblem(f"{key}.auth.{field}", f"{{{name}}}", known)
                elif name in own and name in api.keys:
                    found = f"{name!r}, which auth.{field} has too"
                    yield SettingProblem(f"{key}.keys.{name}", found, "another name")


class BasicTable(AuthTable):
    """A user name and a password (RFC 7617)."""

    sends_secret = True
    own_headers = ("Authorization",)
    type: Literal["basic"]
    username: types.UserName
    password: str


class OAuth2Table(AuthTable):
    """A token for client credentials (RFC 6749, 4.4)."""

    sends_secret = True
    own_headers = ("Authorization",)
    type: Literal["oauth2"]
    token_url: types.TokenUrl
    client_id: types.Text
    client_secret: types.Text
    scope: types.Text | None = None
    audience: types.Text | None = None
    client_auth: Literal["basic", "post"] = Field(
        default="basic",
        description="where the token endpoint gets id and secret: in a header, or in the form",
    )

    def problems(self, api: ApiTable, key: str) -> Iterator[SettingProblem]:
        yield from super().problems(api, key)
        yield from http_problems(
            f"{key}.auth.token_url", self.token_url, "client_secret", insecure=api.insecure
        )


class StandardWebhooksTable(AuthTable):
    """The signature of the Standard Webhooks specification."""

    own_headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    bad_request = "a wrong signature"
    credential = ("signature", "secret")
    type: Literal["standard-webhooks"]
    secret: types.Text = Field(description="whsec_...; several, separated by spaces, sign side by side")

    def problems(self, api: ApiTable, key: str) -> Iterator[SettingProblem]:
        yield from super().problems(api, key)
        if self.literal_secrets() and not webhook_keys(self.secret):
            yield SettingProblem(f"{key}.auth.secret", "malformed", WEBHOOK_SECRETS)


class HmacTable(AuthTable):
    """An HMAC of the body in a header."""

    own_placeholders = MappingProxyType(
        {"format": _DIGESTS | {"timestamp"}, "content": frozenset({"timestamp", "body"})}
    )
    bad_request = "a wrong signature"
    credential = ("signature", "secret")
    type: Literal["hmac"]
    secret: types.Text
    header: types.HeaderName
    algorithm: Literal["sha256", "sha512"] = "sha256"
    format: types.HeaderText = Field(
        default="sha256={hex}", description="the header's value: {hex} or {base64}, and {timestamp} if wanted"
    )
    content: Literal["{body}", "{timestamp}.{body}"] = Field(default="{body}", description="what is signed")

    @property
    def headers(self) -> tuple[str, ...]:
        return (self.header,)

    def problems(self, api: ApiTable, key: str) -> Iterator[SettingProblem]:
        yield from super().problems(api, key)
        if self.header.lower() in types.OWN_HEADERS | {"content-type", "host"}:
            yield SettingProblem(f"{key}.auth.header", repr(self.header), "a header for the signature alone")
        used = set(PLACEHOLDER.findall(self.format))
        if not used & _DIGESTS:
            yield SettingProblem(f"{key}.auth.format", repr(self.format), "a text with {hex} or {base64}")
        if "{timestamp}" in self.content and "timestamp" not in used:
            allowed = "a text with {timestamp}, which is signed: the API has to know it"
            yield SettingProblem(f"{key}.auth.format", repr(self.format), allowed)
        if self.algorithm == "sha512" and "sha256" in self.format:
            allowed = 'a text that says sha512, such as "sha512={hex}"'
            yield SettingProblem(f"{key}.auth.format", f'{self.format!r} with algorithm = "sha512"', allowed)


class MtlsTable(AuthTable):
    """A client certificate in the TLS handshake."""

    bad_request = "a client certificate that it does not accept"
    credential = ("client certificate", "client certificate")
    type: Literal["mtls"]
    certificate: types.Text = Field(description="PEM; the certificates that signed it may follow")
    key: types.Text = Field(description="PEM, not encrypted")
    ca: types.Text | None = Field(default=None, description="PEM; trusted beside the system's")

    def problems(self, api: ApiTable, key: str) -> Iterator[SettingProblem]:
        yield from super().problems(api, key)
        if not api.url.startswith("https://"):
            yield SettingProblem(f"{key}.url", repr(api.url), "https://, whose handshake has the certificate")


Auth = Annotated[
    BasicTable | OAuth2Table | StandardWebhooksTable | HmacTable | MtlsTable, Field(discriminator="type")
]
AUTH_TABLES: Final[Mapping[str, type[AuthTable]]] = {
    get_args(one.model_fields["type"].annotation)[0]: one for one in get_args(get_args(Auth)[0])
}


def read_auth(value: object, place: tuple[int | str, ...]) -> tuple[AuthTable | None, list[SettingProblem]]:
    """Read ``auth`` as TOML has it, and return what is wrong with it; ``place`` is where it is.

    Where something is wrong, the table has what is sound, for the rules over several of its keys: what is
    wrong is an empty text, which breaks none of them.
    """
    key = key_of(place)
    if not isinstance(value, dict):
        return None, [SettingProblem(key, f"found {shown(value)}", "a table")]
    kind = value.get("type")
    table = AUTH_TABLES.get(kind) if isinstance(kind, str) else None
    if table is None:
        found = "missing" if kind is None else f"found {shown(str(kind))}"
        return None, [SettingProblem(f"{key}.type", found, " or ".join(map(repr, AUTH_TABLES)))]
    try:
        return table.model_validate(value), []
    except ValidationError as error:
        problems = problems_of(error, place=place, known_keys=tuple(table.model_fields))
        wrong = {detail["loc"][0] for detail in error.errors()}
        sound = {
            name: "" if name in wrong else value[name]
            for name in table.model_fields
            if name in value or name in wrong
        }
        return table.model_construct(None, **sound), problems


def json_schemas() -> dict[str, Any]:
    """Return the JSON Schema of ``auth``, called Auth, and of its tables."""
    schema = TypeAdapter(Auth).json_schema(ref_template="#/$defs/{model}")
    return {**schema.pop("$defs"), "Auth": schema}
