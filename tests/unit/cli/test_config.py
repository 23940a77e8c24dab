"""Which fifo.toml is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from fifo_cli.cli.config import config_path, find_config, raw_config
from fifo_cli.errors import UsageError


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a folder in it, where we are."""
    (tmp_path / "fifo.toml").write_text("[env.b.pipeline]\n[env.a.pipeline]\n", encoding="utf-8")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    monkeypatch.delenv("FIFO_CONFIG", raising=False)
    return tmp_path


def test_the_option_comes_first_then_the_variable_then_the_nearest_parent(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_config(None) == folders / "fifo.toml"
    monkeypatch.setenv("FIFO_CONFIG", "from-variable.toml")
    assert find_config(None) == Path("from-variable.toml")
    assert find_config(Path("from-option.toml")) == Path("from-option.toml")


def test_an_empty_variable_is_none(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFO_CONFIG", "")
    assert find_config(None) == folders / "fifo.toml"


def test_a_nearer_one_wins_and_a_folder_of_that_name_is_none(folders: Path) -> None:
    (folders / "deep" / "er" / "fifo.toml").mkdir()
    assert config_path(None) == folders / "fifo.toml"
    (folders / "deep" / "fifo.toml").touch()
    assert config_path(None) == folders / "deep" / "fifo.toml"


def test_none_anywhere_is_reported_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"fifo\.toml was not found in this folder or above") as caught:
        config_path(None)
    assert "fifo-cli init" in caught.value.hint


def test_a_folder_that_has_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UsageError, match="does not exist any more"):
        find_config(None)


@pytest.mark.parametrize("data", [b"\xff", b"= =", b"a=" + b"[" * 100_000])
def test_for_completion_a_broken_file_is_an_empty_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.toml").write_bytes(data)
    assert raw_config(tmp_path / "x.toml") == {}
    assert raw_config(tmp_path) == {}
