from __future__ import annotations

import random
import threading
import tracemalloc
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fifo_cli.aws.dynamodb_streams import StreamGoneError, ThrottledError
from fifo_cli.errors import AwsError
from fifo_cli.operations.stream.reader import EMPTY_READS, Reader, ReadPace, StreamPage, Window
from tests.unit.operations.simulated_stream import (
    START,
    FastClock,
    SimulatedShard,
    SimulatedStream,
    chain,
    record,
    throttled_every,
)


def reader(stream: SimulatedStream, window: Window | None = None, **options: Any) -> Reader:
    clock = FastClock()
    workers = options.pop("workers", 3)
    return Reader(
        stream,
        "arn:stream",
        window or Window(),
        pace=ReadPace(sleep=clock.sleep, clock=clock, workers=workers),
        **options,
    )


def numbers(reads: list[StreamPage]) -> list[int]:
    return [one.sequence for read in reads for one in read.records]


def read(stream: SimulatedStream, window: Window | None = None, **options: Any) -> list[StreamPage]:
    return list(reader(stream, window, **options).read())


def at(second: int) -> datetime:
    return datetime.fromtimestamp(START + second, UTC)


def family() -> list[SimulatedShard]:
    """A shard that was split in two, one of which was split again; the last ones are open."""
    return [
        chain("a", range(10, 20)),
        chain("b", range(30, 40), parent="a"),
        chain("c", range(50, 60), parent="a", closed=False),
        chain("d", range(70, 80), parent="b", closed=False),
        chain("e", range(90, 100), parent="b", closed=False),
    ]


ALL = [*range(10, 20), *range(30, 40), *range(50, 60), *range(70, 80), *range(90, 100)]


def test_every_record_comes_once_and_a_parent_before_its_children():
    reads = read(SimulatedStream(family()))
    assert sorted(numbers(reads)) == ALL
    place = {number: index for index, number in enumerate(numbers(reads))}
    for earlier, later in [(19, 30), (19, 50), (39, 70), (39, 90)]:
        assert place[earlier] < place[later]
    for shard in family():
        own = [one.sequence for read in reads for one in read.records if read.shard == shard.id]
        assert own == sorted(own)


def test_of_a_stream_one_shard_is_read_and_of_a_lost_one_nothing():
    assert numbers(read(SimulatedStream(family()), Window(shard="b"))) == [*range(30, 40)]
    lost = SimulatedStream([], trouble=lambda kind, number: StreamGoneError())
    assert read(lost, Window(shard="b")) == []


def test_empty_pages_are_not_the_end():
    stream = SimulatedStream(
        family(), trouble=lambda kind, number: "empty" if kind == "records" and number % 5 else None
    )
    assert sorted(numbers(read(stream))) == ALL


def test_an_open_shard_ends_after_so_many_empty_pages_in_a_row():
    stream = SimulatedStream([chain("a", [1], closed=False)])
    assert numbers(read(stream)) == [1]
    assert stream.calls["records"] == 1 + EMPTY_READS


def test_a_shard_that_gave_no_record_yet_is_given_more_time():
    late = chain("a", [1], closed=False)
    stream = SimulatedStream(
        [late], trouble=lambda kind, n: "empty" if kind == "records" and n <= EMPTY_READS + 3 else None
    )
    assert numbers(read(stream)) == [1]
    idle = SimulatedStream([chain("a", [], closed=False)])
    assert read(idle) == []
    assert idle.calls["records"] == 2 * EMPTY_READS


def test_iterators_that_expire_are_made_again_after_the_last_record():
    stream = SimulatedStream(
        family(), trouble=lambda kind, number: "expire" if kind == "records" and number % 4 == 2 else None
    )
    reads = read(stream)
    assert sorted(numbers(reads)) == ALL
    assert not any(one.gap for one in reads)
    assert "AFTER_SEQUENCE_NUMBER" in {kind for _, kind in stream.kinds}


