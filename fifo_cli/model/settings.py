"""fifo.toml → Settings: read, overlaid with ``[env.NAME]``, and checked, all problems at once.

docs/configuration.md says what the keys mean. What a single value may be stands in ``setting_types``, what
several may be together here; ``json_schema`` derives the published schema from both.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from fifo_cli.errors import ConfigError
from fifo_cli.handlers.placeholders import PLACEHOLDER
from fifo_cli.invocation import command_line
from fifo_cli.model import limits
from fifo_cli.model import setting_types as types
from fifo_cli.model.names import Names
from fifo_cli.model.setting_problems import SettingProblem, http_problems, problems_of
from fifo_cli.model.times import format_duration
from fifo_cli.model.urls import authority_of, host_of
from fifo_cli.model.user_code import code_problems

# auth_settings reads it where a file has one: to build its tables takes 14 ms, which others need not pay.
if TYPE_CHECKING:
    from fifo_cli.model.auth_settings import AuthTable as Auth
else:
    Auth = Any

CONFIG_FILE: Final = "fifo.toml"
# Time the worker keeps at the end of a run to delete, park and release what it holds.
RUN_RESERVE: Final = timedelta(seconds=5)
# Statuses after which a later attempt cannot succeed.
PERMANENT: Final = ("400", "404", "409", "410", "413", "415", "422")


class Pipeline(types.TomlTable):
    """The pipeline itself."""

    name: types.PipelineName = Field(description="prefix of every resource")
    region: types.Region | None = None


class Table(types.TomlTable):
    """The DynamoDB table whose new items become messages."""

    name: types.TableName
    create: bool = Field(default=True, description="false: the table exists; only its stream is switched on")
    partition_key: types.KeyAttribute = "id"
    sort_key: types.KeyAttribute | None = None
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


class Message(types.TomlTable):
    """How an item becomes a message."""

    events: types.Events = ("INSERT",)
    where: types.Expression | None = None
    body: types.Expression | None = None
    group: types.Expression | None = None


class Queue(types.TomlTable):
    """The FIFO queues."""

    retention: types.Retention = limits.RETENTION_MAX
    high_throughput: bool = False
    kms_key: str | None = Field(default=None, min_length=1)
    max_receives: int = Field(
        default=0,
        ge=0,
        le=limits.MAX_RECEIVES_MAX,
        description="0: main has no redrive policy, so no outage is ever too long",
    )


class Schedule(types.TomlTable):
    """When the worker runs."""

    expressions: types.Schedules = ("rate(5 minutes)",)
    timezone: types.Timezone | None = None
    messages_per_run: int = Field(default=10, ge=1, le=10_000)


class Worker(types.TomlTable):
    """What starts the worker, and how it delivers."""

    trigger: Literal["schedule", "queue"] = Field(
        default="schedule",
        description="schedule: at the times of [schedule]; queue: within seconds, Lambda polls main itself",
    )
    concurrency: int = Field(
        default=1,
        ge=1,
        le=limits.CONCURRENCY_MAX,
        description="groups delivered at a time by one function",
    )
    max_functions: int = Field(
        default=10,
        ge=limits.MAX_FUNCTIONS_MIN,
        le=limits.MAX_FUNCTIONS_MAX,
        description='trigger = "queue": functions at a time',
    )
    max_rate: types.Rate | None = Field(
        default=None, description="API calls a second of one function; not set: no limit"
    )
    retry: types.Pauses = Field(
        default=(timedelta(seconds=10), timedelta(minutes=5)),
        description='trigger = "queue": pause of a group after a transient failure: first, longest',
    )
    breaker: int = Field(
        default=5,
        ge=0,
        le=limits.BREAKER_MAX,
        description="transient failures in a row, of different groups, that end a run; 0: never",
    )

    @property
    def by_queue(self) -> bool:
        """Whether Lambda polls main; else the worker is started at the times of ``[schedule]``."""
        return self.trigger == "queue"


class Functions(types.TomlTable):
    """The two Lambda functions."""

    runtime: types.PythonRuntime = "python3.13"
    architecture: Literal["arm64", "x86_64"] = "arm64"
    memory: int = Field(
        default=256, ge=limits.FUNCTION_MEMORY_MIN, le=limits.FUNCTION_MEMORY_MAX, description="MiB"
    )
    timeout: types.FunctionTimeout = timedelta(seconds=60)
    log_retention: types.LogRetention = timedelta(days=30)
    permissions_boundary: types.PolicyArn | None = None
    subnets: types.Names = ()
    security_groups: types.Names = ()


class Api(types.TomlTable):
    """One HTTP API that gets the messages."""

    name: types.ApiName | None = Field(
        default=None, description="how results, logs and reasons call it; default its host"
    )
    url: types.Url
    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    timeout: types.ApiTimeout = timedelta(seconds=10)
    headers: dict[types.HeaderName, str] = Field(default_factory=dict)
    keys: dict[types.Placeholder, types.KeySource] = Field(default_factory=dict)
    auth: Auth | None = None
    success: types.SomeStatuses = ("2xx",)
    permanent: types.Statuses = PERMANENT
    on_permanent: Literal["park", "block"] = "park"
    give_up_after: types.Age = timedelta(0)
    insecure: bool = Field(
        default=False, description="true: keys may go to an http:// URL that is not on this machine"
    )


class Handlers(types.TomlTable):
    """The user's own code."""

    source: str = Field(min_length=1)
    message: types.CodeReference | None = None
    request: types.CodeReference | None = None
    include: types.IncludedFiles = ()
    allow_builds: bool = False


