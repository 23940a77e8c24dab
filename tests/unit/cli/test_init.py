"""init says what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from fifo_cli.cli.app import main


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ([], "`fifo-cli plan`"),
        (["."], "`fifo-cli plan`"),
        (["shop"], "`fifo-cli plan --config shop/fifo.toml`"),
        (["my shop", "--name", "orders"], "`fifo-cli plan --config 'my shop/fifo.toml'`"),
        (["a/b"], "`fifo-cli plan --config a/b/fifo.toml`"),
    ],
)
def test_init_ends_with_the_next_step(
    words: list[str],
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "orders"
    folder.mkdir()
    monkeypatch.chdir(folder)

    assert main(["init", *words]) == 0
    out, err = capsys.readouterr()
    assert (out.startswith("wrote "), out.count("\n")) == (True, 1)
    assert err.startswith("next: set [table] name")
    assert command in " ".join(err.split())


def test_with_quiet_or_json_stdout_has_the_result_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["init", "orders", "-q", "-o", "json"]) == 0
    out, err = capsys.readouterr()
    assert (out.count("path"), err) == (1, "")
