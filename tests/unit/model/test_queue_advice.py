"""What is advised where the queue starts the worker: it tries by itself, and no operator can end a pause."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fifo_cli.model.advice import Snapshot, advise, advise_on_stuck
from fifo_cli.model.health import Measurements, Polling, Problem, State, TriggerState
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.settings import Settings
from fifo_cli.model.stuck_advice import Kind
from fifo_cli.model.worker_log import (
    Batch,
    Batches,
    OpenBreaker,
    PausedGroup,
    Runs,
    Stuck,
    StuckGroups,
    WatchEvent,
    WorkerRun,
    follow,
)

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def settings(trigger: str = "queue", **worker: Any) -> Settings:
    return Settings.model_validate(
        {
            "pipeline": {"name": "orders"},
            "table": {"name": "orders"},
            "api": [{"name": "shop", "url": "https://shop.test", "keys": {"api_key": "/k"}}],
            "worker": {"trigger": trigger, **worker},
        }
    )


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def numbers(visible: int = 5, worker: TriggerState = "running", **more: Any) -> Measurements:
    age, held = more.pop("age", None), more.pop("held", 0)
    return Measurements({"main": Counted("orders.fifo", visible, held, 0, age)}, worker=worker, **more)


def problems(runs: Runs, measured: Measurements | None = None, **more: Any) -> list[Problem]:
    given = more.pop("given", settings())
    return list(advise(Snapshot(given, measured or numbers(), NOW, runs=runs, **more)))


def failure(minutes: float, group: str, status: int = 503, **facts: Any) -> WatchEvent:
    until = facts.pop("until", ago(minutes) + timedelta(minutes=5))
    reason = f"HTTP {status} from shop"
    about = {"http_status": status, "reason": reason, "api": "shop", "owner": "api", **facts}
    return WatchEvent(ago(minutes), "failed", group, f"head of {group}", paused_until=until, **about)


def delivery(minutes: float, group: str) -> WatchEvent:
    return WatchEvent(ago(minutes), "delivered", group, f"a message of {group}")


def ended(minutes: float, delivered: int = 0) -> WatchEvent:
    return WatchEvent(ago(minutes), "run ended", delivered=delivered)


def stuck(*events: WatchEvent) -> Runs:
    return Runs((WorkerRun(ago(1), 1, 1, 0, 0),), follow(StuckGroups(), events).stuck, by_itself=ago(1))


BREAKER = OpenBreaker(ago(5), ago(1), NOW + timedelta(minutes=2), 2, 5, "shop", 503, "HTTP 503 from shop")


def test_an_outage_is_waited_out_and_nothing_of_a_schedule_is_said() -> None:
    [found] = problems(stuck(failure(2, "ada"), ended(2), failure(1, "bob"), ended(1)))

    assert found.text == "group ada waits for its head: HTTP 503 from shop (1 more group waits)"
    assert found.means == "shop is down: nothing is delivered meanwhile"
    assert found.next == ("wait, or have shop fixed: each group is tried again within 5m, and order is kept")


def test_a_group_that_is_paused_still_is_not_older_than_another_s_failure() -> None:
    """On a schedule a later run that did not try it would say that its cause may be over."""
    found = problems(stuck(failure(2, "ada", 401), ended(2), failure(1, "bob"), ended(1)))

    assert [one.means for one in found] == [
        "shop refuses the key: it was changed or has expired",
        "shop is down: nothing is delivered meanwhile",
    ]
    assert (
        found[0].next == "`fifo-cli keys set api_key`; each group is tried again within 5m, with the new key"
    )


def test_a_group_that_fails_alone_is_set_aside() -> None:
    before = (failure(3, "ada"), ended(3), delivery(2, "bob"), ended(2, 1))
    found = problems(stuck(*before, failure(1, "ada"), delivery(1, "bob"), ended(1, 1)))

    assert [one.next for one in found] == [
        "`fifo-cli pause worker`, `fifo-cli park --group ada` after 12:04:00 UTC and `fifo-cli resume worker`"
        " set this message aside, and its group goes on"
    ]


def test_a_group_that_the_queue_should_have_handed_out_again_is_not_counted_and_asked_for() -> None:
    before = [failure(50, "gone"), ended(50), failure(20, "late"), ended(20)]
    failing = [failure(3, "ada"), ended(3), delivery(2, "bob"), ended(2, 1)]
    again = [failure(1, "ada"), delivery(1, "bob"), ended(1, 1)]
    found = problems(stuck(*before, *failing, *again))

    assert [one.text for one in found] == [
        "group ada waits for its head and has failed for 20m: HTTP 503 from shop (1 more group waits)",
        "group gone was not tried again for 50m, though others were delivered",
    ]
    assert (found[1].state, found[1].next) == ("warning", "`fifo-cli audit` shows where its message is")
    # Nothing was delivered since: the API is down, and no turn was missed.
    for events in ([*before, failure(1, "ada"), ended(1)], [*before, delivery(30, "bob"), ended(30, 1)]):
        ordered = sorted(events, key=lambda one: one.time)
        assert not [one for one in problems(stuck(*ordered)) if "not tried again" in one.text]


def test_of_several_that_were_not_handed_out_again_the_number_is_named() -> None:
    gone = [failure(60, "a", item_key='{"id":"1"}'), ended(60), failure(50, "b"), ended(50)]
    [found] = problems(stuck(*gone, delivery(1, "bob"), ended(1, 1)))
    assert found.text == "2 groups were not tried again for 1h, though others were delivered"
    assert found.next == "`fifo-cli audit` shows where their messages are"
    [found] = problems(stuck(*gone[:2], delivery(1, "bob"), ended(1, 1)))
    assert found.next.startswith("`fifo-cli trace")
    # On a schedule a run may well not reach it: nothing says that it is gone.
    [found] = problems(stuck(*gone[:2], delivery(1, "bob"), ended(1, 1)), given=settings("schedule"))
    assert found.text.startswith("group a waits for its head")


def test_while_the_worker_is_paused_a_message_is_set_aside_as_soon_as_it_is_not_hidden() -> None:
    before = (failure(3, "ada"), ended(3), delivery(2, "bob"), ended(2, 1))
    seen: dict[str, Any] = {"until": ago(0.5)}
    runs = stuck(*before, failure(1, "ada", **seen), delivery(1, "bob"), ended(1, 1))

    found = problems(runs, numbers(worker="paused"))

    aside = "`fifo-cli park --group ada` sets this message aside, and its group goes on"
    assert aside in [one.next for one in found]


def test_a_message_that_a_function_hides_is_looked_at_in_the_log() -> None:
    """A peek would not see it."""
    [found] = problems(stuck(failure(1, "ada", 500, item_key='{"id":"7"}'), ended(1)))
    [foreign] = problems(stuck(failure(1, "ada", 500), ended(1)))

    assert found.next.endswith("""; `fifo-cli trace '{"id":"7"}'` shows its way""")
    assert foreign.next.endswith("; `fifo-cli logs worker --since 15m` shows its attempts")


def test_a_pause_that_the_api_asked_for_may_be_longer_than_the_longest_of_ours() -> None:
    [found] = problems(stuck(failure(1, "ada", 429, until=NOW + timedelta(hours=1)), ended(1)))

    assert "each group is tried again within 1h" in found.next


def test_what_the_api_takes_again_is_waited_for_as_no_drain_can_have_it() -> None:
    [found] = problems(stuck(failure(3, "ada"), ended(3), delivery(1, "bob"), ended(1, 1)))

    assert found.means == "shop answers again: other groups were delivered since this was tried"
    assert found.next == "wait: each group is tried again within 5m"


def test_while_the_worker_is_paused_a_drain_has_what_no_function_has_paused() -> None:
    runs = stuck(failure(3, "ada"), ended(3), delivery(1, "bob"), ended(1, 1))

    found = problems(runs, numbers(worker="paused"))

    assert any(
        one.next == "`fifo-cli drain --all` delivers what waits, once its pauses are over" for one in found
    )


def test_an_api_that_takes_no_more_calls_gets_a_rate() -> None:
    runs = stuck(failure(2, "ada", 429), ended(2), failure(1, "bob", 429), ended(1))

    for trigger in ("queue", "schedule"):
        [found, *_] = problems(runs, given=settings(trigger))
        assert "set [worker] max_rate, or a lower one, then `fifo-cli deploy`" in found.next


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("running", [True, False])
def test_no_word_of_a_schedule_is_in_any_advice(kind: Kind, running: bool) -> None:
    statuses = {Kind.UNAVAILABLE: 503, Kind.SERVER: 500, Kind.KEY: 401, Kind.THROTTLED: 429}
    statuses |= {Kind.REDIRECTED: 302, Kind.UNLISTED: 204, Kind.REFUSED: 418}
    one = failure(2, "ada", statuses.get(kind, 500))
    runs = replace(stuck(one, ended(2), failure(1, "bob"), ended(1)), breaker=BREAKER)

    for found in problems(runs, numbers(worker="running" if running else "paused")):
        words = " ".join(filter(None, (found.text, found.means, found.next, found.avoid)))
        for word in ("next run", "each run", "schedule", "messages_per_run", "tick"):
            assert word not in words


def test_the_end_of_a_drain_speaks_of_the_same_trigger() -> None:
    heads = stuck(failure(2, "ada"), ended(2)).stuck

    [found] = advise_on_stuck(settings(), (*heads, *stuck(failure(2, "bob")).stuck), now=NOW)
    assert "within 5m" in found.next
    [found] = advise_on_stuck(settings(), heads, now=NOW, running=False)
    assert "within" not in found.next


def test_an_open_breaker_is_said_with_its_cause_and_its_end() -> None:
    [found] = problems(replace(stuck(), breaker=BREAKER))

    assert found == Problem(
        "warning",
        "the breaker is open in up to 2 functions for 5m: shop failed 5 times in a row, last: HTTP 503",
        "wait, or have shop fixed: the functions try again by themselves",
        means="each lets one call through after its pause, the last at 12:02:00 UTC; its success closes it",
        avoid="park: the messages are good, and would lose their places",
        cause_of="messages",
    )


def test_a_call_that_was_due_is_not_announced_as_long_as_its_line_may_be_late() -> None:
    [found] = problems(replace(stuck(), breaker=replace(BREAKER, until=NOW)))

    assert found.means is not None
    assert found.means.startswith("a call was due at 12:00:00 UTC, and the log does not show yet")


@pytest.mark.parametrize("trigger", ["queue", "schedule"])
def test_a_worker_that_does_not_run_tries_nothing_by_itself(trigger: str) -> None:
    until = BREAKER.until if trigger == "queue" else None
    found = problems(
        replace(stuck(), breaker=replace(BREAKER, until=until)),
        numbers(worker="paused"),
        given=settings(trigger),
    )

    [one] = [one for one in found if "the breaker" in one.text]
    assert one.next == "have shop fixed; it is called again when the worker runs again"
    assert one.means is not None
    assert one.means.startswith("the worker does not run, and calls nothing")


def test_of_one_failure_no_row_is_said_and_of_one_function_no_last_call() -> None:
    [found] = problems(replace(stuck(), breaker=replace(BREAKER, functions=1, failures=1)))

    assert found.text == "the breaker is open for 5m: shop failed, last: HTTP 503"
    assert found.means == "no call until 12:02:00 UTC, then one; its success closes it"


def test_on_a_schedule_the_next_run_makes_the_call() -> None:
    open_ = replace(BREAKER, until=None, functions=1)

    [found] = problems(replace(stuck(), breaker=open_), given=settings("schedule"))

    assert found.text.startswith("the breaker is open for 5m: ")
    assert found.next == "wait, or have shop fixed: the next run tries again"


@pytest.mark.parametrize(("minutes", "states"), [(14, []), (15, ["warning"])])
def test_check_reports_an_open_breaker_after_the_age_that_it_waits(minutes: int, states: list[str]) -> None:
    runs = replace(stuck(), breaker=replace(BREAKER, since=ago(minutes)))

    assert [one.state for one in problems(runs, patient=True)] == states


def test_of_an_empty_queue_no_breaker_is_reported() -> None:
    assert problems(replace(stuck(), breaker=BREAKER), numbers(0)) == []


def paused(minutes: float) -> tuple[PausedGroup, ...]:
    return (PausedGroup("ada", ago(minutes), ago(60)),)


@pytest.mark.parametrize(
    ("last", "age", "enqueued", "runs", "measured", "state"),
    [
        pytest.param(16, 960, None, {}, {}, "critical", id="waits, and no batch"),
        pytest.param(14, 960, None, {}, {}, None, id="its line may come yet"),
        pytest.param(600, 60, None, {}, {}, None, id="was idle, and one has just come"),
        pytest.param(600, None, 1, {}, {"visible": 3}, None, id="was idle, just enqueued"),
        pytest.param(600, None, 1, {}, {"visible": 4}, "warning", id="just enqueued, and one was there"),
        pytest.param(600, None, 16, {}, {}, "critical", id="enqueued, and no batch since"),
        pytest.param(600, None, 700, {}, {"visible": 0}, None, id="that was delivered"),
        pytest.param(16, None, 700, {}, {}, "warning", id="was there before the last run"),
        pytest.param(14, None, 700, {}, {}, None, id="a line of a run may come yet"),
        pytest.param(16, None, 700, {}, {"held": 1}, None, id="one is in flight"),
        pytest.param(16, None, 700, {"breaker": BREAKER}, {}, None, id="the breaker is open"),
        pytest.param(16, None, 700, {"paused": paused(1)}, {}, None, id="a pause has just ended"),
        pytest.param(16, None, 700, {}, {"worker": "paused"}, None, id="visible, on purpose"),
        pytest.param(16, None, 700, {}, {"resumed_at": ago(5)}, None, id="visible, just resumed"),
        pytest.param(None, 3600, None, {}, {}, "critical", id="never ran, and waits"),
        pytest.param(None, None, None, {}, {}, None, id="nothing known"),
        pytest.param(60, 3600, None, {"paused": paused(-1)}, {}, None, id="behind a pause"),
        pytest.param(60, 3600, None, {}, {"worker": "paused"}, None, id="on purpose"),
        pytest.param(60, 3600, None, {}, {"visible": 0}, None, id="all in flight"),
        pytest.param(60, 3600, None, {}, {"resumed_at": ago(5)}, None, id="just resumed"),
    ],
)
def test_a_worker_is_silent_if_messages_wait_and_no_batch_is_handed_over(
    last: int | None,
    age: int | None,
    enqueued: int | None,
    runs: dict[str, Any],
    measured: dict[str, Any],
    state: State | None,
) -> None:
    batch = () if last is None else (WorkerRun(ago(last), 1, 1, 0, 0),)
    found = problems(
        Runs(batch, by_itself=None if last is None else ago(last), **runs),
        numbers(**{"age": age, **measured}),
        batches=Batches(() if enqueued is None else (Batch(ago(enqueued), 3),)),
    )

    assert [one.state for one in found if "has not run" in one.text] == ([state] if state else [])


def test_visible_messages_that_no_run_takes_are_a_warning_sooner_where_no_line_is_late() -> None:
    runs = Runs((WorkerRun(ago(3), 1, 1, 0, 0),), by_itself=ago(3))

    [found] = problems(runs, late=timedelta(minutes=2))

    assert found.text == "the worker has not run for 3m, though messages are visible"


def test_what_a_killed_function_had_is_said_to_be_hidden_and_until_when() -> None:
    killed = WorkerRun(ago(1), error="Task timed out after 60.00 seconds")
    [found] = problems(Runs((killed,), by_itself=ago(1)), numbers(held=12))

    assert found.means == (
        "12 messages in flight: what this function had received is hidden until 12:05:00 UTC at the latest;"
        " its order is kept"
    )
    raised = replace(killed, received=5)
    late = replace(killed, time=ago(7))
    for run, held in ((killed, 0), (raised, 12), (late, 12)):
        [found] = problems(Runs((run,), by_itself=run.time), numbers(held=held))
        assert found.means == "messages wait in the queue, in order; nothing is lost meanwhile"


def test_a_pause_that_has_just_ended_is_no_silence() -> None:
    head = Stuck("m1", "ada", ago(60), since=ago(60), paused_until=ago(2))
    runs = Runs((WorkerRun(ago(60), 1, 0, 0, 1),), (head,), by_itself=ago(60))

    assert not any("has not run" in one.text for one in problems(runs, numbers(age=3600)))


def test_what_lambda_says_of_its_polling_is_a_problem_while_the_worker_should_run() -> None:
    polling = Polling("Enabled", "PROBLEM: Function call failed")

    [found] = problems(stuck(), numbers(polling=polling))

    assert found.text == "Lambda reports of its polling of main: PROBLEM: Function call failed"
    assert not any("polling" in one.text for one in problems(stuck(), numbers(0, "paused", polling=polling)))


def test_a_worker_without_a_mapping_is_not_said_to_lack_a_schedule() -> None:
    [found] = problems(stuck(), numbers(worker="missing"))

    assert found.text == "the worker has no event source mapping: nothing starts it"


def test_a_rate_that_lets_no_call_through_yet_is_no_failure() -> None:
    given_back = Runs(tuple(WorkerRun(ago(n), 3, 0, 0, 0) for n in range(3)))
    failed = Runs(tuple(WorkerRun(ago(n), 3, 0, 0, 1) for n in range(3)))
    slow = settings(max_rate=0.01)

    assert problems(given_back, given=slow) == []
    assert [one.state for one in problems(failed, given=slow)] == ["warning"]
    assert [one.state for one in problems(given_back)] == ["warning"]


@pytest.mark.parametrize(
    ("trigger", "worker"), [("schedule", "running"), ("schedule", "paused"), ("queue", "paused")]
)
def test_a_group_that_is_hidden_for_hours_is_set_aside_after_its_pause(
    trigger: str, worker: TriggerState
) -> None:
    """Also where a schedule has taken the queue's place since: nobody can reach it before."""
    hours = NOW + timedelta(hours=3)
    before = (failure(3, "ada", until=hours), ended(3), delivery(2, "bob"), ended(2, 1))
    runs = stuck(*before, failure(1, "ada", until=hours), delivery(1, "bob"), ended(1, 1))

    found = problems(runs, numbers(worker=worker), given=settings(trigger))

    aside = "`fifo-cli park --group ada` after 15:00:00 UTC sets this message aside, and its group goes on"
    assert aside in [one.next for one in found]


