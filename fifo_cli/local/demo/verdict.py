"""The check at the demo's end: every item delivered once or parked, unchanged, and order kept."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fifo_cli.local.demo.items import DemoItems
from fifo_cli.local.receiver import Received
from fifo_cli.model.message import Message


@dataclass(frozen=True, slots=True)
class DemoVerdict:
    """What the check found; without ``problems`` all is well."""

    items: int
    delivered: int
    parked: int
    groups: int
    problems: tuple[str, ...]


def judge(
    items: DemoItems,
    deliveries: Sequence[Received],
    parked: Sequence[Message],
    *,
    expected_parked: Iterable[str],
) -> DemoVerdict:
    """Compare what the API accepted, and what the DLQ holds, with what was put.

    ``expected_parked`` are ids as JSON.
    """
    put = {_id(entry.item): entry.item for entry in items.entries}
    arrived = [
        (_id(item), item, delivery.idempotency_key)
        for delivery in deliveries
        if (item := _load(delivery.body))
    ]
    aside = [(_id(item), entry) for entry in parked if (item := _load(entry.body))]
    problems = [
        *_lost_or_twice(put, [key for key, _, _ in arrived], [key for key, _ in aside]),
        *(
            f"{key}: what arrived differs from what was put"
            for key, item, _ in arrived
            if key in put and item != put[key]
        ),
        *_disorder(items, [key for key, _, _ in arrived]),
        *_keys(arrived),
        *_parking(aside, set(expected_parked)),
    ]
    groups = {items.group_of(entry.item) for entry in items.entries}
    return DemoVerdict(len(put), len(arrived), len(aside), len(groups), tuple(problems))


def id_of(body: str | bytes) -> str:
    """Return the id in a body, as JSON; "null" if there is none."""
    return _id(_load(body) or {})


def _load(body: str | bytes) -> dict[str, Any] | None:
    """Parse a body with every number exact."""
    try:
        item = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return None
    return item if isinstance(item, dict) else None


def _id(item: Mapping[str, Any]) -> str:
    return json.dumps(item.get("id"), default=lambda number: str(number.normalize()), ensure_ascii=False)


def _lost_or_twice(put: Mapping[str, Any], arrived: Sequence[str], aside: Sequence[str]) -> Iterable[str]:
    counts = Counter(arrived) + Counter(aside)
    for key in put:
        match counts[key]:
            case 1:
                continue
            case 0:
                yield f"{key}: neither delivered nor parked"
            case number:
                yield f"{key}: delivered or parked {number} times"
    yield from (f"{key}: arrived, though nobody put it" for key in counts if key not in put)


def _disorder(items: DemoItems, arrived: Sequence[str]) -> Iterable[str]:
    position = {_id(entry.item): number for number, entry in enumerate(items.entries)}
    group = {_id(entry.item): items.group_of(entry.item) for entry in items.entries}
    last: dict[str, str] = {}
    for key in arrived:
        if key not in position:
            continue
        before = last.get(group[key])
        if before is not None and position[before] > position[key]:
            yield f"{key}: arrived after {before}, which was put later into the same group ({group[key]})"
        last[group[key]] = key


def _keys(arrived: Sequence[tuple[str, Any, str | None]]) -> Iterable[str]:
    owners: dict[str | None, set[str]] = defaultdict(set)
    for key, _, idempotency_key in arrived:
        owners[idempotency_key].add(key)
    for idempotency_key, keys in owners.items():
        if idempotency_key is None or len(keys) > 1:
            yield f"{', '.join(sorted(keys))}: came with the Idempotency-Key {idempotency_key}"


def _parking(aside: Sequence[tuple[str, Message]], expected: set[str]) -> Iterable[str]:
    found = {key for key, _ in aside}
    yield from (f"{key}: should have been parked and was not" for key in sorted(expected - found))
    yield from (f"{key}: was parked and should not have been" for key in sorted(found - expected))
    for key, message in aside:
        if not (message.text("park_reason") and message.text("park_status")):
            yield f"{key}: parked without its reason"
