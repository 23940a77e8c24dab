"""A queue as a target: what is sent, in which calls, and what a refusal means for those behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fifo_cli.aws.sqs import OutgoingMessage, RejectedEntry
from fifo_cli.errors import AwsError
from fifo_cli.model.message import Attribute, ReceivedMessage
from fifo_cli.model.message_json import message_bytes
from fifo_cli.operations.transfer.interfaces import Rejection
from fifo_cli.operations.transfer.queue_target import QueueTarget, as_it_is
from tests.unit.operations.fault_model import message


class Sent:
    """Messages of a queue that only notes what is sent, call by call."""

    def __init__(self, *, keeps_traces: bool = True) -> None:
        self.batches_keep_trace_headers = keeps_traces
        self.calls: list[tuple[str, list[str]]] = []
        self.refused: set[str] = set()
        self.down_at = 0

    def send(self, outgoing: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        return self._noted("batch", outgoing)

    def send_singly(self, outgoing: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        return self._noted("single", outgoing)

    def _noted(self, how: str, outgoing: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        self.calls.append((how, [one.body for one in outgoing]))
        if self.down_at and len(self.calls) >= self.down_at:
            raise AwsError("down")
        return [
            RejectedEntry(n, "no", final=True) for n, one in enumerate(outgoing) if one.body in self.refused
        ]


def target(sent: Sent) -> QueueTarget:
    return QueueTarget(sent, as_it_is("redrive"))  # type: ignore[arg-type]


def received(body: str, group: str, trace: str | None = None) -> ReceivedMessage:
    return ReceivedMessage(replace(message(body, group), trace_header=trace), f"t-{body}")


def test_a_message_goes_as_it_is_under_a_deduplication_id_of_its_own() -> None:
    attributes = {"event_id": Attribute("String", "e"), "park_reason": Attribute("String", "410")}
    one = ReceivedMessage(replace(message("m1", "g"), attributes=attributes, trace_header="Root=1"), "t")
    assert as_it_is("redrive")(one) == OutgoingMessage("m1", "g", "redrive-m1", attributes, "Root=1")
    assert as_it_is("redrive")(one).dedup_id != one.message.dedup_id


def test_where_batches_keep_trace_headers_one_call_is_enough() -> None:
    sent = Sent()
    assert target(sent).send([received("a", "g1", "Root=1"), received("b", "g2")]) == []
    assert sent.calls == [("batch", ["a", "b"])]


def test_where_batches_drop_them_a_traced_message_goes_alone_and_in_its_place() -> None:
    sent = Sent(keeps_traces=False)
    all_ = [received("a", "g"), received("b", "g", "Root=1"), received("c", "g"), received("d", "h")]
    assert target(sent).send(all_) == []
    assert sent.calls == [("batch", ["a"]), ("single", ["b"]), ("batch", ["c", "d"])]


def test_behind_a_refused_message_no_later_call_sends_of_its_group() -> None:
    sent = Sent(keeps_traces=False)
    sent.refused = {"b"}
    first, second, third, other = (
        received("a", "g"),
        received("b", "g", "Root=1"),
        received("c", "g"),
        received("d", "h"),
    )
    assert target(sent).send([first, second, third, other]) == [
        Rejection(second, "no", retry=False),
        Rejection(third, "behind a message of its group that was refused"),
    ]
    assert sent.calls[-1] == ("batch", ["d"])


def test_a_later_call_that_fails_refuses_only_its_own_messages() -> None:
    sent = Sent(keeps_traces=False)
    sent.down_at = 2
    first, second = received("a", "g"), received("b", "h", "Root=1")
    assert target(sent).send([first, second]) == [Rejection(second, "down", doubtful=True)]
    sent = Sent()
    sent.down_at = 1
    with pytest.raises(AwsError, match="down"):
        target(sent).send([first, second])


def test_a_size_counts_the_body_and_of_each_attribute_name_type_and_value() -> None:
    attributes = {"é": Attribute("String", "ü"), "b": Attribute("Binary", b"123")}
    sized = replace(message("m", body="ß"), attributes=attributes)
    assert message_bytes(sized) == 2 + (2 + 6 + 2) + (1 + 6 + 3)