def test_an_iterator_that_is_refused_for_ever_ends_the_reading():
    stream = SimulatedStream(
        [chain("a", [1])], trouble=lambda kind, n: "expire" if kind == "records" else None
    )
    with pytest.raises(AwsError, match="every new iterator is refused"):
        read(stream)


def test_records_that_are_given_twice_are_handed_on_once():
    stream = SimulatedStream(
        family(),
        back=2,
        trouble=lambda kind, number: "expire" if kind == "records" and number % 3 == 2 else None,
    )
    reads = read(stream)
    assert sorted(numbers(reads)) == ALL


def test_throttles_are_waited_out_and_nothing_is_lost():
    assert sorted(numbers(read(SimulatedStream(family(), trouble=throttled_every(2))))) == ALL


def test_throttling_without_end_ends_the_reading_with_a_reason():
    def always(kind: str, number: int) -> Exception | None:
        return ThrottledError() if kind == "records" else None

    with pytest.raises(AwsError, match="throttled the reading again and again"):
        read(SimulatedStream(family(), trouble=always))


def test_a_listing_that_is_throttled_without_end_ends_the_reading():
    with pytest.raises(AwsError, match="throttled"):
        read(SimulatedStream(family(), trouble=throttled_every(1)))


def test_a_trimmed_head_is_no_gap_for_who_asks_for_what_there_is():
    reads = read(SimulatedStream([chain("a", range(10, 20), trimmed=4)]))
    assert numbers(reads) == list(range(14, 20))
    assert not any(one.gap for one in reads)


def test_what_is_trimmed_while_it_is_read_is_said_and_the_rest_is_read():
    shard = chain("a", range(10, 30))
    stream = SimulatedStream([shard])

    def trim(name: str) -> None:
        if stream.calls["records"] == 2:
            shard.trimmed = 12

    stream.before_read = trim
    reads = read(stream)
    assert numbers(reads) == [*range(10, 16), *range(22, 30)]
    assert [one.gap for one in reads].count(True) == 1
    # It is said before what comes after it.
    assert next(i for i, one in enumerate(reads) if one.gap) < next(
        i for i, one in enumerate(reads) if one.records and one.records[0].sequence == 22
    )


def test_a_sequence_number_that_is_trimmed_is_said():
    stream = SimulatedStream([chain("a", range(10, 20), trimmed=5)])
    reads = read(stream, Window(from_sequence=f"{12:030}"))
    assert numbers(reads) == list(range(15, 20))
    assert sum(one.gap for one in reads) == 1


def test_a_sequence_number_that_no_record_has_is_no_gap():
    stream = SimulatedStream([chain("a", [10, 12, 14], closed=False)])
    reads = read(stream, Window(from_sequence="11"))
    assert numbers(reads) == [12, 14]
    assert not any(one.gap for one in reads)


def test_a_shard_whose_records_have_all_been_trimmed_is_a_gap():
    stream = SimulatedStream([chain("a", range(10, 20), trimmed=10, closed=False)])
    reads = read(stream, Window(from_sequence=f"{12:030}"))
    assert [(one.gap, one.records) for one in reads] == [(True, ())]


def test_a_shard_that_expires_as_a_whole_while_it_is_read_is_a_gap_and_its_children_are_read():
    stream = SimulatedStream(family())

    def expire(shard: str) -> None:
        if shard == "a" and stream.calls["records"] == 1:
            del stream.simulated["a"]

    stream.before_read = expire
    reads = read(stream)
    assert sorted(numbers(reads)) == [10, 11, 12, *ALL[10:]]
    assert [one.shard for one in reads if one.gap] == ["a"]


def test_a_stream_that_goes_away_is_an_error_that_says_so():
    stream = SimulatedStream(family())

    def end(shard: str) -> None:
        stream.gone = stream.calls["records"] > 3

    stream.before_read = end
    with pytest.raises(AwsError, match="does not exist any more"):
        read(stream)


