"""The result of ``prove``: a verdict for each check, what was measured, and what is left in the account.

A page of it is shown to others: it holds no key, no secret, and no message but the made-up items' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from fifo_cli.errors import ExitCode
from fifo_cli.model.results import INTERNAL, Document, Fields, Result

# What a run delivers to, unless it is the receiver at ``--api URL``.
OWN_FUNCTION: Final = "a function of its own"
ON_THIS_MACHINE: Final = "on this machine; a function of its own was asked, too"


class CheckVerdict(StrEnum):
    """What came of a check. The last two prove nothing, and are no failures either."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_OFFERED = "not offered here"  # the service does not have what the check needs
    NOT_RUN = "not run"  # a check that it needs failed, or the run was interrupted before it


@dataclass(frozen=True, slots=True)
class Check(Fields):
    """One check of a run; ``seconds`` is how long it took, ``started`` when it began."""

    name: str
    verdict: CheckVerdict
    seconds: float
    detail: str
    started: datetime | None = None  # None: it did not run

    @property
    def ok(self) -> bool | None:
        """True or False; None if nothing was proven either way."""
        return {CheckVerdict.PASSED: True, CheckVerdict.FAILED: False}.get(self.verdict)

    def document(self) -> Document:
        return {"name": self.name, "ok": self.ok, **Fields.document(self)}


@dataclass(frozen=True, slots=True)
class Measurement(Fields):
    """The values of one thing that was measured, in the order in which they were measured."""

    what: str  # a sentence for the report, such as: from the answer to a put until the API has the item
    unit: str  # "s" for seconds
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The value in the middle; of an even number of them the lower one of the two."""
        return sorted(self.values)[(len(self.values) - 1) // 2]


@dataclass(frozen=True, slots=True)
class Resource(Fields):
    """Something in the account; ``type`` is as in a plan, such as ``queue``."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class Left(Fields):
    """A resource that could not be removed, why, and the command that removes it.

    ``unlisted``: it is a whole kind of resource that may not be listed; the command lists it.
    """

    type: str
    name: str
    reason: str
    command: str
    unlisted: bool = field(default=False, metadata=INTERNAL)


@dataclass(frozen=True, kw_only=True)
class ProveResult(Result):
    """What a run of ``prove`` came to. What is not in its JSON is for the report page."""

    account: str
    region: str
    pipeline: str
    checks: tuple[Check, ...]
    measured: Mapping[str, Measurement]
    left: tuple[Left, ...]
    endpoint: str = ""  # "": AWS; else where the emulator listens
    identity: str = ""  # who we are: the ARN
    credentials: str = ""  # how the credentials were found
    api: str = ""  # the API that was delivered to: one of the two above, or a URL, without its secret
    started: datetime
    ended: datetime
    kept: bool = False  # --keep: what was made stays on purpose and is not in ``left``
    interrupted: bool = False
    created: tuple[Resource, ...] = ()
    removed: tuple[Resource, ...] = ()
    requests: Mapping[str, int] = field(default_factory=dict)  # calls to AWS: "sqs SendMessage" -> how many
    versions: Mapping[str, str] = field(default_factory=dict)
    cost: str = ""  # the bound of the cost, and the date of the prices; "" on an emulator

    @property
    def exit_code(self) -> ExitCode:
        failed = any(check.ok is False for check in self.checks)
        return ExitCode.ATTENTION if failed or self.left else ExitCode.OK

    def count(self, verdict: CheckVerdict) -> int:
        """Return how many checks have this verdict."""
        return sum(check.verdict is verdict for check in self.checks)
