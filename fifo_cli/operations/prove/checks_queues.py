"""The checks of what operators do: peek, dump, load, purge, and every kind of redrive.

The worker is paused; what is delivered is delivered by drain, the worker's own code.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fifo_cli.aws.move_tasks import MoveTasks, UnknownCallError
from fifo_cli.aws.sqs import Queue
from fifo_cli.model.receiver_protocol import AnswerRules
from fifo_cli.operations.maintenance_lock import MAINTENANCE_TAG, RESTORE_TAG
from fifo_cli.operations.prove.check_context import expect, item_id
from fifo_cli.operations.prove.deliveries import Batch
from fifo_cli.operations.prove.pipeline import CheckFailed, NotOfferedError

if TYPE_CHECKING:
    from pathlib import Path

    from fifo_cli.operations.prove.check_context import CheckContext

_REFUSED_STATUS = "422"
_COUNTS = ("visible", "in_flight", "delayed")


def peek(context: CheckContext) -> str:
    """`depth` and `peek` show what is there, in order, and change nothing."""
    batch = Batch("peek", 3, 3)
    context.put_into_main(batch)
    first = _in_order(batch, context.peeked())
    second = _in_order(batch, context.peeked())
    expect(
        len(first) == len(second) == batch.groups,
        f"peek shows {len(first)}, then {len(second)} of 3 groups",
    )
    queues = context.run("depth")["queues"]
    depths = [sum(queues[name][what] for what in _COUNTS) for name in ("main", "dlq", "hold")]
    expect(depths == [9, 0, 0], f"after two looks main, dlq and hold hold {depths}, not [9, 0, 0]")
    context.deliver(batch)
    return "9 messages of 3 groups seen in order twice, and still there"


def _in_order(batch: Batch, messages: list[Any]) -> dict[str, list[str]]:
    """Return what a look shows of each group: its head and what follows, as far as SQS gave it out."""
    groups: dict[str, list[str]] = {}
    for one in messages:
        groups.setdefault(one["group"], []).append(item_id(one))
    for number in range(batch.groups):
        shown = groups.get(batch.group(number), [])
        wanted = [batch.id(number, place + 1) for place in range(len(shown))]
        expect(shown == wanted, f"peek shows {', '.join(shown)} of the group {batch.group(number)}")
    return groups


def delay_to_queue(context: CheckContext) -> str:
    """An item is a message in main soon after it was put."""
    batch = Batch("probe", 1, 5)
    context.rest()
    ahead = context.aws.clock_ahead.total_seconds()
    put_at = {}
    for row in batch.rows():
        context.put_one(row)
        put_at[row["id"]] = time.time() + (ahead if abs(ahead) > 2 else 0.0)
    context.enqueued(batch)
    delays = [
        datetime.fromisoformat(one["sent_at"]).timestamp() - put_at[item_id(one)]
        for one in context.peeked()
        if item_id(one) in put_at
    ]
    expect(len(delays) == 5, f"main shows {len(delays)} of 5 messages")
    what = (
        "from the answer to an item's put until its message is in main, by the clocks of AWS and this machine"
    )
    context.measure("put_to_queue", what, *(max(0.0, one) for one in delays))
    context.deliver(batch)
    return f"{max(0.0, *delays):.1f} s at most, of 5 items"


def dump_load_purge(context: CheckContext) -> str:
    """`dump` and `load` give back what was there byte for byte; `purge` keeps a backup."""
    batch = Batch("dump", 3, 4)
    context.put_into_main(batch)
    saved, backup = context.path("dump.jsonl"), context.path("backup.jsonl")
    dumped = context.run("dump", str(saved), "--queue", "main", "--move", "--yes")
    expect(dumped["written"] == 12, f"dump wrote {dumped['written']} of 12 messages")
    context.until(lambda: not context.holds(), "main is not empty after dump --move")
    _load(context, batch, saved)
    twice = context.run("load", str(saved), "--queue", "main", "--yes")
    expect(twice["already_loaded"] == 12, f"a second load loaded {twice['loaded']} messages again")
    purged = context.run("purge", "--queue", "main", "--backup", str(backup), "--yes")
    expect(purged["purged"] == 12, f"purge purged {purged['purged']} of 12 messages")
    expect(_contents(backup) == _contents(saved), "what was loaded is not what was dumped")
    context.until(lambda: not context.holds(), "main is not empty after purge")
    _load(context, batch, backup)
    context.deliver(batch)
    return "12 messages dumped, loaded, purged and loaded again, byte for byte"


def _load(context: CheckContext, batch: Batch, path: Path) -> None:
    loaded = context.run("load", str(path), "--queue", "main", "--yes")
    expect(loaded["loaded"] == len(batch.ids), f"load loaded {loaded['loaded']} of {len(batch.ids)} messages")
    context.enqueued(batch)


def redrive(context: CheckContext) -> str:
    """What the API refuses is parked with the reason; `redrive` brings it back, and it is delivered."""
    batch = Batch("redrive", 2, 4)
    poison = (batch.id(0, 4), batch.id(1, 4))
    _park_by_api(context, batch, poison)
    parked = context.peeked("dlq")
    expect(sorted(map(item_id, parked)) == sorted(poison), f"the DLQ holds {sorted(map(item_id, parked))}")
    reasons = {_attribute(one, "park_status") for one in parked}
    expect(reasons == {_REFUSED_STATUS}, f"the parked messages have the status {reasons}")
    _moved(context.run("redrive", "--yes"), len(poison))
    context.deliver(batch)
    return f"{len(poison)} refused, parked with HTTP 422, brought back and delivered"


def redrive_in_order(context: CheckContext) -> str:
    """`redrive --in-order` puts a parked head back before those that waited behind it."""
    batch = Batch("inorder", 1, 5)
    context.put_into_main(batch)
    context.answer_by(AnswerRules(refuse=(batch.id(0, 1),)))
    context.run("drain", "--count", "1", codes=(0, 1))
    parked = [item_id(one) for one in context.peeked("dlq")]
    expect(parked == [batch.id(0, 1)], "the head of the group was not parked")
    context.answer_by(AnswerRules())
    context.run("redrive", "--in-order", "--yes")
    _in_order(batch, context.peeked())
    context.deliver(batch)
    return "the head of 5 was parked and is the head again"


def redrive_natively(context: CheckContext) -> str:
    """SQS's own move task brings back what was parked."""
    tasks = MoveTasks(
        context.aws, name=context.names.dlq, source_arn=context.aws.place.queue(context.names.dlq)
    )
    try:
        tasks.recent()
    except UnknownCallError:
        raise NotOfferedError("the service knows no message move tasks") from None
    batch = Batch("native", 2, 3)
    poison = (batch.id(0, 3), batch.id(1, 3))
    _park_by_api(context, batch, poison)
    with context.timed("move_task", "a message move task of SQS"):
        context.run("redrive", "--engine", "native", "--yes")
    context.deliver(batch)
    return f"{len(poison)} brought back by SQS"


