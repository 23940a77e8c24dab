"""What the shell is reported may come next."""

from __future__ import annotations

from pathlib import Path

import pytest

from fifo_cli.cli.app import app, main
from fifo_cli.cli.completion import complete
from fifo_cli.cli.options import common_options

CONFIG = """
[api]
keys = { api_key = "/a", other = "/b" }
[env.prod.pipeline]
[env.dev.pipeline]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fifo.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "else.toml").write_text("[env.elsewhere]\n", encoding="utf-8")
    return tmp_path


def words(*line: str, separate: bool = False) -> list[str]:
    return [value.text for value in complete(app, line, separate=separate)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["pl"], ["plan"]),
        (["--local", "-o", "json", "--env=prod", "pl"], ["plan"]),
        (["keys", ""], ["list", "set"]),
        (["--local", "keys", "--env", "dev", "s"], ["set"]),
        (["local", "--local", "re"], ["reset"]),
        (["logs", ""], ["enqueuer", "worker"]),
        (["logs", "w"], ["worker"]),
        (["logs", "worker", ""], []),
        (["logs", "--since", "1h", "e"], ["enqueuer"]),
        (["peek", "--queue", ""], ["main", "dlq", "hold"]),
        (["peek", "--queue=h"], ["--queue=hold"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["-o", ""], ["table", "json", "jsonl"]),
        (["plan", "--output", "j"], ["json", "jsonl"]),
        (["plan", "--che"], ["--check"]),
        (["--en"], ["--env", "--endpoint-url"]),
        (["plan", "-o"], ["-o"]),
        (["--env", ""], ["dev", "prod"]),
        (["plan", "--env", "p"], ["prod"]),
        (["--config", "else.toml", "--env", ""], ["elsewhere"]),
        (["--config=else.toml", "plan", "--env="], ["--env=elsewhere"]),
        (["keys", "set", ""], ["api_key", "other"]),
        (["keys", "set", "a"], ["api_key"]),
        (["put", ""], [":files"]),
        (["put", "@fi"], [":files"]),
        (["put", "--", "-"], [":files"]),
        (["--config", ""], [":files"]),
        (["init", ""], [":folders"]),
        (["package", "--out", "b"], [":folders"]),
        (["package", "--out=b"], [":folders"]),
        (["plan", "--bogus="], []),
        (["plan", ""], []),
        (["nothing", "pl"], ["plan"]),
        ([], list(app.commands)),
        (["load", ""], [":files"]),
        (["purge", "--queue", "dlq", "--backup=x"], [":files"]),
        (["completion", "z"], ["zsh"]),
        (["redrive", "--queue", "main", "--bogus", ""], []),
        (["--env", "prod", "keys", "-q", "set", "api"], ["api_key"]),
        (["--config=else.toml", "keys", "--env", ""], ["elsewhere"]),
        (["peek", "--queue", "nothing"], []),
        (["-o"], ["-o"]),
        (["plan", "--", "--ch"], []),
    ],
)
def test_completions(line: list[str], expected: list[str]) -> None:
    assert words(*line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["peek", "--queue", "=", "d"], ["dlq"]),
        (["peek", "--queue", "="], ["main", "dlq", "hold"]),
        (["--env", "=", "prod", "plan", "--ch"], ["--check"]),
        (["--config", "=", "else.toml", "--env", "=", ""], ["elsewhere"]),
    ],
)
def test_bash_breaks_words_at_equals_signs_and_wants_the_value_alone(
    line: list[str], expected: list[str]
) -> None:
    assert words(*line, separate=True) == expected


def test_profiles_come_from_aws_s_two_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "config").write_text("[default]\n[profile ops]\nregion = x\n[sso-session corp]\n[stray]\n")
    (here / "credentials").write_text("[old]\naws_access_key_id = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(here / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(here / "credentials"))

    assert words("depth", "--profile", "") == ["default", "old", "ops"]
    assert words("--profile", "o") == ["old", "ops"]

    (here / "config").write_bytes(b"\xff = broken [")
    assert words("--profile", "o") == ["old"]


def test_every_command_completes_all_common_options() -> None:
    common = {param.opts[0] for param in common_options().params}
    for name in app.commands:
        assert common <= set(words(name, "--"))


@pytest.mark.parametrize("content", ["= broken", 'env = "text"\napi = 5', "[[api]]\nkeys = 1"])
def test_a_broken_fifo_toml_completes_nothing_and_fails_nothing(here: Path, content: str) -> None:
    (here / "fifo.toml").write_text(content)

    assert words("--env", "") == []
    assert words("keys", "set", "") == []


def test_help_comes_after_a_tab_where_the_shell_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FIFO_CLI_COMPLETE", "fish")
    assert main(["keys", "s"]) == 0
    assert capsys.readouterr().out.startswith("set\tSet a key to the value")

    monkeypatch.setenv("FIFO_CLI_COMPLETE", "bash")
    main(["keys", "s"])
    assert capsys.readouterr() == ("set\n", "")


@pytest.mark.parametrize("line", [["peek", "--queue"], ["\udcff"], ["--", "--"], ["-"], ["--="], ["=", "="]])
def test_no_line_makes_it_fail(
    line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FIFO_CLI_COMPLETE", "bash")

    assert main(line) == 0
    assert capsys.readouterr().err == ""
