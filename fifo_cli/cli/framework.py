"""How a command is registered: its function, its tag and its examples; and the common options beside its own.

Adding one is a function, a decorator, and its name in ``app.py``, which is the function's::

    @command("depth", impact=Impact.READS, examples=["fifo-cli depth", "fifo-cli depth -o json"])
    def depth(cli: Cli, *, watch: Annotated[bool, typer.Option(help="Keep on.")] = False) -> ExitCode:
        '''Show the depths of all queues.'''
        from fifo_cli.operations.queues.depth import depth
        from fifo_cli.render.queue_tables import depth_table

        result = depth(cli.aws, cli.names)
        return cli.emit(result, lambda: depth_table(result))

typer reads the function's options; groups and commands are its ``TyperGroup`` and ``TyperCommand``. The
common options are added to the parser of each, so that they may stand anywhere on the line.
"""

from __future__ import annotations

import inspect
import os
import re
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from importlib import import_module
from types import MappingProxyType
from typing import Any

import typer
from typer import TyperException
from typer.core import TyperCommand, TyperGroup

from fifo_cli import __version__
from fifo_cli.cli.console import Console
from fifo_cli.cli.context import Cli
from fifo_cli.cli.options import Options, common_options
from fifo_cli.cli.signals import Signals
from fifo_cli.errors import ExitCode, Interrupted
from fifo_cli.invocation import PROGRAM, remember


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


class Run:
    """One run of the program, which click hands on as ``ctx.obj``: its signals, and the common options."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.options = Options()
        self._typed: dict[str, Any] = {}
        self.begun = False
        remember({})

    def add(self, typed: Mapping[str, Any]) -> None:
        """Add the common options typed at one place of the line; the later one wins, every -v counts."""
        names = [field.name for field in fields(Options)]
        given = {name: typed[name] for name in names if typed.get(name) is not None}
        if "verbose" in given:
            given["verbose"] += self._typed.get("verbose", 0)
        self._typed.update(given)

    def read_options(self, context: Any) -> None:
        """Read the common options of the whole line; a wrong one is an error of ``context``'s command."""
        try:
            self.options = Options.of(self._typed)
        except typer.BadParameter as error:
            error.ctx = context
            raise
        remember(self.options.to_repeat())

    def start(self) -> Cli:
        """Build what the command works with."""
        self.options = options = self.options.filled_from(os.environ)
        return Cli(options, Console(quiet=options.quiet, no_color=options.no_color), self.signals)