class Check(types.TomlTable):
    """Thresholds of ``check`` and the alarms, each [warning, critical]."""

    depth: types.Counts = (1000, 10_000)
    age: types.Ages = (timedelta(minutes=15), timedelta(hours=1))
    dlq: types.Counts = (1, 10)


class Alarms(types.TomlTable):
    """CloudWatch alarms on the same numbers."""

    sns_topic: types.TopicArn | None = None


CodeRole = Literal["message", "request"]
CODE_ROLES: Final[tuple[CodeRole, ...]] = get_args(CodeRole)


class Settings(types.TomlTable):
    """One pipeline, as fifo.toml describes it, with every default filled in."""

    pipeline: Pipeline
    table: Table
    message: Message = Message.model_construct()
    queue: Queue = Queue.model_construct()
    schedule: Schedule = Schedule.model_construct()
    worker: Worker = Worker.model_construct()
    functions: Functions = Functions.model_construct()
    api: Annotated[tuple[Api, ...], types.LISTED, types.NOT_EMPTY]
    handlers: Handlers | None = None
    check: Check = Check.model_construct()
    alarms: Alarms | None = None
    tags: dict[types.TagKey, types.TagValue] = Field(default_factory=dict)

    @property
    def names(self) -> Names:
        """The names of the pipeline's resources."""
        return Names(self.pipeline.name)

    @property
    def parameters(self) -> dict[str, str]:
        """Every placeholder of every API → where its value is: an SSM parameter or a secret."""
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
        """The time a run must have left before it starts a message."""
        return _run_needs(self.api)


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


