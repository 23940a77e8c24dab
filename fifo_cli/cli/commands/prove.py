"""The command that proves the tool on the user's own account: prove."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fifo_cli.cli.console import ask, paced, stdin_is_terminal
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.options import complete_files
from fifo_cli.errors import ExitCode, FifoError, UsageError, without_login
from fifo_cli.invocation import command_line

if TYPE_CHECKING:
    from fifo_cli.model.prove_result import Left, ProveResult
    from fifo_cli.operations.prove.check_context import Waits
    from fifo_cli.operations.prove.cleaning import Cleaner
    from fifo_cli.operations.prove.prove import Earlier, ProveRun
    from fifo_cli.operations.prove.receiver import HttpReceiver
    from fifo_cli.operations.prove.run_resources import RunResources

_SECRET: Final = "FIFO_PROVE_SECRET"
_ALSO_MAKES: Final = "a schedule, 2 event source mappings, 2 parameters, and for a moment some IAM policies"
_MAKES: Final = (
    "2 tables, 4 queues, 3 functions with their roles and log groups, a public URL of one of them,"
    f" {_ALSO_MAKES}"
)
_MAKES_FOR_ANOTHER_API: Final = (
    f"a table, 4 queues, 2 functions with their roles and log groups, {_ALSO_MAKES}"
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
        ),
    ] = None,
) -> ExitCode:
    """Prove on this account that all of it works, by a pipeline of its own that is checked at every step.

    It deploys a pipeline with a random name, puts it through its whole life, measures what AWS really does,
    and removes everything. It takes some 30 minutes, asks first, and touches no other pipeline. Exits 1 if a
    check failed or something could not be removed.
    """
    from fifo_cli.aws.call_counts import counted
    from fifo_cli.operations.prove.prove import earlier, remove_earlier, with_earlier
    from fifo_cli.operations.prove.run_folder import run_folder

    if clean:
        _check_alone({"--keep": keep, "--api": api, "--long": long, "--report": report})
    _check_report(report)
    receiver = _receiver(cli, api)
    with run_folder() as folder, counted(folder):
        before = earlier(cli.account)
        if clean:
            return _clean(cli, before)
        run = _planned(cli, receiver, folder, keep=keep, long=long)
        over = [one for one in before.runs if not one.running]
        _ask(cli, run, over)
        # A second Ctrl-C may come before the first one has got to the removal.
        cli.signals.first_only()
        cleaner = _cleaner(cli, run.waits)
        removed, left = remove_earlier(cleaner, [one.pipeline for one in over])
        result = with_earlier(_run(cli, run), removed, [*before.left, *left])
    return _conclude(cli, result, report)


def _check_alone(others: Mapping[str, object]) -> None:
    """Refuse what only a run has, beside --clean."""
    if given := [name for name, value in others.items() if value]:
        raise UsageError(
            f"--clean only removes what earlier runs left: {' and '.join(given)} cannot go with it",
            hint="give --clean alone",
        )


def _planned(cli: Cli, receiver: HttpReceiver | None, folder: Path, *, keep: bool, long: bool) -> ProveRun:
    from fifo_cli.operations.prove.prove import ProveRun

    return ProveRun(
        cli.account,
        _waits(cli, long=long),
        _where(cli),
        os.environ,
        folder,
        receiver,
        keep=keep,
        listener=paced(cli.console),
        uninterrupted=cli.signals.stopping,
        interrupted=lambda: cli.signals.received is not None,
        shared_folder=_shared_folder(cli),
    )


def _run(cli: Cli, run: ProveRun) -> ProveResult:
    from dataclasses import replace

    from fifo_cli.operations.prove.prove import prove

    cli.signals.first_only("what was made is kept" if run.keep else "removing all that was made")
    with _stand_in(cli, run.api) as stand_in:
        return prove(replace(run, stand_in=stand_in))


def _clean(cli: Cli, before: Earlier) -> ExitCode:
    """Remove what earlier runs left; what may still be at work only if the question names it."""
    from fifo_cli.operations.prove.prove import cleaned
    from fifo_cli.render.prove_text import prove_text

    found = [one for one in before.runs if not (one.running and cli.options.yes)]
    stays = [_at_work(one) for one in before.runs if one not in found]
    if found:
        names = "\n".join(f"  {one.pipeline}{' (may be running)' if one.running else ''}" for one in found)
        _ask_about(cli, f"remove all that these runs of prove made:\n{names}\n", _place(cli))
        cli.signals.first_only()
    cleaner = _cleaner(cli, _waits(cli, long=False))
    result = cleaned(cli.account, cleaner, [one.pipeline for one in found], [*stays, *before.left])
    return cli.emit(result, lambda: prove_text(result, width=cli.console.width))


def _at_work(run: RunResources) -> Left:
    from fifo_cli.model.prove_result import Left

    host, _, rest = run.owner.partition("/")
    until = rest.partition("/")[2]
    return Left(
        "pipeline",
        run.pipeline,
        f"its run may be at work on {host} until {until}; --clean removes it without --yes, or after that",
        command_line("prove --clean").strip("`"),
    )


def _ask(cli: Cli, run: ProveRun, over: list[RunResources]) -> None:
    also = f"; first remove what is left of {', '.join(one.pipeline for one in over)}" if over else ""
    makes = _MAKES if run.api is None else f"{_MAKES_FOR_ANOTHER_API}; the items go to {run.api.url}"
    then = "leave it there (--keep)" if run.keep else "remove it"
    what = f"deploy a pipeline of its own ({makes}), put it through its whole life, and {then}{also}"
    _ask_about(cli, what, {"pipeline": run.name, **_place(cli), **_effort(run)})


def _effort(run: ProveRun) -> dict[str, str]:
    """Return how long a run takes and what it costs, as the question shows it."""
    from fifo_cli.operations.prove.cost import bound
    from fifo_cli.operations.prove.prove import endpoint_of
    from fifo_cli.render.prove_page import seconds

    idle = f", and {seconds(run.waits.idle)} in which nothing happens (--long)" if run.waits.idle else ""
    if endpoint_of(run.aws):
        return {"takes": f"a few minutes{idle}", "cost": "nothing: this is not AWS"}
    return {"takes": f"some 30 minutes{idle}", "cost": bound(run.waits)}


def _ask_about(cli: Cli, what: str, shown: Mapping[str, str]) -> None:
    """Ask, unless --yes was given; raises UsageError, with nothing touched, without a yes."""
    if cli.options.yes:
        return
    if not stdin_is_terminal():
        what += "".join(f"; {name}: {text}" for name, text in shown.items())
    ask(cli.console, what, where=shown.items, hint="go ahead with --yes")


def _place(cli: Cli) -> dict[str, str]:
    from fifo_cli.operations.prove.prove import endpoint_of

    aws = cli.account
    endpoint = endpoint_of(aws)
    return {
        "account": aws.place.account + (" (the embedded stack)" if cli.options.local else ""),
        "region": aws.place.region,
        **({"endpoint": f"{without_login(endpoint)} (an emulator, not AWS)"} if endpoint else {}),
        "as": aws.caller,
    }


def _cleaner(cli: Cli, waits: Waits) -> Cleaner:
    import time

    from fifo_cli.operations.prove.cleaning import Cleaner

    return Cleaner(
        cli.account, _where(cli), os.environ, cli.listener, waits.gone, time.sleep, _shared_folder(cli)
    )


def _where(cli: Cli) -> list[str]:
    """Return the options by which the commands of a run mean the same AWS as this one."""
    options = cli.options
    region = cli.account.region
    given = {"--profile": options.profile, "--endpoint-url": options.endpoint_url, "--region": region}
    words = [word for name, value in given.items() if value for word in (name, value)]
    return [*(["--local"] if options.local else []), *words]


def _shared_folder(cli: Cli) -> Path | None:
    """Return the folder of the embedded stack's files, in which --local finds the stack."""
    from fifo_cli.local.process import FOLDER

    return cli.folder.absolute() / FOLDER if cli.options.local else None


