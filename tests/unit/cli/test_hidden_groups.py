"""What is said of hidden groups follows what the log and AWS show, and not the trigger of fifo.toml."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from fifo_cli.aws import triggers
from fifo_cli.cli import hidden_groups
from fifo_cli.cli.hidden_groups import is_hidden, is_started, mention_pauses
from fifo_cli.model.settings import Settings
from fifo_cli.model.worker_log import PausedGroup, Runs
from fifo_cli.operations.monitor import worker_runs

NOW = datetime.now(UTC)


def paused(monkeypatch: pytest.MonkeyPatch, group: str, left: timedelta, in_flight: int = 1) -> PausedGroup:
    """Let the log say that a function hides a group, and SQS how many messages are in flight."""
    held = PausedGroup(group, NOW + left, NOW - timedelta(hours=2), "HTTP 429")
    monkeypatch.setattr(worker_runs, "last_runs", lambda *_, **__: Runs(paused=(held,), as_of=NOW))
    monkeypatch.setattr(hidden_groups, "_in_flight", lambda _: in_flight)
    return held


def made(trigger: str) -> tuple[Any, list[str]]:
    """Return a command's context, and what it says."""
    document: dict[str, Any] = {
        "pipeline": {"name": "orders"},
        "table": {"name": "orders"},
        "schedule": {"expressions": ["rate(5 minutes)"]},
        "api": [{"url": "http://localhost"}],
        "worker": {"trigger": trigger},
    }
    said: list[str] = []
    settings = Settings.model_validate(document)
    console = SimpleNamespace(message=said.append)
    return SimpleNamespace(settings=settings, names=settings.names, aws=None, console=console), said


@pytest.mark.parametrize("trigger", ["queue", "schedule"])
def test_a_drain_that_was_not_given_all_names_each_pause_also_after_a_change_of_the_trigger(
    monkeypatch: pytest.MonkeyPatch, trigger: str
) -> None:
    held = paused(monkeypatch, "ada", timedelta(hours=3))
    cli, said = made(trigger)

    assert mention_pauses(cli, left=2) == (held,)
    assert said[0].startswith(
        "2 messages left in the queue that SQS did not give out, hidden, as their groups"
    )
    assert "ada" in said[0]


@pytest.mark.parametrize(("in_flight", "named"), [(1, True), (0, False)])
def test_a_look_names_pauses_from_before_a_change_to_the_schedule_if_something_is_in_flight(
    monkeypatch: pytest.MonkeyPatch, in_flight: int, named: bool
) -> None:
    held = paused(monkeypatch, "ada", timedelta(hours=3), in_flight)

    assert mention_pauses(made("schedule")[0]) == ((held,) if named else ())


@pytest.mark.parametrize(
    ("group", "left", "in_flight", "hidden"),
    [
        ("zoë", timedelta(hours=1), 1, True),
        ("zoë", timedelta(seconds=20), 1, False),  # a move waits for that
        ("zoë", timedelta(hours=1), 0, False),
        ("ada", timedelta(hours=1), 1, False),
        (None, timedelta(hours=1), 1, False),
    ],
)
def test_a_group_is_hidden_if_its_pause_is_longer_than_a_move_waits(
    monkeypatch: pytest.MonkeyPatch, group: str | None, left: timedelta, in_flight: int, hidden: bool
) -> None:
    paused(monkeypatch, "zo%C3%AB", left, in_flight)

    assert is_hidden(made("schedule")[0], group) == hidden


@pytest.mark.parametrize(("enabled", "started"), [(True, True), (False, False), (None, True)])
@pytest.mark.parametrize("trigger", ["queue", "schedule"])
def test_whether_the_queue_starts_the_worker_is_what_aws_says(
    monkeypatch: pytest.MonkeyPatch, trigger: str, enabled: bool | None, started: bool
) -> None:
    monkeypatch.setattr(triggers, "is_mapping_enabled", lambda *_: enabled)

    assert is_started(made(trigger)[0]) == started
