"""The commands between queues and files: dump, load, purge."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from fifo_cli.cli.console import paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Commands, Impact, command
from fifo_cli.cli.options import Output, complete_files
from fifo_cli.cli.parameters import Force, MaxRate, QueueName, QueueOption, SameGroupBatches
from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.events import Warned

if TYPE_CHECKING:
    from fifo_cli.aws.sqs import Queue
    from fifo_cli.operations.queues.dump import Dump, DumpPreview, DumpResult
    from fifo_cli.operations.queues.load import Checked, Lines

_STDIO = "-"


def register(app: Commands) -> None:
    """Add the commands to the program."""
    command(
        app,
        "dump",
        impact=Impact.MOVES,
        examples=[
            "fifo-cli dump dlq.jsonl",
            "fifo-cli dump dlq.jsonl --move",
            "fifo-cli dump - --queue main | jq .body",
        ],
    )(_dump)
    command(
        app,
        "load",
        impact=Impact.MOVES,
        examples=["fifo-cli load dlq.jsonl --dry-run", "fifo-cli load dlq.jsonl --max-rate 10"],
    )(_load)
    command(
        app,
        "purge",
        impact=Impact.DESTROYS,
        examples=["fifo-cli purge --queue dlq", "fifo-cli purge --queue dlq --backup parked.jsonl --yes"],
    )(_purge)


def _dump(
    cli: Cli,
    *,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="The file; - is stdout.",
            show_default=False,
            autocompletion=complete_files,
        ),
    ],
    queue: QueueOption = QueueName.DLQ,
    move: Annotated[
        bool, typer.Option("--move", help="Delete each message once its line is on disk.")
    ] = False,
    max_rate: MaxRate = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    force: Force = False,
) -> ExitCode:
    """Save messages as JSON lines, which `load` sends again.

    Without --move it looks, as `peek` does: it sees at most the first ten messages of a group, exits 1 if
    that was not all, and writes over no file. With --move everything goes to the file, which is continued if
    it exists; interrupted anywhere, run it again. With --move into a pipe, what its reader drops is lost.
    """
    from fifo_cli.aws.sqs import Queue
    from fifo_cli.operations.transfer.message_files import check_dump, check_new_file

    if max_rate is not None and not move:
        raise UsageError(
            "--max-rate is for --move: without it nothing is moved", hint="add --move, or leave it out"
        )
    if file == _STDIO and cli.options.output is Output.JSON:
        raise UsageError("- writes lines to stdout, and -o json is one document", hint="leave out -o json")
    path = _path(file)
    if path is not None:
        (check_dump if move else check_new_file)(path)
    source = Queue(cli.aws, cli.names, queue.value)
    if dry_run:
        return _preview_dump(cli, source, file, move=move, force=force)
    with _output(path) as stream:
        result = _perform_dump(cli, source, path, stream, move=move, max_rate=max_rate, force=force)
    return _conclude_dump(cli, result, source, file, move=move)


def _perform_dump(
    cli: Cli,
    source: Queue,
    path: Path | None,
    stream: BinaryIO | None,
    *,
    move: bool,
    max_rate: float | None,
    force: bool,
) -> DumpResult:
    from fifo_cli.operations.queues.browse import count_waiting
    from fifo_cli.operations.queues.dump import Dump, DumpResult
    from fifo_cli.operations.transfer.message_files import keeps_what_it_gets
    from fifo_cli.render.text import count

    dump = Dump(cli.aws, source, path, stream, _owner(cli, source), paced(cli.console))
    if not move:
        with cli.stopping() as stop:
            return dump.look(force=force, stopped=stop.is_set)
    if stream is not None and not keeps_what_it_gets(stream):
        cli.listener(Warned("stdout is a pipe: what its reader does not keep is lost"))
    if not cli.options.yes:
        total = count_waiting(source)
        if not total:
            _refuse_during_rebuild(cli, force=force)
            return DumpResult(0, remaining=0)
        what = f"move {count(total, 'message')} from {source.name} to {path or 'stdout'}"
        cli.confirm(what + _beware(source))
    return _move(cli, dump, "dump", max_rate=max_rate, force=force)


def _move(cli: Cli, dump: Dump, what: str, *, max_rate: float | None, force: bool) -> DumpResult:
    """Move a queue to a file, with the pipeline held for ``what``."""
    with _held(cli, what, force=force), cli.stopping() as stop:
        return dump.move(max_rate=max_rate, stopped=stop.is_set)


def _conclude_dump(cli: Cli, result: DumpResult, source: Queue, file: str, *, move: bool) -> ExitCode:
    from fifo_cli.render.files import dump_text

    def text() -> str:
        moved = result.moved if move else None
        to = "stdout" if file == _STDIO else file
        return dump_text(result.document(), queue=source.name, to=to, moved=moved, remaining=result.remaining)

    _tell(cli, [*result.notes, *result.concerns])
    if file != _STDIO:
        return cli.conclude(result, text)
    cli.console.message(text().rstrip())
    if result.complaint is not None:
        raise result.complaint
    return result.exit_code


def _preview_dump(cli: Cli, source: Queue, file: str, *, move: bool, force: bool) -> ExitCode:
    from fifo_cli.operations.queues.dump import preview

    result = preview(source, force=force)
    what = f"would be {'moved' if move else 'written'} to {file}"
    return cli.emit(result, lambda: _preview_text(cli, result, source, what))


def _preview_text(cli: Cli, seen: DumpPreview, source: Queue, what: str) -> str:
    from fifo_cli.render.text import count, printable
    from fifo_cli.render.transfer import messages_table

    shown = messages_table(seen.document()["messages"], width=cli.console.width)
    more = "There are more than shown: of one group, SQS shows the first ten.\n" if seen.truncated else ""
    total = count(seen.remaining, "message")
    return f"{shown}{more}dry run: nothing was touched; {total} of {source.name} {printable(what)}\n"


def _load(
    cli: Cli,
    *,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="The file; - is stdin.",
            show_default=False,
            autocompletion=complete_files,
        ),
    ],
    queue: QueueOption = QueueName.MAIN,
    same_group_batches: SameGroupBatches = False,
    max_rate: MaxRate = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the lines and show them.")] = False,
    force: Force = False,
) -> ExitCode:
    """Send the lines of a file that `dump` wrote, in order within each group.

    All lines are checked first. What was sent is noted in FILE.loaded: the same file loaded again makes no
    second copy; after a crash, within five minutes, as later SQS no longer knows what was sent last. A line
    that was edited is new. stdin has no such note.
    """
    from datetime import UTC, datetime

    from fifo_cli.aws.sqs import Queue
    from fifo_cli.operations.queues.load import LoadResult, check, load, open_lines
    from fifo_cli.operations.queues.load_progress import check_checkpoint
    from fifo_cli.render.files import load_text
    from fifo_cli.render.text import count

    target = Queue(cli.aws, cli.names, queue.value)
    path = _path(file)
    if path is None and not (dry_run or cli.options.yes):
        raise UsageError("stdin holds the lines, so nobody can be asked", hint="go ahead with --yes")
    bytes_max = target.max_message_bytes()
    with open_lines(path, _stdin(), queue=queue.value, arn=target.arn, bytes_max=bytes_max) as lines:
        checked = check(lines)
        if checked.repeated:
            again = count(checked.repeated, "line")
            cli.console.message(
                f"there twice, and sent as often: {again} equal to an earlier one of {lines.name}"
            )
        if lines.path is not None and checked.new:
            check_checkpoint(lines.path)
        if checked.may_repeat(datetime.now(UTC)):
            cli.listener(Warned(_broken_off(checked, target)))
        if dry_run:
            return _preview_load(cli, checked, target)
        if not (checked.new or cli.options.yes):
            _refuse_during_rebuild(cli, force=force)
            nothing = LoadResult(0, checked.already, 0)
            return cli.emit(nothing, lambda: load_text(nothing.document(), queue=target.name, left=0))
        _ask_load(cli, lines, checked, target)
        with _held(cli, "load", force=force), cli.stopping() as stop:
            result = load(
                lines,
                target,
                checked,
                same_group_batches=same_group_batches,
                max_rate=max_rate,
                listener=paced(cli.console),
                stopped=stop.is_set,
            )
    left = checked.total - result.loaded - result.already_loaded - result.failed
    _tell(cli, result.concerns)
    return cli.conclude(result, lambda: load_text(result.document(), queue=target.name, left=left))


def _broken_off(checked: Checked, target: Queue) -> str:
    from fifo_cli.model.times import iso

    assert checked.broken_off is not None
    return (
        f"an earlier load of this file broke off after {iso(checked.broken_off)}; what it sent in its last"
        f" moment is not noted, and SQS no longer knows it: some of the next lines may be in {target.name}"
        " already, and become second copies (`fifo-cli peek` shows what is there)"
    )


def _ask_load(cli: Cli, lines: Lines, checked: Checked, target: Queue) -> None:
    from fifo_cli.render.text import count

    if lines.path is None:
        cli.console.message(
            "stdin has no checkpoint: SQS suppresses the same lines for five minutes; later they are new"
        )
    elif checked.already:
        noted = lines.path.name + ".loaded"
        cli.console.message(f"left out: {count(checked.already, 'line')} loaded before, as noted in {noted}")
    if not cli.options.yes:
        cli.confirm(
            f"send {count(checked.new, 'message')} from {lines.name} to {target.name}\n"
            f"Order: as in the file within each group, behind the {count(target.counts().total, 'message')}"
            " counted there now"
        )


def _preview_load(cli: Cli, checked: Checked, target: Queue) -> ExitCode:
    from fifo_cli.operations.queues.load import LoadPreview
    from fifo_cli.render.files import lines_preview

    result = LoadPreview(checked, target.counts().total)
    return cli.emit(
        result,
        lambda: lines_preview(
            result.document()["messages"],
            new=checked.new,
            already=checked.already,
            queue=target.name,
            width=cli.console.width,
        ),
    )


def _purge(
    cli: Cli,
    *,
    queue: Annotated[
        QueueName,
        typer.Option("--queue", help="main, dlq or hold.", metavar="QUEUE", show_default=False),
    ],
    backup: Annotated[
        str | None,
        typer.Option(
            "--backup",
            metavar="FILE",
            help="Save them here; else NAME-QUEUE.backup.jsonl beside fifo.toml.",
            autocompletion=complete_files,
        ),
    ] = None,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Delete them for good.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    force: Force = False,
) -> ExitCode:
    """Empty a queue, after saving what is in it.

    The backup is a file as `dump` writes it, continued if it exists; `load` brings it back.
    """
    from fifo_cli.aws.sqs import Queue
    from fifo_cli.operations.queues.purge import refuse_if_shared
    from fifo_cli.operations.transfer.message_files import check_dump

    if backup is not None and no_backup:
        raise UsageError("--backup and --no-backup contradict each other", hint="leave one of them out")
    source = Queue(cli.aws, cli.names, queue.value)
    default = cli.project.folder / f"{cli.names.pipeline}-{queue.value}.backup.jsonl"
    path = None if no_backup else default if backup is None else _path(backup)
    if backup == _STDIO:
        raise UsageError("a backup goes into a file, not to stdout", hint="name a file; `./-` is one")
    if path is not None:
        check_dump(path)
    elif source.role == "dlq":
        refuse_if_shared(source, cli.names.main, force=force)
    if dry_run:
        return _preview_purge(cli, source, path, force=force)
    return _perform_purge(cli, source, path, force=force)


def _preview_purge(cli: Cli, source: Queue, path: Path | None, *, force: bool) -> ExitCode:
    from fifo_cli.operations.queues.dump import preview
    from fifo_cli.operations.queues.purge import PurgePreview

    result = PurgePreview(preview(source, force=force), str(path) if path else None)
    what = f"deleted, and saved in {path}" if path else "deleted for good"
    return cli.emit(result, lambda: _preview_text(cli, result.seen, source, f"would be {what}"))


def _perform_purge(cli: Cli, source: Queue, path: Path | None, *, force: bool) -> ExitCode:
    from fifo_cli.operations.queues.browse import count_waiting
    from fifo_cli.operations.queues.dump import Dump
    from fifo_cli.operations.queues.purge import PurgeResult, backed_up, purge_for_good
    from fifo_cli.render.files import purge_text
    from fifo_cli.render.text import count

    total = None if cli.options.yes else count_waiting(source)
    if total:
        saved = f"saving them in {path}" if path else "for good, with what is sent there in the next minute"
        cli.confirm(f"delete {count(total, 'message')} of {source.name}, {saved}{_beware(source)}")
    if total == 0:
        _refuse_during_rebuild(cli, force=force)
        result = PurgeResult(0, None, 0)
    elif path is not None:
        dump = Dump(cli.aws, source, path, None, _owner(cli, source), paced(cli.console))
        result = backed_up(_move(cli, dump, "purge", max_rate=None, force=force), path)
    else:
        with _held(cli, "purge", force=force), cli.stopping() as stop:
            result = purge_for_good(cli.aws, source, listener=cli.listener, stopped=stop.is_set)
    _tell(cli, [*result.notes, *result.concerns])
    return cli.conclude(
        result, lambda: purge_text(result.document(), queue=source.name, remaining=result.remaining)
    )


def _refuse_during_rebuild(cli: Cli, *, force: bool) -> None:
    """Raise BusyError if an in-order redrive is unfinished: an empty queue says nothing then."""
    from fifo_cli.aws.queue_tags import QueueTags
    from fifo_cli.aws.sqs import Queue
    from fifo_cli.operations.maintenance_lock import refuse_during_rebuild

    if not force:
        refuse_during_rebuild(QueueTags(cli.aws, Queue(cli.aws, cli.names, "main")))


@contextlib.contextmanager
def _held(cli: Cli, what: str, *, force: bool) -> Iterator[None]:
    """Hold the pipeline's maintenance marker."""
    from fifo_cli.aws.queue_tags import QueueTags
    from fifo_cli.aws.sqs import Queue
    from fifo_cli.operations.maintenance_lock import maintenance

    main = Queue(cli.aws, cli.names, "main")
    with maintenance(QueueTags(cli.aws, main), what, force=force, listener=cli.listener):
        yield


