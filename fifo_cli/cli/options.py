"""The options every command takes, before or after its name (contract, *Everywhere*)."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fifo_cli import __version__
from fifo_cli.cli.console import Console
from fifo_cli.errors import UsageError

PROGRAM: Final = "fifo-cli"
# They end the run while it is parsed. typer's own --help has no default, so every run would load pydantic.
EAGER: Final = frozenset({"version", "help"})


_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"", "0", "false", "no", "off"})


class Output(StrEnum):
    """The formats of a result on stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Options:
    """The common options, as given before and after the command's name."""

    config: Path | None = None
    env: str | None = None
    local: bool = False
    profile: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    output: Output = Output.TABLE
    quiet: bool = False
    verbose: int = 0
    yes: bool = False
    no_color: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Take what was parsed; None means not given."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in given.items() if name in known and value is not None})

    def filled_from(self, environment: Mapping[str, str]) -> Options:
        """Fill in from $FIFO_ENV and $FIFO_LOCAL what was not given.

        Raises UsageError for a $FIFO_LOCAL that is neither yes nor no: guessing no would mean AWS.
        """
        local = environment.get("FIFO_LOCAL", "").strip().lower()
        if local not in _YES | _NO:
            raise UsageError(
                f"$FIFO_LOCAL is {environment['FIFO_LOCAL']!r}, neither 1 nor 0; nothing was touched",
                hint="set it to 1 for the embedded stack, or unset it",
            )
        env = environment.get("FIFO_ENV") or None
        return replace(self, env=self.env or env, local=self.local or local in _YES)


@dataclass(frozen=True, slots=True)
class Completes:
    """Marks a parameter, inside ``Annotated``, whose values the shell completes by calling ``values``."""

    values: Callable[[Options], Iterable[str]]


# What the shell itself completes (completion.py).
FILES: Final = ":files"
FOLDERS: Final = ":folders"
COMPLETES_FILES: Final = Completes(lambda options: [FILES])
COMPLETES_FOLDERS: Final = Completes(lambda options: [FOLDERS])


def environment_names(options: Options) -> list[str]:
    """Return the names of the ``[env.NAME]`` tables in fifo.toml; none if it cannot be read."""
    from fifo_cli.cli.config import raw_config

    environments = raw_config(options.config).get("env")
    return sorted(environments) if isinstance(environments, dict) else []


def profile_names(options: Options) -> list[str]:
    """Return the profiles in AWS's two files; what cannot be read has none."""
    import configparser

    found = set()
    for variable, default in (
        ("AWS_CONFIG_FILE", "~/.aws/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(os.path.expanduser(os.environ.get(variable) or default), encoding="utf-8")
        except (OSError, ValueError, configparser.Error):
            continue
        for section in parser.sections():
            kind, _, name = section.partition(" ")
            # In the config file all but the default are [profile NAME]; there are [sso-session NAME], too.
            if variable == "AWS_SHARED_CREDENTIALS_FILE" or section == "default":
                found.add(section)
            elif kind == "profile":
                found.add(name.strip())
    return sorted(found)


def _show_version(value: bool) -> None:
    if value:
        Console().result([f"{PROGRAM} {__version__}\n"], data=False)
        raise typer.Exit


def _show_help(ctx: typer.Context, value: bool) -> None:
    if value:
        Console().result([f"{ctx.get_help()}\n"], data=False)
        raise typer.Exit


def _option(*names: str, help: str, metavar: str | None = None, count: bool = False) -> Any:
    return typer.Option(
        *names,
        help=help,
        metavar=metavar,
        count=count,
        show_default=False,
    )


def _common(
    *,
    config: Annotated[Path | None, _option("--config", metavar="PATH", help="The fifo.toml to use.")] = None,
    env: Annotated[
        str | None,
        _option("--env", metavar="NAME", help="Overlay the [env.NAME] tables."),
        Completes(environment_names),
    ] = None,
    local: Annotated[bool, _option("--local", help="Talk to the embedded stack, never to AWS.")] = False,
    profile: Annotated[
        str | None,
        _option("--profile", metavar="NAME", help="The AWS profile."),
        Completes(profile_names),
    ] = None,
    region: Annotated[str | None, _option("--region", metavar="NAME", help="The AWS region.")] = None,
    endpoint_url: Annotated[
        str | None, _option("--endpoint-url", metavar="URL", help="The AWS endpoint, for every service.")
    ] = None,
    output: Annotated[
        Output | None, _option("--output", "-o", metavar="FORMAT", help="table, json or jsonl.")
    ] = None,
    quiet: Annotated[bool, _option("--quiet", "-q", help="Say nothing of progress.")] = False,
    verbose: Annotated[
        int | None, _option("--verbose", "-v", count=True, help="Say more; -vv: most.")
    ] = None,
    yes: Annotated[bool, _option("--yes", "-y", help="Skip the question.")] = False,
    no_color: Annotated[bool, _option("--no-color", help="No colours.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
    help: Annotated[
        bool, typer.Option("--help", "-h", help="Show this and exit.", callback=_show_help, is_eager=True)
    ] = False,
) -> None:
    """Declare the common options, once."""


COMMON: Final = tuple(inspect.signature(_common, eval_str=True).parameters.values())
COMMON_NAMES: Final = frozenset(parameter.name for parameter in COMMON)
if {field.name for field in fields(Options)} != COMMON_NAMES - EAGER:
    raise AssertionError("Options and the common options differ")
