"""How a command is registered: its tag, its examples, and the common options beside its own.

Adding one is a function, a decorator, and its module's line in ``app.py``::

    def register(app: Commands) -> None:
        @command(app, "depth", impact=Impact.READS, examples=["fifo-cli depth", "fifo-cli depth -o json"])
        def depth(cli: Cli, *, watch: Annotated[bool, typer.Option(help="Keep on.")] = False) -> ExitCode:
            '''Show the depths of all queues.'''
            from fifo_cli.operations.queues.depth import depth
            from fifo_cli.render.depth import depth_table

            result = depth(cli.aws, cli.names)
            return cli.emit(result, lambda: depth_table(result))

Reading the options of every command takes longer than loading typer, so each is built when it is asked for.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import typer
from typer import TyperException
from typer.core import TyperCommand, TyperGroup

from fifo_cli.cli.console import Console
from fifo_cli.cli.context import Cli
from fifo_cli.cli.options import COMMON, COMMON_NAMES, EAGER, Options
from fifo_cli.cli.signals import Signals
from fifo_cli.errors import ExitCode, Interrupted

Body = TypeVar("Body", bound=Callable[..., ExitCode])
_CONTEXT: Final = "typer_context"
_COMMON_HEADING: Final = "Common options, before or after the command"


class Impact(StrEnum):
    """What a command does to the pipeline's data; a test walks these."""

    READS = "reads"
    """Changes nothing."""
    WRITES = "writes"
    """Adds something or changes a setting; takes nothing away, and asks nothing."""
    MOVES = "moves"
    """Takes messages from one place to another: asks, has --dry-run, minds the maintenance marker."""
    DESTROYS = "destroys"
    """May delete or replace something: asks, has --dry-run."""


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a command without its options."""

    name: str
    help: str
    impact: Impact
    examples: tuple[str, ...]
    body: Callable[..., ExitCode]
    usage_code: ExitCode = ExitCode.USAGE


class Run:
    """One run of the program, carried by click as ``ctx.obj``: its signals and, once parsed, its options."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.options = Options()

    def start(self, options: Options) -> Cli:
        """Build what the command works with."""
        self.options = options = options.filled_from(os.environ)
        return Cli(options, Console(quiet=options.quiet, no_color=options.no_color), self.signals)


class Commands(Mapping[str, Any]):
    """A group of commands by name, in the order of the help; each is built when it is looked up."""

    def __init__(self, name: str, help: str) -> None:
        self.name = name
        self.help = help
        self._entries: dict[str, About | Commands] = {}
        self._built: dict[str, Any] = {}

    def add(self, entry: About | Commands) -> None:
        """Add a command or a sub-group at the end."""
        if entry.name in self._entries:
            raise ValueError(f"two commands are called {entry.name!r}")
        self._entries[entry.name] = entry

    @property
    def entries(self) -> Mapping[str, About | Commands]:
        """What is registered, nothing of it built."""
        return self._entries

    def build(self) -> Group:
        """Make the group for click."""
        return Group(self)

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            entry = self._entries[name]
            self._built[name] = entry.build() if isinstance(entry, Commands) else _build(entry)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class Command(TyperCommand):
    """A command whose help shows its own options first, the common ones apart, and examples."""

    about: About

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and say in every error which command it is about."""
        try:
            parsed: list[str] = super().parse_args(ctx, args)
        except TyperException as error:
            if getattr(error, "ctx", None) is None:
                vars(error)["ctx"] = ctx
            raise
        return parsed

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the command's options, and the common ones."""
        own = [param for param in self.get_params(ctx) if param.name not in COMMON_NAMES]
        arguments = [param for param in own if param.param_type_name == "argument"]
        _section(ctx, formatter, "Arguments", arguments)
        _section(ctx, formatter, "Options", [param for param in own if param not in arguments])
        _section(
            ctx,
            formatter,
            _COMMON_HEADING,
            [param for param in self.get_params(ctx) if param.name in COMMON_NAMES],
        )

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they are, not wrapped."""
        with formatter.section("Examples"):
            for example in self.about.examples:
                formatter.write(f"{' ' * formatter.current_indent}{example}\n")


class Group(TyperGroup):
    """The commands of one name; common options before a command's name mean what they mean after it."""

    def __init__(self, commands: Commands) -> None:
        super().__init__(
            name=commands.name,
            help=commands.help,
            params=[param for param in common_parameters() if param.name in EAGER],
            add_help_option=False,
            no_args_is_help=True,
            rich_markup_mode=None,
        )
        self.registered = commands
        # click only looks things up in it; a dict would mean to build them all.
        self.commands = commands  # type: ignore[assignment]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Hand the common options before the command's name to the command, ahead of its own."""
        early, rest = _split_common(ctx, args)
        if rest and not rest[0].startswith("-"):
            rest = [rest[0], *early, *rest[1:]]
        parsed: list[str] = super().parse_args(ctx, rest)
        return parsed

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        return list(self.registered)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command and its first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short_help(entry)) for name, entry in self.registered.entries.items()])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands and the common options."""
        self.format_commands(ctx, formatter)
        _section(ctx, formatter, _COMMON_HEADING, common_parameters())


def command(
    app: Commands,
    name: str,
    *,
    impact: Impact,
    examples: Sequence[str],
    usage_code: ExitCode = ExitCode.USAGE,
) -> Callable[[Body], Body]:
    """Register a function as the command ``name``; its docstring is the help, first sentence the short one.

    The function gets a :class:`Cli` and its own options by keyword, and returns the exit code. A command line
    that it does not take exits with ``usage_code``.
    """

    def register(body: Body) -> Body:
        help = inspect.cleandoc(body.__doc__ or "")
        app.add(About(name, help, impact, tuple(examples), body, usage_code))
        return body

    return register


def short_help(entry: About | Commands) -> str:
    """Return the first sentence of a command's help, without its full stop."""
    return re.split(r"\.(?: |$)", " ".join(entry.help.split()), maxsplit=1)[0]


