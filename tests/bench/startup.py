"""Start-up: what every TAB, every look and every cron line costs, beside the same of the ``aws`` CLI."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fifo_cli.cli.completion import SHELL_VARIABLE
from tests.bench.bench import Bench
from tests.bench.field import CREDENTIALS, Field
from tests.bench.measure import Sample, middle, run, side_by_side
from tests.bench.report import Budget, Section
from tests.cli_harness import clean_environment

_HEAD = ("command", "beside it", "ours, s", "aws, s", "ratio", "CPU ratio", "ours, MiB", "aws, MiB")
Take = Callable[[], Sample]


@dataclass(frozen=True)
class Pair:
    """A command of ours beside one of theirs (None: they are not here), and what the ratio may be."""

    ours: str
    take: Take
    theirs: str
    beside: Take | None
    allowed: float | None = None


def measure(bench: Bench) -> list[Section]:
    """Time the commands that only start and look."""
    aws = aws_program()
    rows: list[tuple[str, ...]] = []
    budgets: list[Budget] = []
    with bench.stack() as endpoint:
        field = Field.create(bench.folder, endpoint, None)
        field.fill("main", 10, 1)
        for pair in _pairs(field, aws):
            takers = {"ours": pair.take} if pair.beside is None else {"ours": pair.take, "aws": pair.beside}
            samples = side_by_side(takers, bench.size.starts)
            ours, theirs = middle(samples["ours"]), middle(samples["aws"]) if pair.beside else None
            rows.append(_row(pair, ours, theirs))
            if theirs and pair.allowed:
                ratio = ours.seconds / theirs.seconds
                what = f"{pair.ours} beside {pair.theirs}"
                budgets.append(
                    Budget(what, f"≤ {pair.allowed:.2f} x", f"{ratio:.2f} x", ratio <= pair.allowed)
                )
    note = (
        f"medians of {bench.size.starts} runs in turns, ten messages of one group in main; {_version_of(aws)}"
    )
    return [Section("Start-up", note, _HEAD, rows, budgets)]


def aws_program() -> str | None:
    """Return the ``aws`` CLI itself: a pyenv shim in front of it takes longer than it does."""
    found = shutil.which("aws")
    if found and Path(found).parent.name == "shims" and shutil.which("pyenv"):
        found = subprocess.run(["pyenv", "which", "aws"], capture_output=True, text=True, check=False).stdout
    return found.strip() or None if found else None


def _pairs(field: Field, aws: str | None) -> list[Pair]:
    env = clean_environment(CREDENTIALS)
    at = ("--endpoint-url", field.endpoint)
    tab = {**env, SHELL_VARIABLE: "bash"}

    def ours(*words: str, env: Mapping[str, str] = env) -> Take:
        return partial(run, [sys.executable, "-m", "fifo_cli", *words], env, field.project.folder)

    def theirs(*words: str, env: Mapping[str, str] = env) -> Take | None:
        return partial(run, [aws, *words], env, field.project.folder) if aws else None

    def their_tab(line: str) -> Take | None:
        completer = [str(Path(aws).with_name("aws_completer"))] if aws else []
        text = {**env, "COMP_LINE": line, "COMP_POINT": str(len(line))}
        return partial(run, completer, text, field.project.folder) if aws else None

    version = theirs("--version")
    of_main = ("--queue-url", field.urls["main"], "--attribute-names", "All", *at)
    attributes = theirs("sqs", "get-queue-attributes", *of_main)
    receive = theirs(
        "sqs", "receive-message", "--max-number-of-messages", "10", "--visibility-timeout", "0", *of_main
    )
    return [
        Pair("--version", ours("--version"), "aws --version", version, 0.30),
        Pair("--help", ours("--help"), "aws --version", version, 0.30),
        Pair("redrive --help", ours("redrive", "--help"), "aws --version", version),
        Pair("TAB for a command", ours("re", env=tab), "aws --version", version, 0.30),
        Pair("TAB for an option", ours("redrive", "--", env=tab), "TAB in aws", their_tab("aws sqs get")),
        Pair("depth, all queues", ours("depth", *at), "aws sqs get-queue-attributes", attributes, 0.75),
        Pair("peek", ours("peek", *at), "aws sqs receive-message", receive),
    ]


def _row(pair: Pair, ours: Sample, theirs: Sample | None) -> tuple[str, ...]:
    if theirs is None:
        return (
            pair.ours,
            f"{pair.theirs}: skipped",
            f"{ours.seconds:.3f}",
            *"---",
            f"{ours.peak_mib:.0f}",
            "-",
        )
    return (
        pair.ours,
        pair.theirs,
        f"{ours.seconds:.3f}",
        f"{theirs.seconds:.3f}",
        f"{ours.seconds / theirs.seconds:.2f}",
        f"{ours.cpu / theirs.cpu:.2f}",
        f"{ours.peak_mib:.0f}",
        f"{theirs.peak_mib:.0f}",
    )


def _version_of(aws: str | None) -> str:
    if aws is None:
        return "there is no aws CLI here"
    text = subprocess.run([aws, "--version"], capture_output=True, text=True, check=False).stdout
    return " ".join(text.split()[:2])