def test_a_stream_that_is_not_there_is_an_error_that_says_so():
    with pytest.raises(AwsError, match="does not exist any more"):
        read(SimulatedStream(family(), trouble=lambda kind, number: StreamGoneError()))


def test_an_open_shard_that_closes_while_it_is_read_is_followed_by_its_children():
    parent = chain("a", range(10, 16), closed=False)
    stream = SimulatedStream([parent])

    def split(shard: str) -> None:
        if stream.calls["records"] == 4 and not parent.closed:
            parent.closed = True
            stream.simulated["b"] = chain("b", [20, 21], parent="a", closed=False)
            stream.simulated["c"] = chain("c", [22], parent="a", closed=False)

    stream.before_read = split
    reads = read(stream)
    assert sorted(numbers(reads)) == [*range(10, 16), 20, 21, 22]


def test_a_child_whose_parent_is_no_longer_listed_is_read():
    stream = SimulatedStream([chain("b", [5, 6], parent="a-long-gone", closed=False)])
    assert numbers(read(stream)) == [5, 6]


def test_bounds_are_inclusive_and_shards_outside_are_not_read():
    stream = SimulatedStream(family())
    reads = read(stream, Window(from_sequence="35", to_sequence="52"))
    assert sorted(numbers(reads)) == [35, 36, 37, 38, 39, 50, 51, 52]
    assert {shard for shard, _ in stream.kinds} == {"b", "c"}


def test_a_window_of_time_has_every_record_of_its_seconds():
    window = Window(since=at(15).replace(microsecond=900_000), until=at(51))
    for knows_times in (True, False):
        reads = read(SimulatedStream(family(), knows_times=knows_times), window)
        assert sorted(numbers(reads)) == [*range(15, 20), *range(30, 40), 50, 51]
        assert not any(one.gap for one in reads)


def test_a_service_that_knows_times_is_not_read_from_the_horizon():
    shard = SimulatedShard("a", [record(n, second=10 * n) for n in range(1000)], closed=False)
    stream = SimulatedStream([shard], page=10, knows_times=True)
    assert numbers(read(stream, Window(since=at(9900)))) == list(range(990, 1000))
    assert stream.calls["records"] < 12


def test_reading_ends_where_nothing_of_the_window_can_come():
    shard = SimulatedShard("a", [record(n, second=10 * n) for n in range(1000)], closed=False)
    stream = SimulatedStream([shard], page=10)
    assert numbers(read(stream, Window(until=at(100)))) == list(range(11))
    assert stream.calls["records"] == 2


def test_a_record_without_time_is_in_every_window_of_time():
    one = record(1)
    del one["dynamodb"]["ApproximateCreationDateTime"]
    assert numbers(read(SimulatedStream([SimulatedShard("a", [one])]), Window(since=at(5), until=at(6)))) == [
        1
    ]


def test_who_leaves_early_leaves_no_thread_behind():
    before = threading.active_count()
    reading = reader(SimulatedStream([chain("a", range(1000))])).read()
    next(reading)
    reading.close()
    assert threading.active_count() == before


def test_a_thousand_shards_in_generations_come_whole_and_in_order():
    dice = random.Random(7)
    shards: list[SimulatedShard] = []
    number = 0
    for index in range(1000):
        origin = shards[dice.randrange(max(0, index - 50), index)] if index > 20 else None
        numbers_here = [number := number + dice.randrange(1, 5) for _ in range(dice.randrange(6))]
        shards.append(
            SimulatedShard(
                f"shard-{index:04}",
                [record(n, f"item-{n}") for n in numbers_here],
                origin.id if origin else None,
            )
        )
    parents = {shard.id: shard.parent for shard in shards}
    for shard in shards[900:]:
        shard.closed = shard.id in parents.values()
    clock_trouble = random.Random(8)

    def trouble(kind: str, call: int) -> str | Exception | None:
        drawn = clock_trouble.random()
        if drawn < 0.02:
            return ThrottledError()
        if kind == "records":
            return "expire" if drawn < 0.04 else "empty" if drawn < 0.1 else None
        return None

    stream = SimulatedStream(shards, page=2, back=1, trouble=trouble)
    reading = reader(stream, workers=4)
    expected = {s.id: [int(r["dynamodb"]["SequenceNumber"]) for r in s.records] for s in shards}
    seen: dict[str, list[int]] = defaultdict(list)
    for one in reading.read():
        if one.records:
            parent = parents[one.shard]
            assert parent is None or seen[parent] == expected[parent]
        seen[one.shard] += [found.sequence for found in one.records]
    assert {name: found for name, found in seen.items() if found} == {n: e for n, e in expected.items() if e}


