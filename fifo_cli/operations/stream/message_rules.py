"""The enqueuer's rules on this machine: which records become messages, and which."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import NotDeployedError, UsageError
from fifo_cli.handlers import exact_json, runtime
from fifo_cli.handlers.code_guard import CodeGuard
from fifo_cli.handlers.enqueuer import rules_of
from fifo_cli.handlers.records import Outgoing, Rules, Skipped, to_message
from fifo_cli.model.names import START_TAG
from fifo_cli.model.settings import Settings
from fifo_cli.operations.code_process import CodeProcess, CodeSetup, usable_message_code
from fifo_cli.operations.runtime_settings import record_notes, runtime_settings

# For so many records, in a row or in all, the user's code may not return, or end its process: each costs the
# time limit. Then it is not called any more: it is the code that is wrong, and not one record.
_LOST_IN_A_ROW_MAX: Final = 2
_LOST_MAX: Final = 5


def message_rules(
    settings: Settings,
    code_folders: Iterable[str] = (),
    *,
    start: str | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Rules:
    """Return the rules of fifo.toml; the user's code is imported from ``code_folders``, in its own process.

    What was written before ``start`` (ISO 8601) is left out. ``stopped`` is asked while that code runs; what
    it raises ends the wait for it. Raises UsageError if that code cannot be loaded. Code that does not return
    for several records raises UserCodeError from then on; see ``made_of``.
    """
    facts = runtime.from_document(runtime_settings(settings))
    elsewhere = None
    with usable_message_code():
        # The user's code has a process of its own: it may exit, crash or never return.
        if facts.message_code is not None:
            process = CodeProcess(CodeSetup.of_message(facts, code_folders), stopped=stopped)
            process.start()
            elsewhere = partial(_made_by, process), process
        rules = rules_of(facts, record_notes(settings), stopped=stopped, elsewhere=elsewhere)
    return replace(bounded(rules), start=runtime.pipeline_start(start))


def bounded(rules: Rules) -> Rules:
    """Return rules whose code is not called any more once it did not return for several records."""
    if rules.code is None or rules.guard is None:
        return rules
    return replace(rules, code=partial(_unless_lost, rules.guard, rules.code))


def made_of(record: Mapping[str, Any], rules: Rules) -> Outgoing | Skipped:
    """Return what a record becomes; see ``to_message``.

    Raises UsageError if the user's code is not called any more: it did not return for several records.
    """
    with usable_message_code():
        return to_message(record, rules)


def _unless_lost(guard: CodeGuard, code: Callable[[Any], Any], value: Any) -> Any:
    """Call the user's code, unless it did not return for several records."""
    if guard.lost_in_a_row >= _LOST_IN_A_ROW_MAX:
        lost = f"{guard.lost_in_a_row} records in a row"
    elif guard.lost >= _LOST_MAX:
        lost = f"{guard.lost} records"
    else:
        return code(value)
    how = f"did not return within {guard.limit:g} s, or ended its process, for {lost}: not called any more"
    raise runtime.UserCodeError(guard.name, how)


def _made_by(process: CodeProcess, value: Any) -> Any:
    """Have the user's ``message`` function called, and return the body's text."""
    text = process.call(exact_json.dumps(value))
    return None if text is None else exact_json.Written(text)


@dataclass
class KnownRules:
    """The rules as far as they can be known here; ``without_code`` is why the user's code is not asked."""

    rules: Rules
    without_code: str = ""

    def made_of(self, record: Mapping[str, Any]) -> Outgoing | Skipped:
        """Return what a record becomes; without the user's code, once that does not return."""
        try:
            return made_of(record, self.rules)
        except UsageError as error:
            if self.rules.guard:
                self.rules.guard.close()
            self.rules, self.without_code = _without_code(self.rules), error.message
            return to_message(record, self.rules)


def _without_code(rules: Rules) -> Rules:
    return Rules(replace(rules.runtime, message_code=None), start=rules.start)


def going_without(reason: str) -> str:
    """Say that the user's code is not asked, why, and what is then not known."""
    return (
        f"your code is not used here ({reason}); so it is not known which records it leaves out or fails on"
    )


def known_rules(aws: Aws, settings: Settings, code_folders: Callable[[], Iterable[str]]) -> KnownRules:
    """Return the rules for judging what became of records; without the user's code if that cannot be loaded.

    What was written before the pipeline's first deploy is left out.
    """
    main = Queue(aws, settings.names, "main")
    start = None
    with contextlib.suppress(NotDeployedError):
        start = main.tags.read().tags.get(START_TAG)
    try:
        return KnownRules(message_rules(settings, code_folders(), start=start))
    except UsageError as error:
        facts = runtime.from_document(runtime_settings(settings))
        return KnownRules(_without_code(Rules(facts, start=runtime.pipeline_start(start))), error.message)