@cache
def common_parameters() -> tuple[Any, ...]:
    """Return the common options as click knows them."""
    about = About("common", "", Impact.READS, (), lambda cli: ExitCode.OK)
    return tuple(_build(about).params)


def _build(about: About) -> Command:
    """Let typer read a command's own parameters and the common ones."""

    def run(**given: Any) -> int:
        context: typer.Context = given.pop(_CONTEXT)
        common = {name: given.pop(name) for name in COMMON_NAMES}
        return _run(about.body, context.obj, Options.of(common), given)

    own = list(inspect.signature(about.body, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (context, *own, *COMMON)
    ]
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(about.name, cls=Command, help=about.help, add_help_option=False)(run)
    built = typer.main.get_command(alone)
    if not isinstance(built, Command):
        raise TypeError(f"typer made a {type(built).__name__} of the command {about.name}")
    built.about = about
    types = {parameter.name: _choice(parameter.annotation) for parameter in parameters}
    for param in built.params:
        _read_plainly(param, types.get(param.name))
    return built


def _choice(annotation: Any) -> type[StrEnum] | None:
    """Return the StrEnum that a parameter was declared with, if it is one."""
    declared = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    candidates = (declared, *get_args(declared))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, StrEnum)), None)


def _read_plainly(param: Any, choice: type[StrEnum] | None) -> None:
    """Read by ourselves what needs no reading: an option not given, one of a few words as it is spelt.

    typer reads every value by pydantic, None too: 0.1 s of a `completion` in each shell that starts.
    """
    read = param.process_value
    words: Mapping[str, StrEnum] = {word.value: word for word in choice or ()}
    may_be_absent = not (param.required or param.multiple or param.nargs == -1)

    def process_value(context: Any, value: Any) -> Any:
        if param.callback is None:
            if value is None and may_be_absent:
                return None
            if isinstance(value, str) and value in words:
                return words[value]
        return read(context, value)

    param.process_value = process_value


def _run(body: Callable[..., ExitCode], run: Run, options: Options, own: dict[str, Any]) -> int:
    cli = run.start(options)
    cli.check_local_options()
    try:
        code = body(cli, **own)
    except KeyboardInterrupt:
        # Here, as typer would make 130 of SIGTERM too.
        raise Interrupted(exit_code=ExitCode(run.signals.exit_code)) from None
    finally:
        cli.console.close()
    return run.signals.exit_code if run.signals.received else code


def _split_common(ctx: Any, args: list[str]) -> tuple[list[str], list[str]]:
    """Take the common options off the front: ``(they and their values, the rest)``."""
    common = [param for param in common_parameters() if param.name not in EAGER]
    takes_value = {name: not (param.is_flag or param.count) for param in common for name in param.opts}
    index = 0
    while index < len(args):
        needs = _needs_value(args[index], takes_value)
        if needs is None:
            break
        if needs and index + 1 == len(args):
            ctx.fail(f"Option {args[index]!r} requires an argument.")
        index += 1 + needs
    return args[:index], args[index:]


def _needs_value(word: str, takes_value: Mapping[str, bool]) -> bool | None:
    """Say whether ``word``, a common option, has its value in the next word; None if it is another."""
    if word.startswith("--"):
        name, equals, _ = word.partition("=")
        return None if name not in takes_value else takes_value[name] and not equals
    if not word.startswith("-") or len(word) == 1:
        return None
    for place, letter in enumerate(word[1:], 1):
        takes = takes_value.get(f"-{letter}")
        if takes is None:
            return None
        if takes:
            return place == len(word) - 1
    return False


def _section(ctx: Any, formatter: Any, heading: str, params: Iterable[Any]) -> None:
    records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
    if records:
        with formatter.section(heading):
            formatter.write_dl(records)
