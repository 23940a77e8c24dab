"""How a message keeps its group and its old place on its way through hold."""

from __future__ import annotations

import dataclasses
import string
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from fifo_cli.model.message import Message
from fifo_cli.operations.queues.order_labels import Origin, label, merge_id, origin_of, unlabel
from tests.unit.render.samples import message as sample

LEGAL = string.ascii_letters + string.digits + string.punctuation
GROUPS = st.text(LEGAL, min_size=1, max_size=128)
# SQS's ids are UUIDs; the embedded stack's too. Others may be anything.
IDS = st.uuids().map(str) | st.text(LEGAL, min_size=1, max_size=100)
QUEUES = st.sampled_from(["main", "dlq"])
SEQUENCES = st.integers(0, 2**128 - 1).map(str)


def message(group: str = "g", message_id: str = "m-1", **more: object) -> Message:
    made = sample(message_id=message_id, group=group)
    more = {"queue": "main", "sequence_number": "18849496460467696128", **more}
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def held(original: Message) -> Message:
    """Return a message as hold gives it: labelled, with an id, a time and a sequence number of hold's."""
    labels = label(original)
    return dataclasses.replace(
        original,
        group=labels.group,
        dedup_id=labels.dedup_id,
        queue="hold",
        message_id="h",
        sequence_number="9",
    )


@given(group=GROUPS, message_id=IDS, queue=QUEUES, sequence=SEQUENCES)
def test_group_and_origin_survive_hold_and_the_labels_are_legal(group, message_id, queue, sequence):
    original = message(group, message_id, queue=queue, sequence_number=sequence)
    labels = label(original)
    for text in (labels.group, labels.dedup_id):
        assert 1 <= len(text) <= 128
        assert set(text) <= set(LEGAL)
    assert unlabel(held(original)) == (origin_of(original), group)


@given(first=st.tuples(GROUPS, IDS, SEQUENCES), second=st.tuples(GROUPS, IDS, SEQUENCES))
def test_two_messages_never_share_a_group_in_hold(first, second):
    one, other = (message(group, message_id, sequence_number=n) for group, message_id, n in (first, second))
    if first[1] != second[1]:
        assert label(one).group != label(other).group


@given(group=GROUPS, message_id=IDS, queue=QUEUES, token=st.from_regex(r"[0-9a-f]{8}", fullmatch=True))
def test_what_a_killed_merge_had_sent_is_known_for_what_it_is(group, message_id, queue, token):
    origin = origin_of(message(group, message_id, queue=queue))
    dedup_id = merge_id(origin, token)
    assert len(dedup_id) <= 128
    merged = message(group, "another-id", dedup_id=dedup_id, sent_at=datetime(2026, 2, 2, tzinfo=UTC))
    assert origin_of(merged) == origin


def test_a_message_shows_how_it_came_to_its_place():
    kinds = {
        "event-1": "m", "redrive-1": "x", "load-1": "x", "park-1": "x", "hold-1": "x", "merge-no-sense": "x",
    }  # fmt: skip
    assert {dedup_id: origin_of(message(dedup_id=dedup_id)).kind for dedup_id in kinds} == kinds
    assert origin_of(message(queue="dlq")).kind == "d"


def test_an_origin_is_only_read_where_one_was_written():
    assert Origin.parse("m1767323045678.18849496460467696128.3f0c") == Origin(
        "m", 1767323045678, 18849496460467696128, "3f0c"
    )
    for text in ("", "m1.2", "q1.2.3", "m1.2.a#b", "m1.2.", "m-1.2.3"):
        assert Origin.parse(text) is None


def test_a_message_that_nobody_labelled_keeps_its_group():
    strange = message("m1.2.3#g", "h", dedup_id="their-own")
    origin, group = unlabel(strange)
    assert (origin.kind, group) == ("x", "m1.2.3#g")
