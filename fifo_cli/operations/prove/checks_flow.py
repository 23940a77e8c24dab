"""The checks of a pipeline that runs: its triggers, an outage, keys, a wrong deploy, a pause, audits."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fifo_cli.aws.cloudwatch import Metric, get_latest
from fifo_cli.model.receiver_protocol import Mode, Temper
from fifo_cli.model.times import iso
from fifo_cli.operations.prove.deliveries import Batch, accepted_of, problems_of
from fifo_cli.operations.prove.pipeline import CheckFailed, NotOfferedError
from fifo_cli.operations.prove.stage import expect

if TYPE_CHECKING:
    from fifo_cli.operations.prove.stage import Stage

_PROBES = 5


def by_schedule(stage: Stage) -> str:
    """200 items in 20 groups arrive once and in order, by the schedule."""
    return _deliver(stage, Batch("schedule", 20, 10), "schedule", by_queue=False)


def by_queue(stage: Stage) -> str:
    """200 items in 20 groups arrive once and in order, with the queue as trigger."""
    return _deliver(stage, Batch("queue", 20, 10), "the queue", by_queue=True)


def _deliver(stage: Stage, batch: Batch, trigger: str, *, by_queue: bool) -> str:
    stage.flow(by_queue=by_queue)
    stage.put(batch)
    began = stage.clock()
    stage.arrive(batch)
    seconds = stage.clock() - began
    items = f"{len(batch.ids)} items"
    what = f"{items}: from the end of the put until all were delivered by {trigger}"
    stage.measure(f"by_{batch.name}", what, seconds)
    return f"{items} of {batch.groups} groups, once and in order, in {seconds:.0f} s"


def delay_to_api(stage: Stage) -> str:
    """An item reaches the API soon after it was put, with the queue as trigger."""
    stage.flow(by_queue=True)
    for number in range(_PROBES):
        batch = Batch(f"one{number}", 1, 1)
        stage.put_one(batch.rows()[0])
        what = "from the answer to an item's put until the API has it, with the queue as trigger"
        with stage.timed("put_to_api", what):
            stage.until(lambda batch=batch: accepted_of(batch, stage.received()), "an item did not arrive")  # type: ignore[misc]
        stage.batches.append(batch)
    return f"{max(stage.measured['put_to_api'].values):.1f} s at most, of {_PROBES} items"


def outage(stage: Stage) -> str:
    """While the API is down nothing is parked or lost; when it is back, everything arrives, in order."""
    batch = Batch("outage", 4, 5)
    stage.flow(by_queue=True)
    stage.temper(Temper(Mode.UNAVAILABLE))
    stage.put(batch)
    _refused(stage, batch, 503)
    stage.temper(Temper(Mode.THROTTLED, retry_after=1))
    _refused(stage, batch, 429)
    expect(not accepted_of(batch, stage.received()), "an item was accepted while the API was down")
    parked = stage.holds("dlq")
    expect(not parked, f"{parked} messages were parked while the API was down")
    stage.temper(Temper())
    with stage.timed("recovery", "from the end of an outage until what waited was delivered"):
        stage.arrive(batch)
    return "503 and 429 parked nothing; 20 items arrived afterwards, in order"


def _refused(stage: Stage, batch: Batch, status: int) -> None:
    prefix = batch.name + "-"
    stage.until(
        lambda: any(one.status == status and one.id.startswith(prefix) for one in stage.received()),
        f"the API was not called while it answered {status}",
    )


def key_rotation(stage: Stage) -> str:
    """While the API asks for a new key nothing is parked; with the key set, everything arrives."""
    batch = Batch("rotation", 2, 3)
    stage.flow(by_queue=True)
    stage.key = secrets.token_urlsafe(32)
    stage.temper(Temper())
    stage.put(batch)
    _refused(stage, batch, 401)
    parked = stage.holds("dlq")
    expect(not parked, f"{parked} messages were parked while the key was wrong")
    stage.set_key()
    with stage.timed("key", "from keys set until the functions delivered with the new key"):
        stage.arrive(batch)
    return "401 parked nothing; the functions read the new key by themselves"


def wrong_deploy(stage: Stage) -> str:
    """A deploy that leaves items out is rolled back, and what it left out is replayed.

    The worker is paused, and its function delivers when it is called: a rollback is one of both functions.
    """
    lost, seen, after = Batch("wrong", 2, 3), Batch("seen", 1, 1), Batch("rolledback", 2, 3)
    stage.rest()
    since = datetime.now(UTC) - timedelta(seconds=5)
    stage.deploy(where="batch == 'seen'")
    stage.put(lost, seen)
    stage.enqueued(seen)
    stage.deliver(seen, via="lambda")
    expect(not accepted_of(lost, stage.received()), "the wrong deploy left nothing out")
    moved = stage.run("rollback", "--yes")["functions"]
    expect(all(one["from"] != one["to"] for one in moved), f"the rollback moved {moved}")
    with stage.timed("rollback", "from a rollback until items are in main again"):
        stage.put(after)
        stage.enqueued(after)
    stage.deliver(after, via="lambda")
    stage.deploy(where="")
    replayed = stage.run(
        "replay", "--since", iso(since), "--filter", "batch == 'wrong'", "--yes", codes=(0, 1)
    )
    expect(replayed["enqueued"] == 6, f"the replay enqueued {replayed['enqueued']} of 6 records")
    stage.deliver(lost, via="lambda")
    return "rolled back; the 6 items that were left out were replayed, and arrived in order"


def pause(stage: Stage) -> str:
    """After `pause --wait` nothing starts; after `resume` everything goes on where it stopped."""
    waiting, put_later = Batch("waiting", 2, 3), Batch("later", 2, 3)
    stage.flow(by_queue=True)
    stage.run("pause", "worker", "--wait")
    stage.paused = True
    stage.put(waiting)
    stage.enqueued(waiting)
    with stage.timed("pause", "pause all --wait"):
        stage.run("pause", "all", "--wait")
    before = len(stage.received())
    stage.put(put_later)
    stage.sleep(stage.waits.quiet)
    started = len(stage.received()) - before
    expect(not started, f"{started} deliveries within {stage.waits.quiet:.0f} s after pause --wait")
    depth = stage.holds()
    expect(depth == 6, f"main holds {depth} messages after the pause, not the 6 that it held before")
    stage.run("resume", "all")
    stage.paused = False
    with stage.timed("resume", "from resume until what waited was delivered"):
        stage.arrive(waiting)
        stage.arrive(put_later)
    return f"nothing started for {stage.waits.quiet:.0f} s; then all 12 items arrived"


def audit(stage: Stage) -> str:
    """An audit right after deliveries finds nothing missing, doubled or reordered."""
    batch = Batch("audit", 2, 3)
    stage.flow(by_queue=True)
    stage.put(batch)
    stage.arrive(batch)
    found = _audited(stage)
    return f"{found['delivered']} of {found['records']} records proven delivered at once"


def _audited(stage: Stage) -> Any:
    settle = ("--settle", stage.waits.settle) if stage.waits.settle else ()
    found = stage.run("audit", "--since", iso(stage.began), *settle, codes=(0, 1))
    for word in ("missing", "duplicated", "reordered"):
        expect(not found[word], f"the audit finds {len(found[word])} records {word}")
    return found


def audit_with_logs(stage: Stage) -> str:
    """When CloudWatch Logs show everything, an audit proves each record delivered once and in order."""
    found: list[Any] = [{}]

    items = sum(len(batch.ids) for batch in stage.batches)

    def proven() -> bool:
        found[0] = _audited(stage)
        open_ones = sum(found[0][word] for word in ("queued", "parked", "waiting", "unknown"))
        # What a failed check left was purged, and counts as moved.
        return not open_ones and found[0]["delivered"] >= items

    def why() -> str:
        words = ("delivered", "queued", "parked", "waiting", "moved", "unknown")
        counts = ", ".join(f"{word} {found[0][word]}" for word in words)
        return f"of {items} delivered items not every one is proven: {counts}"

    seconds = stage.until(proven, why, stage.waits.logs)
    stage.measure("logs", "from the last delivery until the logs proved all of them", seconds)
    return f"{found[0]['delivered']} records, each delivered once and in order"


def idle(stage: Stage) -> str:
    """After idle hours in the stream's life, items arrive, and an audit across them finds nothing wrong."""
    stage.flow(by_queue=True)
    stage.sleep(stage.waits.idle)
    batch = Batch("idle", 2, 3)
    stage.put(batch)
    stage.arrive(batch)
    audit_with_logs(stage)
    return f"{stage.waits.idle:,.0f} idle seconds; then items arrive, and the audit has no gap"


def metrics(stage: Stage) -> str:
    """CloudWatch shows that the worker ran."""
    metric = Metric("AWS/Lambda", "Invocations", {"FunctionName": stage.names.function("worker")}, "Sum")

    def shown() -> bool:
        return bool(get_latest(stage.aws, {"runs": metric}, now=datetime.now(UTC)))

    if not stage.waits.metrics and not shown():
        raise NotOfferedError("the service has no metrics of functions")
    seconds = stage.until(shown, "CloudWatch shows no invocation of the worker", stage.waits.metrics)
    stage.measure("metrics", "until CloudWatch shows that the worker ran", seconds)
    return "CloudWatch shows the worker's invocations"


def nothing_twice(stage: Stage) -> str:
    """Until the end, nothing of all that was put came twice, late, or out of order."""
    wrong = [text for batch in stage.batches for text in problems_of(batch, stage.received())]
    if wrong:
        raise CheckFailed("; ".join(wrong))
    items = sum(len(batch.ids) for batch in stage.batches)
    expect(items, "nothing was delivered in this run")
    return f"{items} items of {len(stage.batches)} batches, each delivered once and in order"
