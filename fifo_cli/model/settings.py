"""fifo.toml → Settings: read, overlaid with ``[env.NAME]``, and checked, all problems at once.

The tables and their keys are the contract's; what each value may be stands here and nowhere else,
and ``json_schema`` derives the published schema from it.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from zoneinfo import available_timezones

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, core_schema

from fifo_cli.errors import ConfigError
from fifo_cli.invocation import command_line
from fifo_cli.model import limits
from fifo_cli.model.expressions import fault_of
from fifo_cli.model.schedules import check_expression
from fifo_cli.model.setting_problems import SettingProblem, problems_of
from fifo_cli.model.times import DURATION_PATTERN, format_duration, parse_duration
from fifo_cli.model.urls import PATTERN as URL_PATTERN
from fifo_cli.model.urls import authority_of, check_url, host_of, is_this_machine
from fifo_cli.model.user_code import code_problems

CONFIG_FILE: Final = "fifo.toml"
# Time the worker keeps at the end of a run to delete, park and release what it holds.
RUN_RESERVE: Final = timedelta(seconds=5)
# Another value of these would break the request, or the promise that a repeat is recognised.
_OWN_HEADERS: Final = frozenset({"content-length", "transfer-encoding", "connection", "idempotency-key"})
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """A check in a type's annotation: raises ValueError saying what is allowed; ``before`` pydantic's own."""

    check: Callable[[Any], Any]
    schema: dict[str, Any] | None = None
    before: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        wrap = core_schema.no_info_before_validator_function if self.before else _after
        return wrap(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.schema if self.schema is not None else handler(schema)


def _after(check: Callable[[Any], Any], schema: CoreSchema) -> CoreSchema:
    return core_schema.no_info_after_validator_function(check, schema)


def _duration(low: timedelta, high: timedelta) -> _Rule:
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

    return _Rule(check, {"type": "string", "pattern": DURATION_PATTERN, "description": allowed}, before=True)


def _matching(pattern: str, allowed: str) -> _Rule:
    """A string that matches ``pattern`` wholly; ``allowed`` is what a person reads."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(allowed)
        return value

    return _Rule(check, {"type": "string", "pattern": f"^(?:{pattern})$", "description": allowed})


def _checked(check: Callable[[str], object], schema: dict[str, Any] | None = None) -> _Rule:
    """A string that ``check`` accepts without raising ValueError."""

    def apply(value: str) -> str:
        check(value)
        return value

    return _Rule(apply, schema)


def _compile(expression: str) -> None:
    fault = fault_of(expression)
    if fault is not None:
        raise ValueError(f"a JMESPath expression ({fault})")


def _known_timezone(name: str) -> None:
    # Of this machine's, two are no zone anywhere else.
    if name not in available_timezones() - {"Factory", "localtime"}:
        raise ValueError('an IANA time zone, such as "America/Los_Angeles"')


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


def _ascending(values: tuple[Any, Any]) -> tuple[Any, Any]:
    if values[0] > values[1]:
        raise ValueError("[warning, critical] with warning not above critical")
    return values


def _status_pattern(value: int | str) -> str:
    text = str(value).lower()
    if re.fullmatch(r"[1-5](xx|[0-9][0-9])", text) is None:
        raise ValueError('an HTTP status such as 204, or a class such as "2xx"')
    return text


