"""Replays as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fifo_cli.render.text import count, open_shards, printable, table

_OUTCOMES: Final = {
    "suppressed": "suppressed by SQS",
    "skipped": "skipped by the rules of fifo.toml",
    "parked": "parked in the DLQ",
    "failed": "failed",
    "waiting": "not sent yet",
}


def replay_text(document: Mapping[str, Any], *, main: str) -> str:
    """The sum of a replay, and below it what needs a look."""
    said = [f"{count(document['enqueued'], 'record')} enqueued in {main}"]
    said += [f"{document[name]:,} {words}" for name, words in _OUTCOMES.items() if document[name]]
    lines = [
        f"{count(document['read'], 'record')} read, {document['matched']:,} matched: {', '.join(said)}",
        *_bounds(document["first_sequence"], document["last_sequence"]),
        *open_shards(document, "replay"),
        *replay_warnings(document),
    ]
    return "".join(f"{printable(line)}\n" for line in lines)


def replay_warnings(document: Mapping[str, Any]) -> list[str]:
    """What a person should know beyond the counts, a line each."""
    lines = [f"look: {one}" for one in document["notes"]]
    lines += [
        f"look: {one['event_id']} (group {one['group']}) was not sent: {one['reason']}"
        for one in document["failures"]
    ]
    if document["failed"] > len(document["failures"]):
        lines.append(f"look: and {document['failed'] - len(document['failures']):,} more that were not sent")
    if document["expired"]:
        lines.append(f"look: {count(document['expired'], 'record')} expired: the stream no longer has them")
    lines += [
        f"look: failure record {one['message_id']} stays in its queue: {one['reason']}"
        for one in document["kept"]
    ]
    if document["failed"] or document["waiting"]:
        lines.append("run the same command again to go on with the rest")
    return lines


def replay_preview(document: Mapping[str, Any], *, main: str, width: int | None) -> str:
    """What a replay would enqueue."""
    rows = [
        (
            one["stream_sequence"],
            one["created_at"],
            one["event_name"],
            one["item_key"],
            one["becomes"],
            one["group"] if one["reason"] is None else one["reason"],
        )
        for one in document["records"]
    ]
    headers = ("SEQUENCE", "WRITTEN", "EVENT", "KEY", "BECOMES", "GROUP")
    shown = table(rows, headers=headers, width=width) if rows else ""
    more = document["matched"] - len(rows)
    lines = [
        *([f"and {more:,} more"] if more > 0 else []),
        f"dry run: nothing was sent; {count(document['matched'], 'record')} of {document['read']:,} read"
        f" would go through the enqueuer's code to {main}",
        *open_shards(document, "replay"),
        *(one for one in replay_warnings({**document, "waiting": 0})),
    ]
    return shown + "".join(f"{printable(line)}\n" for line in lines)


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
_DROPPED: Final = "but for what was enqueued within the last five minutes, which SQS drops; "


def _twice(*, fresh: bool) -> str:
    """Say what happens to what has been this way before."""
    return (
        "Twice: what was delivered already is delivered once more, with the same Idempotency-Key and after"
        f" what came since ({'' if fresh else _DROPPED}`fifo-cli audit` then counts it as duplicated)."
        " `fifo-cli replay --missing` sends only what got lost."
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
