from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.errors import BusyError, FifoError, UsageError
from fifo_cli.operations.stream.replay_store import (
    ReplayRecord,
    ReplayStore,
    Sums,
    identity,
    open_checkpoint,
    temporary_checkpoint,
)
from tests.unit.operations.simulated_stream import record

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def entry(number: int, *, time: int = 0) -> ReplayRecord:
    return ReplayRecord(f"e{number}", f"{number:030}", time or number, record(number))


@pytest.fixture
def checkpoint() -> Iterator[ReplayStore]:
    with temporary_checkpoint() as made:
        yield made


def waiting(checkpoint: ReplayStore) -> list[str]:
    return [one["eventID"] for one in checkpoint.waiting()]


def test_records_come_in_the_order_of_their_time_and_then_of_their_coming(checkpoint):
    checkpoint.add([entry(1, time=30), entry(2, time=10)])
    checkpoint.add([entry(3, time=20), entry(4, time=10)])
    assert waiting(checkpoint) == ["e2", "e4", "e3", "e1"]
    assert checkpoint.bounds() == (f"{2:030}", f"{1:030}")


def test_a_record_that_comes_twice_is_there_once(checkpoint):
    checkpoint.add([entry(1), entry(2), entry(1)])
    checkpoint.add([entry(2), entry(3)])
    assert waiting(checkpoint) == ["e1", "e2", "e3"]


def test_records_come_as_lambda_hands_them_out(checkpoint):
    raw = record(1, data={"B": b"\xff\x00"}, many={"BS": [b"a"]})
    checkpoint.add([ReplayRecord("e1", "1", 1, raw)])
    (found,) = checkpoint.waiting()
    assert found["dynamodb"]["NewImage"] == {
        "id": {"S": "i"},
        "data": {"B": "/wA="},
        "many": {"BS": ["YQ=="]},
    }
    assert found["dynamodb"]["ApproximateCreationDateTime"] == 1_767_323_000.0


def test_only_what_waits_is_given_and_the_rest_is_counted(checkpoint):
    checkpoint.add(entry(n) for n in range(6))
    checkpoint.set_states(
        {"e0": "enqueued", "e1": "suppressed", "e2": "parked", "e3": "skipped", "e4": "failed"}
    )
    assert waiting(checkpoint) == ["e5"]
    sums = checkpoint.sums()
    assert sums == Sums(waiting=1, enqueued=1, suppressed=1, parked=1, skipped=1, failed=1)
    assert (sums.matched, sums.finished) == (6, 4)
    checkpoint.retry_failed()
    assert waiting(checkpoint) == ["e4", "e5"]


def test_what_is_finished_while_records_are_given_is_not_given_again(checkpoint):
    checkpoint.add(entry(n) for n in range(1200))
    given: list[str] = []
    for one in checkpoint.waiting():
        given.append(one["eventID"])
        checkpoint.set_states({one["eventID"]: "enqueued"})
    assert given == [f"e{n}" for n in range(1200)]


def test_large_records_come_a_few_at_a_time(checkpoint):
    large: Any = {"padding": {"S": "x" * 400_000}}
    checkpoint.add(ReplayRecord(f"e{n}", str(n), n, record(n, **large)) for n in range(150))
    tracemalloc.start()
    assert sum(1 for _ in checkpoint.waiting()) == 150
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30_000_000  # all of them are 60 MB


def test_reading_costs_no_more_a_record_when_all_of_them_are_of_one_second(checkpoint):
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 100
        return 0

    checkpoint.add(entry(n, time=7) for n in range(4000))
    checkpoint._db._connection.set_progress_handler(count, 100)
    assert len(waiting(checkpoint)) == 4000
    assert 0 < steps / 4000 < 100


def test_memory_does_not_grow_with_the_number_of_records():
    def peak(count: int) -> int:
        with temporary_checkpoint() as made:
            tracemalloc.start()
            made.add(entry(n) for n in range(count))
            for one in made.waiting():
                made.set_states({one["eventID"]: "enqueued"})
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

    assert peak(6000) < 1.3 * peak(1500)


def test_a_batch_is_worked_off_when_none_of_its_records_is_left(checkpoint):
    checkpoint.add([entry(1), entry(2)], batch="m1")
    checkpoint.add([entry(2), entry(3)], batch="m2")
    checkpoint.set_states({"e1": "enqueued", "e2": "skipped"})
    assert (checkpoint.is_worked_off("m1"), checkpoint.is_worked_off("m2")) == (True, False)
    checkpoint.set_states({"e3": "failed"})
    assert not checkpoint.is_worked_off("m2")
    checkpoint.set_states({"e3": "parked"})
    assert checkpoint.is_worked_off("m2")


