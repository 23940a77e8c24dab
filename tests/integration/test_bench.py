"""The bench's parts do what its tables say; how fast things are is never a test's business."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fifo_cli.local.receiver import Receiver
from tests.bench import concurrency, outage
from tests.bench.__main__ import DOCUMENT, PARTS
from tests.bench.bench import Bench, Size
from tests.bench.field import Field, Taken
from tests.bench.keeping import KeepError, Kept
from tests.bench.measure import Sample, run
from tests.bench.moves import AS_IS, HEAD, LOOP, OURS, Mover, cell, race
from tests.bench.redriving import ours, peer
from tests.bench.relay import relay
from tests.bench.report import BEGIN, END, Budget, Report, Section, text, write
from tests.bench.service import receiver
from tests.cli_harness import ROOT, Project, Stack, clean_environment, wait_until
from tests.integration.lean_sqs import lean_sqs

TINY = Size(
    starts=1, runs=1, matrix=1, messages=(20,), groups=(1,), many=(), lean=(50,), drained=50, records=5
)
BENCH = [sys.executable, "-m", "tests.bench"]
SECTION = Section(
    "redrive", "how it was measured", ("who", "rate"), [("fifo-cli", "755")],
    [Budget("speed", "≥ 1 x", "0.50 x", met=False)],
)  # fmt: skip
BIG = "x = bytearray(60_000_000); x[::4096] = b'1' * len(x[::4096])"


def test_every_part_can_be_measured():
    assert all(callable(importlib.import_module(f"tests.bench.{part}").measure) for part in PARTS)


def test_the_startup_table_has_a_row_a_command_and_the_budgets(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("aws", "aws_completer"):
        (tmp_path / name).write_text("#!/bin/sh\necho aws-cli/9 Python/4\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    section = startup(stack, tmp_path)
    assert [row[0] for row in section.rows] == [
        "--version",
        "--help",
        "redrive --help",
        "TAB for a command",
        "TAB for an option",
        "depth, all queues",
        "peek",
    ]
    assert all(len(row) == len(section.head) for row in section.rows)
    # A shell's echo is faster than any Python.
    assert [budget.met for budget in section.budgets] == [False] * 4
    assert "aws-cli/9 Python/4" in section.note


def test_where_there_is_no_aws_cli_the_startup_table_says_so(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    section = startup(stack, tmp_path)
    assert section.rows[0][1] == "aws --version: skipped"
    assert all(len(row) == len(section.head) for row in section.rows)
    assert not section.budgets


def test_a_redrive_and_a_peer_are_measured_with_their_requests(stack: Stack, tmp_path: Path):
    with relay(stack.endpoint) as through:
        for mover in (ours(), peer("move-by-pool")):
            field = Field.create(tmp_path, stack.endpoint, through)
            field.fill("dlq", 20, 10)
            taken = mover(field)
            assert (field.count("dlq"), field.count("main")) == (0, 20)
            assert taken.requests["SendMessageBatch"] == 2
            assert taken.requests["DeleteMessageBatch"] == 2
            field.delete()
    row = cell("somebody", "as is", 20, 10, [taken]).row()
    assert len(row) == len(HEAD)
    assert "2 send batches" in row[-1]
    assert sum(int(part.split()[0]) for part in row[-1].split(", ")) == taken.requests.total()


@pytest.mark.parametrize("trigger", ["schedule", "queue"])
def test_a_worker_delivers_all_that_it_is_measured_with(tmp_path: Path, trigger: str):
    with lean_sqs() as endpoint, receiver() as url:
        cell = concurrency.Cell(trigger, 8, 30, 20)
        rate, cpu, peak = concurrency.deliver(Bench(TINY, tmp_path), endpoint, url, cell)
    assert rate > 0
    assert cpu < 1000
    assert 20 < peak < 200


def test_an_outage_harms_nothing_where_a_plain_consumer_loses_messages_and_order(tmp_path: Path):
    section, stuck = outage.measure(Bench(TINY, tmp_path))
    assert all(len(row) == len(section.head) for row in section.rows)
    harm = slice(section.head.index("good messages in the DLQ"), section.head.index("first delivery after s"))
    *ours, plain = section.rows
    assert {row[harm] for row in ours} == {("0 of 250", "0 of 50")}
    assert plain[harm] == ("149 of 250", "50 of 50")
    assert len(stuck.rows) == 2
    assert all(budget.met for budget in (*section.budgets, *stuck.budgets))


def test_an_outage_without_a_breaker_costs_a_call_a_group_and_pause():
    few, many = (
        outage.outage(outage.pipeline(outage.Pipeline, breaker=0), groups).calls for groups in (10, 20)
    )
    assert many == 2 * few
    assert outage.outage(outage.pipeline(outage.Pipeline), 20).calls < many


def test_the_relay_counts_by_action_adds_its_delay_and_forgets_when_told():
    with Receiver() as service, relay(service.url) as through:
        target = {"X-Amz-Target": "AmazonSQS.SendMessage"}
        ask(through.endpoint, target)
        ask(through.endpoint, target)
        assert through.counts == {"SendMessage": 2}
        through.clear()
        assert not through.counts
        through.delay(30)
        with pytest.raises(TimeoutError):
            ask(through.endpoint, target, timeout=0.2)
        assert len(service.requests) == 2


def test_a_sample_is_of_the_command_alone(tmp_path: Path):
    env = {"PATH": os.environ["PATH"]}
    held = bytearray(b"1" * 80_000_000)
    small = run([sys.executable, "-I", "-c", "print('said')"], env, tmp_path)
    big = run([sys.executable, "-I", "-c", BIG], env, tmp_path)
    assert held
    assert small.out == "said\n"
    assert small.peak_mib < 40
    assert big.peak_mib > 57
    assert 0 < small.cpu <= small.seconds * 2


def test_a_command_that_fails_is_no_sample(tmp_path: Path):
    with pytest.raises(AssertionError, match=r"(?s)exit 3.*why"):
        run([sys.executable, "-c", "import sys; print('why'); sys.exit(3)"], {}, tmp_path)


def test_the_tables_are_written_between_the_marks_and_nothing_else_changes(tmp_path: Path):
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report = Report("full", "this program 9", [SECTION])
    write(document, report)
    written = document.read_text()
    assert written.startswith(f"before\n{BEGIN}\n")
    assert written.endswith(f"{END}\nafter\n")
    assert "with --full: this program 9" in written
    assert "| fifo-cli | 755 |" in written
    assert "| speed | ≥ 1 x | 0.50 x | **no** |" in written
    assert "old" not in written
    assert "OVER  speed: 0.50 x (budget ≥ 1 x)" in text(report)


def test_what_is_kept_is_found_by_the_same_program_and_amount_only(tmp_path: Path):
    report = Report("full", "this program 9", [])
    kept = Kept.open(tmp_path / "kept", report)
    assert kept.load("redriving") is None
    kept.save("redriving", [SECTION])
    assert Kept.open(tmp_path / "kept", report).load("redriving") == [SECTION]
    for other in (replace(report, mode="quick"), replace(report, program="this program 10")):
        with pytest.raises(KeepError, match="name a new folder"):
            Kept.open(tmp_path / "kept", other)


@pytest.mark.parametrize("holds", ["file", "something else", "nonsense"])
def test_a_folder_that_cannot_keep_is_refused_before_anything_is_measured(tmp_path: Path, holds: str):
    folder = tmp_path / "kept"
    if holds == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        (folder / ("about.json" if holds == "nonsense" else "thesis.txt")).write_text("{")
    with pytest.raises(KeepError, match="kept"):
        Kept.open(folder, Report("full", "this program 9", []))


@pytest.mark.parametrize("given", [("--write", "--quick"), ("--write", "--only", "startup")])
def test_only_all_tables_may_be_written(given: Sequence[str]):
    ran = subprocess.run([*BENCH, *given], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "not with --quick or --only" in ran.stderr


def test_ended_by_a_signal_the_bench_leaves_nothing(tmp_path: Path):
    env = {**clean_environment(), "TMPDIR": str(tmp_path)}
    command = [*BENCH, "--quick", "--only", "redriving"]
    bench = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
    with bench:
        wait_until(lambda: bool(_running(tmp_path, "redrive")))
        bench.send_signal(signal.SIGTERM)
        _, said = bench.communicate(timeout=60)
    assert bench.returncode == 143
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: not _running(tmp_path, ""))


def _running(folder: Path, word: str) -> list[str]:
    """Return the command lines of processes at work in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if Path(os.readlink(process / "cwd")).is_relative_to(folder):
                found.append((process / "cmdline").read_text())
    return [line for line in found if word in line]


