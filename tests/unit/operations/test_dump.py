"""A dump by looking: what it says of messages that it could not see."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import ExitCode
from fifo_cli.model.history_events import Move
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.model.names import Names
from fifo_cli.operations.queues.dump import Dump, preview
from fifo_cli.operations.transfer.interfaces import Rejection
from fifo_cli.operations.transfer.message_files import DumpFile
from tests.fakes import Clock
from tests.unit.operations.test_browse import CountingSqs, FakeAws, fill


class LateCounts(CountingSqs):
    """Its counts are those of the list, one after the other; then they are right."""

    counted: tuple[int, ...] = ()

    def get_queue_attributes(self, **request: Any) -> dict[str, Any]:
        self.shown, self.counted = (self.counted[0], self.counted[1:]) if self.counted else (None, ())
        return super().get_queue_attributes(**request)


@pytest.mark.parametrize(
    ("there", "counted", "written", "remaining", "unseen"),
    [
        (15, (), 10, 15, 1),
        (15, (10,), 10, 15, 1),  # five came a moment ago
        (15, (0,), 10, 15, 1),
        (15, (15, 3), 10, 15, 1),
        (10, (10,), 10, 10, 0),
        (10, (0, 0), 10, 10, 0),
        (0, (), 0, 0, 0),
    ],
)
def test_a_dump_that_shows_less_than_sqs_counts_before_or_after_it_says_so(
    there: int, counted: tuple[int, ...], written: int, remaining: int, unseen: int
) -> None:
    """Of a group, SQS shows ten."""
    sqs = LateCounts(Clock(), "p.fifo")
    fill(sqs, there, 1)
    sqs.counted = counted
    aws, out = FakeAws(sqs), io.BytesIO()
    result = Dump(aws, Queue(aws, Names("p"), "main"), None, out).look()
    assert (result.written, len(out.getvalue().splitlines())) == (written, written)
    assert (result.remaining, len(result.warnings)) == (remaining, unseen)
    assert result.exit_code is (ExitCode.ATTENTION if unseen else ExitCode.OK)


@pytest.mark.parametrize(("counted", "remaining"), [((3, 3), 3), ((0, 0), 1), ((9, 9), 9)])
def test_a_preview_never_shows_more_messages_than_it_says_there_are(
    counted: tuple[int, ...], remaining: int
) -> None:
    sqs = LateCounts(Clock(), "p.fifo")
    fill(sqs, 3, 3)
    sqs.counted = counted
    seen = preview(Queue(FakeAws(sqs), Names("p"), "main"), force=True)
    assert seen.remaining == remaining
    assert len(seen.messages) == (1 if counted[0] == 0 else 3)


def test_what_is_dumped_is_noted_when_it_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is noted so, nobody looks in a queue: killed in between, a message would be in neither."""
    send = DumpFile.send

    def send_slowly(self: DumpFile, received: Sequence[ReceivedMessage]) -> list[Rejection]:
        time.sleep(0.05)
        return send(self, received)

    monkeypatch.setattr(DumpFile, "send", send_slowly)
    sqs, path, noted = CountingSqs(Clock(), "p.fifo"), tmp_path / "dump.jsonl", set[str]()
    fill(sqs, 25, 1)
    aws = FakeAws(sqs)

    def note(move: Move) -> None:
        text = path.read_text()
        assert all(one.message_id in text for one in move.messages)
        noted.update(one.message_id for one in move.messages)

    result = Dump(aws, Queue(aws, Names("p"), "main"), path, note=note).move()
    assert (result.moved, len(noted), result.error) == (25, 25, None)
