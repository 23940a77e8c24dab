"""Commands that make a pipeline and keep it: init, plan, package, deploy, keys, schema."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fifo_cli.cli.config import raw_config
from fifo_cli.cli.console import stdin_is_terminal
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Commands, Impact, command
from fifo_cli.cli.options import complete_folders, typed_config
from fifo_cli.cli.parameters import DryRunOfChanges
from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.events import Event, Finished, Listener, Noted, Warned
from fifo_cli.invocation import PROGRAM, typed_before
from fifo_cli.render.progress import line

if TYPE_CHECKING:
    from fifo_cli.model.planning import Plan

# More than a secret holds, so that too much is noticed, and not as much as a wrong file may have.
_SECRET_BYTES_READ = 1 << 17


@command(
    "init",
    impact=Impact.WRITES,
    recorded=False,
    examples=["fifo-cli init", "fifo-cli init shop --name orders"],
)
def init(
    cli: Cli,
    *,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="The folder; it is created if it does not exist.",
            show_default=False,
            autocompletion=complete_folders,
        ),
    ] = Path(),
    name: Annotated[
        str | None, typer.Option("--name", metavar="N", help="Default: the folder's name.")
    ] = None,
) -> ExitCode:
    """Write a commented fifo.toml, never over an existing one."""
    from fifo_cli.operations.deploy.init import init

    result = init(folder, name=name)
    code = cli.emit(result, lambda: f"wrote {result.path}\n")
    elsewhere = [] if folder == Path() else ["--config", str(folder / result.path.name)]
    shows = typed_before([PROGRAM, "plan", *elsewhere])
    cli.listener(
        Noted(
            f"next: set [table] name, [schedule] and [[api]] url in it; then {shows} shows what deploy makes"
        )
    )
    return code


@command(
    "plan",
    impact=Impact.READS,
    examples=["fifo-cli plan", "fifo-cli plan --diff", "fifo-cli plan --check -q --env prod"],
)
def plan(
    cli: Cli,
    *,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if there is anything to change.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show all of what changes in your code, not only its first lines.")
    ] = False,
) -> ExitCode:
    """Show what deploy would change; changes nothing.

    Inside the functions' code it names the settings, the requirements by version, and your files. It shows
    neither the values of headers nor files that look like secrets.
    """
    from fifo_cli.operations.deploy.plan import plan
    from fifo_cli.render.plan import plan_table

    project = cli.project_with_code("message", "request")
    with _warnings_last(cli) as (listener, _):
        result = plan(cli.aws, project, check=check, whole_diff=diff, listener=listener)
        return cli.emit(result, lambda: plan_table(result, whole=diff))


@command("package", impact=Impact.WRITES, recorded=False, examples=["fifo-cli package --out build -o json"])
def package(
    cli: Cli,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The folder. Default: .fifo/build.",
            autocompletion=complete_folders,
        ),
    ] = None,
) -> ExitCode:
    """Build both handler zips, byte-identical for identical input."""
    from fifo_cli.operations.deploy.package import package
    from fifo_cli.render.deploy_tables import zips_table

    project = cli.project_with_code("message", "request")
    result = package(project, out=out, here=cli.options.local, listener=cli.listener)
    return cli.emit(result, lambda: zips_table(result, width=cli.console.width))


@command(
    "deploy",
    impact=Impact.DESTROYS,
    examples=["fifo-cli deploy --dry-run", "fifo-cli deploy --env prod", "fifo-cli deploy --yes -o json"],
)
def deploy(
    cli: Cli,
    *,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over existing resources without a tag.")
    ] = False,
    dry_run: DryRunOfChanges = False,
) -> ExitCode:
    """Make AWS match fifo.toml; a second run changes nothing.

    It asks once more before a change that loses data: a shorter retention, a new stream.
    """
    from fifo_cli.operations.deploy.deploy import deploy
    from fifo_cli.render.deploy_tables import outputs_table
    from fifo_cli.render.plan import plan_sum, plan_table

    project = cli.project_with_code("message", "request")

    is_listed = False

    def confirm(plan: Plan) -> None:
        nonlocal is_listed
        is_listed = not cli.options.yes
        beware = "".join(f"warning: {one}\n" for one in dict.fromkeys(warnings))
        if not is_listed:
            # They say what is going to happen: afterwards it would be too late.
            for one in dict.fromkeys(warnings):
                cli.listener(Warned(one))
        warnings.clear()
        cli.confirm(f"make these changes:\n\n{plan_table(plan)}\n{beware}")
        if plan.losses:
            losses = "\n".join(plan.losses)
            cli.confirm(f"accept what cannot be undone afterwards:\n\n{losses}\n")
        cli.begin(makes_group=True)

    with _warnings_last(cli) as (listener, warnings):
        result = deploy(cli.aws, project, adopt=adopt, confirm=confirm, dry_run=dry_run, listener=listener)
        # What the question has listed is not listed again.
        made = plan_sum if is_listed else plan_table
        return cli.emit(
            result,
            lambda: (
                f"{outputs_table(result.outputs, width=cli.console.width)}\n"
                f"{made(result.plan, done=not dry_run)}\n"
            ),
        )


@contextmanager
def _warnings_last(cli: Cli) -> Iterator[tuple[Listener, list[str]]]:
    """Give a listener that keeps warnings for the end, where nothing scrolls them away, and those so far.

    On a terminal each thing that is done takes the line of the one before: the result lists them.
    """
    warnings: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Warned):
            warnings.append(event.text)
        elif isinstance(event, Finished) and cli.console.error_color:
            cli.console.live(line(event, color=False))
        else:
            cli.listener(event)

    try:
        yield listen, warnings
    finally:
        for text in dict.fromkeys(warnings):
            cli.listener(Warned(text))


@command("schema", impact=Impact.READS, examples=["fifo-cli schema > fifo.schema.json"])
def schema(cli: Cli) -> ExitCode:
    """Print the JSON Schema of fifo.toml."""
    from fifo_cli.model.settings import json_schema

    return cli.emit_document(json_schema())


@command("list", impact=Impact.READS, examples=["fifo-cli keys list", "fifo-cli keys list -o json"])
def list_keys(cli: Cli) -> ExitCode:
    """Show which keys exist, never their values."""
    from fifo_cli.operations.deploy.api_keys import list_keys
    from fifo_cli.render.deploy_tables import keys_table

    result = list_keys(cli.aws, cli.settings)
    return cli.emit(result, lambda: keys_table(result, width=cli.console.width))


@command(
    "set",
    impact=Impact.WRITES,
    examples=["fifo-cli keys set api_key", "pass show example/api | fifo-cli keys set api_key"],
)
def set_key(
    cli: Cli,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The placeholder in [api] keys, or its parameter or secret.",
            autocompletion=_key_names,
        ),
    ],
) -> ExitCode:
    """Set a key to the value that is read from stdin, or asked for without showing it."""
    from fifo_cli.operations.deploy.api_keys import resolve_key, set_key
    from fifo_cli.render.deploy_tables import keys_table

    resolve_key(cli.settings, name)
    value = _read_secret(name)
    cli.begin()
    result = set_key(cli.aws, cli.settings, name, value)
    return cli.emit(result, lambda: keys_table(result, width=cli.console.width))


keys = Commands(
    "keys", "Show and set the keys of the API, in SSM parameters and secrets.", [list_keys, set_key]
)


def _read_secret(name: str) -> str:
    """Read a value from stdin, less one line break at its end, or from the terminal without echo."""
    if stdin_is_terminal():
        from getpass import getpass

        try:
            return getpass(f"Value of {name} (not shown): ", stream=sys.stderr)
        except EOFError:
            return ""
    data = sys.stdin.buffer.read(_SECRET_BYTES_READ) if sys.stdin is not None else b""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # `from None`, and no data in the text: the exception would hold the value.
        raise UsageError(
            f"the value for {name} is not UTF-8 text; nothing was set",
            hint="a header carries text: encode it as the API says, such as base64, and set that",
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


def _key_names(ctx: typer.Context) -> list[str]:
    """Return the placeholders in fifo.toml, for completion."""
    apis = raw_config(typed_config(ctx)).get("api", [])
    tables = apis if isinstance(apis, list) else [apis]
    keys = [table.get("keys", {}) for table in tables if isinstance(table, dict)]
    return sorted({name for found in keys if isinstance(found, dict) for name in found})
