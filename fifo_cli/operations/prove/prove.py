"""The life of a run's pipeline: the checks in their order, and the removal of everything at the end.

A check that another one needs and that failed makes that one "not run", not failed: a verdict is about what
was seen. After a failure the pipeline is brought back to rest, so that the next check sees only what is its
own. An interrupt ends the checks; what was made is removed all the same.
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import botocore

from fifo_cli import __version__
from fifo_cli.aws.call_counts import read_counts
from fifo_cli.errors import FifoError
from fifo_cli.events import Event, Listener, Noted, Progressed, Started, silent
from fifo_cli.invocation import command_line
from fifo_cli.model.names import QUEUE_ROLES
from fifo_cli.model.prove_result import (
    ON_THIS_MACHINE,
    OWN_FUNCTION,
    Check,
    CheckVerdict,
    Left,
    ProveResult,
    Resource,
)
from fifo_cli.model.receiver_protocol import AnswerRules
from fifo_cli.operations.prove import checks_deploy, checks_flow, checks_queues
from fifo_cli.operations.prove.check_context import CheckContext, Waits
from fifo_cli.operations.prove.cleaning import Cleaner, not_attributed, unlisted
from fifo_cli.operations.prove.cost import bound
from fifo_cli.operations.prove.deployed_receiver import RUNTIME, DeployedReceiver
from fifo_cli.operations.prove.pipeline import Commands, Layout, NotOfferedError
from fifo_cli.operations.prove.receiver import HttpReceiver, UnreachableError
from fifo_cli.operations.prove.run_folder import remove_left_folders
from fifo_cli.operations.prove.run_resources import (
    RunResources,
    new_name,
    owner_tags,
    resources_by_run,
    search,
)

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws

Body = Callable[[CheckContext], str]
_STARTED: Final = ("the API", "deploy")


@dataclass(frozen=True, slots=True)
class PlannedCheck:
    """A check of the table; ``needs`` are the names of those without whose success it says nothing."""

    name: str
    body: Body
    needs: tuple[str, ...] = _STARTED
    ends: bool = False  # it removes the pipeline
    long: bool = False  # with --long only


STEPS: Final = (
    PlannedCheck("identity", checks_deploy.identity, ()),
    PlannedCheck("policies", checks_deploy.policies, ("identity",)),
    PlannedCheck("the API", checks_deploy.api, ("identity",)),
    PlannedCheck("deploy", checks_deploy.deploy, ("identity", "the API")),
    PlannedCheck("plan and second deploy", checks_deploy.plan),
    PlannedCheck("put to queue", checks_queues.delay_to_queue),
    PlannedCheck("depth and peek", checks_queues.peek),
    PlannedCheck("dump, load, purge", checks_queues.dump_load_purge),
    PlannedCheck("poison and redrive", checks_queues.redrive),
    PlannedCheck("redrive in order", checks_queues.redrive_in_order),
    PlannedCheck("redrive by SQS", checks_queues.redrive_natively),
    PlannedCheck("second redrive refused", checks_queues.redrive_refused),
    PlannedCheck("redrive killed and run again", checks_queues.redrive_killed),
    PlannedCheck("wrong deploy, rollback, replay", checks_flow.wrong_deploy),
    PlannedCheck("delivery by schedule", checks_flow.by_schedule),
    PlannedCheck("delivery by queue", checks_flow.by_queue),
    PlannedCheck("put to API", checks_flow.delay_to_api),
    PlannedCheck("outage and recovery", checks_flow.outage),
    PlannedCheck("key rotation", checks_flow.key_rotation),
    PlannedCheck("pause and resume", checks_flow.pause),
    PlannedCheck("audit at once", checks_flow.audit),
    PlannedCheck("audit with all logs", checks_flow.audit_with_logs),
    PlannedCheck("idle hours", checks_flow.idle, long=True),
    PlannedCheck("metrics", checks_flow.metrics),
    PlannedCheck("nothing twice", checks_flow.nothing_twice),
    PlannedCheck("destroy", checks_deploy.destroy, ("deploy",), ends=True),
    PlannedCheck("deploy again at once", checks_deploy.deploy_again, ("deploy", "destroy"), ends=True),
    PlannedCheck("nothing left", checks_deploy.nothing_left, ("destroy", "deploy again at once"), ends=True),
)


@dataclass(frozen=True)
class ProveRun:
    """What a run is to do. ``where`` and ``environment`` let the commands mean the AWS that ``aws`` means."""

    aws: Aws
    waits: Waits
    where: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    folder: Path  # the run's own: its fifo.toml, what a command writes, and the count of the calls to AWS
    api: HttpReceiver | None = None
    # With --local the function is deployed and asked, but this one, on loopback, is delivered to: a call of a
    # function takes the embedded stack a tenth of a second or more, and a run delivers hundreds of items.
    stand_in: HttpReceiver | None = None
    keep: bool = False
    only: Collection[str] = ()  # the names of checks; what they need is run, too. (): all
    listener: Listener = silent
    # The removal is interrupted by nothing; what it waits for has bounds.
    uninterrupted: Callable[[], AbstractContextManager[object]] = nullcontext
    # Whether a signal has come: then what a check raises is its consequence, and no verdict.
    interrupted: Callable[[], bool] = lambda: False
    shared_folder: Path | None = None  # with --local: the folder of the embedded stack's files
    sleep: Callable[[float], None] = time.sleep
    name: str = field(default_factory=new_name)


def prove(run: ProveRun) -> ProveResult:
    """Run the checks, remove everything, and return the verdicts."""
    started = datetime.now(UTC)
    remove_left_folders()
    run.listener(Noted(f"the pipeline of this run is {run.name}"))
    context = make_context(run, started)
    steps = selected(run.only, keep=run.keep, long=run.waits.idle > 0)
    checks = Checks(steps, context, run.listener, run.interrupted)
    removed: list[Resource] = []
    left: list[Left] = []
    # It ends the checks; the command line knows the signal.
    with suppress(KeyboardInterrupt):
        checks.run_all()
    with run.uninterrupted():
        if not run.keep:
            removed, left = _remove(run)
        requests = read_counts(run.folder)
    endpoint = endpoint_of(run.aws)
    return ProveResult(
        account=run.aws.place.account,
        region=run.aws.place.region,
        pipeline=run.name,
        checks=checks.verdicts(),
        measured=context.measured,
        left=tuple(left),
        endpoint=endpoint,
        identity=run.aws.caller,
        credentials=run.aws.credentials_source,
        api=_api(run),
        started=started,
        ended=datetime.now(UTC),
        kept=run.keep,
        interrupted=run.interrupted(),
        created=tuple(context.created),
        removed=(*context.removed, *removed),
        requests=requests,
        versions=_versions(),
        cost="" if endpoint else bound(run.waits),
    )


def selected(only: Collection[str], *, keep: bool, long: bool) -> list[PlannedCheck]:
    """Return the steps of a run, with those that the chosen ones need."""
    wanted = {step.name for step in STEPS} if not only else set(only)
    for step in reversed(STEPS):
        if step.name in wanted:
            wanted |= set(step.needs)
    return [
        step for step in STEPS if step.name in wanted and (long or not step.long) and not (keep and step.ends)
    ]


class Checks:
    """Runs the steps, and keeps what came of each."""

    def __init__(
        self,
        steps: Sequence[PlannedCheck],
        context: CheckContext,
        listener: Listener,
        interrupted: Callable[[], bool],
    ) -> None:
        self._steps = steps
        self._context = context
        self._listener = listener
        self._interrupted = interrupted
        self._done: dict[str, Check] = {}
        self._api_is_gone = False

    def run_all(self) -> None:
        """Run them in their order; raises KeyboardInterrupt when a signal has come."""
        for number, step in enumerate(self._steps):
            share = number / len(self._steps)
            self._listener(Progressed(f"{number + 1} of {len(self._steps)}: {step.name}", share))
            check = self._not_run(step) or self._checked(step)
            self._done[step.name] = check
            self._listener(Noted(f"{check.verdict:16} {step.name} ({check.seconds:.0f} s): {check.detail}"))
            if check.verdict is CheckVerdict.FAILED and not step.ends:
                self._recover()

    def verdicts(self) -> tuple[Check, ...]:
        """Return a verdict for each step, those that the run did not come to included."""
        why = "the run was interrupted before it"
        return tuple(
            self._done.get(step.name) or Check(step.name, CheckVerdict.NOT_RUN, 0.0, why)
            for step in self._steps
        )

    def _not_run(self, step: PlannedCheck) -> Check | None:
        lacking = [
            name
            for name in step.needs
            if name in self._done and self._done[name].verdict in (CheckVerdict.FAILED, CheckVerdict.NOT_RUN)
        ]
        why = f"it needs {' and '.join(lacking)}" if lacking else ""
        if self._api_is_gone and "the API" in step.needs:
            why = why or "it needs the API, which does not answer any more"
        return Check(step.name, CheckVerdict.NOT_RUN, 0.0, why) if why else None

    def _checked(self, step: PlannedCheck) -> Check:
        began, started = time.monotonic(), datetime.now(UTC)
        try:
            verdict, detail = CheckVerdict.PASSED, step.body(self._context)
        except NotOfferedError as error:
            verdict, detail = CheckVerdict.NOT_OFFERED, error.message
        except FifoError as error:
            if self._interrupted():
                raise KeyboardInterrupt from error
            self._api_is_gone = self._api_is_gone or isinstance(error, UnreachableError)
            verdict = CheckVerdict.FAILED
            detail = f"{error.message}; {error.hint}" if error.hint else error.message
        except Exception as error:  # noqa: BLE001 - a defect of a check is a verdict, too: the rest goes on
            verdict, detail = CheckVerdict.FAILED, f"internal error: {type(error).__name__}: {error}"
        return Check(step.name, verdict, round(time.monotonic() - began, 1), detail, started)

    def _recover(self) -> None:
        deployed = self._done.get("deploy")
        if deployed is None or deployed.verdict is not CheckVerdict.PASSED or self._api_is_gone:
            return
        try:
            put_to_rest(self._context)
        except UnreachableError:
            self._api_is_gone = True


def put_to_rest(context: CheckContext) -> None:
    """Bring the pipeline to rest after a failed check: nothing of that one is left for the next one.

    Raises UnreachableError if the API is gone: then no check that needs rest is run.
    """
    try:
        context.answer_by(AnswerRules())
        context.deploy(where="")
        context.set_key()
    except UnreachableError:
        raise
    except FifoError:
        pass
    with suppress(FifoError):
        context.rest(force=True)
        # SQS purges a queue once a minute only.
        for queue in (role for role in QUEUE_ROLES if context.holds(role)):
            context.run("purge", "--queue", queue, "--no-backup", "--force", "--yes")


def make_context(run: ProveRun, started: datetime) -> CheckContext:
    tags = owner_tags(started, idle_seconds=run.waits.idle)
    commands = Commands(run.folder, run.where, run.environment)
    commands.share(run.shared_folder)
    layout = Layout(run.name, "http://127.0.0.1:9", tags)
    context = CheckContext(
        aws=run.aws,
        layout=layout,
        commands=commands,
        open_receiver=lambda: _receiver(run, context),
        remove=lambda: _remove(run),
        waits=run.waits,
        key=secrets.token_urlsafe(32),
        sleep=run.sleep,
        began=started,
    )
    commands.configure(layout)
    return context


def _receiver(run: ProveRun, context: CheckContext) -> HttpReceiver:
    if run.api is not None:
        return run.api
    receiver = _deployed(run, context)
    if run.stand_in is None:
        return receiver
    checks_deploy.ask(receiver)
    return run.stand_in


def _deployed(run: ProveRun, context: CheckContext) -> HttpReceiver:
    """Deploy the run's own function; what was begun when a signal came is noted as made, as it may be."""
    begun: list[Resource] = []

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            begun.append(Resource(event.kind, event.name))
        run.listener(event)

    deployed = DeployedReceiver(run.aws, run.name, listen, run.sleep)
    try:
        return deployed.deploy(context.layout.tags)
    except FifoError:
        if not run.interrupted():
            with suppress(FifoError):
                begun[:] = deployed.found()
        raise
    finally:
        context.created += begun


