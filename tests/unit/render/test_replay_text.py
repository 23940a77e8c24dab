from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fifo_cli.operations.stream.failed_batches import Kept
from fifo_cli.operations.stream.replay import PreviewedRecord, ReplayPreview, ReplayResult
from fifo_cli.operations.stream.replay_store import Sums
from fifo_cli.operations.transfer.result import Failure
from fifo_cli.render.replay_text import replay_preview, replay_question, replay_text

NOTHING = Sums()


def text(
    read: int = 0,
    sums: Sums = NOTHING,
    bounds: tuple[str | None, str | None] = (None, None),
    expired: int | None = 0,
    **more: Any,
) -> str:
    return replay_text(ReplayResult(read, sums, bounds, expired, **more), main="orders.fifo")


def test_nothing_is_said_plainly():
    assert text() == "0 records read, 0 matched: 0 records enqueued in orders.fifo\n"


def test_a_replay_without_troubles_is_three_lines():
    assert text(1200, Sums(enqueued=5, suppressed=2), ("1", "9")) == (
        "1,200 records read, 7 matched: 5 records enqueued in orders.fifo, 2 suppressed by SQS\n"
        "first sequence number 1\n"
        "last sequence number  9\n"
    )


def test_every_outcome_and_every_trouble_has_its_words():
    assert text(
        106,
        Sums(enqueued=1, skipped=1, parked=1, failed=102, waiting=1),
        expired=3,
        failures=(Failure("e1", "g\x1b", "InternalError"),),
        kept=(Kept("m1", "3 of its 5 records have expired"),),
        notes=("a part has expired",),
    ) == (
        "106 records read, 106 matched: 1 record enqueued in orders.fifo, 1 skipped by the rules of"
        " fifo.toml, 1 parked in the DLQ, 102 failed, 1 not sent yet\n"
        "look: a part has expired\n"
        "look: e1 (group g\\x1b) was not sent: InternalError\n"
        "look: and 101 more that were not sent\n"
        "look: 3 records expired: the stream no longer has them\n"
        "look: failure record m1 stays in its queue: 3 of its 5 records have expired\n"
        "run the same command again to go on with the rest\n"
    )


def test_an_unknown_number_of_expired_records_is_reported_by_its_note_alone():
    assert "records expired" not in text(expired=None, notes=("a part has expired",))


def test_a_preview_shows_each_record_and_what_becomes_of_it():
    written = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    rows = (
        PreviewedRecord("e", "7", "INSERT", '{"id":"a"}', written, "enqueued", "g1", None),
        PreviewedRecord("e", "8", "INSERT", '{"id":"a"}', written, "skipped", None, "where is false"),
    )
    seen = ReplayPreview(40, Sums(waiting=30), (None, None), 0, records=rows)
    assert replay_preview(seen, main="orders.fifo", width=None) == (
        "SEQUENCE  WRITTEN                   EVENT   KEY         BECOMES   GROUP\n"
        '7         2026-01-02T03:04:05.000Z  INSERT  {"id":"a"}  enqueued  g1\n'
        '8         2026-01-02T03:04:05.000Z  INSERT  {"id":"a"}  skipped   where is false\n'
        "and 28 more\n"
        "dry run: nothing was sent; 30 records of 40 read would go through the enqueuer's code to"
        " orders.fifo\n"
    )


def test_a_preview_of_nothing_is_a_line():
    shown = replay_preview(ReplayPreview(0, Sums(), (None, None), 0), main="orders.fifo", width=80)
    assert shown.startswith("dry run: nothing was sent; 0 records of 0 read")


def question(number: int = 2, **more: Any) -> str:
    options: dict[str, Any] = {
        "failures": None,
        "main": "orders.fifo",
        "behind": 0,
        "fresh": False,
        "missing": False,
    }
    return replay_question(number, ("1", "9"), **{**options, **more})


def test_the_question_names_how_much_and_what_it_does_to_order():
    assert question(behind=3, missing=True) == (
        "enqueue 2 stream records again in orders.fifo\n"
        "first sequence number 1\n"
        "last sequence number  9\n"
        "Order: they go to the end of orders.fifo, behind the 3 messages counted there now; newer states of"
        " the same items may be delivered before them."
    )


def test_the_question_says_that_what_was_delivered_is_delivered_once_more_and_what_does_not_do_that():
    twice = question().splitlines()[3]
    assert twice == (
        "Twice: what was delivered already is delivered once more, with the same Idempotency-Key and after"
        " what came since (except what was enqueued within the last five minutes, which SQS drops;"
        " `fifo-cli audit` then counts it as duplicated). `fifo-cli replay --missing` sends only what got"
        " lost."
    )
    assert "which SQS drops" not in question(fresh=True)
    assert "Twice" not in question(missing=True) + question(failures="q")


def test_the_question_about_failed_batches_names_their_queue():
    assert question(1, failures="orders-stream-failures").splitlines()[0] == (
        "enqueue the records of 1 failed batch on orders-stream-failures in orders.fifo"
    )
    assert "2 failed batches on" in question(2, failures="orders-stream-failures")


def test_fresh_says_that_the_api_may_see_repeats():
    for options in ({"missing": True}, {"failures": "q"}, {}):
        assert "the API may see repeats" in question(fresh=True, **options)
        assert "repeats" not in question(**options)
