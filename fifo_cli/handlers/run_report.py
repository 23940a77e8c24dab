"""What a run did: what became of each message, and what ended the run early, if anything did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .failure import Owner, ending

Status = Literal["delivered", "parked", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one received message.

    ``api`` is the name of the API that it did not get past; ``error_type`` is the class of the error where
    that one did not answer; ``owner`` is whose failure it was.
    """

    message_id: str
    group: str
    status: Status
    http_status: int | None
    elapsed_ms: int
    error: str | None
    api: str | None = None
    error_type: str | None = None
    owner: Owner | None = None


def sums(results: Sequence[Outcome]) -> dict[str, int]:
    """Return how many messages came to what, as the JSON of ``drain`` has it."""
    counts = Counter(outcome.status for outcome in results)
    return {
        "received": len(results),
        "delivered": counts["delivered"],
        "parked": counts["parked"],
        "failed": counts["failed"],
    }


@dataclass(slots=True)
class Report:
    """What a run did. ``error`` is why it ended early, if it did; nothing is lost then either.

    ``breaker`` is the last failure, if the breaker kept the run from further calls. ``emptied`` says that it
    received until there was nothing more to receive.
    """

    results: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None
    breaker: str | None = None
    emptied: bool = False

    def facts(self, redact: Callable[[str], str] = str) -> dict[str, Any]:
        """Return what the log's line of its end has."""
        emptied = {"emptied": True} if self.emptied else {}
        return {**sums(self.results), **emptied, "breaker": self.breaker, **ending(self.error, redact)}

    def document(self) -> dict[str, Any]:
        """Return the report: the JSON of ``drain`` without ``remaining``."""
        return {**sums(self.results), "results": [asdict(outcome) for outcome in self.results]}
