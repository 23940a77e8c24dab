"""The files of dump, load and purge: durable, continued after a crash, and never anybody else's."""

from __future__ import annotations

import dataclasses
import os
from contextlib import suppress
from pathlib import Path

import pytest

from fifo_cli.errors import BusyError, UsageError
from fifo_cli.events import Event, Warned
from fifo_cli.model.message import ReceivedMessage
from fifo_cli.model.message_json import from_line, to_line
from fifo_cli.operations.queues.load_progress import open_checkpoint, peek_checkpoint
from fifo_cli.operations.transfer.message_files import check_dump, new_file, open_dump
from fifo_cli.operations.work_db import FileError, lock_file
from tests.unit.render.samples import message


def received(body: str, message_id: str = "") -> ReceivedMessage:
    return ReceivedMessage(message(body, message_id=message_id or None), "handle")


def bodies(path) -> list[str]:
    return [from_line(line, queue="dlq").body for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "f.jsonl"


def write(path, *messages: ReceivedMessage) -> int:
    with open_dump(path) as file:
        file.send(messages)
        return file.written


def test_a_message_that_is_in_the_file_is_not_written_again_by_this_run_or_another(path):
    assert write(path, received("1"), received("2"), received("1")) == 2
    again = received("1")._replace(message=dataclasses.replace(received("1").message, receives=5))
    assert write(path, again, received("3")) == 1
    assert bodies(path) == ["1", "2", "3"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", [1, 2, 20, 100])
def test_a_torn_last_line_is_cut_off_and_written_again(path, cut):
    write(path, received("1"), received("2"))
    os.truncate(path, path.stat().st_size - cut)
    text: list[Event] = []
    with open_dump(path, listener=text.append) as file:
        file.send([received("2")])
    assert bodies(path) == ["1", "2"]
    # Without its newline only, the line is whole.
    assert [type(event) for event in text] == ([] if cut == 1 else [Warned])


def test_zeros_that_a_power_cut_left_are_cut_off(path):
    write(path, received("1"))
    with path.open("ab") as file:
        file.write(b"\0" * 4096)
    write(path, received("2"))
    assert bodies(path) == ["1", "2"]


@pytest.mark.parametrize(
    "content",
    [b"notes of mine\n", b"notes of mine", b'{"a": 1}\n', b'{"torn": \n' + to_line(received("1").message)],
)
def test_a_file_that_is_no_dump_stays_as_it_is(path, content):
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no line of a dump"), open_dump(path):
        pass
    assert path.read_bytes() == content


def test_a_dump_that_was_edited_is_continued(path):
    write(path, received("1"))
    path.write_bytes(b'{"group": "g", "body": "mine"}\n' + path.read_bytes())
    write(path, received("1"), received("2"))
    assert bodies(path) == ["mine", "1", "2"]


def test_two_runs_do_not_write_one_file(path):
    with open_dump(path), pytest.raises(BusyError, match="another run"), open_dump(path):
        pass


@pytest.mark.parametrize(
    ("complete", "moved", "stays"), [(False, 0, False), (True, 0, True), (False, 1, True), (True, 1, True)]
)
def test_a_new_file_stays_if_it_has_messages_or_all_went_well(path, complete, moved, stays):
    with suppress(InterruptedError), open_dump(path) as file:
        file.send([received(str(n)) for n in range(moved)])
        file.complete = complete
        if not complete:
            raise InterruptedError
    assert path.exists() == stays


def test_an_empty_file_that_was_there_before_stays(path):
    path.touch(mode=0o600)
    with open_dump(path):
        pass
    assert path.exists()


def test_a_file_that_another_run_removes_at_this_moment_is_not_written(path):
    """A lock on a file that has no name any more would let its messages vanish."""
    path.touch(mode=0o600)
    descriptor = os.open(path, os.O_RDWR)
    path.unlink()
    with pytest.raises(BusyError):
        lock_file(descriptor, path)
    path.touch()
    with pytest.raises(BusyError):
        lock_file(descriptor, path)
    os.close(descriptor)


def test_a_list_of_a_load_that_sent_nothing_does_not_stay(path):
    beside = path.with_name(f"{path.name}.loaded")
    with open_checkpoint(path):
        assert beside.exists()
    assert not beside.exists()
    with open_checkpoint(path) as checkpoint:
        checkpoint.used = True
    assert beside.exists()
    with open_checkpoint(path):
        pass
    assert beside.exists()


def test_a_link_to_a_file_is_refused(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    path.touch()
    with pytest.raises(UsageError, match="symbolic link"):
        write(tmp_path / "link", received("1"))
    assert path.read_bytes() == b""


def test_what_keeps_nothing_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in ("/dev/null", "/dev/full", tmp_path / "pipe"):
        with pytest.raises(UsageError, match="not a regular file"), open_dump(type(tmp_path)(place)):
            pass


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that cannot be read, of Linux")
def test_a_file_that_cannot_be_read_is_refused():
    mem = Path("/proc/self/mem")
    with pytest.raises(UsageError, match=r"/proc/self/mem cannot be read: .*; nothing was touched"):
        check_dump(mem)
    with pytest.raises(UsageError, match="cannot be read"), open_dump(mem):
        pass


def test_a_new_file_is_there_whole_or_not_at_all(path, tmp_path):
    def fail_halfway() -> None:
        with new_file(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []
    with new_file(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_not_written_over(path, tmp_path):
    def come_too_late() -> None:
        with new_file(path) as file:
            file.write(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(UsageError, match="exists already"):
        come_too_late()
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


# --- The checkpoint.

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


def note(path, *digests: str) -> str:
    with open_checkpoint(path) as checkpoint:
        checkpoint.add(digests)
        return checkpoint.salt


def known(path) -> list[bool]:
    with peek_checkpoint(path) as checkpoint:
        return [digest in checkpoint for digest in (ONE, TWO, THREE)]


def test_what_was_loaded_is_known_to_the_next_run_and_its_salt_is_the_same(path):
    assert known(path) == [False] * 3
    salt = note(path, ONE)
    assert note(path, TWO) == salt
    assert known(path) == [True, True, False]
    (path.parent / "f.jsonl.loaded").unlink()
    assert note(path) != salt


@pytest.mark.parametrize("cut", [1, 40])
def test_a_torn_last_entry_does_not_count_and_is_cut_off(path, cut):
    note(path, ONE, TWO)
    beside = path.parent / "f.jsonl.loaded"
    os.truncate(beside, beside.stat().st_size - cut)
    assert known(path) == [True, False, False]
    note(path, THREE)
    assert known(path) == [True, False, True]


def test_a_run_that_did_not_come_to_its_end_is_known_and_when_it_noted_something_last(path):
    beside = path.parent / "f.jsonl.loaded"

    def broken_off() -> float | None:
        with peek_checkpoint(path) as checkpoint:
            return checkpoint.broken_off.timestamp() if checkpoint.broken_off else None

    assert broken_off() is None
    note(path, ONE)
    os.utime(beside, (1_000, 1_000))
    assert broken_off() == 1_000
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.broken_off is not None
        checkpoint.add([TWO])
        checkpoint.end()
    assert broken_off() is None
    assert known(path) == [True, True, False]
    note(path, THREE)
    assert broken_off() is not None
    assert known(path) == [True] * 3
    os.truncate(beside, beside.stat().st_size - 1)
    os.utime(beside, (2_000, 2_000))
    assert broken_off() == 2_000


def test_a_torn_header_is_as_good_as_none(path):
    (path.parent / "f.jsonl.loaded").write_bytes(b"fifo-cli lo")
    assert known(path) == [False] * 3
    note(path, ONE)
    assert known(path) == [True, False, False]


@pytest.mark.parametrize("content", ["notes\nof mine\n", f"fifo-cli load 1 {'a' * 16}\nnotes\n{ONE}\n"])
def test_a_file_that_is_no_checkpoint_stays_as_it_is(path, content):
    beside = path.parent / "f.jsonl.loaded"
    beside.write_text(content)
    with pytest.raises(UsageError, match="is in the way"):
        note(path, ONE)
    assert beside.read_text() == content


def test_two_runs_do_not_load_one_file(path):
    with open_checkpoint(path), pytest.raises(BusyError), open_checkpoint(path):
        pass


def test_a_checkpoint_that_cannot_grow_says_what_that_means(path):
    with open_checkpoint(path) as checkpoint:
        real, checkpoint._descriptor = checkpoint._descriptor, os.open("/dev/full", os.O_RDWR)
        try:
            with pytest.raises(FileError, match="the last messages sent are not in it"):
                checkpoint.add([ONE])
        finally:
            os.close(checkpoint._descriptor)
            checkpoint._descriptor = real


def test_lines_and_entries_are_on_disk_when_they_count(path, monkeypatch):
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with open_dump(path) as file:
        synced.clear()
        file.send([received("1")])
        assert synced == [path.stat().st_ino]
    with open_checkpoint(path) as checkpoint:
        synced.clear()
        checkpoint.add([ONE])
        assert synced == [path.with_name("f.jsonl.loaded").stat().st_ino]
