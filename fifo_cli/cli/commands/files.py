"""The commands between queues and files: dump, load, purge."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.moves import MoveCommand, R, Stopped, run_move
from fifo_cli.cli.options import Output, complete_files
from fifo_cli.cli.parameters import Force, MaxRate, QueueOption, SameGroupBatches
from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.events import Warned
from fifo_cli.invocation import command_line
from fifo_cli.model.times import iso
from fifo_cli.render.text import count

if TYPE_CHECKING:
    from fifo_cli.aws.sqs import Queue, QueueTags
    from fifo_cli.operations.maintenance_lock import MaintenanceLock
    from fifo_cli.operations.queues.dump import DumpPreview
    from fifo_cli.operations.queues.load import Checked, Lines, LoadResult

_STDIO = "-"


@command(
    "dump",
    impact=Impact.MOVES,
    examples=[
        "fifo-cli dump dlq.jsonl",
        "fifo-cli dump dlq.jsonl --move",
        "fifo-cli dump - --queue main | jq .body",
    ],
)
def dump(
    cli: Cli,
    *,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The file; - is stdout.", autocompletion=complete_files),
    ],
    queue: QueueOption = "dlq",
    move: Annotated[
        bool, typer.Option("--move", help="Delete each message once its line is on disk.")
    ] = False,
    max_rate: MaxRate = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    force: Force = False,
) -> ExitCode:
    """Save messages as JSON lines, which `load` sends again.

    Without --move it looks, as `peek` does: it sees at most the first ten messages of a group, exits 1 if
    there are more, and never overwrites a file. With --move, all messages of the queue go to the file; if the
    file exists, they are added to it. If it is interrupted, run it again. With --move into a pipe, what the
    pipe's reader drops is lost.
    """
    from fifo_cli.operations.queues.dump import Dump, DumpResult, preview
    from fifo_cli.operations.transfer import message_files
    from fifo_cli.render.files import dump_preview, dump_text

    if max_rate is not None and not move:
        raise UsageError(
            "--max-rate is for --move: without it nothing is moved", hint="add --move, or leave it out"
        )
    if file == _STDIO and cli.options.output is Output.JSON:
        raise UsageError("- writes lines to stdout, and -o json is one document", hint="leave out -o json")
    path = _path(file)
    if path is not None:
        (message_files.check_dump if move else message_files.check_new_file)(path)
    source = cli.queue(queue)
    stream = None if path or dry_run else _stdout()
    if move and stream is not None and not message_files.keeps_what_it_gets(stream):
        cli.listener(Warned("stdout is a pipe: what its reader does not keep is lost"))

    def perform(stopped: Stopped) -> DumpResult:
        dump = Dump(cli.aws, source, path, stream, _owner(cli, source), paced(cli.console), cli.note)
        if not move:
            return dump.look(force=force, stopped=stopped)
        with _held(cli, "dump", force=force):
            return dump.move(max_rate=max_rate, stopped=stopped)

    def ask() -> str | DumpResult:
        where = f"from {source.name} to {path or 'stdout'}"
        asked = _question(cli, source, "move", where, DumpResult(0, remaining=0), force)
        if path is not None and not isinstance(asked, str):
            message_files.make_dump(path)
        return asked

    pieces: MoveCommand[DumpPreview, DumpResult] = MoveCommand(
        preview=lambda: preview(source, force=force),
        preview_text=lambda seen: dump_preview(
            seen,
            queue=source.name,
            what=f"would be {'moved' if move else 'written'} to {file}",
            width=cli.console.width,
            takes=source.role if move else "",
        ),
        question=ask if move else None,
        perform=perform,
        text=lambda result: dump_text(
            result, queue=source.name, to="stdout" if path is None else file, move=move
        ),
        remarks_in_text=False,
        stdout_is_taken=path is None,
        takes_from_main=source.role == "main",
        changes=move,
    )
    return run_move(cli, pieces, dry_run=dry_run)


@command(
    "load",
    impact=Impact.MOVES,
    examples=["fifo-cli load dlq.jsonl --dry-run", "fifo-cli load dlq.jsonl --max-rate 10"],
)
def load(
    cli: Cli,
    *,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The file; - is stdin.", autocompletion=complete_files),
    ],
    queue: QueueOption = "main",
    same_group_batches: SameGroupBatches = False,
    max_rate: MaxRate = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the lines and show them.")] = False,
    force: Force = False,
) -> ExitCode:
    """Send the lines of a file that `dump` wrote, in order within each group.

    It checks all lines first. It notes the lines that it sent in FILE.loaded, so that loading the same file
    again makes no second copy. After a crash, load it again within five minutes: later SQS does not recognise
    the lines that were sent last. An edited line is a new one. For stdin it notes nothing.
    """
    from datetime import UTC, datetime

    from fifo_cli.operations.queues.load import LoadPreview, check, load, open_lines, preview
    from fifo_cli.operations.queues.load_progress import check_checkpoint
    from fifo_cli.render.files import load_preview, load_text

    target = cli.queue(queue)
    path = _path(file)
    if path is None and not (dry_run or cli.options.yes):
        raise UsageError("stdin holds the lines, so nobody can be asked", hint="go ahead with --yes")
    bytes_max = target.max_message_bytes()
    with open_lines(path, _stdin(), queue=queue, arn=target.arn, bytes_max=bytes_max) as lines:
        checked = check(lines)
        if checked.repeated:
            again = count(checked.repeated, "line")
            cli.console.message(f"equal to an earlier line of {lines.name}, and sent all the same: {again}")
        if lines.path is not None and checked.new:
            check_checkpoint(lines.path)
        if checked.may_repeat(datetime.now(UTC)):
            cli.listener(Warned(_broken_off(checked, target)))
        if not dry_run and (checked.new or cli.options.yes):
            _say_left_out(cli, lines, checked)

        def perform(stopped: Stopped) -> LoadResult:
            with _held(cli, "load", force=force):
                return load(
                    lines,
                    target,
                    checked,
                    same_group_batches=same_group_batches,
                    max_rate=max_rate,
                    note=cli.note,
                    listener=paced(cli.console),
                    stopped=stopped,
                )

        pieces: MoveCommand[LoadPreview, LoadResult] = MoveCommand(
            preview=lambda: preview(checked, behind=target.counts().total),
            preview_text=lambda seen: load_preview(seen, queue=target.name, width=cli.console.width),
            question=lambda: _load_question(cli, lines, checked, target, force=force),
            perform=perform,
            text=lambda result: load_text(
                result,
                queue=target.name,
                left=checked.total - result.loaded - result.already_loaded - result.failed,
            ),
            remarks_in_text=False,
        )
        return run_move(cli, pieces, dry_run=dry_run)


def _broken_off(checked: Checked, target: Queue) -> str:
    assert checked.broken_off is not None
    queue = target.role
    peek = command_line(f"peek --queue {queue}")
    return (
        f"an earlier load of this file stopped unexpectedly after {iso(checked.broken_off)}. It did not note"
        f" what it sent last, and SQS does not recognise that any more: some of the next lines may already be"
        f" in {target.name}, and would be there twice ({peek} shows what is there)"
    )


def _say_left_out(cli: Cli, lines: Lines, checked: Checked) -> None:
    if lines.path is None:
        cli.console.message(
            "stdin has no checkpoint: SQS suppresses the same lines for five minutes; after that it takes"
            " them a second time"
        )
    elif checked.already:
        noted = lines.path.name + ".loaded"
        cli.console.message(f"left out: {count(checked.already, 'line')} loaded before, as noted in {noted}")


def _load_question(
    cli: Cli, lines: Lines, checked: Checked, target: Queue, *, force: bool
) -> str | LoadResult:
    from fifo_cli.operations.queues.load import LoadResult
    from fifo_cli.render.files import load_order

    if not checked.new:
        _refuse_while_unfinished(cli, force=force)
        return LoadResult(0, checked.already, 0)
    return (
        f"send {count(checked.new, 'message')} from {lines.name} to {target.name}\n"
        f"{load_order(target.counts().total)}"
    )


@command(
    "purge",
    impact=Impact.DESTROYS,
    examples=["fifo-cli purge --queue dlq", "fifo-cli purge --queue dlq --backup parked.jsonl --yes"],
)
def purge(
    cli: Cli,
    *,
    queue: QueueOption,
    backup: Annotated[
        str | None,
        typer.Option(
            "--backup",
            metavar="FILE",
            help="Save them in this file. Default: NAME-QUEUE.backup.jsonl beside fifo.toml.",
            autocompletion=complete_files,
        ),
    ] = None,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Delete them for good.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    force: Force = False,
) -> ExitCode:
    """Empty a queue, after saving what is in it.

    It takes all messages of the queue; it cannot choose some. The backup is a file as `dump` writes it; if
    it exists, they are added to it. `load` sends them again. Of an empty queue no backup is made.
    """
    from fifo_cli.operations.queues.dump import Dump
    from fifo_cli.operations.queues.purge import (
        PurgePreview,
        PurgeResult,
        backed_up,
        preview_purge,
        purge_for_good,
        refuse_if_shared,
    )
    from fifo_cli.operations.transfer.message_files import check_dump
    from fifo_cli.render.files import dump_preview, purge_text

    if backup is not None and no_backup:
        raise UsageError("--backup and --no-backup contradict each other", hint="leave one of them out")
    source = cli.queue(queue)
    default = cli.project.folder / f"{cli.names.pipeline}-{queue}.backup.jsonl"
    path = None if no_backup else default if backup is None else _path(backup)
    if backup == _STDIO:
        raise UsageError("a backup goes into a file, not to stdout", hint="name a file; `./-` is one")
    if path is not None:
        check_dump(path)
    elif source.role == "dlq":
        refuse_if_shared(source, cli.names.main, force=force)

    def perform(stopped: Stopped) -> PurgeResult:
        with _held(cli, "purge", force=force):
            if path is None:
                return purge_for_good(cli.aws, source, note=cli.note, listener=cli.listener, stopped=stopped)
            owner = _owner(cli, source)
            dump = Dump(cli.aws, source, path, None, owner, paced(cli.console), cli.note, "purged")
            return backed_up(dump.move(stopped=stopped), path)

    doomed = f"deleted, and saved in {path}" if path else "deleted for good"
    saved = f"saving them in {path}" if path else "for good, and what is sent there within a minute, too"
    pieces: MoveCommand[PurgePreview, PurgeResult] = MoveCommand(
        preview=lambda: preview_purge(source, path, force=force),
        preview_text=lambda seen: dump_preview(
            seen, queue=source.name, what=f"would be {doomed}", width=cli.console.width, takes=source.role
        ),
        question=lambda: _question(
            cli, source, "delete", f"of {source.name}, {saved}", PurgeResult(0, None, 0), force
        ),
        perform=perform,
        text=lambda result: purge_text(result, queue=source.name),
        remarks_in_text=False,
        takes_from_main=source.role == "main",
    )
    return run_move(cli, pieces, dry_run=dry_run)


def _question(cli: Cli, source: Queue, verb: str, rest: str, nothing: R, force: bool) -> str | R:
    """Say what is about to be done with how many messages; return ``nothing`` if there are none."""
    from fifo_cli.operations.queues.browse import count_waiting
    from fifo_cli.render.transfer import takes_all_there

    total = count_waiting(source)
    if not total:
        _refuse_while_unfinished(cli, force=force)
        return nothing
    lines = [
        f"{verb} {count(total, 'message')} {rest}",
        takes_all_there(total, source.name, source.role),
        _beware(source),
    ]
    return "\n".join(filter(None, lines))


def _refuse_while_unfinished(cli: Cli, *, force: bool) -> None:
    """Raise BusyError if an in-order redrive is unfinished: an empty queue says nothing then."""
    from fifo_cli.operations.maintenance_lock import refuse_while_unfinished

    if not force:
        refuse_while_unfinished(_tags(cli))


def _held(cli: Cli, what: str, *, force: bool) -> AbstractContextManager[MaintenanceLock]:
    """Hold the pipeline's maintenance lock."""
    from fifo_cli.operations.maintenance_lock import maintenance

    return maintenance(_tags(cli), what, force=force, listener=cli.listener)


def _tags(cli: Cli) -> QueueTags:
    return cli.queue("main").tags


def _owner(cli: Cli, source: Queue) -> str:
    """Return whose dead letters are ours, if the queue is one that others may share."""
    return cli.queue("main").arn if source.role == "dlq" else ""


def _beware(source: Queue) -> str:
    """Say what else it means to take messages out of a queue that is not the DLQ."""
    match source.role:
        case "main":
            return "BEWARE: what is taken out of main is not delivered"
        case "hold":
            return "BEWARE: an unfinished in-order redrive puts what is in hold back into main"
        case _:
            return ""


def _path(file: str) -> Path | None:
    """Return the file that is meant, None for stdin or stdout; raise UsageError for an empty name."""
    if not file:
        raise UsageError("FILE is empty", hint="name a file; `-` is stdin or stdout")
    return None if file == _STDIO else Path(file)


def _stdout() -> BinaryIO:
    if sys.stdout is None:
        raise UsageError("stdout is closed, so nothing can be written to it", hint="name a file")
    return sys.stdout.buffer


def _stdin() -> BinaryIO | None:
    return sys.stdin.buffer if sys.stdin is not None else None
