"""Redrives and parkings as people read them."""

from __future__ import annotations

from typing import Any

from fifo_cli.render.transfer import park_text, redrive_preview, redrive_text

MESSAGE: dict[str, Any] = {
    "message_id": "0123456789abcdef",
    "group": "customer-7",
    "sent_at": "2026-01-02T03:04:05.678Z",
    "attributes": {"park_reason": {"type": "String", "value": "410 Gone"}},
    "body": "{}",
}


def test_a_redrive_is_summed_up_with_what_needs_a_look() -> None:
    document = {"engine": "client", "moved": 1200, "skipped": 3, "failed": 1, "remaining": 4}
    text = redrive_text(
        document,
        notes=["left alone: 3 that came after the redrive began"],
        warnings=["m1 (group g): InternalError"],
        source="orders-dlq.fifo",
        target="orders.fifo",
    )
    assert text.splitlines() == [
        "1,200 messages moved to orders.fifo, 3 skipped, 1 failed; 4 messages remain in orders-dlq.fifo",
        "left alone: 3 that came after the redrive began",
        "look: m1 (group g): InternalError",
    ]


def test_what_cannot_be_counted_is_not_called_none() -> None:
    document = {"engine": "native", "moved": 1, "skipped": 0, "failed": 0, "remaining": None}
    text = redrive_text(document, notes=(), warnings=(), source="a", target="b")
    assert text == "1 message moved to b; unknown how many remain\n"


def test_an_empty_dlq_is_said_to_be_empty() -> None:
    document = {"engine": "client", "moved": 0, "skipped": 0, "failed": 0, "remaining": 0}
    text = redrive_text(document, notes=(), warnings=["not found: m1"], source="a", target="b")
    assert text == "nothing to move: a is empty\nlook: not found: m1\n"
    dry = redrive_preview({**document, "from": "a", "messages": []}, width=80)
    assert dry == "dry run: nothing to move: a is empty\n"


def test_words_of_others_cannot_move_the_cursor() -> None:
    document = {"engine": "client", "moved": 0, "skipped": 0, "failed": 1, "remaining": 1}
    text = redrive_text(document, notes=(), warnings=["m (group \x1b[2J): no"], source="a", target="b")
    assert "\x1b" not in text


def test_a_dry_run_says_that_nothing_was_moved_and_what_becomes_of_order() -> None:
    document = {
        "engine": "client",
        "remaining": 12,
        "from": "orders-dlq.fifo",
        "to": "orders.fifo",
        "behind": 7,
        "truncated": True,
        "messages": [MESSAGE],
    }
    lines = redrive_preview(document, width=None).splitlines()
    assert lines[0].split() == ["MESSAGE", "GROUP", "SENT", "REASON", "BODY"]
    assert lines[1].split() == [
        "0123456789abcdef",
        "customer-7",
        "2026-01-02T03:04:05.678Z",
        "410",
        "Gone",
        "{}",
    ]
    assert lines[2:] == [
        "dry run: nothing was moved; 1 message shown of 12 would go from orders-dlq.fifo to orders.fifo"
        " (client engine)",
        "Order: they go to the end of orders.fifo, behind the 7 messages counted there now, so a group with"
        " messages there is no longer in stream order. `fifo-cli redrive --in-order` puts each back in its"
        " place.",
        "There are more than shown: of one group, SQS shows the first ten.",
    ]
    empty = redrive_preview({**document, "behind": 0, "truncated": False, "messages": []}, width=80)
    assert empty.splitlines()[1:] == ["Order: nothing waits in orders.fifo, so each group keeps its order."]


def test_a_parking_shows_what_was_parked() -> None:
    text = park_text({"parked": [MESSAGE]}, warnings=["asked for 2, found 1"], dry_run=False, width=80)
    assert text.splitlines()[1].startswith("01234567 ")
    assert " 01-02 03:04:05 " in text.splitlines()[1]
    assert text.splitlines()[2:] == ["1 message parked", "look: asked for 2, found 1"]
    text = park_text({"parked": []}, warnings=(), dry_run=True, width=80)
    assert text == "dry run: 0 messages would be parked; nothing was moved\n"
    text = park_text({"parked": []}, notes=["a is empty"], warnings=(), dry_run=True, width=80)
    assert text == "dry run: a is empty\n"