def test_what_stands_beside_a_peer_is_a_ratio_within_a_turn(tmp_path: Path):
    def mover(seconds: list[float]) -> Mover:
        return lambda field: Taken(Sample(seconds.pop(0), 0.1, 50.0), Counter())

    ours_first = {OURS: (100, mover([1.0, 4.0, 1.0])), LOOP: (50, mover([1.0, 4.0, 2.0]))}
    cells = race(
        ours_first,
        lambda: Field(Project(tmp_path, "t"), "", None),
        lambda field, count: None,
        lambda field, count: None,
        service=AS_IS,
        groups=1,
        runs=3,
    )
    # A hundred beside fifty: 2, 2 and 4 times as fast.
    assert [one.ratio for one in cells] == [None, 2.0]
    assert "2.00 x" in cells[1].row()


def test_the_document_has_the_marks_that_the_bench_writes_between():
    written = DOCUMENT.read_text(encoding="utf-8")
    assert written.index(BEGIN) < written.index(END)


def startup(stack: Stack, folder: Path) -> Section:
    """Measure start-up, each command once."""
    (section,) = importlib.import_module("tests.bench.startup").measure(Bench(TINY, folder, stack.endpoint))
    return section  # type: ignore[no-any-return]


def ask(endpoint: str, headers: dict[str, str], *, timeout: float = 10.0) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(urllib.request.Request(endpoint, b"{}", headers=headers), timeout=timeout).close()
