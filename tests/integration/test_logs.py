"""logs as users run it, over log groups as Lambda writes them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable

import pytest

from fifo_cli.aws.session import Aws
from tests.cli_harness import Project, wait_until
from tests.faults import AnswerWithError, Drop, forward_all
from tests.integration.proxy import Proxy


def log(clients: Aws, project: Project, function: str, *lines: tuple[int, str]) -> None:
    """Write lines, each so many milliseconds ago, into a function's log group."""
    logs = clients.client("logs")
    group, stream = f"/aws/lambda/{project.name}-{function}", "2026/01/02/[1]x"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    now = int(time.time() * 1000)
    events = sorted(((now - ago, text) for ago, text in lines), key=lambda event: event[0])
    logs.put_log_events(
        logGroupName=group,
        logStreamName=stream,
        logEvents=[{"timestamp": at, "message": text} for at, text in events],
    )


@pytest.fixture
def logged(project: Callable[..., Project], clients: Aws) -> Project:
    made = project()
    log(
        clients,
        made,
        "enqueuer",
        (5_000, "START RequestId: 1 Version: 1"),
        (4_000, json.dumps({"level": "info", "message": "enqueued", "group": "a", "n": 1})),
        (7_200_000, json.dumps({"level": "info", "message": "long ago"})),
    )
    log(
        clients,
        made,
        "worker",
        (3_000, json.dumps({"level": "warning", "message": "parked", "body": "\x1b[2J"})),
    )
    return made


def test_lines_are_merged_by_time_with_their_facts(logged: Project) -> None:
    rows = logged.local("logs", "-o", "jsonl").ok().jsonl()

    assert [(row["function"], row["level"], row["message"]) for row in rows] == [
        ("enqueuer", "platform", "START RequestId: 1 Version: 1"),
        ("enqueuer", "info", "enqueued"),
        ("worker", "warning", "parked"),
    ]
    assert (rows[1]["group"], rows[1]["n"]) == ("a", 1)
    assert logged.local("logs", "-o", "json").ok().json() == {"lines": rows}


def test_people_see_the_platform_s_lines_only_with_v_and_no_raw_controls(logged: Project) -> None:
    out = logged.local("logs").ok().out
    assert len(out.splitlines()) == 2
    assert "enqueued group=a n=1" in out
    assert "\x1b" not in out

    assert "START RequestId" in logged.local("logs", "-v").ok().out


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["worker"], ["parked"]),
        (["--filter", "enqu"], ["enqueued"]),
        (["--filter", "nothing of the kind"], []),
        (["--since", "3h", "enqueuer", "--filter", "ago"], ["long ago"]),
    ],
)
def test_what_is_asked_for_is_what_is_shown(
    logged: Project, arguments: list[str], messages: list[str]
) -> None:
    rows = logged.local("logs", "-o", "jsonl", *arguments).ok().jsonl()

    assert [row["message"] for row in rows] == messages


def test_a_pipeline_that_never_ran_has_no_logs_and_a_note(project: Callable[..., Project]) -> None:
    ran = project().local("logs", "-o", "json").ok()

    assert ran.json() == {"lines": []}
    assert ran.err.count("has not run yet") == 2


def test_follow_shows_what_comes_until_it_is_interrupted(logged: Project, clients: Aws) -> None:
    running = logged.start("logs", "worker", "--follow", "-o", "jsonl")
    assert running.process.stdout is not None
    assert json.loads(running.process.stdout.readline())["message"] == "parked"

    log(clients, logged, "worker", (0, json.dumps({"level": "info", "message": "delivered"})))
    assert json.loads(running.process.stdout.readline())["message"] == "delivered"

    running.interrupt(signal.SIGINT)
    wait_until(lambda: running.process.poll() is not None)
    assert running.process.returncode == 130


def test_follow_outlives_a_lost_connection_and_leaves_no_line_out(
    logged: Project, clients: Aws, proxy: Proxy
) -> None:
    running = logged.start("logs", "worker", "--follow", "-o", "jsonl", endpoint=proxy.endpoint)
    out, err = running.process.stdout, running.process.stderr
    assert out is not None
    assert err is not None
    assert json.loads(out.readline())["message"] == "parked"

    proxy.rule = lambda request: Drop()
    assert err.readline().startswith("warning: AWS could not be reached (for log group")
    log(clients, logged, "worker", (0, json.dumps({"level": "info", "message": "delivered meanwhile"})))
    proxy.rule = forward_all

    assert json.loads(out.readline())["message"] == "delivered meanwhile"
    assert err.readline() == "AWS answers again\n"
    assert running.process.poll() is None


def test_follow_ends_with_3_when_the_credentials_are_refused_meanwhile(logged: Project, proxy: Proxy) -> None:
    running = logged.start("logs", "worker", "--follow", "-o", "jsonl", endpoint=proxy.endpoint)
    assert running.process.stdout is not None
    running.process.stdout.readline()

    proxy.rule = lambda request: AnswerWithError("ExpiredTokenException", "expired", 400)

    _, err = running.process.communicate(timeout=60)
    assert running.process.returncode == 3
    assert "the AWS credentials have expired" in err


def test_follow_ends_soon_when_its_reader_has_gone_though_nothing_is_logged(logged: Project) -> None:
    running = logged.start("logs", "worker", "--follow", "-o", "jsonl")
    assert running.process.stdout is not None
    running.process.stdout.readline()

    running.process.stdout.close()

    wait_until(lambda: running.process.poll() is not None)
    assert running.process.returncode == 0
