"""The worker's last runs and the heads of the line, from the log alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from fifo_cli.aws.logs import LogEvent
from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import AwsError
from fifo_cli.model.history_events import HistoryEvent, Move, MovedMessage, encode, header_of
from fifo_cli.model.names import Names
from fifo_cli.model.settings import Settings
from fifo_cli.model.worker_log import Runs, Stuck, StuckGroups, WorkerRun, follow
from fifo_cli.operations.monitor.activity import RUNS, activity_questions
from fifo_cli.operations.monitor.logs import LogLine, parse_line
from fifo_cli.operations.monitor.worker_runs import (
    events_of,
    last_runs,
    long_pause,
    parked_reasons,
    paused_now,
    run_of,
    worker_runs,
)

NAMES = Names("orders")
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def line(minutes_ago: float, message: str, **facts: Any) -> LogLine:
    at = NOW - timedelta(minutes=minutes_ago)
    text = json.dumps({"time": at.isoformat(), "level": "info", "message": message, **facts})
    return parse_line("worker", LogEvent(text, int(at.timestamp() * 1000), text))


def ended(minutes_ago: float, **counts: int) -> LogLine:
    return line(
        minutes_ago, "run ended", **{"received": 0, "delivered": 0, "parked": 0, "failed": 0, **counts}
    )


def failed(minutes_ago: float, message: str, group: str = "g", **facts: Any) -> LogLine:
    return line(minutes_ago, "failed", message_id=message, group=group, **facts)


def stuck_of(*lines: LogLine) -> tuple[Stuck, ...]:
    return follow(StuckGroups(), events_of(lines)).stuck


def test_a_run_that_ended_has_its_counts() -> None:
    assert run_of(ended(3, received=4, delivered=2, parked=1, failed=1)) == WorkerRun(
        NOW - timedelta(minutes=3), 4, 2, 1, 1
    )


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T12:00:00Z 8a6 Task timed out after 60.00 seconds\n",
        "[ERROR] Runtime.ImportModuleError: no module named orders",
        "RequestId: 1 Error: Runtime exited with error: signal: killed",
    ],
)
def test_a_run_that_did_not_live_to_tell_is_reported_by_the_platform(text: str) -> None:
    run = run_of(parse_line("worker", LogEvent("1", int(NOW.timestamp() * 1000), text)))

    assert run == WorkerRun(NOW, error=text.strip())


def test_lines_about_messages_are_no_runs() -> None:
    assert run_of(failed(1, "m")) is None
    assert run_of(line(1, "run failed", reason="x")) is None


def test_what_failed_is_stuck_until_it_moves_though_the_next_run_looks_elsewhere() -> None:
    stuck = stuck_of(
        failed(20, "old", "not tried since"),
        ended(19, received=1, failed=1),
        failed(10, "m1", "ada", status=503, receives=3, reason="the API answered 503"),
        failed(10, "m9", "bob"),
        ended(9, received=2, failed=2),
        line(8, "delivered", message_id="m9", group="bob"),
    )

    assert [(one.group, one.message_id) for one in stuck] == [("not tried since", "old"), ("ada", "m1")]
    assert (stuck[1].http_status, stuck[1].receives, stuck[1].error) == (503, 3, "the API answered 503")


def test_of_one_group_the_last_that_failed_is_the_head() -> None:
    """Within a run a failure closes its group, so nothing behind a head fails."""
    found = stuck_of(
        failed(10, "head", receives=4), failed(9, "head", receives=9), failed(8, "next", receives=6), ended(7)
    )

    assert [(one.message_id, one.receives, one.attempts) for one in found] == [("next", 6, 1)]


def test_attempts_are_counted_by_the_lines_of_the_log_and_not_by_receives() -> None:
    """Three looks between two attempts are five receives."""
    found = stuck_of(failed(9, "m1", receives=1), ended(8), failed(5, "m1", receives=5), ended(4))

    assert [(one.attempts, one.receives, one.since) for one in found] == [(2, 5, NOW - timedelta(minutes=9))]


@pytest.fixture
def aws() -> Aws:
    return Aws(AwsEndpoint(local=True))


class Log:
    """A log group that answers FilterLogEvents with what was written since the start it is asked for."""

    def __init__(self, *lines: tuple[timedelta, str]) -> None:
        self.lines = lines
        self.starts: set[int] = set()

    def answer(self, params: dict[str, Any], **_: Any) -> Any:
        if "filterPattern" in params:
            self.starts.add(params["startTime"])
        phrase = params.get("filterPattern", "").strip('"').removeprefix("{ $.message = ").rstrip('"} ')
        phrase = phrase.lstrip('"')
        found = [
            {"eventId": text, "timestamp": int((NOW - ago).timestamp() * 1000), "message": text}
            for ago, text in self.lines
            if phrase in text and (NOW - ago).timestamp() * 1000 >= params["startTime"]
        ]
        return answered(found)

    def install(self, aws: Aws) -> None:
        aws.client("logs").meta.events.register(
            "before-call.cloudwatch-logs.FilterLogEvents", _unwrap(self.answer)
        )


def answered(events: list[dict[str, Any]]) -> Any:
    class Http:
        status_code = 200

    return Http(), {"events": events}


def _unwrap(answer: Any) -> Any:
    def before_call(params: dict[str, Any], **kwargs: Any) -> Any:
        return answer(json.loads(params["body"]), **kwargs)

    return before_call


RUN = json.dumps(
    {"level": "info", "message": "run ended", "received": 1, "delivered": 1, "parked": 0, "failed": 0}
)


@pytest.mark.parametrize(("ago", "looks"), [(0.5, 1), (3, 2), (20, 3)])
def test_the_log_is_read_back_only_as_far_as_the_last_run(aws: Aws, ago: float, looks: int) -> None:
    log = Log((timedelta(hours=ago), RUN), (timedelta(hours=24), "an old failed thing"))
    log.install(aws)

    found = last_runs(aws, NAMES, now=NOW)

    assert [(run.received, run.delivered) for run in found.runs] == [(1, 1)]
    assert len(log.starts) == looks


def test_a_drain_is_not_a_run_of_the_schedule(aws: Aws) -> None:
    """A rate's next run is reckoned from the schedule's last one: a drain does not move it."""
    by_hand = json.dumps({**json.loads(RUN), "by_hand": True})
    Log(
        (timedelta(minutes=4), RUN), (timedelta(minutes=2), by_hand), (timedelta(minutes=1), by_hand)
    ).install(aws)

    found = last_runs(aws, NAMES, now=NOW)

    assert [run.by_hand for run in found.runs] == [True, True, False]
    assert found.by_itself == NOW - timedelta(minutes=4)


def test_a_head_that_was_delivered_since_is_not_stuck(aws: Aws) -> None:
    """By drain, say, whose lines tell of no run."""

    def words(word: str, message: str) -> str:
        return json.dumps({"level": "info", "message": word, "message_id": message, "group": message})

    log = Log(
        (timedelta(minutes=9), words("failed", "m1")),
        (timedelta(minutes=9), words("failed", "m2")),
        (timedelta(minutes=8), RUN),
        (timedelta(minutes=5), words("delivered", "m1")),
    )
    log.install(aws)

    assert [one.message_id for one in last_runs(aws, NAMES, now=NOW).stuck] == ["m2"]


def test_heads_are_known_of_a_drain_that_was_killed_before_its_end_was_logged(aws: Aws) -> None:
    words = {"level": "error", "message": "failed", "message_id": "m1", "group": "ada"}
    Log((timedelta(minutes=9), json.dumps(words))).install(aws)

    found = last_runs(aws, NAMES, now=NOW)

    assert (found.runs, [one.group for one in found.stuck]) == ((), ["ada"])


@pytest.mark.parametrize(("ago", "known"), [(2, True), (24, True), (30, False)])
def test_a_head_that_no_run_has_met_since_is_remembered_for_a_day(aws: Aws, ago: float, known: bool) -> None:
    def words(word: str, group: str) -> str:
        return json.dumps({"level": "info", "message": word, "message_id": f"m-{group}", "group": group})

    log = Log(
        (timedelta(hours=ago), words("failed", "ada")),
        (timedelta(hours=ago - 0.1), RUN),
        (timedelta(minutes=9), words("failed", "bob")),
        (timedelta(minutes=8), RUN),
    )
    log.install(aws)

    stuck = [one.group for one in last_runs(aws, NAMES, now=NOW).stuck]

    assert stuck == (["ada", "bob"] if known else ["bob"])


def test_what_was_delivered_beside_the_first_failure_is_known_after_the_next_run_looked_elsewhere(
    aws: Aws,
) -> None:
    def words(word: str, group: str) -> str:
        return json.dumps({"level": "info", "message": word, "message_id": f"m-{group}", "group": group})

    Log(
        (timedelta(minutes=9.9), words("failed", "ada")),
        (timedelta(minutes=9.8), words("delivered", "bob")),
        (timedelta(minutes=9), RUN),
        (timedelta(minutes=5.9), words("failed", "ada") + " "),
        (timedelta(minutes=5), RUN.replace('"delivered": 1', '"delivered": 0')),
    ).install(aws)

    [head] = last_runs(aws, NAMES, now=NOW).stuck

    assert (head.attempts, head.beside, head.after) == (2, True, True)


def test_what_was_delivered_before_the_first_failure_of_the_first_run_is_known(aws: Aws) -> None:
    Log(
        told(9.9 * MINUTE, "delivered", message_id="m-bob", group="bob"),
        told(9.8 * MINUTE, "failed", message_id="m-ada", group="ada"),
        told(9 * MINUTE, "run ended", received=2, delivered=1, failed=1),
    ).install(aws)

    [head] = last_runs(aws, NAMES, now=NOW).stuck

    assert (head.beside, head.after) == (True, False)


def test_a_worker_that_never_ran_has_no_runs(aws: Aws) -> None:
    log = Log()
    log.install(aws)

    assert last_runs(aws, NAMES, now=NOW) == Runs()
    assert len(log.starts) == 1, "a log without lines is not asked again, as far back as it may be"


def test_the_newest_runs_come_first_and_no_more_than_asked_for(aws: Aws) -> None:
    log = Log(*((timedelta(minutes=number), RUN.replace('"received": 1', f'"received": {number}'))
                for number in range(1, 9)))  # fmt: skip
    log.install(aws)

    assert [run.received for run in last_runs(aws, NAMES, now=NOW, count=3).runs] == [1, 2, 3]


@pytest.fixture
def stub(aws: Aws) -> Iterator[Stubber]:
    with Stubber(aws.client("logs")) as stubber:
        yield stubber


def test_a_log_group_that_is_missing_or_denied_is_not_evidence_that_all_is_well(
    aws: Aws, stub: Stubber
) -> None:
    for _ in range(6):
        stub.add_client_error("filter_log_events", "ResourceNotFoundException")
    with pytest.raises(AwsError, match="log group /aws/lambda/orders-worker does not exist"):
        last_runs(aws, NAMES, now=NOW)

    for _ in range(6):
        stub.add_client_error("filter_log_events", "AccessDeniedException")
    with pytest.raises(AwsError, match="permission denied"):
        last_runs(aws, NAMES, now=NOW)


def told(ago: timedelta, message: str, **facts: Any) -> tuple[timedelta, str]:
    text = {"time": (NOW - ago).isoformat(), "level": "info", "message": message, **facts}
    return ago, json.dumps(text)


MINUTE = timedelta(minutes=1)


def test_of_batches_a_quarter_of_an_hour_is_read_and_of_failures_a_day(aws: Aws) -> None:
    """A worker that the queue starts logs more in an hour than can be read in a moment."""
    head = {"group": "ada", "message_id": "m1", "reason": "HTTP 503", "paused_until": "2026-01-02T12:03:00Z"}
    log = Log(
        told(timedelta(hours=3), "failed", **head),
        told(timedelta(hours=2), "run ended", received=1, delivered=0, failed=1),
        told(20 * MINUTE, "failed", **head),
        told(MINUTE, "run ended", received=9, delivered=9, failed=0),
    )
    log.install(aws)

    found = last_runs(aws, NAMES, now=NOW, by_queue=True)

    assert [run.delivered for run in found.runs] == [9]
    assert [(one.group, one.attempts, one.since) for one in found.stuck] == [
        ("ada", 2, NOW - timedelta(hours=3))
    ]
    assert [one.group for one in found.paused] == ["ada"]
    assert found.as_of == NOW - MINUTE


def test_a_paused_head_is_stuck_though_more_is_delivered_meanwhile_than_can_be_read(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fifo_cli.operations.monitor.worker_runs._MOVES_MAX", 5)
    Log(
        told(9 * MINUTE, "failed", group="ada", message_id="m1", paused_until="2026-01-02T12:03:00Z"),
        told(9 * MINUTE, "failed", group="bob", message_id="m2", paused_until="2026-01-02T11:55:00Z"),
        told(9 * MINUTE, "failed", group="eve", message_id="m3", paused_until="2026-01-02T11:55:00Z"),
        told(4 * MINUTE, "delivered", group="bob", message_id="m2"),
        told(3 * MINUTE, "run ended", received=9, delivered=9, failed=0),
        told(2 * MINUTE, "run ended", received=9, delivered=9, failed=0),
    ).install(aws)

    found = last_runs(aws, NAMES, now=NOW, by_queue=True)

    assert {one.group for one in found.stuck} == {"ada", "eve"}


def test_a_drain_that_emptied_the_queue_did_not_meet_a_group_that_was_paused() -> None:
    stuck = stuck_of(
        failed(60, "m1", "ada", paused_until="2026-01-02T12:30:00Z"),
        ended(1, received=3, delivered=3, emptied=True),
    )

    assert [one.group for one in stuck] == ["ada"]


def test_what_is_paused_now_takes_one_question(aws: Aws) -> None:
    log = Log(
        told(21 * MINUTE, "failed", group="old", paused_until="2026-01-02T12:01:00Z"),
        told(2 * MINUTE, "failed", group="ada", paused_until="2026-01-02T12:03:00Z", reason="HTTP 503"),
        told(MINUTE, "failed", group="bob", paused_until="2026-01-02T11:59:30Z"),
    )
    log.install(aws)
    settings = Settings.model_validate(
        {"pipeline": {"name": "orders"}, "table": {"name": "orders"}, "api": [{"url": "http://x"}]}
    )

    found = paused_now(aws, settings, now=NOW)

    assert [(one.group, one.error) for one in found.paused] == [("ada", "HTTP 503")]
    assert found.as_of == NOW - MINUTE
    assert len(log.starts) == 1


@pytest.mark.parametrize(
    ("trigger", "until", "long"),
    [
        ("queue", "2026-01-02T13:00:00Z", True),
        ("queue", "2026-01-02T12:04:00Z", False),
        ("schedule", "2026-01-02T13:00:00Z", True),  # paused before it took the queue's place
    ],
)
def test_a_pause_is_long_if_an_api_asked_for_more_than_retry(
    aws: Aws, trigger: str, until: str, long: bool
) -> None:
    """However long ago it was logged: what is asked for may be hours."""
    Log(
        told(40 * MINUTE, "failed", group="ada", message_id="m1", paused_until=until),
        told(MINUTE, "run ended", received=1, delivered=1, failed=0),
    ).install(aws)
    settings = Settings.model_validate(
        {
            "pipeline": {"name": "orders"},
            "table": {"name": "orders"},
            "api": [{"url": "http://x"}],
            "worker": {"trigger": trigger},
        }
    )

    assert long_pause(aws, settings, now=NOW) == (datetime.fromisoformat(until) if long else None)


def test_what_a_function_raised_is_of_its_own_batch_though_another_s_ended_between() -> None:
    def of(stream: str, text: str, millisecond: int) -> LogLine:
        return parse_line("worker", LogEvent(text, int(NOW.timestamp() * 1000) + millisecond, text, stream))

    early = json.dumps(
        {"level": "error", "message": "run ended", "received": 1, "owner": "aws", "reason": "no"}
    )

    found = worker_runs([of("a", early, 0), of("b", RUN, 1), of("a", "[ERROR] RunEndedEarlyError: no", 2)])

    assert [run.error for run in found] == ["no", None]


def test_the_ends_of_batches_are_not_taken_for_deliveries_that_are_read(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the word, too: with many of them, that a head was delivered was not read."""
    monkeypatch.setattr("fifo_cli.operations.monitor.worker_runs._MOVES_MAX", 2)
    Log(
        told(9 * MINUTE, "failed", group="bob", message_id="m2"),
        *(told(n * MINUTE, "run ended", received=1, delivered=0, failed=1) for n in (8, 7, 6)),
        told(4 * MINUTE, "delivered", group="bob", message_id="m2"),
    ).install(aws)

    assert last_runs(aws, NAMES, now=NOW, by_queue=True).stuck == ()


