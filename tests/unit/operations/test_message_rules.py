"""The user's code for many records: where it never returns, it is not asked for each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.errors import UsageError
from fifo_cli.handlers.call_thread import TimeUpError
from fifo_cli.handlers.code_guard import CodeGuard, Notes, _outcome
from fifo_cli.handlers.records import Outgoing, Rules
from fifo_cli.operations.stream.audit import Audit
from fifo_cli.operations.stream.message_rules import KnownRules, bounded, going_without, made_of
from fifo_cli.operations.stream.trace import _Trace
from tests.unit.handlers.test_records import record, rules
from tests.unit.operations.pipeline_world import START, World
from tests.unit.operations.test_audit import PIPELINE
from tests.unit.operations.test_record_conversion import Bed, parked

RECORDS = 40
LOOPS = "while True"
RAISES = "raises"
RETURNS = "returns"
LIMIT = 30.0


class InstantGuard(CodeGuard):
    """A guard for which the limit is over at once: code that would loop raises TimeUpError."""

    def _timed(self, note, work, seconds, process):
        result, error = _outcome(work)
        if isinstance(error, TimeUpError):
            raise error
        return result, error


def limited(folder: Path, deed: Callable[[int], str], calls: list[int]) -> Rules:
    """Return rules whose code does for the n-th call (from 1) what ``deed`` says."""

    def code(item: Any) -> Any:
        calls.append(len(calls) + 1)
        match deed(len(calls)):
            case "while True":
                raise TimeUpError
            case "raises":
                raise KeyError("total")
        return item

    made = rules(code=code, message_code="orders:to_message")
    guard = InstantGuard("orders:to_message", Notes(folder / "notes"), limit=LIMIT, calls_network=False)
    return bounded(Rules(made.runtime, made.code, guard))


def numbered(number: int) -> dict[str, Any]:
    raw = record({"id": {"S": f"i{number}"}})
    data = {**raw["dynamodb"], "SequenceNumber": f"{number:021}"}
    return {**raw, "eventID": f"e{number}", "dynamodb": data}


@pytest.mark.parametrize(
    ("deed", "called"),
    [
        (lambda call: LOOPS, 2),
        (lambda call: LOOPS if call > 10 else RETURNS, 12),
        (lambda call: LOOPS if call % 2 else RETURNS, 9),
        (lambda call: LOOPS if call % 5 == 0 else RETURNS, 25),
        (lambda call: LOOPS if call in (3, 9, 20, 33) else RETURNS, RECORDS),
        (lambda call: LOOPS if call in (3, 4) else RAISES, 4),
        (lambda call: RAISES, RECORDS),
        (lambda call: RETURNS, RECORDS),
    ],
    ids=["always", "from the eleventh on", "every second", "every fifth", "four", "two", "raises", "good"],
)
def test_code_that_does_not_return_is_given_up(tmp_path, deed, called):
    calls: list[int] = []
    known = KnownRules(limited(tmp_path, deed, calls))
    made = [known.made_of(numbered(number)) for number in range(RECORDS)]
    assert len(calls) == called
    assert bool(known.without_code) is (called < RECORDS)
    assert all(isinstance(one, Outgoing) for one in made)
    if called < RECORDS:
        assert {one.queue for one in made[called:] if isinstance(one, Outgoing)} == {"main"}
        said = going_without(known.without_code)
        assert said.startswith("your code is not used here ([handlers] message: orders:to_message: did not")
        assert "records it leaves out" in said


def test_what_sends_stops_instead(tmp_path):
    calls: list[int] = []
    given = limited(tmp_path, lambda call: LOOPS, calls)
    for number in range(2):
        parked = made_of(numbered(number), given)
        assert isinstance(parked, Outgoing)
        assert parked.reason == f"orders:to_message did not return within {LIMIT:g} s"
    for number in range(2, 5):
        with pytest.raises(UsageError, match="for 2 records in a row: not called any more"):
            made_of(numbered(number), given)
    assert len(calls) == 2


def test_a_redrive_of_records_stops_and_leaves_the_rest_where_it_is(tmp_path):
    calls: list[int] = []
    bed = Bed(limited(tmp_path, lambda call: LOOPS, calls))
    assert bed.send(parked(1), parked(2)) == {}
    with pytest.raises(UsageError, match="for 2 records in a row: not called any more"):
        bed.send(parked(3))
    assert (len(calls), bed.main.calls) == (2, [])
    assert [one.attributes["event_id"].value for batch in bed.dlq.calls for one in batch] == ["e1", "e2"]


def test_audit_and_trace_go_on_and_say_what_they_cannot_know(tmp_path):
    world = World()
    for _ in range(12):
        world.write(1, "a", 1, "INSERT")
    world.enqueue(wrong=True)
    calls: list[int] = []
    known = KnownRules(limited(tmp_path / "audit", lambda call: LOOPS, calls))
    with Audit(world, known, since=START, now=world.now, sleep=lambda _: None) as result:
        found = result.summary
        assert (found.records, found.missing, found.unknown, len(calls)) == (12, 0, 12, 2)
        assert any(note.startswith("your code is not used here") for note in found.notes)
    known = KnownRules(limited(tmp_path / "trace", lambda call: LOOPS, calls))
    traced = _Trace(world, PIPELINE, {"id": "i1"}, [], known, since=START, now=world.now).result()
    assert len(calls) == 4
    assert any(note.startswith("your code is not used here") for note in traced.notes)
    assert traced.events[-1].stage == "unclear"
    assert "not known without your code" in traced.events[-1].detail