_STATUS_SCHEMA: Final = {
    "anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[1-5](xx|[0-9]{2})$"}]
}
_LISTED: Final = _Rule(_tuple, before=True)

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
Events = Annotated[tuple[Literal["INSERT", "MODIFY", "REMOVE"], ...], _LISTED, _Rule(_unique)]
Retention = Annotated[timedelta, _duration(limits.RETENTION_MIN, limits.RETENTION_MAX)]
Schedules = Annotated[tuple[Annotated[str, _checked(check_expression)], ...], _LISTED, _Rule(_unique)]
Timezone = Annotated[str, _checked(_known_timezone)]
PythonRuntime = Annotated[str, _matching(r"python3\.(1[1-9]|[2-9][0-9])", '"python3.11" or newer')]
FunctionTimeout = Annotated[timedelta, _duration(timedelta(seconds=10), limits.FUNCTION_TIMEOUT_MAX)]
LogRetention = Annotated[timedelta, _duration(timedelta(days=1), timedelta(days=3653))]
PolicyArn = Annotated[str, _matching(r"arn:.+:policy/.+", "the ARN of an IAM policy")]
TopicArn = Annotated[str, _matching(r"arn:[^:]+:sns:.+", "the ARN of an SNS topic")]
Names = Annotated[tuple[str, ...], _LISTED]
Url = Annotated[
    str,
    _checked(
        check_url,
        {"type": "string", "pattern": URL_PATTERN, "description": "an http:// or https:// URL"},
    ),
]
ApiTimeout = Annotated[timedelta, _duration(timedelta(seconds=1), timedelta(minutes=10))]
HeaderName = Annotated[str, _matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "an HTTP header name")]
Placeholder = Annotated[str, _matching(r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and underscores")]
Parameter = Annotated[
    str,
    _matching(r"/?[A-Za-z0-9_./-]{1,1011}", "the name of an SSM parameter"),
    _checked(_parameter_name),
]
StatusPattern = Annotated[int | str, _Rule(_status_pattern, _STATUS_SCHEMA)]
Statuses = Annotated[tuple[StatusPattern, ...], _LISTED]
SomeStatuses = Annotated[Statuses, _Rule(_some)]
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
IncludedFiles = Annotated[tuple[IncludedFile, ...], _LISTED]
Age = Annotated[timedelta, _duration(timedelta(0), limits.RETENTION_MAX)]
Count = Annotated[int, Field(ge=0)]
Counts = Annotated[tuple[Count, Count], _LISTED, _Rule(_ascending)]
Ages = Annotated[tuple[Age, Age], _LISTED, _Rule(_ascending)]
TagKey = Annotated[
    str,
    _matching(
        r"(?!(?:[Aa][Ww][Ss]|[Ff][Ii][Ff][Oo]-[Cc][Ll][Ii]):)[\w .:/=+@-]{1,128}",
        "1 to 128 letters, digits and _.:/=+-@, not starting with aws: or fifo-cli:",
    ),
]
TagValue = Annotated[str, _matching(r"[\w .:/=+@-]{0,256}", "up to 256 letters, digits and _.:/=+-@")]


class _Table(BaseModel):
    # Built when first read: only the tables that the file holds, and each once, not again inside Settings.
    # That is 10 to 20 ms of CPU of every command that reads fifo.toml.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Pipeline(_Table):
    """The pipeline itself."""

    name: PipelineName = Field(description="prefix of every resource")
    region: Region | None = None


class Table(_Table):
    """The DynamoDB table whose new items become messages."""

    name: TableName
    create: bool = Field(default=True, description="false: the table exists; only its stream is switched on")
    partition_key: KeyAttribute = "id"
    sort_key: KeyAttribute | None = None
    start: Literal["now", "oldest"] = Field(
        default="now",
        description="a table that was there before: what is written from the first deploy on (now), or the 24"
        " hours its stream holds, too (oldest)",
    )

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The key attributes as (name, type), the partition key first."""
        texts = [text for text in (self.partition_key, self.sort_key) if text]
        return tuple((name, kind or "S") for name, _, kind in (text.partition(":") for text in texts))


class Message(_Table):
    """How an item becomes a message."""

    events: Events = ("INSERT",)
    where: Expression | None = None
    body: Expression | None = None
    group: Expression | None = None


class Queue(_Table):
    """The FIFO queues."""

    retention: Retention = limits.RETENTION_MAX
    high_throughput: bool = False
    kms_key: str | None = Field(default=None, min_length=1)
    max_receives: int = Field(
        default=0,
        ge=0,
        le=limits.MAX_RECEIVES_MAX,
        description="0: main has no redrive policy, so no outage is ever too long",
    )


class Schedule(_Table):
    """When the worker runs."""

    expressions: Schedules = ("rate(5 minutes)",)
    timezone: Timezone | None = None
    messages_per_run: int = Field(default=10, ge=1, le=10_000)


class Functions(_Table):
    """The two Lambda functions."""

    runtime: PythonRuntime = "python3.13"
    architecture: Literal["arm64", "x86_64"] = "arm64"
    memory: int = Field(
        default=256, ge=limits.FUNCTION_MEMORY_MIN, le=limits.FUNCTION_MEMORY_MAX, description="MiB"
    )
    timeout: FunctionTimeout = timedelta(seconds=60)
    log_retention: LogRetention = timedelta(days=30)
    permissions_boundary: PolicyArn | None = None
    subnets: Names = ()
    security_groups: Names = ()


class Api(_Table):
    """One HTTP API that gets the messages."""

    name: ApiName | None = Field(
        default=None, description="how results, logs and reasons call it; default its host"
    )
    url: Url
    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    timeout: ApiTimeout = timedelta(seconds=10)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    keys: dict[Placeholder, Parameter] = Field(default_factory=dict)
    success: SomeStatuses = ("2xx",)
    permanent: Statuses = ("400", "404", "409", "410", "413", "415", "422")
    on_permanent: Literal["park", "block"] = "park"
    give_up_after: Age = timedelta(0)
    insecure: bool = Field(
        default=False, description="true: keys may go to an http:// URL that is not on this machine"
    )


class Handlers(_Table):
    """The user's own code."""

    source: str = Field(min_length=1)
    message: CodeReference | None = None
    request: CodeReference | None = None
    include: IncludedFiles = ()
    allow_builds: bool = False


class Check(_Table):
    """Thresholds of ``check`` and the alarms, each [warning, critical]."""

    depth: Counts = (1000, 10_000)
    age: Ages = (timedelta(minutes=15), timedelta(hours=1))
    dlq: Counts = (1, 10)


class Alarms(_Table):
    """CloudWatch alarms on the same numbers."""

    sns_topic: TopicArn | None = None


class Settings(_Table):
    """One pipeline, as fifo.toml describes it, with every default filled in."""

    pipeline: Pipeline
    table: Table
    message: Message = Message.model_construct()
    queue: Queue = Queue.model_construct()
    schedule: Schedule = Schedule.model_construct()
    functions: Functions = Functions.model_construct()
    api: Annotated[tuple[Api, ...], _LISTED, _Rule(_some)]
    handlers: Handlers | None = None
    check: Check = Check.model_construct()
    alarms: Alarms | None = None
    tags: dict[TagKey, TagValue] = Field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, str]:
        """Every header placeholder of every API → its SSM parameter."""
        return {name: parameter for api in self.api for name, parameter in api.keys.items()}

    @property
    def api_names(self) -> tuple[str, ...]:
        """How results, logs and reasons call each API; no two are called the same.

        Without a name it is the host: with its port where another has the same host, with the number of its
        table where that does not help. Never the path: with some APIs, it is the key.
        """
        given = Counter(api.name for api in self.api if api.name)
        short, long = (
            Counter(host_of(api.url) for api in self.api),
            Counter(authority_of(api.url) for api in self.api),
        )

        def default(number: int, url: str) -> str:
            for name, taken in ((host_of(url), short), (authority_of(url), long)):
                if taken[name] == 1 and not given[name]:
                    return name
            return f"{authority_of(url)} #{number}"

        return tuple(api.name or default(number, api.url) for number, api in enumerate(self.api, 1))

    @property
    def run_needs(self) -> timedelta:
        """The time a run must have left before it starts a message: every API may take its whole timeout."""
        return sum((api.timeout for api in self.api), timedelta(0)) + RUN_RESERVE


@dataclass(frozen=True, slots=True)
class Project:
    """A fifo.toml that has been read: its settings and where it lies."""

    settings: Settings
    path: Path
    env: str | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def source(self) -> Path | None:
        """The folder of the user's own code, if there is any."""
        return self.folder / self.settings.handlers.source if self.settings.handlers else None


def load(path: Path, *, env: str | None = None) -> Project:
    """Read and check a fifo.toml; raise ConfigError with every problem found."""
    document = _read(path)
    overlays = document.pop("env", {})
    if not isinstance(overlays, dict):
        raise ConfigError(
            f"{path} has problems:",
            ["env: found a value; must be tables such as [env.prod.pipeline]"],
            hint="fix it and run the command again",
        )
    if env is not None:
        document = _overlay(document, _environment(path, overlays, env))
    settings, problems, handlers = _validate(document)
    known = set(Settings.model_fields)
    for name, tables in overlays.items():
        unknown = sorted(set(tables) - known) if isinstance(tables, dict) else ["(not a table)"]
        problems += [
            SettingProblem(f"env.{name}.{key}", "found", f"one of {', '.join(sorted(known))}")
            for key in unknown
        ]
    project = Project(settings, path, env) if settings else None
    if handlers:
        problems += code_problems(
            path.parent / handlers.source, {"message": handlers.message, "request": handlers.request}
        )
    if problems or project is None:
        where = f"{path} (with --env {env})" if env else str(path)
        raise ConfigError(
            f"{where} has {len(problems)} problem{'s' if len(problems) != 1 else ''}:",
            [str(problem) for problem in problems],
            hint=f"fix them and run the command again; {command_line('schema')} prints what is allowed",
        )
    return project


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint=f"write one with {command_line('init')}") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            hint="name the fifo.toml with --config or $FIFO_CONFIG, and let this user read it",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not TOML: {error}", hint="fix that line and run the command again"
        ) from None


