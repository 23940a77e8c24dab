"""The first fifo.toml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fifo_cli.errors import UsageError
from fifo_cli.model import settings
from fifo_cli.operations.deploy.init import config_text, init


@pytest.mark.parametrize("name", ["orders", "ab", "x" * 55])
def test_what_is_written_loads_as_it_is(tmp_path: Path, name: str) -> None:
    result = init(tmp_path / "new" / "shop", name=name)

    assert result.document() == {"path": str(tmp_path / "new" / "shop" / "fifo.toml")}
    assert settings.load(result.path).settings.pipeline.name == name


def test_what_is_commented_out_loads_as_well_when_it_is_not(tmp_path: Path) -> None:
    text = re.sub(r"^# (?=\[|\w+ = )", "", config_text("orders"), flags=re.MULTILINE)
    (tmp_path / "fifo.toml").write_text(text, encoding="utf-8")
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "orders.py").write_text("to_message = to_request = print\n")

    loaded = settings.load(tmp_path / "fifo.toml").settings

    assert loaded.functions == settings.Functions()
    assert loaded.check == settings.Check()
    assert loaded.handlers is not None
    assert loaded.tags == {"team": "payments"}
    assert settings.load(tmp_path / "fifo.toml", env="prod").settings.pipeline.name == "orders-prod"


def test_the_defaults_that_are_shown_are_the_defaults(tmp_path: Path) -> None:
    written = settings.load(init(tmp_path, name="orders").path).settings
    bare = tmp_path / "bare.toml"
    bare.write_text(
        '[pipeline]\nname="orders"\n[table]\nname="orders"\n[api]\nurl="https://api.example.com/v1/orders"\n'
    )
    default = settings.load(bare).settings

    assert written.model_copy(update={"api": default.api}) == default
    assert written.api[0].model_copy(update={"headers": {}, "keys": {}}) == default.api[0]


def test_the_folder_gives_the_name(tmp_path: Path) -> None:
    assert settings.load(init(tmp_path / "My shop (new)!").path).settings.pipeline.name == "My-shop-new"
    assert settings.load(init(tmp_path / "日本").path).settings.pipeline.name == "pipeline"


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "fifo.toml").write_text("mine")

    with pytest.raises(UsageError, match="exists already; nothing was changed"):
        init(tmp_path, name="orders")

    assert (tmp_path / "fifo.toml").read_text() == "mine"


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "fifo.toml").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="exists already"):
        init(tmp_path, name="orders")

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 56, "a.fifo", "é"])
def test_an_impossible_name_is_refused_and_nothing_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"is not a pipeline name; it must be 1 to 55 letters"):
        init(tmp_path / "new", name=name)

    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="is not a folder"):
        init(tmp_path / "file", name="orders")
    with pytest.raises(UsageError, match="cannot be written: Not a directory"):
        init(tmp_path / "file" / "deeper", name="orders")
