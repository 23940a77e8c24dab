"""What a load does with a file before and while its lines are sent."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fifo_cli.errors import ConfigError, UsageError
from fifo_cli.model.message_json import LINE_BYTES_MAX
from fifo_cli.operations.queues.load import Lines, LineSource, check, open_lines
from fifo_cli.operations.queues.load_progress import LoadProgress, open_checkpoint

ARN = "arn:aws:sqs:us-east-1:1:orders.fifo"


def line(body: str, group: str = "g") -> str:
    return json.dumps({"group": group, "body": body}) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "f.jsonl"


@contextlib.contextmanager
def opened(path: Path, arn: str = ARN) -> Iterator[Lines]:
    with open_lines(path, None, queue="main", arn=arn, bytes_max=1000) as lines:
        yield lines


def received(lines: Lines) -> list[tuple[str, str]]:
    """Load all lines into nowhere, and return them as the engine gets them."""
    assert lines.path is not None
    with (
        open_checkpoint(lines.path) as checkpoint,
        contextlib.closing(LineSource(lines, checkpoint)) as source,
    ):
        found = []
        while batch := source.receive(3, wait=False):
            source.delete(batch)
            found += [(one.message.message_id, one.message.body) for one in batch]
        assert source.exhausted()
        return found


def test_lines_are_reported_by_their_number_and_empty_ones_are_passed_over(path):
    path.write_text(line("a") + "\n  \n" + line("b"))
    with opened(path) as lines:
        assert check(lines).total == 2
        assert received(lines) == [("line 1", "a"), ("line 4", "b")]


def test_equal_lines_are_as_many_messages_and_each_is_loaded_once(path):
    path.write_text(line("a") * 3)
    with opened(path) as lines:
        assert len(received(lines)) == 3
    path.write_text(line("a") * 5)
    with opened(path) as lines:
        assert (check(lines).already, check(lines).new) == (3, 2)
        assert received(lines) == [("line 4", "a"), ("line 5", "a")]


def test_what_was_loaded_into_one_queue_is_new_to_another(path):
    path.write_text(line("a"))
    with opened(path) as lines:
        received(lines)
        assert check(lines).new == 0
    with opened(path, ARN.replace("orders", "orders-dlq")) as lines:
        assert check(lines).new == 1


def test_all_bad_lines_are_reported_at_once_up_to_a_limit(path):
    path.write_text(line("good") + "x\n" * 80)
    with opened(path) as lines, pytest.raises(ConfigError) as caught:
        check(lines)
    assert "80 of 81 lines cannot be loaded; nothing was sent" in caught.value.message
    assert len(caught.value.problems) == 50
    assert caught.value.problems[0].startswith("line 2: it is not JSON")


def test_a_file_that_is_changed_while_it_is_loaded_stops_the_load(path):
    path.write_text(line("a") + line("b"))
    with opened(path) as lines, contextlib.closing(LineSource(lines, LoadProgress())) as source:
        check(lines)
        path.write_text(line("a") + "garbage\n")
        with pytest.raises(UsageError, match=r"line 2: .*the file was changed while it was loaded"):
            source.receive(10, wait=False)


def test_stdin_is_read_to_its_end_before_anything_is_sent():
    with open_lines(
        None, io.BytesIO((line("a") + line("b")).encode()), queue="dlq", arn=ARN, bytes_max=1000
    ) as lines:
        assert (check(lines).total, check(lines).already, lines.path) == (2, 0, None)
    with (
        pytest.raises(UsageError, match="stdin is closed"),
        open_lines(None, None, queue="dlq", arn=ARN, bytes_max=1000),
    ):
        pass


def test_the_queues_own_limit_holds(path):
    path.write_text(line("x" * 1001))
    with opened(path) as lines, pytest.raises(ConfigError) as caught:
        check(lines)
    assert caught.value.problems == ("line 1: body and attributes have 1,001 bytes; the queue takes 1,000",)


def test_a_file_under_another_name_has_the_same_checkpoint(path, tmp_path):
    path.write_text(line("a"))
    with opened(path) as lines:
        assert received(lines) == [("line 1", "a")]
    other = tmp_path / "elsewhere" / "stdin"
    other.parent.mkdir()
    other.symlink_to(path)
    with opened(other) as lines:
        assert lines.name == str(other)
        assert lines.path == path
        assert check(lines).new == 0


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused_and_reported_what_to_do(tmp_path, kind):
    path = Path("/dev/null")
    if kind == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
    with pytest.raises(UsageError) as refused, opened(path):
        pass
    assert refused.value.message.startswith(f"{path} is not a regular file: ")
    assert "feed it to stdin" in refused.value.hint


def test_a_line_that_is_too_long_is_one_line_and_the_next_ones_keep_their_numbers(path):
    path.write_bytes(b'{"group": "g", "body": "' + b"x" * 2 * LINE_BYTES_MAX + b'"}\n' + b"{}\n")
    with opened(path) as lines, pytest.raises(ConfigError) as refused:
        check(lines)
    assert refused.value.problems[0] == f"line 1: it is longer than {LINE_BYTES_MAX:,} bytes"
    assert all(problem.startswith("line 2: ") for problem in refused.value.problems[1:])
    assert "2 of 2 lines cannot be loaded" in refused.value.message


def test_lines_that_are_there_twice_are_counted(path):
    path.write_text(line("a") * 3 + line("b"))
    with opened(path) as lines:
        assert check(lines).repeated == 2
