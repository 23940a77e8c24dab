"""What starts the worker: changed from the schedule to the queue and back, paused, killed, and by hand."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import BusyError, ExitCode, UsageError
from fifo_cli.events import Event, Warned
from fifo_cli.model.names import FUNCTION_ROLES, PIPELINE_TAG, SWITCH_TAG
from fifo_cli.model.settings import load
from fifo_cli.model.trigger_switch import BEGUN
from fifo_cli.operations.deploy.deploy import apply, deploy
from fifo_cli.operations.deploy.destroy import destroy
from fifo_cli.operations.deploy.pause import pause, pause_state, resume
from fifo_cli.operations.deploy.plan import plan
from fifo_cli.operations.deploy.rollback import rollback
from fifo_cli.operations.maintenance_lock import MAINTENANCE_TAG, RESTORE_TAG, maintenance
from fifo_cli.operations.monitor.check import check
from fifo_cli.operations.monitor.status import status
from fifo_cli.operations.queues.restore_order_pause import PipelinePause
from tests.cli_harness import Project, Stack
from tests.integration.fork_server import ForkServer
from tests.integration.proxy import Proxy
from tests.integration.queue_pipeline import crashes
from tests.integration.test_consistency import DIRECT, interrupted
from tests.integration.test_deploy import settings_of
from tests.integration.test_killed import killed_at_every_change, made_of

Make = Callable[..., Project]
Trigger = dict[str, Any]
QUEUE: Trigger = {"worker": {"trigger": "queue", "max_functions": 7}}
RULES: Trigger = {"schedule": {"expressions": ["rate(365 days)", "rate(364 days)"]}}
BY_OURS = ["ReportBatchItemFailures"]
ZONED: Trigger = {"schedule": {"expressions": ["rate(365 days)"], "timezone": "Europe/Berlin"}}


class Bed:
    """A pipeline whose trigger a test changes."""

    def __init__(self, made: Project, clients: Aws) -> None:
        self.made, self.aws = made, clients
        self.names = made.names

    def wants(self, trigger: Trigger) -> None:
        self.made.configure(settings_of(self.made, **trigger))

    @property
    def settings(self) -> Any:
        return load(self.made.config).settings

    def deploy(self, trigger: Trigger) -> Any:
        self.wants(trigger)
        return deploy(self.aws, load(self.made.config))

    def changes(self) -> Any:
        return plan(self.aws, load(self.made.config)).changes

    def mapping(self) -> dict[str, Any] | None:
        client = self.aws.client("lambda")
        answer: Any = client.list_event_source_mappings(EventSourceArn=self.arn())
        return next(iter(answer["EventSourceMappings"]), None)

    def arn(self) -> str:
        return f"arn:aws:sqs:us-east-1:000000000000:{self.names.main}"

    def main(self) -> str:
        return self.aws.client("sqs").get_queue_url(QueueName=self.names.main)["QueueUrl"]

    def tags(self) -> dict[str, str]:
        return self.aws.client("sqs").list_queue_tags(QueueUrl=self.main()).get("Tags", {})

    def enabled(self) -> set[str]:
        """Return what starts the worker at present."""
        rules: Any = self.aws.client("events").list_rules(NamePrefix=f"{self.names.pipeline}-")["Rules"]
        schedules: Any = self.aws.client("scheduler").list_schedules(NamePrefix=f"{self.names.pipeline}-")
        mapping = self.mapping()
        return {
            *(one["Name"] for one in rules if one["State"] == "ENABLED"),
            *(one["Name"] for one in schedules["Schedules"] if one["State"] == "ENABLED"),
            *(["queue"] if mapping and mapping["State"] == "Enabled" else []),
        }

    def there(self) -> set[str]:
        """Return all that could start it."""
        rules: Any = self.aws.client("events").list_rules(NamePrefix=f"{self.names.pipeline}-")["Rules"]
        schedules: Any = self.aws.client("scheduler").list_schedules(NamePrefix=f"{self.names.pipeline}-")
        return {
            *(one["Name"] for one in (*rules, *schedules["Schedules"])),
            *(["queue"] if self.mapping() else []),
        }

    def started_by(self, trigger: Trigger) -> set[str]:
        if "worker" in trigger:
            return {"queue"}
        return {
            self.names.schedule(number + 1) for number, _ in enumerate(trigger["schedule"]["expressions"])
        }


@pytest.fixture
def bed(project: Make, clients: Aws) -> Bed:
    return Bed(project(), clients)


def test_lambda_polls_main_and_nothing_else_starts_the_worker(bed: Bed) -> None:
    bed.deploy(QUEUE)
    mapping = bed.mapping()
    assert mapping is not None
    assert mapping["FunctionArn"].endswith(f":{bed.names.function('worker')}:live")
    assert (mapping["BatchSize"], mapping["State"]) == (10, "Enabled")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 7}
    assert not mapping.get("FilterCriteria")
    assert bed.there() == {"queue"}
    client = bed.aws.client("lambda")
    reserved: Any = client.get_function_concurrency(FunctionName=bed.names.function("worker"))
    assert "ReservedConcurrentExecutions" not in reserved
    attributes = bed.aws.client("sqs").get_queue_attributes(QueueUrl=bed.main(), AttributeNames=["All"])
    assert int(attributes["Attributes"]["VisibilityTimeout"]) == 6 * 60
    assert bed.changes() == ()


def test_how_many_functions_it_starts_is_changed_on_line(bed: Bed) -> None:
    bed.deploy(QUEUE)
    before = bed.mapping()
    bed.deploy({"worker": {"trigger": "queue", "max_functions": 20}})
    after = bed.mapping()
    assert before is not None
    assert after is not None
    assert after["ScalingConfig"] == {"MaximumConcurrency": 20}
    assert after["UUID"] == before["UUID"]


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("first", [RULES, ZONED])
def test_the_trigger_is_changed_there_and_back_and_what_is_paused_stays_so(
    bed: Bed, first: Trigger, paused: bool
) -> None:
    bed.deploy(first)
    for trigger in (QUEUE, first):
        if paused:
            pause(bed.aws, bed.settings, "worker")
        texts = bed.deploy(trigger).plan.warnings
        assert any("what starts the worker changes from" in text for text in texts)
        assert bed.there() == bed.started_by(trigger)
        assert bed.enabled() == (set() if paused else bed.started_by(trigger))
        assert SWITCH_TAG not in bed.tags()
        assert bed.changes() == ()
        resume(bed.aws, bed.settings, "worker")
        assert bed.enabled() == bed.started_by(trigger)


@crashes
@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize(("first", "then"), [(RULES, QUEUE), (QUEUE, RULES), (ZONED, QUEUE), (QUEUE, ZONED)])
def test_a_change_killed_at_every_call_is_completed_and_never_are_both_enabled(
    bed: Bed, proxy: Proxy, fork_server: ForkServer, first: Trigger, then: Trigger, paused: bool, every: bool
) -> None:
    bed.deploy(first)
    if paused:
        pause(bed.aws, bed.settings, "worker")
    bed.wants(then)
    old, new, seen = bed.started_by(first), bed.started_by(then), list[set[str]]()
    killed_at_every_change(
        fork_server,
        proxy,
        bed.made.folder,
        "deploy",
        every=every,
        look=lambda: seen.append(bed.enabled()),
    )
    assert not [one for one in seen if one & old and one & new]
    assert not paused or not any(seen)
    assert bed.there() == new
    assert bed.enabled() == (set() if paused else new)
    assert SWITCH_TAG not in bed.tags()
    assert bed.changes() == ()


class Halfway(Exception):
    """A deploy is cut off."""


def cut_off(bed: Bed, trigger: Trigger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin a change and leave it when the old trigger is disabled."""
    bed.wants(trigger)

    def die(*_: Any, **__: Any) -> None:
        raise Halfway

    with monkeypatch.context() as patch:
        patch.setattr("fifo_cli.operations.deploy.deploy.apply", die)
        with pytest.raises(Halfway):
            deploy(bed.aws, load(bed.made.config))
    assert bed.enabled() == set()
    assert SWITCH_TAG in bed.tags()


