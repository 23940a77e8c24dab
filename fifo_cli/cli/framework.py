"""How a command is registered: its function, its tag and its examples; and the common options beside its own.

Adding one is a function, a decorator, and its name in ``app.py``, which is the function's::

    @command("depth", impact=Impact.READS, examples=["fifo-cli depth", "fifo-cli depth -o json"])
    def depth(cli: Cli, *, watch: Annotated[bool, typer.Option(help="Keep on.")] = False) -> ExitCode:
        '''Show the depths of all queues.'''
        from fifo_cli.operations.queues.depth import depth
        from fifo_cli.render.queue_tables import depth_table

        result = depth(cli.aws, cli.names)
        return cli.emit(result, lambda: depth_table(result.queues.items(), width=cli.console.width))

typer reads the function's options; groups and commands are its ``TyperGroup`` and ``TyperCommand``. The
common options are added to the parser of each, so that they may stand anywhere on the line.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
from collections import UserDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer import TyperException
from typer.core import TyperCommand, TyperGroup

from fifo_cli import __version__
from fifo_cli.cli.console import Console
from fifo_cli.cli.context import Cli
from fifo_cli.cli.options import Options, common_options
from fifo_cli.cli.signals import Signals
from fifo_cli.errors import ExitCode, Interrupted, UsageError
from fifo_cli.invocation import PROGRAM, remember

if TYPE_CHECKING:
    from fifo_cli.aws.consistency import ConsistencyDelays


class Impact(StrEnum):
    """What a command does to the pipeline's data; a test walks these."""

    READS = "reads"
    """Changes nothing."""
    WRITES = "writes"
    """Adds something or changes a setting; takes nothing away, and asks nothing."""
    MOVES = "moves"
    """Takes messages from one place to another: asks, has --dry-run, takes the maintenance lock."""
    DESTROYS = "destroys"
    """May delete or replace something: asks, has --dry-run."""


class ProgramRun:
    """One run of the program, which click hands on as ``ctx.obj``: its signals, and the common options."""

    def __init__(self, signals: Signals, delays: ConsistencyDelays | None = None) -> None:
        self.signals = signals
        self.delays = delays
        self.options = Options()
        # What went wrong, for the history.
        self.error = ""
        self._cli: Cli | None = None
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

    def start(self, operation: str = "", line: str = "", reason: str = "") -> Cli:
        """Build what the command works with; ``line`` is how it was typed."""
        self.options = options = self.options.filled_from(os.environ)
        console = Console(quiet=options.quiet, no_color=options.no_color)
        self._cli = Cli(options, console, self.signals, operation, line, reason, self.delays)
        return self._cli

    def end(self, exit_code: int) -> int:
        """Note the end of a command that changed something, and return its exit code."""
        if self._cli is not None:
            self._cli.end(exit_code, self.error)
        return exit_code


