"""What one value of fifo.toml may be: the types of ``settings``, each with its check and published schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from fifo_cli.handlers.key_sources import SECRET_PREFIX, secret_of
from fifo_cli.model import limits
from fifo_cli.model.expressions import fault_of
from fifo_cli.model.schedules import check_expression
from fifo_cli.model.times import DURATION_PATTERN, format_duration, parse_duration
from fifo_cli.model.urls import PATTERN as URL_PATTERN
from fifo_cli.model.urls import check_url

# Another value of these would break the request, or the promise that a repeat is recognised.
OWN_HEADERS: Final = frozenset({"content-length", "transfer-encoding", "connection", "idempotency-key"})


class TomlTable(BaseModel):
    """A table of fifo.toml."""

    # Built when first read: only the tables that the file holds, and each once, not again inside Settings.
    # That is 10 to 20 ms of CPU of every command that reads fifo.toml.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A check in a type's annotation: raises ValueError saying what is allowed; ``before`` pydantic's own."""

    check: Callable[[Any], Any]
    schema: dict[str, Any] | None = None
    before: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if self.before:
            return core_schema.no_info_before_validator_function(self.check, handler(source))
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.schema if self.schema is not None else handler(schema)


def _duration(low: timedelta, high: timedelta) -> Rule:
    """A duration between two bounds, both allowed."""
    allowed = f'a duration from "{format_duration(low)}" to "{format_duration(high)}", such as "90s" or "15m"'

    def check(value: object) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            duration = parse_duration(value if isinstance(value, str) else "")
        except ValueError:
            raise ValueError(allowed) from None
        if not low <= duration <= high:
            raise ValueError(allowed)
        return duration

    return Rule(check, {"type": "string", "pattern": DURATION_PATTERN, "description": allowed}, before=True)


