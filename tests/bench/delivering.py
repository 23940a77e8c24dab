"""drain against a receiver on loopback, beside a plain loop and a pool that post and delete."""

from __future__ import annotations

import itertools
from functools import partial

from tests.bench.bench import LATENCY, Bench
from tests.bench.field import Field
from tests.bench.moves import AS_IS, DELAYED, HEAD, LOOP, OURS, POOL, RUNS, Cell, Mover, race
from tests.bench.relay import relay
from tests.bench.report import Section
from tests.bench.service import receiver

CONCURRENCY = 8


def measure(bench: Bench) -> list[Section]:
    """Race drain and its peers over few and many groups."""
    cells: list[Cell] = []
    with bench.stack() as endpoint, relay(endpoint) as delayed, receiver() as url:
        delayed.delay(LATENCY)
        for messages, groups in itertools.product(bench.size.messages, bench.size.groups):
            movers: dict[str, Mover] = {OURS: drain(1)}
            if groups > 1:
                movers[f"{OURS}, --concurrency {CONCURRENCY}"] = drain(CONCURRENCY)
            movers |= {LOOP: peer("deliver-by-loop", url), POOL: peer("deliver-by-pool", url)}
            for service in (AS_IS, DELAYED):
                count = messages if service == AS_IS else min(messages // 5, 1_000)
                # One by one takes long, and takes as long for the first as for the last.
                counts = {**dict.fromkeys(movers, count), LOOP: min(count, 500), POOL: min(count, 1_000)}
                cells += race(
                    {who: (counts[who], mover) for who, mover in movers.items()},
                    partial(
                        Field.create, bench.folder, endpoint, delayed if service == DELAYED else None, api=url
                    ),
                    lambda field, count: field.fill("main", count, groups),  # noqa: B023 - called before the next
                    delivered,
                    service=service,
                    groups=groups,
                    runs=bench.size.matrix,
                )
    note = (
        f"main to an API on loopback that answers at once; {RUNS}; requests to the API are not counted;"
        f" the peers stand beside `{OURS}` without --concurrency"
    )
    return [Section("drain", note, HEAD, [one.row() for one in cells])]


def drain(concurrency: int) -> Mover:
    """Make a mover of our drain."""
    return lambda field: field.run("drain", "--all", "--concurrency", str(concurrency), "-o", "json")


def peer(what: str, url: str) -> Mover:
    """Make a mover of one of the peers."""
    return lambda field: field.peer(what, field.url("main"), f"{url}/orders")


def delivered(field: Field, count: int) -> None:
    """Fail unless main is empty."""
    left = field.count("main")
    assert left == 0, f"{left} of {count} are left in main"
