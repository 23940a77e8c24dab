from __future__ import annotations

from datetime import timedelta

import pytest

from fifo_cli.cli.commands.trace import _listener, settle_time
from fifo_cli.cli.console import Console
from fifo_cli.cli.context import Cli
from fifo_cli.cli.options import Options
from fifo_cli.cli.signals import Signals
from fifo_cli.errors import UsageError
from fifo_cli.events import Progressed


def test_how_far_it_is_is_no_line_in_a_pipe_unless_asked_for(capsys, monkeypatch):
    monkeypatch.setattr("fifo_cli.cli.console._LINE_EVERY_SECONDS", 0.0)
    for verbose, said in ((0, ""), (1, "12 log lines read\n")):
        cli = Cli(Options(verbose=verbose), Console(), Signals(lambda text: None))
        _listener(cli)(Progressed("12 log lines read"))
        assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("local", "text", "minutes"),
    [
        (False, None, 15),
        (True, None, 0),
        (True, "15m", 15),
        (False, "0", 0),
        (False, "0s", 0),
        (False, " 2h ", 120),
    ],
)
def test_the_settle_time_is_fifteen_minutes_but_on_the_embedded_stack(local, text, minutes):
    cli = Cli(Options(local=local), Console(), Signals(lambda text: None))
    assert settle_time(cli, text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "15", "-5m", "m", "1.5h", "\u0665m", "999999999d9", "now"])
def test_a_settle_time_that_is_not_a_duration_is_refused(text):
    cli = Cli(Options(), Console(), Signals(lambda text: None))
    with pytest.raises(UsageError, match="--settle"):
        settle_time(cli, text)