def _matching(pattern: str, allowed: str) -> Rule:
    """A string that matches ``pattern`` wholly; ``allowed`` is what a person reads."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(allowed)
        return value

    return Rule(check, {"type": "string", "pattern": f"^(?:{pattern})$", "description": allowed})


def _checked(check: Callable[[str], object], schema: dict[str, Any] | None = None) -> Rule:
    """A string that ``check`` accepts without raising ValueError."""

    def apply(value: str) -> str:
        check(value)
        return value

    return Rule(apply, schema)


def _compile(expression: str) -> None:
    fault = fault_of(expression)
    if fault is not None:
        raise ValueError(f"a JMESPath expression ({fault})")


@cache
def _timezones() -> set[str]:
    """Return the time zones of this machine but for two that are none elsewhere; to find them takes 10 ms."""
    return available_timezones() - {"Factory", "localtime"}


def _known_timezone(name: str) -> None:
    if name not in _timezones():
        raise ValueError('an IANA time zone, such as "America/Los_Angeles"')


_PARAMETER: Final = r"/?[A-Za-z0-9_./-]{1,1011}"
# Secrets Manager API Reference, CreateSecret; the name of a secret that another service manages holds a "!".
_SECRET_NAME: Final = r"[A-Za-z0-9/_+=.@!-]{1,512}"
_SECRET: Final = rf"(?:arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{{12}}:secret:)?{_SECRET_NAME}"
_KEY_SOURCE: Final = f'the name of an SSM parameter, "{SECRET_PREFIX}NAME" or "{SECRET_PREFIX}NAME#FIELD"'


def _key_source(source: str) -> None:
    """Raise ValueError unless a parameter or a secret can have this name."""
    secret = secret_of(source)
    if secret is None:
        if source.startswith("arn:aws") and ":secretsmanager:" in source:
            raise ValueError(f'"{SECRET_PREFIX}" and then the ARN of the secret')
        if re.fullmatch(_PARAMETER, source) is None:
            raise ValueError(_KEY_SOURCE)
        _parameter_name(source)
    elif re.fullmatch(_SECRET, secret.id) is None:
        raise ValueError(
            f'"{SECRET_PREFIX}" and then the name of a secret (letters, digits and /_+=.@-) or its ARN, with'
            " #FIELD behind it for one field of its JSON"
        )
    elif secret.field == "":
        raise ValueError("the name of a field after the #, or no #")


def _parameter_name(name: str) -> None:
    """Raise ValueError unless a parameter can have this name (PutParameter, "Naming Constraints")."""
    levels = name.removeprefix("/").split("/")
    if "/" in name and not name.startswith("/"):
        raise ValueError(f'the name of an SSM parameter, which begins with / if it holds one: "/{name}"')
    if not all(levels):
        raise ValueError("the name of an SSM parameter, without // and without a / at its end")
    if len(levels) > limits.PARAMETER_LEVELS_MAX:
        raise ValueError(f"the name of an SSM parameter of at most {limits.PARAMETER_LEVELS_MAX} levels")


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("a list with at least one value")
    return values


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("values that differ from one another")
    return _some(values)


def _pair(low: str, high: str) -> tuple[Rule, Rule, Rule]:
    """A list of two values that are not in descending order; ``low`` and ``high`` are their names."""

    def check_length(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ValueError(f"a list of two, [{low}, {high}]")
        return value

    def check_order(values: tuple[Any, Any]) -> tuple[Any, Any]:
        if values[0] > values[1]:
            raise ValueError(f"[{low}, {high}] with {low} not above {high}")
        return values

    return LISTED, Rule(check_order), Rule(check_length, before=True)


def _rate(value: float) -> float:
    if not limits.RATE_MIN <= value <= limits.RATE_MAX:
        raise ValueError(f"a number of calls a second from {limits.RATE_MIN} to {limits.RATE_MAX}")
    return value


def _status_pattern(value: int | str) -> str:
    text = str(value).lower()
    if re.fullmatch(r"[1-5](xx|[0-9][0-9])", text) is None:
        raise ValueError('an HTTP status such as 204, or a class such as "2xx"')
    return text


_STATUS_SCHEMA: Final = {
    "anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[1-5](xx|[0-9]{2})$"}]
}
LISTED: Final = Rule(_tuple, before=True)
NOT_EMPTY: Final = Rule(_some)

PipelineName = Annotated[
    str,
    _matching(
        rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{limits.PIPELINE_NAME_MAX - 1}}}",
        f"1 to {limits.PIPELINE_NAME_MAX} letters, digits, hyphens or underscores, a letter or digit first",
    ),
]
Region = Annotated[str, _matching(r"[a-z]{2}(-[a-z]+)+-[0-9]", 'an AWS region, such as "us-west-2"')]
TableName = Annotated[
    str, _matching(r"[A-Za-z0-9_.-]{3,255}", "3 to 255 letters, digits, dots, hyphens or underscores")
]
KeyAttribute = Annotated[
    str,
    _matching(
        r"[^:]{1,255}(:(S|N|B))?",
        'an attribute name, with its type after a colon unless it is a string: "id", "created:N"',
    ),
]
Expression = Annotated[str, _checked(_compile)]
Events = Annotated[tuple[Literal["INSERT", "MODIFY", "REMOVE"], ...], LISTED, Rule(_unique)]
Retention = Annotated[timedelta, _duration(limits.RETENTION_MIN, limits.RETENTION_MAX)]
Schedules = Annotated[tuple[Annotated[str, _checked(check_expression)], ...], LISTED, Rule(_unique)]
Timezone = Annotated[str, _checked(_known_timezone)]
PythonRuntime = Annotated[str, _matching(r"python3\.(1[1-9]|[2-9][0-9])", '"python3.11" or newer')]
FunctionTimeout = Annotated[timedelta, _duration(timedelta(seconds=10), limits.FUNCTION_TIMEOUT_MAX)]
LogRetention = Annotated[timedelta, _duration(timedelta(days=1), timedelta(days=3653))]
PolicyArn = Annotated[str, _matching(r"arn:.+:policy/.+", "the ARN of an IAM policy")]
TopicArn = Annotated[str, _matching(r"arn:[^:]+:sns:.+", "the ARN of an SNS topic")]
Names = Annotated[tuple[str, ...], LISTED]
_URL_SCHEMA: Final = {"type": "string", "pattern": URL_PATTERN, "description": "an http:// or https:// URL"}
Url = Annotated[str, _checked(check_url, _URL_SCHEMA)]
TokenUrl = Annotated[str, _checked(lambda url: check_url(re.sub(r"\{\w+\}", "x", url)), _URL_SCHEMA)]
ApiTimeout = Annotated[timedelta, _duration(timedelta(seconds=1), timedelta(minutes=10))]
HeaderName = Annotated[str, _matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "an HTTP header name")]
HeaderText = Annotated[str, _matching(r"[\t\x20-\x7e]+", "printable ASCII")]
Text = Annotated[str, _matching(r"\s*\S(?s:.*)", "a text that is not blank")]
UserName = Annotated[
    str,
    _matching(
        r"[^:\x00-\x1f\x7f]*", "a text without a colon or control characters, which RFC 7617 does not allow"
    ),
]
Placeholder = Annotated[str, _matching(r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and underscores")]
KeySource = Annotated[
    str,
    _checked(
        _key_source,
        {
            "type": "string",
            "pattern": f"^(?:{_PARAMETER}|{SECRET_PREFIX}{_SECRET}(?:#.+)?)$",
            "description": _KEY_SOURCE,
        },
    ),
]
StatusPattern = Annotated[int | str, Rule(_status_pattern, _STATUS_SCHEMA)]
Statuses = Annotated[tuple[StatusPattern, ...], LISTED]
SomeStatuses = Annotated[Statuses, NOT_EMPTY]
ApiName = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9](?:[A-Za-z0-9 ._:/-]{0,62}[A-Za-z0-9])?",
        "1 to 64 letters, digits, spaces and . _ : / -, a letter or digit first and last",
    ),
]
CodeReference = Annotated[str, _matching(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", '"module:function"')]
IncludedFile = Annotated[
    str, _matching(r"(?!/)(?!(.*/)?\.\.?(/|$))[^\\]+", "a path below handlers.source, with / and without ..")
]
IncludedFiles = Annotated[tuple[IncludedFile, ...], LISTED]
Age = Annotated[timedelta, _duration(timedelta(0), limits.RETENTION_MAX)]
Count = Annotated[int, Field(ge=0)]
Counts = Annotated[tuple[Count, Count], *_pair("warning", "critical")]
Ages = Annotated[tuple[Age, Age], *_pair("warning", "critical")]
Pause = Annotated[timedelta, _duration(timedelta(seconds=1), limits.VISIBILITY_MAX)]
Pauses = Annotated[tuple[Pause, Pause], *_pair("first", "longest")]
_RATE_SCHEMA: Final = {"type": "number", "minimum": limits.RATE_MIN, "maximum": limits.RATE_MAX}
Rate = Annotated[float, Rule(_rate, _RATE_SCHEMA)]
TagKey = Annotated[
    str,
    _matching(
        r"(?!(?:[Aa][Ww][Ss]|[Ff][Ii][Ff][Oo]-[Cc][Ll][Ii]):)[\w .:/=+@-]{1,128}",
        "1 to 128 letters, digits and _.:/=+-@, not starting with aws: or fifo-cli:",
    ),
]
TagValue = Annotated[str, _matching(r"[\w .:/=+@-]{0,256}", "up to 256 letters, digits and _.:/=+-@")]
