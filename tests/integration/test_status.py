"""status as a person runs it: what is healthy, where it is stuck, and what may not be seen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fifo_cli.aws.sqs import Queue
from fifo_cli.model.names import Names
from fifo_cli.model.times import iso
from fifo_cli.operations.maintenance_lock import maintenance
from fifo_cli.operations.queues.restore_order import State
from tests.cli_harness import Project, Stack, wait_until
from tests.faults import Action, AnswerWithError, Pass
from tests.integration.deployed_pipeline import Pipeline, deployed
from tests.integration.proxy import Proxy, Request


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    with deployed(tmp_path_factory.mktemp("status"), stack, api={"keys": {"api_key": "/t/status"}}) as line:
        line.project.local("keys", "set", "api_key", input="sesame\n").ok()
        yield line
        line.aws.client("ssm").delete_parameter(Name="/t/status")


@pytest.fixture
def line(shared: Pipeline) -> Pipeline:
    shared.reset()
    return shared


def test_a_healthy_pipeline_has_all_the_contract_asks_for(line: Pipeline) -> None:
    ran = line.local("status", "-o", "json").ok()

    document = ran.json()
    assert ran.err == ""
    assert document["pipeline"] == line.name
    assert (document["account"], document["region"]) == ("000000000000", "us-east-1")
    assert document["verdict"] == {"state": "ok", "problems": []}
    assert {one["state"] for one in document["resources"]} == {"ok"}
    assert {(one["type"], one["name"]) for one in document["resources"]} >= {
        ("table", line.name),
        ("queue", f"{line.name}.fifo"),
        ("function", f"{line.name}-worker"),
        ("rule", f"{line.name}-1"),
    }
    assert document["queues"]["main"] == {
        "name": f"{line.name}.fifo",
        "visible": 0,
        "in_flight": 0,
        "delayed": 0,
        "oldest_age_seconds": None,
    }
    assert document["schedule"]["enabled"] is True
    assert (document["enqueuer"]["state"], document["enqueuer"]["version"]) == ("running", "1")
    assert (document["worker"]["state"], document["worker"]["stuck"]) == ("running", [])
    assert [(key["name"], key["exists"]) for key in document["keys"]] == [("api_key", True)]
    assert document["unseen"] == []


def test_a_person_reads_the_verdict_first_and_no_secret(line: Pipeline) -> None:
    ran = line.local("status").ok()

    assert ran.out.startswith(f"OK  {line.name} is healthy  (000000000000, us-east-1)\n")
    assert "api_key: /t/status set" in ran.out
    assert "sesame" not in ran.out + ran.err


def test_an_api_that_is_down_shows_the_head_of_each_line_with_its_reason(line: Pipeline) -> None:
    for group in ("ada", "bob"):
        line.send(2, group=group)
    line.api.fail(503)
    assert line.local("drain", "--all", "--via", "lambda").code == 1

    ran = line.local("status", "-o", "json")

    assert ran.code == 1
    document = ran.json()
    stuck = document["worker"]["stuck"]
    assert {one["group"] for one in stuck} == {"ada", "bob"}
    assert {one["http_status"] for one in stuck} == {503}
    assert all(one["receives"] for one in stuck)
    assert document["worker"]["last_runs"][0]["failed"] == 2
    assert any("waits for its head" in problem["text"] for problem in document["verdict"]["problems"])
    out = line.local("status").out
    assert "HTTP 503" in out
    assert "means: 127.0.0.1 is down: nothing is delivered meanwhile" in out
    assert "next: wait, or have 127.0.0.1 fixed: each run tries again, and order is kept" in out
    assert "fifo-cli park" not in out

    line.api.recover()
    line.local("drain", "--all").ok()
    assert line.local("status", "-o", "json").ok().json()["worker"]["stuck"] == []


def test_a_pause_is_reported_and_the_schedule_has_no_next_run(line: Pipeline) -> None:
    line.switch(enabled=False)

    ran = line.local("status", "-o", "json")

    assert ran.code == 1
    document = ran.json()
    assert (document["schedule"]["enabled"], document["schedule"]["next_runs"]) == (False, [])
    assert document["worker"]["state"] == "paused"
    assert "next run    none: the schedule is off" in line.local("status").out


def test_an_unfinished_restore_is_reported_with_the_command_that_finishes_it(line: Pipeline) -> None:
    sqs, tag = line.aws.client("sqs"), "fifo-cli:rebuild"
    begun = datetime.now(UTC) - timedelta(minutes=12)
    state = State("merge", frozenset(("worker",)), iso(begun))
    sqs.tag_queue(QueueUrl=line.url("main"), Tags={tag: state.text()})
    try:
        ran = line.local("status")
        assert ran.code == 1
        assert ran.out.startswith("CRITICAL")
        assert re.search(r"an in-order rebuild is unfinished: begun 1[12]m", ran.out)
        assert "at its step merge; it paused worker" in ran.out
        assert "`fifo-cli redrive --in-order --config" in ran.out
        assert line.local("check").code == 2
    finally:
        sqs.untag_queue(QueueUrl=line.url("main"), TagKeys=[tag])


def test_maintenance_is_reported_with_who_does_what_since_when(line: Pipeline) -> None:
    queue = Queue(line.aws, Names(line.name), "main")
    with maintenance(queue.tags, "redrive"):
        ran = line.local("status")
        document = line.local("status", "-o", "json").json()

    assert ran.code == 1
    assert re.search(r"maintenance is going on: redrive by \S+@\S+, begun \d+s ago", ran.out)
    assert "its marker expires in " in ran.out
    assert set(document["maintenance"]) == {"what", "who", "since", "until"}
    assert line.local("status", "-o", "json").json()["maintenance"] is None


def test_drift_is_reported_property_by_property(line: Pipeline) -> None:
    sqs, url = line.aws.client("sqs"), line.url("dlq")
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "3600"})
    try:
        ran = line.local("status", "-o", "json")
        assert ran.code == 1
        drifted = [one for one in ran.json()["resources"] if one["state"] != "ok"]
        assert [(one["name"], one["state"]) for one in drifted] == [(f"{line.name}-dlq.fifo", "drift")]
        assert drifted[0]["diff"] == [{"path": "retention", "old": 3600, "new": 1_209_600}]
        assert "retention: 3600 -> 1209600" in line.local("status").out
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


def test_a_missing_key_and_a_deleted_queue_are_critical(line: Pipeline, stack: Stack) -> None:
    with deployed(line.project.folder / "other", stack, api={"keys": {"token": "/t/never-set"}}) as other:
        other.aws.client("sqs").delete_queue(QueueUrl=other.url("main"))

        ran = other.local("status", "-o", "json")

    assert ran.code == 1
    texts = [problem["text"] for problem in ran.json()["verdict"]["problems"]]
    assert f"queue {other.name}.fifo does not exist" in texts
    assert "key token is missing: parameter /t/never-set does not exist" in texts
    assert ran.json()["queues"]["main"]["visible"] is None
    assert ran.json()["queues"]["dlq"]["visible"] == 0


def denying(*actions: str) -> Callable[[Request], Action]:
    def rule(request: Request) -> Action:
        if request.action in actions:
            return AnswerWithError("AccessDeniedException", "you may not", 403)
        return Pass()

    return rule


def test_what_may_not_be_seen_is_listed_and_the_rest_is_shown(line: Pipeline, proxy: Proxy) -> None:
    proxy.rule = denying("GetRole", "DescribeParameters", "FilterLogEvents")
    assert line.at(proxy.endpoint, "status").code == 1, (
        "without the logs there is no evidence that all is well"
    )
    unseen = line.at(proxy.endpoint, "status", "-o", "json").json()["unseen"]
    assert {"the worker's last runs", "the enqueuer's last invocations"} <= {one["what"] for one in unseen}
    proxy.rule = denying("GetRole", "DescribeParameters")

    ran = line.at(proxy.endpoint, "status", "-o", "json")

    assert ran.code == 0, "what a monitor may not see is not a fault of the pipeline's"
    document = ran.json()
    whats = {one["what"] for one in document["unseen"]}
    assert "which keys are set" in whats
    assert {one for one in whats if one.startswith("role ")} == {
        f"role {line.name}-enqueuer",
        f"role {line.name}-worker",
    }
    assert all("you may not" in one["reason"] for one in document["unseen"])
    states = {one["name"]: one["state"] for one in document["resources"] if one["type"] != "role"}
    assert set(states.values()) == {"ok"}
    assert "not seen" in line.at(proxy.endpoint, "status").out


def test_it_only_reads_and_receives_nothing(line: Pipeline, proxy: Proxy) -> None:
    line.send(1)

    assert line.at(proxy.endpoint, "status").code in (0, 1)

    reads = ("Get", "List", "Describe", "GET ", "FilterLogEvents")
    assert [action for action in proxy.counts if not action.startswith(reads)] == []


def test_nothing_deployed_and_nothing_reachable_are_errors(project: Callable[..., Project]) -> None:
    made = project()

    missing = made.local("status")
    assert (missing.code, missing.out) == (3, "")
    assert "does not exist in this account and region" in missing.err
    assert "next: " in missing.err

    gone = made.at("http://127.0.0.1:9", "status", "-o", "json")
    assert (gone.code, gone.out) == (3, "")
    assert "could not be reached" in gone.err


def test_the_last_runs_are_those_that_the_worker_logged(line: Pipeline) -> None:
    line.send(1)
    line.local("drain", "--all", "--via", "lambda").ok()

    def runs() -> list[dict[str, object]]:
        out = line.local("status", "-o", "json").ok().out
        return list(json.loads(out)["worker"]["last_runs"])

    wait_until(lambda: bool(runs()))
    assert (runs()[0]["failed"], runs()[0]["error"]) == (0, None)