def test_a_later_run_finds_what_an_interrupted_one_left(tmp_path: Path):
    with open_checkpoint(tmp_path / "replay", "x") as first:
        first.begin(now=NOW)
        first.add([entry(1), entry(2)])
        first.note(read="2", sending="begun")
        label = first.label
        first.set_states({"e1": "enqueued"})
    with open_checkpoint(tmp_path / "replay", "x") as second:
        assert not second.is_stale(now=NOW + timedelta(minutes=30), relative=True)
        assert second.label == label
        assert waiting(second) == ["e2"]


def test_what_is_done_or_was_never_begun_leaves_nothing_behind(tmp_path: Path):
    folder = tmp_path / "replay"
    with open_checkpoint(folder, "asked-and-declined") as declined:
        declined.add([entry(1)])
    with open_checkpoint(folder, "done") as done:
        done.add([entry(1)])
        done.note(sending="begun", done="yes")
        done.set_states({"e1": "enqueued"})
    assert list(folder.iterdir()) == []


def test_what_nobody_went_on_with_for_a_day_is_removed_as_it_holds_items(tmp_path: Path):
    for name in ("old", "young"):
        with open_checkpoint(tmp_path, name) as made:
            made.add([entry(1)])
            made.note(sending="begun")
    past = (NOW - timedelta(days=400)).timestamp()
    os.utime(tmp_path / "old.db", (past, past))
    with open_checkpoint(tmp_path, "another"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["young.db", "young.lock"]


def test_begun_anew_nothing_of_the_interrupted_run_is_left(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"no database, as a disk that is broken may leave one")
    with open_checkpoint(tmp_path, "x", restart=True) as made:
        assert (made.sums(), made.is_stale(now=NOW, relative=False)) == (Sums(), True)


@pytest.mark.parametrize(
    ("age", "relative", "stale"),
    [
        (timedelta(minutes=59), True, False),
        (timedelta(minutes=61), True, True),
        (timedelta(hours=23), False, False),
        (timedelta(hours=25), False, True),
    ],
)
def test_what_an_interrupted_run_left_is_gone_on_with_for_a_while(checkpoint, age, relative, stale):
    checkpoint.begin(now=NOW)
    checkpoint.note(read="0")
    assert checkpoint.is_stale(now=NOW + age, relative=relative) is stale


def test_what_was_interrupted_while_it_was_read_is_not_gone_on_with(checkpoint):
    checkpoint.begin(now=NOW)
    checkpoint.add([entry(1)])
    assert checkpoint.is_stale(now=NOW, relative=False)


def test_one_run_at_a_time_has_a_checkpoint(tmp_path: Path):
    with open_checkpoint(tmp_path, "x"), pytest.raises(BusyError), open_checkpoint(tmp_path, "x"):
        pass
    with open_checkpoint(tmp_path, "x"), open_checkpoint(tmp_path, "y"):
        pass


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match="cannot be written"),
        open_checkpoint(tmp_path / "file" / "replay", "x"),
    ):
        pass


def test_a_file_that_is_no_checkpoint_is_said_with_the_way_out(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"what is this, and whose?" * 100)
    with pytest.raises(UsageError, match="not a database") as caught, open_checkpoint(tmp_path, "x"):
        pass
    assert "--restart" in caught.value.hint


def test_a_file_that_cannot_be_used_is_not_left_open(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)
    with pytest.raises(FifoError, match="not a database"):
        ReplayStore(tmp_path / "x.db")
    opened = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert str(tmp_path / "x.db") not in opened


def test_a_full_disk_is_said_and_no_traceback(tmp_path: Path):
    made = ReplayStore(tmp_path / "x.db")
    with made._db.transaction() as connection:
        connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(FifoError, match=r"x\.db cannot be used: database or disk is full"):
        made.add(entry(n) for n in range(1000))
    assert made.sums() == Sums()
    made.close()


def test_the_same_command_line_has_the_same_name_and_others_have_others():
    assert identity("arn:a", ("--since=1h",)) == identity("arn:a", ("--since=1h",))
    others = {identity("arn:a", ("--since=1h",)), identity("arn:b", ("--since=1h",)), identity("arn:a", ())}
    assert len(others) == 3
