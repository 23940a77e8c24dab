"""The options every command takes, before or after its name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fifo_cli.cli.config import raw_config
from fifo_cli.errors import UsageError

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"", "0", "false", "no", "off"})


class Output(StrEnum):
    """The formats of a result on stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


# What the shell itself completes (completion.py).
FILES: Final = ":files"
FOLDERS: Final = ":folders"


def complete_files(incomplete: str) -> list[tuple[str, str]]:
    """Leave an option's or argument's values to the shell: names of files (for ``autocompletion=``)."""
    return [(incomplete, FILES)]


def complete_folders(incomplete: str) -> list[tuple[str, str]]:
    """Leave an option's or argument's values to the shell: names of folders."""
    return [(incomplete, FOLDERS)]


def typed_config(ctx: typer.Context) -> Path | None:
    """Return the --config of an unfinished command line, for completion; the shell has not expanded ``~``."""
    place: Any = ctx
    while place is not None:
        if place.params.get("config"):
            return Path(place.params["config"]).expanduser()
        place = place.parent
    return None


def environment_names(ctx: typer.Context) -> list[str]:
    """Return the names of the ``[env.NAME]`` tables in fifo.toml; none if it cannot be read."""
    environments = raw_config(typed_config(ctx)).get("env")
    return sorted(environments) if isinstance(environments, dict) else []


def profile_names() -> list[str]:
    """Return the profiles in AWS's two files; what cannot be read has none.

    botocore's ``available_profiles`` would take a Tab 130 ms more.
    """
    import configparser

    found = set()
    for variable, default in (
        ("AWS_CONFIG_FILE", "~/.aws/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ):
        parser = configparser.RawConfigParser(strict=False)
        path = os.path.expanduser(os.path.expandvars(os.environ.get(variable) or default))
        if not os.path.isfile(path):  # a pipe would be waited for
            continue
        try:
            parser.read(path, encoding="utf-8")
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


@dataclass(frozen=True, slots=True)
class Options:
    """The common options, as given before and after the command's name; typer reads them from here."""

    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="PATH", help="The fifo.toml to use.", autocompletion=complete_files),
    ] = None
    env: Annotated[
        str | None,
        typer.Option(
            "--env", metavar="NAME", help="Overlay the [env.NAME] tables.", autocompletion=environment_names
        ),
    ] = None
    local: Annotated[bool, typer.Option("--local", help="Talk to the embedded stack, never to AWS.")] = False
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="The AWS profile.", autocompletion=profile_names),
    ] = None
    region: Annotated[str | None, typer.Option("--region", metavar="NAME", help="The AWS region.")] = None
    endpoint_url: Annotated[
        str | None, typer.Option("--endpoint-url", metavar="URL", help="The AWS endpoint, for every service.")
    ] = None
    output: Annotated[
        Output,
        typer.Option("--output", "-o", metavar="FORMAT", help="table, json or jsonl.", show_default=False),
    ] = Output.TABLE
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", count=True, help="Show more; -vv shows the most.", show_default=False
        ),
    ] = 0
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the question.")] = False
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False
    # These two are acted on where they are typed.
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
    help: Annotated[bool, typer.Option("--help", "-h", help="Show this and exit.")] = False

    @classmethod
    def of(cls, typed: Mapping[str, Any]) -> Options:
        """Read what was typed, as click's parser gives it: text, True for a flag, a number for a count.

        Raises typer.BadParameter for a format that does not exist.
        """
        given = dict(typed)
        if "config" in given:
            given["config"] = Path(given["config"])
        if "output" in given:
            try:
                given["output"] = Output(given["output"])
            except ValueError:
                known = ", ".join(repr(str(one)) for one in Output)
                raise typer.BadParameter(
                    f"{given['output']!r} is not one of {known}.", param_hint="'--output' / '-o'"
                ) from None
        return cls(**given)

    def to_repeat(self) -> dict[str, str | None]:
        """Return those that say which pipeline is meant, and where, by their names; a flag has no value."""
        texts = {
            "--config": None if self.config is None else str(self.config),
            "--env": self.env,
            "--profile": self.profile,
            "--region": self.region,
            "--endpoint-url": self.endpoint_url,
        }
        given: dict[str, str | None] = {name: text for name, text in texts.items() if text is not None}
        return given | ({"--local": None} if self.local else {})

    def shown(self) -> list[str]:
        """Return those that say which pipeline is meant, and that nobody was asked, as they are typed."""
        meant = self.to_repeat()
        meant.pop("--endpoint-url", None)
        words = [word for name, text in meant.items() for word in (name, text) if word is not None]
        return [*words, *(["--yes"] if self.yes else [])]

    def filled_from(self, environment: Mapping[str, str]) -> Options:
        """Fill in from $FIFO_ENV and $FIFO_LOCAL what was not given.

        Raises UsageError for a $FIFO_LOCAL that is neither yes nor no: guessing no would mean AWS. So does
        ``--local`` beside an option that means AWS.
        """
        local = environment.get("FIFO_LOCAL", "").strip().lower()
        if local not in _YES | _NO:
            raise UsageError(
                f"$FIFO_LOCAL is {environment['FIFO_LOCAL']!r}, neither 1 nor 0; nothing was touched",
                hint="set it to 1 for the embedded stack, or unset it",
            )
        env = environment.get("FIFO_ENV") or None
        filled = replace(self, env=self.env or env, local=self.local or local in _YES)
        for name, value in (("--profile", self.profile), ("--endpoint-url", self.endpoint_url)):
            if filled.local and value is not None:
                raise UsageError(
                    f"--local and {name} contradict each other: --local never talks to AWS",
                    hint="leave one of them out; $FIFO_LOCAL=1 means --local, too",
                )
        return filled


@cache
def common_options() -> Any:
    """Return a command of click's that has the common options, and nothing else."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(add_help_option=False)(Options)
    return typer.main.get_command(alone)
