"""dump and load, beside plain loops and pools of eight threads."""

from __future__ import annotations

import itertools
from functools import partial

from tests.bench.bench import LATENCY, Bench
from tests.bench.field import Field, Taken
from tests.bench.moves import AS_IS, DELAYED, HEAD, LOOP, OURS, POOL, RUNS, Cell, Mover, race
from tests.bench.relay import relay
from tests.bench.report import Section

_FILE = "messages.jsonl"


def measure(bench: Bench) -> list[Section]:
    """Race `dump --move` and `load` over few and many groups, then over many messages."""
    dumps: list[Cell] = []
    loads: list[Cell] = []
    size = bench.size
    with bench.stack() as endpoint, relay(endpoint) as delayed:
        delayed.delay(LATENCY)
        for service in (AS_IS, DELAYED):
            make = partial(Field.create, bench.folder, endpoint, delayed if service == DELAYED else None)
            for messages, groups in itertools.product(size.messages, size.groups):
                dumps += _dumps(make, service, messages, groups, size.matrix)
                # One a call, each 10 ms later: as long for the first as for the last.
                strict = service == DELAYED and groups == 1
                count = min(messages, 2_000) if strict else messages
                loads += _loads(make, service, count, groups, size.matrix)
        for count in size.many[-1:]:
            make = partial(Field.create, bench.folder, endpoint, None)
            dumps += _dumps(make, AS_IS, count, size.groups[-1], size.matrix)
            loads += _loads(make, AS_IS, count, size.groups[-1], size.matrix)
    return [
        Section("dump --move", f"from the DLQ to a file; {RUNS}", HEAD, [one.row() for one in dumps]),
        Section(
            "load",
            f"from a file to main; {RUNS}; the peers put two of a group into one call, and the pool keeps no"
            " order at all",
            HEAD,
            [one.row() for one in loads],
        ),
    ]


def _dumps(make: partial[Field], service: str, count: int, groups: int, runs: int | None) -> list[Cell]:
    def peer(what: str) -> Mover:
        return lambda field: field.peer(what, field.url("dlq"), _FILE)

    return race(
        {OURS: (count, dump), LOOP: (count, peer("dump-by-loop")), POOL: (count, peer("dump-by-pool"))},
        make,
        lambda field, count: field.fill("dlq", count, groups),
        dumped,
        service=service,
        groups=groups,
        runs=runs,
    )


def _loads(make: partial[Field], service: str, count: int, groups: int, runs: int | None) -> list[Cell]:
    def peer(what: str) -> Mover:
        return lambda field: field.peer(what, _FILE, field.url("main"))

    return race(
        {OURS: (count, load), LOOP: (count, peer("load-by-loop")), POOL: (count, peer("load-by-pool"))},
        make,
        lambda field, count: write_lines(field, count, groups),
        loaded,
        service=service,
        groups=groups,
        runs=runs,
    )


def dump(field: Field) -> Taken:
    """Measure a dump that empties the DLQ."""
    return field.run("dump", _FILE, "--queue", "dlq", "--move", "--yes", "-o", "json")


def load(field: Field) -> Taken:
    """Measure a load into main."""
    return field.run("load", _FILE, "--queue", "main", "--yes", "-o", "json")


def write_lines(field: Field, count: int, groups: int) -> None:
    """Write a file of messages, as a dump would."""
    filling = "x" * 100
    with (field.project.folder / _FILE).open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(
                f'{{"message_id": "{number}", "group": "g{number % groups}", "dedup_id": "d{number}",'
                f' "sequence_number": "{number}", "queue": "dlq", "sent_at": "2026-01-02T03:04:05.678Z",'
                f' "first_received_at": null, "receives": 0, "body": "[{number},\\"{filling}\\"]",'
                ' "attributes": {}}\n'
            )


def dumped(field: Field, count: int) -> None:
    """Fail unless all messages are in the file and none in the queue."""
    lines = sum(1 for _ in (field.project.folder / _FILE).open(encoding="utf-8"))
    found = (field.count("dlq"), lines)
    assert found == (0, count), f"{found} in the DLQ and in the file, of {count}"


def loaded(field: Field, count: int) -> None:
    """Fail unless all messages are in main."""
    found = field.count("main")
    assert found == count, f"{found} of {count} are in main"