@pytest.mark.parametrize("first", [RULES, QUEUE])
def test_a_change_that_was_cut_off_is_taken_back_by_the_fifo_toml_of_before(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, first: Trigger
) -> None:
    bed.deploy(first)
    cut_off(bed, QUEUE if first is RULES else RULES, monkeypatch)
    bed.deploy(first)
    assert bed.enabled() == bed.there() == bed.started_by(first)
    assert bed.changes() == ()


def test_who_pauses_after_a_change_was_cut_off_finds_it_paused(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.deploy(RULES)
    cut_off(bed, QUEUE, monkeypatch)
    pause(bed.aws, bed.settings, "worker")
    bed.deploy(QUEUE)
    assert (bed.there(), bed.enabled()) == ({"queue"}, set())
    assert pause_state(bed.aws, bed.settings).worker == "paused"


def test_who_resumes_after_a_change_was_cut_off_has_the_old_trigger(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.deploy(RULES)
    cut_off(bed, QUEUE, monkeypatch)
    resume(bed.aws, bed.settings, "worker")
    assert bed.enabled() == bed.started_by(RULES)
    bed.deploy(QUEUE)
    assert bed.there() == bed.enabled() == {"queue"}


@pytest.mark.parametrize(("first", "then"), [(RULES, QUEUE), (QUEUE, RULES)])
def test_a_deploy_beside_one_that_changes_what_starts_the_worker_is_refused(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, first: Trigger, then: Trigger
) -> None:
    bed.deploy(first)
    refused = []

    def beside(*args: Any, **kwargs: Any) -> None:
        for trigger in (first, then, {**then, "functions": {"memory": 300}}):
            bed.wants(trigger)
            refused.append(bed.made.local("deploy", "--yes"))
        apply(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("fifo_cli.operations.deploy.deploy.apply", beside)
        bed.deploy(then)
    assert [one.code for one in refused] == [75] * 3
    assert all("another maintenance operation holds" in one.err for one in refused)
    assert not any("--force" in one.err or "nothing may start" in one.err for one in refused)
    bed.wants(then)
    assert bed.enabled() == bed.there() == bed.started_by(then)
    assert (bed.changes(), MAINTENANCE_TAG in bed.tags()) == ((), False)


@pytest.mark.parametrize("paused", [False, True])
def test_a_change_whose_plan_was_made_before_anothers_is_refused(bed: Bed, paused: bool) -> None:
    bed.deploy(RULES)
    bed.wants(QUEUE)
    project = load(bed.made.config)

    def meanwhile(_: Any) -> None:
        if paused:
            pause(bed.aws, bed.settings, "worker")
        else:
            deploy(bed.aws, project)

    with pytest.raises(BusyError, match="somebody has changed what starts the worker since the plan"):
        deploy(bed.aws, project, confirm=meanwhile)
    assert bed.enabled() == (set() if paused else {"queue"})
    assert bed.there() == bed.started_by(RULES if paused else QUEUE)
    assert not {SWITCH_TAG, MAINTENANCE_TAG} & set(bed.tags())


def test_a_deploy_that_leaves_the_trigger_alone_goes_on_beside_a_move_and_not_beside_such_a_change(
    bed: Bed,
) -> None:
    bed.deploy({**RULES, "functions": {"memory": 200}})
    bed.deploy(RULES)
    tags = Queue(bed.aws, bed.names, "main").tags
    for what, memory in (("deploy", 300), ("load", 400)):
        bed.wants({**RULES, "functions": {"memory": memory}})
        with maintenance(tags, what):
            if what == "deploy":
                with pytest.raises(BusyError, match="deploy by"):
                    deploy(bed.aws, load(bed.made.config))
                with pytest.raises(BusyError, match="deploy by"):
                    rollback(bed.aws, bed.names, to=1)
            else:
                deploy(bed.aws, load(bed.made.config))
    assert bed.changes() == ()


def test_destroy_removes_the_mapping_and_leaves_nothing(bed: Bed, clients: Aws, stack: Stack) -> None:
    bed.deploy(QUEUE)
    removed = destroy(clients, bed.settings)
    kinds = [one.kind for one in removed.changes if one.name == bed.names.function("worker")]
    assert kinds == ["event-source-mapping", "function", "role"]
    assert bed.mapping() is None
    assert made_of(stack, bed.made.name) == []


def test_an_interrupt_in_the_wait_for_the_last_run_says_that_nothing_starts_the_worker(
    bed: Bed, proxy: Proxy
) -> None:
    bed.deploy(RULES)
    bed.wants(QUEUE)
    elsewhere = proxy.endpoint.replace("127.0.0.1", "0.0.0.0")
    run = bed.made.start("deploy", "--yes", endpoint=elsewhere, env=DIRECT)
    ran, err = interrupted(run, "started for the last time")
    assert ran.code == 130, err
    said = " ".join(err.split())
    assert re.search(r"nothing may start the worker until `fifo-cli deploy.*` is run again: messages", said)
    assert bed.enabled() == set()
    bed.deploy(QUEUE)
    assert bed.enabled() == bed.there() == {"queue"}


BY_HAND: dict[str, dict[str, Any]] = {
    "batch_size": {"BatchSize": 1},
    "filters": {"FilterCriteria": {"Filters": [{"Pattern": '{"body":["x"]}'}]}},
    "max_functions": {"ScalingConfig": {"MaximumConcurrency": 2}},
    "response_types": {"FunctionResponseTypes": []},
}


def test_what_is_changed_of_the_mapping_by_hand_is_drift_and_put_right_in_place(bed: Bed) -> None:
    bed.deploy(QUEUE)
    before = bed.mapping()
    assert before is not None
    client: Any = bed.aws.client("lambda")
    by_hand = {**BY_HAND, "function": {"FunctionName": bed.names.function("enqueuer")}}
    for path, change in by_hand.items():
        client.update_event_source_mapping(UUID=before["UUID"], **change)
        (found,) = bed.changes()
        assert (found.kind, found.name) == ("event-source-mapping", bed.names.function("worker"))
        assert [one.path for one in found.diff] == [path]
        if path != "function":
            deploy(bed.aws, load(bed.made.config))
    drifted = bed.made.local("status", "-o", "json").json()["resources"]
    ours = [one for one in drifted if one["name"] == bed.names.function("worker")]
    assert [one["state"] for one in ours if one["type"] == "event-source-mapping"] == ["drift"]
    deploy(bed.aws, load(bed.made.config))
    after = bed.mapping()
    assert bed.changes() == ()
    assert after is not None
    assert after["UUID"] == before["UUID"]


def test_a_mapping_of_somebody_elses_on_main_is_warned_of(bed: Bed) -> None:
    bed.deploy(RULES)
    client: Any = bed.aws.client("lambda")
    theirs = client.create_event_source_mapping(
        EventSourceArn=bed.arn(), FunctionName=bed.names.function("enqueuer"), Enabled=False
    )
    try:
        found = plan(bed.aws, load(bed.made.config))
        (warning,) = found.warnings
        assert (
            f"{bed.names.function('enqueuer')} reads {bed.names.main} by an event source mapping" in warning
        )
        assert found.changes == ()
    finally:
        client.delete_event_source_mapping(UUID=theirs["UUID"])


def verdicts(bed: Bed) -> tuple[str, list[str]]:
    """Return the verdict that status and check have in common, and what they say is critical or a warning."""
    project = load(bed.made.config)
    shown = status(bed.aws, project)
    checked = check(bed.aws, project, project.settings.check)
    assert (shown.state, shown.problems) == (checked.state, checked.problems)
    return shown.state, [one.text for one in shown.problems]


@pytest.mark.parametrize("trigger", [RULES, QUEUE])
def test_status_and_check_agree_on_what_was_changed_by_hand(bed: Bed, trigger: Trigger) -> None:
    bed.deploy(trigger)
    assert verdicts(bed) == ("ok", [])
    dlq = {"deadLetterTargetArn": bed.arn().replace(".fifo", "-dlq.fifo"), "maxReceiveCount": 3}
    by_hand = {"RedrivePolicy": json.dumps(dlq), "MessageRetentionPeriod": "3600"}
    bed.aws.client("sqs").set_queue_attributes(QueueUrl=bed.main(), Attributes=by_hand)  # type: ignore[arg-type]
    client: Any = bed.aws.client("lambda")
    enqueuer = bed.names.function("enqueuer")
    client.create_event_source_mapping(EventSourceArn=bed.arn(), FunctionName=enqueuer, Enabled=False)

    state, texts = verdicts(bed)

    assert state == "critical"
    assert (
        f"queue {bed.names.main} has a redrive policy of maxReceiveCount 3, where fifo.toml has none" in texts
    )
    assert any("keeps messages for 1h only" in one for one in texts)
    if trigger is RULES:
        [foreign] = [one for one in texts if "not this pipeline's" in one]
        assert f"function:{enqueuer}" in foreign


def publish_theirs(bed: Bed, function: str) -> str:
    """Publish a version by hand whose code answers nothing, which Lambda takes for a success."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as files:
        files.writestr("fifo_cli/handlers/worker.py", "def handler(event, context): pass")
    client = bed.aws.client("lambda")
    return client.update_function_code(FunctionName=function, ZipFile=packed.getvalue(), Publish=True)[
        "Version"
    ]


def test_code_that_no_deploy_published_is_critical_behind_the_queue_alone(bed: Bed) -> None:
    bed.deploy(QUEUE)
    client, function = bed.aws.client("lambda"), bed.names.function("worker")
    [ours] = [client.get_alias(FunctionName=function, Name="live")["FunctionVersion"]]
    said = f"alias {function}:live is at code that no deploy published for batches of the queue"
    for version, loses in ((publish_theirs(bed, function), True), ("$LATEST", True), (ours, False)):
        client.update_alias(FunctionName=function, Name="live", FunctionVersion=version)
        state, texts = verdicts(bed)
        assert (state, said in texts) == (("critical", True) if loses else ("warning", False)), version
    client.update_alias(FunctionName=function, Name="live", FunctionVersion="$LATEST")
    deploy(bed.aws, load(bed.made.config))
    assert verdicts(bed) == ("ok", [])
    # The same code unpublished is drift that loses nothing.
    client.update_alias(FunctionName=function, Name="live", FunctionVersion="$LATEST")
    assert verdicts(bed) == ("warning", [f"not as in fifo.toml: alias {function}:live"])
    bed.deploy(RULES)
    client.update_alias(FunctionName=function, Name="live", FunctionVersion=publish_theirs(bed, function))
    assert verdicts(bed)[0] == "warning"


def test_a_schedule_that_is_disabled_beside_another_is_named_and_resumed(bed: Bed) -> None:
    bed.deploy(RULES)
    first, second = (bed.names.schedule(number) for number in (1, 2))
    bed.aws.client("events").disable_rule(Name=second)

    said = f"1 of 2 schedules is disabled: {second}"
    assert verdicts(bed) == ("warning", [said])
    found = plan(bed.aws, load(bed.made.config))
    assert found.changes == ()
    assert [one.startswith(said) for one in found.warnings] == [True]
    shown = bed.made.local("status", "-o", "json").json()["schedule"]
    assert shown["expressions"] == RULES["schedule"]["expressions"]
    assert bed.enabled() == {first}
    resume(bed.aws, bed.settings, "worker")
    assert verdicts(bed) == ("ok", [])


@pytest.mark.parametrize("first", [RULES, QUEUE])
def test_a_change_that_was_cut_off_is_said_to_be_no_pause(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, first: Trigger
) -> None:
    bed.deploy(first)
    cut_off(bed, QUEUE if first is RULES else RULES, monkeypatch)

    state, texts = verdicts(bed)

    assert state == "warning"
    assert f"{BEGUN}: nothing starts it" in texts
    assert not any("is paused" in one or "still starts the worker" in one for one in texts)
    # Who pauses it now means it.
    pause(bed.aws, bed.settings, "worker")
    assert "the worker is paused" in verdicts(bed)[1]


@pytest.mark.parametrize("paused", [False, True])
def test_a_mapping_to_the_worker_that_was_made_by_hand_beside_the_schedule_is_drift(
    bed: Bed, paused: bool
) -> None:
    bed.deploy(RULES)
    function = bed.names.function("worker")
    client: Any = bed.aws.client("lambda")
    client.create_event_source_mapping(
        EventSourceArn=bed.arn(), FunctionName=f"{function}:live", FunctionResponseTypes=BY_OURS
    )
    if paused:
        assert pause(bed.aws, bed.settings, "worker").worker == "paused"
        assert bed.enabled() == set(), "also what was made by hand"

    state, texts = verdicts(bed)
    assert state == "warning"
    assert f"not as in fifo.toml: event-source-mapping {function}" in texts
    checked = bed.made.local("plan", "--check", "-o", "json")
    assert checked.code == 1
    [change] = checked.json()["changes"]
    assert (change["action"], change["type"], change["name"]) == ("delete", "event-source-mapping", function)
    deploy(bed.aws, load(bed.made.config))
    assert bed.mapping() is None
    assert bed.enabled() == (set() if paused else bed.started_by(RULES))
    assert bed.changes() == ()


@contextmanager
def rule_of_others(bed: Bed, number: int) -> Iterator[str]:
    """Have somebody else's rule start the worker."""
    name, events = bed.names.schedule(number), bed.aws.client("events")
    function: Any = bed.aws.client("lambda").get_alias(FunctionName=bed.names.function("worker"), Name="live")
    events.put_rule(Name=name, ScheduleExpression="rate(365 days)")
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": function["AliasArn"]}])
    try:
        yield name
    finally:
        events.remove_targets(Rule=name, Ids=["1"])
        events.delete_rule(Name=name)


@pytest.mark.parametrize(("trigger", "number"), [(QUEUE, 1), (RULES, 9), (ZONED, 9)])
def test_a_rule_of_somebody_elses_that_starts_the_worker_is_named_by_all_that_rely_on_a_pause(
    bed: Bed, trigger: Trigger, number: int
) -> None:
    bed.deploy(trigger)
    with rule_of_others(bed, number) as rule:
        said = f"rule {rule} starts {bed.names.function('worker')}, and is not this pipeline's"
        step = f"`aws events disable-rule --name {rule}"
        assert verdicts(bed) == ("warning", [said])
        found = plan(bed.aws, load(bed.made.config))
        assert found.changes == ()
        [warning] = found.warnings
        assert warning.startswith(f"{said}: deploy leaves it alone; {step}")
        order = PipelinePause(bed.aws, bed.settings)
        with pytest.raises(UsageError, match="no pause stops it"):
            order.running()

        heard: list[Event] = []
        state = pause(bed.aws, bed.settings, "worker", listener=heard.append)

        assert (state.worker, state.exit_code) == ("running", ExitCode.ATTENTION)
        assert any(
            isinstance(one, Warned) and one.text.startswith(said) and step in one.text for one in heard
        )
        assert bed.enabled() == {rule}
        verdict, texts = verdicts(bed)
        assert (verdict, texts) == ("critical", [said, "the worker is paused"])
        with pytest.raises(UsageError, match="no pause stops it"):
            order.pause(lambda: False)
        bed.aws.client("events").disable_rule(Name=rule)
        assert pause(bed.aws, bed.settings, "worker").exit_code is ExitCode.OK
        assert verdicts(bed) == ("warning", ["the worker is paused"])
        assert order.running() == {"enqueuer"}
    resume(bed.aws, bed.settings, "worker")
    assert verdicts(bed) == ("ok", [])


@pytest.mark.parametrize("trigger", [RULES, QUEUE])
def test_a_function_that_lambda_keeps_from_running_is_named_by_plan_deploy_and_resume(
    bed: Bed, trigger: Trigger
) -> None:
    bed.deploy(trigger)
    client = bed.aws.client("lambda")
    worker, enqueuer = bed.names.function("worker"), bed.names.function("enqueuer")
    for name in (worker, enqueuer):
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)

    found = plan(bed.aws, load(bed.made.config))
    heard: list[Event] = []
    state = resume(bed.aws, bed.settings, listener=heard.append)

    assert found.changes == ()
    for role, name in (("worker", worker), ("enqueuer", enqueuer)):
        said = f"the {role} is stopped: its reserved concurrency is 0, and"
        step = f"`aws lambda delete-function-concurrency --function-name {name}"
        assert [step in one for one in found.warnings if one.startswith(f"{said} deploy leaves it so")] == [
            True
        ]
        texts = [one.text for one in heard if isinstance(one, Warned)]
        assert [step in one for one in texts if one.startswith(f"{said} resume leaves it so")] == [True]
    assert (state.worker, state.enqueuer, state.exit_code) == ("paused", "paused", ExitCode.ATTENTION)
    for name in (worker, enqueuer):
        client.delete_function_concurrency(FunctionName=name)
    deploy(bed.aws, load(bed.made.config))
    assert plan(bed.aws, load(bed.made.config)).warnings == ()
    again = resume(bed.aws, bed.settings)
    assert (again.worker, again.enqueuer, again.exit_code) == ("running", "running", ExitCode.OK)


@pytest.mark.parametrize(
    ("deployed", "edited", "running"),
    [(RULES, QUEUE, True), (QUEUE, RULES, False), (RULES, ZONED, False), (ZONED, QUEUE, True)],
)
def test_a_trigger_that_is_not_deployed_yet_is_drift_and_what_runs_is_shown(
    bed: Bed, deployed: Trigger, edited: Trigger, running: bool
) -> None:
    bed.deploy(deployed)
    if not running:
        pause(bed.aws, bed.settings, "worker")
    bed.wants(edited)

    state, texts = verdicts(bed)

    assert state == "warning"
    shown = status(bed.aws, load(bed.made.config))
    assert shown.enabled is running
    assert shown.settings.worker.by_queue == (deployed is QUEUE)
    if deployed is not QUEUE:
        assert shown.settings.schedule.expressions == tuple(deployed["schedule"]["expressions"])
    assert any("still starts the worker" in one for one in texts) == (QUEUE in (deployed, edited))
    assert ("the worker is paused" in texts) == (not running)


def test_what_starts_it_is_not_changed_while_an_in_order_redrive_is_unfinished(bed: Bed) -> None:
    bed.deploy(RULES)
    bed.aws.client("sqs").tag_queue(
        QueueUrl=bed.main(), Tags={RESTORE_TAG: "merge worker=running since x", PIPELINE_TAG: bed.made.name}
    )
    bed.wants(QUEUE)
    with pytest.raises(UsageError, match="what starts the worker cannot be changed now"):
        deploy(bed.aws, load(bed.made.config))
    assert bed.enabled() == bed.started_by(RULES)


def test_a_rollback_never_puts_code_that_knows_no_batches_behind_the_queue(bed: Bed) -> None:
    bed.deploy(RULES)
    client = bed.aws.client("lambda")
    functions = [bed.names.function(role) for role in FUNCTION_ROLES]
    for name in functions:  # a version as an earlier program published it
        client.update_function_configuration(FunctionName=name, MemorySize=300)
        client.publish_version(FunctionName=name)
    bed.deploy(QUEUE)
    live = client.get_alias(FunctionName=functions[1], Name="live")["FunctionVersion"]
    with pytest.raises(UsageError, match=r"version 2 of .* is not known to take the batches") as refused:
        rollback(bed.aws, bed.names, to=2)
    assert 'write [worker] trigger = "schedule"' in str(refused.value.hint)
    assert client.get_alias(FunctionName=functions[1], Name="live")["FunctionVersion"] == live
    # What knows batches may be live, though it was deployed with the schedule: the queue goes on.
    heard: list[Any] = []
    rollback(bed.aws, bed.names, to=1, dry_run=True, listener=heard.append)
    assert [one.text.endswith(": the queue") for one in heard] == [True], "the version was the schedule's"
    rollback(bed.aws, bed.names, to=1)
    assert bed.enabled() == {"queue"}
    bed.deploy(RULES)
    rollback(bed.aws, bed.names, to=2)
    # And the deploy that lets the queue start it moves to the new code first.
    bed.deploy(QUEUE)
    assert client.get_alias(FunctionName=functions[1], Name="live")["FunctionVersion"] != "2"
