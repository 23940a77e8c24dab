"""The composition root: from the common options to settings, AWS, names, output and questions.

A command gets a :class:`Cli` and asks it for what it needs; each is made when first asked for, and
imported then: ``--help`` loads neither boto3 nor pydantic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from fifo_cli.cli.config import config_path, find_config
from fifo_cli.cli.console import Console, ask
from fifo_cli.cli.options import Options, Output
from fifo_cli.errors import ExitCode
from fifo_cli.invocation import remember_place
from fifo_cli.render.text import fold

if TYPE_CHECKING:
    from threading import Event

    from fifo_cli.aws.consistency import ConsistencyDelays
    from fifo_cli.aws.session import Aws, AwsEndpoint
    from fifo_cli.aws.sqs import Queue
    from fifo_cli.cli.signals import Signals
    from fifo_cli.events import Listener
    from fifo_cli.handlers.records import Rules
    from fifo_cli.model.names import Names, QueueRole
    from fifo_cli.model.results import Document, Result, WorkResult
    from fifo_cli.model.settings import CodeRole, Project, Settings
    from fifo_cli.operations.history import History, Note


@dataclass(frozen=True)
class Cli:
    """What one command works with."""

    options: Options
    console: Console
    signals: Signals
    # The command's name, its line as it was typed, and --reason, for the history.
    operation: str = ""
    line: str = ""
    reason: str = ""
    delays: ConsistencyDelays | None = None  # None: those of the endpoints

    @cached_property
    def project(self) -> Project:
        """The fifo.toml that is meant, read and checked; raises ConfigError with every problem."""
        return self.project_with_code()

    def project_with_code(self, *roles: CodeRole) -> Project:
        """Return the same, with the user's code checked; raises ConfigError with the problems of both.

        For commands that run or pack that code. No other must fail because of a mistake in it.
        """
        from fifo_cli.model.settings import load

        self.__dict__["project"] = load(config_path(self.options.config), env=self.options.env, code=roles)
        return self.project

    @property
    def settings(self) -> Settings:
        return self.project.settings

    @property
    def names(self) -> Names:
        return self.settings.names

    @cached_property
    def aws(self) -> Aws:
        """The AWS clients: ``--region`` before ``[pipeline] region`` before AWS's own resolution."""
        from fifo_cli.aws.session import Aws

        return Aws(self._endpoint(self.options.region or self.settings.pipeline.region), delays=self.delays)

    @cached_property
    def account(self) -> Aws:
        """The AWS clients of a command that is about no pipeline of a fifo.toml."""
        from fifo_cli.aws.session import Aws

        return Aws(self._endpoint(self.options.region), delays=self.delays)

    def queue(self, role: QueueRole) -> Queue:
        from fifo_cli.aws.sqs import Queue

        return Queue(self.aws, self.names, role)

    @cached_property
    def history(self) -> History:
        """Writes what this command changes into the pipeline's history, once it has begun."""
        return self.new_history(self.operation, self.line)

    def new_history(self, operation: str, line: str, *, listener: Listener | None = None) -> History:
        """Return the history of one operation; ``history`` is the command's own."""
        from fifo_cli.operations.history import History, Invocation

        invocation = Invocation(operation, line, self.reason, self.options.env or "")
        return History(self.aws, self.settings, invocation, listener=listener or self.listener)

    def begin(self, *, makes_group: bool = False) -> None:
        """Note in the history that this command changes something; see ``command`` in framework.py."""
        self.history.begin(makes_group=makes_group)

    def end(self, exit_code: int, error: str = "") -> None:
        """Note how it ended, if it has begun to change something."""
        if "history" in vars(self):
            self.history.end(exit_code, counts=vars(self).get("_counts"), error=error)

    @property
    def note(self) -> Note:
        """Notes in the history which messages leave their place."""
        return self.history.note

    @cached_property
    def folder(self) -> Path:
        """The folder whose ``.fifo/`` holds the embedded stack: fifo.toml's, or this one if there is none."""
        path = find_config(self.options.config)
        return path.absolute().parent if path else Path.cwd()

    @property
    def listener(self) -> Listener:
        return self.console.listen

    def stopping(self) -> AbstractContextManager[Event]:
        """Give an event that the first SIGINT or SIGTERM sets; the command finishes and exits 130 or 143."""
        return self.signals.stopping()

    def confirm(self, what: str) -> None:
        """Ask whether to do ``what``, naming account, region and pipeline; ``--yes`` skips the question.

        Raises UsageError, with nothing touched, if the answer is not yes or nobody can be asked.
        """
        if not self.options.yes:
            ask(self.console, what, where=self._where)

    def emit(self, result: Result, table: Callable[[], str]) -> ExitCode:
        """Write a result to stdout in the format asked for, and return its exit code."""
        from fifo_cli.render.documents import json_document, json_line

        self._count(result)
        match self.options.output:
            case Output.TABLE:
                text = fold(table(), self.console.width)
                self.console.result([text if text.endswith("\n") or not text else f"{text}\n"], data=False)
            case Output.JSON:
                self.console.result([json_document(result.document())], data=True)
            case Output.JSONL:
                self.console.result((json_line(row) for row in result.rows()), data=True)
            case _:
                assert_never(self.options.output)
        return result.exit_code

    def _count(self, result: Result) -> None:
        """Keep the numbers of a result for the history, if it is one of a change."""
        if "history" in vars(self) and self.history.begun:
            from fifo_cli.model.history_events import counts_of

            vars(self)["_counts"] = counts_of(result.document())

    def conclude(self, result: WorkResult, table: Callable[[], str]) -> ExitCode:
        """Write a result as ``emit`` does, and raise what ended it early."""
        code = self.emit(result, table)
        if result.error is not None:
            raise result.error
        return code

    def emit_document(self, document: Document | list[Document]) -> ExitCode:
        """Write a result that is a document in every format: a schema, a policy."""
        from fifo_cli.render.documents import json_document, json_line

        write = json_line if self.options.output is Output.JSONL else json_document
        self.console.result([write(document)], data=True)
        return ExitCode.OK

    def code_folders(self, role: CodeRole) -> list[str]:
        """Return where the user's own ``message`` or ``request`` is imported from; [] if there is none."""
        handlers = self.settings.handlers
        if self.project.source is None or handlers is None or getattr(handlers, role) is None:
            return []  # what looks for requirements takes 15 ms to import
        from fifo_cli.operations.deploy.user_requirements import vendored

        return [str(folder) for folder in (self.project.source, vendored(self.project, here=True)) if folder]

    def load_rules(self, stopped: Callable[[], bool]) -> Rules:
        """Return the enqueuer's rules, with the user's code; see ``message_rules``."""
        from fifo_cli.operations.stream.message_rules import message_rules

        return message_rules(self.settings, self.code_folders("message"), stopped=stopped)

    def _where(self) -> Iterator[tuple[str, str]]:
        place = self.aws.place
        yield "pipeline", self.names.pipeline
        yield "account", place.account + (" (the embedded stack)" if self.options.local else "")
        yield "region", place.region

    def _endpoint(self, region: str | None) -> AwsEndpoint:
        from fifo_cli.aws.session import LOCAL_REGION, AwsEndpoint

        options = self.options
        if not options.local:
            remember_place(region, options.endpoint_url)
            return AwsEndpoint(profile=options.profile, region=region, endpoint_url=options.endpoint_url)
        from fifo_cli.local.stack import endpoint_of, key_file_of, key_of

        endpoint = endpoint_of(self.folder)
        remember_place(region or LOCAL_REGION, endpoint, key_file_of(self.folder))
        return AwsEndpoint(
            region=region or LOCAL_REGION, endpoint_url=endpoint, local=True, key=key_of(self.folder)
        )
