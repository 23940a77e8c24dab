from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fifo_cli.cli.commands.replay import Given, _window
from fifo_cli.errors import UsageError

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
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


def window(**given: str) -> Any:
    return _window(Given(**{**PLAIN, **given}), NOW)


def test_a_window_ends_now_if_it_is_not_said_when():
    found = window(since="2h")
    assert (found.since, found.until) == (NOW - timedelta(hours=2), NOW)


def test_a_window_of_one_moment_and_one_number_is_one():
    found = window(since="1h", until="1h", from_sequence="007", to_sequence="7")
    assert found.since == found.until
    assert (found.from_sequence, found.to_sequence) == ("007", "7")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"since": "2026-01-02T12:00:01Z"}, "--since 2026-01-02T12:00:01Z is in the future"),
        ({"until": "2027-01-01"}, "--until 2027-01-01 is in the future"),
        ({"since": "1h", "until": "2h"}, "is later than --until"),
        ({"since": "soon"}, "--since: not a time"),
        ({"from_sequence": "2", "to_sequence": "1"}, "--from-sequence 2 is greater than --to-sequence 1"),
        ({"from_sequence": "1e5"}, "--from-sequence '1e5' is not a sequence number"),
        ({"to_sequence": "-1"}, "is not a sequence number"),
        ({"to_sequence": ""}, "is not a sequence number"),
        ({"to_sequence": "9" * 41}, "is not a sequence number"),
        ({"to_sequence": "١٢"}, "is not a sequence number"),
    ],
)
def test_what_can_hold_no_record_is_refused(given, said):
    with pytest.raises(UsageError) as caught:
        window(**given)
    assert said in caught.value.message


def test_sequence_numbers_are_compared_as_integers():
    assert window(from_sequence="9", to_sequence="10").to_sequence == "10"
