"""Many functions side by side, as Lambda's poller feeds them: the embedded stack runs one batch at a time."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli_harness import ROOT
from tests.integration.lean_sqs import ask, lean_sqs

MAIN = "/main.fifo"


class Functions:
    """Functions that run, what they did, and their API's log."""

    def __init__(self, folder: Path, endpoint: str, count: int) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.killed: set[int] = set()
        self.processes = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[bytes]:
        variables = {
            "AWS_ENDPOINT_URL_SQS": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        with (self.folder / f"log-{time.monotonic_ns()}").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.integration.queue_functions", str(self.folder)],
                cwd=ROOT,
                env=os.environ | variables,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill_one(self) -> None:
        """End a function at once, wherever it is; another starts."""
        victim = self.processes.pop(random.randrange(len(self.processes)))
        victim.kill()
        victim.wait()
        self.killed.add(victim.pid)
        self.processes.append(self._start())

    def stop(self) -> list[dict[str, Any]]:
        (self.folder / "stop").touch()
        for process in self.processes:
            process.wait(60)
        return [json.loads(path.read_text()) for path in self.folder.glob("done-*")]

    def lines(self) -> list[list[str]]:
        try:
            return [line.split() for line in (self.folder / "calls").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.lines()[-5:]
            assert all(process.poll() is None for process in self.processes)
            time.sleep(0.2)


def check_order(lines: list[list[str]], groups: int, killed: set[int]) -> dict[int, int]:
    """Check that of a group one call runs at a time, and in order; return how often each was delivered."""
    busy: dict[int, tuple[int, int]] = {}
    delivered: dict[int, int] = defaultdict(int)
    for word, text, pid, *status in lines:
        number = int(text)
        group = number % groups
        if word == "begin":
            before = busy.get(group)
            assert before is None or before[1] in killed, f"{number} beside {before}"
            assert number < groups or delivered[number - groups], f"{number} before {number - groups}"
            assert not delivered[number + groups], f"{number} after {number + groups}"
            busy[group] = (number, int(pid))
        else:
            del busy[group]
            delivered[number] += status == ["200"]
    return delivered


def deliver_all(folder: Path, *, count: int, groups: int, functions: int, outage: float) -> dict[str, Any]:
    """Deliver ``count`` messages, the API down for a while in the middle and functions killed."""
    with lean_sqs() as endpoint:
        for name in ("main.fifo", "dlq.fifo"):
            ask(endpoint, "CreateQueue", QueueName=name)
        ask(endpoint, "Fill", QueueUrl=MAIN, Count=count, Groups=groups)
        began = time.monotonic()
        running = Functions(folder, endpoint, functions)
        try:
            running.wait_for(lambda: _calls(folder) > count / 3, 600)
            running.kill_one()
            (folder / "down").touch()
            at_outage = _calls(folder)
            time.sleep(outage)
            in_outage = _calls(folder) - at_outage
            (folder / "down").unlink()
            running.kill_one()
            running.wait_for(lambda: not ask(endpoint, "Audit", QueueUrl=MAIN)["Count"], 900)
            seconds = time.monotonic() - began
            done = running.stop()
        finally:
            for process in running.processes:
                process.kill()
        parked = ask(endpoint, "Audit", QueueUrl="/dlq.fifo")["Count"]
        requests = ask(endpoint, "Audit", QueueUrl=MAIN)["Calls"]
    lines = running.lines()
    delivered = check_order(lines, groups, running.killed)
    return {
        "delivered": delivered,
        "parked": parked,
        "twice": sum(times > 1 for times in delivered.values()),
        "seconds": seconds,
        "calls_in_outage": in_outage,
        "requests": requests,
        "cpu_ms": 1000 * sum(one["cpu"] for one in done) / max(1, sum(one["delivered"] for one in done)),
        "each": sorted(round(one["delivered"] / seconds) for one in done),
    }


def _calls(folder: Path) -> int:
    """How many calls of the API there were, by the size of the log."""
    log = folder / "calls"
    return log.stat().st_size // 35 if log.exists() else 0


def check(result: dict[str, Any], *, count: int, functions: int, outage: float) -> None:
    assert set(result["delivered"]) >= set(range(count))
    assert all(result["delivered"][number] for number in range(count))
    assert result["parked"] == 0
    assert result["twice"] <= 2  # what a killed function had sent and not deleted
    # A row that opens the breaker, then one a pause of one second.
    assert result["calls_in_outage"] <= functions * (5 + outage + 2)


def test_functions_side_by_side_deliver_each_message_once_and_in_order_with_an_outage_and_kills(tmp_path):
    result = deliver_all(tmp_path, count=2_000, groups=100, functions=6, outage=5)
    check(result, count=2_000, functions=6, outage=5)


@pytest.mark.long
def test_a_hundred_thousand_messages_over_a_thousand_groups_with_twenty_functions(tmp_path):
    result = deliver_all(tmp_path, count=100_000, groups=1_000, functions=20, outage=20)
    shown = {name: value for name, value in result.items() if name != "delivered"}
    print(shown, "messages a second in all:", round(100_000 / result["seconds"]))  # noqa: T201 - the figures
    check(result, count=100_000, functions=20, outage=20)
