"""Every command that the program prints works as printed: it exists, and repeats what this run was given."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from fifo_cli.cli.app import app
from fifo_cli.cli.console import announce
from fifo_cli.cli.framework import Commands, ProgramRun
from fifo_cli.cli.signals import Signals
from fifo_cli.invocation import aws_command_line, command_line, quoted, remember, remember_place
from fifo_cli.render.text import fold
from tests.cli_harness import ROOT

PACKAGE = ROOT / "fifo_cli"
# What is about no pipeline of this run: scripts of shells, the text of a new fifo.toml, the head of a note, a
# story that has a stack of its own.
NOT_HINTS = {
    "cli/completion.py",
    "operations/deploy/init.py",
    "operations/queues/load_progress.py",
    "local/demo/story.py",
    "render/prove_page.py",  # its title
}
# What a name in an f-string stands for, where it is a word of a command.
WORDS = {"role": "worker", "self.command": "deploy", "queue": "dlq"}
COMMANDS = "|".join(sorted(app.commands))
A_COMMAND = re.compile(rf"`(?:fifo-cli )?(?:{COMMANDS})(?:`| [^`]*`)|fifo-cli (?:{COMMANDS})\b")


def parsed(words: list[str]) -> ProgramRun:
    """Let the program's own command line read the words, as far as it does before a command runs."""
    run = ProgramRun(Signals(announce))
    context: Any = app.make_context("fifo-cli", list(words), obj=run)
    while isinstance(context.command, Commands):
        left = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, left)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return run


def texts(node: ast.expr) -> list[str]:
    """Return what an expression may be: its words, with a stand-in for what is not known here."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp():
            return [*texts(node.body), *texts(node.orelse)]
        case ast.JoinedStr():
            return ["".join(parts) for parts in product(*map(texts, node.values))]
        case ast.FormattedValue():
            return texts(node.value)
        case _:
            return [WORDS[ast.unparse(node)]]


def values(arguments: list[ast.expr]) -> Iterator[str]:
    for one in arguments:
        if not isinstance(one, ast.Starred):
            yield one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else "7"


def printed_commands() -> Iterator[Any]:
    """Yield the words of each call of ``command_line``, with a number in the place of each value.

    Options that a run passes on (``*words``) are left out.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "command_line(" not in text:  # each worker of a run reads them all
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "command_line":
                for line in texts(node.args[0]):
                    where = f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}"
                    yield pytest.param([*line.split(), *values(node.args[1:])], id=f"{where} {line}")


@pytest.mark.parametrize("words", list(printed_commands()))
def test_a_printed_command_is_one_that_this_program_takes(words):
    parsed(words)


def test_one_that_it_does_not_take_is_found():
    with pytest.raises(Exception, match="No such option"):
        parsed(["park", "--head"])


