"""Which stream records a replay is asked for."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any, Final

from fifo_cli.errors import UsageError
from fifo_cli.handlers.exact_jmespath import Expression, is_true
from fifo_cli.handlers.records import plain
from fifo_cli.operations.stream.item_keys import key_of
from fifo_cli.operations.stream.shards import StreamRecord

# 21 to 40 digits in AWS (API Reference, StreamRecord); the embedded stack's are shorter.
SEQUENCE: Final = re.compile("[0-9]{1,40}")


class RecordFilter:
    """Says of a record whether it is asked for.

    ``failures`` counts those on which the expression failed, ``failure`` says why on the first. ``found``
    counts those that are among ``event_ids``.
    """

    def __init__(
        self,
        *,
        key: Mapping[str, Any] | None = None,
        events: frozenset[str] = frozenset(),
        expression: str | None = None,
        event_ids: Container[str] | None = None,
    ) -> None:
        self._key = key
        self._events = events
        self._compiled = Expression(expression) if expression else None
        self._event_ids = event_ids
        self.failures = 0
        self.failure = ""
        self.found = 0

    def __call__(self, record: StreamRecord) -> bool:
        raw = record.raw
        if self._event_ids is not None:
            if record.event_id not in self._event_ids:
                return False
            self.found += 1
        return (
            (not self._events or raw["eventName"] in self._events)
            and (self._key is None or self._has_key(raw, self._key))
            and (self._compiled is None or self._is_true(raw))
        )

    def _has_key(self, raw: Mapping[str, Any], key: Mapping[str, Any]) -> bool:
        """Compare keys; raises UsageError if the table's key has other attributes than fifo.toml says."""
        found = key_of(raw)
        if found.keys() != key.keys():
            raise UsageError(
                f"the key of the table is {', '.join(found)}, as its stream shows; [table] in fifo.toml says"
                f" {', '.join(key)}",
                hint="fix partition_key and sort_key in fifo.toml; nothing was touched",
            )
        return found == key

    def _is_true(self, raw: Mapping[str, Any]) -> bool:
        """Evaluate the expression over the item, as ``where`` in fifo.toml is."""
        assert self._compiled is not None
        try:
            return is_true(self._compiled.search(item_of(raw)))
        except Exception as error:  # noqa: BLE001 - jmespath raises TypeError, too: for "a" < 1
            self.failures += 1
            self.failure = self.failure or (str(error).splitlines() or [type(error).__name__])[0]
            return False


def item_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item of a record, plain: the new image, for REMOVE the old one; the key if it has none."""
    data = raw["dynamodb"]
    image = data.get("OldImage" if raw["eventName"] == "REMOVE" else "NewImage", data.get("Keys", {}))
    return {name: plain(value) for name, value in image.items()}
