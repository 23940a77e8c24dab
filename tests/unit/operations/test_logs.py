"""Log lines: read, merged, followed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.logs import LogEvent
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError
from fifo_cli.events import Event, Noted, Warned
from fifo_cli.model.names import Names
from fifo_cli.operations.monitor.logs import FunctionLogs, parse_line

NAMES = Names("orders")
SINCE = datetime(2026, 1, 2, tzinfo=UTC)
START = int(SINCE.timestamp() * 1000)


@pytest.fixture
def aws() -> Aws:
    return Aws(AwsEndpoint(local=True))


@pytest.fixture
def stub(aws: Aws) -> Iterator[Stubber]:
    with Stubber(aws.client("logs")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def answer(stub: Stubber, function: str, *events: tuple[int, str], start: int = START) -> None:
    found = [{"eventId": f"{at}{text}", "timestamp": START + at, "message": text} for at, text in events]
    asked = {"logGroupName": f"/aws/lambda/orders-{function}", "startTime": start, "limit": 3_000}
    stub.add_response("filter_log_events", {"events": found}, asked)


def row(text: str) -> dict[str, Any]:
    return parse_line("worker", LogEvent("1", START, text)).document()


def test_our_own_line_gives_its_time_level_message_and_facts() -> None:
    line = {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "WARNING",
        "message": "parked",
        "status": 422,
        "function": "x",
    }

    assert row(json.dumps(line) + "\n") == {
        "time": "2026-01-02T03:04:05.678Z",
        "function": "worker",
        "level": "warning",
        "message": "parked",
        "status": 422,
    }


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("START RequestId: 1 Version: 1\n", "platform"),
        ("END RequestId: 1", "platform"),
        ("REPORT RequestId: 1\tDuration: 3 ms", "platform"),
        ("INIT_START Runtime Version: python:3.13.v1", "platform"),
        ("[ERROR] KeyError: 'x'\rTraceback", "error"),
        ("[WARNING]\t2026-01-02T03:04:05Z\t1\tslow", "warning"),
        ("2026-01-02T03:04:05Z 1 Task timed out after 60.00 seconds", "error"),
        ("RequestId: 1 Error: Runtime exited with error: signal: killed", "error"),
        ("somebody's print", "info"),
        ('{"no": "level"}', "info"),
        ('{"level": "info", broken', "info"),
        ("[" * 5000, "info"),
        ("", "info"),
    ],
)
def test_other_lines_get_a_level_and_keep_their_text(text: str, level: str) -> None:
    shown = row(text)

    assert (shown["level"], shown["message"]) == (level, text.rstrip("\n"))
    assert shown["time"] == "2026-01-02T00:00:00.000Z"


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00", "2026-01-04"])
def test_a_time_that_is_far_from_when_it_was_logged_gives_way_too(time: str) -> None:
    shown = row(json.dumps({"time": time, "level": "info", "message": "run ended"}))

    assert shown["time"] == "2026-01-02T00:00:00.000Z"


def test_a_time_that_is_none_gives_way_to_cloudwatch_s() -> None:
    for time in (5, None, "soon"):
        assert (
            row(json.dumps({"time": time, "level": "info", "message": "m"}))["time"]
            == "2026-01-02T00:00:00.000Z"
        )


def test_numbers_json_does_not_have_are_written_as_text() -> None:
    shown = row('{"level": "info", "message": "m", "ms": NaN}')

    assert json.dumps(shown, allow_nan=False)
    assert shown["ms"] == "NaN"


def test_both_functions_are_merged_in_order_of_time(aws: Aws, stub: Stubber) -> None:
    answer(stub, "enqueuer", (1, "a"), (4, "d"))
    answer(stub, "worker", (2, "b"), (3, "c"))

    result = FunctionLogs(aws, NAMES, since=SINCE).read()

    assert [(one["function"], one["message"]) for one in result.document()["lines"]] == [
        ("enqueuer", "a"), ("worker", "b"), ("worker", "c"), ("enqueuer", "d"),
    ]  # fmt: skip


def test_one_function_is_asked_for_alone(aws: Aws, stub: Stubber) -> None:
    answer(stub, "worker", (1, "a"))

    assert [
        one["message"] for one in FunctionLogs(aws, NAMES, functions=["worker"], since=SINCE).read().rows()
    ] == ["a"]


def test_a_missing_group_is_empty_with_a_note(aws: Aws, stub: Stubber) -> None:
    heard: list[Event] = []
    stub.add_client_error("filter_log_events", "ResourceNotFoundException", "no")
    answer(stub, "worker", (1, "a"))

    rows = list(FunctionLogs(aws, NAMES, since=SINCE, listener=heard.append).read().rows())

    assert [one["message"] for one in rows] == ["a"]
    text = (
        "/aws/lambda/orders-enqueuer does not exist: orders-enqueuer has not run yet, or is not deployed here"
    )
    assert heard == [Noted(text)]


def test_following_looks_back_for_late_lines_and_shows_none_twice(aws: Aws, stub: Stubber) -> None:
    stop = threading.Event()
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            stop.set()

    answer(stub, "worker", (10_000, "a"), (60_000, "c"))
    # The second turn starts 30 s before the newest line.
    answer(stub, "worker", (50_000, "late"), (60_000, "c"), (61_000, "d"), start=START + 30_000)

    result = FunctionLogs(aws, NAMES, functions=["worker"], since=SINCE).follow(stop, wait)

    assert [one["message"] for one in result.rows()] == ["a", "c", "late", "d"]
    assert waits == [2, 2]


def lost(stub: Stubber, code: str = "ThrottlingException", status: int = 400) -> None:
    stub.add_client_error("filter_log_events", code, "no", http_status_code=status)


def waiter(stop: threading.Event, turns: int) -> tuple[list[float], Callable[[float], None]]:
    """Return the waits, and what waits; after so many turns it stops."""
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == turns:
            stop.set()

    return waits, wait


def test_following_outlives_a_loss_of_connection_and_says_so_once(aws: Aws, stub: Stubber) -> None:
    heard: list[Event] = []
    stop = threading.Event()
    waits, wait = waiter(stop, 8)
    answer(stub, "worker", (60_000, "a"))
    for _ in range(5):
        lost(stub, "InternalFailure", 503)
    answer(stub, "worker", (60_000, "a"), (61_000, "b"), start=START + 30_000)
    answer(stub, "worker", (61_000, "b"), start=START + 31_000)

    rows = list(
        FunctionLogs(aws, NAMES, functions=["worker"], since=SINCE, listener=heard.append)
        .follow(stop, wait)
        .rows()
    )

    assert [one["message"] for one in rows] == ["a", "b"]
    assert waits == [2, 4, 8, 16, 30, 30, 2, 2]
    assert [type(event) for event in heard] == [Warned, Noted]
    assert "log group /aws/lambda/orders-worker" in getattr(heard[0], "text", "")


@pytest.mark.parametrize("code", ["ExpiredTokenException", "AccessDeniedException"])
def test_following_ends_when_aws_refuses_for_good(aws: Aws, stub: Stubber, code: str) -> None:
    answer(stub, "worker", (1, "a"))
    lost(stub, code)
    result = FunctionLogs(aws, NAMES, functions=["worker"], since=SINCE).follow(threading.Event(), str)

    with pytest.raises(AwsError):
        list(result.rows())


def test_following_what_was_never_reached_fails_at_once(aws: Aws, stub: Stubber) -> None:
    lost(stub)
    result = FunctionLogs(aws, NAMES, functions=["worker"], since=SINCE).follow(threading.Event(), str)

    with pytest.raises(AwsError, match="throttled"):
        list(result.rows())
