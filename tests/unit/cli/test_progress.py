"""Progress of a long move, where a live line can be shown and where not."""

from __future__ import annotations

from typing import Any

from fifo_cli.cli.console import paced
from fifo_cli.events import Event, Noted, Progressed, Warned
from tests.fakes import Clock


class Reported:
    """A console that notes what it is reported."""

    def __init__(self, *, terminal: bool) -> None:
        self.error_color = terminal
        self.events: list[Event] = []

    def listen(self, event: Event) -> None:
        self.events.append(event)


def say(text: Any, clock: Clock) -> None:
    listen = paced(text, clock=clock)
    for second in range(11):
        listen(Progressed(f"{second}"))
        clock.sleep(1)
    listen(Warned("careful"))


def test_without_a_terminal_every_fifth_second_s_progress_is_a_line() -> None:
    text = Reported(terminal=False)
    say(text, Clock())
    assert text.events == [Noted("5"), Noted("10"), Warned("careful")]


def test_on_a_terminal_the_live_line_gets_all_of_it() -> None:
    text = Reported(terminal=True)
    say(text, Clock())
    assert text.events == [*(Progressed(f"{second}") for second in range(11)), Warned("careful")]
