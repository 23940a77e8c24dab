"""The demo's items: orders of a few customers that it makes up, or a file's."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from jmespath.exceptions import JMESPathError

from fifo_cli.errors import UsageError
from fifo_cli.handlers.exact_jmespath import compiled
from fifo_cli.handlers.records import DEFAULT_GROUP
from fifo_cli.operations.table.put import NewItem, read_items

ORDERS_GROUP: Final = "customer"
_SEED: Final = 20
_ORDERS: Final = 40
_CUSTOMERS: Final = ("ada", "grace", "linus", "Zoë Ångström")
# A first item whose id is a number; every other item is then held to that.
_FIRST_NUMBER: Final = re.compile(rb'\s*\[?\s*\{[^{}\n]*?"id"\s*:\s*-?\d')
_GOODS: Final = ("ticket", "vinyl", "poster", "t-shirt")


@dataclass(frozen=True, slots=True)
class DemoItems:
    """What goes into the table, in this order; ``group`` is the JMESPath expression of the message group."""

    entries: tuple[NewItem, ...]
    group: str | None
    key_type: str

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The table's key, as ``put`` wants it."""
        return (("id", self.key_type),)

    def group_of(self, item: dict[str, Any]) -> str:
        """Return a name for the item's group; two items share one exactly if their messages share a group."""
        value = compiled(self.group).search(item) if self.group else None
        return DEFAULT_GROUP if value is None else str(value)


def made_up_orders(group: str | None) -> DemoItems:
    """Make up a few customers' orders, the same every time."""
    chance = random.Random(_SEED)
    orders = [
        {
            "id": f"order-{number:03}",
            "customer": chance.choice(_CUSTOMERS),
            "lines": [{"item": chance.choice(_GOODS), "count": Decimal(chance.randint(1, 4))}],
            "total": Decimal(chance.randint(500, 25_000)) / 100,
        }
        for number in range(1, _ORDERS + 1)
    ]
    entries = tuple(NewItem("order", number, order) for number, order in enumerate(orders, 1))
    return DemoItems(entries, group or ORDERS_GROUP, "S")


def items_of_file(data: bytes, group: str | None) -> DemoItems:
    """Read a file's items, of which each needs an ``id``; raises UsageError with every problem."""
    key_type = "N" if _FIRST_NUMBER.match(data) else "S"
    entries = read_items(data, (("id", key_type),))
    if group is not None:
        _check_group(entries, group)
    return DemoItems(tuple(entries), group, key_type)


def _check_group(entries: Sequence[NewItem], group: str) -> None:
    try:
        expression = compiled(group)
        for entry in entries:
            expression.search(entry.item)
    except (JMESPathError, TypeError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":. ")
        raise UsageError(
            f"--group {group!r} cannot be evaluated: {reason}",
            hint="give a JMESPath expression, such as customer.id",
        ) from error