def redrive_refused(context: CheckContext) -> str:
    """While one redrive is at work, a second one is refused; interrupted, the first one loses nothing."""
    batch = Batch("second", 1, 5)
    _park_by_api(context, batch, batch.ids)
    first = context.commands.start("redrive", "--yes", "--max-rate", "0.1")
    try:
        context.until(lambda: MAINTENANCE_TAG in _tags_of_main(context), "a redrive took no lock", poll=0.02)
        second = context.commands.run("redrive", "--yes", codes=(0, 1, 2, 3, 75))
        expect(first.process.poll() is None, "a redrive at 0.1 messages a second was done at once")
        expect(second.code == 75, f"a second redrive at the same time exited {second.code}, not 75")
    finally:
        first.stop()
    rest = context.run("redrive", "--yes")
    expect(not rest["remaining"], f"{rest['remaining']} messages remain in the DLQ after all")
    context.deliver(batch)
    return "the second one exited 75; the first one was interrupted, and nothing is lost"


def redrive_killed(context: CheckContext) -> str:
    """A redrive --in-order that is killed at work, and run again: all is there, once, and in order."""
    batch = Batch("killed", 2, 20)
    context.put_into_main(batch)
    if not any(_killed_after(context, batch, seconds) for seconds in context.waits.kill_after):
        raise CheckFailed("the redrive ended each time before it could be killed")
    # The lock of the killed one would be over within a minute.
    context.run("redrive", "--in-order", "--yes", "--force")
    expect(
        _half_done(context) is None, "the second redrive ended, and main still says that one is unfinished"
    )
    _in_order(batch, context.peeked())
    context.deliver(batch)
    return "killed while it was at work on 40 messages; run again, all are there, in order"


def _killed_after(context: CheckContext, batch: Batch, seconds: float) -> bool:
    """Park the head of each group, begin a redrive and kill it; say whether it was at work then."""
    for group in range(batch.groups):
        context.run("park", "--count", "1", "--group", batch.group(group), "--yes", "--force")
    running = context.commands.start("redrive", "--in-order", "--yes", "--force")
    try:
        context.until(
            lambda: _half_done(context) or running.process.poll() is not None,
            "the redrive did not begin",
            poll=0.02,
        )
        context.sleep(seconds)
    finally:
        running.kill()
    return _half_done(context) is not None


def _half_done(context: CheckContext) -> str | None:
    """Return what main's tag says of a redrive --in-order that is not finished."""
    return _tags_of_main(context).get(RESTORE_TAG)


def _tags_of_main(context: CheckContext) -> Mapping[str, str]:
    return Queue(context.aws, context.names, "main").tags.read().tags


def _park_by_api(context: CheckContext, batch: Batch, poison: tuple[str, ...]) -> None:
    """Put a batch, and let the API refuse some of it, so that they are parked; all others are delivered."""
    context.put_into_main(batch)
    context.answer_by(AnswerRules(refuse=poison))
    context.run("drain", "--all", codes=(0, 1))
    context.answer_by(AnswerRules())
    context.until(
        lambda: context.holds("dlq") == len(poison), f"not all of {len(poison)} refused items were parked"
    )


def _moved(result: Any, number: int) -> None:
    expect(
        (result["moved"], result["remaining"]) == (number, 0),
        f"the redrive moved {result['moved']} of {number} messages, and {result['remaining']} remain",
    )


def _attribute(message: Any, name: str) -> str:
    return str(message["attributes"].get(name, {}).get("value", ""))


def _contents(path: Path) -> list[Any]:
    """Return the body, group and attributes of each message in a dump, in an order of their own."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return sorted((one["group"], one["body"], json.dumps(one["attributes"], sort_keys=True)) for one in rows)
