"""The verdict over what the functions logged: OK needs evidence, and nothing that is well may warn."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.aws.logs import LogEvent
from fifo_cli.model.advice import LATE, Snapshot, advise
from fifo_cli.model.auth_settings import read_auth
from fifo_cli.model.health import Measurements, Problem, State, TriggerState, worst
from fifo_cli.model.names import FunctionRole
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.settings import Api, Settings
from fifo_cli.model.worker_log import Batches, Runs, Stuck, StuckGroups, WorkerRun, follow
from fifo_cli.operations.monitor.logs import LogLine, parse_line
from fifo_cli.operations.monitor.worker_runs import batches_of, behind_of, events_of, worker_runs

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
WELL: dict[str, Any] = {"received": 2, "delivered": 2, "parked": 0, "failed": 0}
KEY: dict[str, Any] = {
    "owner": "configuration",
    "what": "key api_key (SSM parameter /orders/api-key)",
    "reason": "not legal in a header",
}


def settings(*expressions: str, max_receives: int = 0) -> Settings:
    return Settings.model_validate(
        {
            "pipeline": {"name": "orders"},
            "table": {"name": "orders"},
            "api": [{"url": "http://x"}],
            "queue": {"max_receives": max_receives},
            "schedule": {"expressions": list(expressions or ("rate(5 minutes)",))},
        }
    )


def numbers(
    visible: int = 0, *, worker: TriggerState = "running", age: int | None = None, limit: int | None = None
):
    return Measurements({"main": Counted("orders.fifo", visible, 0, 0, age, limit)}, worker=worker)


def logged(role: FunctionRole, minutes: float, message: str, **facts: Any) -> LogLine:
    at = NOW - timedelta(minutes=minutes)
    text = message
    if facts or not message.startswith(("[", "2026", "RequestId")):
        text = json.dumps({"time": at.isoformat(), "level": "info", "message": message, **facts})
    return parse_line(role, LogEvent(text, int(at.timestamp() * 1000), text))


def worker(minutes: float, message: str = "run ended", **facts: Any) -> LogLine:
    return logged("worker", minutes, message, **(facts or ({} if message.startswith("[") else WELL)))


def enqueuer(minutes: float, message: str = "batch ended", **facts: Any) -> LogLine:
    return logged("enqueuer", minutes, message, **facts)


def runs_of(*lines: LogLine) -> Runs:
    ordered = sorted(lines, key=lambda line: line.time)
    found = worker_runs(ordered)[::-1]
    behind = behind_of(ordered, found)
    stuck = follow(StuckGroups(), events_of(ordered)).stuck
    return Runs(tuple(found), stuck, max(behind, key=lambda one: one.receives or 0, default=None))


def batches(*lines: LogLine, moved: bool = False) -> Batches:
    return Batches(tuple(batches_of(sorted(lines, key=lambda line: line.time))[::-1]), moved)


def problems(
    runs: Runs = Runs(),  # noqa: B008 - frozen
    found: Batches = Batches(),  # noqa: B008 - frozen
    measured: Measurements | None = None,
    given: Settings | None = None,
    *,
    late: timedelta = LATE,
    patient: bool = True,
) -> list[Problem]:
    """Return what the logs show; what the numbers do is not asked here."""
    snapshot = Snapshot(
        given or settings(), measured or numbers(5), NOW, None, runs, found, late=late, patient=patient
    )
    return [
        one for one in advise(snapshot) if one.text != "the worker is paused" and "oldest" not in one.text
    ]


def state(*args: Any, **words: Any) -> State:
    return worst(problem.state for problem in problems(*args, **words))


TIMED_OUT = "2026-01-02T11:59:00Z 8a6 Task timed out after 60.00 seconds"
RAISED = "[ERROR] RuntimeError: no"
IMPORT = "[ERROR] Runtime.ImportModuleError: Unable to import module 'worker'"
EXITED = "RequestId: 1 Error: Runtime exited with error: exit status 3"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        pytest.param([], "ok", id="never ran"),
        pytest.param([worker(1)], "ok", id="one good run"),
        pytest.param([worker(2), worker(1, received=0, delivered=0, parked=0, failed=0)], "ok", id="idle"),
        pytest.param([worker(6, **WELL, **KEY), worker(1)], "ok", id="configuration, then well"),
        pytest.param([worker(1, **WELL, **KEY)], "critical", id="configuration"),
        pytest.param([worker(1, **KEY)], "critical", id="configuration without counts"),
        pytest.param([worker(6), worker(1, TIMED_OUT, x=1)], "ok", id="a text in a line of ours"),
        pytest.param([worker(6), logged("worker", 1, TIMED_OUT)], "warning", id="timed out once"),
        pytest.param([logged("worker", n, TIMED_OUT) for n in (6, 1)], "critical", id="timed out twice"),
        pytest.param([logged("worker", 1, IMPORT)], "warning", id="no module, once"),
        pytest.param([logged("worker", n, IMPORT) for n in (11, 6, 1)], "critical", id="no module"),
        pytest.param([logged("worker", n, EXITED) for n in (6, 1)], "critical", id="exited"),
        pytest.param([worker(1, **WELL, owner="aws", reason="throttled")], "warning", id="AWS once"),
        pytest.param(
            [worker(n, **WELL, owner="aws", reason="throttled") for n in (6, 1)], "critical", id="AWS twice"
        ),
        pytest.param([logged("worker", 6, RAISED), worker(1)], "ok", id="raised, then well"),
        pytest.param(
            [worker(n, received=3, delivered=0, parked=0, failed=3) for n in (11, 6, 1)],
            "warning",
            id="nothing delivered three times",
        ),
        pytest.param(
            [worker(n, received=3, delivered=0, parked=0, failed=3) for n in (6, 1)], "ok", id="only twice"
        ),
    ],
)
def test_the_last_runs_of_the_worker(lines: list[LogLine], verdict: State) -> None:
    assert state(runs_of(*lines)) == verdict


@pytest.mark.parametrize(
    ("lines", "moved", "verdict"),
    [
        pytest.param([], False, "ok", id="never invoked"),
        pytest.param([enqueuer(1, enqueued=3, failed=0)], False, "ok", id="well"),
        pytest.param([logged("enqueuer", 0.2, RAISED)], False, "warning", id="raised a moment ago"),
        pytest.param([logged("enqueuer", 3, RAISED)], False, "warning", id="raised, the next may be late"),
        pytest.param([logged("enqueuer", 16, RAISED)], False, "critical", id="raised, and nothing since"),
        pytest.param([logged("enqueuer", 3, RAISED)], True, "ok", id="raised, then enqueued"),
        pytest.param([logged("enqueuer", n, RAISED) for n in (0.4, 0.2)], False, "critical", id="each batch"),
        pytest.param([logged("enqueuer", n, IMPORT) for n in (4, 2)], False, "critical", id="no module"),
        pytest.param([logged("enqueuer", 2, TIMED_OUT)], False, "warning", id="timed out"),
        pytest.param([logged("enqueuer", 15, TIMED_OUT)], False, "critical", id="timed out, no more"),
        pytest.param([enqueuer(1, "batch failed", **KEY)], False, "critical", id="configuration"),
        pytest.param([enqueuer(1, enqueued=0, **KEY)], False, "critical", id="configuration, answered"),
        pytest.param(
            [enqueuer(4, "batch failed", owner="aws", reason="no"), enqueuer(2, enqueued=1, failed=0)],
            False,
            "ok",
            id="failed, then well",
        ),
        pytest.param([enqueuer(2, enqueued=1, owner="aws", reason="no")], False, "warning", id="in part"),
    ],
)
def test_the_last_invocations_of_the_enqueuer(lines: list[LogLine], moved: bool, verdict: State) -> None:
    assert state(found=batches(*lines, moved=moved)) == verdict


@pytest.mark.parametrize(("minutes", "verdict"), [(0.1, "warning"), (1.9, "warning"), (2, "critical")])
def test_where_no_line_is_late_a_single_failure_stands_sooner(minutes: float, verdict: State) -> None:
    found = batches(logged("enqueuer", minutes, RAISED))
    assert state(found=found, late=timedelta(minutes=2)) == verdict


def test_a_failure_that_is_logged_and_raised_counts_once() -> None:
    raised = logged("worker", 0.99, "[ERROR] ConfigurationError: x\n at")
    both = [worker(6), worker(1, **WELL, **KEY), raised]
    assert [run.owner for run in runs_of(*both).runs] == ["configuration", None]

    batch = [enqueuer(1, "batch failed", **KEY), logged("enqueuer", 0.99, "[ERROR] ConfigurationError: x")]
    assert [one.what for one in batches(*batch).batches] == [KEY["what"]]

    old = [worker(1), logged("worker", 0.99, RAISED)]
    assert [run.error for run in runs_of(*old).runs] == [RAISED]


@pytest.mark.parametrize(
    ("what", "step"),
    [
        ("key api_key (SSM parameter /orders/api-key)", "fifo-cli keys set api_key"),
        ("[api] keys: api_key", "fifo-cli keys list"),
        ("[api] auth: username", "correct it in fifo.toml or where it is set, then `fifo-cli deploy`"),
        ("variable ALL_PROXY", "fifo-cli deploy"),
        ("orders:to_message", "if a deploy brought this, `fifo-cli rollback`; else correct your code"),
        ("my.pack_1:f", "fifo-cli rollback"),
        ("[api] url http://[::1/x", "fifo-cli deploy"),
        ("file /etc/ca.pem", "fifo-cli deploy"),
    ],
)
def test_what_is_unusable_is_named_with_the_step_that_corrects_it(what: str, step: str) -> None:
    [found] = problems(runs_of(worker(1, **WELL, owner="configuration", what=what, reason="unusable")))

    assert found.state == "critical"
    assert f"{what}: unusable" in found.text
    assert step in found.next
    assert "park " not in found.next


def test_a_fault_of_authentication_is_named_with_the_keys_of_that_api() -> None:
    table, _ = read_auth({"type": "basic", "username": "{user}", "password": "{word}"}, ("api", 0, "auth"))
    api = Api(url="https://shop.test", keys={"user": "/u", "word": "/w"}).model_copy(update={"auth": table})
    given = settings().model_copy(update={"api": (Api(url="https://first.test"), api)})
    ended = {"owner": "configuration", "what": "[api] auth of shop.test: username", "reason": "unusable"}
    [found] = problems(runs_of(worker(1, **WELL, **ended)), given=given)
    assert found.next == (
        "`fifo-cli keys set user` with what the API's owner gave you, or correct [api] auth, then"
        " `fifo-cli deploy`; nothing was parked"
    )


@pytest.mark.parametrize(
    ("minutes", "patient", "verdict"),
    [
        (1, True, "ok"),
        (1, False, "warning"),
        (14, True, "ok"),
        (15, True, "warning"),
        (59, False, "warning"),
        (60, True, "critical"),
        (600, False, "critical"),
    ],
)
def test_a_head_is_judged_by_how_long_it_has_failed(minutes: int, patient: bool, verdict: State) -> None:
    head = Stuck("m1", "ada", NOW, 3, 503, "the API answered 503", since=NOW - timedelta(minutes=minutes))
    newest = WorkerRun(NOW, 2, 1, 0, 1)

    assert state(Runs((newest,), (head,)), patient=patient) == verdict
    assert state(Runs((newest,), (head,)), measured=numbers(0), patient=patient) == "ok"


def test_the_oldest_of_several_heads_counts_and_no_one_is_sent_to_park() -> None:
    since = NOW - timedelta(minutes=30)
    heads = (Stuck("m1", "new", NOW, since=NOW), Stuck("m2", "old", NOW, error="503", since=since))

    [found] = problems(Runs((WorkerRun(NOW, 2, 1, 0, 1),), heads))

    assert "group old waits for its head and has failed for 30m" in found.text
    assert "park" not in found.next


@pytest.mark.parametrize(
    ("limit", "receives", "warns"),
    [
        *[(1, 1, True), (3, 1, False), (3, 2, True), (3, 3, True), (10, 4, False), (10, 5, True)],
        *[(1000, 499, False), (1000, 500, True), (None, 5000, False)],
    ],
)
@pytest.mark.parametrize("fate", ["failed", "skipped"])
def test_half_of_the_receives_that_sqs_allows_is_a_warning(
    limit: int | None, receives: int, warns: bool, fate: str
) -> None:
    line = worker(2, fate, message_id="m1", group="ada", attempt=receives)
    runs = runs_of(line, worker(1))

    found = [one for one in problems(runs, measured=numbers(1, limit=limit)) if "SQS moves" in one.text]

    assert [one.state for one in found] == ["warning"] * warns
    assert all("group ada" in one.text and "fifo-cli deploy" in one.next for one in found)


@pytest.mark.parametrize(
    ("expression", "last", "waited", "visible", "state", "silent"),
    [
        ("rate(1 minute)", 15, None, 1, "running", False),  # its line may come yet
        ("rate(1 minute)", 17, None, 1, "running", True),
        ("rate(1 minute)", 600, None, 0, "running", False),  # nothing waits
        ("rate(1 minute)", 600, None, 1, "paused", False),  # on purpose
        ("cron(0 9 * * ? *)", 60 * 27, None, 1, "running", True),  # this morning's run is missing
        ("cron(0 18 * * ? *)", 60 * 18, None, 1, "running", False),  # tonight's is to come
        ("rate(5 minutes)", None, None, 1, "running", False),  # a new pipeline
        ("rate(5 minutes)", None, 600, 1, "running", False),
        ("rate(5 minutes)", None, 3600, 1, "running", True),  # waits for an hour, and no run
        ("cron(0 18 * * ? *)", None, 3600, 1, "running", False),
    ],
)
def test_a_worker_is_silent_if_it_was_due_and_something_waits(
    expression: str, last: int | None, waited: int | None, visible: int, state: TriggerState, silent: bool
) -> None:
    runs = Runs() if last is None else runs_of(worker(last))

    found = problems(runs, measured=numbers(visible, worker=state, age=waited), given=settings(expression))

    assert [one.state for one in found] == ["critical"] * silent


def test_on_the_embedded_stack_silence_is_known_at_once() -> None:
    runs, minute = runs_of(worker(4)), settings("rate(1 minute)")

    assert state(runs, given=minute, late=timedelta(minutes=2)) == "critical"
    assert state(runs, given=minute) == "ok"


RUN = st.sampled_from(["well", "idle", "configuration", "aws", "program", "timeout", "import", "exit"])
BAD = frozenset({"configuration", "aws", "program", "timeout", "import", "exit"})


def _run(word: str, minutes: float) -> list[LogLine]:
    match word:
        case "well":
            return [worker(minutes)]
        case "idle":
            return [worker(minutes, received=0, delivered=0, parked=0, failed=0)]
        case "timeout" | "import" | "exit":
            return [logged("worker", minutes, {"timeout": TIMED_OUT, "import": IMPORT, "exit": EXITED}[word])]
        case owner:
            return [
                worker(minutes + 0.01, "run failed", owner=owner, reason="x"),
                worker(minutes, **WELL, owner=owner, reason="x"),
                logged("worker", minutes - 0.01, "[ERROR] RuntimeError: x"),
            ]


@given(history=st.lists(RUN, min_size=1, max_size=12))
def test_the_verdict_is_ok_if_and_only_if_the_newest_evidence_is_well(history: list[str]) -> None:
    """``history`` is a word a run, the newest first."""
    lines = [line for number, word in enumerate(history) for line in _run(word, 1 + number)]
    runs = runs_of(*lines)

    assert len(runs.runs) == len(history), "one run is one run, however many lines it has"
    assert (state(runs) == "ok") == (history[0] not in BAD)
    if history[0] == "configuration":
        assert state(runs) == "critical"


BATCH = st.sampled_from(["well", "failed", "raised", "configuration", "timeout"])


@given(history=st.lists(BATCH, min_size=1, max_size=12))
def test_an_enqueuer_whose_newest_invocation_failed_is_never_ok(history: list[str]) -> None:
    made = {
        "well": lambda at: enqueuer(at, enqueued=2, failed=0),
        "failed": lambda at: enqueuer(at, "batch failed", owner="aws", reason="no"),
        "raised": lambda at: logged("enqueuer", at, RAISED),
        "configuration": lambda at: enqueuer(at, "batch failed", **KEY),
        "timeout": lambda at: logged("enqueuer", at, TIMED_OUT),
    }
    found = batches(*(made[word](20 + number) for number, word in enumerate(history)))

    verdict = state(found=found, measured=numbers(0))
    assert (verdict == "ok") == (history[0] == "well")
    assert history[0] == "well" or verdict == "critical"
