"""Dumps, loads and purges as text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fifo_cli.operations.queues.dump import DumpPreview, DumpResult
from fifo_cli.operations.queues.load import LoadPreview, LoadResult
from fifo_cli.operations.queues.purge import PurgeResult
from fifo_cli.render.files import dump_preview, dump_text, load_preview, load_text, purge_text
from tests.unit.render.samples import message


def test_a_dump_shows_what_was_written_and_what_became_of_it():
    assert dump_text(DumpResult(1, remaining=1), queue="q.fifo", to="f.jsonl", move=False) == (
        "1 message written to f.jsonl; nothing was taken out of q.fifo\n"
    )
    assert dump_text(DumpResult(1200, 1300, 0), queue="q.fifo", to="f", move=True) == (
        "1,200 messages written to f, 1,300 deleted from q.fifo (100 had been written before);"
        " 0 messages remain\n"
    )
    assert dump_text(DumpResult(7, 7, 0), queue="q.fifo", to="f", move=True) == (
        "7 messages written to f, 7 deleted from q.fifo; 0 messages remain\n"
    )
    assert dump_text(DumpResult(1, 1, 1), queue="q", to="f", move=True).endswith("; 1 message remains\n")
    assert dump_text(DumpResult(0, 0, None), queue="q", to="f", move=True).endswith(
        "unknown how many remain\n"
    )
    assert dump_text(DumpResult(0, 0, 0), queue="q", to="f", move=True) == "nothing to move: q is empty\n"


def test_a_preview_of_a_dump_says_what_would_become_of_how_many():
    seen = DumpPreview(remaining=12, truncated=True, messages=(message("one"),))
    assert dump_preview(seen, queue="q", what="would be written to f", width=100).splitlines()[2:] == [
        "There are more than shown: of one group, SQS shows the first ten.",
        "dry run: nothing was touched; 12 messages of q would be written to f",
    ]


@pytest.mark.parametrize(
    ("role", "said"),
    [
        (
            "dlq",
            "This takes all 12 messages of q; only redrive can choose some, with --group, --id or --filter.",
        ),
        ("main", "This takes all 12 messages of q; only park can choose some, with --group and --count."),
        ("hold", "This takes all 12 messages of q."),
    ],
)
def test_a_preview_of_what_takes_messages_out_says_that_it_takes_all(role, said):
    seen = DumpPreview(remaining=12, truncated=False, messages=(message("one"),))
    lines = dump_preview(seen, queue="q", what="would be moved to f", width=100, takes=role).splitlines()
    assert lines[-1] == said
    one = DumpPreview(remaining=1, truncated=False, messages=(message("one"),))
    assert "all" not in dump_preview(one, queue="q", what="would go", width=100, takes=role).splitlines()[-1]


def test_a_load_shows_only_what_there_is_to_tell():
    assert load_text(LoadResult(2, 0, 0), queue="q", left=0) == "2 messages loaded to q\n"
    assert load_text(LoadResult(0, 3, 4), queue="q", left=1500) == (
        "0 messages loaded to q, 3 had been loaded before, 4 failed, 1,500 not sent yet\n"
    )


def test_a_purge_says_where_what_it_deleted_is():
    assert purge_text(PurgeResult(7, "b.jsonl", 0), queue="q") == (
        "7 messages purged from q, saved in b.jsonl; 0 messages remain\n"
    )
    assert purge_text(PurgeResult(7, None, None), queue="q") == (
        "7 messages purged from q, not saved; unknown how many remain\n"
    )


def test_a_preview_of_a_load_shows_the_first_lines_and_counts_the_rest():
    seen = LoadPreview(already_loaded=2, new=3, repeated=0, behind=0, messages=(message("one"),))
    text = load_preview(seen, queue="q", width=100)
    assert text.splitlines()[0].split() == ["MESSAGE", "GROUP", "BODY"]
    assert text.endswith(
        "and 2 more\ndry run: nothing was sent; 3 lines would go to q (2 were loaded before)\n"
    )
    behind = load_preview(replace(seen, behind=400), queue="q", width=100)
    assert "Order: as in the file within each group, behind the 400 messages counted there now" in behind
    nothing = LoadPreview(already_loaded=0, new=0, repeated=0, behind=0, messages=())
    assert load_preview(nothing, queue="q", width=100) == "dry run: nothing was sent; 0 lines would go to q\n"


def test_nothing_that_is_printed_controls_the_terminal():
    assert "\x1b" not in dump_text(DumpResult(1, remaining=1), queue="q", to="\x1b[31m", move=False)
    seen = LoadPreview(already_loaded=0, new=1, repeated=0, behind=0, messages=(message("\x1b[2J"),))
    assert "\x1b" not in load_preview(seen, queue="q", width=100)