def _environment(path: Path, overlays: dict[str, Any], env: str) -> dict[str, Any]:
    overlay = overlays.get(env)
    if not isinstance(overlay, dict):
        known = ", ".join(sorted(overlays)) or "none"
        raise ConfigError(
            f"{path} has no [env.{env}] tables; environments there: {known}",
            hint=f"give one of these with --env, or write [env.{env}.pipeline]",
        )
    return overlay


def _overlay(base: Any, top: Any) -> Any:
    """Lay ``top`` over ``base``: tables merge key by key, anything else is replaced."""
    if isinstance(base, list) and len(base) == 1 and isinstance(top, dict):
        return [_overlay(base[0], top)]
    if not (isinstance(base, dict) and isinstance(top, dict)):
        return top
    merged = dict(base)
    for key, value in top.items():
        merged[key] = _overlay(base[key], value) if key in base else value
    return merged


def _known_keys(annotation: Any) -> list[str]:
    """Return the keys of the table, or of the tables in a list, that a field holds."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return list(one.model_fields)
    return []


def _validate(document: dict[str, Any]) -> tuple[Settings | None, list[SettingProblem], Handlers | None]:
    """Check table by table, so that rules over several tables run on those that are sound.

    Returns the [handlers] table too, if that is sound, even if others are not.
    """
    problems: list[SettingProblem] = []
    sound: dict[str, Any] = {}
    single = isinstance(document.get("api"), dict)
    if single:
        document = {**document, "api": [document["api"]]}
    for name, field in Settings.model_fields.items():
        if name not in document:
            if field.is_required():
                problems.append(SettingProblem(name, "missing", f"a [{name}] table"))
            else:
                # Without validated_data, pydantic 2.10.0 calls no default factory.
                sound[name] = field.get_default(call_default_factory=True, validated_data={})
            continue
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])  # type: ignore[arg-type]
        try:
            sound[name] = adapter.validate_python(document[name])
        except ValidationError as error:
            problems += problems_of(error, prefix=(name,), known_keys=_known_keys(field.annotation))
    problems += [
        SettingProblem(key, "unknown table", f"one of {', '.join(Settings.model_fields)}, env")
        for key in document
        if key not in Settings.model_fields
    ]
    problems += _combinations(sound)
    if single:
        problems = [replace(one, key=one.key.replace("api[0]", "api", 1)) for one in problems]
    return (None if problems else Settings.model_construct(**sound)), problems, sound.get("handlers")


def _combinations(sound: Mapping[str, Any]) -> list[SettingProblem]:
    """Check what no single value can tell."""
    found: list[SettingProblem] = []
    apis: tuple[Api, ...] = sound.get("api", ())
    functions: Functions | None = sound.get("functions")
    handlers: Handlers | None = sound.get("handlers")
    table: Table | None = sound.get("table")
    if table and len({name for name, _ in table.keys}) < len(table.keys):
        found.append(
            SettingProblem("table.sort_key", repr(table.sort_key), "another attribute than partition_key")
        )
    if functions and bool(functions.subnets) != bool(functions.security_groups):
        found.append(
            SettingProblem("functions", "subnets without security_groups or the reverse", "both or neither")
        )
    if functions and functions.log_retention % timedelta(days=1):
        found.append(
            SettingProblem("functions.log_retention", format_duration(functions.log_retention), "whole days")
        )
    elif functions and functions.log_retention.days not in limits.LOG_RETENTION_DAYS:
        days = ", ".join(f"{day}d" for day in limits.LOG_RETENTION_DAYS)
        found.append(
            SettingProblem(
                "functions.log_retention", format_duration(functions.log_retention), f"one of {days}"
            )
        )
    if functions and apis:
        needs = sum((api.timeout for api in apis), RUN_RESERVE)
        if needs > functions.timeout:
            allowed = (
                f"at least {format_duration(needs)}: the timeouts of all [api] tables and"
                f" {format_duration(RUN_RESERVE)} to finish cleanly"
            )
            found.append(SettingProblem("functions.timeout", format_duration(functions.timeout), allowed))
    if handlers and not (handlers.message or handlers.request):
        found.append(SettingProblem("handlers", "only source", "message, request or both beside it"))
    if handlers and handlers.request and len(apis) > 1:
        found.append(
            SettingProblem(
                "handlers.request", f"beside {len(apis)} [[api]] tables", "one [api] when request is set"
            )
        )
    for number, api in enumerate(apis):
        found += _api_combinations(api, f"api[{number}]" if len(apis) > 1 else "api")
    return [
        *found,
        *_key_clashes(apis),
        *_name_clashes(apis),
        *_too_many_rules(sound.get("schedule")),
        *_tag_faults(sound),
    ]


def _too_many_rules(schedule: Schedule | None) -> list[SettingProblem]:
    """A rule needs a permission in the worker's resource-based policy; a schedule of Scheduler does not."""
    if schedule is None or schedule.timezone or len(schedule.expressions) <= limits.RULES_MAX:
        return []
    allowed = f"at most {limits.RULES_MAX}, or with a timezone"
    return [SettingProblem("schedule.expressions", f"{len(schedule.expressions)} expressions", allowed)]