class Command(TyperCommand):
    """A command: its function, and what is known of it without its options."""

    def __init__(
        self,
        name: str,
        body: Callable[..., ExitCode],
        *,
        impact: Impact,
        examples: Sequence[str],
        usage_code: ExitCode = ExitCode.USAGE,
    ) -> None:
        text = inspect.cleandoc(body.__doc__ or "")
        super().__init__(
            name, help=text, short_help=_first_sentence(text), add_help_option=False, rich_markup_mode=None
        )
        self.body = body
        self.impact = impact
        self.examples = tuple(examples)
        self.usage_code = usage_code

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the function's options. typer reads them now: at the start, all commands' take it 18 ms."""
        if self.callback is None:
            read = _read_by_typer(self.body)
            self.params, self.callback = read.params, read.callback
        return super().get_params(ctx)

    def make_parser(self, ctx: Any) -> Any:
        """Make click's parser, which knows the common options, too."""
        return _with_common_options(super().make_parser(ctx), ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the common options; typer reads the command's own."""
        _take_common_options(self, ctx, args)
        if not ctx.resilient_parsing:
            ctx.obj.read_options(ctx)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the command's options, and the common ones."""
        super().format_options(ctx, formatter)
        _write_common_options(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they are, not wrapped."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{' ' * formatter.current_indent}{example}\n")


class LazyCommands(UserDict[str, Any]):
    """Commands by name; one that is given as a module's name is that module's attribute, read when asked for.

    click's documents call it "Lazily Loading Subcommands". To load all modules takes each start 25 ms.
    """

    def __getitem__(self, name: str) -> Any:
        if isinstance(self.data[name], str):
            self.data[name] = getattr(import_module(self.data[name]), name)
        return self.data[name]


class Commands(TyperGroup):
    """A group of commands and groups, in the order of the help."""

    def __init__(
        self,
        name: str,
        help: str,
        commands: Iterable[Command | Commands] = (),
        *,
        modules: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """``modules``: the names of commands that stand in a module, by its name; they come first."""
        super().__init__(
            name=name,
            help=help,
            short_help=_first_sentence(help),
            add_help_option=False,
            rich_markup_mode=None,
        )
        places = {command: module for module, commands in modules.items() for command in commands}
        self.commands = LazyCommands(places)
        for one in commands:
            self.add_command(one)

    def add_command(self, cmd: Any, name: str | None = None) -> None:
        """Add a command or a group at the end."""
        if cmd.name in self.commands:
            raise ValueError(f"two commands are called {cmd.name!r}")
        super().add_command(cmd, name)

    def make_parser(self, ctx: Any) -> Any:
        """Make click's parser, which knows the common options."""
        return _with_common_options(super().make_parser(ctx), ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the common options before the command's name; without a command show the help, and exit 2."""
        rest = _take_common_options(self, ctx, args)
        if not rest and not ctx.resilient_parsing:
            Console().message(ctx.get_help())
            raise typer.Exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands and the common options."""
        self.format_commands(ctx, formatter)
        _write_common_options(ctx, formatter)


def command(
    name: str, *, impact: Impact, examples: Sequence[str], usage_code: ExitCode = ExitCode.USAGE
) -> Callable[[Callable[..., ExitCode]], Command]:
    """Make a function the command ``name``; its docstring is the help, the first sentence the short one.

    The function gets a :class:`Cli` and its own options by keyword, and returns the exit code. A command line
    that it does not take exits with ``usage_code``.
    """
    return lambda body: Command(name, body, impact=impact, examples=examples, usage_code=usage_code)


def _first_sentence(text: str) -> str:
    """Return the first sentence of a help, without its full stop."""
    return re.split(r"\.(?: |$)", " ".join(text.split()), maxsplit=1)[0]


def _read_by_typer(body: Callable[..., ExitCode]) -> Any:
    """Let typer make a command of a function, whose Cli is made of what typer's context carries."""

    def run(context: typer.Context, **own: Any) -> int:
        return _run(body, context.obj, own)

    own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    run.__signature__ = inspect.Signature([context, *own])  # type: ignore[attr-defined]  # PEP 362
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command()(run)
    return typer.main.get_command(alone)


def _run(body: Callable[..., ExitCode], run: Run, own: dict[str, Any]) -> int:
    cli = run.start()
    cli.check_local_options()
    run.begun = True
    try:
        code = body(cli, **own)
    except KeyboardInterrupt:
        # Here, as typer would make 130 of SIGTERM too.
        raise Interrupted(exit_code=ExitCode(run.signals.exit_code)) from None
    finally:
        cli.console.close()
    return run.signals.exit_code if run.signals.received else code


def _with_common_options(parser: Any, ctx: Any) -> Any:
    for param in common_options().params:
        param.add_to_parser(parser, ctx)
    return parser


def _take_common_options(command: Command | Commands, ctx: Any, args: Sequence[str]) -> list[str]:
    """Note the common options as they are typed, and act on --help and --version; return what is left over.

    typer does not read them: it reads every value by pydantic, that of an option that is not given, too.
    Loading pydantic takes 90 ms, nearly as long as all of a --help.
    """
    try:
        typed, rest, _ = command.make_parser(ctx).parse_args(args=list(args))
    except TyperException as error:
        # click does not say of each error which command it is about.
        ctx.fail(error.format_message())
    if ctx.resilient_parsing:
        return list(rest)
    for given, text in (("version", f"{PROGRAM} {__version__}"), ("help", None)):
        if typed.get(given):
            Console().result([f"{text or ctx.get_help()}\n"], data=False)
            raise typer.Exit
    ctx.obj.add(typed)
    return list(rest)


def _write_common_options(ctx: Any, formatter: Any) -> None:
    with formatter.section("Common options, before or after the command"):
        formatter.write_dl([param.get_help_record(ctx) for param in common_options().params])
