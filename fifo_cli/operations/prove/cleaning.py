"""What runs of ``prove`` left in the account: found by name and tag, and removed.

A name of a run is ``fifo-prove-`` and eight random digits. What has such a name, and does not carry another
pipeline's tag, is a run's. A run that was killed is known by its owner's tag: its process is gone, or its
time is over.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fifo_cli.aws import account_resources
from fifo_cli.aws.policy_check import NotPermittedError
from fifo_cli.aws.resources.role import POLICY_NAME
from fifo_cli.errors import FifoError
from fifo_cli.events import Listener, Noted
from fifo_cli.invocation import aws_command_line
from fifo_cli.model.names import PIPELINE_TAG, PROVE_PREFIX, Names
from fifo_cli.model.prove_result import Left, Resource
from fifo_cli.model.times import iso
from fifo_cli.operations.parallel import read_all
from fifo_cli.operations.prove.deployed_receiver import DeployedReceiver
from fifo_cli.operations.prove.pipeline import CheckFailed, Commands, Layout

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

OWNER_TAG: Final = "prove-run"
# No run takes longer; with --long it has three hours more.
RUN_TAKES: Final = timedelta(hours=2)
_NAME: Final = re.compile(PROVE_PREFIX + "[0-9a-f]{8}")
# What `destroy` does not delete: not the pipeline's, or what Lambda made again.
_BY_HAND: Final[Mapping[str, Callable[[Aws, str], None]]] = {
    "event-source-mapping": lambda aws, name: account_resources.delete_mapping(aws, name.rpartition(" ")[2]),
    "parameter": account_resources.delete_parameter,
    "policy": account_resources.delete_policy,
    "log-group": account_resources.delete_log_group,
}
# The commands that delete one; what has other steps before it is left to the document of the service.
_COMMANDS: Final = {
    "event-source-mapping": ("lambda delete-event-source-mapping --uuid",),
    "rule": ("events delete-rule --name",),
    "schedule": ("scheduler delete-schedule --name",),
    "alarm": ("cloudwatch delete-alarms --alarm-names",),
    "function": ("lambda delete-function --function-name",),
    "role": (
        f"iam delete-role-policy --policy-name {POLICY_NAME} --role-name",
        "iam delete-role --role-name",
    ),
    "policy": ("iam delete-policy --policy-arn",),
    "parameter": ("ssm delete-parameter --name",),
    "queue": ("sqs delete-queue --queue-url",),
    "table": ("dynamodb delete-table --table-name",),
    "log-group": ("logs delete-log-group --log-group-name",),
}


def new_name() -> str:
    """Return the name of a new run's pipeline."""
    return PROVE_PREFIX + secrets.token_hex(4)


def owner_tags(now: datetime, *, idle_seconds: float) -> dict[str, str]:
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
        if host != owner_tags(now, idle_seconds=0)[OWNER_TAG].partition("/")[0]:
            return True
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class Remains:
    """What is there of one run."""

    pipeline: str
    resources: tuple[Resource, ...]
    running: bool = False


def find(aws: Aws, pipeline: str = PROVE_PREFIX, *, all_kinds: bool = False) -> list[Resource]:
    """Return what is there under names of runs, or of one.

    A kind of resource that the caller may not list is left out; with ``all_kinds`` it raises FifoError.
    """
    kinds = list(account_resources.LISTERS)
    asked = read_all({kind: partial(account_resources.names_of, aws, kind, pipeline) for kind in kinds})
    found = []
    for kind in kinds:
        if isinstance(asked.failures.get(kind), NotPermittedError) and not all_kinds:
            continue
        found += [Resource(kind, name) for name in asked[kind] if _NAME.search(name)]
    return found


def remains(aws: Aws) -> list[Remains]:
    """Return what earlier runs left, or running ones have, by run; nothing of another pipeline."""
    by_run: dict[str, list[Resource]] = defaultdict(list)
    for one in find(aws):
        found = _NAME.search(one.name)
        if found is not None:
            by_run[found.group()].append(one)
    now = datetime.now(UTC)
    return [_remains(aws, name, tuple(resources), now) for name, resources in sorted(by_run.items())]


def _remains(aws: Aws, name: str, resources: Sequence[Resource], now: datetime) -> Remains:
    tags = [account_resources.tags_of(aws, one.type, one.name) for one in resources if one.type in _TAGGED]
    ours = all(one.get(PIPELINE_TAG, name) == name for one in tags)
    owner = next((one[OWNER_TAG] for one in tags if OWNER_TAG in one), "")
    return Remains(name, tuple(resources) if ours else (), bool(owner) and may_run(owner, now))


_TAGGED: Final = frozenset(account_resources.TAGGED)


@dataclass
class Cleaner:
    """Removes one run's resources. ``gone`` waits until AWS shows what was deleted no more."""

    aws: Aws
    where: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    listener: Listener
    gone_seconds: float
    sleep: Callable[[float], None]
    shared_folder: Path | None = None  # with --local: the folder of the embedded stack's files

    def remove(self, name: str) -> tuple[list[Resource], list[Left]]:
        """Remove all there is under a run's name; return what was removed, and what could not be."""
        before = find(self.aws, name)
        if not before:
            return [], []
        reasons = self._destroy(name, before)
        reasons |= DeployedReceiver(self.aws, name, self.listener).remove()
        for one in find(self.aws, name):
            if one.type in _BY_HAND and one.name != Names(name).operations_log:
                reasons |= self._by_hand(one)
        stays = self._after_a_while(name)
        removed = [one for one in before if one not in stays]
        return removed, [self._left(one, reasons.get(one, "AWS still shows it")) for one in stays]

    def _destroy(self, name: str, resources: Iterable[Resource]) -> dict[Resource, str]:
        """Run `destroy`; return why what is there of the pipeline may stay, if it failed."""
        own = [
            one
            for one in resources
            if one.type not in {"parameter", "policy"} and "-receiver" not in one.name
        ]
        if not own:
            return {}
        with tempfile.TemporaryDirectory(prefix="fifo-prove-") as folder:
            commands = Commands(Path(folder), self.where, self.environment)
            commands.share(self.shared_folder)
            commands.configure(Layout(name, "http://127.0.0.1:9", {}))
            # In our process group: whoever does not want to wait interrupts this, too.
            child = commands.start("destroy", "--yes", own_group=False)
            try:
                child.end().expect(0)
            except CheckFailed as error:
                self.listener(Noted(error.message))
                return dict.fromkeys(own, error.message)
        return {}

    def _by_hand(self, one: Resource) -> dict[Resource, str]:
        try:
            _BY_HAND[one.type](self.aws, one.name)
        except FifoError as error:
            return {one: error.message}
        return {}

    def _after_a_while(self, name: str) -> list[Resource]:
        waited = 0.0
        while (found := find(self.aws, name)) and waited < self.gone_seconds:
            self.sleep(5.0)
            waited += 5.0
        return found

    def _left(self, one: Resource, reason: str) -> Left:
        shown = one.name.rpartition(" ")[2]
        if one.type == "policy":
            shown = self.aws.place.policy(one.name)
        if one.type == "queue":
            shown = f"{self.aws.client('sqs').meta.endpoint_url}/{self.aws.place.account}/{one.name}"
        commands = (aws_command_line(line, shown).strip("`") for line in _COMMANDS[one.type])
        return Left(one.type, one.name, reason, " && ".join(commands))
