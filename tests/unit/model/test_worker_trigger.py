"""What starts the worker: the resources of either trigger, and what changing from one to the other takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from fifo_cli.model.names import FUNCTION_ROLES, PIPELINE_TAG, SCHEDULER_TAG, SWITCH_TAG, Names, Place
from fifo_cli.model.operator_policies import people_policy
from fifo_cli.model.resources import Found, Key, Resource, wanted_resources
from fifo_cli.model.role_policies import role_policy, role_trust
from fifo_cli.model.settings import Alarms, Api, Functions, Pipeline, Schedule, Settings, Table, Worker
from fifo_cli.model.trigger_switch import TriggerSwitch, find_switch, is_paused, wanted_triggers
from fifo_cli.model.worker_trigger import main_visibility_timeout, trigger_keys

NAMES = Names("orders")
PLACE = Place("123456789012", "eu-west-1")
TAGS = {PIPELINE_TAG: "orders"}
MAIN: Key = ("queue", "orders.fifo")


def settings(trigger: Any = "queue", **tables: Any) -> Settings:
    return Settings(
        pipeline=Pipeline(name="orders"),
        table=Table(name="orders"),
        api=(Api(url="https://api.example.com"),),
        worker=Worker(trigger=trigger, max_functions=7),
        **tables,
    )


def wanted(one: Settings) -> dict[Key, Resource]:
    zips = dict.fromkeys(FUNCTION_ROLES, "c2hh")
    return {each.key: each for each in wanted_resources(one, PLACE, zips, reserve_concurrency=True)}


ZONED = {"schedule": Schedule(expressions=("rate(1 minute)",), timezone="Europe/Berlin")}


def test_the_queue_starts_the_worker_and_no_schedule_is_wanted_though_fifo_toml_has_some() -> None:
    found = wanted(settings(**ZONED))
    assert trigger_keys(settings(**ZONED)) == (("event-source-mapping", "orders-worker"),)
    assert not [key for key in found if key[0] in ("rule", "schedule")]
    mapping = found["event-source-mapping", "orders-worker"]
    assert mapping.properties == {
        "queue": "arn:aws:sqs:eu-west-1:123456789012:orders.fifo",
        "function": "arn:aws:lambda:eu-west-1:123456789012:function:orders-worker:live",
        "filters": [],
        "batch_size": 10,
        "response_types": ["ReportBatchItemFailures"],
        "max_functions": 7,
        "others": [],
    }
    # The code that knows batches is live before it is made, and main hides long enough.
    assert mapping.needs == (("alias", "orders-worker:live"), MAIN)
    assert SCHEDULER_TAG not in found[MAIN].tags


def test_the_schedule_starts_it_and_no_mapping_of_main_is_wanted() -> None:
    found = wanted(settings("schedule"))
    assert trigger_keys(settings("schedule")) == (("rule", "orders-1"),)
    assert trigger_keys(settings("schedule", **ZONED)) == (("schedule", "orders-1"),)
    assert ("event-source-mapping", "orders-worker") not in found
    assert found["function", "orders-worker"].properties["reserved_concurrency"] == 1


@pytest.mark.parametrize(
    ("trigger", "timeout", "hidden"),
    [("queue", 60, 360), ("queue", 900, 5400), ("queue", 3, 45), ("schedule", 900, 45)],
)
def test_main_hides_what_the_queue_hands_over_for_six_times_the_functions_timeout(
    trigger: str, timeout: int, hidden: int
) -> None:
    one = settings(trigger, functions=Functions(timeout=timedelta(seconds=timeout)))
    assert main_visibility_timeout(one).total_seconds() == hidden
    found = wanted(one)
    assert found[MAIN].properties["visibility_timeout"] == hidden
    others = ("orders-dlq.fifo", "orders-hold.fifo", "orders-stream-failures")
    assert {found["queue", name].properties["visibility_timeout"] for name in others} == {45}
    needs = found["function", "orders-worker"].needs
    # A longer timeout than main hides is refused.
    assert (MAIN in needs) is (trigger == "queue")


def test_the_worker_that_the_queue_starts_has_no_concurrency_reserved() -> None:
    function = wanted(settings())["function", "orders-worker"]
    assert function.properties["reserved_concurrency"] is None
    accepted = function.accepts["reserved_concurrency"]
    assert [one in accepted for one in (0, 1, 6, 7, 500)] == [True, False, False, True, True]


def test_the_role_may_poll_main_and_scheduler_may_not_start_it() -> None:
    statements = {one["Sid"]: one for one in role_policy(settings(**ZONED), PLACE, "worker")["Statement"]}
    assert "sqs:GetQueueAttributes" in statements["Take"]["Action"]
    assert "Start" not in statements
    scheduled = role_policy(settings("schedule"), PLACE, "worker")["Statement"]
    assert "sqs:GetQueueAttributes" not in str(scheduled)
    assert "scheduler" not in str(role_trust(settings(**ZONED), PLACE, "worker"))
    assert "scheduler:UpdateSchedule" not in str(people_policy(settings(**ZONED), PLACE, "operator"))


def test_silence_is_no_sign_where_the_queue_starts_the_worker() -> None:
    alarms = {"alarms": Alarms(sns_topic="arn:aws:sns:eu-west-1:123456789012:oncall")}
    assert ("alarm", "orders-worker-silent") in wanted(settings("schedule", **alarms))
    assert ("alarm", "orders-worker-silent") not in wanted(settings(**alarms))


def found(*triggers: tuple[Key, bool], mark: bool = False, tags: dict[str, str] = TAGS) -> dict[Key, Found]:
    main = Found("queue", "orders.fifo", {}, {**TAGS, **({SWITCH_TAG: "since"} if mark else {})})
    others = [Found(*key, {}, tags, {"enabled": enabled}) for key, enabled in triggers]
    reading = Found("event-source-mapping", "orders-enqueuer", {}, TAGS, {"enabled": True})
    return {one.key: one for one in (main, reading, *others)}


RULE: Key = ("rule", "orders-1")
SCHEDULE: Key = ("schedule", "orders-2")
MAPPING: Key = ("event-source-mapping", "orders-worker")


def test_without_another_trigger_or_a_mark_there_is_nothing_to_change() -> None:
    assert find_switch(settings(), found((MAPPING, True))) is None
    assert find_switch(settings("schedule"), found((RULE, True), (SCHEDULE, False))) is None
    assert find_switch(settings(), found((RULE, True), tags={PIPELINE_TAG: "orders-2"})) is None
    assert find_switch(settings(), found()) is None


@pytest.mark.parametrize(("enabled", "mark"), list(product([False, True], repeat=2)))
def test_what_ran_or_was_stopped_for_the_change_is_to_run_and_what_was_paused_is_not(
    enabled: bool, mark: bool
) -> None:
    there = found((RULE, enabled), (SCHEDULE, False), mark=mark)
    switch = find_switch(settings(), there)
    old = (there[RULE], there[SCHEDULE])
    running = enabled or mark
    assert switch == TriggerSwitch("queue", old, running, False, mark)
    assert switch.waits is running
    (text,) = switch.texts(settings())
    assert "from the schedule to the queue" in text
    assert ("the worker is paused, and stays so" in text) is not running
    assert ("cut off" in text) is mark


def test_where_the_new_trigger_is_enabled_already_nothing_is_waited_for() -> None:
    switch = find_switch(settings("schedule"), found((RULE, True), (MAPPING, False), mark=True))
    assert switch is not None
    assert (switch.overlaps, switch.waits, [one.key for one in switch.old]) == (True, False, [MAPPING])
    (text,) = switch.texts(settings("schedule"))
    assert "the mapping of the queue is disabled" in text, "the queue itself is not"


def test_a_mark_alone_is_a_change_to_complete() -> None:
    switch = find_switch(settings(), found((MAPPING, True), mark=True))
    assert switch is not None
    assert (switch.old, switch.running, switch.waits) == ((), True, False)
    assert "this one completes it" in switch.texts(settings())[0]


def test_a_worker_is_paused_if_something_starts_it_and_all_of_that_is_disabled() -> None:
    assert is_paused(found((RULE, False), (MAPPING, False)), NAMES)
    assert not is_paused(found((RULE, False), (MAPPING, True)), NAMES)
    assert not is_paused(found(), NAMES)


def test_of_both_triggers_the_one_that_fifo_toml_asks_for_is_resumed_and_else_the_one_there_is() -> None:
    both = [one for key, one in found((RULE, False), (MAPPING, False)).items() if key in (RULE, MAPPING)]
    assert [one.key for one in wanted_triggers(both, settings())] == [MAPPING]
    assert [one.key for one in wanted_triggers(both, settings("schedule"))] == [RULE]
    only = [replace(one) for one in both if one.key == RULE]
    assert [one.key for one in wanted_triggers(only, settings())] == [RULE]
