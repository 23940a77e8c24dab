"""destroy: what the queues that stay have of a pipeline that is gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from fifo_cli.model.names import PIPELINE_TAG, SCHEDULER_TAG, START_TAG, SWITCH_TAG
from fifo_cli.model.resources import Found
from fifo_cli.operations.deploy.destroy import _forget


def test_a_queue_that_stays_has_no_mark_of_the_pipeline_that_was() -> None:
    """With the mark of a change of the trigger, the next deploy would complete what nobody asked for."""
    marks = {START_TAG: "2026-01-02T12:00:00Z", SCHEDULER_TAG: "used", SWITCH_TAG: "running"}
    ours = Found("queue", "orders.fifo", {}, {PIPELINE_TAG: "orders", **marks})
    theirs = Found("queue", "orders.fifo", {}, {PIPELINE_TAG: "billing", **marks})
    untagged: list[tuple[Found, str]] = []
    gates: Any = SimpleNamespace(queues=SimpleNamespace(untag=lambda *one: untagged.append(one)))

    _forget(gates, [ours, theirs], "orders")

    assert {tag for _, tag in untagged} == set(marks)
    assert all(found is ours for found, _ in untagged)
