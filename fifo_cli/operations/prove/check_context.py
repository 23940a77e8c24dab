"""What the checks of a run work with: the pipeline's commands, the API, the waits, and what was measured."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.dynamodb import put_item, typed
from fifo_cli.aws.sqs import Queue
from fifo_cli.model.names import Names, QueueRole
from fifo_cli.model.prove_result import Left, Measurement, Resource
from fifo_cli.model.receiver_protocol import AnswerRules, Received
from fifo_cli.operations.prove.deliveries import Batch, accepted_of, problems_of
from fifo_cli.operations.prove.pipeline import CheckFailed, Commands, Layout

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.operations.prove.receiver import HttpReceiver


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a run waits, in seconds."""

    arrive: float = 300  # until what was put is delivered, of the schedule too
    quiet: float = 120  # after pause --wait: nothing may start
    again: float = 60  # until the second plan
    late: float = 5  # after everything arrived: what comes twice comes then
    logs: float = 900  # until CloudWatch Logs show what the functions wrote
    metrics: float = 300  # until CloudWatch shows that the worker ran
    gone: float = 120  # until no service shows what was deleted
    # After main says that a redrive --in-order is at work; tried until one was killed before its end.
    kill_after: tuple[float, ...] = (0.5, 0.2, 0.05)
    poll: float = 1.0
    settle: str = ""  # --settle of audit, "" for its own
    idle: float = 0  # --long: how long nothing happens


LATE: Final = Waits()
# An emulator on this machine shows at once what was changed, and has no metrics to wait for.
AT_ONCE: Final = Waits(
    arrive=240,
    quiet=5,
    again=1,
    late=0.3,
    logs=30,
    metrics=0,
    gone=5,
    kill_after=(0.2, 0.05),
    poll=0.1,
    settle="0s",
)
IDLE_SECONDS: Final = 3 * 3600.0
IDLE_SECONDS_AT_ONCE: Final = 10.0
_LONGEST_POLL: Final = 5.0


