"""Redrives and parkings as people read them."""

from __future__ import annotations

from fifo_cli.model.message import Message
from fifo_cli.operations.queues.park import ParkResult
from fifo_cli.operations.queues.redrive import RedrivePreview, RedriveResult
from fifo_cli.operations.queues.restore_order import RestoreOrderPreview, RestoreOrderResult
from fifo_cli.render.transfer import (
    park_text,
    redrive_preview,
    redrive_text,
    restore_order_plan,
    restore_order_preview,
    restore_order_text,
    restore_order_unfinished,
)
from tests.unit.render.samples import message

MESSAGE = message(message_id="0123456789abcdef", group="customer-7", park_reason="410 Gone")


def preview(
    *,
    remaining: int = 12,
    behind: int = 7,
    truncated: bool = True,
    would_move: int | None = 12,
    messages: tuple[Message, ...] = (MESSAGE,),
) -> RedrivePreview:
    return RedrivePreview(
        engine="client",
        source="orders-dlq.fifo",
        target="orders.fifo",
        skipped=0,
        remaining=remaining,
        behind=behind,
        truncated=truncated,
        would_move=would_move,
        messages=messages,
    )


def test_a_redrive_is_summed_up_with_what_needs_a_look() -> None:
    result = RedriveResult(
        "client",
        1200,
        3,
        1,
        4,
        notes=("left alone: 3 that came after the redrive began",),
        warnings=("m1 (group g): InternalError",),
    )
    assert redrive_text(result, source="orders-dlq.fifo", target="orders.fifo").splitlines() == [
        "1,200 messages moved to orders.fifo, 3 skipped, 1 failed; 4 messages remain in orders-dlq.fifo",
        "left alone: 3 that came after the redrive began",
        "look: m1 (group g): InternalError",
    ]


def test_what_cannot_be_counted_is_not_called_none() -> None:
    text = redrive_text(RedriveResult("native", 1, 0, 0, None), source="a", target="b")
    assert text == "1 message moved to b; unknown how many remain\n"


def test_an_empty_dlq_is_said_to_be_empty() -> None:
    result = RedriveResult("client", 0, 0, 0, 0, warnings=("not found: m1",))
    text = redrive_text(result, source="a", target="b")
    assert text == "nothing to move: a is empty\nlook: not found: m1\n"
    dry = redrive_preview(preview(remaining=0, messages=()), width=80)
    assert dry == "dry run: nothing to move: orders-dlq.fifo is empty\n"


def test_words_of_others_cannot_move_the_cursor() -> None:
    result = RedriveResult("client", 0, 0, 1, 1, warnings=("m (group \x1b[2J): no",))
    assert "\x1b" not in redrive_text(result, source="a", target="b")


def test_a_dry_run_says_that_nothing_was_moved_and_what_becomes_of_order() -> None:
    lines = redrive_preview(preview(), width=None).splitlines()
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
        "dry run: nothing was moved; 12 messages would go from orders-dlq.fifo, which counts 12, to"
        " orders.fifo (client engine); SQS shows 1 of them now",
        "This takes all 12 messages of orders-dlq.fifo; choose some with --group, --id, --filter, --since,"
        " --until or --count.",
        "Order: they go to the end of orders.fifo, behind the 7 messages counted there now, so a group with"
        " messages there is no longer in stream order. `fifo-cli redrive --in-order` puts each back in its"
        " place.",
        "There are more than shown: of one group, SQS shows the first ten.",
    ]
    unknown = redrive_preview(preview(would_move=None), width=None)
    assert "; at least 1 message would go from orders-dlq.fifo, which counts 12, to" in unknown
    assert "takes all" not in unknown
    empty = redrive_preview(preview(behind=0, truncated=False, messages=()), width=80)
    assert empty.splitlines()[2:] == ["Order: nothing waits in orders.fifo, so each group keeps its order."]


def test_where_nothing_would_go_nothing_is_said_of_order() -> None:
    nothing = redrive_preview(preview(would_move=0, truncated=False, messages=()), width=None)
    assert "0 messages would go" in nothing
    assert "Order:" not in nothing


def test_an_in_order_redrive_says_beforehand_what_it_stops_and_through_where_it_goes():
    names = ("m.fifo", "d.fifo", "h.fifo")
    plan = restore_order_plan(main=5, dlq=1, held=0, names=names, pauses=["enqueuer", "worker"])
    assert plan.splitlines() == [
        "put 1 message of d.fifo back in place among 5 messages of m.fifo",
        "Order: afterwards each group is in stream order; all of it goes through h.fifo",
        "Meanwhile nothing is delivered: enqueuer and worker paused, and resumed at the end",
    ]
    words = restore_order_plan(main=5, dlq=1, held=2, names=names, pauses=[])
    assert "Worker and enqueuer are not running, and stay so" in words
    assert "h.fifo counts 2 messages: an earlier run's, if that is unfinished" in words


def test_an_in_order_redrive_shows_what_it_did_and_shows_what_it_would():
    result = RestoreOrderResult(moved=2, remaining=None, notes=("a note",))
    assert restore_order_text(result, source="d", target="m") == (
        "2 messages moved from d into place in m; unknown how many remain\na note\n"
    )
    unfinished = RestoreOrderResult(held=3, remaining=None, unfinished=True)
    assert restore_order_unfinished(unfinished, source="d", hold="h") == (
        "unfinished: 3 messages in h, an unknown number of messages in d\n"
    )
    preview = RestoreOrderPreview(
        remaining=12,
        source="d",
        target="m",
        among=3,
        running=frozenset({"worker"}),
        truncated=True,
        messages=(message("b", stream_sequence="41"),),
    )
    text = restore_order_preview(preview, width=100)
    assert "41" in text.splitlines()[1]
    assert text.endswith(
        "dry run: nothing was touched; 12 messages of d would go into place among 3 messages of m\n"
        "This takes all 12 messages of d; without --in-order, --group, --id or --filter choose some.\n"
        "worker would be paused meanwhile\n"
        "There are more than shown: of one group, SQS shows the first ten.\n"
    )


def test_a_parking_shows_what_was_parked() -> None:
    result = ParkResult((MESSAGE,), warnings=("asked for 2, found 1",))
    text = park_text(result, dry_run=False, width=80)
    assert text.splitlines()[1].startswith("01234567 ")
    assert " 01-02 03:04:05 " in text.splitlines()[1]
    assert text.splitlines()[2:] == ["1 message parked", "look: asked for 2, found 1"]
    text = park_text(ParkResult(()), dry_run=True, width=80)
    assert text == "dry run: 0 messages would be parked; nothing was moved\n"
    text = park_text(ParkResult((), notes=("a is empty",)), dry_run=True, width=80)
    assert text == "dry run: a is empty\n"
