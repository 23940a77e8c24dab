from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.handlers import worker_run
from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.breaker import Breaker
from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.delivery import ApiDelivery
from fifo_cli.handlers.worker_run import Limits, Run
from tests.fakes import Clock, FakeSqs, silent_journal
from tests.faults import AnswerWithError, Delay, Drop, on
from tests.unit.plain_api import API, URLS, no_breaker

# The most that SQS takes as maxReceiveCount (API Reference, SetQueueAttributes).
MAX_RECEIVES = 1_000
Answer = Callable[[httpx.Request], httpx.Response]


class Bench:
    """A queue with messages, an API that answers as reported, and runs between them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sqs: Any = FakeSqs(self.clock, "main", "dlq")
        self.got: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.api = API
        self.answer: Answer = lambda request: httpx.Response(200)
        self.log: list[tuple[str, str]] = []

    def put(self, *bodies: str, group: str = "g") -> None:
        for body in bodies:
            self.sqs.send_message(
                QueueUrl="main",
                MessageBody=json.dumps(body),
                MessageGroupId=group,
                MessageDeduplicationId=f"put-{body}",
                MessageAttributes={"event_id": {"DataType": "String", "StringValue": f"event-{body}"}},
            )
        self.sqs.calls.clear()

    def run(
        self,
        *,
        count: int | None = None,
        delivery: ApiDelivery | None = None,
        breaker: Breaker | None = None,
        **limits: Any,
    ):
        delivery = delivery or self.delivery()
        made = Limits(count=count, needs=15, **limits)
        run = Run(
            self.sqs,
            URLS,
            delivery,
            made,
            journal=lambda level, message, **facts: self.log.append((level, message)),
            breaker=breaker or no_breaker(),
            clock=self.clock,
            sleep=self.clock.sleep,
        )
        return run.perform()

    def breaker(self, limit: int = 5) -> Breaker:
        return Breaker(limit, first=10, longest=300, clock=self.clock)

    def delivery(self) -> ApiDelivery:
        return ApiDelivery((self.api,), Keys(None, {}), transport=httpx.MockTransport(self._receive))

    def waiting(self, queue: str = "main") -> list[str]:
        return [json.loads(body) for body in self.sqs.bodies(queue)]

    def visible(self) -> list[str]:
        return [json.loads(m.body) for m in self.sqs.queues["main"].messages if m.visible_at <= self.clock()]

    def delivered(self) -> list[str]:
        return [body for body, _ in self.got]

    def actions(self) -> list[str]:
        return [action for action, _ in self.sqs.calls]

    def _receive(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            answer = self.answer(request)
            self.got.append((json.loads(request.content), request.headers["idempotency-key"]))
        return answer


@pytest.fixture
def bench() -> Bench:
    return Bench()


def statuses(report) -> list[str]:
    return [outcome.status for outcome in report.results]


def failing(bodies: dict[str, int], **headers: str) -> Answer:
    return lambda request: httpx.Response(
        bodies.get(json.loads(request.content), 200), headers=headers, text="no"
    )


def test_messages_are_delivered_in_order_and_deleted_one_by_one(bench):
    bench.put("1", "2", "3")
    report = bench.run()
    assert bench.got == [("1", "event-1"), ("2", "event-2"), ("3", "event-3")]
    assert statuses(report) == ["delivered"] * 3
    assert bench.waiting() == []
    assert bench.actions() == ["ReceiveMessage", *["DeleteMessage"] * 3, "ReceiveMessage"]


def test_count_takes_no_more_than_asked_from_the_queue(bench):
    bench.put("1", "2", "3")
    assert len(bench.run(count=1).results) == 1
    assert bench.sqs.calls[0][1]["MaxNumberOfMessages"] == 1
    assert bench.visible() == ["2", "3"]


def test_a_count_over_ten_is_received_in_several_calls(bench):
    bench.put(*(str(n) for n in range(25)))
    assert len(bench.run(count=23).results) == 23
    assert bench.waiting() == ["23", "24"]


def test_a_transient_failure_keeps_its_group_in_place_and_lets_others_pass(bench):
    bench.put("a1", "a2", group="a")
    bench.put("b1", group="b")
    bench.answer = failing({"a1": 503})
    report = bench.run()
    assert bench.delivered() == ["a1", "b1"]
    assert [(o.status, o.http_status) for o in report.results] == [
        ("failed", 503),
        ("skipped", None),
        ("delivered", 200),
    ]
    assert bench.visible() == ["a1", "a2"]
    assert bench.waiting("dlq") == []


@pytest.mark.parametrize("concurrency", [1, 3])
def test_what_waits_behind_a_failed_message_takes_no_other_groups_turn(bench, concurrency):
    bench.put(*(f"a{n}" for n in range(30)), group="a")
    for n in range(5):
        bench.put(f"b{n}", group=f"b{n}")
    bench.answer = failing({"a0": 503})
    report = bench.run(count=4, concurrency=concurrency)
    assert bench.delivered()[0] == "a0"
    assert sorted(bench.delivered()[1:]) == ["b0", "b1", "b2"]
    assert Counter(statuses(report)) == {"failed": 1, "delivered": 3, "skipped": len(report.results) - 4}
    assert bench.visible() == [*(f"a{n}" for n in range(30)), "b3", "b4"]


@pytest.mark.parametrize("status", [302, 408, 418, 425, 429, 500, 503])
def test_what_is_not_listed_as_permanent_is_transient(bench, status):
    bench.put("1")
    bench.answer = failing({"1": status})
    assert statuses(bench.run()) == ["failed"]
    assert bench.visible() == ["1"]


def test_everything_undelivered_is_released_tail_first(bench):
    bench.put("1", "2", "3")
    bench.answer = failing({"1": 503})
    bench.run()
    (entries,) = [r["Entries"] for a, r in bench.sqs.calls if a == "ChangeMessageVisibilityBatch"]
    assert [entry["ReceiptHandle"].split("#")[0] for entry in entries] == ["m3", "m2", "m1"]
    assert {entry["VisibilityTimeout"] for entry in entries} == {0}


def test_a_permanent_failure_is_parked_with_its_reason_and_its_group_goes_on(bench):
    bench.put("bad", "good")
    bench.answer = failing({"bad": 422})
    report = bench.run()
    assert bench.delivered() == ["bad", "good"]
    assert statuses(report) == ["parked", "delivered"]
    (parked,) = bench.sqs.queues["dlq"].messages
    texts = {name: value["StringValue"] for name, value in parked.attributes.items()}
    assert texts.pop("park_at").endswith("Z")
    assert texts == {
        "event_id": "event-bad",
        "park_reason": "HTTP 422 from api.test: no",
        "park_status": "422",
        "park_from": "worker",
    }
    assert (parked.group, parked.dedup_id) == ("g", "park-m1")
    assert bench.waiting() == []


def test_a_copy_is_in_the_dlq_before_the_message_leaves_main(bench):
    bench.put("bad")
    bench.answer = failing({"bad": 422})
    bench.run()
    assert bench.actions()[:3] == ["ReceiveMessage", "SendMessage", "DeleteMessage"]


def test_a_message_that_cannot_be_parked_stays_where_it_is(bench):
    bench.put("bad", "next")
    bench.answer = failing({"bad": 422})
    bench.sqs.rule = on("SendMessage", do=AnswerWithError("InternalError", "not now"))
    report = bench.run()
    assert statuses(report) == ["failed", "skipped"]
    assert "not now" in report.results[0].error
    assert bench.visible() == ["bad", "next"]


def test_block_keeps_a_permanent_failure_at_the_head(bench):
    bench.put("bad", "next")
    bench.api = replace(API, on_permanent="block")
    bench.answer = failing({"bad": 422})
    assert statuses(bench.run()) == ["failed", "skipped"]
    assert (bench.visible(), bench.waiting("dlq")) == (["bad", "next"], [])


def test_a_body_that_is_no_json_is_permanent(bench):
    bench.sqs.send_message(QueueUrl="main", MessageBody="{", MessageGroupId="g", MessageDeduplicationId="x")
    report = bench.run()
    assert (statuses(report), bench.got) == (["parked"], [])
    assert "not JSON" in report.results[0].error


def test_give_up_after_parks_an_old_message_that_still_fails_and_no_young_one(bench):
    bench.api = replace(API, give_up_after=60)
    bench.put("old")  # the fake's clock stands in 1970
    bench.answer = failing({"old": 503, "young": 503})
    assert statuses(bench.run()) == ["parked"]
    (parked,) = bench.sqs.queues["dlq"].messages
    assert "gave up after" in parked.attributes["park_reason"]["StringValue"]
    bench.clock.now = __import__("time").time()
    bench.put("young")
    assert statuses(bench.run()) == ["failed"]


@pytest.mark.parametrize("down", [None, httpx.ConnectError("refused")])
def test_give_up_after_parks_nothing_while_only_the_token_endpoint_fails(bench, down):
    grant = {"client_id": "i", "client_secret": "s", "client_auth": "basic"}
    auth = {"type": "oauth2", "token_url": "https://login.test/", **grant}
    bench.api = replace(API, give_up_after=60, auth=auth)
    bench.put("old")

    def answer(request: httpx.Request) -> httpx.Response:
        if down is not None:
            raise down
        return httpx.Response(500)

    report = bench.run(
        delivery=ApiDelivery((bench.api,), Keys(None, {}), transport=httpx.MockTransport(answer))
    )
    assert (statuses(report), bench.visible(), bench.waiting("dlq")) == (["failed"], ["old"], [])


def test_retry_after_is_obeyed_within_the_budget(bench):
    bench.put("1")
    replies = iter([httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(200)])
    bench.answer = lambda request: next(replies)
    before = bench.clock.now
    assert statuses(bench.run(patience=60)) == ["delivered"]
    assert bench.clock.now - before == pytest.approx(7)
    assert bench.delivered() == ["1", "1"]


def test_a_retry_after_beyond_the_budget_ends_the_run_without_another_call(bench):
    bench.put("a1", group="a")
    bench.put("b1", group="b")
    bench.answer = failing({"a1": 503, "b1": 503}, **{"Retry-After": "3600"})
    report = bench.run(patience=60)
    assert (statuses(report), bench.delivered()) == (["failed", "skipped"], ["a1"])
    assert bench.visible() == ["a1", "b1"]


def test_max_rate_spaces_the_messages(bench):
    bench.put("1", "2", "3", "4", "5")
    before = bench.clock.now
    bench.run(max_rate=0.5)
    assert bench.clock.now - before == pytest.approx(8)


class ThreadClock(threading.local):
    """A clock for each thread, which its own waits move: threads wait side by side."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("concurrency", [1, 8, 32])
