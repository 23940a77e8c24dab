"""Shell completion: small scripts that ask this program, which walks its own commands and options.

Not typer's: its answer loads rich, its bash script breaks at ``=``, and none of its scripts completes files.
The scripts set ``FIFO_CLI_COMPLETE`` to their shell and pass the words up to the cursor. The answer is a
line for each value, its help after a tab; or ``:files`` or ``:folders``, which the shell completes itself.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import typer

from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Command, Commands, Group, Impact, command, common_parameters, short_help
from fifo_cli.cli.options import COMMON, FILES, FOLDERS, Completes, Options
from fifo_cli.errors import ExitCode

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


@dataclass(frozen=True, slots=True)
class _Value:
    """One possible word."""

    text: str
    help: str = ""


def register(app: Commands) -> None:
    """Add the command that prints the scripts."""

    @command(
        app,
        "completion",
        impact=Impact.READS,
        examples=[
            'eval "$(fifo-cli completion bash)"',
            "fifo-cli completion fish > ~/.config/fish/completions/fifo-cli.fish",
        ],
    )
    def completion(
        cli: Cli,
        *,
        shell: Annotated[
            Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell.", show_default=False)
        ],
    ) -> ExitCode:
        """Print the completion script of a shell."""
        cli.console.result([SCRIPTS[shell]], data=True)
        return ExitCode.OK


def answer(root: Any, shell: str, words: Sequence[str]) -> int:
    """Write what may stand at the last of ``words``; on any error write nothing rather than fail."""
    try:
        lines = [
            f"{value.text}\t{value.help}" if value.help and shell != Shell.BASH else value.text
            for value in complete(root, words, separate=shell == Shell.BASH)
        ]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - a traceback in the middle of a command line helps nobody
        return ExitCode.USAGE
    return ExitCode.OK


def complete(root: Any, words: Sequence[str], *, separate: bool = False) -> list[_Value]:
    """Return the values of the last word.

    With ``separate`` the shell has broken ``--option=value`` into three words, as bash does, and wants the
    value alone; else it wants the whole word.
    """
    *before, current = list(words) or [""]
    if separate:
        before, current = _rejoin(before, current)
    walk = _Walk(root)
    for word in before:
        walk.step(word)
    name, equals, part = current.partition("=")
    if equals and name.startswith("--") and walk.pending is None:
        parameter = walk.option(name)
        found = _values(walk, parameter, part) if parameter is not None else []
        prefix = "" if separate else f"{name}="
        return [
            value if value.text.startswith(":") else _Value(prefix + value.text, value.help)
            for value in found
        ]
    return walk.complete(current)


def _rejoin(before: list[str], current: str) -> tuple[list[str], str]:
    """Undo bash's breaking of words at ``=``."""
    joined: list[str] = []
    for word in [*before, current]:
        if joined and (word == "=" or joined[-1].endswith("=")) and joined[-1].startswith("--"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined[:-1], joined[-1]


class _Walk:
    """Where on the command line the cursor is: in which command, after which option, at which argument."""

    def __init__(self, root: Any) -> None:
        self.command = root
        self.pending: Any = None
        self._given: dict[str, Any] = {}
        self._arguments = 0
        self._options_over = False

    def step(self, word: str) -> None:
        """Go past one whole word."""
        if self.pending is not None:
            self._keep(self.pending, word)
            self.pending = None
        elif word == "--":
            self._options_over = True
        elif word.startswith("-") and word != "-" and not self._options_over:
            self._step_option(word)
        elif isinstance(self.command, Group):
            self.command = self.command.commands.get(word, self.command)
        else:
            self._arguments += 1

    def option(self, name: str) -> Any:
        """Return the option that ``name`` means here, if any."""
        return next((parameter for parameter in self._parameters() if name in parameter.opts), None)

    def complete(self, current: str) -> list[_Value]:
        if self.pending is not None:
            return _values(self, self.pending, current)
        if current.startswith("-") and not self._options_over:
            return self._options(current)
        if isinstance(self.command, Group):
            return [
                _Value(name, short_help(entry))
                for name, entry in self.command.registered.entries.items()
                if name.startswith(current)
            ]
        arguments = [
            parameter for parameter in self.command.params if parameter.param_type_name == "argument"
        ]
        if not arguments or (self._arguments >= len(arguments) and arguments[-1].nargs != -1):
            return []
        return _values(self, arguments[min(self._arguments, len(arguments) - 1)], current)

    def _parameters(self) -> Sequence[Any]:
        return common_parameters() if isinstance(self.command, Group) else self.command.params

    def options(self) -> Options:
        """Return the common options on the line so far, as completing a value may need them."""
        return Options.of(self._given)

    def _options(self, current: str) -> list[_Value]:
        found = [
            _Value(name, parameter.help or "")
            for parameter in self._parameters()
            if parameter.param_type_name == "option" and not parameter.hidden
            for name in (*parameter.opts, *parameter.secondary_opts)
            if name.startswith(current) and (name.startswith("--") or current == name)
        ]
        return found

    def _step_option(self, word: str) -> None:
        name, equals, value = word.partition("=")
        parameter = self.option(name if name.startswith("--") else word[:2])
        if parameter is None or parameter.is_flag or parameter.count:
            return
        if name.startswith("--") and equals:
            self._keep(parameter, value)
        elif not name.startswith("--") and len(word) > 2:
            self._keep(parameter, word[2:])
        else:
            self.pending = parameter

    def _keep(self, parameter: Any, value: str) -> None:
        if parameter.name in ("config", "env"):
            self._given[parameter.name] = Path(value).expanduser() if parameter.name == "config" else value


def _values(walk: _Walk, parameter: Any, current: str) -> list[_Value]:
    annotation, marker = _declared(walk.command, parameter.name)
    if marker is not None:
        found = (text for text in marker.values(walk.options()) if text.startswith((current, ":")))
        return [_Value(text) for text in found if text in (FILES, FOLDERS) or _INERT.fullmatch(text)]
    if annotation is Path:
        return [_Value(FILES)]
    return [_Value(text) for text in _choices(annotation) if text.startswith(current)]


def _declared(command: Command | Group, name: str) -> tuple[Any, Completes | None]:
    """Return how a parameter was declared: its bare type, and its completion if it has one."""
    declared = next((one.annotation for one in COMMON if one.name == name), None)
    if declared is None and isinstance(command, Command):
        declared = inspect.signature(command.about.body, eval_str=True).parameters[name].annotation
    marker = None
    if get_origin(declared) is Annotated:
        declared, *metadata = get_args(declared)
        marker = next((item for item in metadata if isinstance(item, Completes)), None)
    return _bare(declared), marker


def _bare(declared: Any) -> Any:
    """Take the type out of ``T | None`` and ``list[T]``."""
    inner = [argument for argument in get_args(declared) if argument is not type(None)]
    if get_origin(declared) is Literal or not inner:
        return declared
    return _bare(inner[0])


def _choices(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        yield from (str(member.value) for member in annotation)
    elif get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
