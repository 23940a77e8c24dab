"""The border: whatever a command raises becomes a message, a next step and an exit code, and no traceback."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError

from fifo_cli.cli.app import main
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Commands, Impact, command
from fifo_cli.errors import (
    AbandonedError,
    AwsError,
    BusyError,
    ConfigError,
    DeclinedError,
    ExitCode,
    FifoError,
    Interrupted,
    NeedsAttention,
    NotDeployedError,
    StackError,
    UsageError,
)


def running(body: Callable[[Cli], Any]) -> Commands:
    @command("run", impact=Impact.READS, examples=["prog run"])
    def run(cli: Cli) -> ExitCode:
        """Run."""
        result: ExitCode = body(cli)
        return result

    return Commands("prog", "A program.", [run])


def raising(error: BaseException) -> Commands:
    def body(cli: Cli) -> ExitCode:
        raise error

    return running(body)


ERRORS: list[tuple[FifoError, int]] = [
    (UsageError("m", hint="h"), 2),
    (ConfigError("m", ["a", "b"], hint="h"), 2),
    (AwsError("m", hint="h"), 3),
    (AbandonedError("m", hint="h"), 3),
    (NotDeployedError("m", hint="h"), 3),
    (StackError("m", hint="h"), 3),
    (NeedsAttention("m", hint="h"), 1),
    (BusyError("m", hint="h"), 75),
]


@pytest.mark.parametrize(("error", "code"), ERRORS)
def test_every_error_of_ours_is_reported_on_stderr_with_its_exit_code(
    error: FifoError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "-o", "json"], commands=raising(error)) == code
    assert capsys.readouterr() == ("", f"error: {error.message}\nnext: h\n")


def test_no_is_an_answer_and_not_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"], commands=raising(DeclinedError("Nothing was changed."))) == 2
    assert capsys.readouterr() == ("", "Nothing was changed.\n")


TWO = '[env.prod.pipeline]\nname = "p"\n[env."pre prod".pipeline]\nname = "q"\n'
OTHERS: list[tuple[str, tuple[str, ...], str]] = [
    (
        TWO,
        (),
        "`fifo-cli status --env prod` or `fifo-cli status --env 'pre prod'`, if that pipeline is meant;",
    ),
    (
        TWO,
        ("--local",),
        "`fifo-cli status --env prod --local` or `fifo-cli status --env 'pre prod' --local`, if",
    ),
    (TWO, ("--env", "prod"), "h; fifo.toml also has --env 'pre prod'"),
    (TWO.partition('\n[env."')[0], ("--env", "prod"), "h"),
    ('[pipeline]\nname = "p"\n', (), "h"),
    ("env = 3", (), "h"),
    ("[env]", (), "h"),
    ("[[[", (), "h"),
    (
        "".join(f"[env.e{number}]\n" for number in range(5)),
        (),
        "`fifo-cli status --env e0` or `fifo-cli status --env e1`",
    ),
]


@pytest.mark.parametrize(("toml", "words", "hint"), OTHERS)
def test_what_is_not_deployed_may_be_another_environment(
    toml: str,
    words: tuple[str, ...],
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fifo.toml").write_text(toml)
    assert main(["run", *words], commands=raising(NotDeployedError("m", hint="h"))) == 3
    message = capsys.readouterr().err
    assert message.startswith(f"error: m\nnext: {hint}")
    assert message.count("fifo-cli status") <= 3


def test_no_class_of_errors_is_forgotten() -> None:
    def leaves(kind: type[FifoError]) -> set[type[FifoError]]:
        return {kind}.union(*(leaves(below) for below in kind.__subclasses__()))

    assert {type(error) for error, _ in ERRORS} | {FifoError, Interrupted, DeclinedError} == {
        kind for kind in leaves(FifoError) if kind.__module__ == "fifo_cli.errors"
    }


def test_an_error_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run"], commands=raising(AwsError("a\x1b[2J\nb", hint="c\x07")))

    assert capsys.readouterr().err == "error: a\\x1b[2J\nb\nnext: c\\x07\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SendMessage"),
            3,
            "permission denied",
        ),
        (NoCredentialsError(), 3, "no usable AWS credentials"),
        (ParamValidationError(report="x"), 2, "refused the call"),
        (ValueError("Invalid endpoint: bogus"), 2, "Invalid endpoint: bogus"),
        (PermissionError(13, "Permission denied", "/etc/x"), 3, "error: /etc/x: Permission denied"),
        (RecursionError("maximum"), 2, "nested too deeply"),
        (RuntimeError("odd"), 3, "internal error: RuntimeError: odd"),
        (OSError("odd"), 3, "internal error: OSError: odd"),
        (MemoryError(), 3, "internal error: MemoryError"),
        (SystemExit(4), 4, ""),
        (SystemExit("text"), 1, ""),
        (SystemExit(), 0, ""),
    ],
)
def test_whatever_else_escapes_is_reported_without_a_traceback(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run"], commands=raising(error)) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [RuntimeError("odd"), AwsError("refused")])
def test_vv_adds_the_traceback_below_the_message(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["-v", "run", "-v"], commands=raising(error))
    text = capsys.readouterr().err
    assert text.index("error: ") < text.index("Traceback") < text.index("raise error")

    main(["run", "-v"], commands=raising(error))
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_interrupts_a_command_that_does_not_wait_for_it(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(cli: Cli) -> ExitCode:
        signal.raise_signal(number)
        return ExitCode.OK

    assert main(["run"], commands=running(body)) == code
    assert capsys.readouterr() == ("", "interrupted\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("raises", [False, True])
def test_a_command_that_waits_for_it_finishes_and_exits_with_the_signal_s_code(
    number: signal.Signals, code: int, raises: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(cli: Cli) -> ExitCode:
        with cli.stopping() as stop:
            signal.raise_signal(number)
            assert stop.wait(60)
        cli.console.result(["summary\n"], data=True)
        if raises:
            raise FifoError("half done")
        return ExitCode.ATTENTION

    assert main(["run"], commands=running(body)) == code

    out, err = capsys.readouterr()
    assert out == "summary\n"
    assert err == ("error: half done\n" if raises else "")


def test_a_body_that_raises_interrupted_keeps_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    error = Interrupted("stopped at 3", exit_code=ExitCode.TERMINATED)

    assert main(["run"], commands=raising(error)) == 143
    assert capsys.readouterr().err == "stopped at 3\n"