def test_memory_does_not_grow_with_the_stream():
    class Endless(SimulatedStream):
        """One open shard whose pages are made when they are read."""

        def records(self, iterator: str) -> Any:
            page = super().records(iterator)
            number = self.calls["records"]
            if number > self.pages:
                return page
            made = tuple(record(number * 1000 + n, padding={"S": "x" * 500}) for n in range(200))
            return type(page)(made, page.next_iterator)

        pages = 0

    def peak(pages: int) -> int:
        stream = Endless([chain("a", [], closed=False)])
        stream.pages = pages
        tracemalloc.start()
        count = sum(len(one.records) for one in reader(stream).read())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == pages * 200
        return most

    peak(3)
    # Fifty pages more hold some 15 MB.
    assert peak(60) < peak(10) + 1_000_000


@st.composite
def trees(draw: st.DrawFn) -> list[SimulatedShard]:
    number = 0
    shards: list[SimulatedShard] = []
    for index in range(draw(st.integers(1, 8))):
        parent = draw(st.sampled_from([None, *shards])) if shards else None
        count = draw(st.integers(0, 7))
        shard = chain(f"s{index}", range(number, number + count), parent=parent.id if parent else None)
        number += count
        shards.append(shard)
    parents = {shard.parent for shard in shards}
    for shard in shards:
        shard.closed = shard.id in parents or draw(st.booleans())
    return shards


# More of them in a row and the reader gives up, as it should.
TROUBLES = st.lists(st.sampled_from(["", "expire", "empty", "no"]), max_size=5)


@settings(max_examples=80, deadline=None)
@given(trees(), st.integers(1, 4), st.integers(0, 2), TROUBLES)
def test_whatever_the_tree_and_the_troubles_every_record_comes_once_in_order(shards, page, back, troubles):
    def trouble(kind: str, number: int) -> str | Exception | None:
        said = troubles[number] if number < len(troubles) else ""
        if said == "no":
            return ThrottledError()
        return said or None if kind == "records" else None

    reads = read(SimulatedStream(shards, page=page, back=back, trouble=trouble), workers=2)
    found = numbers(reads)
    expected = {s.id: [int(r["dynamodb"]["SequenceNumber"]) for r in s.records] for s in shards}
    assert sorted(found) == sorted(n for own in expected.values() for n in own)
    place = {number: index for index, number in enumerate(found)}
    for shard in shards:
        own = [place[n] for n in expected[shard.id]]
        assert own == sorted(own)
        if shard.parent and own and expected[shard.parent]:
            assert place[expected[shard.parent][-1]] < own[0]


@pytest.mark.parametrize(
    ("until", "closed", "tips"),
    [(-1, False, {}), (0, False, {}), (1, False, {"a": "1"}), (None, False, {"a": "1"}), (1, True, {})],
)
def test_empty_pages_prove_no_tip_and_a_record_of_the_end_of_the_window_does(until, closed, tips):
    """The window ends so many seconds after the only record was created."""
    stream = SimulatedStream([chain("a", [1], closed=closed)])
    ((one,),) = [page.records for page in read(stream) if page.records]
    assert one.created is not None
    end = None if until is None else one.created + timedelta(seconds=until)
    reading = reader(SimulatedStream([chain("a", [1], closed=closed)]), Window(until=end))
    list(reading.read())
    assert {name: str(int(last or 0)) for name, last in reading.tips.items()} == tips
