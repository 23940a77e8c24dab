"""An entry of a batch call is done only if the answer says so, whoever asks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.handlers.batch_answer import NOT_CONFIRMED, EntryError, read_batch
from fifo_cli.handlers.ordered_send import send_strictly
from fifo_cli.handlers.records import Outgoing
from fifo_cli.handlers.visibility import MainQueue
from tests.batch_answers import ENTRY, NOT_DONE, PROVEN, REFUSED, UNPROVEN
from tests.fakes import Clock, FakeSqs

GOOD = {"Successful": [{"Id": "0"}, {"Id": "1"}, {"Id": "2"}], "Failed": []}
spoilt = pytest.mark.parametrize("kind", NOT_DONE)


class Spoiling(FakeSqs):
    """It does what it is asked for, and answers the calls of one kind as the test wants it."""

    def __init__(self, action: str, kind: str, clock: Clock | None = None) -> None:
        super().__init__(clock or Clock(), "main", "dlq")
        self.action, self.kind = action, kind

    def _spoilt(self, action: str, answer: dict[str, Any]) -> dict[str, Any]:
        return NOT_DONE[self.kind](answer) if action == self.action else answer

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        return self._spoilt("send", super().send_message_batch(**request))

    def change_message_visibility_batch(self, **request: Any) -> dict[str, Any]:
        return self._spoilt("visibility", super().change_message_visibility_batch(**request))


@spoilt
def test_what_the_answer_does_not_name_once_as_successful_is_not_done(kind):
    read = read_batch(NOT_DONE[kind](GOOD), ["0", "1", "2"])
    assert (set(read.done), set(read.failed)) == ({"0", "2"}, {ENTRY})
    assert read.failed[ENTRY].refused is (kind in PROVEN)
    if kind in UNPROVEN:
        assert read.failed[ENTRY] == NOT_CONFIRMED


def test_what_sqs_said_is_the_reason():
    read = read_batch({"Failed": [REFUSED, {"Id": "2"}]}, ["1", "2"])
    assert read.failed == {
        "1": EntryError("InternalError: no", "InternalError", "no"),
        "2": EntryError("no code", "no code"),
    }


entries = st.lists(
    st.none() | st.fixed_dictionaries({}, optional={"Id": st.sampled_from(["0", "1", "2", "3", "x", ""])})
)


@given(st.fixed_dictionaries({}, optional={"Successful": st.none() | entries, "Failed": st.none() | entries}))
def test_every_entry_of_a_call_is_done_or_failed_whatever_the_answer(answer):
    ids = ["0", "1", "2"]
    read = read_batch(answer, ids)
    assert sorted((*read.done, *read.failed)) == ids
    named = [
        one["Id"]
        for name in ("Successful", "Failed")
        for one in answer.get(name) or []
        if one and "Id" in one
    ]
    for one in read.done:
        assert named.count(one) == 1
        assert {"Id": one} in answer["Successful"]


@spoilt
def test_a_message_whose_extension_is_not_confirmed_is_not_delivered(kind):
    clock = Clock()
    sqs = Spoiling("visibility", kind, clock)
    for n in range(3):
        sqs.send_message(
            QueueUrl="main", MessageBody=f"{n}", MessageGroupId=f"g{n}", MessageDeduplicationId=f"{n}"
        )
    queue = MainQueue(sqs, "main", needs=10, clock=clock)  # type: ignore[arg-type]
    received = queue.receive(10)
    clock.sleep(35)  # less is left than a delivery needs
    assert [queue.keep_hidden(message) for message in received] == [True, False, True]
    # What was not confirmed is nobody's to extend or release; its own time brings it back.
    queue.release()
    assert [entry["ReceiptHandle"] for entry in sqs.calls[-1][1]["Entries"]] == ["m3#1", "m1#1"]


@spoilt
def test_a_release_that_is_not_confirmed_is_reported(kind):
    sqs = Spoiling("visibility", kind)
    for n in range(3):
        sqs.send_message(
            QueueUrl="main", MessageBody=f"{n}", MessageGroupId=f"g{n}", MessageDeduplicationId=f"{n}"
        )
    queue = MainQueue(sqs, "main", needs=10)  # type: ignore[arg-type]
    queue.receive(10)
    assert len(queue.release()) == 1


@spoilt
def test_a_record_whose_sending_is_not_confirmed_is_unsent_and_so_is_its_group(kind):
    sqs: Any = Spoiling("send", kind)
    messages = [Outgoing("main", f"g{n % 3}", f"d{n}", f"{n}", {}, f"{n}") for n in range(6)]
    report = send_strictly(sqs, {"main": "main"}, messages)
    # Every answer is spoilt: in the first call "1" is group g1's.
    assert "1" not in {message.body for message, _ in report.sent}
    assert {message.body for message, _ in report.unsent} >= {"1", "4"}
    assert report.error is None
    assert len(report.sent) + len(report.unsent) == 6


def test_an_answer_without_message_id_and_number_is_still_a_yes():
    class Terse(FakeSqs):
        def send_message_batch(self, **request: Any) -> dict[str, Any]:
            answer = super().send_message_batch(**request)
            return {"Successful": [{"Id": one["Id"]} for one in answer["Successful"]]}

    sqs: Any = Terse(Clock(), "main")
    report = send_strictly(sqs, {"main": "main"}, [Outgoing("main", "g", "d", "b", {}, "1")])
    assert [(message.body, message_id) for message, message_id in report.sent] == [("b", "")]
    assert (report.numbers, report.unsent) == ({}, [])


@pytest.mark.parametrize("kind", UNPROVEN)
def test_a_doubtful_entry_is_not_taken_for_a_message_that_sqs_can_never_take(kind):
    """It is not sent to the DLQ in place of what main may have."""
    sqs: Any = Spoiling("send", kind)
    parked = Outgoing("dlq", "g1", "p", "parked", {}, "1")
    messages = [
        Outgoing("main", f"g{n}", f"d{n}", f"{n}", {}, f"{n}", instead=lambda reason: parked)
        for n in range(3)
    ]
    send_strictly(sqs, {"main": "main", "dlq": "dlq"}, messages)
    assert sqs.bodies("dlq") == []