def _tag_faults(sound: Mapping[str, Any]) -> list[SettingProblem]:
    """Tags that AWS would refuse together; to IAM, two keys that differ only in case are the same."""
    tags: Mapping[str, str] = sound.get("tags", {})
    first: dict[str, str] = {}
    found = [
        SettingProblem(
            f"tags.{key}", repr(key), f"a key that differs from {first[key.lower()]!r} not only in case"
        )
        for key in tags
        if first.setdefault(key.lower(), key) != key
    ]
    if len(tags) > limits.TAGS_MAX:
        allowed = f"at most {limits.TAGS_MAX}: AWS takes 50 of a resource, and this program has its own"
        found.append(SettingProblem("tags", f"{len(tags)} tags", allowed))
    return found


def _api_combinations(api: Api, key: str) -> list[SettingProblem]:
    found = [
        SettingProblem(f"{key}.headers.{header}", "a header that this program sets itself", "left out")
        for header in api.headers
        if header.lower() in _OWN_HEADERS
    ]
    for header, value in api.headers.items():
        found += [
            SettingProblem(
                f"{key}.headers.{header}",
                f"{{{name}}}",
                f"a name from {key}.keys ({', '.join(api.keys) or 'empty'})",
            )
            for name in _PLACEHOLDER.findall(value)
            if name not in api.keys
        ]
        if re.search(r"[^\t\x20-\x7e]", value):
            found.append(SettingProblem(f"{key}.headers.{header}", repr(value), "printable ASCII"))
    if api.url.startswith("http://") and not (api.insecure or is_this_machine(host_of(api.url))):
        used = sorted({name for value in api.headers.values() for name in _PLACEHOLDER.findall(value)})
        if used:
            found.append(
                SettingProblem(
                    f"{key}.url",
                    f"{api.url!r} with keys ({', '.join(used)})",
                    "https://, or insecure = true: anyone on the way can read a key sent over http://",
                )
            )
    both = sorted({str(status) for status in api.success} & {str(status) for status in api.permanent})
    if both:
        found.append(
            SettingProblem(f"{key}.permanent", ", ".join(both), "statuses that are not in success as well")
        )
    return found