@pytest.mark.parametrize(("breaker", "shown"), [(5, True), (0, False)])
def test_a_breaker_that_is_switched_off_is_not_shown_though_its_lines_are_there(
    aws: Aws, breaker: int, shown: bool
) -> None:
    settings = Settings.model_validate(
        {
            "pipeline": {"name": "orders"},
            "table": {"name": "orders"},
            "api": [{"url": "http://x"}],
            "worker": {"trigger": "queue", "breaker": breaker},
        }
    )
    Log(
        told(3 * MINUTE, "breaker opened", until="2026-01-02T12:03:00Z", failures=5),
        told(2 * MINUTE, "run ended", received=9, delivered=0, failed=5),
    ).install(aws)

    found = activity_questions(aws, settings, settings.check, NAMES, now=NOW)[RUNS]()

    assert len(found.runs) == 1
    assert (found.breaker is not None) == shown


def test_a_message_that_was_redriven_and_parked_again_is_counted_once(aws: Aws) -> None:
    first = {"item_key": '{"id":"1"}', "stream_sequence": "100"}
    Log(
        told(4 * MINUTE, "parked", message_id="m1", status=422, **first),
        told(3 * MINUTE, "parked", message_id="m2", status=409, item_key='{"id":"1"}', stream_sequence="200"),
        told(2 * MINUTE, "parked", message_id="m3", status=400, **first),
        told(2 * MINUTE, "parked", message_id="m4", status=410),
        told(1 * MINUTE, "parked", message_id="m5", status=410),
    ).install(aws)

    assert sorted(parked_reasons(aws, NAMES, now=NOW)) == ["HTTP 400", "HTTP 409", "HTTP 410", "HTTP 410"]


