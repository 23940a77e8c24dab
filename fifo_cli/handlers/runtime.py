"""The functions' settings, read from the zip's ``settings.json``, and the user's own code."""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from .failure import ConfigurationError, described, is_interruption

# When the pipeline began: in the environment, as it belongs to no version of code and settings.
START_VARIABLE: Final = "FIFO_CLI_START"
SETTINGS_FILE: Final = Path(__file__).with_name("settings.json")


class UserCodeError(ConfigurationError):
    """The user's module or function cannot be loaded."""


@dataclass(frozen=True, slots=True)
class Api:
    """One HTTP API; times are in seconds, and ``name`` is how logs and reasons call it."""

    name: str
    url: str
    method: str
    timeout: float
    headers: Mapping[str, str]
    keys: Mapping[str, str]
    success: tuple[str, ...]
    permanent: tuple[str, ...]
    on_permanent: str
    give_up_after: float
    insecure: bool = False
    # fifo.toml's table, with its placeholders; its defaults are filled in.
    auth: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What starts the worker, and how it delivers; ``max_rate`` is API calls a second of one function.

    ``retry_first`` and ``retry_longest`` are the pauses of a group, in seconds, where the queue starts it.
    """

    trigger: str = "schedule"
    concurrency: int = 1
    max_rate: float | None = None
    breaker: int = 5
    retry_first: float = 10.0
    retry_longest: float = 300.0


@dataclass(frozen=True, slots=True)
class Runtime:
    """What both functions know of their pipeline; ``run_needs`` is what a message may take, in seconds."""

    pipeline: str
    main: str
    dlq: str
    events: tuple[str, ...]
    where: str | None
    body: str | None
    group: str | None
    messages_per_run: int
    run_needs: float
    apis: tuple[Api, ...]
    message_code: str | None
    request_code: str | None
    # How long the user's code may take for one message or record (seconds); the function's memory (MiB).
    code_limit: float = 30.0
    memory: int = 256
    worker: WorkerSettings = WorkerSettings()

    @property
    def parameters(self) -> dict[str, str]:
        """Every placeholder → where its value is: an SSM parameter or a secret (key_sources.py)."""
        return {name: parameter for api in self.apis for name, parameter in api.keys.items()}


def from_document(document: Mapping[str, Any]) -> Runtime:
    """Build a Runtime from the document that ``fifo-cli`` writes."""
    message, code = document["message"], document["code"]
    return Runtime(
        pipeline=document["pipeline"],
        main=document["queues"]["main"],
        dlq=document["queues"]["dlq"],
        events=tuple(message["events"]),
        where=message["where"],
        body=message["body"],
        group=message["group"],
        messages_per_run=document["messages_per_run"],
        run_needs=document["run_needs"],
        apis=tuple(
            Api(**{**api, "success": tuple(api["success"]), "permanent": tuple(api["permanent"])})
            for api in document["apis"]
        ),
        message_code=code["message"],
        request_code=code["request"],
        code_limit=code.get("limit", 30.0),
        memory=code.get("memory", 256),
        worker=WorkerSettings(**document.get("worker", {})),
    )


def load() -> Runtime:
    """Read the settings that were packed beside this module."""
    return from_document(json.loads(SETTINGS_FILE.read_text(encoding="utf-8")))


def pipeline_start(text: str | None) -> float | None:
    """Read the start of a pipeline (ISO 8601) as seconds since 1970; None if it has none."""
    return datetime.fromisoformat(text).timestamp() if text else None


def load_code(reference: str) -> Callable[..., Any]:
    """Import ``module:function``; raises UserCodeError, with the reason, if that fails."""
    module_name, _, function_name = reference.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except BaseException as error:  # everything that the user's module may do when imported
        if is_interruption(error):
            raise
        raise UserCodeError(reference, "cannot be loaded", _fault(error, module_name)) from error
    if not callable(function):
        raise UserCodeError(reference, f"is {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]


def _fault(error: BaseException, module: str) -> str:
    """Say why an import failed, with file and line of the user's code, if it came to any of it."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    names = module.split(".")
    # The module's own file, and what lies beside it: in what it imports from elsewhere nothing can be fixed.
    begun = next((file for file, _ in frames if set(names) & {Path(file).stem, Path(file).parent.name}), None)
    own = [place for place in frames if begun and Path(place[0]).is_relative_to(Path(begun).parent)]
    return described(error) + (f" ({own[-1][0]}, line {own[-1][1]})" if own else "")
