"""The worker's entry point, as its schedule and ``drain --via lambda`` call it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from fifo_cli.handlers import worker
from fifo_cli.handlers.runtime import WorkerSettings
from tests.unit.handlers.test_worker_batch import CONTEXT, SETTINGS, Lambda, lines


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lambda]:
    worker._breaker.cache_clear()
    made = Lambda(monkeypatch)
    for number in range(8):
        made.sqs.send_message(
            QueueUrl="main",
            MessageBody=json.dumps(f"{number}"),
            MessageGroupId=f"g{number}",
            MessageDeduplicationId=f"{number}",
        )
    yield made
    worker._breaker.cache_clear()


def test_what_was_not_asked_for_is_as_the_settings_say():
    settings = replace(SETTINGS, worker=WorkerSettings(concurrency=8, max_rate=5.0))
    tick = worker.run_limits(settings, {}, lambda: 60)
    assert (tick.count, tick.concurrency, tick.max_rate) == (10, 8, 5.0)
    asked = worker.run_limits(settings, {"count": None, "concurrency": 2, "max_rate": 1.5}, lambda: 60)
    assert (asked.count, asked.concurrency, asked.max_rate) == (None, 2, 1.5)
    older = worker.run_limits(settings, {"count": 3, "concurrency": 1, "max_rate": None}, lambda: 60)
    assert (older.count, older.concurrency, older.max_rate) == (3, 1, 5.0)


def test_an_open_breaker_lasts_from_one_run_to_the_next_and_the_end_says_what_it_was(function, capsys):
    function.answer = lambda request: httpx.Response(503)
    report = worker.handler({}, CONTEXT)
    assert len(function.requests) == 5
    assert report["breaker"] == "HTTP 503 from api.test"
    end = lines(capsys)[-1]
    assert (end["message"], end["level"], end["breaker"]) == ("run ended", "info", "HTTP 503 from api.test")
    worker.handler({}, CONTEXT)
    assert len(function.requests) == 6
    function.answer = lambda request: httpx.Response(200)
    report = worker.handler({"fifo_cli": {"count": 20}}, CONTEXT)
    assert (report["delivered"], report["breaker"]) == (8, None)
