"""The composition root: which AWS is meant, and how a result is written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.consistency import AT_ONCE, LATE
from fifo_cli.cli.console import Console
from fifo_cli.cli.context import Cli
from fifo_cli.cli.options import Options, Output
from fifo_cli.cli.signals import Signals
from fifo_cli.errors import ConfigError, ExitCode, StackError, UsageError
from fifo_cli.model.results import Document, Result

CONFIG = (
    '[pipeline]\nname = "orders"\n{region}[table]\nname = "orders"\n[api]\nurl = "https://api.example.com"\n'
)


def cli(**options: Any) -> Cli:
    return Cli(Options(**options), Console(), Signals(lambda text: None))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fifo.toml").write_text(CONFIG.format(region='region = "eu-west-1"\n'), encoding="utf-8")
    (tmp_path / "bare.toml").write_text(CONFIG.format(region=""), encoding="utf-8")
    return tmp_path


def test_the_option_s_region_wins_then_the_file_s_then_aws_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")

    assert cli(region="us-west-2").aws.region == "us-west-2"
    assert cli().aws.region == "eu-west-1"
    assert cli(config=Path("bare.toml")).aws.region == "ap-south-1"


def test_without_any_region_that_is_told() -> None:
    with pytest.raises(UsageError, match="no AWS region is set"):
        cli(config=Path("bare.toml")).aws.region  # noqa: B018 - it is made when it is asked for


def test_an_endpoint_and_a_profile_are_passed_on() -> None:
    assert cli(endpoint_url="http://127.0.0.1:9").aws.endpoint.endpoint_url == "http://127.0.0.1:9"
    with pytest.raises(UsageError, match=r"profile \(nobody\) could not be found"):
        cli(profile="nobody").aws  # noqa: B018 - it is made when it is asked for


def test_how_late_aws_is_may_be_said_where_the_command_is_built() -> None:
    late = LATE._replace(tag=0.01)
    options = Options(endpoint_url="http://127.0.0.1:9")
    made = Cli(options, Console(), Signals(lambda text: None), delays=late)
    assert made.aws.delays == late
    assert cli(endpoint_url="http://127.0.0.1:9").aws.delays == AT_ONCE


def test_local_means_the_stack_of_the_project_and_not_aws(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.chdir(here.parent)

    with pytest.raises(StackError, match=f"the embedded stack of {here} is not running"):
        cli(local=True, config=here / "fifo.toml").aws  # noqa: B018 - it is made when it is asked for


def test_the_folder_is_the_project_s_even_from_below_and_this_one_without_a_project(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    assert cli().folder == here

    (here / "fifo.toml").unlink()
    assert cli().folder == here / "below"


def test_names_come_from_the_environment_s_overlay(here: Path) -> None:
    with (here / "fifo.toml").open("a") as file:
        file.write('[env.prod.pipeline]\nname = "orders-prod"\n')

    assert cli().names.main == "orders.fifo"
    assert cli(env="prod").names.main == "orders-prod.fifo"
    with pytest.raises(ConfigError, match=r"has no \[env.dev\] tables"):
        cli(env="dev").names  # noqa: B018 - it is made when it is asked for


class Three(Result):
    """A result of three rows."""

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.ATTENTION

    def document(self) -> Document:
        return {"rows": list(self.rows())}

    def rows(self) -> Iterable[Document]:
        return ({"n": number, "text": "é"} for number in range(3))


@pytest.mark.parametrize("text", ["a table", "a table\n"])
def test_a_table_ends_in_one_newline(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli().emit(Three(), lambda: text) == ExitCode.ATTENTION
    assert capsys.readouterr() == ("a table\n", "")


def test_json_is_one_document_and_jsonl_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def no_table() -> str:
        pytest.fail("the table was made for nothing")

    cli(output=Output.JSON).emit(Three(), no_table)
    assert json.loads(capsys.readouterr().out) == Three().document()
    cli(output=Output.JSONL).emit(Three(), no_table)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == list(Three().rows())


def test_a_document_is_json_even_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    for output in Output:
        cli(output=output).emit_document({"a": 1})
        out = capsys.readouterr().out
        assert json.loads(out) == {"a": 1}
        assert (len(out.splitlines()) == 1) == (output is Output.JSONL)


def test_rows_that_fail_half_way_leave_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(Three):
        def rows(self) -> Iterable[Document]:
            yield {"n": 1}
            raise UsageError("no more")

    with pytest.raises(UsageError):
        cli(output=Output.JSONL).emit(Failing(), lambda: "")
    assert capsys.readouterr().out == '{"n": 1}\n'
    with pytest.raises(UsageError):
        cli(output=Output.JSON).emit(Failing(), lambda: "")
    assert capsys.readouterr().out == ""


def test_yes_skips_the_question_and_asks_aws_nothing() -> None:
    cli(yes=True).confirm("do it")