def test_on_a_schedule_a_hidden_group_is_tried_after_its_pause() -> None:
    hours = NOW + timedelta(hours=3)

    [found] = problems(stuck(failure(1, "ada", until=hours), ended(1)), given=settings("schedule"))
    [refused] = problems(stuck(failure(1, "ada", 401, until=hours), ended(1)), given=settings("schedule"))

    assert found.next == (
        "wait, or have shop fixed: the first run after 15:00:00 UTC tries this group, and order is kept"
    )
    assert refused.next == "`fifo-cli keys set api_key`, then, after 15:00:00 UTC, `fifo-cli drain --count 1`"


def test_an_api_that_delivers_between_the_failures_of_two_groups_is_not_said_to_be_down() -> None:
    runs = stuck(failure(3, "ada"), ended(3), delivery(2, "bob"), ended(2, 1), failure(1, "eve"), ended(1))

    [found] = problems(runs)

    assert found.means == (
        "shop took a message between the failures of 2 groups: it fails now and then, or on these"
    )
    assert found.next.startswith("wait: each group is tried again within 5m, and order is kept; ")
    assert found.avoid == "park before these failed again: if shop is at fault, they are good"


def test_runs_are_batches() -> None:
    nothing = tuple(WorkerRun(ago(n), 3, 0, 0, 3) for n in range(3))
    failed = tuple(WorkerRun(ago(n), error="throttled", owner="aws") for n in range(2))

    assert [one.text for one in problems(Runs(nothing))] == ["the worker's last 3 batches delivered nothing"]
    assert [one.text for one in problems(Runs(failed))] == ["the worker's last 2 batches failed: throttled"]
