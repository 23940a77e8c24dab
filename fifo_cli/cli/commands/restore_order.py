"""``redrive --in-order``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.options import Output
from fifo_cli.errors import ExitCode

if TYPE_CHECKING:
    from fifo_cli.operations.queues.restore_order import Rebuild, RebuildResult


def redrive_in_order(cli: Cli, *, dry_run: bool, force: bool) -> ExitCode:
    """Put the DLQ's messages back to their old places in main, or only show them."""
    from fifo_cli.operations.queues.restore_order import Rebuild, UnfinishedError
    from fifo_cli.operations.queues.restore_order_pause import PipelineFlow
    from fifo_cli.render.files import rebuild_preview, rebuild_text, rebuild_unfinished
    from fifo_cli.render.text import printable

    flow = PipelineFlow(cli.aws, cli.settings, cli.listener)
    rebuild = Rebuild(cli.aws, cli.names, flow, paced(cli.console), cli.load_rules)
    if dry_run:
        preview = rebuild.preview(force=force)
        return cli.emit(preview, lambda: rebuild_preview(preview.document(), width=cli.console.width))
    result = None if cli.options.yes else rebuild.nothing()
    try:
        if result is None:
            result = _ask_and_perform(cli, rebuild, force=force)
    except UnfinishedError:
        so_far = rebuild.unfinished()
        cli.emit(
            so_far,
            lambda: rebuild_unfinished(so_far.document(), source=rebuild.dlq.name, hold=rebuild.hold.name),
        )
        raise
    if cli.options.output is not Output.TABLE:
        for note in result.notes:
            cli.console.message(printable(note))
    return cli.emit(
        result,
        lambda: rebuild_text(
            result.document(), notes=result.notes, source=rebuild.dlq.name, target=rebuild.main.name
        ),
    )


def _ask_and_perform(cli: Cli, rebuild: Rebuild, *, force: bool) -> RebuildResult:
    if not cli.options.yes:
        _ask(cli, rebuild)
    # The user's code may print; stdout is the result's.
    with cli.stopping() as stop, cli.running_user_code():
        return rebuild.perform(force=force, stopped=stop.is_set)


def _ask(cli: Cli, rebuild: Rebuild) -> None:
    from fifo_cli.render.files import rebuild_plan

    main, dlq, hold = rebuild.counts()
    cli.confirm(
        rebuild_plan(
            main=main,
            dlq=dlq,
            held=hold,
            names=(rebuild.main.name, rebuild.dlq.name, rebuild.hold.name),
            pauses=sorted(rebuild.flow.running()),
        )
    )
