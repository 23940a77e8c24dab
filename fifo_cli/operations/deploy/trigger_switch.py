"""Changing what starts the worker (model/trigger_switch.py) without a gap or two at a time, in a deploy.

1. Mark main: the worker was not paused, so it is started again, by this deploy or by the next.
2. Disable the old trigger, and wait until what it has started has ended.
3. Make all changes in the order of their needs: the code that knows batches is live before Lambda polls main,
   and the new trigger is enabled when all it needs is there. The old one is deleted last.
4. Take the mark away.

All that is done under the maintenance lock: two deploys at once would leave a mixture of both, and an
in-order redrive pauses what they enable. Cut off anywhere, the next deploy finds the mark and does the rest.
A paused worker has no mark, and whoever pauses it meanwhile takes the mark away: it stays paused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import AwsError, BusyError
from fifo_cli.events import Finished, Listener, Started, Warned
from fifo_cli.invocation import command_line
from fifo_cli.model.names import SWITCH_TAG
from fifo_cli.model.planning import CODE_HASH
from fifo_cli.model.resources import alias_name
from fifo_cli.model.trigger_switch import find_switch
from fifo_cli.model.worker_trigger import longest_pause
from fifo_cli.operations.deploy.remote_state import observe, worker_triggers
from fifo_cli.operations.deploy.wait_until_idle import RunTimes, wait_for_worker
from fifo_cli.operations.maintenance_lock import maintenance, refuse_beside

if TYPE_CHECKING:
    from fifo_cli.aws.consistency import ConsistencyDelays
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.resources import Found
    from fifo_cli.operations.deploy.plan import Prepared


_DEPLOY: Final = "deploy"


@contextmanager
def one_switch_at_a_time(aws: Aws, prepared: Prepared, waiter: Waiter) -> Iterator[None]:
    """Hold the maintenance lock while the block changes what starts the worker.

    Raises BusyError, nothing touched, if another holds it, or has changed what starts the worker since the
    plan. A deploy that leaves that alone takes no lock, as it may go on beside a move: it only looks.
    """
    if prepared.main is None:
        yield  # there is nothing to lock, and nothing that could be delivered
        return
    tags = Queue(aws, prepared.settings.names, "main").tags
    if prepared.switch is None:
        refuse_beside(tags, _DEPLOY)
        yield
        return
    with maintenance(tags, _DEPLOY, force=None, listener=waiter.listener, sleep=waiter.sleep):
        _refuse_changed(prepared)
        yield


def _refuse_changed(prepared: Prepared) -> None:
    """Raise BusyError if the switch to make is not the planned one any more."""
    settings = prepared.settings
    found = observe(prepared.gates, [("queue", settings.names.main)])
    found |= {one.key: one for one in worker_triggers(prepared.gates, settings)}
    now, planned = find_switch(settings, found), prepared.switch
    if now is None or planned is None or now.state != planned.state:
        raise BusyError(
            "somebody has changed what starts the worker since the plan; nothing was changed",
            hint=f"look with {command_line('plan')}, and deploy again",
        )


def stop_old_trigger(prepared: Prepared, waiter: Waiter, delays: ConsistencyDelays) -> None:
    """Disable what starts the worker until now, and wait until the last run has ended.

    Without main there is nothing to deliver, and nowhere to put the mark: then it is only deleted, last.
    """
    switch, gates, main, listener = prepared.switch, prepared.gates, prepared.main, waiter.listener
    if switch is None or not switch.running or main is None:
        return
    if not switch.resumed:
        gates.queues.tag(main, {SWITCH_TAG: "running"})
    for one in switch.old:
        if one.facts["enabled"]:
            listener(Started("pause", one.kind, one.name))
            gates.trigger(one).rewrite(one, enabled=False)
            listener(Finished("pause", one.kind, one.name))
    if switch.waits:
        names, times = prepared.settings.names, _run_times(prepared, main)
        wait_for_worker(gates, names, switch.old, times, waiter, delays, since=waiter.clock())


@contextmanager
def saying_what_rests(prepared: Prepared, listener: Listener) -> Iterator[None]:
    """Where the change is cut off, say that nothing starts the worker, which the changes made do not show."""
    try:
        yield
    except BaseException:
        if prepared.switch is not None and prepared.switch.waits:
            again = command_line("deploy")
            text = f"nothing may start the worker until {again} is run again: messages wait in"
            listener(Warned(f"{text} {prepared.settings.names.main}"))
        raise


def end_switch(prepared: Prepared) -> None:
    """Take the mark from main: the new trigger starts the worker, and the old one is gone."""
    if prepared.switch is not None and prepared.switch.running and prepared.main is not None:
        prepared.gates.queues.untag(prepared.main, SWITCH_TAG)


def check_live_code(prepared: Prepared, worker: str) -> None:
    """Raise AwsError unless the code that knows batches is live, so that Lambda may poll main for it.

    Other code's answer might stand for a success of what it did not deliver, and Lambda would delete that.
    """
    name = alias_name(worker)
    wanted = next(one for one in prepared.wanted if one.key == ("alias", name))
    live = prepared.gates.by_kind["alias"].read(name)
    if live is None or live.properties[CODE_HASH] != wanted.properties[CODE_HASH]:
        raise AwsError(
            f"{name} is not at the code of this deploy: the queue must not start what may not know batches",
            hint=f"somebody has moved it meanwhile, as by a rollback: run {command_line('deploy')} again",
        )


def _run_times(prepared: Prepared, main: Found) -> RunTimes:
    """Return the times of the runs until now, which were deployed with other settings, perhaps."""
    settings = prepared.settings
    function = prepared.found.get(("function", settings.names.function("worker")))
    timeout = timedelta(seconds=function.properties["timeout"]) if function else settings.functions.timeout
    hidden = timedelta(seconds=main.properties["visibility_timeout"])
    return RunTimes(timeout, max(hidden, longest_pause(settings)))
