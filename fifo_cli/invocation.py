"""The commands that this program prints: each repeats the options that say which pipeline this run is about.

A hint is composed where it arises, by ``command_line``, and is plain text from then on. What is written out
is never searched for commands, so nothing that came from a user can be taken for one.

A process has one command line, and so one set of these options; ``cli/framework.py`` remembers it once. What
came from $FIFO_CONFIG, $FIFO_ENV, $FIFO_LOCAL or AWS's variables is not repeated: it holds in the same shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from fifo_cli.errors import without_login

PROGRAM: Final = "fifo-cli"
# What knows no pipeline at all.
_OF_NOTHING: Final = frozenset({"init", "schema", "demo", "manual", "completion"})
_OF_AWS: Final = ("--profile", "--region", "--endpoint-url")
# Commands of the AWS CLI by which a person signs in, wherever the pipeline is.
_SIGN_IN: Final = frozenset({"sso login", "login"})
_NOWHERE: Final[Mapping[str, str | None]] = MappingProxyType({})

_typed: Mapping[str, str | None] = _NOWHERE
_place: Mapping[str, str | None] = _NOWHERE
_key_file: str | None = None


def remember(options: Mapping[str, str | None]) -> None:
    """Keep the options that this run was given on its command line: each by its name, a flag with None."""
    global _typed, _place, _key_file
    _typed, _place, _key_file = MappingProxyType(dict(options)), _NOWHERE, None


def remember_place(region: str | None, endpoint_url: str | None, key_file: str | None = None) -> None:
    """Keep where this run's calls of AWS go, also where fifo.toml or ``--local`` says it.

    ``key_file`` has the key of the embedded stack, as a file of the AWS CLI's.
    """
    global _place, _key_file  # noqa: PLW0603 - a process has one command line
    found = {"--profile": key_file and "default", "--region": region, "--endpoint-url": endpoint_url}
    _place = MappingProxyType({option: value for option, value in found.items() if value})
    _key_file = key_file


def command_line(line: str, *values: str, for_another: bool = False) -> str:
    """Return a command of this program in backticks, as it can be typed into the shell of this run.

    ``line`` are its words without the program's name, ``values`` are quoted and put behind them. A command
    ``for_another`` person does not repeat this one's AWS profile.
    """
    name = line.partition(" ")[0]
    options = {} if name in _OF_NOTHING else dict(_typed)
    if name == "local":  # the embedded stack of a folder, which fifo.toml's place says
        options = {option: value for option, value in options.items() if option == "--config"}
    if for_another:
        options.pop("--profile", None)
    return _in_backticks(f"{PROGRAM} {line}", values, options)


def typed_before(words: Iterable[str]) -> str:
    """Return a command with its own options alone, such as an earlier run had; ``words`` are its words."""
    program, *rest = words
    return _in_backticks(program, rest, {})


def aws_command_line(line: str, *values: str) -> str:
    """Return a command of the AWS CLI in the same way, for the same profile, region and endpoint."""
    signs_in = line in _SIGN_IN
    given = {**_typed, **({} if signs_in else _place)}
    options: dict[str, str | None] = {option: given[option] for option in _OF_AWS if option in given}
    with_key = f"AWS_SHARED_CREDENTIALS_FILE={quoted(_key_file)} " if _key_file and not signs_in else ""
    return _in_backticks(f"{with_key}aws {line}", values, options)


def _in_backticks(line: str, values: Iterable[str], options: Mapping[str, str | None]) -> str:
    words = [line, *map(quoted, values)]
    for option, value in options.items():
        words += [option] if value is None else [option, quoted(without_login(value))]
    return f"`{' '.join(words)}`"


def quoted(text: str) -> str:
    """Quote a word for a POSIX shell; what cannot be shown as it is, as POSIX has it since 2024: $'…'."""
    if text.isprintable():
        return shlex.quote(text)
    shown = "".join(
        f"\\{char}" if char in "\\'" else char if char.isprintable() else _escaped(char) for char in text
    )
    return f"$'{shown}'"


def _escaped(char: str) -> str:
    """Write a character as the octal numbers of its bytes; in a path they need not be UTF-8."""
    errors = "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass"
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", errors))
