"""Removes what a run of ``prove`` made, and names what stays: with the reason, and with the command.

Nothing is removed but what the run made (``run_resources.py``). What may not be listed is named as well: of a
kind that nobody looked for, nobody knows that nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fifo_cli.aws import account_resources
from fifo_cli.aws.resources.role import POLICY_NAME
from fifo_cli.errors import FifoError
from fifo_cli.events import Listener, Noted
from fifo_cli.invocation import aws_command_line
from fifo_cli.model.names import PIPELINE_TAG, PROVE_PREFIX, Names
from fifo_cli.model.prove_result import Left, Resource
from fifo_cli.operations.prove.deployed_receiver import DeployedReceiver
from fifo_cli.operations.prove.pipeline import CheckFailed, Commands, Layout
from fifo_cli.operations.prove.run_folder import run_folder
from fifo_cli.operations.prove.run_resources import Candidate, Search, owner_tags, search

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

# The command that lists what may not be listed, then those that delete one; what has other steps before it is
# left to the document of the service.
_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "event-source-mapping": (
        "lambda list-event-source-mappings",
        "lambda delete-event-source-mapping --uuid",
    ),
    "rule": ("events list-rules", "events delete-rule --name"),
    "schedule": ("scheduler list-schedules", "scheduler delete-schedule --name"),
    "alarm": ("cloudwatch describe-alarms", "cloudwatch delete-alarms --alarm-names"),
    "function": ("lambda list-functions", "lambda delete-function --function-name"),
    "role": (
        "iam list-roles",
        f"iam delete-role-policy --policy-name {POLICY_NAME} --role-name",
        "iam delete-role --role-name",
    ),
    "policy": ("iam list-policies --scope Local", "iam delete-policy --policy-arn"),
    "parameter": ("ssm describe-parameters", "ssm delete-parameter --name"),
    "queue": ("sqs list-queues", "sqs delete-queue --queue-url"),
    "table": ("dynamodb list-tables", "dynamodb delete-table --table-name"),
    "log-group": ("logs describe-log-groups", "logs delete-log-group --log-group-name"),
}
_UNLISTED: Final = "not looked for, so it is not known that nothing is left: "


def unlisted(found: Search) -> list[Left]:
    """Return the kinds of resource that nobody could look for, with the commands that list them."""
    return [
        Left(
            kind,
            f"{PROVE_PREFIX}*",
            _UNLISTED + reason,
            aws_command_line(_COMMANDS[kind][0]).strip("`"),
            unlisted=True,
        )
        for kind, reason in found.unlisted.items()
    ]


def not_attributed(aws: Aws, found: Iterable[Candidate]) -> list[Left]:
    """Return what may be a run's, though no tag of its run is there to prove it."""
    return [
        left(aws, one.resource, one.unread or "it has the name of a run's, and no tag that says whose it is")
        for one in found
        if one.unread or (one.has_no_owner and one.resource.type == "log-group")
    ]


def left(aws: Aws, one: Resource, reason: str) -> Left:
    """Return what could not be removed, with the commands that remove it."""
    shown = one.name.rpartition(" ")[2]
    if one.type == "policy":
        shown = aws.place.policy(one.name)
    if one.type == "queue":
        shown = f"{aws.client('sqs').meta.endpoint_url}/{aws.place.account}/{one.name}"
    commands = (aws_command_line(line, shown).strip("`") for line in _COMMANDS[one.type][1:])
    return Left(one.type, one.name, reason, " && ".join(commands))


@dataclass
class Cleaner:
    """Removes one run's resources. ``gone_seconds`` is how long it waits until AWS shows them no more."""

    aws: Aws
    where: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    listener: Listener
    gone_seconds: float
    sleep: Callable[[float], None]
    shared_folder: Path | None = None  # with --local: the folder of the embedded stack's files

    def remove(self, name: str, *, own: bool = False) -> tuple[list[Resource], list[Left]]:
        """Remove all that a run made; return what was removed, and what could not be.

        Another run than our ``own`` is proven by the tags of what is there; else nothing is touched.
        """
        before = search(self.aws, name)
        if not (own or any(one.is_the_runs for one in before.found)):
            return [], [*not_attributed(self.aws, before.found), *unlisted(before)]
        self._say_what_is_anothers(before)
        reasons = self._destroy(name, before)
        # What a destroy did that failed is looked up in the history.
        history = Names(name).operations_log if reasons else ""
        reasons |= DeployedReceiver(self.aws, name, self.listener).remove()
        for one in search(self.aws, name).found:
            if one.resource.type in account_resources.DELETABLE and one.resource.name != history:
                reasons |= self._by_hand(one)
        after = self._after_a_while(name)
        stays = {one.resource: one.unread or "AWS still shows it" for one in _not_anothers(after)}
        # What was refused, and may not be listed, is there all the same.
        unseen = after.unlisted
        stays |= {one: reason for one, reason in reasons.items() if one in stays or one.type in unseen}
        removed = [one.resource for one in _not_anothers(before) if one.resource not in stays]
        return removed, [*(left(self.aws, one, reason) for one, reason in stays.items()), *unlisted(after)]

    def _say_what_is_anothers(self, before: Search) -> None:
        for one in before.found:
            if one.is_anothers:
                what, owner = f"{one.resource.type} {one.resource.name}", one.tags[PIPELINE_TAG]
                self.listener(Noted(f"not touched: {what} belongs to the pipeline {owner!r}"))

    def _destroy(self, name: str, before: Search) -> dict[Resource, str]:
        """Run `destroy`; return why what is there of the pipeline may stay, if it failed."""
        own = [
            one.resource
            for one in before.found
            if one.resource.type not in {"parameter", "policy"} and "-receiver" not in one.resource.name
        ]
        if not own and not before.unlisted:
            return {}
        with run_folder() as folder:
            commands = Commands(folder, self.where, self.environment)
            commands.share(self.shared_folder)
            commands.configure(Layout(name, "http://127.0.0.1:9", owner_tags(datetime.now(UTC))))
            try:
                commands.run("destroy", "--yes")
            except CheckFailed as error:
                self.listener(Noted(error.message))
                return dict.fromkeys(own, error.message)
        return {}

    def _by_hand(self, one: Candidate) -> dict[Resource, str]:
        """Delete what `destroy` does not, if the run made it, or Lambda made it for the run."""
        lambdas = one.has_no_owner and one.resource.type == "log-group"
        if not one.is_the_runs and not lambdas:
            return {}
        try:
            account_resources.delete(self.aws, one.resource.type, one.resource.name)
        except FifoError as error:
            return {one.resource: error.message}
        return {}

    def _after_a_while(self, name: str) -> Search:
        waited = 0.0
        while True:
            found = search(self.aws, name)
            if waited >= self.gone_seconds or not _not_anothers(found):
                return found
            self.sleep(5.0)
            waited += 5.0


def _not_anothers(found: Search) -> list[Candidate]:
    return [one for one in found.found if not one.is_anothers]
