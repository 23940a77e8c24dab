"""The question before something is moved or destroyed."""

from __future__ import annotations

import io
import sys

import pytest

from fifo_cli.cli.console import Console, ask
from fifo_cli.errors import DeclinedError, ExitCode, UsageError


class Terminal(io.StringIO):
    """A stdin with a person behind it."""

    def isatty(self) -> bool:
        return True


def where() -> list[tuple[str, str]]:
    return [("pipeline", "orders"), ("account", "111122223333"), ("region", "eu-west-1")]


def put(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    ask(Console(), "redrive 3 messages", where=where)


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " yes \n"])
def test_a_yes_goes_on_and_the_question_names_everything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    put(monkeypatch, answer)

    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "About to redrive 3 messages\n"
        "pipeline:  orders\naccount:   111122223333\nregion:    eu-west-1\n"
        "Go ahead? [y/N] "
    )


@pytest.mark.parametrize("answer", ["\n", "", "n\n", "yess\n", "j\n"])
def test_anything_else_is_a_no(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    with pytest.raises(DeclinedError, match=r"^Nothing was changed\.$") as caught:
        put(monkeypatch, answer)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("stdin", [io.StringIO("y\n"), None])
def test_without_a_terminal_nobody_is_asked_and_aws_neither(
    monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)

    with pytest.raises(UsageError, match="no terminal to ask on, so nothing was touched") as caught:
        ask(Console(), "redrive", where=lambda: pytest.fail("asked AWS who we are"))

    assert "--yes" in caught.value.hint


def test_what_is_asked_cannot_act_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))

    ask(Console(), "park \x1b[2J\nnow", where=where)

    assert capsys.readouterr().err.startswith("About to park \\x1b[2J\nnow\n")
