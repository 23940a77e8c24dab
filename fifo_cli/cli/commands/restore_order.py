"""``redrive --in-order``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.hidden_groups import hidden_until
from fifo_cli.cli.moves import Move, run_move
from fifo_cli.errors import ExitCode

if TYPE_CHECKING:
    from fifo_cli.operations.queues.restore_order import RestoreOrder, RestoreOrderPreview, RestoreOrderResult


def redrive_in_order(cli: Cli, *, dry_run: bool, force: bool) -> ExitCode:
    """Put the DLQ's messages back to their old places in main, or only show them."""
    from fifo_cli.operations.queues.restore_order import RestoreOrder, UnfinishedError
    from fifo_cli.operations.queues.restore_order_pause import PipelinePause
    from fifo_cli.render.transfer import restore_order_preview, restore_order_text, restore_order_unfinished

    pause = PipelinePause(cli.aws, cli.settings, cli.listener)
    restore = RestoreOrder(
        cli.aws,
        cli.names,
        pause,
        paced(cli.console),
        cli.load_rules,
        cli.note,
        hidden_until=lambda: hidden_until(cli),
    )
    move: Move[RestoreOrderPreview, RestoreOrderResult] = Move(
        preview=lambda: restore.preview(force=force),
        preview_text=lambda seen: restore_order_preview(seen, width=cli.console.width),
        question=lambda: restore.nothing() or _question(restore),
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


def _question(restore: RestoreOrder) -> str:
    from fifo_cli.render.transfer import restore_order_plan

    main, dlq, hold = restore.counts()
    return restore_order_plan(
        main=main,
        dlq=dlq,
        held=hold,
        names=(restore.main.name, restore.dlq.name, restore.hold.name),
        pauses=sorted(restore.pause.running()),
    )
