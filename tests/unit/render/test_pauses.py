"""What a look or a drain says of groups that are hidden."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fifo_cli.model.worker_log import PausedGroup
from fifo_cli.render.pauses import hidden_text

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_groups_that_are_paused_have_their_ends_and_as_of_when_that_is_known() -> None:
    paused = [
        PausedGroup("zo%C3%AB", NOW + timedelta(seconds=70), NOW, "HTTP 503\x1b from shop", 90),
        *(PausedGroup(f"g{n}", NOW + timedelta(minutes=5), NOW) for n in range(4)),
    ]

    assert hidden_text(paused, as_of=NOW - timedelta(minutes=1), now=NOW).split("\n") == [
        "hidden, as their groups are paused:",
        "  group zoë until 12:01:10 UTC (in 1m 10s): HTTP 503\\x1b from shop, as the API asked (Retry-After)",
        "  group g0 until 12:05:00 UTC (in 5m): no reason logged",
        "  group g1 until 12:05:00 UTC (in 5m): no reason logged",
        "  and 2 more groups that are paused",
        "  as of 11:59:00 UTC (1m ago); only the function that paused a group can end it",
    ]


def test_a_drain_says_how_many_it_was_not_given_and_that_the_functions_try_again() -> None:
    first, *_, last = hidden_text([PausedGroup("g", NOW, NOW)], as_of=None, now=NOW, left=1).split("\n")

    assert (
        first == "1 message left in the queue that SQS did not give out, hidden, as their groups are paused:"
    )
    assert last == "next: wait: the functions try again by themselves when the pauses are over"


def test_with_the_worker_paused_a_drain_says_what_helps() -> None:
    text = hidden_text([PausedGroup("g", NOW, NOW)], as_of=None, now=NOW, left=1, running=False)

    assert text.split("\n")[-1] == (
        "next: `fifo-cli resume worker`, as a paused worker tries nothing again; or `fifo-cli drain --all`"
        " when the pauses are over"
    )
