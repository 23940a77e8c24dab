"""Shell completion: small scripts that ask this program, which asks typer's commands and options.

What may come next comes from the library: ``shell_complete`` of a command, an option or an argument. Which of
these is asked, and the scripts, are ours. typer's own way reads all values on the line by pydantic, and for
zsh and fish loads rich: a Tab takes two and more than three times as long. Its bash script breaks at ``=``,
that of zsh evaluates what it gets, and none completes a file after ``@``.

The scripts set ``FIFO_CLI_COMPLETE`` to their shell and pass the words up to the cursor. The answer is a
line for each value, its help after a tab; or ``:files`` or ``:folders``, which the shell completes itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import typer

from fifo_cli.cli.console import Console
from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Command, Commands, Impact, command
from fifo_cli.cli.options import FILES, FOLDERS, common_options
from fifo_cli.errors import ExitCode
from fifo_cli.invocation import PROGRAM

SHELL_VARIABLE: Final = "FIFO_CLI_COMPLETE"
# Names come from files that may be anybody's, such as the fifo.toml of a foreign folder, and bash puts them
# on the line as they are. What means something to a shell, or looks like an option, is not offered.
_INERT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@/+-]*")


class Shell(StrEnum):
    """The shells there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


_BASH: Final = """\
# bash completion for fifo-cli; printed by `fifo-cli completion bash`
_fifo_cli() {
    local IFS=$'\\n' line current=${COMP_WORDS[COMP_CWORD]}
    local -a lines=()
    COMPREPLY=()
    [[ $current == = ]] && current=
    while read -r line; do
        lines+=("$line")
    done < <(FIFO_CLI_COMPLETE=bash "${COMP_WORDS[0]/#\\~/$HOME}" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    case ${lines[0]-} in
        :files)
            compopt -o filenames 2>/dev/null
            if [[ $current == @* ]]; then
                COMPREPLY=($(compgen -P @ -f -- "${current#@}"))
            else
                COMPREPLY=($(compgen -f -- "$current"))
            fi
            ;;
        :folders)
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -d -- "$current"))
            ;;
        *)
            for line in ${lines[@]+"${lines[@]}"}; do
                COMPREPLY+=("${line%%$'\\t'*}")
            done
            ;;
    esac
}
complete -F _fifo_cli fifo-cli
"""

_ZSH: Final = """\
#compdef fifo-cli
# zsh completion for fifo-cli; printed by `fifo-cli completion zsh`
_fifo-cli() {
    local line value
    local -a lines values
    lines=("${(@f)$(FIFO_CLI_COMPLETE=zsh ${(Q)~words[1]} "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    case $lines[1] in
        :files)
            compset -P '--*='
            compset -P '@'
            _files
            ;;
        :folders)
            compset -P '--*='
            _files -/
            ;;
        *)
            for line in $lines; do
                value=${line%%$'\\t'*}
                values+=("${value//:/\\\\:}${${line#$value}/$'\\t'/:}")
            done
            (( $#values )) && _describe fifo-cli values
            ;;
    esac
}
if [ "$funcstack[1]" = _fifo-cli ]; then
    _fifo-cli "$@"
else
    compdef _fifo-cli fifo-cli
fi
"""

_FISH: Final = """\
# fish completion for fifo-cli; printed by `fifo-cli completion fish`
function __fifo_cli_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines (env FIFO_CLI_COMPLETE=fish $words[1] $words[2..-1] "$current" 2>/dev/null)
    switch "$lines[1]"
        case :files
            set -l prefix (string match -r '^(?:--[^=]*=)?@?' -- "$current")
            set -l path (string replace -r '^(?:--[^=]*=)?@?' '' -- "$current")
            __fish_complete_path "$path" | string replace -r '^' -- "$prefix"
        case :folders
            set -l prefix (string match -r '^(?:--[^=]*=)?' -- "$current")
            set -l path (string replace -r '^(?:--[^=]*=)?' '' -- "$current")
            __fish_complete_directories "$path" | string replace -r '^' -- "$prefix"
        case '*'
            printf '%s\\n' $lines
    end
end
complete -c fifo-cli -f -a '(__fifo_cli_complete)'
"""

SCRIPTS: Final = {Shell.BASH: _BASH, Shell.ZSH: _ZSH, Shell.FISH: _FISH}


class Value(NamedTuple):
    """One possible word."""

    text: str
    help: str = ""


