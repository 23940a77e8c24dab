"""A whole pipeline in memory, for audits: the real enqueuer and worker code between fakes, and what was true.

The API is the witness of truth: what it accepted, when. The audit sees only what it would see in AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from fifo_cli.aws.logs import LogEvent
from fifo_cli.handlers.api_keys import Keys
from fifo_cli.handlers.delivery import ApiDelivery
from fifo_cli.handlers.enqueuer import Enqueuer
from fifo_cli.handlers.json_log import Journal, line
from fifo_cli.handlers.worker_run import Limits, Run
from fifo_cli.model.message import Message, from_sqs
from fifo_cli.model.names import FunctionRole, QueueRole
from fifo_cli.model.queue_counts import Counted
from fifo_cli.model.worker_log import PausedGroup
from fifo_cli.operations.monitor.logs import LogLine, parse_line
from fifo_cli.operations.queues.browse import BrowseResult
from fifo_cli.operations.stream.audit_store import Logger
from fifo_cli.operations.stream.evidence import Evidence, Feed, GivenUp, LogEntry, OpenRun, Purge
from fifo_cli.operations.stream.message_rules import KnownRules
from fifo_cli.operations.stream.reader import StreamPage, Window
from fifo_cli.operations.stream.shards import record_of
from tests.fakes import Clock, FakeSqs
from tests.unit.handlers.test_records import rules
from tests.unit.plain_api import API, URLS, no_breaker

START = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
SHARD = "s/shard-1"
RIGHT = {"group": "g", "where": "n != `0`"}


@dataclass
class World(Evidence):
    """The pipeline: ``position`` is how far the mapping has read, ``accepted`` what the API took when."""

    clock: Clock = field(default_factory=lambda: Clock(START.timestamp()))
    stream: list[Mapping[str, Any]] = field(default_factory=list)
    position: int = 0
    paused: bool = False
    stopped: datetime | None = None
    unmapped: bool = False
    failing: str = ""
    given_up: list[GivenUp] = field(default_factory=list)
    accepted: list[tuple[str, float]] = field(default_factory=list)
    lines: list[LogEntry] = field(default_factory=list)
    logs: dict[FunctionRole, datetime | None] = field(
        default_factory=lambda: {"enqueuer": START, "worker": START}
    )
    trimmed: int = 0
    begins: datetime | None = None
    open: list[OpenRun] = field(default_factory=list)
    killed: list[OpenRun] = field(default_factory=list)
    emptied: list[Purge] = field(default_factory=list)
    history_failure: str = ""
    history_begins: datetime | None = START
    shown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sqs: Any = FakeSqs(self.clock, "main", "dlq", "hold")
        self.seen: dict[str, set[str]] = {"main": set(), "dlq": set(), "hold": set()}

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    @property
    def rules(self) -> KnownRules:
        return KnownRules(rules(**RIGHT))

    # What happens

    def write(self, item: int, group: str, number: int, event: str = "INSERT") -> str:
        """Write an item; its record is the stream's last."""
        event_id = f"e{len(self.stream)}"
        image = {"id": {"S": f"i{item}"}, "g": {"S": group}, "n": {"N": str(number)}}
        data = {
            "Keys": {"id": image["id"]},
            "SequenceNumber": f"{100 + len(self.stream)}",
            "ApproximateCreationDateTime": int(self.clock()),
            "OldImage" if event == "REMOVE" else "NewImage": image,
        }
        self.stream.append({"eventID": event_id, "eventName": event, "dynamodb": data})
        self.clock.sleep(0.4)
        return event_id

    def enqueue(self, *, wrong: bool = False) -> None:
        """Let the mapping hand the function what is new; ``wrong``: a version deployed by mistake."""
        if self.paused:
            return
        options = {**RIGHT, "where": "n == `0`"} if wrong else RIGHT
        batch = [one for one in self.stream[self.position :] if one["eventName"] == "INSERT"]
        Enqueuer(rules(**options), self.sqs, URLS, self._journal("enqueuer")).enqueue(batch)
        self.position = len(self.stream)
        self.clock.sleep(1)

    def give_up(self) -> None:
        """Let the function fail on what is new, for good."""
        batch = self.stream[self.position :]
        if batch and not self.paused:
            first, last = (int(batch[n]["dynamodb"]["SequenceNumber"]) for n in (0, -1))
            self.given_up.append(GivenUp(SHARD, first, last))
            self.position = len(self.stream)

    def replay(self, first: int, last: int) -> None:
        """Send records again, by the enqueuer's code, from an operator's process."""
        batch = [one for one in self.stream[first:last] if one["eventName"] == "INSERT"]
        Enqueuer(self.rules.rules, self.sqs, URLS, self._journal("replay")).enqueue(batch)
        self.clock.sleep(1)

    def work(self, count: int, status: Callable[[str], int], *, retry_after: str = "") -> None:
        """Let the worker run; the API answers as ``status`` says of an event id."""

        def answer(request: httpx.Request) -> httpx.Response:
            event_id = request.headers["Idempotency-Key"]
            self.clock.sleep(0.01)
            code = status(event_id)
            if code < 300:
                self.accepted.append((event_id, self.clock()))
            return httpx.Response(code, headers={"Retry-After": retry_after} if retry_after else {})

        delivery = ApiDelivery((API,), Keys(None, {}), transport=httpx.MockTransport(answer))
        Run(
            self.sqs,
            URLS,
            delivery,
            Limits(count=count, needs=1),
            journal=self._journal("worker"),
            breaker=no_breaker(),
            clock=self.clock,
            sleep=self.clock.sleep,
        ).perform()
        self.clock.sleep(1)

    def redrive(self) -> None:
        """Put what is parked at the end of main, under a deduplication id of the move's own."""
        for stored in self.sqs.queues["dlq"].messages:
            self.sqs.send_message(
                QueueUrl="main",
                MessageBody=stored.body,
                MessageGroupId=stored.group,
                MessageDeduplicationId=f"redrive-{stored.message_id}",
                MessageAttributes=stored.attributes,
            )
        self.sqs.queues["dlq"].clear()

    def park(self, count: int) -> None:
        """Move the first messages to the DLQ by hand; nothing is logged."""
        for stored in self.sqs.queues["main"].messages[:count]:
            self.sqs.send_message(
                QueueUrl="dlq",
                MessageBody=stored.body,
                MessageGroupId=stored.group,
                MessageDeduplicationId=f"park-{stored.message_id}",
                MessageAttributes=stored.attributes,
            )
            self.sqs.queues["main"].remove(stored)

    def take_away(self, queue: str, word: str = "dumped") -> None:
        """Take all of a queue away by a command, which notes it in the history before."""
        for stored in self.sqs.queues[queue].messages:
            ids = ("event_id", "item_key")
            facts = {name: stored.attributes[name]["StringValue"] for name in ids} | {"reason": "by alice"}
            self.lines.append(
                LogEntry("operator", LogLine(self.now, "worker", "info", word, facts), "history")
            )
        self.purge(queue)
        self.clock.sleep(1)

    def purge(self, queue: str) -> None:
        self.sqs.queues[queue].clear()

    # What an audit sees

    def stream_pages(self, since: datetime, until: datetime) -> Iterator[StreamPage]:
        window = Window(since=since, until=until)
        records = [record_of(SHARD, raw) for raw in self.stream[self.trimmed :]]
        found = tuple(record for record in records if record in window)
        yield StreamPage(SHARD, found, gap=self.trimmed > 0)

    def tips(self) -> Mapping[str, str | None]:
        return {SHARD: None}

    def expired_before(self, since: datetime, now: datetime) -> datetime | None:
        return None

    def stream_begins(self) -> datetime | None:
        return self.begins

    def related(self, one: str, other: str) -> bool:
        return one == other

    def log(self, since: datetime, text: str = "") -> Iterator[LogEntry]:
        lines = sorted(
            self.lines, key=lambda fact: ("enqueuer", "replay", "worker", "operator").index(fact.logger)
        )
        return (fact for fact in lines if fact.line.time >= since and "event_id" in fact.line.facts)

    def logs_since(self, now: datetime) -> Mapping[FunctionRole, datetime | None]:
        return self.logs

    def history_since(self, now: datetime) -> datetime | None:
        return self.history_begins

    def open_runs(self, since: datetime) -> tuple[OpenRun, ...]:
        return tuple(self.open)

    def killed_runs(self, since: datetime) -> tuple[OpenRun, ...]:
        return tuple(self.killed)

    def paused_groups(self, now: datetime) -> tuple[PausedGroup, ...]:
        return ()

    def look(self, role: QueueRole, take: Callable[[Message], bool | None]) -> BrowseResult:
        """Receive until nothing comes, as SQS has it: a group's messages behind hidden ones stay unseen."""
        handles = []
        self.shown -= {one.message_id for one in self.sqs.queues[role].messages}
        held = sum(one.visible_at > self.clock() for one in self.sqs.queues[role].messages)
        while messages := self.sqs.receive_message(
            QueueUrl=role, MaxNumberOfMessages=10, VisibilityTimeout=30
        ).get("Messages"):
            for raw in messages:
                handles.append(raw["ReceiptHandle"])
                message = from_sqs(raw, role).message
                self.shown.add(message.message_id)
                self.seen[role].add(message.text("event_id") or "")
                take(message)
        total = len(self.sqs.queues[role].messages)
        self.sqs.change_message_visibility_batch(
            QueueUrl=role,
            Entries=[{"Id": handle, "ReceiptHandle": handle, "VisibilityTimeout": 0} for handle in handles],
        )
        return BrowseResult(role, len(handles), Counted("orders.fifo", total, 0, 0), held=held)

    def purges(self, since: datetime) -> tuple[Purge, ...]:
        return tuple(self.emptied)

    def feed(self) -> Feed:
        given_up = tuple(self.given_up)
        if not self.paused:
            return Feed(given_up=given_up, failing=self.failing)
        if self.unmapped:
            return Feed(running=False, reason="there is no event source mapping", given_up=given_up)
        reason = "the enqueuer is paused"
        return Feed(running=False, reason=reason, given_up=given_up, paused=True, stopped=self.stopped)

    @property
    def log_lag(self) -> float:
        return 0.0

    def forget_log(self, role: FunctionRole) -> None:
        """Delete a function's log; it begins again in the next second."""
        self.lines = [fact for fact in self.lines if (fact.logger == "worker") != (role == "worker")]
        self.clock.sleep(1)
        self.logs[role] = self.now

    # What is true

    def behind_ten(self) -> dict[str, str]:
        """Tell what was sent to main behind ten of its group that the last look showed: message and event.

        A copy that was redriven is not among them: no log shows its number.
        """
        logged = {int(str(fact.line.facts.get("sequence_number") or 0)) for fact in self.lines}
        line = self.sqs.queues["main"].messages
        found = {}
        for place, stored in enumerate(line):
            ahead = [
                one for one in line[:place] if one.group == stored.group and one.message_id in self.shown
            ]
            if len(ahead) >= 10 and stored.sequence in logged:
                found[stored.message_id] = stored.attributes["event_id"]["StringValue"]
        return found

    def room(self) -> dict[str, int]:
        """Count what is in each queue and was neither shown by the last looks nor is known to be there."""
        known = self.shown | set(self.behind_ten())
        return {
            name: sum(one.message_id not in known for one in self.sqs.queues[name].messages)
            for name in ("main", "dlq")
        }

    def sent_to(self) -> dict[str, str]:
        """Tell to which queue each record's message was sent last, by the lines."""
        sent = [
            fact
            for fact in self.lines
            if "event_id" in fact.line.facts
            and (fact.logger == "worker" or fact.line.message in ("enqueued", "parked"))
        ]
        return {
            fact.line.facts["event_id"]: "dlq" if fact.line.message == "parked" else "main"
            for fact in sorted(sent, key=lambda fact: fact.line.time)
        }

    def in_queue(self, queue: str) -> set[str]:
        return {one.attributes["event_id"]["StringValue"] for one in self.sqs.queues[queue].messages}

    def _journal(self, logger: Logger) -> Journal:
        role: FunctionRole = "worker" if logger == "worker" else "enqueuer"

        def journal(level: Any, message: str, **facts: Any) -> None:
            text = line(level, message, at=self.now, **facts)
            event = LogEvent(str(len(self.lines)), int(self.clock() * 1000), text)
            self.lines.append(LogEntry(logger, parse_line(role, event), "log"))

        return journal
