"""The commands that look at the queues and deliver from them: depth, peek, drain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.hidden_groups import is_started, mention_pauses
from fifo_cli.cli.options import Output
from fifo_cli.cli.parameters import CallRate, Filter, Group, QueueOption, check_expression
from fifo_cli.errors import ConfigError, ExitCode, FifoError, UsageError
from fifo_cli.invocation import command_line
from fifo_cli.model.limits import CONCURRENCY_MAX
from fifo_cli.render.text import printable

if TYPE_CHECKING:
    from fifo_cli.operations.queues.drain import DrainOptions, DrainResult

_WATCH_SECONDS = 2.0


Via = Literal["local", "lambda"]


@command(
    "depth",
    impact=Impact.READS,
    examples=["fifo-cli depth", "fifo-cli depth --by group", "fifo-cli depth -o json --env prod"],
)
def depth(
    cli: Cli,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds.")] = False,
    by: Annotated[
        Literal["group"] | None,
        typer.Option(
            "--by", metavar="group", help="Also by message group; this receives messages, as peek does."
        ),
    ] = None,
) -> ExitCode:
    """Show how many messages wait in each queue, and for how long.

    Only reads; the numbers are SQS's approximate counts, and the oldest message's age is CloudWatch's. With
    --by group it looks through the queues as peek does, and says how many messages SQS does not show.
    """
    from fifo_cli.operations.queues.depth import depth
    from fifo_cli.render.queue_tables import depth_table, grouped_depth_table

    if by is not None and watch:
        raise UsageError(
            "--watch only reads, and --by group receives messages, so they cannot be combined",
            hint="leave out one or the other",
        )
    if by is not None:
        # What looks into queues takes 15 ms to import, and a depth without groups does not need it.
        from fifo_cli.operations.queues.summary import depth_by_group

        found = depth_by_group(cli.aws, cli.names)
        return cli.emit(
            found, lambda: grouped_depth_table(found, width=cli.console.width, now=datetime.now(UTC))
        )

    def show() -> ExitCode:
        result = depth(cli.aws, cli.names)
        return cli.emit(result, lambda: depth_table(result.queues.items(), width=cli.console.width))

    return _repeat(cli, show) if watch else show()


def _repeat(cli: Cli, show: Callable[[], ExitCode]) -> ExitCode:
    """Show the depths again and again: on a terminal as ``watch`` does, elsewhere as lines."""
    from fifo_cli.cli.commands.watch import show as show_live
    from fifo_cli.cli.screen import is_screen
    from fifo_cli.operations.monitor.poll_backoff import PollBackoff

    if cli.options.output is Output.TABLE and is_screen():
        return show_live(cli, _WATCH_SECONDS, logs=False)
    if cli.options.output is Output.JSON:
        raise UsageError("--watch prints again and again, and -o json is one document", hint="use -o jsonl")
    backoff = PollBackoff(timedelta(seconds=_WATCH_SECONDS), cli.listener)
    with cli.stopping() as stop:
        while not stop.is_set() and not cli.console.unread:
            try:
                show()
            except FifoError as error:
                stop.wait(backoff.failed(error))
            else:
                backoff.answered()
                stop.wait(_WATCH_SECONDS)
    return ExitCode.OK


@command(
    "peek",
    impact=Impact.READS,
    examples=[
        "fifo-cli peek --count 3",
        "fifo-cli peek --queue dlq --summary",
        "fifo-cli peek --queue dlq --filter 'body.total > `100`' -o jsonl",
    ],
)
def peek(
    cli: Cli,
    *,
    queue: QueueOption = "main",
    count: Annotated[
        int | None,
        typer.Option(
            "--count", min=1, metavar="N", help="At most N messages. Default: 10, with --summary all."
        ),
    ] = None,
    group: Group = None,
    filter_: Filter = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Only how many there are by group and by park reason.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Look even if SQS may then move a message to the DLQ.")
    ] = False,
) -> ExitCode:
    """Show messages in the order in which they are delivered, without consuming them.

    SQS counts a look as a receive and gives out at most the first ten messages of a group.
    """
    from fifo_cli.model.group_names import named_group
    from fifo_cli.operations.queues.order_labels import real_group
    from fifo_cli.operations.queues.peek import peek
    from fifo_cli.operations.queues.summary import summarise
    from fifo_cli.render.queue_tables import peek_table, summary_table

    check_expression("--filter", filter_)
    target = cli.queue(queue)
    if summary:
        sums = summarise(target, count=count, group=group, expression=filter_, force=force)
        if sums.missed is not None:
            cli.console.message(printable(f"no message of {named_group(sums.missed)} in {target.name}"))
        if sums.hidden and queue == "main":
            mention_pauses(cli)
        return cli.emit(sums, lambda: summary_table(sums, width=cli.console.width, now=datetime.now(UTC)))
    result = peek(target, count=10 if count is None else count, group=group, expression=filter_, force=force)
    if result.note:
        cli.console.message(printable(result.note))
        if queue == "main":
            mention_pauses(cli)
    return cli.emit(
        result,
        lambda: peek_table(
            [replace(one, group=real_group(one)) for one in result.messages],
            truncated=result.truncated,
            queue=target.name,
            width=cli.console.width,
            color=cli.console.color,
            now=datetime.now(UTC),
        ),
    )


@command(
    "drain",
    impact=Impact.WRITES,
    examples=["fifo-cli drain --count 1", "fifo-cli drain --all --concurrency 8 --max-rate 20"],
)
def drain(
    cli: Cli,
    *,
    count: Annotated[
        int | None, typer.Option("--count", min=1, metavar="N", help="Deliver N messages.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Deliver until the queue is empty, all groups.")
    ] = False,
    via: Annotated[
        Via,
        typer.Option(
            "--via", metavar="WHERE", help="local: on this machine; lambda: by the worker function."
        ),
    ] = "local",
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            min=1,
            max=CONCURRENCY_MAX,
            metavar="C",
            help="Deliver C groups at a time. Default: [worker] concurrency.",
        ),
    ] = None,
    max_rate: CallRate = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be delivered.")] = False,
) -> ExitCode:
    """Deliver now what the worker would deliver: the same code, the same order.

    It lists what was not delivered, and with -v every message; -o json has them all.
    Exits 1 if a message failed, was parked, or stayed behind because of a failure. What is left because
    another consumer holds it is not a failure: stderr says how many, and what to do. Ctrl-C finishes the
    message in flight and releases the rest.
    """
    from fifo_cli.operations.queues.drain import DrainOptions, preview
    from fifo_cli.render.queue_tables import drain_table

    if (count is None) == (not all_):
        raise UsageError(
            "say how much to drain: either --count N or --all", hint=command_line("drain --count 1")
        )
    worker = cli.settings.worker
    options = DrainOptions(count, concurrency or worker.concurrency, max_rate or worker.max_rate)
    result = preview(cli.aws, cli.project, options) if dry_run else _perform(cli, options, via)
    cli.conclude(
        result,
        lambda: drain_table(result, width=cli.console.width, dry_run=dry_run, every=cli.options.verbose > 0),
    )
    hidden = _explain_left(cli, result, dry_run=dry_run)
    return replace(result, hidden_by_failure=hidden and not dry_run).exit_code


def _explain_left(cli: Cli, result: DrainResult, *, dry_run: bool) -> bool:
    """Say why messages are left, and what to do; return whether a failure hides those not given out."""
    from fifo_cli.operations.queues.drain import any_failed
    from fifo_cli.render.queue_tables import drain_breaker, drain_left

    left = result.ungiven
    running = is_started(cli) if left or result.needs_look else True
    paused = mention_pauses(cli, left=left, running=running) if left else ()
    if left and not paused:
        cli.console.message(drain_left(left, stayed=result.stayed and not dry_run, held=result.held))
    if result.breaker is not None:
        cli.console.message(drain_breaker(result.breaker))
    if not dry_run:
        _advise(cli, result, running=running)
    return any_failed(paused)


def _advise(cli: Cli, result: DrainResult, *, running: bool) -> None:
    """Say what the failures mean, and what to do first; `status` knows of those of other runs, too."""
    from fifo_cli.model.advice import advise_on_stuck
    from fifo_cli.render.advice import problem_text

    now = datetime.now(UTC)
    for problem in advise_on_stuck(cli.settings, result.stuck(at=now), now=now, running=running):
        cli.console.message(problem_text(problem))


def _perform(cli: Cli, options: DrainOptions, via: Via) -> DrainResult:
    from fifo_cli.operations.queues.drain import drain_by_function, drain_here, without_code_here

    cli.begin()
    with cli.stopping() as stop:
        if via == "lambda":
            return drain_by_function(
                cli.aws, cli.project, options, stopped=stop.is_set, listener=paced(cli.console)
            )
        aws = cli.aws
        try:
            project = cli.project_with_code("request")
        except ConfigError as error:
            # fifo.toml itself has been read before: it is the code that is wrong.
            raise UsageError(error.message, hint=without_code_here(options)) from error
        return drain_here(
            aws,
            project,
            options,
            code_folders=cli.code_folders("request"),
            stopped=stop.is_set,
            listener=paced(cli.console),
        )
