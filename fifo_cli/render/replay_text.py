"""Replays as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.times import iso
from fifo_cli.render.text import as_lines, count, open_shards, table

if TYPE_CHECKING:
    from fifo_cli.operations.stream.replay import ReplayPreview, ReplayResult


def replay_text(result: ReplayResult, *, main: str) -> str:
    """The sum of a replay, and below it what needs a look."""
    sums = result.sums
    outcomes = (
        (sums.suppressed, "suppressed by SQS"),
        (sums.skipped, "skipped by the rules of fifo.toml"),
        (sums.parked, "parked in the DLQ"),
        (sums.failed, "failed"),
        (sums.waiting, "not sent yet"),
    )
    parts = [f"{count(sums.enqueued, 'record')} enqueued in {main}"]
    parts += [f"{number:,} {words}" for number, words in outcomes if number]
    return as_lines(
        f"{count(result.read, 'record')} read, {sums.matched:,} matched: {', '.join(parts)}",
        *_bounds(*result.bounds),
        *open_shards(len(result.tips), "replay"),
        *replay_warnings(result),
    )


def replay_warnings(result: ReplayResult) -> list[str]:
    """What a person should know beyond the counts, a line each."""
    lines = [f"look: {one}" for one in result.notes]
    lines += [
        f"look: {one.message_id} (group {shown_group(one.group)}) was not sent: {one.reason}"
        for one in result.failures
    ]
    if result.sums.failed > len(result.failures):
        lines.append(f"look: and {result.sums.failed - len(result.failures):,} more that were not sent")
    if result.expired:
        lines.append(f"look: {count(result.expired, 'record')} expired: the stream no longer has them")
    lines += [
        f"look: failure record {one.message_id} stays in its queue: {one.reason}" for one in result.kept
    ]
    if result.waits_for_another_run:
        lines.append("run the same command again to go on with the rest")
    return lines


def replay_preview(seen: ReplayPreview, *, main: str, width: int | None) -> str:
    rows = [
        (
            one.stream_sequence,
            iso(one.created_at) if one.created_at else None,
            one.event_name,
            one.item_key,
            one.becomes,
            (one.group and shown_group(one.group)) if one.reason is None else one.reason,
        )
        for one in seen.records
    ]
    headers = ("SEQUENCE", "WRITTEN", "EVENT", "KEY", "BECOMES", "GROUP")
    more = seen.sums.matched - len(rows)
    return (table(rows, headers=headers, width=width) if rows else "") + as_lines(
        f"and {more:,} more" if more > 0 else "",
        f"dry run: nothing was sent; {count(seen.sums.matched, 'record')} of {seen.read:,} read"
        f" would go through the enqueuer's code to {main}",
        *open_shards(len(seen.tips), "replay"),
        *replay_warnings(seen),
    )


def replay_question(
    number: int,
    bounds: tuple[str | None, str | None],
    *,
    failures: str | None,
    main: str,
    behind: int,
    fresh: bool,
    missing: bool,
) -> str:
    """What is about to be done, and what it does to order; ``failures`` is the queue's name with --failed."""
    what = f"enqueue {count(number, 'stream record')} again in {main}"
    if failures is not None:
        batches = f"{number:,} failed {'batch' if number == 1 else 'batches'} on {failures}"
        what = f"enqueue the records of {batches} in {main}"
    lines = [what, *_bounds(*bounds)]
    if failures is None and not missing:
        lines.append(_twice(fresh=fresh))
    if fresh:
        lines.append(_FRESH)
    return "\n".join([*lines, _order(main, behind)])


_FRESH: Final = (
    "--fresh: SQS suppresses nothing, so what is in a queue or was delivered already comes again; the API may"
    " see repeats, each with its old Idempotency-Key."
)
_DROPPED: Final = "except what was enqueued within the last five minutes, which SQS drops; "


def _twice(*, fresh: bool) -> str:
    """Say what happens to what has been this way before."""
    return (
        "Twice: what was delivered already is delivered once more, with the same Idempotency-Key and after"
        f" what came since ({'' if fresh else _DROPPED}{command_line('audit')} then counts it as duplicated)."
        f" {command_line('replay --missing')} sends only what got lost."
    )


def _order(main: str, behind: int) -> str:
    if not behind:
        return f"Order: {main} counts no messages now; the API gets them after what it has had already."
    return (
        f"Order: they go to the end of {main}, behind the {count(behind, 'message')} counted there now; newer"
        " states of the same items may be delivered before them."
    )


def _bounds(first: str | None, last: str | None) -> list[str]:
    """The first and the last sequence number, each on a line of its own: they have up to 40 digits."""
    if first is None or last is None:
        return []
    return [f"first sequence number {first}", f"last sequence number  {last}"]