def hint_texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module that are no docstrings, and neither help nor examples of a command."""
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.add(id(node.value))
        if isinstance(node, ast.keyword) and node.arg in ("examples", "help"):
            left_out |= {id(each) for each in ast.walk(node.value)}
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_printing":
            left_out |= {id(each) for each in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


def test_no_hint_names_a_command_in_another_way():
    found = [
        f"{name}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if (name := path.relative_to(PACKAGE).as_posix()) not in NOT_HINTS
        for line, text in hint_texts(ast.parse(path.read_text(encoding="utf-8")))
        if A_COMMAND.search(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    ["x = 'look with `plan`'", "x = f'run fifo-cli status in {y}'", "f(hint='`fifo-cli park --all`')"],
)
def test_another_way_is_found(source):
    assert any(A_COMMAND.search(text) for _, text in hint_texts(ast.parse(source)))


@pytest.mark.parametrize("source", ["'''`plan` shows.'''", "f(examples=['fifo-cli plan'])", "x = '`where`'"])
def test_what_is_not_printed_or_not_a_command_is_left_alone(source):
    assert not any(A_COMMAND.search(text) for _, text in hint_texts(ast.parse(source)))


GIVEN: list[tuple[str, list[str], str]] = [
    ("nothing", [], ""),
    ("an environment", ["--env", "prod"], " --env prod"),
    ("the stack", ["--local"], " --local"),
    ("a file with a space", ["--config", "a b/fifo.toml"], " --config 'a b/fifo.toml'"),
    ("a file with a quote", ["--config", "it's.toml"], " --config 'it'\"'\"'s.toml'"),
    ("a file with a dollar", ["--config", "$HOME/`x`.toml"], " --config '$HOME/`x`.toml'"),
    ("a profile", ["--profile", "prod admin"], " --profile 'prod admin'"),
    ("a region", ["--region=eu-west-1"], " --region eu-west-1"),
    (
        "an endpoint with a password",
        ["--endpoint-url", "http://me:secret@127.0.0.1:1"],
        " --endpoint-url 'http://***@127.0.0.1:1'",
    ),
    (
        "several",
        ["--profile", "p", "--env", "x", "--config", "f.toml", "--region", "r"],
        " --config f.toml --env x --profile p --region r",
    ),
    ("what says nothing of the place", ["-o", "json", "-q", "-v", "-y", "--no-color"], ""),
    ("the last of two", ["--env", "dev", "--env", "prod"], " --env prod"),
]


@pytest.mark.parametrize(("given", "shown"), [case[1:] for case in GIVEN], ids=[case[0] for case in GIVEN])
def test_a_command_repeats_the_options_that_say_which_pipeline(given, shown):
    parsed(["status", *given])
    assert command_line("resume worker") == f"`fifo-cli resume worker{shown}`"


def test_options_before_the_command_are_repeated_too():
    parsed(["--env", "prod", "status", "--local"])
    assert command_line("plan") == "`fifo-cli plan --env prod --local`"


def test_what_a_run_before_was_given_is_forgotten():
    parsed(["status", "--env", "prod"])
    parsed(["status"])
    assert command_line("plan") == "`fifo-cli plan`"


@pytest.mark.parametrize("variable", ["FIFO_ENV", "FIFO_CONFIG", "FIFO_LOCAL", "AWS_PROFILE", "AWS_REGION"])
def test_what_the_environment_says_holds_in_the_same_shell(variable, monkeypatch):
    monkeypatch.setenv(variable, "1")
    parsed(["status"]).start()
    assert command_line("plan") == "`fifo-cli plan`"


def test_each_command_repeats_what_it_has_a_use_for():
    parsed(["status", "--config", "f.toml", "--env", "prod", "--local"])
    assert command_line("local up") == "`fifo-cli local up --config f.toml`"
    assert command_line("init DIR") == "`fifo-cli init DIR`"
    assert command_line("schema") == "`fifo-cli schema`"


def test_another_person_has_another_profile():
    parsed(["plan", "--profile", "me", "--region", "eu-west-1"])
    assert command_line("deploy", for_another=True) == "`fifo-cli deploy --region eu-west-1`"
    assert aws_command_line("sso login") == "`aws sso login --profile me --region eu-west-1`"


def test_a_command_of_aws_names_region_and_endpoint_of_this_run():
    line = "ssm delete-parameter --name"
    parsed(["keys", "list", "--profile", "me"])
    remember_place("us-west-2", "https://vpce.example.com")
    place = "--region us-west-2 --endpoint-url https://vpce.example.com"
    assert aws_command_line(line, "/k") == f"`aws {line} /k --profile me {place}`"
    assert aws_command_line("sso login") == "`aws sso login --profile me`"
    remember_place("us-east-1", "http://127.0.0.1:4566", "/a b/key")
    local = "--profile default --region us-east-1 --endpoint-url http://127.0.0.1:4566"
    with_key = "AWS_SHARED_CREDENTIALS_FILE='/a b/key'"
    assert aws_command_line(line, "/k") == f"`{with_key} aws {line} /k {local}`"
    assert aws_command_line("sso login") == "`aws sso login --profile me`"
    parsed(["status"])
    assert aws_command_line(line, "/k") == f"`aws {line} /k`"


def test_no_command_of_aws_is_written_elsewhere():
    own = {
        "errors.py",
        "invocation.py",
    }  # the first has those by which a profile is chosen, or signed in with
    found = {path.name for path in PACKAGE.rglob("*.py") if re.search(r"[`\"]aws [a-z]", path.read_text())}
    assert found <= own


WORDS_OF_USERS = [
    "zoë", "a b", "it's", 'say "x"', "$(touch ran)", "`touch ran`", "a;b", "a\nb", "tab\there", "\x1b[31m",
    "-x", "", "!history", "*", "~", "\\", "日本", "\u202eabc", "a\\nb'c\n",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS_OF_USERS, ids=ascii)
def test_a_shell_reads_back_what_was_quoted(word, tmp_path):
    done = subprocess.run(
        ["bash", "-c", f"printf '%s|' {quoted(word)}"], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout.decode() == f"{word}|"
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_not_utf_8_is_read_back(tmp_path):
    word = b"caf\xe9".decode("utf-8", "surrogateescape")
    done = subprocess.run(["bash", "-c", f"printf '%s' {quoted(word)}"], capture_output=True, check=True)
    assert done.stdout == b"caf\xe9"


def test_a_command_is_never_broken_over_two_lines():
    remember({"--config": "a b/fifo.toml", "--env": "prod"})
    text = f"next: {command_line('drain --count 1')} tries again; {command_line('park --group', 'a b')} parks"
    for width in range(5, 120):
        lines = fold(text, width).split("\n")
        whole = [shlex.split(found) for line in lines for found in re.findall(r"`([^`]+)`", line)]
        assert [words[1] for words in whole] == ["drain", "park"], width
        assert " ".join(lines) == text
