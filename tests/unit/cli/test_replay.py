from __future__ import annotations

from typing import Any

import pytest

from fifo_cli.cli.commands.replay import Given

PLAIN: dict[str, Any] = {
    "since": None,
    "until": None,
    "from_sequence": None,
    "to_sequence": None,
    "key": None,
    "event": "",
    "filter": None,
    "failed": False,
    "missing": False,
    "fresh": False,
}


def given(**more: Any) -> Given:
    return Given(**{**PLAIN, **more})


def test_what_makes_two_command_lines_the_same_replay_is_every_option_that_says_what_to_send():
    assert given(since="1h", key="a", event="INSERT,MODIFY", missing=True, fresh=True).asked == (
        "--since=1h",
        "--key=a",
        "--event=INSERT,MODIFY",
        "--missing",
        "--fresh",
    )
    every = [given(**{name: True if value is False else "x"}).asked for name, value in PLAIN.items()]
    assert len(set(every)) == len(PLAIN)


@pytest.mark.parametrize(
    ("options", "relative"),
    [
        ({}, True),
        ({"since": "2026-01-02", "until": "2026-01-03"}, False),
        ({"since": "2h", "until": "2026-01-03"}, True),
        ({"since": "2026-01-02", "until": "1h"}, True),
        ({"since": "2026-01-02"}, True),
        ({"failed": True}, False),
        ({"missing": True, "until": "2026-01-03"}, True),
    ],
)
def test_the_same_words_mean_other_records_later_if_a_time_is_relative(options, relative):
    assert given(**options).relative is relative
