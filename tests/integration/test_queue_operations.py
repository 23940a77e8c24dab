"""Operating a worker that the queue starts: one group fails for ever, and is set aside by what is advised."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.local.receiver import Answer, Received, Reply
from tests.cli_harness import Stack, wait_until
from tests.integration.deployed_pipeline import Pipeline, deployed

WORKER = {"trigger": "queue", "retry": ["12s", "12s"]}
_COMMAND = re.compile(r"`fifo-cli ([^`]*)`")


@pytest.fixture
def pipeline(stack: Stack, tmp_path: Path) -> Iterator[Pipeline]:
    with deployed(tmp_path, stack, worker=WORKER) as made:
        yield made


def put(pipeline: Pipeline, key: str, group: str) -> None:
    item = {"id": {"S": key}, "grp": {"S": group}, "n": {"N": "1"}}
    pipeline.aws.client("dynamodb").put_item(TableName=pipeline.name, Item=item)


def poison(received: Received) -> Answer | None:
    return Reply(500, b"no") if json.loads(received.body)["id"] == "bad" else None


def taken(pipeline: Pipeline) -> list[str]:
    return [json.loads(one.body)["id"] for one in pipeline.api.accepted]


def json_of(pipeline: Pipeline, *command: str) -> Any:
    return pipeline.project.local(*command, "-o", "json").json()


def attempts(pipeline: Pipeline) -> int:
    return max((one["attempts"] for one in json_of(pipeline, "status")["worker"]["stuck"]), default=0)


def test_a_group_that_fails_for_ever_is_seen_and_set_aside_by_what_status_advises(pipeline: Pipeline) -> None:
    pipeline.api.answer = poison
    for key, group in (("bad", "g1"), ("next", "g1"), ("other", "g2")):
        put(pipeline, key, group)
    wait_until(lambda: attempts(pipeline) == 1)
    put(pipeline, "another", "g2")
    wait_until(lambda: attempts(pipeline) == 2)
    put(pipeline, "third", "g2")
    wait_until(lambda: "third" in taken(pipeline))

    shown = json_of(pipeline, "status")
    checked = json_of(pipeline, "check")
    traced, waits = json_of(pipeline, "trace", "bad"), json_of(pipeline, "trace", "next")

    assert (shown["worker"]["trigger"], shown["worker"]["polling"]["state"]) == ("queue", "Enabled")
    assert (shown["schedule"]["enabled"], shown["schedule"]["next_runs"]) == (True, [])
    [paused] = shown["worker"]["paused"]
    assert (paused["group"], shown["worker"]["as_of"] >= paused["time"]) == ("g1", True)
    assert (checked["trigger"], checked["paused_groups"]) == ("queue", 1)
    assert traced["stage"] == "stuck"
    assert "its group is paused until" in traced["detail"]
    assert (waits["stage"], "paused until" in waits["detail"]) == ("queued", True)
    [problem] = shown["verdict"]["problems"]
    steps = _COMMAND.findall(problem["next"])
    assert [step.split()[0] for step in steps] == ["pause", "park", "resume"]

    too_soon = pipeline.project.local(*shlex.split(steps[1]), "--dry-run")
    assert (too_soon.code, "hidden, as their groups are paused:\n  group g1 until" in too_soon.err) == (
        1,
        True,
    )
    pause, park, resume = (shlex.split(step) for step in steps)
    pipeline.project.local(*pause).ok()
    assert json_of(pipeline, "status")["schedule"]["enabled"] is False
    wait_until(lambda: pipeline.project.local(*park, "--yes").code == 0, interval=1)
    pipeline.project.local(*resume).ok()
    wait_until(lambda: "next" in taken(pipeline))

    assert taken(pipeline) == ["other", "another", "third", "next"]
    [warning] = json_of(pipeline, "status")["verdict"]["problems"]
    assert warning["text"] == "1 message in the DLQ"
