"""The enqueuer's rules on this machine: which records become messages, and which."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fifo_cli.aws.queue_tags import QueueTags
from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import NotDeployedError, UsageError
from fifo_cli.handlers import exact_json, runtime
from fifo_cli.handlers.enqueuer import rules_of
from fifo_cli.handlers.records import Rules
from fifo_cli.model.names import START_TAG
from fifo_cli.model.settings import Settings
from fifo_cli.operations.code_process import CodeProcess, CodeSetup
from fifo_cli.operations.runtime_settings import record_notes, runtime_settings


def message_rules(
    settings: Settings,
    code_folders: Iterable[str] = (),
    *,
    start: str | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Rules:
    """Return the rules of fifo.toml; the user's code is imported from ``code_folders``, in its own process.

    What was written before ``start`` (ISO 8601) is left out. ``stopped`` is asked while that code runs; what
    it raises ends the wait for it. Raises UsageError if that code cannot be loaded.
    """
    facts = runtime.from_document(runtime_settings(settings))
    elsewhere = None
    try:
        # The user's code has a process of its own: it may exit, crash or never return.
        if facts.message_code is not None:
            process = CodeProcess(CodeSetup.of_message(facts, code_folders), stopped=stopped)
            process.start()
            elsewhere = partial(_made_by, process), process
        rules = rules_of(facts, record_notes(settings), stopped=stopped, elsewhere=elsewhere)
    except runtime.UserCodeError as error:
        raise UsageError(f"[handlers] message: {error}", hint="fix the code, or what it imports") from error
    return replace(rules, start=runtime.pipeline_start(start))


def _made_by(process: CodeProcess, value: Any) -> Any:
    """Have the user's ``message`` function called, and return the body's text."""
    text = process.call(exact_json.dumps(value))
    return None if text is None else exact_json.Written(text)


@dataclass(frozen=True, slots=True)
class KnownRules:
    """The rules as far as they can be known here; ``without_code`` is why the user's code is not asked."""

    rules: Rules
    without_code: str = ""


def going_without(reason: str) -> str:
    """Say that the user's code is not asked, why, and what is then not known."""
    return (
        f"goes without your code ({reason}): not known is which records it leaves out, and of which it cannot"
        " make a message"
    )


def known_rules(aws: Aws, settings: Settings, code_folders: Callable[[], Iterable[str]]) -> KnownRules:
    """Return the rules for judging what became of records; without the user's code if that cannot be loaded.

    What was written before the pipeline's first deploy is left out.
    """
    main = Queue(aws, settings.names, "main")
    start = None
    with contextlib.suppress(NotDeployedError):
        start = QueueTags(aws, main).read().tags.get(START_TAG)
    try:
        return KnownRules(message_rules(settings, code_folders(), start=start))
    except UsageError as error:
        facts = runtime.from_document(runtime_settings(settings))
        rules = Rules(replace(facts, message_code=None), start=runtime.pipeline_start(start))
        return KnownRules(rules, error.message)