def _key_clashes(apis: tuple[Api, ...]) -> list[SettingProblem]:
    """One placeholder name means one parameter in the whole pipeline."""
    first: dict[str, str] = {}
    return [
        SettingProblem(
            f"api[{number}].keys.{name}", repr(parameter), f"{first[name]!r} as in the first, or another name"
        )
        for number, api in enumerate(apis)
        for name, parameter in api.keys.items()
        if first.setdefault(name, parameter) != parameter
    ]


def _name_clashes(apis: tuple[Api, ...]) -> list[SettingProblem]:
    """A reason that names an API names one of them."""
    names = [api.name for api in apis]
    return [
        SettingProblem(
            f"api[{number}].name", repr(name), f"another name than that of api[{names.index(name)}]"
        )
        for number, name in enumerate(names)
        if name is not None and names.index(name) < number
    ]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of fifo.toml (draft 2020-12)."""
    for field in Settings.model_fields.values():
        # Pydantic 2.10 writes a default only of a table that is built.
        if isinstance(field.default, _Table):
            type(field.default).model_rebuild()
    schema = Settings.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    api = {"$ref": "#/$defs/Api"}
    schema["properties"]["api"] = {
        "anyOf": [api, {"type": "array", "items": api, "minItems": 1}],
        "description": "one [api], or [[api]] several times: called in order",
    }
    overlay = {
        name: {"anyOf": [{"type": "object"}, {"type": "array"}]} if name == "api" else {"type": "object"}
        for name in Settings.model_fields
    }
    definitions["Overlay"] = {"type": "object", "properties": overlay, "additionalProperties": False}
    schema["properties"]["env"] = {
        "type": "object",
        "additionalProperties": {"$ref": "#/$defs/Overlay"},
        "description": "--env NAME: these tables overlay the ones above",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": CONFIG_FILE,
    }
