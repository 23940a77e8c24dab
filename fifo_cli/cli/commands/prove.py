"""The command that proves the tool on the user's own account: prove."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fifo_cli.cli.console import ask, paced
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.options import complete_files
from fifo_cli.errors import ExitCode, FifoError, UsageError

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.prove_result import ProveResult
    from fifo_cli.operations.prove.cleaning import Cleaner, Remains
    from fifo_cli.operations.prove.receiver import HttpReceiver
    from fifo_cli.operations.prove.stage import Waits

_SECRET: Final = "FIFO_PROVE_SECRET"
_MAKES: Final = (
    "2 tables, 4 queues, 3 functions with their roles and log groups, a function URL, a schedule,"
    " 2 event source mappings, 2 parameters, and for a moment some IAM policies"
)


@command(
    "prove",
    impact=Impact.WRITES,
    recorded=False,
    examples=["fifo-cli prove", "fifo-cli prove --report report.html", "fifo-cli prove --clean"],
)
def prove(
    cli: Cli,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what was made, to look at it.")] = False,
    clean: Annotated[bool, typer.Option("--clean", help="Only remove what earlier runs left.")] = False,
    api: Annotated[
        str | None,
        typer.Option(
            "--api",
            metavar="URL",
            help="Deliver to this receiver, not to a function of its own; $FIFO_PROVE_SECRET is its secret.",
            show_default=False,
        ),
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="Also wait for three idle hours.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Also write the report there: .json, or .html for a page.",
            autocompletion=complete_files,
            show_default=False,
        ),
    ] = None,
) -> ExitCode:
    """Prove on this account that all of it works, by a pipeline of its own that is checked at every step.

    It deploys a pipeline with a random name, puts it through its whole life, measures what AWS really does,
    and removes everything. It takes some 30 minutes, asks first, and touches no other pipeline. Exits 1 if a
    check failed or something could not be removed.
    """
    from fifo_cli.operations.prove.cleaning import remains

    _check_report(report)
    receiver = _receiver(api)
    aws = cli.account
    earlier = remains(aws)
    if clean:
        return _clean(cli, aws, earlier)
    waits = _waits(aws, long=long)
    over = [one for one in earlier if one.resources and not one.running]
    _ask(cli, aws, waits, over)
    # A second Ctrl-C may come before the first one has got to the removal.
    cli.signals.first_only()
    for one in over:
        _cleaner(cli, aws, waits).remove(one.pipeline)
    with _stand_in(cli, receiver) as stand_in:
        result = _run(cli, aws, waits, receiver, stand_in, keep=keep)
    return _conclude(cli, result, report)


def _run(
    cli: Cli,
    aws: Aws,
    waits: Waits,
    receiver: HttpReceiver | None,
    stand_in: HttpReceiver | None,
    *,
    keep: bool,
) -> ProveResult:
    from fifo_cli.operations.prove.life import ProveRun, prove

    return prove(
        ProveRun(
            aws,
            waits,
            _where(cli, aws),
            os.environ,
            receiver,
            stand_in,
            keep=keep,
            listener=paced(cli.console),
            uninterrupted=cli.signals.stopping,
            interrupted=lambda: cli.signals.received is not None,
            shared_folder=_shared_folder(cli),
        )
    )


def _clean(cli: Cli, aws: Aws, earlier: list[Remains]) -> ExitCode:
    """Remove what earlier runs left, those that may still be at work included."""
    from fifo_cli.operations.prove.life import cleaned
    from fifo_cli.render.prove_text import prove_text

    found = [one for one in earlier if one.resources]
    if found:
        names = "\n".join(f"  {one.pipeline}{' (may be running)' if one.running else ''}" for one in found)
        _ask_about(cli, f"remove all that these runs of prove made:\n{names}\n", aws)
        cli.signals.first_only()
    result = cleaned(aws, _cleaner(cli, aws, _waits(aws, long=False)), [one.pipeline for one in found])
    return cli.emit(result, lambda: prove_text(result, width=cli.console.width))


def _ask(cli: Cli, aws: Aws, waits: Waits, over: list[Remains]) -> None:
    from fifo_cli.operations.prove.cost import bound

    also = f"; first remove what is left of {', '.join(one.pipeline for one in over)}" if over else ""
    _ask_about(
        cli,
        f"deploy a pipeline of its own ({_MAKES}), put it through its whole life, and remove it{also};"
        f" cost: {bound(waits)}",
        aws,
    )


def _ask_about(cli: Cli, what: str, aws: Aws) -> None:
    """Ask, unless --yes was given; raises UsageError, with nothing touched, without a yes."""
    if not cli.options.yes:
        ask(cli.console, what, where=lambda: _place(cli, aws))


def _place(cli: Cli, aws: Aws) -> Iterator[tuple[str, str]]:
    yield "account", aws.place.account + (" (the embedded stack)" if cli.options.local else "")
    yield "region", aws.place.region
    yield "as", aws.caller


def _cleaner(cli: Cli, aws: Aws, waits: Waits) -> Cleaner:
    import time

    from fifo_cli.operations.prove.cleaning import Cleaner

    return Cleaner(
        aws, _where(cli, aws), os.environ, cli.listener, waits.gone, time.sleep, _shared_folder(cli)
    )


def _where(cli: Cli, aws: Aws) -> list[str]:
    """Return the options by which the commands of a run mean the same AWS as this one."""
    options = cli.options
    given = {"--profile": options.profile, "--endpoint-url": options.endpoint_url, "--region": aws.region}
    words = [word for name, value in given.items() if value for word in (name, value)]
    return [*(["--local"] if options.local else []), *words]


def _shared_folder(cli: Cli) -> Path | None:
    """Return the folder of the embedded stack's files, in which --local finds the stack."""
    from fifo_cli.local.process import FOLDER

    return cli.folder.absolute() / FOLDER if cli.options.local else None


