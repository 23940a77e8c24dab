"""Dumps, loads and purges as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fifo_cli.model.group_names import shown_group
from fifo_cli.render.text import as_lines, count, printable, remain, table
from fifo_cli.render.transfer import MORE_THAN_SHOWN, messages_table, takes_all_there

if TYPE_CHECKING:
    from fifo_cli.operations.queues.dump import DumpPreview, DumpResult
    from fifo_cli.operations.queues.load import LoadPreview, LoadResult
    from fifo_cli.operations.queues.purge import PurgeResult


def dump_text(result: DumpResult, *, queue: str, to: str, move: bool) -> str:
    """The sum of a dump, with ``move`` one that took messages out of the queue.

    More were deleted than written if a run that was killed had written them, and not deleted them yet.
    """
    if move and not result.written and result.moved == 0 and result.remaining == 0:
        return f"nothing to move: {queue} is empty\n"
    written = f"{count(result.written, 'message')} written to {printable(to)}"
    if not move:
        return f"{written}; nothing was taken out of {queue}\n"
    before = result.moved - result.written
    known = f" ({before:,} had been written before)" if before > 0 else ""
    return f"{written}, {result.moved:,} deleted from {queue}{known}; {remain(result.remaining)}\n"


def dump_preview(seen: DumpPreview, *, queue: str, what: str, width: int | None, takes: str = "") -> str:
    """The messages that a dump or a purge would take; ``what`` would become of them.

    ``takes`` is the queue's role, if they would be taken out of it.
    """
    return messages_table(seen.messages, width=width) + as_lines(
        MORE_THAN_SHOWN if seen.truncated else "",
        f"dry run: nothing was touched; {count(seen.remaining, 'message')} of {queue} {what}",
        takes and takes_all_there(seen.remaining, queue, takes),
    )


def load_text(result: LoadResult, *, queue: str, left: int) -> str:
    """The sum of a load; ``left`` lines were not reached."""
    nothing = not (result.loaded or result.failed or left)
    parts = ["nothing to load" if nothing else f"{count(result.loaded, 'message')} loaded to {queue}"]
    if result.already_loaded:
        parts.append(f"{result.already_loaded:,} had been loaded before")
    if result.failed:
        parts.append(f"{result.failed:,} failed")
    if left:
        parts.append(f"{left:,} not sent yet")
    return ", ".join(parts) + "\n"


def load_preview(seen: LoadPreview, *, queue: str, width: int | None) -> str:
    """What a load would send: the first lines, and how many there are."""
    rows = [(one.message_id, shown_group(one.group), one.body) for one in seen.messages]
    shown = table(rows, headers=("MESSAGE", "GROUP", "BODY"), width=width) if rows else ""
    more = f"and {seen.new - len(rows):,} more\n" if seen.new > len(rows) else ""
    before = f" ({seen.already_loaded:,} were loaded before)" if seen.already_loaded else ""
    order = f"{load_order(seen.behind)}\n" if rows and seen.behind else ""
    would = f"dry run: nothing was sent; {count(seen.new, 'line')} would go to {queue}{before}\n"
    return f"{shown}{more}{order}{would}"


def load_order(behind: int) -> str:
    """Say in which order the lines of a file come into a queue that has ``behind`` messages."""
    return f"Order: as in the file within each group, behind the {count(behind, 'message')} counted there now"


def purge_text(result: PurgeResult, *, queue: str) -> str:
    if not result.purged and result.remaining == 0:
        return f"nothing to purge: {queue} is empty\n"
    saved = f", saved in {printable(result.backup)}" if result.backup else ", not saved"
    purged = f"{count(result.purged, 'message')} purged from {queue}{saved if result.purged else ''}"
    return f"{purged}; {remain(result.remaining)}\n"
