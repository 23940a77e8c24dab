"""Records on their way to main: converted, parked again or left, and nothing else stops because of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fifo_cli.aws.sqs import OutgoingMessage, RejectedEntry
from fifo_cli.errors import AwsError, UsageError
from fifo_cli.handlers.code_guard import CodeGuard, Notes
from fifo_cli.handlers.records import Rules, to_message
from fifo_cli.model.message import Attribute, Message, ReceivedMessage
from fifo_cli.operations.transfer.queue_target import QueueTarget, as_it_is
from fifo_cli.operations.transfer.record_conversion import Converter, ConvertingTarget, StoppedError, no_rules
from tests.unit.handlers.test_records import record, rules
from tests.unit.operations.fault_model import message


class Sent:
    """Messages of a queue that only notes what is sent, call by call."""

    batches_keep_trace_headers = True

    def __init__(self) -> None:
        self.calls: list[list[OutgoingMessage]] = []
        self.refused: set[str] = set()
        self.final = True
        self.down = False

    def send(self, outgoing: Sequence[OutgoingMessage]) -> list[RejectedEntry]:
        self.calls.append(list(outgoing))
        if self.down:
            raise AwsError("down")
        return [
            RejectedEntry(n, "no", final=self.final)
            for n, one in enumerate(outgoing)
            if one.group in self.refused
        ]


class Bed:
    def __init__(
        self, made: Rules | None, stopped: Callable[[], bool] = lambda: False, bytes_max: int = 1_048_576
    ) -> None:
        self.main, self.dlq = Sent(), Sent()
        self.converter = Converter(lambda look: made or no_rules(look), stopped, lambda: bytes_max)
        any_main: Any = self.main
        any_dlq: Any = self.dlq
        self.target = ConvertingTarget(
            QueueTarget(any_main, as_it_is("redrive")), QueueTarget(any_dlq, as_it_is("park")), self.converter
        )

    def send(self, *messages: Message) -> dict[str, tuple[str, bool]]:
        """Send, and return what was refused: reason, and whether its group goes on."""
        refused = self.target.send([ReceivedMessage(one, f"t-{one.message_id}") for one in messages])
        return {one.received.message.message_id: (one.reason, one.aside) for one in refused}


def _fail(item: Any) -> Any:
    raise ValueError("old reason")


def parked(number: int, image: dict[str, Any] | None = None, **changes: Any) -> Message:
    """Return what the enqueuer parks of a record, as it lies in the DLQ."""
    raw = {**record(image, sequence=str(300 + number)), "eventID": f"e{number}"}
    made: Any = to_message(raw, rules(code=_fail))
    attributes = {name: Attribute("String", text) for name, text in made.attributes.items()}
    facts = {"body": made.body, "attributes": attributes, **changes}
    return replace(message(f"m{number}", made.group), **facts)


def test_a_record_is_sent_as_the_message_that_the_enqueuer_would_make_of_it():
    bed = Bed(rules(code=lambda item: {"total": item["total"]}, group="id"))
    assert bed.send(parked(1)) == {}
    ((sent,),) = bed.main.calls
    assert (sent.body, sent.group, sent.dedup_id) == ('{"total":12.5}', "i1", "redrive-m1")
    assert {name: each.value for name, each in sent.attributes.items()} == {
        "event_id": "e1",
        "stream_sequence": "301",
        "event_name": "INSERT",
        "item_key": '{"id":"i1"}',
        "created_at": "2023-11-14T22:13:20.000Z",
    }


def test_what_fails_again_is_parked_again_once_with_the_new_reason():
    bed = Bed(rules(code=lambda item: {1, 2}))
    assert bed.send(parked(1)) == {}
    ((again,),) = bed.dlq.calls
    assert json.loads(again.body) == json.loads(parked(1).body)
    assert str(again.attributes["park_reason"].value).startswith("the body is not JSON")
    assert (bed.converter.failed, bed.converter.parked_again, bed.main.calls) == (1, 1, [])
    ((reason, aside),) = bed.send(parked(1)).values()  # it comes again in the same run
    assert aside
    assert reason.startswith("the body is not JSON")
    assert (bed.converter.failed, len(bed.dlq.calls)) == (1, 1)


def test_what_is_left_out_now_is_skipped_and_the_rest_goes_on():
    bed = Bed(rules(where="total > `100`"))
    assert bed.send(parked(1), message("m2", "other")) == {"m1": ("message.where is false", True)}
    assert [[one.dedup_id for one in call] for call in bed.main.calls] == [["redrive-m2"]]
    assert (bed.converter.skipped, bed.converter.failed) == (1, 0)


@pytest.mark.parametrize(
    "body", ['{"id":"i1"}', '{"event_name":"INSERT","keys":{"id":{"S":"i1"}}}', "no JSON", "[]"]
)
def test_what_does_not_hold_the_record_stays_with_a_hint(body):
    bed = Bed(rules())
    ((reason, aside),) = bed.send(parked(1, body=body)).values()
    assert aside
    assert "replay" in reason
    assert (bed.main.calls, bed.dlq.calls, bed.converter.failed) == ([], [], 1)


def test_a_call_holds_one_of_a_group_though_records_come_into_it_from_others():
    bed = Bed(rules(group="id"))
    bed.send(parked(1), message("m2", "i1"), message("m3", "x"))
    assert [[one.dedup_id for one in call] for call in bed.main.calls] == [
        ["redrive-m1"],
        ["redrive-m2", "redrive-m3"],
    ]


def test_what_main_refuses_for_what_it_holds_is_parked_again_with_sqs_s_reason():
    bed = Bed(rules(group="id"))
    bed.main.refused = {"i1"}
    refused = bed.send(parked(1), message("m2", "i1"), message("m3", "x"))
    assert refused == {"m2": ("behind a message of its group that was refused", False)}
    ((again,),) = bed.dlq.calls
    assert json.loads(again.body) == json.loads(parked(1).body)
    assert (again.dedup_id, again.group) == ("park-m1", "i1")
    assert again.attributes["park_reason"].value == "SQS refuses the message: no"
    assert again.attributes["park_from"].value == "enqueuer"
    assert (bed.converter.failed, bed.converter.parked_again) == (1, 1)
    assert bed.send(message("m2", "x2")) == {}


def test_what_is_too_long_for_main_is_parked_again_before_it_is_sent():
    image = {"id": {"S": "i1"}, "text": {"S": "x" * 2_000}}
    bed = Bed(rules(group="id"), bytes_max=1_500)
    assert bed.send(parked(1, image), parked(2)) == {}
    ((again,),) = bed.dlq.calls
    assert again.dedup_id == "park-m1"
    assert str(again.attributes["park_reason"].value).endswith("bytes; main takes 1500")
    assert [[one.dedup_id for one in call] for call in bed.main.calls] == [["redrive-m2"]]


def test_what_is_parked_again_keeps_its_order_whoever_refused_it():
    bed = Bed(rules(group='`"g"`', body="{id: id, total: to_number(total)}"), bytes_max=400)
    bed.main.refused = {"g"}
    images = [{"id": {"S": text}, "total": {"N": "1"}} for text in ("x", "y" * 400, "z")]
    bed.send(*(parked(n, image) for n, image in enumerate(images)))
    assert [one.dedup_id for call in bed.dlq.calls for one in call] == ["park-m0", "park-m1"]
    bed.send(parked(2, images[2]))
    assert [one.dedup_id for call in bed.dlq.calls for one in call] == ["park-m0", "park-m1", "park-m2"]


@pytest.mark.parametrize("foreign", [message("m1", "i1"), message("m1", "i1", "no JSON")])
def test_a_message_that_is_no_record_stays_where_it_is_when_main_refuses_it(foreign):
    bed = Bed(rules())
    bed.main.refused = {"i1"}
    assert bed.send(foreign) == {"m1": ("no", False)}
    assert bed.dlq.calls == []


def test_when_neither_queue_takes_a_record_it_stays_where_it_is():
    bed = Bed(rules(group="id"))
    bed.main.refused = bed.dlq.refused = {"i1"}
    assert bed.send(parked(1)) == {"m1": ("no", False)}
    assert bed.converter.failed == 0


def test_behind_a_refused_one_none_of_its_group_is_sent():
    bed = Bed(rules(group="id"))
    bed.main.refused, bed.main.final = {"i1"}, False
    refused = bed.send(parked(1), message("m2", "i1"), message("m3", "x"))
    assert refused.keys() == {"m1", "m2"}
    assert not any(aside for _, aside in refused.values())
    assert [[one.dedup_id for one in call] for call in bed.main.calls] == [["redrive-m1"], ["redrive-m3"]]


def test_when_the_dlq_does_not_take_a_record_again_it_stays_where_it_is():
    bed = Bed(rules(code=_fail))
    bed.dlq.down = True
    assert bed.send(parked(1)) == {"m1": ("down", False)}
    assert bed.converter.failed == 0


def test_code_that_cannot_be_loaded_ends_the_move_with_nothing_sent():
    bed = Bed(None)
    with pytest.raises(UsageError):
        bed.send(message("m2", "x"), parked(1))
    assert bed.main.calls == []


def test_a_stop_while_code_runs_parks_nothing():
    bed = Bed(rules(code=_fail), stopped=lambda: True)
    with pytest.raises(StoppedError):
        bed.send(parked(1))
    assert bed.dlq.calls == []


def test_code_that_does_not_return_is_left_when_the_program_is_to_end(tmp_path):
    def loop(item: Any) -> Any:
        while True:
            pass

    def load(look: Callable[[], bool]) -> Rules:
        notes = Notes(tmp_path / "notes")
        guard = CodeGuard("orders:to_message", notes, limit=60, calls_network=False, stopped=look)
        return replace(rules(code=loop), guard=guard)

    with pytest.raises(StoppedError):
        Converter(load, lambda: True).convert(parked(1))
    assert list((tmp_path / "notes").iterdir()) == []  # and it is not blamed for that
