"""The program: its commands, and the one place where errors become messages and exit codes.

docs/ops-box.md says what an exit code means. A defect of this program exits 3 too: what was done until then
is not known.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from typer import TyperException

from fifo_cli.cli import completion, manual
from fifo_cli.cli.config import raw_config
from fifo_cli.cli.console import Console, announce
from fifo_cli.cli.framework import Command, Commands, ProgramRun
from fifo_cli.cli.options import Options
from fifo_cli.cli.signals import Signals
from fifo_cli.errors import (
    DeclinedError,
    ExitCode,
    FifoError,
    Interrupted,
    NotDeployedError,
    UsageError,
    without_login,
)
from fifo_cli.invocation import PROGRAM, command_line

if TYPE_CHECKING:
    from fifo_cli.aws.consistency import ConsistencyDelays

_MODULES: Final = {
    "deploy": ["init", "plan", "package", "deploy", "keys", "schema"],
    "lifecycle": ["rollback", "pause", "resume", "destroy", "policy"],
    "queues": ["depth", "peek", "drain"],
    "transfer": ["redrive", "park"],
    "files": ["dump", "load", "purge"],
    "replay": ["replay"],
    "table": ["put"],
    "monitor": ["status", "logs"],
    "trace": ["trace", "audit", "history"],
    "check": ["check"],
    "watch": ["watch"],
    "local": ["local"],
    "demo": ["demo"],
    "prove": ["prove"],
}
_ENVIRONMENTS_SHOWN: Final = 3
# What is taken for options may be a value, such as a key that is -1.
_SHORT: Final = re.compile(r"No such option: -[^-]")
# In the order of the help.
app = Commands(
    PROGRAM,
    "Provision and operate an ordered DynamoDB -> SQS FIFO -> HTTP API pipeline on AWS.",
    [completion.completion],
    modules={f"fifo_cli.cli.commands.{module}": names for module, names in _MODULES.items()},
)
app.add_command(manual.manual_of(app))


def main(
    arguments: Sequence[str] | None = None,
    *,
    commands: Commands = app,
    signals: Signals | None = None,
    delays: ConsistencyDelays | None = None,
) -> int:
    """Run the command line and return its exit code; no exception leaves it.

    ``delays`` says how late AWS shows changes, where that is not what its endpoints promise.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    shell = os.environ.get(completion.SHELL_VARIABLE)
    if shell:
        return completion.answer(commands, shell, arguments)
    signals = signals or Signals(announce)
    run = ProgramRun(signals, delays)
    try:
        with signals.handled():
            return run.end(_invoke(run, commands, arguments))
    except KeyboardInterrupt:
        _report(run, "interrupted")
        return signals.exit_code


def _invoke(run: ProgramRun, commands: Commands, arguments: list[str]) -> int:
    try:
        code = commands.main(args=arguments, prog_name=PROGRAM, standalone_mode=False, obj=run)
        if run.signals.received is None:
            return int(code or 0)
        # A command reports for itself. Before it began, typer took the interrupt for an exit without a word.
        return run.signals.exit_code if run.begun else _report(run, "interrupted", code=run.signals.exit_code)
    except FifoError as error:
        return _report_error(run, error, cause=error)
    except TyperException as error:
        return _report_usage(run, error)
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except Exception as error:  # noqa: BLE001 - the border: what else escapes is a defect, reported as one
        return _report_error(run, _translated(error), cause=error)


def _report_usage(run: ProgramRun, error: Any) -> int:
    """Report a command line that typer could not parse."""
    context = getattr(error, "ctx", None)
    if context is None:
        return _report(run, f"error: {_text(error)}", code=ExitCode.USAGE)
    command = context.command
    hint = f"`{context.command_path} --help` shows what it takes"
    if _SHORT.match(_text(error)):
        hint += "; a value that begins with a hyphen stands at the end, behind `--`"
    repeatable = [one.opts[0] for one in command.params if getattr(one, "multiple", False)]
    if repeatable and "extra argument" in _text(error):
        option = repeatable[0]
        hint += f"; {option} takes one value, and may be repeated: {option} A {option} B"
    return _report(
        run,
        f"{context.get_usage()}\nerror: {_text(error)}",
        hint=hint,
        code=command.usage_code if isinstance(command, Command) else ExitCode.USAGE,
    )


def _text(error: Any) -> str:
    """Return the words of a usage error on one line, without pydantic's, with which typer reads values."""
    return " ".join(str(error.format_message()).replace("Value error, ", "").split())


def _report_error(run: ProgramRun, error: FifoError, *, cause: Exception) -> int:
    """Report an error; after a signal, it is the signal that ended the command, with its exit code."""
    run.error = error.message
    text = (
        error.message
        if isinstance(error, Interrupted | DeclinedError | _Defect)
        else f"error: {error.message}"
    )
    code = run.signals.exit_code if run.signals.received else error.exit_code
    hint = _hint_of_another(run.options, error.hint) if isinstance(error, NotDeployedError) else error.hint
    return _report(run, text, hint=hint, code=code, cause=cause)


def _hint_of_another(options: Options, hint: str) -> str:
    """Put fifo.toml's other environments before the hint of what is not deployed: one may be meant."""
    found = raw_config(options.config).get("env")
    others = [name for name in found if name != options.env] if isinstance(found, dict) else []
    if not others:
        return hint
    if options.env is not None:
        return f"{hint}; fifo.toml also has --env {', '.join(map(shlex.quote, others))}"
    commands = " or ".join(command_line("status --env", name) for name in others[:_ENVIRONMENTS_SHOWN])
    return f"{commands}, if that pipeline is meant; else {hint}"


def _disk_hint(error: OSError) -> str:
    """Say what helps against what the system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"make room on the disk that holds {error.filename}"
    return f"look at the file or folder {error.filename}, and at who may use it"


class _Defect(FifoError):
    """An exception that nothing here expected."""


def _translated(error: Exception) -> FifoError:
    """Turn what escaped a command into an error of ours; a defect, if it can be nothing else."""
    # By its ancestors: errors of ours are botocore's, too (aws/errors.py). botocore may not be loaded.
    if any(kind.__module__.partition(".")[0] == "botocore" for kind in type(error).__mro__):
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        from fifo_cli.aws.errors import explain

        if isinstance(error, ClientError | BotoCoreError | ResponseParserError):
            return explain(error)
    if isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):
        # botocore's own words and class, whether it came by option, environment or profile.
        hint = (
            "an endpoint is a URL such as http://127.0.0.1:4566; look at --endpoint-url and $AWS_ENDPOINT_URL"
        )
        return UsageError(f"{error}", hint=hint)
    if isinstance(error, RecursionError):
        return UsageError("the input is nested too deeply", hint="give it flatter JSON")
    if isinstance(error, OSError) and error.filename is not None:
        return FifoError(f"{error.filename}: {error.strerror}", hint=_disk_hint(error))
    return _Defect(
        f"internal error: {type(error).__name__}: {error}",
        hint=f"this is a defect of {PROGRAM}; please report it, with the output of -vv",
    )


def _report(
    run: ProgramRun,
    message: str,
    *,
    hint: str = "",
    code: int = ExitCode.OK,
    cause: BaseException | None = None,
) -> int:
    """Write an error and its next step to stderr, with -vv the traceback below; return ``code``."""
    options = run.options
    trace = ""
    if cause is not None and options.verbose > 1:
        import traceback

        trace = without_login("".join(traceback.format_exception(cause)).rstrip())
    Console(no_color=options.no_color).error(message, hint=hint, trace=trace)
    return code
