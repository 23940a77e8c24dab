"""The checks of a pipeline that runs: its triggers, an outage, keys, a wrong deploy, a pause, audits."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fifo_cli.aws.cloudwatch import Metric, get_latest
from fifo_cli.model.receiver_protocol import AnswerRules, Mode
from fifo_cli.model.times import iso
from fifo_cli.operations.prove.check_context import expect
from fifo_cli.operations.prove.deliveries import Batch, accepted_of, problems_of
from fifo_cli.operations.prove.pipeline import CheckFailed, NotOfferedError

if TYPE_CHECKING:
    from fifo_cli.operations.prove.check_context import CheckContext

_PROBES = 5


def by_schedule(context: CheckContext) -> str:
    """200 items in 20 groups arrive once and in order, by the schedule."""
    return _deliver(context, Batch("schedule", 20, 10), "schedule", by_queue=False)


def by_queue(context: CheckContext) -> str:
    """200 items in 20 groups arrive once and in order, with the queue as trigger."""
    return _deliver(context, Batch("queue", 20, 10), "the queue", by_queue=True)


def _deliver(context: CheckContext, batch: Batch, trigger: str, *, by_queue: bool) -> str:
    context.flow(by_queue=by_queue)
    context.put(batch)
    began = context.clock()
    context.arrive(batch)
    seconds = context.clock() - began
    items = f"{len(batch.ids)} items"
    what = f"{items}: from the end of the put until all were delivered by {trigger}"
    context.measure(f"by_{batch.name}", what, seconds)
    return f"{items} of {batch.groups} groups, once and in order, in {seconds:.0f} s"


def delay_to_api(context: CheckContext) -> str:
    """An item reaches the API soon after it was put, with the queue as trigger."""
    context.flow(by_queue=True)
    for number in range(_PROBES):
        batch = Batch(f"one{number}", 1, 1)
        context.put_one(batch.rows()[0])
        what = "from the answer to an item's put until the API has it, with the queue as trigger"
        with context.timed("put_to_api", what):
            context.until(
                lambda batch=batch: accepted_of(batch, context.received()),  # type: ignore[misc]
                "an item did not arrive",
            )
        context.batches.append(batch)
    return f"{max(context.measured['put_to_api'].values):.1f} s at most, of {_PROBES} items"


def outage(context: CheckContext) -> str:
    """While the API is down nothing is parked or lost; when it is back, everything arrives, in order."""
    batch = Batch("outage", 4, 5)
    context.flow(by_queue=True)
    context.answer_by(AnswerRules(Mode.UNAVAILABLE))
    context.put(batch)
    _refused(context, batch, 503)
    context.answer_by(AnswerRules(Mode.THROTTLED, retry_after=1))
    _refused(context, batch, 429)
    expect(not accepted_of(batch, context.received()), "an item was accepted while the API was down")
    parked = context.holds("dlq")
    expect(not parked, f"{parked} messages were parked while the API was down")
    context.answer_by(AnswerRules())
    with context.timed("recovery", "from the end of an outage until what waited was delivered"):
        context.arrive(batch)
    return "503 and 429 parked nothing; 20 items arrived afterwards, in order"


def _refused(context: CheckContext, batch: Batch, status: int) -> None:
    prefix = batch.name + "-"
    context.until(
        lambda: any(one.status == status and one.id.startswith(prefix) for one in context.received()),
        f"the API was not called while it answered {status}",
    )


def key_rotation(context: CheckContext) -> str:
    """While the API asks for a new key nothing is parked; with the key set, everything arrives."""
    batch = Batch("rotation", 2, 3)
    context.flow(by_queue=True)
    context.key = secrets.token_urlsafe(32)
    context.answer_by(AnswerRules())
    context.put(batch)
    _refused(context, batch, 401)
    parked = context.holds("dlq")
    expect(not parked, f"{parked} messages were parked while the key was wrong")
    context.set_key()
    with context.timed("key", "from keys set until the functions delivered with the new key"):
        context.arrive(batch)
    return "401 parked nothing; the functions read the new key by themselves"


def wrong_deploy(context: CheckContext) -> str:
    """A deploy that leaves items out is rolled back, and what it left out is replayed.

    The worker is paused, and its function delivers when it is called: a rollback is one of both functions.
    """
    lost, seen, after = Batch("wrong", 2, 3), Batch("seen", 1, 1), Batch("rolledback", 2, 3)
    context.rest()
    since = datetime.now(UTC) - timedelta(seconds=5)
    context.deploy(where="batch == 'seen'")
    context.put(lost, seen)
    context.enqueued(seen)
    context.deliver(seen, via="lambda")
    expect(not accepted_of(lost, context.received()), "the wrong deploy left nothing out")
    moved = context.run("rollback", "--yes")["functions"]
    expect(all(one["from"] != one["to"] for one in moved), f"the rollback moved {moved}")
    with context.timed("rollback", "from a rollback until items are in main again"):
        context.put(after)
        context.enqueued(after)
    context.deliver(after, via="lambda")
    context.deploy(where="")
    replayed = context.run(
        "replay", "--since", iso(since), "--filter", "batch == 'wrong'", "--yes", codes=(0, 1)
    )
    expect(replayed["enqueued"] == 6, f"the replay enqueued {replayed['enqueued']} of 6 records")
    context.deliver(lost, via="lambda")
    return "rolled back; the 6 items that were left out were replayed, and arrived in order"


def pause(context: CheckContext) -> str:
    """After `pause --wait` nothing starts; after `resume` everything goes on where it stopped."""
    waiting, put_later = Batch("waiting", 2, 3), Batch("later", 2, 3)
    context.flow(by_queue=True)
    context.run("pause", "worker", "--wait")
    context.paused = True
    context.put(waiting)
    context.enqueued(waiting)
    with context.timed("pause", "pause all --wait"):
        context.run("pause", "all", "--wait")
    before = len(context.received())
    context.put(put_later)
    context.sleep(context.waits.quiet)
    started = len(context.received()) - before
    expect(not started, f"{started} deliveries within {context.waits.quiet:.0f} s after pause --wait")
    depth = context.holds()
    expect(depth == 6, f"main holds {depth} messages after the pause, not the 6 that it held before")
    context.run("resume", "all")
    context.paused = False
    with context.timed("resume", "from resume until what waited was delivered"):
        context.arrive(waiting)
        context.arrive(put_later)
    return f"nothing started for {context.waits.quiet:.0f} s; then all 12 items arrived"


def audit(context: CheckContext) -> str:
    """An audit right after deliveries finds nothing missing, doubled or reordered."""
    batch = Batch("audit", 2, 3)
    context.flow(by_queue=True)
    context.put(batch)
    context.arrive(batch)
    found = _audited(context)
    return f"{found['delivered']} of {found['records']} records proven delivered at once"


def _audited(context: CheckContext) -> Any:
    settle = ("--settle", context.waits.settle) if context.waits.settle else ()
    found = context.run("audit", "--since", iso(context.began), *settle, codes=(0, 1))
    for word in ("missing", "duplicated", "reordered"):
        expect(not found[word], f"the audit finds {len(found[word])} records {word}")
    return found


def audit_with_logs(context: CheckContext) -> str:
    """When CloudWatch Logs show everything, an audit proves each record delivered once and in order."""
    found: list[Any] = [{}]

    items = sum(len(batch.ids) for batch in context.batches)

    def proven() -> bool:
        found[0] = _audited(context)
        open_ones = sum(found[0][word] for word in ("queued", "parked", "waiting", "unknown"))
        # What a failed check left was purged, and counts as moved.
        return not open_ones and found[0]["delivered"] >= items

    def why() -> str:
        words = ("delivered", "queued", "parked", "waiting", "moved", "unknown")
        counts = ", ".join(f"{word} {found[0][word]}" for word in words)
        return f"of {items} delivered items not every one is proven: {counts}"

    seconds = context.until(proven, why, context.waits.logs)
    context.measure("logs", "from the last delivery until the logs proved all of them", seconds)
    return f"{found[0]['delivered']} records, each delivered once and in order"


def idle(context: CheckContext) -> str:
    """After idle hours in the stream's life, items arrive, and an audit across them finds nothing wrong."""
    context.flow(by_queue=True)
    context.sleep(context.waits.idle)
    batch = Batch("idle", 2, 3)
    context.put(batch)
    context.arrive(batch)
    audit_with_logs(context)
    return f"{context.waits.idle:,.0f} idle seconds; then items arrive, and the audit has no gap"


def metrics(context: CheckContext) -> str:
    """CloudWatch shows that the worker ran."""
    metric = Metric("AWS/Lambda", "Invocations", {"FunctionName": context.names.function("worker")}, "Sum")

    def shown() -> bool:
        return bool(get_latest(context.aws, {"runs": metric}, now=datetime.now(UTC)))

    if not context.waits.metrics and not shown():
        raise NotOfferedError("the service has no metrics of functions")
    seconds = context.until(shown, "CloudWatch shows no invocation of the worker", context.waits.metrics)
    context.measure("metrics", "until CloudWatch shows that the worker ran", seconds)
    return "CloudWatch shows the worker's invocations"


def nothing_twice(context: CheckContext) -> str:
    """Until the end, nothing of all that was put came twice, late, or out of order."""
    wrong = [text for batch in context.batches for text in problems_of(batch, context.received())]
    if wrong:
        raise CheckFailed("; ".join(wrong))
    items = sum(len(batch.ids) for batch in context.batches)
    expect(items, "nothing was delivered in this run")
    return f"{items} items of {len(context.batches)} batches, each delivered once and in order"
