from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from fifo_cli.cli.hidden_groups import mention_pauses
from fifo_cli.model.settings import Settings
from fifo_cli.model.worker_log import PausedGroup, Runs
from fifo_cli.operations.monitor import worker_runs

NOW = datetime.now(UTC)


@pytest.mark.parametrize("trigger", ["queue", "schedule"])
def test_a_drain_that_was_not_given_all_names_each_pause_also_after_a_change_of_the_trigger(
    monkeypatch: pytest.MonkeyPatch, trigger: str
) -> None:
    held = PausedGroup("ada", NOW + timedelta(hours=3), NOW - timedelta(hours=2), "HTTP 429")
    monkeypatch.setattr(worker_runs, "last_runs", lambda *_, **__: Runs(paused=(held,), as_of=NOW))
    document: dict[str, Any] = {
        "pipeline": {"name": "orders"},
        "table": {"name": "orders"},
        "schedule": {"expressions": ["rate(5 minutes)"]},
        "api": [{"url": "http://localhost"}],
        "worker": {"trigger": trigger},
    }
    said: list[str] = []
    cli: Any = SimpleNamespace(
        settings=Settings.model_validate(document),
        names=None,
        aws=None,
        console=SimpleNamespace(message=said.append),
    )

    assert mention_pauses(cli, left=2) == (held,)
    assert said[0].startswith(
        "2 messages left in the queue that SQS did not give out, hidden, as their groups"
    )
    assert "ada" in said[0]
