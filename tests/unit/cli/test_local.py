"""The commands of the embedded stack say what they have done."""

from __future__ import annotations

from pathlib import Path

import pytest

from fifo_cli.cli.app import main


def test_after_down_the_stack_is_stopped_and_status_says_that_it_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["local", "down"]) == 0
    assert capsys.readouterr().out == "The embedded stack is stopped.\n"
    assert main(["local", "status"]) == 0
    assert capsys.readouterr().out == "The embedded stack is not running.\n"
