"""What a check puts into the table, and what the API must have received of it: everything once, in order."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fifo_cli.model.receiver_protocol import Received

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of one check: ``name`` begins every id and group, so that no two checks share one."""

    name: str
    groups: int
    each: int

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(
            self.id(group, number) for group in range(self.groups) for number in range(1, self.each + 1)
        )

    def id(self, group: int, number: int) -> str:
        """Return the id of a group's item; groups count from 0, items from 1."""
        return f"{self.group(group)}-{number:03}"

    def group(self, group: int) -> str:
        """Return a group's name."""
        return f"{self.name}-{group:02}"

    def rows(self) -> list[dict[str, Any]]:
        """Return the items, each group's in its order."""
        return [
            {"id": self.id(group, number), "group": self.group(group), "number": number, "batch": self.name}
            for number in range(1, self.each + 1)
            for group in range(self.groups)
        ]

    def lines(self) -> str:
        """Return the items as JSON lines."""
        return "".join(json.dumps(row) + "\n" for row in self.rows())


def problems_of(batch: Batch, received: Sequence[Received]) -> list[str]:
    """Say what is wrong with the deliveries of a batch."""
    prefix = batch.name + "-"
    accepted = [one for one in received if one.accepted and one.id.startswith(prefix)]
    counts = Counter(one.id for one in accepted)
    wrong = [
        _some("never arrived", [one for one in batch.ids if not counts[one]]),
        _some("arrived twice or more", [one for one, number in counts.items() if number > 1]),
        _some("arrived, and should not have", sorted(counts.keys() - set(batch.ids))),
        _some("arrived before one that is older in its group", list(_out_of_order(accepted))),
        _some("came with the Idempotency-Key of another item", list(_shared_keys(accepted))),
    ]
    return [text for text in wrong if text]


def accepted_of(batch: Batch, received: Sequence[Received]) -> set[str]:
    """Return the ids of a batch's items that the API accepted."""
    return {one.id for one in received if one.accepted} & set(batch.ids)


def _out_of_order(accepted: Sequence[Received]) -> Iterator[str]:
    highest: dict[str, int] = defaultdict(int)
    for one in accepted:
        if one.number < highest[one.group]:
            yield one.id
        highest[one.group] = max(highest[one.group], one.number)


def _shared_keys(accepted: Sequence[Received]) -> Iterator[str]:
    owner: dict[str, str] = {}
    for one in accepted:
        if owner.setdefault(one.key, one.id) != one.id or not one.key:
            yield one.id


def _some(what: str, ids: Sequence[str]) -> str:
    if not ids:
        return ""
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{', '.join(ids[:_SHOWN])}{more} {what}"
