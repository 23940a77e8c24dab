"""What a drain says of what it left, and how it has the worker's function deliver."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import ExitCode
from fifo_cli.handlers.run_report import Outcome
from fifo_cli.local.receiver import Receiver, Reply
from fifo_cli.model.settings import Project
from fifo_cli.model.worker_log import PausedGroup
from fifo_cli.operations.queues.drain import (
    DrainOptions,
    DrainResult,
    any_failed,
    drain_by_function,
    last_of_each,
    ungiven,
)
from fifo_cli.render.queue_tables import drain_breaker
from tests.unit.operations.test_package import project

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def outcome(name: str, status: str, error: str | None = None) -> Outcome:
    return Outcome(name, "g", status, None, 0, error)  # type: ignore[arg-type]


def test_what_is_counted_beside_what_stayed_behind_was_not_given() -> None:
    stayed = [outcome("a", "failed", "503"), outcome("b", "skipped", "behind"), outcome("c", "delivered")]
    assert ungiven(stayed, 12) == 10
    assert ungiven([], 360) == 360
    assert ungiven([outcome("a", "delivered", "not deleted")], 1) == 0


def test_counts_that_lag_or_are_unknown_make_nothing_up() -> None:
    assert ungiven([outcome("a", "failed", "503")], 0) == 0
    assert ungiven([outcome("a", "failed", "503")], None) == 0


def test_a_message_that_several_invocations_saw_counts_once() -> None:
    seen = [outcome("a", "skipped", "ended"), outcome("a", "delivered"), outcome("b", "skipped", "ended")]
    assert ungiven([*seen, outcome("b", "skipped", "ended")], 3) == 2


def test_a_message_that_several_invocations_tried_is_shown_once_as_it_was_at_last() -> None:
    first = [outcome("a", "failed", "503"), outcome("b", "failed", "503"), outcome("c", "skipped", "ended")]
    again = [outcome("a", "delivered"), outcome("b", "skipped", "the breaker"), outcome("c", "failed", "503")]
    assert [(one.message_id, one.status) for one in last_of_each([*first, *again])] == [
        ("a", "delivered"),
        ("b", "failed"),
        ("c", "failed"),
    ]


@pytest.mark.parametrize(
    ("reasons", "failed"),
    [
        ([], False),
        (["max_rate allows its call only later"], False),
        (["max_rate allows its call only later", "HTTP 503 from shop"], True),
        ([None], True),
    ],
)
def test_what_max_rate_alone_hides_did_not_fail(reasons: list[str | None], failed: bool) -> None:
    assert any_failed(PausedGroup("g", NOW, NOW, reason) for reason in reasons) is failed


def test_what_is_parked_or_delivered_did_not_stay() -> None:
    gone = (outcome("a", "delivered"), outcome("b", "parked", "422"))
    assert not DrainResult(gone, 0).stayed
    assert DrainResult((*gone, outcome("c", "failed", "503")), 1).stayed


def test_the_heads_that_a_drain_could_not_deliver_are_known_with_what_became_of_the_others() -> None:
    def tried(name: str, group: str, status: Any, http: int | None = 503) -> Outcome:
        return Outcome(name, group, status, http, 0, f"HTTP {http} from shop", "shop", None, "api")

    drained = (
        tried("a1", "ada", "failed"),
        tried("a2", "ada", "skipped", None),
        tried("b1", "bob", "delivered", 200),
        tried("c1", "eve", "failed"),
        tried("c1", "eve", "delivered", 200),  # by a later invocation
    )

    [head] = DrainResult(drained, 2).stuck(at=NOW)

    assert (head.message_id, head.group, head.http_status, head.api) == ("a1", "ada", 503, "shop")
    assert (head.attempts, head.after) == (1, True)
    assert DrainResult((tried("a1", "ada", "parked", 422),), 0).stuck(at=NOW) == ()


class Worker:
    """A function that delivers what it is asked for; its answers are as long as they can be."""

    def __init__(self, waiting: int) -> None:
        self.waiting, self.asked, self.answered = waiting, list[int](), list[int]()

    def __call__(self, request: Any) -> Reply:
        if "/invocations" in request.path:
            return self._invoke(json.loads(request.body))
        name = request.headers.get("x-amz-target", "").rpartition(".")[2]
        answers: dict[str, Any] = {
            "GetQueueUrl": {"QueueUrl": f"http://127.0.0.1/1/{request.number}"},
            "GetQueueAttributes": {
                "Attributes": {
                    "ApproximateNumberOfMessages": str(self.waiting),
                    "ApproximateNumberOfMessagesNotVisible": "0",
                    "ApproximateNumberOfMessagesDelayed": "0",
                }
            },
        }
        return Reply(200, json.dumps(answers.get(name, {})).encode())

    def _invoke(self, event: Any) -> Reply:
        (options,) = event.values()
        self.asked.append(options["count"])
        done = min(self.waiting, options["count"])
        self.waiting -= done
        row = {"group": '"' * 128, "status": "parked", "http_status": 422, "elapsed_ms": 99_999}
        rows = [
            {**row, "message_id": f"{self.waiting + number:036}", "error": "\u2603" * 500}
            for number in range(done)
        ]
        body = json.dumps({"results": rows, "error": None, "owner": None, "what": None}).encode()
        self.answered.append(len(body))
        return Reply(200, body)


@pytest.mark.parametrize(
    ("waiting", "count", "asked"),
    [
        (0, None, [1500]),
        (7, None, [1500, 1500]),
        (3200, None, [1500, 1500, 1500, 1500]),
        (9, 5, [5]),
        (9, 9, [9]),
        (2000, 1600, [1500, 100]),
        (5000, 3000, [1500, 1500]),
    ],
)
def test_a_report_of_the_function_is_never_longer_than_lambda_answers(
    tmp_path: Any, waiting: int, count: int | None, asked: list[int]
) -> None:
    """Lambda Developer Guide, "Lambda quotas": 6 MB; a run whose answer is longer fails, though done."""
    worker = Worker(waiting)
    made: Project = project(tmp_path)
    with Receiver(answer=worker) as receiver:
        aws = Aws(AwsEndpoint(local=True, endpoint_url=receiver.url))
        result = drain_by_function(aws, made, DrainOptions(count))
    assert worker.asked == asked
    assert len(result.results) == min(waiting, waiting if count is None else count)
    assert max(worker.answered) < 6_291_556


def test_a_drain_by_the_function_ends_where_its_breaker_kept_it_from_further_calls(tmp_path: Any) -> None:
    asked: list[Any] = []

    def answer(request: Any) -> Reply:
        if "/invocations" not in request.path:
            return Worker(100)(request)
        asked.extend(json.loads(request.body).values())
        row = {"message_id": "m", "group": "g", "http_status": 503, "elapsed_ms": 1, "error": "HTTP 503"}
        rows = [{**row, "status": "delivered"}, {**row, "status": "failed"}]
        return Reply(200, json.dumps({"results": rows, "breaker": "HTTP 503 from shop"}).encode())

    with Receiver(answer=answer) as receiver:
        aws = Aws(AwsEndpoint(local=True, endpoint_url=receiver.url))
        result = drain_by_function(aws, project(tmp_path), DrainOptions(None, 8, 2.5))
    assert asked == [{"count": 1500, "concurrency": 8, "max_rate": 2.5}]
    assert (result.breaker, result.exit_code) == ("HTTP 503 from shop", ExitCode.ATTENTION)
    assert result.ungiven == 0, "what was not called for is not another consumer's"
    text = drain_breaker(result.breaker or "")
    assert "HTTP 503 from shop" in text
    assert "run it again" in text
