"""check's flags; its textfile: old or new, never half, whatever goes wrong."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from fifo_cli.cli.app import main
from fifo_cli.cli.commands.check import _thresholds, write_whole
from fifo_cli.errors import ExitCode, UsageError
from fifo_cli.model.settings import Check


@pytest.mark.parametrize("name", ["depth", "dlq"])
@pytest.mark.parametrize(
    "text",
    ["+5,7", "1_000,2_000", "٣,٤", "-1,5", "5.0,6", "1e3,1e4", "5", "5,6,7", "7,5", ",", "9" * 5000 + ",1"],
)
def test_a_threshold_is_digits_and_nothing_else(name: str, text: str) -> None:
    with pytest.raises(UsageError, match="not warning,critical with warning not above critical"):
        _thresholds(Check(), {name: text})


def test_only_the_thresholds_that_are_given_replace_those_of_fifo_toml() -> None:
    given = _thresholds(Check(depth=(1, 2)), {"depth": None, "dlq": " 05 , 7", "age": "1m,1h"})
    assert given == Check(depth=(1, 2), dlq=(5, 7), age=(timedelta(minutes=1), timedelta(hours=1)))


@pytest.mark.parametrize(
    ("words", "fifo_local"), [(["--local", "--profile", "p"], ""), ([], "maybe"), (["--profile", "p"], "1")]
)
def test_common_options_that_contradict_each_other_are_unknown_and_not_critical(
    words: list[str], fifo_local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFO_LOCAL", fifo_local)
    assert main(["check", *words]) == ExitCode.AWS


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = tmp_path / "orders.prom"
    target.write_text("old")

    write_whole(target, "new\n")

    assert target.read_text() == "new\n"
    assert os.listdir(tmp_path) == ["orders.prom"]


def test_what_cannot_be_written_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "orders.prom"
    target.write_text("old")

    with pytest.raises(UsageError, match=r"orders\.prom cannot be written"):
        write_whole(target, "new \udcff")

    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["orders.prom"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        write_whole(tmp_path / "missing" / "orders.prom", "x")


def test_a_folder_in_the_place_of_the_file_is_reported_and_kept(tmp_path: Path) -> None:
    (tmp_path / "orders.prom").mkdir()

    with pytest.raises(UsageError, match="Is a directory"):
        write_whole(tmp_path / "orders.prom", "x")

    assert os.listdir(tmp_path) == ["orders.prom"]


def test_the_unfinished_file_has_a_name_that_node_exporter_does_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = os.fsync

    def spy(handle: int) -> None:
        seen.extend(os.listdir(tmp_path))
        real(handle)

    monkeypatch.setattr(os, "fsync", spy)
    write_whole(tmp_path / "orders.prom", "x")

    assert len(seen) == 1
    assert not seen[0].endswith(".prom")