def _owner(cli: Cli, source: Queue) -> str:
    """Return whose dead letters are ours, if the queue is one that others may share."""
    from fifo_cli.aws.sqs import Queue

    return Queue(cli.aws, cli.names, "main").arn if source.role == "dlq" else ""


def _beware(source: Queue) -> str:
    """Say what else it means to take messages out of a queue that is not the DLQ."""
    match source.role:
        case "main":
            return "\nBEWARE: main is the line itself; what is taken out of it is not delivered"
        case "hold":
            return "\nBEWARE: hold is what an unfinished in-order redrive puts back into main"
        case _:
            return ""


def _path(file: str) -> Path | None:
    """Return the file that is meant, None for stdin or stdout; raise UsageError for an empty name."""
    if not file:
        raise UsageError("FILE is empty", hint="name a file; `-` is stdin or stdout")
    return None if file == _STDIO else Path(file)


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO | None]:
    if path is not None:
        yield None
        return
    if sys.stdout is None:
        raise UsageError("stdout is closed, so nothing can be written to it", hint="name a file")
    yield sys.stdout.buffer


def _stdin() -> BinaryIO | None:
    return sys.stdin.buffer if sys.stdin is not None else None


def _tell(cli: Cli, said: Iterable[str]) -> None:
    """Say on stderr what a result has no place for."""
    from fifo_cli.render.text import printable

    for one in said:
        cli.console.message(printable(one))
