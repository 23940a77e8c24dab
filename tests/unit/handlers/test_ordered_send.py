from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.handlers.enqueuer import checkpoint
from fifo_cli.handlers.limits import BATCH_BYTES_MAX
from fifo_cli.handlers.ordered_send import send_strictly
from fifo_cli.handlers.records import Outgoing
from tests.fakes import Clock, FakeSqs
from tests.faults import AnswerWithError, on, refusing

URLS = {"main": "main", "dlq": "dlq"}


def message(number: int, group: str, *, queue: Any = "main", size: int = 0) -> Outgoing:
    return Outgoing(queue, group, f"d{number}", f"{number}".ljust(size, " "), {}, str(1000 + number))


def fake() -> Any:
    return FakeSqs(Clock(), "main", "dlq")


def send(sqs: Any, messages: list[Outgoing], **options: Any):
    return send_strictly(cast(Any, sqs), URLS, messages, **options)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcde"), st.sampled_from(["main", "main", "dlq"]), st.integers(0, 400_000)
        ),
        max_size=40,
    )
)
def test_no_call_holds_two_of_a_group_nor_exceeds_sqs_and_order_is_kept(kinds):
    sqs = fake()
    messages = [message(n, group, queue=queue, size=size) for n, (group, queue, size) in enumerate(kinds)]
    report = send(sqs, messages)
    for _, request in sqs.calls:
        groups = [entry["MessageGroupId"] for entry in request["Entries"]]
        assert len(set(groups)) == len(groups) <= 10
        assert sum(len(entry["MessageBody"]) for entry in request["Entries"]) <= BATCH_BYTES_MAX
    assert len(report.sent) == len(messages)
    assert not report.unsent
    for queue in URLS:
        for group in "abcde":
            arrived = [m.body for m in sqs.queues[queue].messages if m.group == group]
            assert arrived == [m.body for m in messages if (m.queue, m.group) == (queue, group)]


LIMIT = 1_048_576  # SQS's, of a message and of the sum of a call


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [
        ([400_000] * 5, [2, 2, 1]),
        ([LIMIT // 2, LIMIT // 2], [2]),
        ([LIMIT // 2, LIMIT // 2 + 1], [1, 1]),
        ([LIMIT, 1], [1, 1]),
        ([LIMIT] * 3, [1, 1, 1]),
        ([100_000] * 10, [10]),
        ([105_000] * 10, [9, 1]),
        ([1] * 11, [10, 1]),
    ],
)
def test_a_call_holds_no_more_than_sqs_takes_in_one(sizes, calls):
    sqs = fake()
    report = send(sqs, [message(n, f"g{n}", size=size) for n, size in enumerate(sizes)])
    assert sorted((len(request["Entries"]) for _, request in sqs.calls), reverse=True) == calls
    for _, request in sqs.calls:
        assert sum(len(entry["MessageBody"]) for entry in request["Entries"]) <= LIMIT
    assert not report.unsent


def test_attributes_count_in_the_sum_of_a_call():
    sqs = fake()
    half = "x" * (LIMIT // 2 - len("name" + "String" + "value"))
    for extra, calls in (("", 1), ("+", 2)):
        sqs.calls.clear()
        messages = [
            Outgoing("main", f"g{n}", f"{extra}{n}", half + extra * n, {"name": "value"}, str(n))
            for n in range(2)
        ]
        assert not send(sqs, messages).unsent
        assert len(sqs.calls) == calls


def test_different_groups_share_calls():
    sqs = fake()
    send(sqs, [message(n, f"g{n % 10}") for n in range(100)])
    assert len(sqs.calls) == 10


def test_one_long_group_beside_short_ones_needs_no_more_calls_than_its_length():
    sqs = fake()
    send(sqs, [message(n, f"g{n}") for n in range(45)] + [message(n, "long") for n in range(100, 105)])
    assert len(sqs.calls) == 5


@given(st.sets(st.integers(0, 19), max_size=5), st.booleans())
def test_a_refusal_stops_its_group_and_no_other(refused, sender_fault):
    sqs = fake()
    bodies = {str(number) for number in refused}
    sqs.rule = refusing(lambda entry: entry["MessageBody"] in bodies, sender_fault=sender_fault)
    messages = [message(n, f"g{n % 4}") for n in range(20)]
    report = send(sqs, messages)
    for remainder in range(4):
        group = list(range(remainder, 20, 4))
        first = next((index for index, n in enumerate(group) if n in refused), len(group))
        arrived = [int(m.body) for m in sqs.queues["main"].messages if m.group == f"g{remainder}"]
        assert arrived == group[:first]
        assert sorted(int(m.body) for m, _ in report.unsent if m.group == f"g{remainder}") == group[first:]
    lowest = min((m.stream_sequence for m, _ in report.unsent), key=int, default=None)
    assert checkpoint(report) == ([{"itemIdentifier": lowest}] if lowest else [])


def test_the_checkpoint_is_the_lowest_number_not_the_first_text():
    sqs = fake()
    sqs.rule = refusing(lambda entry: True)
    unsent = [Outgoing("main", g, g, "b", {}, sequence) for g, sequence in (("a", "1000"), ("b", "999"))]
    assert checkpoint(send(sqs, unsent)) == [{"itemIdentifier": "999"}]


def test_an_entry_that_sqs_does_not_mention_counts_as_unsent():
    class Forgetful(FakeSqs):
        def send_message_batch(self, **request: Any) -> dict[str, Any]:
            answer = super().send_message_batch(**request)
            return {"Successful": answer["Successful"][:1]}

    report = send(Forgetful(Clock(), "main", "dlq"), [message(1, "a"), message(2, "b")])
    assert (len(report.sent), len(report.unsent)) == (1, 1)


def test_a_call_that_fails_ends_the_sending_and_says_what_was_sent():
    sqs = fake()
    sqs.rule = on(nth=2, do=AnswerWithError("RequestThrottled", "slow down"))
    report = send(sqs, [message(n, "a") for n in range(4)])
    assert [m.body for m, _ in report.sent] == ["0"]
    assert [m.body for m, _ in report.unsent] == ["1", "2", "3"]
    assert "slow down" in str(report.error)


def test_nothing_more_is_sent_when_the_time_is_up():
    sqs = fake()
    report = send(sqs, [message(n, "a") for n in range(4)], may_go_on=lambda: len(sqs.calls) < 2)
    assert [m.body for m, _ in report.sent] == ["0", "1"]
    assert [(m.body, why) for m, why in report.unsent] == [("2", "the time is up"), ("3", "the time is up")]