def load(path: Path, *, env: str | None = None, code: Iterable[CodeRole] = CODE_ROLES) -> Project:
    """Read and check a fifo.toml; raise ConfigError with every problem found.

    Of the user's own ``code`` that is checked, too, which the caller is going to run or to pack: a mistake in
    it must stop nobody else.
    """
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
    in_file = bool(problems)
    references = {str(role): getattr(handlers, role) for role in code} if handlers else {}
    if handlers and (any(references.values()) or len(references) == len(CODE_ROLES)):
        problems += code_problems(path.parent / handlers.source, references)
    if problems or project is None:
        where = f"{path} (with --env {env})" if env else str(path)
        raise ConfigError(
            f"{where} has {len(problems)} problem{'s' if len(problems) != 1 else ''}:",
            [str(problem) for problem in problems],
            hint=f"fix them and run the command again; {command_line('schema')} prints what is allowed"
            if in_file
            else "correct your code, or [handlers], and run the command again",
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
    """Lay ``top`` over ``base``: tables merge key by key; anything else, and another ``auth``, replaces."""
    if isinstance(base, list) and len(base) == 1 and isinstance(top, dict):
        return [_overlay(base[0], top)]
    if not (isinstance(base, dict) and isinstance(top, dict)):
        return top
    if "type" in top and top["type"] != base.get("type"):  # of auth: another type has other keys
        return top
    return base | {key: _overlay(base[key], value) if key in base else value for key, value in top.items()}


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
    if isinstance(document.get("api"), dict):
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
            problems += problems_of(error, place=(name,), known_keys=_known_keys(field.annotation))
    problems += _read_auths(document.get("api"), sound)
    problems += [
        SettingProblem(key, "unknown table", f"one of {', '.join(Settings.model_fields)}, env")
        for key in document
        if key not in Settings.model_fields
    ]
    if isinstance(tables := document.get("api"), list) and len(tables) == 1:
        problems = [one._replace(key=one.key.replace("api[0]", "api", 1)) for one in problems]
    known = {one.key for one in problems}
    problems += [one for one in _combinations(sound) if one.key not in known]
    return (None if problems else Settings.model_construct(**sound)), problems, sound.get("handlers")


def _read_auths(tables: object, sound: dict[str, Any]) -> list[SettingProblem]:
    """Read the ``auth`` of each ``[api]`` table."""
    found: list[SettingProblem] = []
    for number, table in enumerate(tables if isinstance(tables, list) else ()):
        if not (isinstance(table, dict) and "auth" in table):
            continue
        from fifo_cli.model.auth_settings import read_auth  # noqa: PLC0415 - see Auth

        auth, problems = read_auth(table["auth"], ("api", number, "auth"))
        found += problems
        if "api" in sound:
            made = sound["api"][number].model_copy(update={"auth": auth})
            sound["api"] = (*sound["api"][:number], made, *sound["api"][number + 1 :])
    return found


def _combinations(sound: Mapping[str, Any]) -> Iterator[SettingProblem]:
    """Yield what is wrong with values together, though each one is allowed."""
    apis: tuple[Api, ...] = sound.get("api", ())
    table: Table | None = sound.get("table")
    if table and len({name for name, _ in table.keys}) < len(table.keys):
        yield SettingProblem("table.sort_key", repr(table.sort_key), "another attribute than partition_key")
    if functions := sound.get("functions"):
        yield from _function_combinations(functions, apis)
    handlers: Handlers | None = sound.get("handlers")
    if handlers and not (handlers.message or handlers.request):
        yield SettingProblem("handlers", "only source", "message, request or both beside it")
    if handlers and handlers.request and len(apis) > 1:
        found = f"beside {len(apis)} [[api]] tables"
        yield SettingProblem("handlers.request", found, "one [api] when request is set")
    for number, api in enumerate(apis):
        yield from _api_combinations(api, f"api[{number}]" if len(apis) > 1 else "api")
    yield from _key_clashes(apis)
    yield from _name_clashes(apis)
    yield from _trigger_combinations(sound.get("schedule"), sound.get("worker"), sound.get("queue"))
    yield from _tag_combinations(sound.get("tags", {}))


def _run_needs(apis: Iterable[Api]) -> timedelta:
    """Return how long a message may take: every API may take its whole timeout."""
    return sum((api.timeout for api in apis), RUN_RESERVE)


def _function_combinations(functions: Functions, apis: Iterable[Api]) -> Iterator[SettingProblem]:
    if bool(functions.subnets) != bool(functions.security_groups):
        yield SettingProblem("functions", "subnets without security_groups or the reverse", "both or neither")
    retention = functions.log_retention
    days = ", ".join(f"{day}d" for day in limits.LOG_RETENTION_DAYS)
    if retention % timedelta(days=1):
        yield SettingProblem("functions.log_retention", format_duration(retention), "whole days")
    elif retention.days not in limits.LOG_RETENTION_DAYS:
        yield SettingProblem("functions.log_retention", format_duration(retention), f"one of {days}")
    if (needs := _run_needs(apis)) > functions.timeout:
        allowed = (
            f"at least {format_duration(needs)}: the timeouts of all [api] tables and"
            f" {format_duration(RUN_RESERVE)} to finish cleanly"
        )
        yield SettingProblem("functions.timeout", format_duration(functions.timeout), allowed)


def _trigger_combinations(
    schedule: Schedule | None, worker: Worker | None, queue: Queue | None
) -> Iterator[SettingProblem]:
    # A rule needs a permission in the worker's resource-based policy; a schedule of Scheduler does not.
    if schedule and not schedule.timezone and len(schedule.expressions) > limits.RULES_MAX:
        allowed = f"at most {limits.RULES_MAX}, or with a timezone"
        yield SettingProblem("schedule.expressions", f"{len(schedule.expressions)} expressions", allowed)
    # With the queue as trigger, SQS itself may not move what failed: the pause of a group is a receive.
    if worker and queue and worker.by_queue and queue.max_receives:
        allowed = '0 with [worker] trigger = "queue": each pause in an outage counts as a receive'
        yield SettingProblem("queue.max_receives", str(queue.max_receives), allowed)


def _tag_combinations(tags: Mapping[str, str]) -> Iterator[SettingProblem]:
    """Tags that AWS would refuse together; to IAM, two keys that differ only in case are the same."""
    first: dict[str, str] = {}
    for key in tags:
        if (before := first.setdefault(key.lower(), key)) != key:
            allowed = f"a key that differs from {before!r} not only in case"
            yield SettingProblem(f"tags.{key}", repr(key), allowed)
    if len(tags) > limits.TAGS_MAX:
        allowed = f"at most {limits.TAGS_MAX}: AWS takes 50 of a resource, and this program has its own"
        yield SettingProblem("tags", f"{len(tags)} tags", allowed)


def _api_combinations(api: Api, key: str) -> Iterator[SettingProblem]:
    for header in api.headers:
        if header.lower() in types.OWN_HEADERS:
            yield SettingProblem(
                f"{key}.headers.{header}", "a header that this program sets itself", "left out"
            )
    for header, value in api.headers.items():
        for name in PLACEHOLDER.findall(value):
            if name not in api.keys:
                known = f"a name from {key}.keys ({', '.join(api.keys) or 'empty'})"
                yield SettingProblem(f"{key}.headers.{header}", f"{{{name}}}", known)
        if re.search(r"[^\t\x20-\x7e]", value):
            yield SettingProblem(f"{key}.headers.{header}", repr(value), "printable ASCII")
    if used := sorted({name for value in api.headers.values() for name in PLACEHOLDER.findall(value)}):
        yield from http_problems(f"{key}.url", api.url, f"keys ({', '.join(used)})", insecure=api.insecure)
    if api.auth:
        yield from api.auth.problems(api, key)
    if both := sorted({*map(str, api.success)} & {*map(str, api.permanent)}):
        yield SettingProblem(f"{key}.permanent", ", ".join(both), "statuses that are not in success as well")


def _key_clashes(apis: Iterable[Api]) -> Iterator[SettingProblem]:
    """One placeholder name means one parameter in the whole pipeline."""
    first: dict[str, str] = {}
    for number, api in enumerate(apis):
        for name, parameter in api.keys.items():
            if (before := first.setdefault(name, parameter)) != parameter:
                allowed = f"{before!r} as in the first, or another name"
                yield SettingProblem(f"api[{number}].keys.{name}", repr(parameter), allowed)


def _name_clashes(apis: Iterable[Api]) -> Iterator[SettingProblem]:
    """A reason that names an API names one of them."""
    first: dict[str, int] = {}
    for number, api in enumerate(apis):
        if api.name and (before := first.setdefault(api.name, number)) != number:
            yield SettingProblem(
                f"api[{number}].name", repr(api.name), f"another name than that of api[{before}]"
            )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of fifo.toml (draft 2020-12)."""
    for field in Settings.model_fields.values():
        # Pydantic 2.10 writes a default only of a table that is built.
        if isinstance(field.default, types.TomlTable):
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
    from fifo_cli.model.auth_settings import json_schemas  # noqa: PLC0415 - see Auth

    definitions |= json_schemas()
    definitions["Api"]["properties"]["auth"] = {"$ref": "#/$defs/Auth"}
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