class Command(TyperCommand):
    """A command: its function, and what is known of it without its options."""

    def __init__(
        self,
        name: str,
        body: Callable[..., ExitCode],
        *,
        impact: Impact,
        examples: Sequence[str],
        usage_code: ExitCode,
        recorded: bool,
        private: Sequence[str],
    ) -> None:
        text = inspect.cleandoc(body.__doc__ or "")
        super().__init__(
            name, help=text, short_help=_first_sentence(text), add_help_option=False, rich_markup_mode=None
        )
        self.body = body
        self.impact = impact
        self.examples = tuple(examples)
        self.usage_code = usage_code
        self.recorded = recorded and impact is not Impact.READS
        self.private = frozenset(private)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the function's options. typer reads them now: at the start, all commands' take it 18 ms."""
        if self.callback is None:
            read = _read_by_typer(self)
            self.params, self.callback = read.params, read.callback
        return super().get_params(ctx)

    def make_parser(self, ctx: Any) -> Any:
        return _with_common_options(super().make_parser(ctx), ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the common options; typer reads the command's own."""
        _take_common_options(self, ctx, args)
        if not ctx.resilient_parsing:
            ctx.obj.read_options(ctx)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
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
        return _with_common_options(super().make_parser(ctx), ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the common options before the command's name; without a command show the help, and exit 2."""
        rest = _take_common_options(self, ctx, args)
        if not rest and not ctx.resilient_parsing:
            Console().message(ctx.get_help())
            raise typer.Exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        _write_common_options(ctx, formatter)


def command(
    name: str,
    *,
    impact: Impact,
    examples: Sequence[str],
    usage_code: ExitCode = ExitCode.USAGE,
    recorded: bool = True,
    private: Sequence[str] = (),
) -> Callable[[Callable[..., ExitCode]], Command]:
    """Make a function the command ``name``; its docstring is the help, the first sentence the short one.

    The function gets a :class:`Cli` and its own options by keyword, and returns the exit code. A command line
    that it does not take exits with ``usage_code``.

    What is not only READS is ``recorded``: it has --reason, and is in the pipeline's history from where it
    calls ``cli.begin()``, as ``moves.py`` does. It says False if it changes no pipeline. The values of
    ``private`` options are not recorded.
    """
    return partial(
        Command,
        name,
        impact=impact,
        examples=examples,
        usage_code=usage_code,
        recorded=recorded,
        private=private,
    )


def _first_sentence(text: str) -> str:
    """Return the first sentence of a help, without its full stop."""
    return re.split(r"\.(?: |$)", " ".join(text.split()), maxsplit=1)[0]


def _read_by_typer(command: Command) -> Any:
    """Let typer make a command of a function, whose Cli is made of what typer's context carries."""
    own = list(inspect.signature(command.body, eval_str=True).parameters.values())[1:]
    # A command that does more with it has its own.
    adds_reason = command.recorded and not any(one.name == _REASON.name for one in own)

    def run(context: typer.Context, **values: Any) -> int:
        reason = values.pop(_REASON.name) if adds_reason else values.get(_REASON.name)
        try:
            cli = context.obj.start(*typed_command(context, command.private), _given(context, reason))
        except UsageError as error:
            error.exit_code = command.usage_code
            raise
        return _run(command.body, context.obj, cli, values)

    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # PEP 362
        [context, *own, *([_REASON] if adds_reason else [])]
    )
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command()(run)
    return typer.main.get_command(alone)


_REASON: Final = inspect.Parameter(
    "reason",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="Why; kept in the history."),
    ],
)


def _given(context: Any, reason: str | None) -> str:
    """Return --reason if it was typed; a command's own default is none."""
    return reason or "" if _is_typed(context, _REASON.name) else ""


def _is_typed(context: Any, name: str | None) -> bool:
    source = context.get_parameter_source(name) if name else None
    return source is not None and source.name == "COMMANDLINE"


def typed_command(context: Any, private: Collection[str]) -> tuple[str, str]:
    """Return a command's name, and its line as it was typed, without what is ``private``, for the history."""
    words: list[str] = []
    arguments: list[str] = []
    for param in context.command.params:
        if not _is_typed(context, param.name) or param.name == _REASON.name:
            continue
        value = context.params.get(param.name)
        texts = ["…"] if param.name in private else [_text(one) for one in _listed(value)]
        if param.param_type_name == "argument":
            arguments += texts
        elif getattr(param, "is_flag", False):
            words.append(param.opts[0])
        else:
            words += [word for text in texts for word in (param.opts[0], text)]
    name = context.command_path.removeprefix(PROGRAM).strip()
    line = [PROGRAM, *name.split(), *arguments, *words, *context.obj.options.shown()]
    return name, " ".join(one if one == "…" else shlex.quote(one) for one in line)


def _text(value: Any) -> str:
    """Write a value as it is typed: a rate of 40, not of 40.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _run(body: Callable[..., ExitCode], run: ProgramRun, cli: Cli, own: dict[str, Any]) -> int:
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
    _refuse_empty(command, ctx, typed)
    ctx.obj.add(typed)
    return list(rest)


def _refuse_empty(command: Command | Commands, ctx: Any, typed: Mapping[str, Any]) -> None:
    """Refuse an empty value for what may be left out: a script's variable was not set."""
    for param in [*common_options().params, *command.get_params(ctx)]:
        values = [] if param.required else _listed(typed.get(param.name))
        if any(isinstance(one, str) and not one.strip() for one in values):
            name = param.opts[0] if param.param_type_name == "option" else param.metavar or param.name
            ctx.fail(f"{name} is empty: give it a value, or leave it out")


def _write_common_options(ctx: Any, formatter: Any) -> None:
    with formatter.section("Common options, before or after the command"):
        formatter.write_dl([param.get_help_record(ctx) for param in common_options().params])
