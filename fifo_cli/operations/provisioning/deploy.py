"""deploy: make AWS match fifo.toml. Each step may be repeated, so a run that was cut off is run again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fifo_cli.aws.gateway import AlreadyExists, Patience
from fifo_cli.errors import AwsError, FifoError, Interrupted, UsageError
from fifo_cli.events import Event, Finished, Listener, Started, silent
from fifo_cli.model.names import FUNCTION_ROLES, QUEUE_ROLES, Names
from fifo_cli.model.planning import Change, DeployResult, differences, ownership_refusal
from fifo_cli.model.resources import Found, Key, Resource, alias_name
from fifo_cli.operations.provisioning.inventory import THREADS, Gateways, observe
from fifo_cli.operations.provisioning.plan import Prepared, prepare

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.planning import Plan
    from fifo_cli.model.settings import Project, Settings


def deploy(
    aws: Aws,
    project: Project,
    *,
    adopt: bool = False,
    confirm: Callable[[Plan], None] = lambda plan: None,
    dry_run: bool = False,
    listener: Listener = silent,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> DeployResult:
    """Make AWS match fifo.toml and return what was changed, and where things are.

    ``confirm`` gets the plan before anything is changed, and raises to stop; it is not asked when there is
    nothing to change. Raises UsageError, nothing touched, if a resource may not be changed; AwsError,
    saying what was done, if a change failed.
    """
    listener = _one_at_a_time(listener)
    halt = threading.Event()
    patience = Patience(listener, _sleep_unless(halt, sleep), clock)
    prepared = prepare(aws, project, adopt=adopt, patience=patience)
    found = prepared.found
    if prepared.plan.changes and not dry_run:
        confirm(prepared.plan)
        apply(prepared, project.settings.pipeline.name, adopt=adopt, listener=listener, halt=halt)
        found = observe(prepared.gates, [one.key for one in prepared.wanted])
    return DeployResult(prepared.plan, outputs(aws, project.settings, found))


def _one_at_a_time(listener: Listener) -> Listener:
    """Tell a listener of one thing after the other, though the work is done side by side."""
    lock = threading.Lock()

    def locked(event: Event) -> None:
        with lock:
            listener(event)

    return locked


def _sleep_unless(halt: threading.Event, sleep: Callable[[float], None]) -> Callable[[float], None]:
    """Let what waits for AWS in a thread end soon after an interrupt, which only the main thread sees."""

    def sleeping(seconds: float) -> None:
        if halt.is_set():
            raise Interrupted
        sleep(seconds)

    return sleeping


def levels(changes: Sequence[Change], wanted: Iterable[Resource]) -> list[list[Change]]:
    """Order changes so that what a resource needs comes before it, and deletes come last.

    What is in one level does not depend on one another.
    """
    resources = {one.key: one for one in wanted}
    depth: dict[Key, int] = {}

    def measure(key: Key) -> int:
        if key not in depth:
            depth[key] = 1 + max(
                (measure(need) for need in resources[key].needs if need in resources), default=0
            )
        return depth[key]

    last = 1 + max(map(measure, resources), default=0)
    ordered: dict[int, list[Change]] = {}
    for change in changes:
        ordered.setdefault(last if change.action == "delete" else measure(change.key), []).append(change)
    return [ordered[level] for level in sorted(ordered)]


def apply(
    prepared: Prepared, pipeline: str, *, adopt: bool, listener: Listener, halt: threading.Event
) -> None:
    """Carry out a plan; after a failure finish what is in the same level, then raise AwsError.

    ``halt`` is set on an interrupt: what only waits then gives up, any other call is finished.
    """
    _Applying(prepared, pipeline, adopt, listener, halt).run()


@dataclass(frozen=True, slots=True)
class _Applying:
    """Carries out a plan, level by level, what is in one level side by side."""

    prepared: Prepared
    pipeline: str
    adopt: bool
    listener: Listener
    halt: threading.Event

    def run(self) -> None:
        done: list[Change] = []
        wanted = {one.key: one for one in self.prepared.wanted}
        for level in levels(self.prepared.plan.changes, self.prepared.wanted):
            failures = self._level(level, wanted, done)
            if failures:
                raise _failed(failures, done, len(self.prepared.plan.changes))

    def _level(
        self, level: list[Change], wanted: Mapping[Key, Resource], done: list[Change]
    ) -> list[tuple[Change, FifoError]]:
        pool = ThreadPoolExecutor(THREADS)
        failures: list[tuple[Change, FifoError]] = []
        try:
            futures: list[tuple[Change, Future[None]]] = [
                (change, pool.submit(self._apply, change, wanted.get(change.key))) for change in level
            ]
            for change, future in futures:
                try:
                    future.result()
                    done.append(change)
                except Interrupted:
                    raise
                except FifoError as error:
                    failures.append((change, error))
        except BaseException:
            self.halt.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return failures

    def _apply(self, change: Change, wanted: Resource | None) -> None:
        gate = self.prepared.gates.by_kind[change.kind]
        self.listener(Started(change.action, change.kind, change.name))
        if wanted is None:
            gate.delete(self.prepared.found[change.key])
        elif change.action == "update":
            gate.update(wanted, self.prepared.found[change.key], change.changed)
        else:
            try:
                gate.create(wanted)
            except AlreadyExists:
                self._converge(wanted, self.prepared.gates)
        self.listener(Finished(change.action, change.kind, change.name))

    def _converge(self, wanted: Resource, gates: Gateways) -> None:
        """Bring what turned up meanwhile to what is wanted, if it is ours.

        It may be the work of this very call, whose first answer was lost, or of a deploy beside this one.
        """
        gate = gates.by_kind[wanted.kind]
        found = gate.read(wanted.name)
        if found is None:
            raise AwsError(
                f"{wanted.kind} {wanted.name} is there and not there at once",
                hint="run deploy again in a minute",
            )
        reasons = ownership_refusal(wanted, found, self.pipeline, adopt=self.adopt)
        if reasons:
            raise UsageError("; ".join(reasons))
        diff = differences(wanted, found)
        if diff:
            gate.update(wanted, found, Change("update", wanted.kind, wanted.name, diff).changed)


def _failed(failures: list[tuple[Change, FifoError]], done: list[Change], planned: int) -> AwsError:
    lines = [f"{change.action} {change.kind} {change.name}: {error.message}" for change, error in failures]
    made = f"{len(done)} of {planned} changes were made"
    if done:
        made += ": " + ", ".join(f"{change.action} {change.kind} {change.name}" for change in done)
    hints = [error.hint for _, error in failures if error.hint]
    again = "run `fifo-cli deploy` again; it continues where this one stopped"
    return AwsError("\n".join([*lines, made]), hint="; ".join([*dict.fromkeys(hints), again]))


def outputs(aws: Aws, settings: Settings, found: Mapping[Key, Found]) -> dict[str, Any]:
    """Return where the pipeline's resources are; null for what does not exist (yet)."""
    names = Names(settings.pipeline.name)

    def fact(key: Key, name: str) -> Any:
        return found[key].facts.get(name) if key in found else None

    queues = {role: fact(("queue", names.queue(role)), "url") for role in QUEUE_ROLES}
    aliases = {role: alias_name(names.function(role)) for role in FUNCTION_ROLES}
    return {
        "account": aws.place.account,
        "region": aws.place.region,
        "queues": {**queues, "stream-failures": fact(("queue", names.stream_failures), "url")},
        "functions": {role: fact(("alias", name), "arn") for role, name in aliases.items()},
        "versions": {role: fact(("alias", name), "version") for role, name in aliases.items()},
        "table": settings.table.name,
        "stream": fact(("table", settings.table.name), "stream_arn"),
        "log_groups": {role: names.log_group(role) for role in FUNCTION_ROLES},
        "schedules": [
            {"name": one.name, "expression": one.properties["expression"], "enabled": one.facts["enabled"]}
            for one in found.values()
            if one.kind in ("rule", "schedule")
        ],
    }