@dataclass
class CheckContext:
    """One run. ``layout`` is the fifo.toml of the moment, ``key`` the API's key of the moment."""

    aws: Aws
    layout: Layout
    commands: Commands
    open_receiver: Callable[[], HttpReceiver]
    # Removes all that is there of the run; returns what was removed, and what could not be.
    remove: Callable[[], tuple[list[Resource], list[Left]]]
    waits: Waits
    key: str = field(repr=False)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    measured: dict[str, Measurement] = field(default_factory=dict)
    created: list[Resource] = field(default_factory=list)
    removed: list[Resource] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    paused: bool = False  # the worker, by this run
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _received: list[Received] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.layout.name

    @property
    def names(self) -> Names:
        return Names(self.name)

    @cached_property
    def receiver(self) -> HttpReceiver:
        """The API, made when it is first asked for."""
        receiver = self.open_receiver()
        self.layout = replace(self.layout, url=receiver.url)
        return receiver

    def run(self, *words: str, stdin: str = "", codes: Collection[int] = (0,)) -> Any:
        """Run a command, and return its JSON."""
        return self.commands.run(*words, stdin=stdin, codes=tuple(codes)).json()

    def deploy(self, **changes: Any) -> Any:
        """Write fifo.toml with changes, deploy it, and note what was made."""
        self.layout = replace(self.layout, **changes)
        self.commands.configure(self.layout)
        result = self.run("deploy", "--yes")
        self.note(result)
        return result

    def note(self, plan: Any) -> None:
        """Note what a deploy made or a destroy deleted."""
        for change in plan["changes"]:
            kept = {"create": self.created, "delete": self.removed}.get(change["action"])
            if kept is not None:
                kept.append(Resource(change["type"], change["name"]))

    def set_key(self) -> None:
        """Write the API's key of the moment into Parameter Store."""
        self.commands.run("keys", "set", "api_key", "--yes", stdin=self.key)

    def answer_by(self, rules: AnswerRules) -> None:
        """Let the API answer so from now on; it asks for the key of the moment."""
        self.receiver.set_rules(replace(rules, key=self.key))

    def rest(self, *, force: bool = False) -> None:
        """Pause the worker, unless it is; nothing is delivered by itself from now on."""
        if not self.paused or force:
            self.run("pause", "worker", "--wait")
            self.paused = True

    def flow(self, *, by_queue: bool) -> None:
        """Let the pipeline deliver by itself, by the schedule or by the queue."""
        if self.layout.by_queue != by_queue:
            self.deploy(by_queue=by_queue)
        if self.paused:
            self.run("resume", "all")
            self.paused = False

    def deliver(self, batch: Batch, *, via: str = "local") -> None:
        """Deliver main by the worker's code, here or in its function, and see that a batch arrived."""
        self.run("drain", "--all", "--via", via, "--yes")
        # The worker is paused and the drain is over: nothing comes later.
        self.arrive(batch, late=0)

    # What is put, and what arrives.

    def put(self, *batches: Batch) -> None:
        """Put the items of batches into the table, one batch after the other."""
        items = sum(len(batch.ids) for batch in batches)
        result = self.run("put", "-", stdin="".join(batch.lines() for batch in batches))
        if result["written"] != items:
            raise CheckFailed(f"put wrote {result['written']} of {items} items")

    def put_one(self, row: dict[str, Any]) -> None:
        """Put one item by a call of this process, which takes no time to start, to measure what follows."""
        put_item(self.aws, self.name, typed({**row, "number": Decimal(row["number"])}, (("id", "S"),)))

    def received(self) -> list[Received]:
        """Return all that the API has received so far in this run."""
        after = self._received[-1].n if self._received else 0
        self._received += self.receiver.received(after)
        return self._received

    def arrive(self, batch: Batch, *, late: float | None = None) -> None:
        """Wait until all of a batch was accepted, once and in order, and then for what comes ``late``."""
        self.until(
            lambda: len(accepted_of(batch, self.received())) >= len(batch.ids),
            lambda: "; ".join(problems_of(batch, self.received())),
        )
        self.sleep(self.waits.late if late is None else late)
        if wrong := problems_of(batch, self.received()):
            raise CheckFailed("; ".join(wrong))
        self.batches.append(batch)

    def until(
        self,
        holds: Callable[[], object],
        why: Callable[[], str] | str,
        seconds: float | None = None,
        *,
        poll: float | None = None,
    ) -> float:
        """Wait until something holds, and return for how long; raises CheckFailed with why it does not."""
        limit = self.waits.arrive if seconds is None else seconds
        began = self.clock()
        while not holds():
            waited = self.clock() - began
            if waited > limit:
                reason = why if isinstance(why, str) else why()
                # The reason is asked for later: by then it may be all right, and there is none.
                if holds():
                    break
                raise CheckFailed(f"{reason} (after {limit:.0f} s)")
            # What takes long is asked for less often: each question costs a call, and the API's a function.
            self.sleep(min(max(poll or self.waits.poll, waited / 20), _LONGEST_POLL))
        return self.clock() - began

    def holds(self, queue: QueueRole = "main") -> int:
        """Return how many messages SQS counts in a queue, in flight ones too; its counts may be late."""
        return Queue(self.aws, self.names, queue).counts().total

    def put_into_main(self, batch: Batch) -> None:
        """Put a batch while the worker is paused, and wait until main holds it."""
        self.rest()
        self.put(batch)
        self.enqueued(batch)

    def enqueued(self, batch: Batch) -> None:
        """Wait until main holds a batch."""
        wanted = len(batch.ids)
        found = [0]

        def holds() -> bool:
            found[0] = self.holds()
            return found[0] >= wanted

        self.until(holds, lambda: f"main holds {found[0]} messages, and should hold {wanted}")

    def peeked(self, queue: str = "main") -> list[Any]:
        """Return a queue's messages, as `peek` shows them."""
        messages: list[Any] = self.run("peek", "--queue", queue, "--count", "200")["messages"]
        return messages

    # What is measured.

    @contextmanager
    def timed(self, name: str, what: str) -> Iterator[None]:
        """Measure how long the block takes, unless it raises."""
        began = self.clock()
        yield
        self.measure(name, what, self.clock() - began)

    def measure(self, name: str, what: str, *values: float) -> None:
        """Add values, in seconds, to what is measured under a name."""
        old = self.measured.get(name)
        kept = (*(old.values if old else ()), *(round(one, 3) for one in values))
        self.measured[name] = Measurement(what, "s", kept)

    def path(self, name: str) -> Path:
        """Return a file's place in the run's own folder."""
        return self.commands.folder / name


def item_id(message: Any) -> str:
    """Return the id of the item in a message's body; "" if there is none."""
    try:
        body = json.loads(message["body"])
    except (KeyError, TypeError, ValueError):
        return ""
    return str(body.get("id", "")) if isinstance(body, dict) else ""


def expect(holds: object, why: str) -> None:
    """Raise CheckFailed with why, unless something holds."""
    if not holds:
        raise CheckFailed(why)
