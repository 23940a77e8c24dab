"""The protocol between ``prove`` and the API that it delivers to (docs/prove.md describes it for others).

Every request carries ``SECRET_HEADER``; one without the right secret is answered 403 and recorded nowhere.

===========================  ==========================================================================
``POST /deliver``            what the worker calls, with an item as JSON; answered by the rules, recorded
``PUT /temper``              how it answers from now on: ``AnswerRules``
``GET /received?after=N``    ``{"received": [...], "next": N}``: what came after number N, in order
``DELETE /received``         forgets what came
===========================  ==========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fifo_cli.model.results import Fields

SECRET_HEADER: Final = "x-prove-secret"
DELIVER_PATH: Final = "/deliver"
RULES_PATH: Final = "/temper"  # its name in the protocol, which receivers of others keep
RECEIVED_PATH: Final = "/received"
# Of random characters, more than anybody can guess.
SECRET_LENGTH_MIN: Final = 24


def check_secret(secret: str) -> None:
    """Raise ValueError, saying what it must have, for what can be guessed or cannot be in a header."""
    if len(secret) < SECRET_LENGTH_MIN or not secret.isascii() or not secret.isprintable():
        raise ValueError(f"the secret must have at least {SECRET_LENGTH_MIN} printable ASCII characters")


class Mode(StrEnum):
    """How the API answers a delivery."""

    OK = "ok"
    UNAVAILABLE = "503"
    THROTTLED = "429"
    SLOW = "slow"  # 200, after ``slow_seconds``
    UNAUTHORIZED = "401"


@dataclass(frozen=True, slots=True)
class AnswerRules(Fields):
    """How the API answers. The first that applies: ``mode``, a wrong key (401), ``refuse`` (422), 200."""

    mode: Mode = Mode.OK
    retry_after: int = 1  # s, the header's value with THROTTLED
    slow_seconds: float = 0.0
    key: str | None = None  # the bearer key that a delivery must carry; None: no key is asked for
    refuse: tuple[str, ...] = ()  # ids of items that are answered 422


@dataclass(frozen=True, slots=True)
class Received(Fields):
    """One delivery as it arrived, and how it was answered; ``n`` counts from 1."""

    n: int
    id: str
    group: str
    number: int  # the item's place in its group, from 1
    key: str  # the Idempotency-Key
    status: int
    at: float  # s since 1970, by the receiver's clock

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Received:
        """Read one of ``received``; raises KeyError, TypeError or ValueError if it is none."""
        return cls(
            n=int(document["n"]),
            id=str(document["id"]),
            group=str(document["group"]),
            number=int(document["number"]),
            key=str(document["key"]),
            status=int(document["status"]),
            at=float(document["at"]),
        )

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300