def test_what_an_operator_took_out_of_the_dlq_or_put_there_is_not_counted_as_the_workers(aws: Aws) -> None:
    ids = [MovedMessage(item_key=f'{{"id":"{n}"}}', stream_sequence=str(n)) for n in range(4)]
    header = header_of(
        id="a1", operation="redrive", command="c", who="arn:aws:iam::1:user/alice", host="h", began=NOW
    )
    moves = [
        (2 * MINUTE, Move("redriven", "dlq", "main", tuple(ids[:3]))),
        (MINUTE, Move("parked", "main", "dlq", (ids[2],))),
    ]
    history = Log(
        *(
            (ago, line)
            for ago, move in moves
            for line in encode(HistoryEvent(header, NOW - ago, move=move), bytes_max=10_000)
        )
    )
    worker = Log(
        *(
            told(3 * MINUTE, "parked", message_id=f"m{n}", status=422, item_key=one.item_key,
                 stream_sequence=one.stream_sequence)
            for n, one in enumerate(ids)
        ),
        told(MINUTE / 2, "parked", message_id="m9", status=410, item_key=ids[0].item_key,
             stream_sequence=ids[0].stream_sequence),
    )  # fmt: skip
    logs = {NAMES.operations_log: history}

    def answer(params: dict[str, Any], **kwargs: Any) -> Any:
        return logs.get(params["logGroupName"], worker).answer(params, **kwargs)

    aws.client("logs").meta.events.register("before-call.cloudwatch-logs.FilterLogEvents", _unwrap(answer))

    assert parked_reasons(aws, NAMES, now=NOW) == ("HTTP 410", "an operator (alice)", "HTTP 422")
