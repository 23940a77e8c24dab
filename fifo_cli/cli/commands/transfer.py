"""The commands that move messages between the queues: redrive, park."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.hidden_groups import hidden_until, is_hidden
from fifo_cli.cli.moves import MoveCommand, run_move
from fifo_cli.cli.parameters import (
    Filter,
    Force,
    Group,
    MaxRate,
    SameGroupBatches,
    check_expression,
    read_window,
)
from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.render.text import count

if TYPE_CHECKING:
    from fifo_cli.operations.queues.park import Park, ParkResult
    from fifo_cli.operations.queues.redrive import Redrive, RedriveOptions, RedrivePreview, RedriveResult
    from fifo_cli.operations.queues.restore_order import RestoreOrder, RestoreOrderPreview, RestoreOrderResult


@command(
    "redrive",
    impact=Impact.MOVES,
    examples=[
        "fifo-cli redrive --dry-run",
        "fifo-cli redrive --since 2h --dry-run",
        "fifo-cli redrive --filter 'receives > `3`' --max-rate 10",
        "fifo-cli redrive --in-order",
    ],
)
def redrive(
    cli: Cli,
    *,
    count: Annotated[
        int | None, typer.Option("--count", min=1, metavar="N", help="At most N messages.")
    ] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Only this message; may be repeated.")
    ] = None,
    group: Group = None,
    filter_: Filter = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="T", help="Only messages parked (if not parked: sent) at T or later."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="T", help="Only messages parked before T.")
    ] = None,
    in_order: Annotated[
        bool,
        typer.Option("--in-order", help="All messages, each back to its old place; pauses the pipeline."),
    ] = False,
    same_group_batches: SameGroupBatches = False,
    engine: Annotated[
        Literal["auto", "native", "client"],
        typer.Option(
            "--engine",
            metavar="auto|native|client",
            help="native: SQS's own move task; client and auto: this program.",
        ),
    ] = "auto",
    max_rate: MaxRate = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be moved.")] = False,
    force: Force = False,
) -> ExitCode:
    """Move messages from the DLQ back to main.

    It moves all of them, unless --group, --id, --filter, --since, --until or --count choose some. They go to
    the end of main, behind newer messages of their groups; --in-order puts each back in its old place. T is
    ISO 8601, or a duration before now. It may be interrupted at any moment: nothing is lost, and you can run
    it again. Exits 1 if a message that was asked for stayed behind. `skipped` in its result are the messages
    that it saw and left alone, as they were not chosen; what it did not reach counts in `remaining` only.
    """
    from fifo_cli.operations.queues.redrive import Engine, RedriveOptions

    check_expression("--filter", filter_)
    begin, end = read_window(since, until, now=datetime.now(UTC))
    options = RedriveOptions(
        count=count,
        ids=frozenset(ids or ()),
        group=group,
        expression=filter_,
        since=begin,
        until=end,
        same_group_batches=same_group_batches,
        engine=Engine(engine),
        max_rate=max_rate,
    )
    if in_order:
        return _redrive_in_order(cli, options, dry_run=dry_run, force=force)
    return _redrive_to_the_end(cli, options, dry_run=dry_run, force=force)


def _redrive_to_the_end(cli: Cli, options: RedriveOptions, *, dry_run: bool, force: bool) -> ExitCode:
    from fifo_cli.operations.queues.redrive import Redrive
    from fifo_cli.render.transfer import redrive_preview, redrive_text

    redrive = Redrive(cli.aws, cli.names, options, paced(cli.console), cli.load_rules, cli.note)
    move: MoveCommand[RedrivePreview, RedriveResult] = MoveCommand(
        preview=lambda: redrive.preview(force=force),
        preview_text=lambda seen: redrive_preview(seen, width=cli.console.width),
        question=lambda: _redrive_question(redrive, force=force),
        perform=lambda stopped: redrive.perform(force=force, stopped=stopped),
        text=lambda result: redrive_text(result, source=redrive.dlq.name, target=redrive.main.name),
    )
    return run_move(cli, move, dry_run=dry_run)


def _redrive_question(redrive: Redrive, *, force: bool) -> str | RedriveResult:
    from fifo_cli.render.transfer import CHOOSE_BY_REDRIVE, order_note, takes_all

    total, behind = redrive.waiting()
    if not total:
        return redrive.nothing(force=force)
    which = "" if redrive.options.selection.everything else "those selected of "
    most = "" if redrive.options.count is None else f"at most {redrive.options.count} of "
    takes = "" if which or most else takes_all(total, redrive.dlq.name, choose=CHOOSE_BY_REDRIVE)
    lines = [
        f"move {most}{which}{count(total, 'message')} from {redrive.dlq.name} to {redrive.main.name}",
        takes,
        order_note(redrive.main.name, behind),
    ]
    return "\n".join(filter(None, lines))


def _redrive_in_order(cli: Cli, options: RedriveOptions, *, dry_run: bool, force: bool) -> ExitCode:
    """Put the DLQ's messages back to their old places in main, or only show them."""
    from fifo_cli.operations.queues.redrive import Engine
    from fifo_cli.operations.queues.restore_order import RestoreOrder, UnfinishedError
    from fifo_cli.operations.queues.restore_order_pause import PipelinePause
    from fifo_cli.render.transfer import restore_order_preview, restore_order_text, restore_order_unfinished

    if options.engine is Engine.NATIVE:
        raise UsageError(
            "SQS's own redrive (--engine native) cannot do --in-order", hint="leave out --engine"
        )
    if options.only_client:
        raise UsageError(
            f"--in-order is about everything in the DLQ and main, so {', '.join(options.only_client)} cannot"
            " be combined with it",
            hint="leave out one or the other",
        )
    restore = RestoreOrder(
        cli.aws,
        cli.names,
        PipelinePause(cli.aws, cli.settings, cli.listener),
        paced(cli.console),
        cli.load_rules,
        cli.note,
        hidden_until=lambda: hidden_until(cli),
    )
    move: MoveCommand[RestoreOrderPreview, RestoreOrderResult] = MoveCommand(
        preview=lambda: restore.preview(force=force),
        preview_text=lambda seen: restore_order_preview(seen, width=cli.console.width),
        question=lambda: restore.nothing() or _in_order_question(restore),
        perform=lambda stopped: restore.perform(force=force, stopped=stopped),
        text=lambda result: restore_order_text(result, source=restore.dlq.name, target=restore.main.name),
    )
    try:
        return run_move(cli, move, dry_run=dry_run)
    except UnfinishedError:
        so_far = restore.unfinished()
        cli.emit(
            so_far,
            lambda: restore_order_unfinished(so_far, source=restore.dlq.name, hold=restore.hold.name),
        )
        raise


