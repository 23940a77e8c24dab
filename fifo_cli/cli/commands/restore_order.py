"""``redrive --in-order``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.moves import Move, run_move
from fifo_cli.errors import ExitCode

if TYPE_CHECKING:
    from fifo_cli.operations.queues.restore_order import Rebuild, RebuildPreview, RebuildResult


def redrive_in_order(cli: Cli, *, dry_run: bool, force: bool) -> ExitCode:
    """Put the DLQ's messages back to their old places in main, or only show them."""
    from fifo_cli.operations.queues.restore_order import Rebuild, UnfinishedError
    from fifo_cli.operations.queues.restore_order_pause import PipelineFlow
    from fifo_cli.render.files import rebuild_preview, rebuild_text, rebuild_unfinished

    flow = PipelineFlow(cli.aws, cli.settings, cli.listener)
    rebuild = Rebuild(cli.aws, cli.names, flow, paced(cli.console), cli.load_rules)
    move: Move[RebuildPreview, RebuildResult] = Move(
        preview=lambda: rebuild.preview(force=force),
        preview_text=lambda seen: rebuild_preview(seen.document(), width=cli.console.width),
        question=lambda: rebuild.nothing() or _question(rebuild),
        perform=lambda stopped: rebuild.perform(force=force, stopped=stopped),
        text=lambda result: rebuild_text(
            result.document(), notes=result.notes, source=rebuild.dlq.name, target=rebuild.main.name
        ),
        within=cli.running_user_code,
    )
    try:
        return run_move(cli, move, dry_run=dry_run)
    except UnfinishedError:
        so_far = rebuild.unfinished()
        cli.emit(
            so_far,
            lambda: rebuild_unfinished(so_far.document(), source=rebuild.dlq.name, hold=rebuild.hold.name),
        )
        raise


def _question(rebuild: Rebuild) -> str:
    from fifo_cli.render.files import rebuild_plan

    main, dlq, hold = rebuild.counts()
    return rebuild_plan(
        main=main,
        dlq=dlq,
        held=hold,
        names=(rebuild.main.name, rebuild.dlq.name, rebuild.hold.name),
        pauses=sorted(rebuild.flow.running()),
    )
