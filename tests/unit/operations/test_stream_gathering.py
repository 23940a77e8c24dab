from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.aws.dynamodb_streams import Stream
from fifo_cli.events import Event, Warned
from fifo_cli.operations.stream import replay_records as gathering
from fifo_cli.operations.stream.reader import ReadPace, Window
from fifo_cli.operations.stream.record_filter import RecordFilter
from fifo_cli.operations.stream.replay_records import GatheredRecords, Lineup, gather
from fifo_cli.operations.stream.replay_store import temporary_checkpoint
from fifo_cli.operations.stream.shards import record_of
from tests.unit.operations.simulated_stream import (
    START,
    FastClock,
    SimulatedShard,
    SimulatedStream,
    chain,
    record,
)

NOW = datetime.fromtimestamp(START + 3600, UTC)
ARN = "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/"


class Streams:
    """A table's streams, the oldest first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sources: dict[str, SimulatedStream] = {}
        self.listed: list[Stream] = []
        monkeypatch.setattr(gathering, "table_streams", lambda aws, table, **more: self.listed)
        monkeypatch.setattr(gathering, "StreamSource", lambda aws, arn: self.sources[arn])

    def add(self, label: str, *shards: SimulatedShard, enabled: bool = True, **more: Any) -> None:
        self.sources[ARN + label] = SimulatedStream(shards, **more)
        self.listed.append(Stream(ARN + label, enabled))

    def gather(self, window: Window | None = None, choice: RecordFilter | None = None, **more: Any) -> Any:
        clock = FastClock()
        with temporary_checkpoint() as checkpoint:
            found = gather(
                None,  # type: ignore[arg-type]
                "orders",
                window or Window(),
                choice or RecordFilter(),
                checkpoint,
                now=NOW,
                pace=ReadPace(sleep=clock.sleep, clock=clock, workers=2),
                **more,
            )
            return found, [one["eventID"] for one in checkpoint.waiting()]


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    return Streams(monkeypatch)


def test_records_of_several_shards_are_lined_up_by_the_time_they_were_written(streams):
    streams.add(
        "2026-01-02T03:00:00.000",
        SimulatedShard("a", [record(n, second=10 * n) for n in range(0, 20, 2)], closed=False),
        SimulatedShard("b", [record(n, second=10 * n) for n in range(1, 20, 2)], closed=False),
    )
    found, line = streams.gather()
    label = "2026-01-02T03:00:00.000"
    assert found == GatheredRecords(20, False, {f"{label}/a": f"{18:030}", f"{label}/b": f"{19:030}"})
    assert line == [f"e{n}" for n in range(20)]


def test_what_a_replaced_stream_holds_comes_before_what_its_successor_holds(streams):
    streams.add("2026-01-02T03:00:00.000", chain("a", [50, 51]), enabled=False)
    streams.add("2026-01-02T03:30:00.000", chain("a", [1, 2], closed=False))
    events: list[Event] = []
    _, line = streams.gather(listener=events.append)
    assert line == ["e50", "e51", "e1", "e2"]
    assert [event.text for event in events if isinstance(event, Warned)] == [
        "the stream 2026-01-02T03:00:00.000 of table orders is switched off; it is read all the same"
    ]


def test_only_what_is_chosen_is_kept_and_what_was_read_is_counted(streams):
    streams.add("2026-01-02T03:00:00.000", chain("a", range(10)))
    assert streams.gather(choice=RecordFilter(event_ids={"e3", "e4"})) == (
        GatheredRecords(10, False),
        ["e3", "e4"],
    )


def test_a_clock_that_goes_back_does_not_turn_a_shards_order_around(streams):
    streams.add(
        "2026-01-02T03:00:00.000",
        SimulatedShard("a", [record(1, second=9), record(2, second=3)]),
        SimulatedShard("b", [record(3, second=1)], parent="a"),
    )
    assert streams.gather()[1] == ["e1", "e2", "e3"]


@pytest.mark.parametrize(
    ("age", "label", "gap"),
    [
        (timedelta(hours=25), "2025-12-30T03:00:00.000", True),
        (timedelta(hours=23), "2025-12-30T03:00:00.000", False),
        (timedelta(hours=25), "2026-01-02T03:00:00.000", False),  # it is not a day old yet
        (timedelta(hours=25), "no-time", True),
    ],
)
def test_a_window_that_begins_where_records_have_expired_has_a_gap(streams, age, label, gap):
    streams.add(label, chain("a", [1], closed=False))
    assert streams.gather(Window(since=NOW - age))[0].gap is gap


def test_a_gap_that_the_reading_finds_is_one(streams):
    streams.add("2026-01-02T03:00:00.000", chain("a", range(10), trimmed=6))
    found, line = streams.gather(Window(from_sequence=f"{2:030}"))
    assert (found.gap, line) == (True, ["e6", "e7", "e8", "e9"])


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[SimulatedShard], list[list[int]]]:
    """Shards of several generations, items that stay in one lineage, and clocks that are off by seconds."""
    seed = draw(st.integers(0, 10_000))
    dice = random.Random(seed)
    items: dict[int, list[int]] = defaultdict(list)
    shards: list[SimulatedShard] = []
    number = 0
    leaves: list[tuple[str, str | None, list[int]]] = [
        (f"s{n}", None, list(range(n * 4, n * 4 + 4))) for n in range(draw(st.integers(1, 3)))
    ]
    for generation in range(draw(st.integers(1, 3))):
        after: list[tuple[str, str | None, list[int]]] = []
        for name, parent, owned in leaves:
            records = []
            for _ in range(dice.randrange(6)):
                number += 1
                item = dice.choice(owned)
                items[item].append(number)
                second = max(0, 10 * generation + dice.randrange(-3, 10))
                records.append(record(number, f"item-{item}", second=second))
            shards.append(SimulatedShard(name, records, parent))
            half = len(owned) // 2
            parts = [owned[:half], owned[half:]] if half and dice.random() < 0.6 else [owned]
            after += [(f"{name}.{n}", name, part) for n, part in enumerate(parts)]
        leaves = after
    return shards, list(items.values())


@settings(max_examples=40, deadline=None)
@given(histories())
def test_an_items_records_stay_in_their_order_whatever_the_clocks_say(history):
    shards, items = history
    lineup = Lineup()
    parents = {shard.id: shard.parent for shard in shards}
    line: list[tuple[int, int, int]] = []
    # As the reader hands them out: a child after its parent, else in any order.
    for shard in sorted(shards, key=lambda one: (one.id.count("."), hash(one.id))):
        for raw in shard.records:
            one = record_of(shard.id, raw)
            line.append((lineup.place(one, parent=parents[shard.id]), len(line), one.sequence))
    place = {sequence: index for index, (_, _, sequence) in enumerate(sorted(line))}
    for own in items:
        places = [place[number] for number in own]
        assert places == sorted(places)
