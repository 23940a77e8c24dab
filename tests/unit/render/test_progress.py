"""A line for each event."""

from __future__ import annotations

from typing import get_args

import pytest

from fifo_cli.events import Event, Finished, Noted, Progressed, Started, Waiting, Warned
from fifo_cli.render.progress import line

LINES = [
    (Started("create", "queue", "orders.fifo"), "create queue orders.fifo …"),
    (Finished("create", "queue", "orders.fifo"), "create queue orders.fifo: done"),
    (Finished("create", "queue", "orders.fifo", "2 s"), "create queue orders.fifo: done (2 s)"),
    (Waiting("orders-worker", "its role is new"), "waiting for orders-worker: its role is new"),
    (Warned("backlog will be lost"), "warning: backlog will be lost"),
    (Progressed("3 of 5\x1b[2J"), "3 of 5\\x1b[2J"),
    (Progressed("3 of 4", 0.75), "[############....] 3 of 4"),
    (Progressed("none of 4", 0.0), "[................] none of 4"),
    (Progressed("4 of 4", 1.0), "[################] 4 of 4"),
    (Noted("a\x1b[0m\nb"), "a\\x1b[0m\nb"),
]


@pytest.mark.parametrize(("event", "shown"), LINES)
def test_every_event_is_a_line(event: Event, shown: str) -> None:
    assert line(event, color=False) == shown


def test_no_event_is_forgotten() -> None:
    assert {type(event) for event, _ in LINES} == set(get_args(Event))


def test_warnings_stand_out_in_colour() -> None:
    assert line(Warned("x"), color=True) == "\x1b[33mwarning:\x1b[0m x"
