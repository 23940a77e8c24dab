"""status: next runs, drift as far as it may be seen, and the verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.sqs import Seen
from fifo_cli.errors import AwsError, ExitCode, NotDeployedError
from fifo_cli.model.drift import Drift, ResourceState
from fifo_cli.model.health import ScheduleState
from fifo_cli.model.history_events import Operation
from fifo_cli.model.names import Names, Place
from fifo_cli.model.next_runs import reckon_next_runs
from fifo_cli.model.planning import Difference
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.resources import Kind
from fifo_cli.model.schedules import rate_of
from fifo_cli.model.settings import Project, Settings
from fifo_cli.model.worker_log import Runs, Stuck, WorkerRun
from fifo_cli.operations.deploy.api_keys import Key, Keys
from fifo_cli.operations.monitor import assessment
from fifo_cli.operations.monitor import status as operation
from fifo_cli.operations.monitor.measure import Triggers
from fifo_cli.operations.monitor.status import StatusResult
from fifo_cli.operations.parallel import Gathered

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
NAMES = Names("orders")
PLACE = Place("123456789012", "eu-west-1")


def settings(**tables: Any) -> Settings:
    return Settings.model_validate(
        {"pipeline": {"name": "orders"}, "table": {"name": "orders"}, "api": [{"url": "http://x"}], **tables}
    )


def scheduled(*expressions: str) -> Settings:
    return settings(schedule={"expressions": list(expressions)})


@pytest.mark.parametrize(
    ("expression", "period"),
    [
        ("rate(1 minute)", timedelta(minutes=1)),
        ("rate(5 minutes)", timedelta(minutes=5)),
        ("rate(1 hour)", timedelta(hours=1)),
        ("rate(30 days)", timedelta(days=30)),
        ("cron(0 18 ? * MON-FRI *)", None),
    ],
)
def test_the_period_of_a_rate_is_known(expression: str, period: timedelta | None) -> None:
    assert rate_of(expression) == period


def test_the_runs_of_cron_are_exact() -> None:
    found = reckon_next_runs(scheduled("cron(0 18 ? * MON-FRI *)"), None, now=NOW)

    assert [f"{run:%a %d %H:%M}" for run in found.times] == ["Fri 02 18:00", "Mon 05 18:00", "Tue 06 18:00"]
    assert not found.estimated


def test_the_runs_of_a_rate_are_reckoned_from_the_last_one() -> None:
    found = reckon_next_runs(scheduled("rate(5 minutes)"), NOW - timedelta(minutes=12), now=NOW)

    assert [(run - NOW).total_seconds() / 60 for run in found.times] == [3, 8, 13]
    assert found.estimated


def test_the_next_run_of_a_rate_that_never_ran_is_not_known() -> None:
    found = reckon_next_runs(scheduled("rate(5 minutes)", "cron(0 14 * * ? *)"), None, now=NOW)

    assert (len(found.times), found.unknown) == (3, ("rate(5 minutes)",))
    assert reckon_next_runs(scheduled("rate(5 minutes)"), NOW, now=NOW).unknown == ()


def test_runs_of_several_expressions_are_merged() -> None:
    both = scheduled("rate(4 hours)", "cron(0 14 * * ? *)")

    found = reckon_next_runs(both, NOW - timedelta(hours=1), now=NOW, count=4)

    assert [f"{run:%d %H}" for run in found.times] == ["02 14", "02 15", "02 19", "02 23"]


def gathered(
    *,
    main: int = 0,
    resources: tuple[ResourceState, ...] = (ResourceState("queue", "orders.fifo", "ok"),),
    runs: Runs = Runs(),  # noqa: B008 - frozen
    keys: Keys = Keys(()),  # noqa: B008 - frozen
    schedule: bool = True,
    failures: dict[str, AwsError] | None = None,
) -> Gathered:
    failures = failures or {}
    answers: dict[str, Any] = {
        "the account": PLACE,
        **{
            f"the depth of {name}": Counted(name, main if name == "orders.fifo" else 0, 0, 0)
            for name in ("orders.fifo", "orders-dlq.fifo", "orders-hold.fifo", "orders-stream-failures")
        },
        "the age of messages and stream records": {},
        "whether maintenance holds orders.fifo": Seen({}, NOW),
        "whether schedule orders-1 is on": ScheduleState(schedule, "rate(5 minutes)"),
        "whether orders-enqueuer reads the stream": None,
        "the worker's last runs": runs,
        "which keys are set": keys,
        "how AWS differs from fifo.toml": Drift(resources),
    }
    return Gathered({name: one for name, one in answers.items() if name not in failures}, failures)


OTHERS = {"the account", "the worker's last runs", "which keys are set", "how AWS differs from fifo.toml"}


def part(found: Gathered, *, others: bool) -> Gathered:
    return Gathered(
        {name: one for name, one in found.answers.items() if (name in OTHERS) == others},
        {name: one for name, one in found.failures.items() if (name in OTHERS) == others},
    )


def judged(
    found: Gathered, given: Settings | None = None, others: dict[str, Any] | None = None
) -> StatusResult:
    given = given or settings()
    numbers, beside = part(found, others=False), part(found, others=True)
    beside = Gathered({**beside.answers, **(others or {})}, beside.failures)
    asked = assessment.Asked(Project(given, Path("fifo.toml")), given.check, NOW)
    triggers = Triggers(given, (numbers["whether schedule orders-1 is on"],))
    return operation.result_of(assessment.put_together(numbers, beside, triggers, asked), now=NOW)


def message(found: Gathered, given: Settings | None = None) -> list[str]:
    texts = [problem.text for problem in judged(found, given).problems]
    return [text for text in texts if not text.startswith("the enqueuer has no")]


def test_a_missing_key_is_critical_and_says_how_to_set_it() -> None:
    result = judged(gathered(keys=Keys((Key("api_key", "/orders/api-key"), Key("other", "/o", exists=True)))))

    found = [problem for problem in result.problems if "key" in problem.text]
    assert [(one.state, one.text, one.next) for one in found] == [
        (
            "critical",
            "key api_key is missing: parameter /orders/api-key does not exist",
            "`fifo-cli keys set api_key`",
        )
    ]


def test_a_key_whose_secret_is_scheduled_for_deletion_is_not_said_to_be_missing() -> None:
    gone = Key("api_key", "secretsmanager:shop", unusable="scheduled for deletion")

    assert "key api_key cannot be read: secret shop is scheduled for deletion" in message(
        gathered(keys=Keys((gone,)))
    )


def test_drift_is_reported_by_kind_of_fault_and_long_lists_are_cut() -> None:
    resources = (
        *(ResourceState("queue", f"q{number}", "drift") for number in range(5)),
        ResourceState("role", "r", "missing"),
        ResourceState("function", "f", "foreign", reason="belongs to the pipeline 'other'"),
        ResourceState("rule", "orders-2", "surplus"),
        ResourceState("alias", "a", "ok"),
    )

    assert message(gathered(resources=resources)) == [
        "missing: role r",
        "not this pipeline's: function f",
        "not as in fifo.toml: queue q0, queue q1, queue q2 and 3 more",
    ]


CODE = (Difference("code_sha256", "old", "new"),)


@pytest.mark.parametrize(
    ("drifted", "said"),
    [
        (["function"], "the functions run other code than is here"),
        (["function", "alias"], "the functions run other code than is here"),
        (["alias"], "the functions run an older version than was deployed last"),
    ],
)
def test_drift_of_code_alone_says_what_it_means(drifted: list[Kind], said: str) -> None:
    resources = tuple(ResourceState(kind, kind[0], "drift", CODE) for kind in drifted)
    [problem] = [one for one in judged(gathered(resources=resources)).problems if "functions" in one.text]

    assert (problem.state, problem.text) == ("warning", said)
    assert problem.means


def test_drift_of_code_and_of_a_setting_are_two_problems() -> None:
    resources = (
        ResourceState("function", "f", "drift", (*CODE, Difference("memory", 128, 256))),
        ResourceState("alias", "a", "drift", CODE),
    )

    assert message(gathered(resources=resources)) == [
        "not as in fifo.toml: function f",
        "the functions run other code than is here",
    ]


def test_a_head_that_waits_is_reported_unless_the_queue_is_empty() -> None:
    runs = Runs((WorkerRun(NOW, 1, 0, 0, 1),), (Stuck("m1", "ada", NOW, error="the API answered 503"),))

    assert message(gathered(main=1, runs=runs)) == ["group ada waits for its head: the API answered 503"]
    assert message(gathered(main=0, runs=runs)) == []


def test_a_run_that_failed_as_a_whole_is_critical() -> None:
    runs = Runs((WorkerRun(NOW, error="Task timed out after 60.00 seconds"),))

    assert message(gathered(runs=runs)) == [
        "the worker's last run failed: Task timed out after 60.00 seconds"
    ]


@pytest.mark.parametrize(
    ("minutes", "silent"), [(6, False), (11, False), (19, False), (21, True), (300, True)]
)
def test_a_worker_that_should_have_run_and_did_not_is_told(minutes: int, silent: bool) -> None:
    """Due 5 minutes after its last run; a line may be 10 minutes late (Lambda Developer Guide)."""
    runs = Runs((WorkerRun(NOW - timedelta(minutes=minutes), 0, 0, 0, 0),))

    assert bool(message(gathered(main=1, runs=runs))) == silent
    assert message(gathered(main=0, runs=runs)) == []
    assert message(gathered(main=1, runs=runs, schedule=False)) == ["the worker is paused"]


def test_a_killed_dump_needs_a_look_once_its_lock_is_gone() -> None:
    at = NOW - timedelta(minutes=5)
    line = "fifo-cli dump q.jsonl --move"
    killed = Operation(at, "dump", "ada", "ops", line, "unfinished", None, None, {}, 0)
    result = judged(gathered(), others={"the history": (killed,)})

    [problem] = [one for one in result.problems if one.text.startswith("dump, begun")]
    assert f"`{line}` goes on" in problem.next
    assert (result.last_change, result.exit_code) == (killed, ExitCode.ATTENTION)


def test_what_may_not_be_seen_is_listed_and_the_rest_is_judged() -> None:
    failures = {
        name: AwsError(f"{name}: denied") for name in ("the worker's last runs", "which keys are set")
    }
    found = gathered(
        resources=(ResourceState("role", "orders-worker", "unknown", reason="iam:GetRole denied"),),
        failures=failures,
    )

    document = judged(found).document()

    assert [(one["what"], one["reason"]) for one in document["unseen"]] == [
        ("the worker's last runs", "the worker's last runs: denied"),
        ("which keys are set", "which keys are set: denied"),
        ("role orders-worker", "iam:GetRole denied"),
    ]
    assert document["keys"] is None
    assert document["verdict"]["state"] == "critical"  # the mapping that is missing is seen all the same


def test_exit_code_and_verdict_agree() -> None:
    well = gathered()
    well = Gathered({**well.answers, "whether orders-enqueuer reads the stream": _Mapping()}, {})

    assert (judged(well).state, judged(well).exit_code) == ("ok", ExitCode.OK)
    assert judged(gathered()).exit_code is ExitCode.ATTENTION


class _Mapping:
    enabled = True


def test_a_pipeline_of_which_nothing_exists_is_not_deployed(tmp_path: Path) -> None:
    project = Project(settings(), tmp_path / "fifo.toml")
    aws = Aws(AwsEndpoint(local=True, region="eu-west-1"))
    with mock_aws():
        # moto's router is made at a service's first call, and not safely by two threads at once.
        aws.client("lambda").list_functions()
        aws.client("scheduler").list_schedules()
        with pytest.raises(NotDeployedError, match=r"orders\.fifo does not exist"):
            operation.status(aws, project, now=lambda: NOW)
