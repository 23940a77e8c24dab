"""What all kinds of resources have in common: the steps of provisioning, AWS's errors, and waiting."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import calling, error_codes, unless_missing
from fifo_cli.aws.retries import growing_pause
from fifo_cli.errors import AwsError
from fifo_cli.events import Listener, Waiting, silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fifo_cli.model.resources import Found, Resource

T = TypeVar("T")

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0
# What is changed of a resource that is to be enabled.
ENABLED: Final = "enabled"


class AlreadyExists(AwsError):
    """What was to be created is there: made by an earlier try of this call, or by somebody else just now."""


class TimedOut(AwsError):
    """AWS was waited for as long as there is patience."""


class Gateway(ABC):
    """One kind of resource in AWS. Every step may be repeated after a crash.

    A subclass makes the calls; here botocore's errors become ours, and name the resource.
    """

    __slots__ = ()
    title: ClassVar[str]  # what stands before the name in errors
    exists_codes: ClassVar[frozenset[str]] = frozenset()  # AWS's codes for: it exists already

    def read(self, name: str) -> Found | None:
        """Return the resource as AWS reports it, or None if it does not exist."""
        with calling(f"{self.title} {name}"):
            return unless_missing(lambda: self._read(name))

    def create(self, wanted: Resource) -> None:
        """Create it, with its tags from the first moment; raise AlreadyExists if it is there."""
        thing = f"{self.title} {wanted.name}"
        with calling(thing):
            try:
                self._create(wanted)
            except ClientError as error:
                # From a later step the same code means another conflict, such as an update in progress.
                if error.operation_name.startswith("Create") and error_codes(error) & self.exists_codes:
                    raise AlreadyExists(f"{thing} exists already") from error
                raise

    def update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Bring the ``changed`` properties (and ``tags``) to what is wanted."""
        with calling(f"{self.title} {wanted.name}"):
            self._update(wanted, found, changed)

    def delete(self, found: Found) -> None:
        """Delete it; that it is gone already is not an error."""
        with calling(f"{self.title} {found.name}"):
            unless_missing(lambda: self._delete(found))

    @abstractmethod
    def _read(self, name: str) -> Found | None: ...

    @abstractmethod
    def _create(self, wanted: Resource) -> None: ...

    @abstractmethod
    def _update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None: ...

    @abstractmethod
    def _delete(self, found: Found) -> None: ...


class TriggerGateway(Gateway):
    """A kind of resource that starts a function, and can be disabled."""

    __slots__ = ()

    def update(self, wanted: Resource, found: Found, changed: frozenset[str]) -> None:
        """Bring the properties to what is wanted; then enable it, if that is among the ``changed``."""
        if changed != {ENABLED}:
            super().update(wanted, found, changed - {ENABLED})
        if ENABLED in changed and (now := self.read(wanted.name)):
            self.rewrite(now, enabled=True)

    def switch(self, found: Found, *, enabled: bool) -> None:
        """Enable or disable it; what it has started goes on."""
        with calling(f"{self.title} {found.name}"):
            self._switch(found, enabled=enabled)

    def rewrite(self, found: Found, *, enabled: bool) -> None:
        """Do the same by the calls that make it, as a deployer may make no others."""
        self.switch(found, enabled=enabled)

    @abstractmethod
    def _switch(self, found: Found, *, enabled: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Pending:
    """AWS is not ready; ``reason`` is what a person reads."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiter:
    """How AWS is waited for: announced, with growing pauses, and with a bound.

    botocore's own waiters say nothing, and sleep through an interrupt.
    """

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

    def accepted(
        self,
        call: Callable[[], T | Pending],
        passing: Callable[[ClientError], str | None],
        *,
        name: str,
        limit: float,
    ) -> T:
        """Return a call's answer; repeat it while ``passing`` gives a reason why AWS refuses it for now."""

        def attempt() -> T | Pending:
            try:
                return call()
            except ClientError as error:
                if (reason := passing(error)) is None:
                    raise
                return Pending(reason)

        return self.until(attempt, name=name, limit=limit)


def tag_list(tags: Mapping[str, str]) -> list[Any]:
    """Return tags as IAM, DynamoDB, EventBridge and CloudWatch take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_map(tags: object) -> dict[str, str]:
    """Return tags that came as a list of Key and Value (or not at all) as a mapping."""
    return {one["Key"]: one["Value"] for one in tags} if isinstance(tags, list) else {}
