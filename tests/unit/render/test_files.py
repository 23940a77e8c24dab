"""Dumps, loads, purges and in-order redrives as text."""

from __future__ import annotations

from fifo_cli.render.files import (
    dump_text,
    lines_preview,
    load_text,
    purge_text,
    restore_order_plan,
    restore_order_preview,
    restore_order_text,
    restore_order_unfinished,
)


def message(body: str, **attributes: str) -> dict[str, object]:
    words = {name: {"type": "String", "value": value} for name, value in attributes.items()}
    return {"message_id": f"id-{body}", "group": "g", "body": body, "attributes": words}


def test_a_dump_shows_what_was_written_and_what_became_of_it():
    assert dump_text({"written": 1}, queue="q.fifo", to="f.jsonl", moved=None, remaining=1) == (
        "1 message written to f.jsonl; nothing was taken out of q.fifo\n"
    )
    assert dump_text({"written": 1200}, queue="q.fifo", to="f", moved=1300, remaining=0) == (
        "1,200 messages written to f, 1,300 deleted from q.fifo (100 had been written before);"
        " 0 messages remain\n"
    )
    assert dump_text({"written": 7}, queue="q.fifo", to="f", moved=7, remaining=0) == (
        "7 messages written to f, 7 deleted from q.fifo; 0 messages remain\n"
    )
    assert dump_text({"written": 0}, queue="q", to="f", moved=0, remaining=None).endswith(
        "unknown how many remain\n"
    )


def test_a_load_shows_only_what_there_is_to_tell():
    assert load_text({"loaded": 2, "already_loaded": 0, "failed": 0}, queue="q", left=0) == (
        "2 messages loaded to q\n"
    )
    assert load_text({"loaded": 0, "already_loaded": 3, "failed": 4}, queue="q", left=1500) == (
        "0 messages loaded to q, 3 had been loaded before, 4 failed, 1,500 not sent yet\n"
    )


def test_a_purge_says_where_what_it_deleted_is():
    assert purge_text({"purged": 7, "backup": "b.jsonl"}, queue="q", remaining=0) == (
        "7 messages purged from q, saved in b.jsonl; 0 messages remain\n"
    )
    assert purge_text({"purged": 7, "backup": None}, queue="q", remaining=None) == (
        "7 messages purged from q, not saved; unknown how many remain\n"
    )


def test_a_preview_of_a_load_shows_the_first_lines_and_counts_the_rest():
    text = lines_preview([message("one")], new=3, already=2, queue="q", width=100)
    assert text.splitlines()[0].split() == ["MESSAGE", "GROUP", "BODY"]
    assert text.endswith(
        "and 2 more\ndry run: nothing was sent; 3 lines would go to q (2 were loaded before)\n"
    )
    assert lines_preview([], new=0, already=0, queue="q", width=100) == (
        "dry run: nothing was sent; 0 lines would go to q\n"
    )


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
    document = {"moved": 2, "remaining": None}
    assert restore_order_text(document, notes=["a note"], source="d", target="m") == (
        "2 messages moved from d into place in m; unknown how many remain\na note\n"
    )
    assert restore_order_unfinished({"held": 3, "remaining": None}, source="d", hold="h") == (
        "unfinished: 3 messages in h, an unknown number of messages in d\n"
    )
    preview = {
        "messages": [message("b", stream_sequence="41")],
        "remaining": 12,
        "among": 3,
        "from": "d",
        "to": "m",
        "pauses": ["worker"],
        "truncated": True,
    }
    text = restore_order_preview(preview, width=100)
    assert "41" in text.splitlines()[1]
    assert text.endswith(
        "dry run: nothing was touched; 12 messages of d would go into place among 3 messages of m\n"
        "worker would be paused meanwhile\n"
        "There are more than shown: of one group, SQS shows the first ten.\n"
    )


def test_nothing_that_is_printed_controls_the_terminal():
    assert "\x1b" not in dump_text({"written": 1}, queue="q", to="\x1b[31m", moved=None, remaining=1)
    assert "\x1b" not in lines_preview([message("\x1b[2J")], new=1, already=0, queue="q", width=100)