def _waits(cli: Cli, *, long: bool) -> Waits:
    from dataclasses import replace

    from fifo_cli.aws import consistency
    from fifo_cli.operations.prove.check_context import AT_ONCE, IDLE_SECONDS, IDLE_SECONDS_AT_ONCE, LATE

    waits, idle = LATE, IDLE_SECONDS
    if cli.account.delays == consistency.AT_ONCE:
        waits, idle = AT_ONCE, IDLE_SECONDS_AT_ONCE
    return replace(waits, idle=idle) if long else waits


def _receiver(cli: Cli, api: str | None) -> HttpReceiver | None:
    if api is None:
        return None
    from fifo_cli.aws.resources.gateway import Waiter
    from fifo_cli.model.receiver_protocol import check_secret
    from fifo_cli.operations.prove.receiver import HttpReceiver

    secret = os.environ.get(_SECRET, "")
    if not secret:
        raise UsageError(
            f"--api needs the secret of that receiver in ${_SECRET}",
            hint="docs/prove.md says how a receiver is started",
        )
    try:
        check_secret(secret)
    except ValueError as error:
        raise UsageError(f"${_SECRET}: {error}", hint="docs/prove.md says how one is made") from None
    return HttpReceiver(api, secret, Waiter(cli.listener))


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

    suffix, folder = report.suffix.lower(), report.absolute().parent
    for is_wrong, why, hint in (
        (suffix not in {".json", ".html"}, "it ends neither in .json nor in .html", "give it one of the two"),
        (report.is_dir(), "it is a folder", "name a file in it"),
        (not folder.is_dir(), f"the folder {report.parent} does not exist", "make the folder first"),
        (
            not os.access(folder, os.W_OK),
            f"you may not write into the folder {report.parent}",
            "name another one",
        ),
    ):
        if is_wrong:
            raise UsageError(f"--report {report}: {why}", hint=hint)
    check_folder(report.parent)
    check_own(report)


def _conclude(cli: Cli, result: ProveResult, report: Path | None) -> ExitCode:
    from fifo_cli.render.documents import json_document
    from fifo_cli.render.prove_text import prove_text

    code = cli.emit(result, lambda: prove_text(result, width=cli.console.width))
    if report is not None:
        from fifo_cli.own_files import replace_file

        if report.suffix.lower() == ".html":
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