@pytest.mark.parametrize("apis", [2, 3])
def test_no_second_not_even_the_first_has_more_calls_than_max_rate(bench, apis, concurrency):
    clock, called = ThreadClock(), []

    def answer(request: httpx.Request) -> httpx.Response:
        called.append(clock())
        return httpx.Response(200)

    for number in range(40):
        bench.put(f"{number}", group=f"g{number}")
    several = tuple(replace(API, url=f"https://api{number}.test/") for number in range(apis))
    made = ApiDelivery(several, Keys(None, {}), transport=httpx.MockTransport(answer))
    limits = Limits(count=None, needs=15, concurrency=concurrency, max_rate=12)
    journal, sleep = silent_journal, clock.sleep
    breaker = no_breaker()
    run = Run(bench.sqs, URLS, made, limits, journal=journal, breaker=breaker, clock=clock, sleep=sleep)
    run.perform()
    seconds = Counter(int(at - ThreadClock.now + 0.001) for at in called)
    assert sum(seconds.values()) == 40 * apis
    assert [seconds[number] for number in range(40 * apis // 12)] == [12] * (40 * apis // 12)


def test_the_time_of_a_message_is_that_of_its_call_without_the_wait_before_it(bench):
    bench.put("1", "2", "3")

    def answer(request: httpx.Request) -> httpx.Response:
        bench.clock.sleep(1)
        return httpx.Response(200)

    bench.answer = answer
    assert [outcome.elapsed_ms for outcome in bench.run(max_rate=0.1).results] == [1000] * 3


def test_what_waits_for_its_place_makes_no_call_after_the_run_broke_off(bench):
    bench.put("1", group="a")
    bench.put("1b", group="b")
    asleep = threading.Event()
    advance = bench.clock.sleep

    def wait(seconds: float) -> None:
        asleep.set()
        while ("error", "run failed") not in bench.log:
            time.sleep(0.001)
        advance(seconds)

    def break_off(request: httpx.Request) -> httpx.Response:
        asleep.wait(5)
        raise EndpointConnectionError(endpoint_url="https://ssm")

    bench.clock.sleep = wait
    bench.answer = break_off
    before = bench.clock.now
    assert statuses(bench.run(max_rate=0.01, concurrency=2)) == ["skipped", "skipped"]
    assert bench.clock.now - before < 1


def test_a_call_that_the_api_asked_to_repeat_counts_for_max_rate(bench):
    bench.put("1")
    replies = iter([httpx.Response(429, headers={"Retry-After": "1"}), httpx.Response(200)])
    bench.answer = lambda request: next(replies)
    before = bench.clock.now
    assert statuses(bench.run(max_rate=0.1)) == ["delivered"]
    assert bench.clock.now - before == pytest.approx(10)


def test_nothing_is_started_that_could_not_be_finished_in_time(bench):
    bench.put("1", "2", "3")
    end = bench.clock.now + 34

    def slow(request: httpx.Request) -> httpx.Response:
        bench.clock.sleep(10)
        return httpx.Response(200)

    bench.answer = slow
    report = bench.run(time_left=lambda: end - bench.clock())
    assert statuses(report) == ["delivered", "delivered", "skipped"]
    assert bench.visible() == ["3"]


STUCK = [f"stuck{number}" for number in range(30)]


def stuck_in_front(bench: Bench, *, behind: int = 3) -> None:
    """Put three times as many stuck groups as a run has messages in front, as runs before have left them."""
    for group in STUCK:
        bench.put(*(f"{group}-{number}" for number in range(behind)), group=group)
    bench.answer = lambda request: httpx.Response(503 if b"stuck" in request.content else 200)
    for _ in range(3):  # every one of them has been received
        bench.sqs.receive_all("main")


@pytest.mark.parametrize("concurrency", [1, 4])
def test_groups_that_work_have_at_least_half_of_the_turns_though_many_are_stuck_in_front(bench, concurrency):
    stuck_in_front(bench)
    for number in range(100):
        bench.put(f"good{number}", group=f"good{number % 40}")
    good = []
    for _ in range(4):
        before = len(bench.got)
        report = bench.run(count=10, concurrency=concurrency)
        run = bench.delivered()[before:]
        assert len(run) == 10
        good.append(sum(body.startswith("good") for body in run))
        assert report.error is None
    assert min(good) >= 5
    assert sum(good) < 40, "one run may try no stuck group, by chance"
    assert len(bench.visible()) == len(bench.waiting()), "nothing stays hidden after a run"
    assert [one for one in bench.waiting() if one.startswith("stuck")] == [
        f"{group}-{number}" for group in STUCK for number in range(3)
    ]


def test_heads_that_were_received_before_all_have_their_turn_in_the_end(bench):
    stuck_in_front(bench, behind=1)
    bench.answer = lambda request: httpx.Response(503)
    for number in range(20):
        bench.put(f"new{number}", group=f"new{number}")
    for _ in range(150):  # one in nine at each, by chance alone: not one in a million is left
        bench.run(count=10)
    assert {f"{group}-0" for group in STUCK} <= set(bench.delivered())


def test_after_a_look_at_all_of_them_those_that_work_are_delivered_first(bench):
    stuck_in_front(bench, behind=1)
    bench.put(*(f"good{number}" for number in range(10)), group="good")
    bench.sqs.receive_all("main")
    bench.run(count=10)
    assert "good0" in bench.delivered()


def test_a_drain_of_all_delivers_what_works_before_it_tries_the_others_again(bench):
    stuck_in_front(bench)
    bench.put(*(f"good{number}" for number in range(50)), group="good")
    answer: Answer = bench.answer

    def answer_later(request: httpx.Request) -> httpx.Response:
        bench.clock.sleep(0.2)
        return answer(request)

    bench.answer = answer_later
    report = bench.run()
    counts = Counter(statuses(report))
    assert (counts["delivered"], counts["failed"]) == (50, 30)
    tried = [body.startswith("good") for body in bench.delivered()]
    assert tried.index(False) >= 2
    assert sum(tried[:60]) >= 40


def test_a_drain_of_all_goes_on_when_it_has_held_as_many_as_it_may(bench, monkeypatch):
    monkeypatch.setattr("fifo_cli.handlers.worker_run._HELD_MAX", 40)
    for number in range(30):
        bench.put(*(f"g{number}-{place}" for place in range(5)), group=f"g{number}")
    bench.sqs.receive_all("main")  # as after an outage: every head was received before
    report = bench.run()
    assert (len(bench.got), bench.waiting(), report.emptied) == (150, [], True)


def test_the_search_for_new_heads_takes_no_more_than_a_third_of_a_runs_time(bench):
    for number in range(200):
        bench.put(f"old{number}", group=f"old{number}")
    bench.sqs.receive_all("main")
    end = bench.clock.now + 60
    bench.sqs.rule = on("ReceiveMessage", do=Delay(3))
    report = bench.run(count=50, time_left=lambda: end - bench.clock())
    assert bench.actions().count("ReceiveMessage") == 7, "what has 3 s each, of 20 s"
    assert Counter(statuses(report)) == {"delivered": 50}


def test_a_run_goes_on_receiving_when_what_it_found_is_delivered_and_there_is_time(bench):
    for number in range(40):
        bench.put(*(f"old{number}-{place}" for place in range(5)), group=f"old{number}")
    bench.sqs.receive_all("main")
    end = bench.clock.now + 90
    bench.sqs.rule = on("ReceiveMessage", do=Delay(3))
    bench.run(count=1_000, time_left=lambda: end - bench.clock())
    assert len(bench.got) == 200, "each receive brings ten; the search has 30 s, the run has 75"


def down(request: httpx.Request) -> httpx.Response:
    return httpx.Response(503)


def test_after_failures_of_several_groups_in_a_row_a_run_calls_no_more_and_releases_all(bench):
    bench.put(*(f"{number}" for number in range(3)), group="deep")
    for number in range(20):
        bench.put(f"g{number}", group=f"g{number}")
    bench.answer = down
    report = bench.run(breaker=bench.breaker(3))
    assert bench.delivered()[0] == "0"
    assert len(bench.delivered()) == 3
    assert report.breaker == "HTTP 503 from api.test"
    assert (report.error, report.emptied) == (None, False)
    assert Counter(statuses(report))["failed"] == 3
    assert {o.error for o in report.results if o.status == "skipped" and o.group != "deep"} == {
        "the API is not called: calls for several groups failed in a row"
    }
    assert ("warning", "breaker opened") in bench.log
    assert len(bench.visible()) == 23


def test_a_success_in_between_or_a_limit_of_zero_lets_a_run_go_on(bench):
    for number in range(9):
        bench.put(f"{number}", group=f"g{number}")
    bench.answer = lambda request: httpx.Response(200 if len(bench.got) % 3 == 2 else 503)
    assert bench.run(breaker=bench.breaker(3)).breaker is None
    assert len(bench.got) == 9
    bench.answer = down
    assert bench.run().breaker is None
    assert len(bench.got) == 9 + 6


def test_a_run_in_which_nothing_was_left_to_call_for_was_not_stopped(bench):
    for number in range(3):
        bench.put(f"{number}", group=f"g{number}")
    bench.answer = down
    report = bench.run(breaker=bench.breaker(3))
    assert (report.breaker, report.emptied) == (None, True)


def test_an_outage_costs_one_call_a_run_after_the_first_and_none_is_needed_to_end_it(bench):
    for number in range(1_000):
        bench.put(f"{number}", group=f"g{number}")
    bench.answer = down
    breaker, calls = bench.breaker(), []
    for _ in range(10):
        before = len(bench.got)
        bench.run(count=100, concurrency=4, breaker=breaker)
        calls.append(len(bench.got) - before)
        assert len(bench.visible()) == 1_000
        bench.clock.sleep(60)
    # As long as none has succeeded, two are in flight at most: the second may fail after the fifth failure.
    assert calls[0] in (5, 6)
    assert calls[1:] == [1] * 9
    bench.answer = lambda request: httpx.Response(200)
    assert statuses(bench.run(count=100, breaker=breaker)) == ["delivered"] * 100


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_groups_that_fail_at_their_first_try_do_not_keep_runs_from_groups_behind_them(
    bench, kept, concurrency
):
    for number in range(30):
        bench.put(f"stuck{number}", group=f"stuck{number}")
    for number in range(500):
        bench.put(f"good{number}", group=f"good{number % 50}")
    bench.answer = lambda request: httpx.Response(503 if b"stuck" in request.content else 200)
    breaker, good = bench.breaker(), []
    for _ in range(24):
        bench.run(count=10, concurrency=concurrency, breaker=breaker if kept else bench.breaker())
        good.append(sum(body.startswith("good") for body in bench.delivered()))
    assert good[6] > 0
    assert good[9] >= 10 * 10 // 2
    assert good[23] >= 24 * 10 // 2


def test_a_run_ends_with_its_last_message_though_other_groups_wait(bench, monkeypatch):
    monkeypatch.setattr(worker_run, "_LOOK_SECONDS", 60)
    for number in range(100):
        bench.put(str(number), group=f"{'stuck' if number < 30 else 'good'}{number}")
    bench.answer = lambda request: httpx.Response(503 if int(json.loads(request.content)) < 30 else 200)
    began = time.monotonic()
    for _ in range(3):
        bench.run(count=10, breaker=bench.breaker())
    assert time.monotonic() - began < 30


def test_a_first_drain_of_all_delivers_what_is_behind_many_groups_that_fail(bench):
    for number in range(30):
        bench.put(f"stuck{number}", group=f"stuck{number}")
    for number in range(200):
        bench.put(f"good{number}", group=f"good{number % 50}")
    bench.answer = lambda request: httpx.Response(503 if b"stuck" in request.content else 200)
    for _ in range(6):  # one ends early now and then, by chance
        bench.run(breaker=bench.breaker())
    assert sum(body.startswith("good") for body in bench.delivered()) == 200


def test_calls_that_are_in_flight_may_show_that_the_api_works_after_all(bench):
    for number in range(10):
        bench.put(f"stuck{number}" if 1 < number < 8 else f"good{number}", group=f"g{number}")
    numbers = itertools.count()
    all_called, stuck_answered = threading.Barrier(8), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        number = next(numbers)
        if 0 < number <= 8:  # the first one shows that the API works; then eight are called side by side
            all_called.wait(60)
            assert b"stuck" in request.content or stuck_answered.wait(60)
        return httpx.Response(503 if b"stuck" in request.content else 200)

    def note(level: str, message: str, **facts: Any) -> None:
        if message == "breaker opened":
            stuck_answered.set()

    delivery = ApiDelivery((API,), Keys(None, {}), transport=httpx.MockTransport(answer))
    limits = Limits(count=None, needs=15, concurrency=8)
    report = Run(bench.sqs, URLS, delivery, limits, journal=note, breaker=bench.breaker()).perform()
    delivery.close()
    assert Counter(statuses(report)) == {"delivered": 4, "failed": 6}
    assert report.breaker is None


def test_a_stop_finishes_the_message_in_hand_and_releases_the_rest(bench):
    bench.put("1", "2", "3")
    report = bench.run(stopped=lambda: len(bench.got) >= 1)
    assert statuses(report) == ["delivered", "skipped", "skipped"]
    assert bench.visible() == ["2", "3"]


def test_the_whole_batch_is_extended_heads_first_before_its_time_runs_short(bench):
    bench.put(*(str(n) for n in range(10)))

    def slow(request: httpx.Request) -> httpx.Response:
        bench.clock.sleep(9)
        return httpx.Response(200)

    bench.answer = slow
    report = bench.run()
    assert statuses(report) == ["delivered"] * 10
    extensions = [r["Entries"] for a, r in bench.sqs.calls if a == "ChangeMessageVisibilityBatch"]
    assert extensions
    for entries in extensions:
        numbers = [int(entry["ReceiptHandle"].split("#")[0][1:]) for entry in entries]
        assert numbers == sorted(numbers)
        assert all(entry["VisibilityTimeout"] > 15 for entry in entries)


def test_each_receive_has_a_name_so_that_a_retry_of_a_lost_answer_gets_the_same_messages(bench):
    bench.put(*(str(n) for n in range(25)))
    bench.run()
    receives = [request for action, request in bench.sqs.calls if action == "ReceiveMessage"]
    assert len({request["ReceiveRequestAttemptId"] for request in receives}) == len(receives) == 4


def test_a_message_whose_time_ran_out_is_not_delivered_by_us_any_more(bench):
    bench.put("1", "2")

    def stall(request: httpx.Request) -> httpx.Response:
        bench.clock.sleep(500)
        return httpx.Response(200)

    bench.answer = stall
    report = bench.run(count=2)
    assert bench.delivered() == ["1"]
    assert report.results[0].status == "delivered"
    assert "not deleted" in report.results[0].error
    assert statuses(report)[1:] == ["skipped"]
    assert bench.waiting() == ["1", "2"]


def test_a_delete_that_fails_is_reported_and_closes_the_group(bench):
    bench.put("1", "2")
    bench.sqs.rule = on("DeleteMessage", do=AnswerWithError("InternalError", "not now"))
    report = bench.run(count=2)
    assert [(o.status, bool(o.error)) for o in report.results] == [("delivered", True), ("skipped", True)]
    assert bench.delivered() == ["1"]


def test_when_sqs_cannot_be_reached_the_run_says_so_and_keeps_what_it_did(bench):
    bench.put(*(str(n) for n in range(11)))
    bench.sqs.rule = on("ReceiveMessage", nth=2, do=Drop())
    report = bench.run()
    assert statuses(report) == ["delivered"] * 10
    assert isinstance(report.error, EndpointConnectionError)
    assert ("error", "run failed") in bench.log


def test_concurrent_groups_keep_their_order_and_are_never_worked_on_twice_at_once(bench):
    for number in range(12):
        for group in "abcdef":
            bench.put(f"{group}{number}", group=group)
    busy: set[str] = set()
    clashes: list[str] = []
    guard = threading.Lock()

    def answer(request: httpx.Request) -> httpx.Response:
        group = json.loads(request.content)[0]
        with guard:
            if group in busy:
                clashes.append(group)
            busy.add(group)
        threading.Event().wait(0.001)
        with guard:
            busy.discard(group)
        return httpx.Response(200)

    delivery = ApiDelivery((API,), Keys(None, {}), transport=httpx.MockTransport(answer))
    order: dict[str, list[str]] = defaultdict(list)
    Run(
        bench.sqs,
        URLS,
        delivery,
        Limits(count=None, needs=15, concurrency=4),
        journal=silent_journal,
        breaker=no_breaker(),
        on_outcome=lambda outcome: order[outcome.group].append(outcome.message_id),
    ).perform()
    assert not clashes
    assert bench.waiting() == []
    assert all(ids == sorted(ids, key=lambda text: int(text[1:])) for ids in order.values())
    assert {group: len(ids) for group, ids in order.items()} == dict.fromkeys("abcdef", 12)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=20),
    st.dictionaries(st.integers(0, 19), st.sampled_from([503, 422]), max_size=6),
    st.integers(1, 3),
)
def test_whatever_fails_every_message_is_delivered_parked_or_still_in_its_place(
    groups, failures, concurrency
):
    bench = Bench()
    for number, group in enumerate(groups):
        bench.put(f"{number:02}", group=group)
    bench.answer = failing({f"{number:02}": status for number, status in failures.items()})
    bench.run(concurrency=concurrency)
    for group in "abc":
        numbers = [n for n, g in enumerate(groups) if g == group]
        stuck = next((i for i, n in enumerate(numbers) if failures.get(n) == 503), len(numbers))
        tried = [int(body) for body in bench.delivered() if groups[int(body)] == group]
        assert tried == numbers[: stuck + 1]
        waiting = [int(body) for body in bench.waiting() if groups[int(body)] == group]
        assert waiting == numbers[stuck:]
    assert sorted(int(body) for body in bench.waiting("dlq")) == sorted(
        int(body) for body in bench.delivered() if failures.get(int(body)) == 422
    )
    assert bench.visible() == bench.waiting()