def _in_order_question(restore: RestoreOrder) -> str:
    from fifo_cli.render.transfer import restore_order_plan

    main, dlq, hold = restore.counts()
    return restore_order_plan(
        main=main,
        dlq=dlq,
        held=hold,
        names=(restore.main.name, restore.dlq.name, restore.hold.name),
        pauses=sorted(restore.pause.running()),
    )


@command(
    "park",
    impact=Impact.MOVES,
    examples=[
        "fifo-cli park --dry-run",
        "fifo-cli park --group customer-7 --reason 'see ticket 123'",
    ],
)
def park(
    cli: Cli,
    *,
    count: Annotated[int, typer.Option("--count", min=1, metavar="N", help="Park N messages.")] = 1,
    group: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="The head of this message group.")
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the message.")
    ] = "parked by hand",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be parked.")] = False,
    force: Force = False,
) -> ExitCode:
    """Move the head message of main to the DLQ by hand.

    Its group goes on without it. Exits 1 if there were fewer messages than asked for; 0 if main was empty.
    """
    from fifo_cli.operations.queues.park import Park
    from fifo_cli.render.transfer import park_text

    hidden = partial(is_hidden, cli, group)
    park = Park(cli.aws, cli.names, count, group, reason, paced(cli.console), cli.note, hidden)

    def text(result: ParkResult) -> str:
        return park_text(result, dry_run=dry_run, width=cli.console.width)

    move = MoveCommand(
        preview=lambda: park.preview(force=force),
        preview_text=text,
        question=lambda: _park_question(park, force=force),
        perform=lambda stopped: park.perform(force=force, stopped=stopped),
        text=text,
        takes_from_main=True,
    )
    return run_move(cli, move, dry_run=dry_run)


def _park_question(park: Park, *, force: bool) -> str | ParkResult:
    from fifo_cli.model.group_names import named_group
    from fifo_cli.operations.queues.browse import count_waiting

    total = count_waiting(park.main)
    if not total:
        return park.nothing(force=force)
    whose = f"{named_group(park.group)} in " if park.group is not None else ""
    first = "the first message" if park.count == 1 else f"the first {count(park.count, 'message')}"
    return (
        f"move {first} of {whose}{park.main.name}"
        f" ({count(total, 'message')}) to {park.dlq.name}\n"
        "Order: the rest of each group goes on without them."
    )
