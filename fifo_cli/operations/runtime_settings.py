"""Settings → what the functions need of them, as the JSON document that travels in their zip.

The same document drives ``drain --via local``, so both run on the same facts. Its reader is
``handlers/runtime.py``; no value of a key is ever in it, only the parameters' names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fifo_cli.handlers.code_guard import function_notes
from fifo_cli.model.settings import Api, Project, Settings, Worker


def runtime_settings(settings: Settings) -> dict[str, Any]:
    """Return the functions' settings; durations are in seconds."""
    names = settings.names
    return {
        "pipeline": settings.pipeline.name,
        "queues": {"main": names.main, "dlq": names.dlq},
        "message": {
            "events": list(settings.message.events),
            "where": settings.message.where,
            "body": settings.message.body,
            "group": settings.message.group,
        },
        "messages_per_run": settings.schedule.messages_per_run,
        "run_needs": settings.run_needs.total_seconds(),
        "worker": _worker(settings.worker),
        "apis": [_api(api, name) for api, name in zip(settings.api, settings.api_names, strict=True)],
        "code": {
            "message": settings.handlers.message if settings.handlers else None,
            "request": settings.handlers.request if settings.handlers else None,
            "limit": code_limit(settings),
            "memory": settings.functions.memory,
        },
    }


def code_limit(settings: Settings) -> float:
    """Return how long the user's code may take for one message or record, in seconds."""
    return settings.functions.timeout.total_seconds() / 2


def request_notes(project: Project) -> Path:
    """Return the folder of this machine's notes of messages that the user's code is working on."""
    return project.folder / ".fifo" / "notes" / project.settings.pipeline.name


def record_notes(settings: Settings) -> Path:
    """Return the folder of this machine's notes of records that the user's code is working on."""
    return function_notes("operator", settings.pipeline.name)


def _worker(worker: Worker) -> dict[str, Any]:
    first, longest = worker.retry
    return {
        "trigger": worker.trigger,
        "concurrency": worker.concurrency,
        "max_rate": worker.max_rate,
        "breaker": worker.breaker,
        "retry_first": first.total_seconds(),
        "retry_longest": longest.total_seconds(),
    }


def _api(api: Api, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "url": api.url,
        "method": api.method,
        "timeout": api.timeout.total_seconds(),
        "headers": dict(api.headers),
        "keys": dict(api.keys),
        "auth": api.auth.model_dump(exclude_none=True) if api.auth else None,
        "success": list(api.success),
        "permanent": list(api.permanent),
        "on_permanent": api.on_permanent,
        "give_up_after": api.give_up_after.total_seconds(),
        "insecure": api.insecure,
    }
