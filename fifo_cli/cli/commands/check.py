"""``check``: the command of monitoring systems, whose exit codes and output are the plugins' convention."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, assert_never

import typer

from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.options import Output, complete_files
from fifo_cli.cli.parameters import read_duration
from fifo_cli.errors import ExitCode, FifoError, UsageError

if TYPE_CHECKING:
    from fifo_cli.model.settings import Check
    from fifo_cli.operations.monitor.check import CheckResult

# If anything is wrong with the command itself, the pipeline's state is not known.
_UNKNOWN = ExitCode.AWS


Format = Literal["nagios", "json", "prometheus"]


@command(
    "check",
    impact=Impact.READS,
    usage_code=_UNKNOWN,
    examples=[
        "fifo-cli check --env prod",
        "fifo-cli check --depth 500,5000 --age 10m,30m --dlq 1,10",
        "fifo-cli check --format json",
        "fifo-cli check -q --textfile /var/lib/node_exporter/textfile/orders.prom",
    ],
)
def check(
    cli: Cli,
    *,
    format_: Annotated[
        Format | None,
        typer.Option("--format", metavar="FORMAT", help="nagios (the default), json or prometheus."),
    ] = None,
    depth: Annotated[str | None, typer.Option("--depth", metavar="W,C", help="Messages in main.")] = None,
    age: Annotated[
        str | None, typer.Option("--age", metavar="W,C", help="Age of the oldest, such as 15m,1h.")
    ] = None,
    dlq: Annotated[str | None, typer.Option("--dlq", metavar="W,C", help="Messages in the DLQ.")] = None,
    textfile: Annotated[
        Path | None,
        typer.Option(
            "--textfile",
            metavar="PATH",
            help="Also write Prometheus text to this file, in one step.",
            autocompletion=complete_files,
        ),
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="UNKNOWN if AWS takes longer.")
    ] = "30s",
) -> ExitCode:
    """Report the pipeline's state to a monitoring system: Nagios, Prometheus, JSON.

    Exits 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. W,C are the thresholds of WARNING and CRITICAL: a number
    is a problem from its threshold on; a threshold of 0 means 1. Without these flags they are those of
    [check] in fifo.toml. All that status judges counts, too, such as a paused function or drift. Nothing is
    received and nothing is changed.
    """
    from fifo_cli.render.check_output import prometheus_text

    if format_ is None:
        format_ = "nagios" if cli.options.output is Output.TABLE else "json"
    result = _measure(cli, {"depth": depth, "age": age, "dlq": dlq}, timeout)
    try:
        if textfile is not None:
            write_whole(textfile, prometheus_text(result, time=time.time()))
        if textfile is None or not cli.options.quiet:
            text = _text(format_, result, a_line=cli.options.output is Output.JSONL)
            cli.console.result([text], data=format_ != "nagios")
    except FifoError as error:
        cli.console.error(f"error: {error.message}", hint=error.hint)
        return _UNKNOWN
    # The plugin's codes 0 to 3 have other names among ours, and the same numbers.
    return ExitCode(result.code)


def _measure(cli: Cli, thresholds: Mapping[str, str | None], timeout: str) -> CheckResult:
    """Measure, and turn everything that prevents it into UNKNOWN."""
    from fifo_cli.operations.monitor.check import check, unknown

    pipeline = ""
    try:
        limit = read_duration("--timeout", timeout, example="20s").total_seconds()
        if limit < 1:
            raise UsageError(f"--timeout {timeout}: at least 1s", hint="such as --timeout 20s")
        settings = cli.settings
        pipeline = settings.pipeline.name
        return check(cli.aws, cli.project, _thresholds(settings.check, thresholds), limit=limit)
    except FifoError as error:
        return unknown(pipeline, error)


def _text(format_: Format, result: CheckResult, *, a_line: bool) -> str:
    from fifo_cli.render.check_output import nagios_line, prometheus_text
    from fifo_cli.render.documents import json_document, json_line

    match format_:
        case "nagios":
            return nagios_line(result)
        case "json":
            return (json_line if a_line else json_document)(result.document())
        case "prometheus":
            return prometheus_text(result, time=time.time())
        case _:
            assert_never(format_)


def _thresholds(configured: Check, given: Mapping[str, str | None]) -> Check:
    """Lay the flags over [check]; raise UsageError for what is not a pair of thresholds."""
    from fifo_cli.model.settings import Check

    pairs: dict[str, object] = dict(configured)
    for name, text in given.items():
        if text is None:
            continue
        is_age = name == "age"
        try:
            parts = [part.strip() for part in text.split(",")]
            pairs[name] = parts if is_age else [_number(part) for part in parts]
            Check.model_validate({name: pairs[name]})
        except ValueError:  # pydantic's is one, too
            raise UsageError(
                f"--{name} {text!r}: not warning,critical with warning not above critical",
                hint=f"such as --{name} {'15m,1h' if is_age else '1000,10000'}",
            ) from None
    return Check.model_validate(pairs)


def _number(text: str) -> int:
    """Read digits: int() takes signs, underscores and the digits of other scripts, too."""
    if text.isascii() and text.isdigit():
        return int(text)
    raise ValueError(text)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old or the new one, never half; raises UsageError.

    node_exporter's collector, which runs as another user, may read it; half-written files are not ``*.prom``.
    """
    from fifo_cli.own_files import replace_file

    try:
        replace_file(path, text.encode())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = "make room, or name a file in a folder that this user may write in"
        raise UsageError(f"{path} cannot be written: {reason}", hint=hint) from None
