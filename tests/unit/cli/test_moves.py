"""The flow of the commands that move messages: what is asked, done and reported, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from fifo_cli.cli.moves import MoveCommand, run_move
from fifo_cli.cli.options import Output
from fifo_cli.errors import AwsError, ExitCode, UsageError
from fifo_cli.model.results import WorkResult


@dataclass(frozen=True)
class Moved(WorkResult):
    """How many were moved."""

    moved: int = 0


@dataclass
class Desk:
    """As much of the command line as the flow uses; ``done`` is what it did, in order."""

    yes: bool = False
    output: Output = Output.JSON
    refuses: bool = False
    done: list[str] = field(default_factory=list)

    @property
    def options(self) -> SimpleNamespace:
        return SimpleNamespace(yes=self.yes, output=self.output)

    @property
    def console(self) -> SimpleNamespace:
        return SimpleNamespace(message=lambda text: self.done.append(f"stderr: {text}"))

    def begin(self) -> None:
        self.done.append("begin")

    def confirm(self, what: str) -> None:
        self.done.append(f"ask: {what}")
        if self.refuses:
            raise UsageError("the answer was not yes", hint="say yes")

    @contextmanager
    def stopping(self) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(is_set=lambda: False)

    def emit(self, result: Any, table: Callable[[], str]) -> ExitCode:
        self.done.append(f"stdout: {table()}")
        return result.exit_code  # type: ignore[no-any-return]

    def conclude(self, result: WorkResult, table: Callable[[], str]) -> ExitCode:
        code = self.emit(result, table)
        if result.error is not None:
            raise result.error
        return code


def run(
    desk: Desk, result: Moved, *, question: str | Moved | None = "move 3", dry_run: bool = False, **more: Any
) -> ExitCode:
    def perform(stopped: Callable[[], bool]) -> Moved:
        desk.done.append("perform")
        return result

    move: MoveCommand[Moved, Moved] = MoveCommand(
        preview=lambda: Moved(3),
        preview_text=lambda seen: f"{seen.moved} would be moved",
        question=None if question is None else lambda: question,
        perform=perform,
        text=lambda moved: f"{moved.moved} moved",
        **more,
    )
    return run_move(desk, move, dry_run=dry_run)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("desk", "more", "done"),
    [
        (Desk(), {}, ["ask: move 3", "begin", "perform", "stdout: 3 moved"]),
        (Desk(yes=True), {}, ["begin", "perform", "stdout: 3 moved"]),
        (Desk(), {"question": None}, ["begin", "perform", "stdout: 3 moved"]),
        (Desk(), {"question": Moved(0)}, ["stdout: 0 moved"]),
        (Desk(yes=True), {"question": Moved(0)}, ["begin", "perform", "stdout: 3 moved"]),
        (Desk(), {"dry_run": True}, ["stdout: 3 would be moved"]),
        (Desk(yes=True), {"dry_run": True}, ["stdout: 3 would be moved"]),
        (Desk(yes=True), {"stdout_is_taken": True}, ["begin", "perform", "stderr: 3 moved"]),
    ],
)
def test_what_is_asked_done_and_reported(desk: Desk, more: dict[str, Any], done: list[str]) -> None:
    assert run(desk, Moved(3), **more) is ExitCode.OK
    assert desk.done == done


def test_after_a_no_nothing_is_done() -> None:
    desk = Desk(refuses=True)
    with pytest.raises(UsageError):
        run(desk, Moved(3))
    assert desk.done == ["ask: move 3"]


@pytest.mark.parametrize(
    ("output", "in_text", "beside"),
    [
        (Output.JSON, True, ["stderr: a note", "stderr: a warning"]),
        (Output.JSONL, True, ["stderr: a note", "stderr: a warning"]),
        (Output.TABLE, True, []),
        (Output.TABLE, False, ["stderr: a note", "stderr: a warning"]),
    ],
)
def test_remarks_are_said_once_beside_or_in_the_text(
    output: Output, in_text: bool, beside: list[str]
) -> None:
    desk = Desk(yes=True, output=output)
    result = Moved(1, notes=("a note",), warnings=("a warning",))
    assert run(desk, result, remarks_in_text=in_text) is ExitCode.ATTENTION
    assert desk.done == ["begin", "perform", *beside, "stdout: 1 moved"]


@pytest.mark.parametrize("taken", [False, True])
def test_what_ended_it_early_is_raised_when_the_rest_has_been_reported(taken: bool) -> None:
    desk = Desk(yes=True)
    with pytest.raises(AwsError, match="denied"):
        run(desk, Moved(2, error=AwsError("denied", hint="ask")), stdout_is_taken=taken)
    assert desk.done[-1] == f"{'stderr' if taken else 'stdout'}: 2 moved"
