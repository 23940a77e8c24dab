"""Answers to a batch call that do not prove that the entry with the id "1" is done, though others are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]
Spoil = Callable[[Answer], Answer]

ENTRY = "1"
REFUSED = {"Id": ENTRY, "Code": "InternalError", "Message": "no", "SenderFault": False}


def _without(answer: Answer) -> list[Any]:
    return [entry for entry in answer["Successful"] if entry["Id"] != ENTRY]


def _own(answer: Answer) -> Answer:
    return next(entry for entry in answer["Successful"] if entry["Id"] == ENTRY)


def _named(answer: Answer, other: Any) -> Answer:
    return {"Successful": [*_without(answer), {**_own(answer), "Id": other}], "Failed": []}


# Each is an answer of a service, or of what stands before it, that is wrong.
UNPROVEN: dict[str, Spoil] = {
    "in neither list": lambda answer: {"Successful": _without(answer), "Failed": []},
    "in no list at all": lambda answer: {"Successful": _without(answer)},
    "lists that are null": lambda answer: {"Successful": _without(answer), "Failed": None},
    "in both": lambda answer: {**answer, "Failed": [REFUSED]},
    "twice as successful": lambda answer: {"Successful": [*answer["Successful"], _own(answer)], "Failed": []},
    "twice as failed": lambda answer: {"Successful": _without(answer), "Failed": [REFUSED, REFUSED]},
    "an id that was not asked for": lambda answer: _named(answer, "7"),
    "an id that is not a number": lambda answer: _named(answer, "one"),
    "an id in another spelling": lambda answer: _named(answer, "01"),
    "an id in other digits": lambda answer: _named(answer, "\u0661"),
    "an empty id": lambda answer: _named(answer, ""),
    "a negative id": lambda answer: _named(answer, "-2"),
    "an entry that is null": lambda answer: {"Successful": [*_without(answer), None], "Failed": [None]},
    "an entry without an id": lambda answer: {"Successful": [*_without(answer), {}], "Failed": [{}]},
}
# SQS says no.
PROVEN: dict[str, Spoil] = {
    "refused": lambda answer: {"Successful": _without(answer), "Failed": [REFUSED]},
    "refused without a message": lambda answer: {
        "Successful": _without(answer),
        "Failed": [{"Id": ENTRY, "Code": "InternalError"}],
    },
    "refused without a code": lambda answer: {"Successful": _without(answer), "Failed": [{"Id": ENTRY}]},
    "refused beside another id that is": lambda answer: {
        "Successful": _without(answer),
        "Failed": [REFUSED, {**REFUSED, "Id": "12"}],
    },
}
NOT_DONE = UNPROVEN | PROVEN
