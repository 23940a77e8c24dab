"""The command that sends records of the stream again: replay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from fifo_cli.cli.commands.trace import Settle, settle_time
from fifo_cli.cli.console import paced, stdin_is_terminal
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.moves import MoveCommand, carry_out
from fifo_cli.cli.parameters import Force, check_expression, read_window
from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.model.times import parse_duration

if TYPE_CHECKING:
    from fifo_cli.model.results import WorkResult
    from fifo_cli.operations.stream.reader import Window
    from fifo_cli.operations.stream.replay import Replay, ReplayPreview, ReplayResult, ReplayWork


class EventName(StrEnum):
    INSERT = "INSERT"
    MODIFY = "MODIFY"
    REMOVE = "REMOVE"


@command(
    "replay",
    impact=Impact.MOVES,
    examples=[
        "fifo-cli replay --since 2h --dry-run",
        "fifo-cli replay --missing --since 24h",
        "fifo-cli replay --failed --yes",
        """fifo-cli replay --key '{"id": "4711"}' --fresh""",
    ],
)
def replay(
    cli: Cli,
    *,
    since: Annotated[
        str | None, typer.Option("--since", metavar="T", help="Records written at T or later.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="T", help="Records written at T or before. Default: now.")
    ] = None,
    from_sequence: Annotated[
        str | None,
        typer.Option(
            "--from-sequence", metavar="S", help="Records with this sequence number or a higher one."
        ),
    ] = None,
    to_sequence: Annotated[
        str | None,
        typer.Option("--to-sequence", metavar="S", help="Records with this sequence number or a lower one."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="JSON", help="Records of the item with this key.")
    ] = None,
    events: Annotated[
        list[EventName] | None,
        typer.Option("--event", metavar="EVENT", help="INSERT, MODIFY or REMOVE; may be repeated."),
    ] = None,
    filter_: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="JMESPATH",
            help="Records for whose item this is true; it sees the item's attributes.",
        ),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="The batches on the queue of stream failures.")
    ] = False,
    missing: Annotated[
        bool, typer.Option("--missing", help="Those that `audit` finds missing; looks back 24 hours.")
    ] = False,
    settle: Settle = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="New deduplication ids; the API may see repeats.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do not go on with an interrupted replay; begin again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be enqueued.")] = False,
    force: Force = False,
) -> ExitCode:
    """Send records of the table's stream through the enqueuer's code again.

    They go to the end of main, in the order in which they were written. Without --fresh, SQS suppresses what
    was sent before within the last five minutes. T is ISO 8601, or a duration before now. If it is
    interrupted, run it again: it continues. Exits 1 if a record failed, was parked or has expired.
    """
    given = Given(
        since=since,
        until=until,
        from_sequence=from_sequence,
        to_sequence=to_sequence,
        key=key,
        event=",".join(sorted(set(events or ()))),
        filter=filter_,
        failed=failed,
        missing=missing,
        fresh=fresh,
    )
    replay = _replay_of(cli, given, settle=settle_time(cli, settle), restart=restart)
    # Without anybody to ask, what would be replayed is only counted, for the refusal.
    kept = not dry_run and (cli.options.yes or stdin_is_terminal())
    with replay.gathered(dry_run=not kept) as work:
        report = carry_out(cli, _move_of(cli, replay, work, force=force), dry_run=dry_run)
    return report()


def _move_of(
    cli: Cli, replay: Replay, work: ReplayWork, *, force: bool
) -> MoveCommand[ReplayPreview, ReplayResult]:
    from fifo_cli.operations.stream.replay import ReplayPreview, ReplayResult
    from fifo_cli.render.replay_text import replay_preview, replay_text, replay_warnings

    main = replay.main.name

    def remarks(result: WorkResult) -> list[str]:
        # The text of a preview has them.
        assert isinstance(result, ReplayResult)
        return [] if isinstance(result, ReplayPreview) else replay_warnings(result)

    return MoveCommand(
        preview=lambda: replay.preview(work),
        preview_text=lambda seen: replay_preview(seen, main=main, width=cli.console.width),
        question=lambda: _question(replay, work),
        perform=lambda stopped: replay.perform(work, force=force, stopped=stopped),
        text=lambda result: replay_text(result, main=main),
        remarks=remarks,
    )


@dataclass(frozen=True, slots=True)
class Given:
    """The options that say what to replay, as they were given."""

    since: str | None
    until: str | None
    from_sequence: str | None
    to_sequence: str | None
    key: str | None
    event: str
    filter: str | None
    failed: bool
    missing: bool
    fresh: bool

    @property
    def asked(self) -> tuple[str, ...]:
        """What makes two command lines the same replay."""
        given = {f"--{name.replace('_', '-')}": value for name, value in asdict(self).items() if value}
        return tuple(name if value is True else f"{name}={value}" for name, value in given.items())

    @property
    def choosing(self) -> list[str]:
        """The names of those that choose records."""
        return [name for name, is_text, _ in (one.partition("=") for one in self.asked) if is_text]

    @property
    def relative(self) -> bool:
        """Whether the same command line means other records an hour later."""
        if self.failed:
            return False
        return self.missing or self.until is None or any(map(_is_duration, (self.since, self.until)))


def _replay_of(cli: Cli, given: Given, *, settle: timedelta, restart: bool) -> Replay:
    """Check the options and make what replays; raises UsageError."""
    from fifo_cli.local.process import FOLDER
    from fifo_cli.operations.stream.item_keys import parse_key
    from fifo_cli.operations.stream.replay import Replay, ReplayOptions

    check_expression("--filter", given.filter)
    now = datetime.now(UTC)
    window = _window(given, now)
    project = cli.project_with_code("message")
    settings = project.settings
    events = frozenset(filter(None, given.event.split(",")))
    _check_combination(given, events, settings.message.events)
    options = ReplayOptions(
        window=window,
        key=None if given.key is None else parse_key(given.key, settings.table.keys),
        events=events,
        expression=given.filter,
        failed=given.failed,
        missing=given.missing,
        settle=settle,
        fresh=given.fresh,
        restart=restart,
        asked=given.asked,
        relative=given.relative,
    )
    return Replay(
        cli.aws,
        project,
        options,
        cli.folder / FOLDER,
        tuple(cli.code_folders("message")),
        paced(cli.console),
        now,
    )


def _window(given: Given, now: datetime) -> Window:
    """Read the bounds; ``until`` is now if not given. Raises UsageError for what can hold no record."""
    from fifo_cli.operations.stream.reader import Window

    begin, end = read_window(given.since, given.until, now=now, only_past=True)
    first = _sequence("--from-sequence", given.from_sequence)
    last = _sequence("--to-sequence", given.to_sequence)
    if first is not None and last is not None and int(first) > int(last):
        raise UsageError(
            f"--from-sequence {first} is greater than --to-sequence {last}", hint="exchange the two"
        )
    return Window(begin, end or now, first, last)


def _sequence(option: str, text: str | None) -> str | None:
    from fifo_cli.operations.stream.record_filter import SEQUENCE

    if text is None or SEQUENCE.fullmatch(text):
        return text
    raise UsageError(
        f"{option} {text!r} is not a sequence number: that is one to forty digits",
        hint="find one in a message's attribute stream_sequence, or in the logs' stream_sequence",
    )


def _check_combination(given: Given, events: Collection[str], made: Sequence[str]) -> None:
    if given.failed and given.missing:
        raise UsageError(
            "--failed and --missing are two ways to find the records", hint="run one, then the other"
        )
    if given.failed and given.choosing:
        raise UsageError(
            f"--failed replays whole batches, so {', '.join(given.choosing)} cannot be combined with it",
            hint="leave out one or the other",
        )
    if useless := sorted(set(events) - set(made)):
        raise UsageError(
            f"--event {', '.join(useless)}: this pipeline makes messages of {', '.join(made)} only",
            hint="[message] events in fifo.toml says which events become messages",
        )


def _question(replay: Replay, work: ReplayWork) -> str | ReplayResult:
    from fifo_cli.operations.queues.browse import count_waiting
    from fifo_cli.render.replay_text import replay_question

    waiting = count_waiting(replay.failures) if replay.options.failed else work.checkpoint.sums().waiting
    if stdin_is_terminal() and replay.has_nothing(work):
        return replay.untouched(work)
    question = replay_question(
        waiting,
        work.checkpoint.bounds(),
        failures=replay.failures.name if replay.options.failed else None,
        main=replay.main.name,
        behind=replay.behind(),
        fresh=replay.options.fresh,
        missing=replay.options.missing,
    )
    # A refusal says how much it is, and no more.
    return question if stdin_is_terminal() else question.partition("\n")[0]


def _is_duration(text: str | None) -> bool:
    try:
        return text is not None and bool(parse_duration(text))
    except ValueError:
        return False
