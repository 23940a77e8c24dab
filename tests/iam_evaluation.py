"""IAM's evaluation of policies, as far as this program's policies use it; what it does not know, it refuses.

IAM User Guide, "Policy evaluation logic", "IAM JSON policy elements: Condition operators" and "... with
multiple context keys or values". An explicit deny wins, then an allow, then all is denied. A key that the
request does not have matches no condition, but for ``...IfExists``, ``Null`` and the negated operators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

Policy = Mapping[str, Any]
Statement = Mapping[str, Any]


@dataclass(frozen=True)
class Need:
    """An action on one resource, by its ARN; ``*`` where AWS knows none; ``context`` holds condition keys."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def is_allowed(policies: Iterable[Policy], need: Need) -> bool:
    """Say whether policies of one principal, together, allow a request."""
    effects = {one["Effect"] for policy in policies for one in policy["Statement"] if _applies(one, need)}
    return "Allow" in effects and "Deny" not in effects


def _applies(statement: Statement, need: Need) -> bool:
    known = {"Sid", "Effect", "Action", "Resource", "Condition"}
    assert set(statement) <= known, f"not evaluated: {set(statement) - known}"
    return (
        any(_like(need.action.lower(), one.lower()) for one in _listed(statement["Action"]))
        and any(_like(need.resource, one) for one in _listed(statement["Resource"]))
        and all(
            _holds(operator, need, key, _listed(values))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _holds(operator: str, need: Need, key: str, wanted: list[str]) -> bool:
    given = [value for name, value in need.context if name.lower() == key.lower()]
    if operator == "Null":
        return wanted == [str(not given).lower()]
    quantifier, _, name = operator.rpartition(":")
    base = name.removesuffix("IfExists")
    compare, is_negated = OPERATORS[base]
    if not given:
        return name != base or quantifier == "ForAllValues" or (is_negated and quantifier != "ForAnyValue")
    matched = [any(compare(value, one) for one in wanted) is not is_negated for value in given]
    if quantifier == "ForAllValues":
        return all(matched)
    assert quantifier == "ForAnyValue" or len(given) == 1, f"{key} has several values, {operator} takes one"
    return any(matched)


def _like(value: str, pattern: str) -> bool:
    return _compiled(pattern).fullmatch(value) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Only these two are wild; "[" is not.
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(one) or re.escape(one) for one in pattern), re.DOTALL)


def _arn_like(value: str, pattern: str) -> bool:
    """Compare part by part: a ``*`` does not reach over a colon of the first five."""
    given, wanted = value.split(":", 5), pattern.split(":", 5)
    return len(given) == len(wanted) == 6 and all(map(_like, given, wanted))


def _equal(value: str, wanted: str) -> bool:
    return value == wanted


Compare = Callable[[str, str], bool]
# By name: how values compare, and whether the operator is the negation of that.
OPERATORS: Final[dict[str, tuple[Compare, bool]]] = {
    "StringEquals": (_equal, False),
    "StringNotEquals": (_equal, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "ArnEquals": (_arn_like, False),
    "ArnLike": (_arn_like, False),
    "ArnNotEquals": (_arn_like, True),
    "ArnNotLike": (_arn_like, True),
}


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
