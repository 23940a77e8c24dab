"""dump, load and purge as processes against the embedded stack, through the fault-injecting proxy."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import string
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.model.names import QueueRole
from fifo_cli.operations.maintenance_lock import RESTORE_TAG
from tests.cli_harness import ROOT, clean_environment, wait_until
from tests.faults import Action, Delay, Kill, Pass, forward_all, on
from tests.integration.fork_server import ALONE
from tests.integration.proxy import Request, hidden
from tests.integration.queue_pipeline import (
    ENV,
    Queues,
    by_group,
    changes_sqs,
    crash_everywhere,
    crashes,
    to_sqs,
    weather,
)
from tests.integration.screens import Screen

DELAYS = ALONE
ATTRIBUTES = {
    "event_id": {"DataType": "String", "StringValue": "e ✓"},
    "size": {"DataType": "Number.int", "StringValue": "12"},
    "blob": {"DataType": "Binary", "BinaryValue": bytes(range(256))},
}


def read(one: Queues, name: str = "f.jsonl") -> list[Any]:
    """Read a file of lines."""
    return [json.loads(line) for line in (one.project.folder / name).read_bytes().splitlines()]


def in_file(one: Queues, name: str = "f.jsonl") -> dict[str, list[str]]:
    """Return the bodies of a file by group, in order."""
    groups: dict[str, list[str]] = {}
    for line in read(one, name):
        groups.setdefault(line["group"], []).append(line["body"])
    return groups


def seven(one: Queues, role: Any) -> None:
    for n in range(7):
        one.send(role, str(n), f"g{n % 2}", MessageAttributes=ATTRIBUTES)


SEVEN = {"g0": ["0", "2", "4", "6"], "g1": ["1", "3", "5"]}


def write(one: Queues, *messages: Any, name: str = "f.jsonl") -> Path:
    """Write lines."""
    path = one.project.folder / name
    path.write_bytes(b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in messages))
    return path


# --- Looking.


def test_a_dump_shows_what_is_in_the_queue_and_leaves_it_there(one):
    ids = [one.send("dlq", f"body {n} ✓", f"g{n}", MessageAttributes=ATTRIBUTES) for n in range(25)]
    one.run("dump", "f.jsonl", "-o", "json").ok()
    lines = read(one)
    assert {line["message_id"]: line["body"] for line in lines} == {
        message_id: f"body {n} ✓" for n, message_id in enumerate(ids)
    }
    assert {tuple(line) for line in lines} == {
        (
            "message_id", "group", "dedup_id", "sequence_number", "queue", "sent_at", "first_received_at",
            "receives", "body", "attributes",
        )
    }  # fmt: skip
    assert (one.project.folder / "f.jsonl").stat().st_mode & 0o777 == 0o600
    assert len(one.drained("dlq")) == 25  # at once: nothing stayed hidden


def test_a_dump_that_cannot_see_all_says_so(one):
    for n in range(12):
        one.send("dlq", str(n))
    done = one.run("dump", "f.jsonl", "-o", "json")
    assert (done.code, done.json()) == (1, {"written": 10})
    assert "counts 12 messages, and 10 could be seen" in done.err
    assert in_file(one) == {"g": [str(n) for n in range(10)]}


@pytest.mark.parametrize("kind", ["file", "dangling link", "folder", "no such folder", "no folder at all"])
def test_a_dump_writes_over_nothing_and_says_where_it_cannot_write(one, kind):
    one.send("dlq", "1")
    path = one.project.folder / "f.jsonl"
    match kind:
        case "file":
            path.write_text("mine")
        case "dangling link":
            path.symlink_to("elsewhere")
        case "folder":
            path.mkdir()
        case "no such folder":
            path = path / "f"
        case _:
            path = Path("/proc/f.jsonl")
    done = one.run("dump", str(path))
    assert (done.code, done.out) == (2, "")
    assert str(path) in done.err
    if kind == "file":
        assert path.read_text() == "mine"
    assert [entry.name for entry in one.project.folder.iterdir() if "part" in entry.name] == []
    assert one.run("dump", str(path), "--move", "--yes").code == 2
    assert one.total("dlq") == 1


def test_a_dump_to_stdout_is_lines_and_nothing_else(one):
    seven(one, "dlq")
    done = one.run("dump", "-").ok()
    assert sorted(line["body"] for line in done.jsonl()) == list("0123456")
    assert "7 messages written to stdout" in done.err
    assert one.run("dump", "-", "-o", "json").code == 2


# --- Moving to a file.


def test_a_dump_that_moves_takes_everything_in_order_and_leaves_nothing(one):
    one.fill("dlq", 45, 4)
    done = one.run("dump", "f.jsonl", "--move", "--yes", "-o", "json")
    assert (done.code, done.json()) == (0, {"written": 45})
    assert in_file(one) == {f"g{k}": [str(n) for n in range(k, 45, 4)] for k in range(4)}
    assert one.total("dlq") == 0


def test_nothing_is_moved_to_what_keeps_nothing(one):
    one.send("dlq", "1")
    for path in ("/dev/null", "/dev/full"):
        done = one.run("dump", path, "--move", "--yes")
        assert done.code == 2
        assert f"{path} is not a regular file" in done.err
    assert one.total("dlq") == 1


# Where no file may grow, Python would write half of what it has compiled, which no later process could read.
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


def _with_small_files(one: Queues, kilobytes: int, *words: str) -> Any:
    """Run the program where no file may grow larger: to it, that is a full disk."""
    program = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes * 1024},) * 2)\n"
        "from fifo_cli.cli.app import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    where = ("--endpoint-url", one.proxy.endpoint)
    return subprocess.run(
        [sys.executable, "-c", program, *words, *where],
        cwd=one.project.folder,
        env=clean_environment({**ENV, "SQLITE_TMPDIR": "/dev/shm", NO_BYTECODE: "1"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_full_disk_keeps_in_the_queue_what_is_not_in_the_file(one):
    for n in range(30):
        one.send("dlq", f"{n:03}" + "x" * 997, f"g{n % 3}")
    done = _with_small_files(one, 16, "dump", "f.jsonl", "--move", "--yes")
    assert done.returncode == 3
    assert "f.jsonl cannot be written: File too large" in done.stderr
    saved = read(one)
    assert 0 < len(saved) < 30
    assert one.total("dlq") == 30 - len(saved)
    one.run("dump", "f.jsonl", "--move", "--yes").ok()
    assert {group: [body[:3] for body in bodies] for group, bodies in in_file(one).items()} == {
        f"g{k}": [f"{n:03}" for n in range(k, 30, 3)] for k in range(3)
    }


def test_a_file_that_is_full_costs_no_message_when_stdout_goes_to_it(one):
    for n in range(40):
        one.send("dlq", f"{n:02}" + "x" * 5000, f"g{n % 4}")
    program = f"{sys.executable} -m fifo_cli dump - --move --yes --endpoint-url {one.proxy.endpoint}"
    done = _shell(one, f"ulimit -f 100; {NO_BYTECODE}=1 {program} > f.jsonl")
    assert done.returncode == 3
    assert (
        "stdout cannot be written: File too large; what was not written is still in the queue" in done.stderr
    )
    lines = (one.project.folder / "f.jsonl").read_bytes().splitlines(keepends=True)
    written = {json.loads(line)["body"][:2] for line in lines if line.endswith(b"\n")}
    assert written
    left = {message["Body"][:2] for message in one.drained("dlq")}
    assert written | left == {f"{n:02}" for n in range(40)}


def test_what_is_moved_goes_into_a_pipe_with_a_word_of_warning(one):
    seven(one, "dlq")
    program = f"{sys.executable} -m fifo_cli dump - --move --yes --endpoint-url {one.proxy.endpoint}"
    done = _shell(one, f"set -o pipefail; {program} | cat")
    assert done.returncode == 0, done.stderr
    assert len({json.loads(line)["message_id"] for line in done.stdout.splitlines()}) == 7
    assert "stdout is a pipe: what its reader does not keep is lost" in done.stderr
    assert one.total("dlq") == 0


@pytest.mark.parametrize("to", ["> /dev/null", "> /dev/full"])
def test_what_is_moved_goes_into_no_stdout_that_does_not_keep_it(one, to):
    seven(one, "dlq")
    program = f"{sys.executable} -m fifo_cli dump - --move --yes --endpoint-url {one.proxy.endpoint}"
    done = _shell(one, f"set -o pipefail; {program} {to}")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "stdout is a terminal or a device, and would not keep the messages; nothing was touched"
        in done.stderr
    )
    assert one.total("dlq") == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dump", "", "--move"), "FILE is empty"),
        (("load", ""), "FILE is empty"),
        (("purge", "--queue", "dlq", "--backup", ""), "--backup is empty"),
        (("purge", "--queue", "dlq", "--backup", "-"), "a backup goes into a file, not to stdout"),
    ],
)
def test_what_is_no_name_of_a_file_is_refused(one, words, said):
    seven(one, "dlq")
    refused = one.run(*words, "--yes")
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert one.total("dlq") == 7


def _others_may_write(path: Path) -> None:
    path.touch()
    path.chmod(0o666)


def _letter(path: Path) -> None:
    path.touch(0o600)
    path.write_text("a letter\n")


DRY = {
    "dump f.jsonl --move": "f.jsonl",
    "purge --queue dlq --backup f.jsonl": "f.jsonl",
    "load in.jsonl": "in.jsonl.loaded",
}
IN_PLACE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a symbolic link": (lambda path: path.symlink_to("elsewhere"), "it is a symbolic link"),
    "writable by others": (_others_may_write, "others can write to it"),
    "a folder": (Path.mkdir, ""),
    "a FIFO": (lambda path: os.mkfifo(path, 0o600), "it is not a regular file"),
    "another text": (_letter, "nothing was touched"),
}


@pytest.mark.parametrize("place", IN_PLACE)
def test_a_dry_run_refuses_a_file_that_the_real_run_would_refuse(one, place):
    seven(one, "dlq")
    write(one, {"group": "g", "body": "b"}, name="in.jsonl")
    set_up, said = IN_PLACE[place]
    for command, name in DRY.items():
        path = one.project.folder / name
        set_up(path)
        before = sorted(each.name for each in one.project.folder.iterdir())
        dry = one.run(*command.split(), "--dry-run")
        real = one.run(*command.split(), "--yes")
        assert (dry.code, dry.out, dry.err) == (2, "", real.err), command
        assert (real.code, real.out) == (2, ""), command
        assert said in dry.err
        assert sorted(each.name for each in one.project.folder.iterdir()) == before
        (path.rmdir if path.is_dir() else path.unlink)()
    assert (one.total("dlq"), one.total("main")) == (7, 0)


# --- Nothing to do.


@pytest.mark.parametrize("yes", [[], ["--yes"]])
def test_nothing_to_do_is_said_with_0_and_nobody_is_asked(one, yes):
    dlq = one.names.queue("dlq")
    assert one.run("dump", "f.jsonl", "--move", *yes).ok().out == f"nothing to move: {dlq} is empty\n"
    assert one.run("dump", "f.jsonl", "--move", *yes, "-o", "json").ok().json() == {"written": 0}
    assert one.run("purge", "--queue", "dlq", *yes).ok().out == f"nothing to purge: {dlq} is empty\n"
    assert one.run("purge", "--queue", "dlq", *yes, "-o", "json").ok().json() == {"purged": 0, "backup": None}
    write(one, name="empty.jsonl")
    assert one.run("load", "empty.jsonl", *yes).ok().out == "nothing to load\n"
    write(one, {"group": "g", "body": "b"}, name="one.jsonl")
    one.run("load", "one.jsonl", "--yes").ok()
    again = one.run("load", "one.jsonl", *yes).ok()
    assert again.out == "nothing to load, 1 had been loaded before\n"


@pytest.mark.parametrize(
    ("command", "stays"),
    [
        ("dump f.jsonl", True),
        ("dump f.jsonl --move", True),
        ("dump f.jsonl --move --yes", True),
        ("purge --queue dlq", False),
        ("purge --queue dlq --yes", False),
        ("purge --queue main --backup f.jsonl", False),
        ("purge --queue main --backup f.jsonl --yes", False),
    ],
)
def test_of_an_empty_queue_a_dump_is_an_empty_file_and_a_backup_is_not_made(one, command, stays):
    before = {path.name for path in one.project.folder.iterdir()}
    one.run(*command.split()).ok()
    after = {path.name for path in one.project.folder.iterdir()} - before
    assert after == ({"f.jsonl"} if stays else set())
    if stays:
        assert (one.project.folder / "f.jsonl").read_bytes() == b""


def test_of_an_empty_queue_an_earlier_backup_stays_as_it_was(one):
    one.fill("dlq", 2, 1)
    one.run("purge", "--queue", "dlq", "--backup", "b.jsonl", "--yes").ok()
    before = (one.project.folder / "b.jsonl").read_bytes()
    again = one.run("purge", "--queue", "dlq", "--backup", "b.jsonl", "--yes", "-o", "json").ok()
    assert again.json() == {"purged": 0, "backup": None}
    assert (one.project.folder / "b.jsonl").read_bytes() == before


@pytest.mark.parametrize("command", ["dump f.jsonl --move", "purge --queue dlq", "load f.jsonl"])
def test_empty_queues_of_an_restore_warning_are_not_called_nothing_to_do(one, command):
    one.sqs.tag_queue(QueueUrl=one.urls["main"], Tags={RESTORE_TAG: "merge since 2026-01-02T03:04:05.000Z"})
    write(one)
    refused = one.run(*command.split())
    assert (refused.code, refused.out) == (75, "")
    assert "an in-order redrive is unfinished" in refused.err


def _shell(one: Queues, line: str) -> Any:
    return subprocess.run(
        ["bash", "-c", line],
        cwd=one.project.folder,
        env=clean_environment(ENV),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


# --- There and back.


def test_what_was_dumped_is_loaded_byte_for_byte(one):
    legal = string.ascii_letters + string.digits + string.punctuation
    groups = [legal, "x" * 128, "g"]
    bodies = ["{not json", '{"a": "ü \\u0000"}', "\t\n\r ✓ \U0001f600 \ud7ff\ue000\ufffd", "x" * 200_000]
    many = {f"a{n}": ATTRIBUTES["blob"] for n in range(10)}
    trace = {
        "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}
    }
    for group in groups:
        for body in bodies:
            one.send(
                "dlq", body, group, f"{groups.index(group)}-{bodies.index(body)}", MessageAttributes=many
            )
    one.send("dlq", "traced", "t", MessageSystemAttributes=trace)
    one.run("dump", "f.jsonl", "--move", "--yes").ok()
    assert one.total("dlq") == 0
    done = one.run("load", "f.jsonl", "--queue", "dlq", "--yes", "-o", "json").ok()
    assert done.json() == {"loaded": 13, "already_loaded": 0, "failed": 0}
    back = one.drained("dlq")
    assert by_group(back) == {**{group: bodies for group in groups}, "t": ["traced"]}
    for message in back:
        if message["Body"] != "traced":
            assert {name: value["BinaryValue"] for name, value in message["MessageAttributes"].items()} == {
                name: bytes(range(256)) for name in many
            }


def test_a_file_loaded_twice_makes_no_second_copy_and_an_edited_line_is_new(one):
    write(one, *({"group": "g", "body": str(n)} for n in range(3)))
    one.run("load", "f.jsonl", "--yes").ok()
    again = one.run("load", "f.jsonl", "--yes", "-o", "json").ok()
    assert again.json() == {"loaded": 0, "already_loaded": 3, "failed": 0}
    assert "3 lines loaded before" in again.err
    write(one, *({"group": "g", "body": body} for body in ("0", "one", "2", "2")))
    assert one.run("load", "f.jsonl", "--yes", "-o", "json").json() == {
        "loaded": 2, "already_loaded": 2, "failed": 0,
    }  # fmt: skip
    assert by_group(one.drained("main")) == {"g": ["0", "1", "2", "one", "2"]}


def test_the_same_file_goes_to_another_queue_and_with_its_checkpoint_removed_once_more(one):
    write(one, {"group": "g", "body": "a"})
    for words in (["--queue", "dlq"], []):
        assert one.run("load", "f.jsonl", *words, "--yes", "-o", "json").json()["loaded"] == 1
    (one.project.folder / "f.jsonl.loaded").unlink()
    assert one.run("load", "f.jsonl", "--yes", "-o", "json").json()["loaded"] == 1
    assert by_group(one.drained("main")) == {"g": ["a", "a"]}
    assert by_group(one.drained("dlq")) == {"g": ["a"]}


def test_another_pipelines_dump_loads_as_well(make):
    with make() as first, make() as second:
        seven(first, "dlq")
        first.run("dump", str(second.project.folder / "f.jsonl"), "--move", "--yes").ok()
        second.run("load", "f.jsonl", "--yes").ok()
        arrived = second.drained("main")
        assert by_group(arrived) == SEVEN
        assert first.total("main") == 0


def test_a_load_survives_that_its_deduplication_ids_were_used_minutes_ago(one):
    for role in ("main", "dlq"):
        one.send(role, "same", "g", "original-id")
    one.drained("main")
    one.run("dump", "f.jsonl", "--move", "--yes").ok()
    assert read(one)[0]["dedup_id"] == "original-id"
    one.run("load", "f.jsonl", "--yes").ok()
    assert by_group(one.drained("main")) == {"g": ["same"]}


def test_lines_come_from_stdin_and_nobody_is_asked(one):
    lines = "".join(json.dumps({"group": "g", "body": str(n)}) + "\n" for n in range(12))
    refused = one.project.at(one.proxy.endpoint, "load", "-", input=lines)
    assert refused.code == 2
    assert "--yes" in refused.err
    done = one.project.at(one.proxy.endpoint, "load", "-", "--yes", "-o", "json", input=lines).ok()
    assert done.json() == {"loaded": 12, "already_loaded": 0, "failed": 0}
    assert "stdin has no checkpoint: SQS suppresses the same lines for five minutes" in done.err
    one.project.at(one.proxy.endpoint, "load", "-", "--yes", input=lines).ok()
    assert by_group(one.drained("main")) == {"g": [str(n) for n in range(12)]}


BAD = {
    "torn": (b'{"group": "g", "body": "x', "line 2: it is not JSON"),
    "no object": (b"[1]\n", "line 2: it is JSON, but no object"),
    "no fields": (b"{}\n", "line 2: 'group' is missing"),
    "illegal group": (b'{"group": "a b", "body": "x"}\n', "line 2: 'group' 'a b' is not"),
    "empty body": (b'{"group": "g", "body": ""}\n', "line 2: 'body' must be a string of at least one"),
    "illegal body": (b'{"group": "g", "body": "\\u0000"}\n', "line 2: 'body' has the character '\\x00'"),
    "too large": (json.dumps({"group": "g", "body": "x" * 1_048_577}).encode(), "1,048,577 bytes"),
    "not UTF-8": (b'{"group": "g", "body": "\xff\xfe"}\n', "line 2: it is not UTF-8"),
    "eleven attributes": (
        json.dumps(
            {
                "group": "g",
                "body": "x",
                "attributes": {f"a{n}": {"type": "String", "value": "v"} for n in range(11)},
            }
        ).encode(),
        "line 2: there are 11 attributes",
    ),
    "binary": (b"\x00\x01\x02\n", "line 2: it is not JSON"),
    "deep": (b"[" * 100_000 + b"\n", "line 2: it is nested too deeply"),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_line_and_nothing_is_sent(one, kind):
    line, complaint = BAD[kind]
    path = one.project.folder / "f.jsonl"
    path.write_bytes(b'{"group": "g", "body": "good"}\n' + line)
    done = one.run("load", "f.jsonl", "--yes")
    assert (done.code, done.out) == (2, "")
    assert "1 of 2 lines cannot be loaded; nothing was sent" in done.err
    assert complaint in done.err
    assert one.total("main") == 0
    assert not (one.project.folder / "f.jsonl.loaded").exists()


def test_a_file_that_cannot_be_read_or_is_empty_loads_nothing(one):
    folder = one.project.folder
    (folder / "empty.jsonl").touch()
    assert one.run("load", "empty.jsonl", "--yes", "-o", "json").ok().json()["loaded"] == 0
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    for name in ("nowhere.jsonl", str(folder), "loop.jsonl", "/proc/self/mem/x"):
        done = one.run("load", name, "--yes")
        assert done.code == 2, name
        assert "cannot be read" in done.err


def test_a_load_where_no_checkpoint_can_be_kept_sends_nothing(one):
    write(one, {"group": "g", "body": "a"})
    (one.project.folder / "f.jsonl.loaded").mkdir()
    done = one.run("load", "f.jsonl", "--yes")
    assert done.code == 2, done
    assert "f.jsonl.loaded" in done.err
    (one.project.folder / "f.jsonl.loaded").rmdir()
    (one.project.folder / "f.jsonl.loaded").write_text("my notes\nand more\n")
    assert one.run("load", "f.jsonl", "--yes").code == 2
    assert (one.project.folder / "f.jsonl.loaded").read_text() == "my notes\nand more\n"
    assert one.total("main") == 0


RUNBOOK = ROOT / "docs" / "runbook.md"


def _follow_the_runbook(one: Queues) -> tuple[str, str]:
    """Return the shell blocks of its section on fixing: to the end of the groups, and to the old places."""
    section = RUNBOOK.read_text(encoding="utf-8").split("## Parked messages need fixing")[1].split("\n## ")[0]
    first, second = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    program = f'fifo-cli() {{ {sys.executable} -m fifo_cli "$@" --yes --endpoint-url {one.proxy.endpoint}; }}'
    return f"set -e\n{program}\n{first}", f"set -e\n{program}\n{second}"


def _misspelt(one: Queues) -> None:
    roles: list[QueueRole] = ["dlq", "main", "dlq"]
    for number, role in enumerate(roles, 1):
        one.send(
            role,
            json.dumps({"n": number, "total": "1.10", "currency": " usd" if role == "dlq" else "USD"}),
            MessageAttributes={"stream_sequence": {"DataType": "String", "StringValue": str(number)}},
        )


def _fixed(one: Queues) -> list[tuple[int, str]]:
    bodies = [json.loads(message["Body"]) for message in one.drained("main")]
    assert {body["total"] for body in bodies} == {"1.10"}
    return [(body["n"], body["currency"]) for body in bodies]


def test_the_runbooks_way_to_mend_parked_messages_puts_them_at_the_end(one):
    _misspelt(one)
    to_the_end, _ = _follow_the_runbook(one)
    done = _shell(one, to_the_end)
    assert done.returncode == 0, done.stderr
    assert "2 lines would go to" in done.stdout
    assert _fixed(one) == [(2, "USD"), (1, "USD"), (3, "USD")]
    assert one.total("dlq") == 0


def test_the_runbooks_way_to_mend_parked_messages_puts_them_in_their_old_places(one):
    _misspelt(one)
    to_the_end, in_order = _follow_the_runbook(one)
    kept = to_the_end.partition("fifo-cli load")[0]
    done = _shell(one, f"{kept}\n{in_order}")
    assert done.returncode == 0, done.stderr
    assert _fixed(one) == [(1, "USD"), (2, "USD"), (3, "USD")]
    assert [one.total("dlq"), one.total("hold")] == [0, 0]


# --- Purging.


def test_a_purge_saves_what_it_empties_beside_the_configuration_and_continues_the_backup(one):
    seven(one, "dlq")
    backup = one.project.folder / f"{one.names.pipeline}-dlq.backup.jsonl"
    done = one.run("purge", "--queue", "dlq", "--yes", "-o", "json").ok()
    assert done.json() == {"purged": 7, "backup": str(backup)}
    one.send("dlq", "8", "g0")
    one.run("purge", "--queue", "dlq", "--yes").ok()
    assert in_file(one, backup.name) == {"g0": ["0", "2", "4", "6", "8"], "g1": ["1", "3", "5"]}
    assert one.total("dlq") == 0


def test_a_purge_without_backup_leaves_nothing_anywhere(one):
    seven(one, "main")
    done = one.project.at(one.proxy.endpoint, "purge", "--queue", "main", "--no-backup", "--dry-run").ok()
    assert one.total("main") == 7
    assert "dry run: nothing was touched; 7 messages of" in done.out
    assert "would be deleted for good" in done.out
    shown = one.run("purge", "--queue", "main", "--backup", "b.jsonl", "--dry-run", "-o", "json").ok().json()
    assert (shown["dry_run"], shown["purged"], shown["backup"]) == (True, 0, "b.jsonl")
    assert "written" not in shown
    done = one.run("purge", "--queue", "main", "--no-backup", "--backup", "f", "--yes")
    assert done.code == 2
    as_late_as_sqs = one.fork_server.with_delays(ALONE._replace(purge=60.0))
    waits = replace(one, fork_server=as_late_as_sqs).start(
        "purge", "--queue", "main", "--no-backup", "--yes", "-o", "json"
    )
    # The command may not have heard yet that it is done.
    wait_until(lambda: one.total("main") == 0)
    waits.send(signal.SIGINT)
    ended = waits.wait()
    assert ended.code == 130
    assert ended.json() == {"purged": 7, "backup": None}


@pytest.mark.parametrize("silent", ["PurgeQueue", "GetQueueAttributes"])
def test_a_purge_that_is_interrupted_while_sqs_does_not_answer_says_what_it_knows(one, silent):
    seven(one, "main")
    purged = threading.Event()

    def rule(request: Request) -> Action:
        if request.action == "PurgeQueue":
            purged.set()
        return Delay(60) if purged.is_set() and request.action == silent else Pass()

    one.proxy.rule = rule
    purging = one.start("purge", "--queue", "main", "--no-backup", "--yes", "-o", "json", patient=False)
    assert purged.wait(40)
    purging.send(signal.SIGINT)
    ended = purging.wait()
    assert ended.code == 130
    if silent == "PurgeQueue":
        assert ended.out == ""
        assert f"it is not known whether {one.names.main} was purged: AWS does not answer" in ended.err
    else:
        assert ended.json() == {"purged": 7, "backup": None}
    assert "internal error" not in ended.err


def test_of_a_dlq_of_two_queues_a_purge_takes_only_ours(one):
    arn = one.sqs.get_queue_attributes(QueueUrl=one.urls["dlq"], AttributeNames=["QueueArn"])
    policy = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": 1}
    other = one.sqs.create_queue(
        QueueName=f"other-{one.names.main}",
        Attributes={"FifoQueue": "true", "RedrivePolicy": json.dumps(policy)},
    )["QueueUrl"]
    one.sqs.send_message(QueueUrl=other, MessageBody="theirs", MessageGroupId="t", MessageDeduplicationId="t")
    for _ in range(2):
        one.sqs.receive_message(QueueUrl=other, VisibilityTimeout=0)
    one.send("dlq", "ours")
    done = one.run("purge", "--queue", "dlq", "--backup", "f.jsonl", "--yes", "-o", "json")
    assert (done.code, done.json()["purged"]) == (0, 1)
    assert "left alone: 1 that another queue dead-lettered" in done.err
    assert in_file(one) == {"g": ["ours"]}
    assert [message["Body"] for message in one.drained("dlq")] == ["theirs"]


# --- Asking, holding, stopping.

MOVES = {
    "dump": ("dump", "f.jsonl", "--move"),
    "load": ("load", "lines.jsonl"),
    "purge": ("purge", "--queue", "dlq", "--backup", "f.jsonl"),
}


@pytest.fixture
def loaded(one: Queues) -> Queues:
    """Seven messages in the DLQ, and seven lines in a file."""
    seven(one, "dlq")
    write(one, *({"group": f"g{n % 2}", "body": str(n)} for n in range(7)), name="lines.jsonl")
    return one


@pytest.mark.parametrize("name", MOVES)
def test_without_an_answer_or_in_a_dry_run_nothing_is_touched(loaded, name):
    asked = loaded.run(*MOVES[name])
    assert (asked.code, asked.out) == (2, "")
    assert "--yes" in asked.err
    dry = loaded.run(*MOVES[name], "--dry-run", "-o", "json").ok()
    assert dry.json()["dry_run"] is True
    assert len(dry.json()["messages"]) == 7
    assert [loaded.total("main"), loaded.total("dlq")] == [0, 7]
    assert not (loaded.project.folder / "f.jsonl").exists()
    assert not (loaded.project.folder / "lines.jsonl.loaded").exists()


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("tag", ["fifo-cli:maintenance", "fifo-cli:rebuild"])
def test_while_another_operation_holds_the_pipeline_it_exits_75(loaded, name, tag):
    loaded.sqs.tag_queue(QueueUrl=loaded.urls["main"], Tags={tag: "merge worker=running since 2026"})
    done = loaded.run(*MOVES[name], "--yes")
    assert (done.code, done.out) == (75, "")
    assert ("redrive --in-order" in done.err) == (tag == "fifo-cli:rebuild")
    assert [loaded.total("main"), loaded.total("dlq")] == [0, 7]
    loaded.run(*MOVES[name], "--yes", "--force").ok()


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_finishes_what_is_in_hand_and_a_second_run_the_rest(loaded, name, number):
    action = "SendMessageBatch" if name == "load" else "DeleteMessageBatch"
    loaded.proxy.rule = on(action, nth=1, do=Kill(number=number, after=True))
    done = loaded.run(*MOVES[name], "--yes", "-o", "json")
    assert done.code == 128 + number, done
    done.json()
    loaded.proxy.rule = forward_all
    loaded.run(*MOVES[name], "--yes").ok()
    result = by_group(loaded.drained("main")) if name == "load" else in_file(loaded)
    assert result == SEVEN
    assert loaded.sqs.list_queue_tags(QueueUrl=loaded.urls["main"]).get("Tags", {}) == {}


def test_a_load_goes_on_where_a_killed_one_was_and_warns_when_sqs_has_forgotten_that(loaded):
    words = MOVES["load"]
    checkpoint = loaded.project.folder / f"{words[1]}.loaded"

    def aged() -> bool:
        os.utime(checkpoint, (time.time() - 250, time.time() - 250))
        return "stopped unexpectedly" in loaded.run(*words, "--dry-run").err

    loaded.proxy.rule = on("SendMessageBatch", nth=2, do=Kill(after=True))
    assert loaded.run(*words, "--yes").code == -9
    loaded.proxy.rule = forward_all
    assert "stopped unexpectedly" not in loaded.run(*words, "--dry-run").err
    assert aged()
    loaded.proxy.rule = on("SendMessageBatch", nth=1, do=Kill(number=signal.SIGINT, after=True))
    assert loaded.run(*words, "--yes").code == 130
    loaded.proxy.rule = forward_all
    # This one came to its end: all that it sent is noted.
    assert not aged()
    loaded.run(*words, "--yes").ok()
    assert by_group(loaded.drained("main")) == SEVEN
    assert not aged()


def test_a_purge_of_main_asks_with_a_warning(loaded):
    words = ["purge", "--queue", "main", "--endpoint-url", loaded.proxy.endpoint]
    loaded.send("main", "precious")
    screen = Screen(words, loaded.project.folder, columns=100, env=ENV)
    screen.until("Go ahead?")
    assert "BEWARE: what is taken out of main is not delivered" in screen.text
    assert "delete 1 message of" in screen.text
    screen.child.send("n\r")
    with contextlib.suppress(TimeoutError):
        screen.until("Nothing was changed")
    assert loaded.total("main") == 1


# --- Crashes and weather.


def _prepare(name: str) -> Callable[[Queues], None]:
    def prepare(one: Queues) -> None:
        if name == "load":
            write(
                one,
                *(
                    {
                        "group": f"g{n % 2}",
                        "body": str(n),
                        "attributes": {"blob": {"type": "Binary", "value": "AAE="}},
                    }
                    for n in range(7)
                ),
                name="lines.jsonl",
            )
        else:
            seven(one, "dlq")

    return prepare


def _check(name: str) -> Callable[[Queues], None]:
    def check(one: Queues) -> None:
        assert one.drained("dlq", timeout=2) == []
        if name == "load":
            arrived = one.drained("main")
            assert by_group(arrived) == SEVEN
            assert {m["MessageAttributes"]["blob"]["BinaryValue"] for m in arrived} == {b"\x00\x01"}
        else:
            assert in_file(one) == SEVEN
            assert {len(line["attributes"]) for line in read(one)} == {3}
        assert one.sqs.list_queue_tags(QueueUrl=one.urls["main"]).get("Tags", {}) == {}

    return check


@crashes
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", MOVES)
def test_killed_at_any_request_a_second_run_completes_it(make, name, after, every):
    requests = crash_everywhere(
        make,
        _prepare(name),
        lambda one: one.run(*MOVES[name], "--yes"),
        _check(name),
        after=after,
        at=changes_sqs if after else to_sqs,
        every=every,
        at_once=4 if after else 7,
    )
    whole, part = (5, 3) if after else (8, 5)
    assert requests >= (whole if every else part)


@pytest.mark.parametrize("name", MOVES)
def test_in_bad_weather_it_completes_or_accounts_for_what_stayed(one, name):
    messages = [{"group": f"g{n % 12}", "body": str(n)} for n in range(120)]
    if name == "load":
        write(one, *messages, name="lines.jsonl")
    else:
        one.fill("dlq", 120, 12)
    one.proxy.edit = hidden(3)
    one.proxy.rule = weather(7)
    done = one.run(*MOVES[name], "--yes", "-o", "json", timeout=120)
    assert done.code in (0, 1, 3), done
    one.proxy.rule = forward_all
    again = one.run(*MOVES[name], "--yes", "-o", "json").ok()
    expected = {f"g{k}": [str(n) for n in range(k, 120, 12)] for k in range(12)}
    if name == "load":
        assert by_group(one.drained("main")) == expected
        if done.out:
            counted = Counter(done.json()) + Counter(again.json())
            assert done.json()["loaded"] + again.json()["loaded"] == 120, counted
    else:
        assert in_file(one) == expected
        assert one.drained("dlq", timeout=4) == []
