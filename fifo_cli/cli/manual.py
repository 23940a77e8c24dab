"""The man page, from the same registrations as ``--help``: ``fifo-cli manual | man -l -``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import typer

from fifo_cli import __version__
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Command, Commands, Impact, command
from fifo_cli.cli.options import common_options
from fifo_cli.errors import ExitCode
from fifo_cli.invocation import PROGRAM

_EXITS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "Done.",
    ExitCode.ATTENTION: (
        "Done, but something needs a look: a message failed, was parked or stayed behind because of a"
        " failure; drift; a gap in an audit."
    ),
    ExitCode.USAGE: "Usage or configuration error; nothing was touched.",
    ExitCode.AWS: (
        "AWS, or the local stack, refused or could not be reached; what happened until then is reported."
    ),
    ExitCode.BUSY: "Another maintenance operation holds this pipeline.",
    ExitCode.INTERRUPTED: "Interrupted by SIGINT; what was in flight is finished or given back.",
    ExitCode.TERMINATED: "The same, by SIGTERM.",
    ExitCode.HUNG_UP: "The same, by SIGHUP.",
}
_ENVIRONMENT: Final = {
    "FIFO_CONFIG": "The fifo.toml to use, unless --config names one.",
    "FIFO_ENV": "Stands for --env, unless that is given.",
    "FIFO_LOCAL": "1 stands for --local: the embedded stack, never AWS.",
    "NO_COLOR": "If set, no colours. A terminal with TERM=dumb gets none either.",
    "AWS_PROFILE, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, ...": (
        "AWS's own, as every AWS SDK resolves them; --local reads none of them."
    ),
}
_FILES: Final = {
    "fifo.toml": "One pipeline; searched for in this folder and then in the nearest parent.",
    ".fifo/": "Beside it: the embedded stack's state, built zips, checkpoints. It may be deleted.",
}
_IMPACTS: Final = {
    Impact.MOVES: "Moves messages: asks first, unless --yes.",
    Impact.DESTROYS: "May replace or delete: asks first, unless --yes.",
}


def manual_of(app: Commands) -> Command:
    """Return the command that prints the page."""

    @command("manual", impact=Impact.READS, examples=["fifo-cli manual | man -l -"])
    def manual(cli: Cli) -> ExitCode:
        """Print the man page."""
        cli.console.result([page(app)], data=True)
        return ExitCode.OK

    return manual


def page(app: Commands) -> str:
    """Return the man page of all commands in roff, the same on every day and machine."""
    return "".join(f"{line}\n" for line in _page(app, typer.Context(app, info_name=PROGRAM)))


def _page(app: Commands, context: typer.Context) -> Iterator[str]:
    yield f'.TH {PROGRAM.upper()} 1 "" "{PROGRAM} {__version__}" "User Commands"'
    yield from (".SH NAME", f"{_roff(PROGRAM)} \\- {_roff(_decapitalised(app.help or ''))}")
    yield from (".SH SYNOPSIS", f".B {_roff(PROGRAM)}", "[common options] command [options]")
    yield ".SH DESCRIPTION"
    yield _roff(app.help or "")
    yield ".PP"
    yield _roff("stdout carries the result only, stderr all else. With -o json stdout is one JSON document,"
                " with -o jsonl a JSON object a line.")  # fmt: skip
    yield ".SH COMMON OPTIONS"
    yield "They may stand before or after the command."
    yield from _options(common_options().params, context)
    yield ".SH COMMANDS"
    yield from _commands(app, (), context)
    yield from _listed("EXIT STATUS", {str(int(code)): text for code, text in _EXITS.items()})
    yield ".PP"
    yield _roff("check alone follows the monitoring plugins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.")
    yield from _listed("ENVIRONMENT", _ENVIRONMENT)
    yield from _listed("FILES", _FILES)


def _commands(group: Commands, path: tuple[str, ...], context: typer.Context) -> Iterator[str]:
    for name, entry in group.commands.items():
        if isinstance(entry, Commands):
            yield from _commands(entry, (*path, name), context)
        elif isinstance(entry, Command):
            yield from _command(entry, (*path, name), context)


def _command(about: Command, path: tuple[str, ...], context: typer.Context) -> Iterator[str]:
    own = about.get_params(context)
    arguments = [param for param in own if param.param_type_name == "argument"]
    words = [param.metavar if param.required else f"[{param.metavar}]" for param in arguments]
    yield f".SS {_roff(' '.join([*path, *words]))}"
    for number, paragraph in enumerate(re.split(r"\n\s*\n", about.help or "")):
        yield from ([".PP"] if number else [])
        yield _roff(" ".join(paragraph.split()))
    if about.impact in _IMPACTS:
        yield _roff(_IMPACTS[about.impact])
    yield from _options(own, context)
    yield from (".PP", "Examples:", ".PP", ".nf", ".RS 4")
    yield from (_roff(example) for example in about.examples)
    yield from (".RE", ".fi")


def _options(params: Iterable[Any], context: typer.Context) -> Iterator[str]:
    for param in params:
        record = param.get_help_record(context)
        if record is not None:
            names, help = record
            if param.param_type_name == "argument":
                names = param.metavar
            yield from (".TP", f"\\fB{_roff(names)}\\fR", _roff(" ".join(help.split())) or "\\&")


def _listed(heading: str, texts: dict[str, str]) -> Iterator[str]:
    yield f".SH {heading}"
    for name, text in texts.items():
        yield from (".TP", f"\\fB{_roff(name)}\\fR", _roff(text))


def _decapitalised(text: str) -> str:
    return text[0].lower() + text[1:].rstrip(".")


def _roff(text: str) -> str:
    """Escape what roff would act on; hyphens stay hyphens, so that options can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