class Coded:
    """Runs with code of the user's, for a queue with messages in groups of their own."""

    def __init__(self, bench: Bench, folder: Path, **options: Any) -> None:
        self.bench, self.folder, self.options = bench, folder, options
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def run(self, code: Callable[..., Any], **limits: Any) -> Any:
        guard = CodeGuard("m:f", Notes(self.folder), limit=30, calls_network=True)
        transport = httpx.MockTransport(self.bench._receive)
        keys = self.options.get("keys", Keys(None, {}))
        delivery = ApiDelivery((self.bench.api,), keys, code=code, guard=guard, transport=transport)
        run = Run(
            self.bench.sqs,
            URLS,
            delivery,
            Limits(count=None, needs=15, **limits),
            journal=lambda level, message, **facts: self.lines.append((level, message, facts)),
            breaker=no_breaker(),
            clock=self.bench.clock,
            sleep=self.bench.clock.sleep,
        )
        try:
            return run.perform()
        finally:
            delivery.close()

    def facts(self, word: str) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in facts.items() if name in ("owner", "what", "reason") and value}
            for _, message, facts in self.lines
            if message == word
        ]


def plain_request(body: Any, attributes: Any, keys: Any) -> httpx.Request:
    return httpx.Request("POST", API.url, json=body)


def failing_for(bad: str, deed: Callable[[], Any]) -> Callable[..., Any]:
    def code(body: Any, attributes: Any, keys: Any) -> Any:
        return deed() if body == bad else plain_request(body, attributes, keys)

    return code