def _printing(shell: Shell, example: str) -> Command:
    def script(cli: Cli) -> ExitCode:
        cli.console.result([SCRIPTS[shell]], data=True)
        return ExitCode.OK

    script.__doc__ = f"Print the completion script of {shell}."
    return command(shell.value, impact=Impact.READS, examples=[example])(script)


# One command a shell: for an argument typer would load pydantic, 90 ms in the start of each shell.
completion = Commands(
    "completion",
    "Print the completion script of a shell.",
    [
        _printing(Shell.BASH, 'eval "$(fifo-cli completion bash)"'),
        _printing(Shell.ZSH, 'eval "$(fifo-cli completion zsh)"'),
        _printing(Shell.FISH, "fifo-cli completion fish > ~/.config/fish/completions/fifo-cli.fish"),
    ],
)


def answer(root: Commands, shell: str, words: Sequence[str]) -> int:
    """Write what may stand at the last of ``words``; on any error write nothing rather than fail."""
    try:
        lines = [
            f"{value.text}\t{value.help}" if value.help and shell != Shell.BASH else value.text
            for value in complete(root, words, separate=shell == Shell.BASH)
        ]
        Console().result(["".join(f"{line}\n" for line in lines)], data=True)
    except Exception:  # noqa: BLE001 - a traceback in the middle of a command line helps nobody
        return ExitCode.USAGE
    return ExitCode.OK


def complete(root: Commands, words: Sequence[str], *, separate: bool = False) -> list[Value]:
    """Return the values of the last word.

    With ``separate`` the shell has broken ``--option=value`` into three words, as bash does, and wants the
    value alone; else it wants the whole word.
    """
    *before, current = _rejoined(words) if separate else (list(words) or [""])
    prefix = ""
    if current.startswith("--") and "=" in current and "--" not in before:
        name, _, current = current.partition("=")
        before.append(name)
        prefix = f"{name}="
    context = _context(root, PROGRAM, before)
    parameters = [*context.command.get_params(context), *common_options().params]
    asked = _option(before, parameters)
    if asked is None and not prefix:
        if current.startswith("-") and "--" not in before:
            return _names(context, current)
        asked = _argument(context, parameters)
    if asked is not None:
        return _values(asked, context, current, "" if separate else prefix)
    return _names(context, current) if isinstance(context.command, Commands) and not prefix else []


def _rejoined(words: Sequence[str]) -> list[str]:
    """Undo bash's breaking of words at ``=``."""
    joined: list[str] = []
    for word in words:
        if joined and (word == "=" or joined[-1].endswith("=")) and joined[-1].startswith("--"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined or [""]


def _context(command: Any, name: str, words: Sequence[str], parent: Any = None) -> typer.Context:
    """Let click's parser take the words up to the cursor, from group to command; no value is read."""
    context = typer.Context(command, info_name=name, parent=parent, resilient_parsing=True)
    context.params, rest, _ = command.make_parser(context).parse_args(args=list(words))
    if isinstance(command, Commands) and rest and rest[0] in command.commands:
        return _context(command.commands[rest[0]], rest[0], rest[1:], context)
    return context


def _option(before: Sequence[str], parameters: Sequence[Any]) -> Any:
    """Return the option that waits for its value at the cursor, if one does."""
    return next(
        (
            one
            for one in parameters
            if before and before[-1] in one.opts and "--" not in before
            if one.param_type_name == "option" and not (one.is_flag or one.count)
        ),
        None,
    )


def _argument(context: typer.Context, parameters: Sequence[Any]) -> Any:
    """Return the first argument that is not on the line yet."""
    arguments = (one for one in parameters if one.param_type_name == "argument")
    return next((one for one in arguments if one.nargs == -1 or context.params.get(one.name) is None), None)


def _names(context: typer.Context, current: str) -> list[Value]:
    """Return names of commands, or of options."""
    found = context.command.shell_complete(context, current)
    if current.startswith("-"):
        found += common_options().shell_complete(context, current)
    return [Value(item.value, item.help or "") for item in found]


def _values(parameter: Any, context: typer.Context, current: str, prefix: str) -> list[Value]:
    """Return values of a parameter; only such as are inert in every shell."""
    found = parameter.shell_complete(context, current)
    for item in found:
        if item.help in (FILES, FOLDERS):
            return [Value(item.help)]
    return [Value(prefix + item.value, item.help or "") for item in found if _INERT.fullmatch(item.value)]
