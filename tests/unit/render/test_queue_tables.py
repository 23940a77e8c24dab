"""What a drain left, as text."""

from __future__ import annotations

from fifo_cli.render.queue_tables import drain_left


def test_what_a_drain_was_not_given_is_said_with_why_and_what_to_do() -> None:
    why, next_step = drain_left(360, stayed=False).split("\n")
    assert why == (
        "360 messages left in the queue that SQS did not give out: another consumer holds them or what is"
        " before them in their groups, or one that was killed did, and they are hidden until its visibility"
        " timeout is over"
    )
    assert next_step.startswith("next: run it again when the other consumer has ended, or in a minute; ")


def test_what_failed_may_be_before_them() -> None:
    assert drain_left(1, stayed=True).startswith(
        "1 message more left in the queue that SQS did not give out: behind one that stayed in its group, or"
        " another consumer holds"
    )
