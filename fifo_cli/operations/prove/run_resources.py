"""What runs of ``prove`` have in the account, or left there: found by exact name and by tag.

A run's pipeline is named ``fifo-prove-`` and eight random digits. What has a name that a run gives, and
carries the tags that a run gives, is a run's; nothing else is. A run that was killed is known by its owner's
tag: its process is gone, or its time is over.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from fifo_cli.aws import account_resources
from fifo_cli.aws.policy_check import NotPermittedError
from fifo_cli.errors import FifoError
from fifo_cli.model.names import ALARM_ROLES, PIPELINE_TAG, PROVE_PREFIX
from fifo_cli.model.prove_result import Resource
from fifo_cli.model.times import iso
from fifo_cli.operations.parallel import read_all

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

OWNER_TAG: Final = "prove-run"
# No run takes longer; with --long it has three hours more.
RUN_TAKES: Final = timedelta(hours=2)
_RUN: Final = f"(?P<run>{PROVE_PREFIX}[0-9a-f]{{8}})"
_FUNCTION: Final = f"{_RUN}-(enqueuer|worker|receiver)"
# The whole names that a run gives, by kind; a mapping is found as `FUNCTION UUID`.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "event-source-mapping": (f"{_RUN}-(enqueuer|worker) [0-9a-f-]+",),
    "rule": (f"{_RUN}-[0-9]{{1,2}}",),
    "schedule": (f"{_RUN}-[0-9]{{1,2}}",),
    "alarm": (f"{_RUN}-({'|'.join(ALARM_ROLES)})",),
    "function": (_FUNCTION,),
    "role": (_FUNCTION,),
    "policy": (f"{_RUN}-(deployer|operator|monitor)-[0-9]+",),
    "parameter": (f"/{_RUN}/(secret|api-key)",),
    "queue": (rf"{_RUN}(-dlq|-hold)?\.fifo", f"{_RUN}-stream-failures"),
    "table": (f"{_RUN}(-receiver)?",),
    "log-group": (f"/aws/lambda/{_FUNCTION}", f"/fifo-cli/{_RUN}"),
}


def new_name() -> str:
    """Return the name of a new run's pipeline."""
    return PROVE_PREFIX + secrets.token_hex(4)


def owner_tags(now: datetime, *, idle_seconds: float = 0) -> dict[str, str]:
    """Return the tag that says whose run it is, and until when it may go on."""
    until = iso(now + RUN_TAKES + timedelta(seconds=idle_seconds))
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:100]
    return {OWNER_TAG: f"{host}/{os.getpid()}/{until}"}


def may_run(owner: str, now: datetime) -> bool:
    """Say whether a run with this tag may still be at work."""
    host, _, rest = owner.partition("/")
    pid, _, until = rest.partition("/")
    try:
        if datetime.fromisoformat(until) < now:
            return False
        if host != owner_tags(now)[OWNER_TAG].partition("/")[0]:
            return True
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def run_of(kind: str, name: str) -> str | None:
    """Return the run that gives this name to a resource of this kind; None if no run does."""
    found = (re.fullmatch(pattern, name) for pattern in _NAMES[kind])
    return next((match["run"] for match in found if match), None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What has a name that a run gives. ``unread`` says why its tags could not be read, if so."""

    resource: Resource
    run: str
    tags: Mapping[str, str] = field(default_factory=dict)
    unread: str = ""

    @property
    def is_the_runs(self) -> bool:
        """Whether its tags say that the run made it."""
        return self.tags.get(PIPELINE_TAG) == self.run and OWNER_TAG in self.tags

    @property
    def is_anothers(self) -> bool:
        """Whether its tag says that it is another pipeline's."""
        return self.tags.get(PIPELINE_TAG, self.run) != self.run

    @property
    def has_no_owner(self) -> bool:
        """Whether no tag says whose it is: Lambda makes a log group so, a schedule takes no tags."""
        return PIPELINE_TAG not in self.tags and not self.unread


@dataclass(frozen=True, slots=True)
class Search:
    """What there is under names of runs, and why a kind of resource could not be listed."""

    found: tuple[Candidate, ...]
    unlisted: Mapping[str, str]


def find(aws: Aws, pipeline: str = PROVE_PREFIX, *, all_kinds: bool = False) -> list[Resource]:
    """Return what is there under names of runs, or of one, whoever made it.

    A kind of resource that the caller may not list is left out; with ``all_kinds`` it raises FifoError.
    """
    found, unlisted = _listed(aws, pipeline)
    if all_kinds and unlisted:
        raise next(iter(unlisted.values()))
    return [one.resource for one in found]


def search(aws: Aws, pipeline: str = PROVE_PREFIX) -> Search:
    """Return what is there under names of runs, or of one, with its tags."""
    found, unlisted = _listed(aws, pipeline)
    tags = read_all(
        {
            _text(one): partial(account_resources.tags_of, aws, one.resource.type, one.resource.name)
            for one in found
            if one.resource.type in account_resources.TAGGED
        }
    )
    unread = {question: failure.message for question, failure in tags.failures.items()}
    return Search(
        tuple(
            replace(one, tags=tags.get(_text(one), {}), unread=unread.get(_text(one), "")) for one in found
        ),
        {kind: error.message for kind, error in unlisted.items()},
    )


def _text(one: Candidate) -> str:
    return f"{one.resource.type} {one.resource.name}"


def _listed(aws: Aws, pipeline: str) -> tuple[list[Candidate], dict[str, FifoError]]:
    """List each kind; what fails for another reason than a missing permission is raised."""
    kinds = list(account_resources.LISTERS)
    asked = read_all({kind: partial(account_resources.names_of, aws, kind, pipeline) for kind in kinds})
    found: list[Candidate] = []
    unlisted: dict[str, FifoError] = {}
    for kind in kinds:
        failure = asked.failures.get(kind)
        if isinstance(failure, NotPermittedError):
            unlisted[kind] = failure
            continue
        for name in asked[kind]:
            run = run_of(kind, name)
            if run is not None and pipeline in (run, PROVE_PREFIX):
                found.append(Candidate(Resource(kind, name), run))
    return found, unlisted


@dataclass(frozen=True, slots=True)
class RunResources:
    """What is there of one run, with a tag that says so at least once; ``owner`` is that of the run."""

    pipeline: str
    resources: tuple[Resource, ...]
    running: bool = False
    owner: str = ""


def resources_by_run(found: Sequence[Candidate]) -> list[RunResources]:
    """Return what earlier runs left, or running ones have, by run; nothing of another pipeline."""
    by_run: dict[str, list[Candidate]] = defaultdict(list)
    for one in found:
        if one.is_the_runs:
            by_run[one.run].append(one)
    now = datetime.now(UTC)
    runs = []
    for name, theirs in sorted(by_run.items()):
        owner = theirs[0].tags[OWNER_TAG]
        resources = tuple(one.resource for one in theirs)
        runs.append(RunResources(name, resources, may_run(owner, now), owner))
    return runs