def raising(error: BaseException) -> Callable[[], Any]:
    def deed() -> Any:
        raise error

    return deed


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        GeneratorExit(),
        SystemExit(3),
        KeyboardInterrupt(),
        MemoryError(),
        RecursionError(),
        OverflowError(),
        ClientError({"Error": {"Code": "AccessDenied"}}, "GetItem"),
        type("Own", (BaseException,), {})(),
        StopIteration(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_code_raises_for_one_message_parks_it_and_no_other(bench, tmp_path, error, concurrency):
    for number in range(6):
        bench.put(str(number), group=f"g{number % 3}")
    coded = Coded(bench, tmp_path)
    coded.run(failing_for("3", raising(error)), concurrency=concurrency)
    assert sorted(bench.delivered()) == ["0", "1", "2", "4", "5"]
    assert (bench.waiting(), bench.waiting("dlq")) == ([], ["3"])
    (facts,) = coded.facts("parked")
    assert facts["owner"] == "message"


@pytest.mark.parametrize("error", [httpx.ConnectError("x"), ConnectionResetError(), TimeoutError()])
def test_code_that_lacks_the_network_parks_nothing_however_long(bench, tmp_path, error):
    for number in range(6):
        bench.put(str(number), group=f"g{number % 3}")
    for _ in range(20):
        coded = Coded(bench, tmp_path)
        coded.run(raising_code(error))
        assert {facts["owner"] for facts in coded.facts("failed")} == {"api"}
    assert (len(bench.visible()), bench.waiting("dlq")) == (6, [])
    coded.run(plain_request)
    assert sorted(bench.delivered()) == [str(number) for number in range(6)]


def raising_code(error: BaseException) -> Callable[..., Any]:
    def code(body: Any, attributes: Any, keys: Any) -> Any:
        raise error

    return code


def test_an_error_that_nothing_claims_keeps_its_message_and_others_go_on(bench, tmp_path):
    bench.put("a", "a2", group="a")
    bench.put("b", group="b")

    def broken(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content) == "a":
            raise ZeroDivisionError("a defect")
        return httpx.Response(200)

    bench.answer = broken
    report = bench.run()
    assert [(one.status, one.error) for one in report.results] == [
        ("failed", "internal error: ZeroDivisionError: a defect"),
        ("skipped", "behind a message of its group that was not delivered"),
        ("delivered", None),
    ]
    assert report.error is None
    assert bench.visible() == ["a", "a2"]


class OneKey:
    """Parameter Store with one value, or an error."""

    def __init__(self, value: str | Exception) -> None:
        self.value = value

    def get_parameters(self, *, Names: list[str], WithDecryption: bool) -> dict[str, Any]:
        if isinstance(self.value, Exception):
            raise self.value
        return {"Parameters": [{"Name": "/k", "Value": self.value}]}


@pytest.mark.parametrize(
    ("value", "owner"),
    [
        ("\ufeffkey", "configuration"),
        ("ke\u2013y", "configuration"),
        ("key\n", "configuration"),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetParameters"), "configuration"),
        (ClientError({"Error": {"Code": "InvalidKeyId"}}, "GetParameters"), "configuration"),
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "GetParameters"), "aws"),
        (EndpointConnectionError(endpoint_url="http://ssm"), "aws"),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_key_that_cannot_be_used_parks_nothing_and_ends_the_run(bench, value, owner, concurrency):
    for number in range(6):
        bench.put(str(number), group=f"g{number % 3}")
    api = replace(API, headers={"Authorization": "Bearer {api_key}"}, keys={"api_key": "/k"})
    keys = Keys(OneKey(value), {"api_key": "/k"})  # type: ignore[arg-type]
    delivery = ApiDelivery((api,), keys, transport=httpx.MockTransport(bench._receive))
    lines: list[tuple[str, dict[str, Any]]] = []
    run = Run(
        bench.sqs,
        URLS,
        delivery,
        Limits(count=None, needs=15, concurrency=concurrency),
        journal=lambda level, message, **facts: lines.append((message, facts)),
        breaker=no_breaker(),
        clock=bench.clock,
        sleep=bench.clock.sleep,
    )
    report = run.perform()
    delivery.close()
    assert (bench.delivered(), bench.waiting("dlq")) == ([], [])
    assert len(bench.visible()) == 6
    (failed,) = [facts for message, facts in lines if message == "run failed"]
    assert failed["owner"] == owner
    assert report.error is not None
    if owner == "configuration":
        assert "/k" in failed["what"]


DEEDS: list[Callable[[], Any]] = [
    lambda: None,
    lambda: 7,
    lambda: httpx.Request("POST", "no url at all"),
    lambda: httpx.Request("POST", API.url, headers={"X": "a\nb"}),
    lambda: httpx.Request("POST", API.url, content=iter(["text"])),  # type: ignore[arg-type]
    *(raising(error) for error in (ValueError(), SystemExit(), asyncio.CancelledError(), GeneratorExit())),
]


@settings(deadline=None)  # threads of a busy machine
@given(data=st.data(), concurrency=st.integers(1, 4))
def test_any_mix_of_bad_code_bad_bodies_and_bad_answers_stops_no_good_message(
    tmp_path_factory, data, concurrency
):
    bench = Bench()
    folder = tmp_path_factory.getbasetemp() / "mixed-notes"
    count = data.draw(st.integers(1, 12))
    kinds = data.draw(
        st.lists(st.sampled_from(["good", "deed", "body", "status"]), min_size=count, max_size=count)
    )
    deeds = [data.draw(st.sampled_from(DEEDS)) for _ in range(count)]
    groups = [data.draw(st.sampled_from("abc")) for _ in range(count)]
    for number, (kind, group) in enumerate(zip(kinds, groups, strict=True)):
        text = data.draw(st.text(max_size=20)) if kind == "body" else json.dumps(number)
        bench.sqs.send_message(
            QueueUrl="main",
            MessageBody=text if kind != "body" or not _is_json(text) else "{",
            MessageGroupId=group,
            MessageDeduplicationId=str(number),
            MessageAttributes={},
        )

    def code(body: Any, attributes: Any, keys: Any) -> Any:
        return deeds[body]() if kinds[body] == "deed" else plain_request(body, attributes, keys)

    headers = [(b"Retry-After", data.draw(st.binary(max_size=20)).replace(b"\r", b"").replace(b"\n", b""))]
    bench.answer = lambda request: httpx.Response(
        422 if kinds[json.loads(request.content)] == "status" else 200, headers=headers
    )
    Coded(bench, folder).run(code, concurrency=concurrency)
    good = [number for number, kind in enumerate(kinds) if kind == "good"]
    got = [int(body) for body, _ in bench.got if kinds[int(body)] == "good"]
    assert sorted(got) == good
    for group in "abc":
        mine = [number for number in good if groups[number] == group]
        assert [number for number in got if groups[number] == group] == mine
    assert bench.sqs.bodies("main") == []
    assert not {json.dumps(number) for number in good} & set(bench.sqs.bodies("dlq"))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_an_outage_of_more_runs_than_any_redrive_policy_allows_parks_nothing_and_keeps_the_order():
    bench = Bench()
    for group in ("ada", "bob"):
        bench.put(*(f"{group}{number}" for number in range(2)), group=group)
    before = bench.waiting()
    statuses = (503, 429, 500, 408)
    bench.answer = lambda request: httpx.Response(statuses[len(bench.got) % len(statuses)])

    delivery = bench.delivery()
    for _ in range(MAX_RECEIVES + 1):
        bench.run(count=10, delivery=delivery)
        bench.clock.sleep(300)
        bench.sqs.calls.clear()

    assert (bench.waiting(), bench.waiting("dlq")) == (before, [])
    heads = {json.loads(m.body): m.receives for m in bench.sqs.queues["main"].messages if m.body[4:5] == "0"}
    assert len(heads) == 2
    assert min(heads.values()) > MAX_RECEIVES, "each run counts as a receive of the heads"

    bench.got.clear()
    bench.answer = lambda request: httpx.Response(200)
    bench.run()
    for group in ("ada", "bob"):
        assert [one for one in bench.delivered() if one.startswith(group)] == [f"{group}0", f"{group}1"]
    assert bench.waiting() == bench.waiting("dlq") == []
