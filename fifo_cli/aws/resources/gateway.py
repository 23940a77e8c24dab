"""What provisioning asks of every kind of resource, and how it waits for AWS."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from fifo_cli.aws.retries import growing_pause
from fifo_cli.errors import AwsError
from fifo_cli.events import Listener, Waiting, silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fifo_cli.model.resources import Found, Resource

T = TypeVar("T")

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0


class AlreadyExists(AwsError):
    """What was to be created is there: made by an earlier try of this call, or by somebody else just now."""


class TimedOut(AwsError):
    """AWS was waited for as long as there is patience."""


class Gateway(Protocol):
    """One kind of resource in AWS. Every step may be repeated after a crash."""

    def read(self, name: str) -> Found | None:
        """Return the resource as AWS reports it, or None if it does not exist."""

    def create(self, wanted: Resource) -> None:
        """Create it, with its tags from the first moment; raise AlreadyExists if it is there."""

    def update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Bring the ``changed`` properties (and ``tags``) to what is wanted."""

    def delete(self, found: Found) -> None:
        """Delete it; that it is gone already is not an error."""


@dataclass(frozen=True, slots=True)
class Pending:
    """AWS is not ready; ``reason`` is what a person reads."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiter:
    """How AWS is waited for: announced, with growing pauses, and with a bound."""

    listener: Listener = silent
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def until(self, attempt: Callable[[], T | Pending], *, name: str, limit: float) -> T:
        """Repeat ``attempt`` until it is no longer Pending; raise TimedOut after ``limit`` seconds."""
        started = self.clock()
        tries, announced = 0, ""
        while isinstance(answer := attempt(), Pending):
            tries += 1
            pause = growing_pause(tries, FIRST_PAUSE, LONGEST_PAUSE)
            if self.clock() - started + pause > limit:
                raise TimedOut(
                    f"{name}: still {answer.reason} after {self.clock() - started:.0f} s",
                    hint="run the command again; it continues where this one stopped",
                )
            if answer.reason != announced:
                self.listener(Waiting(name, answer.reason))
                announced = answer.reason
            self.sleep(pause)
        return answer


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as IAM, DynamoDB and EventBridge take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: object) -> dict[str, str]:
    """Return tags that came as a list of Key and Value (or not at all) as a mapping."""
    return {one["Key"]: one["Value"] for one in tags} if isinstance(tags, list) else {}
