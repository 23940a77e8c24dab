"""The textfile of check: old or new, never half, whatever goes wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fifo_cli.cli.commands.check import write_whole
from fifo_cli.errors import UsageError


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