def _api(run: ProveRun) -> str:
    if run.api is not None:
        return run.api.url
    return OWN_FUNCTION if run.stand_in is None else ON_THIS_MACHINE


def _remove(run: ProveRun) -> tuple[list[Resource], list[Left]]:
    run.listener(Progressed("removing everything", None))
    cleaner = Cleaner(
        run.aws,
        run.where,
        run.environment,
        run.listener,
        run.waits.gone,
        run.sleep,
        run.shared_folder,
    )
    return _removed(cleaner, run.name, own=True)


def _removed(cleaner: Cleaner, name: str, *, own: bool = False) -> tuple[list[Resource], list[Left]]:
    try:
        return cleaner.remove(name, own=own)
    except FifoError as error:
        return [], [
            Left(
                "pipeline", name, f"not looked for: {error.message}", command_line("prove --clean").strip("`")
            )
        ]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The runs of which something is there, and what is named as left though no run is known for it."""

    runs: tuple[RunResources, ...]
    left: tuple[Left, ...]


def earlier(aws: Aws) -> Earlier:
    """Return what earlier runs left, or running ones have."""
    found = search(aws)
    runs = resources_by_run(found.found)
    known = {one.pipeline for one in runs}
    others = [one for one in found.found if one.run not in known]
    return Earlier(tuple(runs), (*not_attributed(aws, others), *unlisted(found)))


def remove_earlier(cleaner: Cleaner, names: Sequence[str]) -> tuple[list[Resource], list[Left]]:
    """Remove what runs left, by their names; return what was removed, and what could not be."""
    removed: list[Resource] = []
    left: list[Left] = []
    for name in names:
        cleaner.listener(Noted(f"removing what the run {name} left"))
        gone, stays = _removed(cleaner, name)
        removed, left = [*removed, *gone], [*left, *stays]
    return removed, left


def with_earlier(result: ProveResult, removed: Sequence[Resource], left: Sequence[Left]) -> ProveResult:
    """Return a run's result with what came of earlier runs; what may not be listed is named once."""
    every = dict.fromkeys((*left, *result.left))
    return replace(result, removed=(*removed, *result.removed), left=tuple(every))


def cleaned(aws: Aws, cleaner: Cleaner, names: Sequence[str], left: Sequence[Left]) -> ProveResult:
    """Remove what runs left, by their names; ``left`` is what is known to stay."""
    started = datetime.now(UTC)
    remove_left_folders()
    removed, stays = remove_earlier(cleaner, names)
    return ProveResult(
        account=aws.place.account,
        region=aws.place.region,
        pipeline=" ".join(names),
        checks=(),
        measured={},
        left=tuple(dict.fromkeys((*left, *stays))),
        endpoint=endpoint_of(aws),
        started=started,
        ended=datetime.now(UTC),
        removed=tuple(removed),
    )


def endpoint_of(aws: Aws) -> str:
    """Return where the emulator is that stands for AWS; "" for AWS itself."""
    url = str(aws.client("sqs").meta.endpoint_url)
    return "" if ".amazonaws." in url else url


def _versions() -> dict[str, str]:
    return {
        "fifo-cli": __version__,
        "python": platform.python_version(),
        "botocore": botocore.__version__,
        "runtime of the functions": RUNTIME,
        "system": f"{platform.system()} {platform.machine()}",
    }
