"""plan says why a worker that the queue starts has no alarm on silence, where that is news."""

from __future__ import annotations

from typing import Any

import pytest

from fifo_cli.model.planning import Action, Change, Plan
from fifo_cli.model.resources import Resource
from fifo_cli.model.settings import Alarms, Api, Pipeline, Settings, Table, Worker
from fifo_cli.operations.deploy.plan import _unwatched

SILENT = "orders-worker-silent"


def said(action: Action | None, *, wanted: tuple[Resource, ...] = (), **tables: Any) -> list[str]:
    settings = Settings(
        pipeline=Pipeline(name="orders"),
        table=Table(name="orders"),
        api=(Api(url="https://api.example.com"),),
        worker=Worker(trigger="queue"),
        **tables,
    )
    changes = [Change("update", "function", "orders-worker")]
    if action:
        changes.append(Change(action, "alarm", "orders-age"))
    return _unwatched(settings, wanted, Plan(tuple(changes)))


@pytest.mark.parametrize(("action", "news"), [("create", 1), ("delete", 1), ("update", 0), (None, 0)])
def test_it_is_said_when_alarms_come_or_go_and_not_at_every_deploy(action: Action | None, news: int) -> None:
    assert len(said(action, alarms=Alarms())) == news


def test_nothing_is_said_without_alarms_or_where_the_alarm_is_wanted() -> None:
    assert said("create") == []
    assert said("create", alarms=Alarms(), wanted=(Resource("alarm", SILENT, {}, {}),)) == []