def _waits(aws: Aws, *, long: bool) -> Waits:
    from dataclasses import replace

    from fifo_cli.aws import consistency
    from fifo_cli.operations.prove.stage import AT_ONCE, IDLE_SECONDS, IDLE_SECONDS_AT_ONCE, LATE

    waits, idle = LATE, IDLE_SECONDS
    if aws.delays == consistency.AT_ONCE:
        waits, idle = AT_ONCE, IDLE_SECONDS_AT_ONCE
    return replace(waits, idle=idle) if long else waits


def _receiver(api: str | None) -> HttpReceiver | None:
    if api is None:
        return None
    from fifo_cli.operations.prove.receiver import HttpReceiver

    secret = os.environ.get(_SECRET, "")
    if not secret:
        raise UsageError(
            f"--api needs the secret of that receiver in ${_SECRET}",
            hint="docs/prove.md says how a receiver is started",
        )
    return HttpReceiver(api, secret)


@contextmanager
def _stand_in(cli: Cli, receiver: HttpReceiver | None) -> Iterator[HttpReceiver | None]:
    """Run the API on loopback for the embedded stack, whose functions can reach it there."""
    if receiver is not None or not cli.options.local:
        yield None
        return
    import secrets

    from fifo_cli.local.prove_receiver import ProveReceiver
    from fifo_cli.operations.prove.receiver import HttpReceiver

    secret = secrets.token_urlsafe(32)
    server = ProveReceiver(secret)
    with server:
        yield HttpReceiver(server.url, secret)


def _check_report(report: Path | None) -> None:
    """Refuse a report that could not be written, before anything is made."""
    if report is None:
        return
    from fifo_cli.own_files import check_folder, check_own

    if report.suffix not in {".json", ".html"}:
        raise UsageError(
            f"--report {report}: it ends neither in .json nor in .html", hint="give it one of the two"
        )
    if not report.absolute().parent.is_dir():
        raise UsageError(
            f"--report {report}: the folder {report.parent} does not exist", hint="make the folder first"
        )
    if not os.access(report.absolute().parent, os.W_OK):
        raise UsageError(
            f"--report {report}: you may not write into the folder {report.parent}", hint="name another one"
        )
    check_folder(report.parent)
    check_own(report)


def _conclude(cli: Cli, result: ProveResult, report: Path | None) -> ExitCode:
    from fifo_cli.render.documents import json_document
    from fifo_cli.render.prove_text import prove_text

    code = cli.emit(result, lambda: prove_text(result, width=cli.console.width))
    if report is not None:
        from fifo_cli.own_files import replace_file

        if report.suffix == ".html":
            from fifo_cli.render.prove_page import prove_page

            text = prove_page(result)
        else:
            text = json_document(result.document())
        try:
            replace_file(report, text.encode())
        except OSError as error:
            raise FifoError(
                f"the report was not written: {report}: {error.strerror}",
                hint="the JSON of -o json, or the text above, has the same",
            ) from None
    return code
