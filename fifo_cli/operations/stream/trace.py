"""trace: one item's way as a timeline, each step with its time and its evidence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from fifo_cli.aws.dynamodb import ITEMS_OF_KEY_MAX, keys_in_table, typed
from fifo_cli.errors import ExitCode
from fifo_cli.events import Listener, Progressed, silent
from fifo_cli.handlers import exact_json
from fifo_cli.handlers.records import Outgoing, item_key, plain
from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.message import Message
from fifo_cli.model.names import QueueRole
from fifo_cli.model.results import INTERNAL, Document, Fields, Result, to_json_value
from fifo_cli.model.times import from_iso, iso
from fifo_cli.operations.queues.browse import ROLES, BrowseResult
from fifo_cli.operations.queues.order_labels import unlabel
from fifo_cli.operations.stream.evidence import (
    Evidence,
    LogEntry,
    read_stream,
    refuse_undeployed,
)
from fifo_cli.operations.stream.item_keys import Keys, key_of, parse_key, read_key, shown_key
from fifo_cli.operations.stream.message_rules import KnownRules, going_without, known_rules
from fifo_cli.operations.stream.reader import StreamPage
from fifo_cli.operations.stream.record_state import (
    FoundMessage,
    Hidden,
    Judge,
    RecordHistory,
    Stage,
    worst,
)
from fifo_cli.operations.stream.shards import StreamRecord

if TYPE_CHECKING:
    from fifo_cli.aws.session import Aws
    from fifo_cli.model.settings import Project, Settings, Table

# Which later records of its shard are asked for in the log, to know whether the enqueuer has passed a record.
_LATER_MAX: Final = 50
_PHRASE: Final = re.compile(r"[A-Za-z0-9_.:/@ -]+")
_FACTS: Final = ("group", "message_id", "status", "elapsed_ms", "reason", "paused_until")
_NEEDS_LOOK: Final = frozenset({"lost", "stuck", "parked", "moved", "unclear", "unknown"})


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an item's way; ``evidence`` is where it is written."""

    time: datetime
    step: str
    evidence: str
    event_id: str | None = None
    facts: Document = field(default_factory=dict)

    def document(self) -> Document:
        return {
            "time": iso(self.time),
            "step": self.step,
            "event_id": self.event_id,
            **to_json_value(self.facts),
            "evidence": self.evidence,
        }


@dataclass(frozen=True)
class Event:
    """One record of the item, and where it is now."""

    record: RecordHistory
    stage: Stage
    detail: str

    def document(self) -> Document:
        record = self.record
        return {
            "event_id": record.event_id,
            "event_name": record.event or None,
            "key": shown_key(read_key(record.key)),
            "stream_sequence": record.stream_sequence or None,
            "created_at": iso(record.created) if record.created else None,
            "group": record.group or None,
            "stage": self.stage,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class TracedItem(Fields):
    """One of the items that a key means: several, if it is a partition key of a table with a sort key.

    ``stage`` is that of its record that needs a look most, or "table" if no record of it is known.
    """

    key: Any
    stage: str
    in_table: bool
    exact: str = field(metadata=INTERNAL)  # the key's JSON, to be typed


@dataclass(frozen=True)
class TraceResult(Result):
    """Where an item is, and how it came there.

    ``stage`` is that of the record that needs a look most, or "table", "deleted" or "unknown" if no record of
    the window says more. ``next`` is what to do, if the stage does not say enough.
    """

    key: Document
    stage: str
    detail: str
    events: tuple[Event, ...]
    history: tuple[Step, ...]
    notes: tuple[str, ...]
    items: tuple[TracedItem, ...] = ()
    next: str = ""
    is_whole_key: bool = field(default=True, metadata=INTERNAL)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.ATTENTION if self.stage in _NEEDS_LOOK else ExitCode.OK


def trace_key(text: str, keys: Keys) -> dict[str, Any]:
    """Read KEY: the table key as JSON, or the plain partition key, which may mean several items.

    Raises UsageError, saying what the table's key is.
    """
    value = read_key(text)
    given = set(value) if isinstance(value, dict) else {keys[0][0]}
    return parse_key(text, keys[:1] if given == {keys[0][0]} else keys)


def trace(
    aws: Aws,
    project: Project,
    key: Mapping[str, Any],
    *,
    since: datetime,
    now: datetime,
    settle: timedelta = timedelta(),
    code_folders: Callable[[], Iterable[str]] = tuple,
    listener: Listener = silent,
) -> TraceResult:
    """Follow the items with a key through table, stream, logs and queues, from ``since`` to ``now``.

    Log lines younger than ``settle`` may not be readable yet: without one, nothing is called lost.
    The user's own code is imported from ``code_folders``; if that fails, or it does not return, the trace
    goes without it and says so. Raises NotDeployedError or AwsError if table, stream or logs cannot be read.
    """
    items = _items(aws, project.settings.table, key)
    refuse_undeployed(aws, project.settings.names, now=now)
    evidence = Evidence(aws, project)
    return _Trace(
        evidence,
        project.settings,
        dict(key),
        items,
        known_rules(aws, project.settings, code_folders),
        since,
        now,
        settle,
        listener,
    ).result()


def _items(aws: Aws, table: Table, key: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the keys of the items with a key that are in the table, a hundred at most."""
    keys = tuple(pair for pair in table.keys if pair[0] in key)
    values = {name: Decimal(str(key[name])) if kind == "N" else key[name] for name, kind in keys}
    found = keys_in_table(aws, table.name, typed(values, keys), [name for name, _ in table.keys])
    return [{name: plain(value) for name, value in one.items()} for one in found]


@dataclass
class _Trace:
    """One trace. As in an audit, the evidence is taken in the direction in which messages go."""

    evidence: Evidence
    settings: Settings
    key: dict[str, Any]
    items: list[dict[str, Any]]
    rules: KnownRules
    since: datetime
    now: datetime
    settle: timedelta = timedelta()
    listener: Listener = silent
    records: dict[str, RecordHistory] = field(default_factory=dict)
    # Some records behind each of ours in its shard, by their event ids: shard and sequence number.
    later: dict[str, tuple[str, int]] = field(default_factory=dict)
    wanted_later: dict[str, int] = field(default_factory=dict)
    expired: datetime | None = None
    looks: tuple[BrowseResult, ...] = ()

    def result(self) -> TraceResult:
        self.expired = read_stream(
            self.evidence, since=self.since, now=self.now, take=self._take_page, listener=self.listener
        )
        self._read_logs()
        if any(self._is_open(record) for record in self.records.values()) or not self.records:
            self._look()
            self._read_logs()  # what was delivered while we looked
        judge = self._judge()
        records = sorted(
            self.records.values(), key=lambda record: (record.created or self.since, record.sequence)
        )
        events = tuple(Event(record, *judge(record)) for record in records)
        stage, detail = self._verdict(events)
        history = sorted(
            [step for event in events for step in self._steps(event.record)], key=lambda step: step.time
        )
        history.append(self._table_step())
        return TraceResult(
            shown_key(self.key),
            stage,
            detail,
            events,
            tuple(history),
            tuple(self._notes()),
            tuple(self._traced_items(events)),
            self._next(stage, events),
            is_whole_key=len(self.key) == len(self.settings.table.keys),
        )

    def _traced_items(self, events: tuple[Event, ...]) -> Iterator[TracedItem]:
        """Yield the items in the order of the table, and then those that only records are known of."""
        stages: dict[str, list[Stage]] = {self._exact(key): [] for key in self.items}
        there = set(stages)
        for event in events:
            if isinstance(key := read_key(event.record.key), dict):
                stages.setdefault(self._exact(key), []).append(event.stage)
        for text, found in stages.items():
            wanted = worst([stage for stage in found if stage != "filtered"])
            stage = wanted or ("filtered" if found else "table")
            yield TracedItem(shown_key(read_key(text)), stage, text in there, text)

    def _exact(self, key: Mapping[str, Any]) -> str:
        """Return the JSON of a whole table key, the partition key first."""
        names = [name for name, _ in self.settings.table.keys if name in key]
        return exact_json.dumps({name: key[name] for name in names})

    def _take_page(self, page: StreamPage) -> None:
        for record in page.records:
            self._take_record(page.shard, record)

    def _take_record(self, shard: str, record: StreamRecord) -> None:
        # A shard is taken in order: a log line of a later record proves that this one was passed.
        if self.wanted_later.get(shard):
            self.wanted_later[shard] -= 1
            self.later[record.event_id] = shard, record.sequence
        if not self._is_ours(key_of(record.raw)):
            return
        message = self.rules.made_of(record.raw)
        self.records[record.event_id] = RecordHistory(
            record.event_id,
            str(record.raw["eventName"]),
            record.stream_sequence,
            item_key(record.raw),
            shard,
            record.created,
            unwanted="" if isinstance(message, Outgoing) else message.reason,
            group=message.group if isinstance(message, Outgoing) else "",
        )
        if isinstance(message, Outgoing):
            self.wanted_later[shard] = _LATER_MAX

    def _read_logs(self) -> None:
        """Take in the lines about the item; what is known already is left as it is."""
        for entry in self.evidence.log(self.since, text=_fragment(self.key)):
            event_id, key = entry.line.text("event_id"), entry.line.text("item_key")
            if event_id is not None and key is not None and self._is_ours(read_key(key)):
                self._take_line(event_id, key, entry)

    def _take_line(self, event_id: str, key: str, entry: LogEntry) -> None:
        line = entry.line
        record = self.records.get(event_id)
        if record is None:
            record = self.records[event_id] = RecordHistory(event_id, key=key)
            # A record that no message was made of, and that the stream no longer has.
            record.unwanted = str(line.facts.get("reason", "")) if line.message == "skipped" else ""
        record.stream_sequence = record.stream_sequence or str(line.facts.get("stream_sequence") or "")
        record.group = record.group or str(line.facts.get("group") or "")
        if entry not in record.log:
            record.log.append(entry)

    def _is_ours(self, key: Any) -> bool:
        return isinstance(key, dict) and all(
            name in key and key[name] == value for name, value in self.key.items()
        )

    def _is_open(self, record: RecordHistory) -> bool:
        return bool(record.sent or not record.unwanted) and record.last("delivered", logger="worker") is None

    def _look(self) -> None:
        """Look through the queues until every record that may be in one is found; for others, through all."""
        known = bool(self.records)
        for role in ROLES:
            self.looks = (*self.looks, self._look_through(role, known=known))
            if known and self._all_found():
                return

    def _all_found(self) -> bool:
        return all(record.found for record in self.records.values() if self._is_open(record))

    def _look_through(self, role: QueueRole, *, known: bool) -> BrowseResult:
        places: Counter[str] = Counter()

        def take(message: Message) -> bool:
            group = unlabel(message)[1] if role == "hold" else message.group
            places[group] += 1
            event_id, key = message.text("event_id"), message.text("item_key")
            if event_id is None or key is None or not self._is_ours(read_key(key)):
                return False
            record = self.records.setdefault(event_id, RecordHistory(event_id, key=key, group=group))
            record.event = record.event or message.text("event_name") or ""
            record.stream_sequence = record.stream_sequence or message.text("stream_sequence") or ""
            record.found.append(FoundMessage(message, group, places[group]))
            return known and self._all_found()

        self.listener(Progressed(f"looking through {role}"))
        return self.evidence.look(role, take)

    def _judge(self) -> Judge:
        """Ask for what the stages of open records depend on; nothing, if there are none."""
        pending = [record for record in self.records.values() if self._is_open(record) and not record.found]
        if not pending:
            return Judge()
        settled = self.now - self.settle if self.settle else None
        handled, settled_handled = self._handled(pending, settled)
        looks = list(zip(ROLES, self.looks, strict=False))
        return Judge(
            feed=self.evidence.feed(),
            logs=self.evidence.logs_since(self.now),
            history_since=self.evidence.history_since(self.now),
            history_failure=self.evidence.history_failure,
            open_runs=self.evidence.open_runs(self.since),
            hidden=Hidden(
                _hidden(look for role, look in looks if role != "dlq"),
                _hidden(look for role, look in looks if role == "dlq"),
            ),
            related=self.evidence.related,
            handled=handled,
            settled_handled=settled_handled,
            settled=settled,
            without_code=bool(self.rules.without_code),
            purges=self.evidence.purges(self.since),
            now=self.now,
            paused=self.evidence.paused_groups(self.now),
        )

    def _handled(
        self, pending: list[RecordHistory], settled: datetime | None
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Return how far the enqueuer came in the shards of records; the second, by its settled lines."""
        unsent = {
            record.shard: record.sequence for record in pending if record.created and record.sent is None
        }
        handled: dict[str, int] = {}
        by_settled: dict[str, int] = {}
        since = min((record.created for record in pending if record.created), default=self.now)
        for entry in self.evidence.log(since) if unsent and self.later else ():
            if entry.logger == "worker" or all(by_settled.get(one, -1) > unsent[one] for one in unsent):
                break
            shard, sequence = self.later.get(str(entry.line.facts.get("event_id")), ("", 0))
            if shard and entry.logger == "enqueuer" and entry.line.message != "not enqueued":
                handled[shard] = max(sequence, handled.get(shard, 0))
                if settled is None or entry.line.time <= settled:
                    by_settled[shard] = handled[shard]
        return handled, by_settled

    def _verdict(self, events: tuple[Event, ...]) -> tuple[str, str]:
        stage = worst([event.stage for event in events if event.stage != "filtered"])
        if stage is not None:
            last = [event for event in events if event.stage == stage][-1]
            return stage, last.detail
        if events and self.items:
            return "filtered", events[-1].detail
        if self.items:
            return "table", f"in the table; no record of it since {iso(self.since)} in the stream or a log"
        if events:
            return "deleted", f"no longer in the table; its record {events[0].detail}"
        return "unknown", f"not in the table, and nothing about it since {iso(self.since)}"

    def _next(self, stage: str, events: tuple[Event, ...]) -> str:
        its_stage = "filtered" if stage == "deleted" else stage
        last = next((event.record for event in reversed(events) if event.stage == its_stage), None)
        if last is None:
            return next_step(stage, self._exact(self.key))
        group = shown_group(last.group) if last.group else None
        return next_step(stage, last.key or self._exact(self.key), last.unwanted, group)

    def _steps(self, record: RecordHistory) -> Iterator[Step]:
        if record.created is not None:
            facts: Document = {"event_name": record.event, "stream_sequence": record.stream_sequence}
            if record.unwanted:
                facts["filtered"] = record.unwanted
            yield Step(record.created, "written", f"stream {record.shard}", record.event_id, facts)
        attempt = 0
        for entry in sorted(record.log, key=lambda one: one.line.time):
            line = entry.line
            facts = {name: line.facts[name] for name in _FACTS if line.facts.get(name) is not None}
            if entry.logger == "worker" and line.is_attempt:
                # Counted here: SQS counts receives, and a look is one.
                attempt += 1
                facts = {"attempt": attempt, **facts}
            yield Step(line.time, f"{line.message} ({entry.logger})", entry.evidence, record.event_id, facts)
        for found in record.found:
            yield self._seen(record, found)

    def _seen(self, record: RecordHistory, found: FoundMessage) -> Step:
        message = found.message
        facts: Document = {
            "queue": message.queue,
            "group": found.group,
            "place": found.place,
            "message_id": message.message_id,
            "sent_at": message.sent_at,
            "receives": message.receives,
        }
        for name in ("park_reason", "park_status", "park_at", "park_from"):
            if (value := message.text(name)) is not None:
                facts[name] = _instant(value) if name == "park_at" else value
        word = {"main": "in line", "hold": "in hold", "dlq": "parked"}[message.queue]
        queue = self.settings.names.queue(message.queue)
        return Step(self.now, f"{word} now", queue, record.event_id, facts)

    def _table_step(self) -> Step:
        facts: Document = {"items": len(self.items)} if len(self.items) != 1 else {}
        word = "in the table now" if self.items else "not in the table now"
        return Step(self.now, word, f"table {self.settings.table.name}", None, facts)

    def _notes(self) -> Iterator[str]:
        if len(self.items) == ITEMS_OF_KEY_MAX:
            yield f"the table may have more items with this key: {ITEMS_OF_KEY_MAX} are read"
        if self.rules.without_code:
            yield going_without(self.rules.without_code)
        if self.evidence.history_failure:
            failure = self.evidence.history_failure
            yield f"the history could not be read, so a move by hand is not seen: {failure}"
        if self.expired is not None:
            yield (
                f"the stream has expired up to {iso(self.expired)}: of what was written before, only what"
                " was logged is known"
            )
        if not self.records and self.evidence.tips():
            yield ("a shard is still open: the newest records may not be in this trace; run it again later")
        for look in self.looks:
            if look.failure:
                yield f"{look.queue} could not be looked through: {look.failure}"


def next_step(stage: str, key: str, unwanted: str = "", group: str | None = None) -> str:
    """Return what to do for an item in that stage; ``unwanted`` is why it becomes no message."""
    left_out = _if_wanted(unwanted, key) if unwanted else ""
    in_group = ("--group", group) if group else ()
    peek, redrive = command_line("peek --queue dlq", *in_group), command_line("redrive", *in_group)
    steps = {
        "filtered": left_out,
        "deleted": left_out,
        "lost": f"{command_line('replay --missing')} sends it",
        "parked": f"{peek} shows it; once that is fixed, {redrive}",
        "stuck": f"{command_line('status')} says what to do first",
        "moved": f"{command_line('history')} shows who took it away",
        "unknown": f"check the key; {command_line('trace --since 7d', key)} looks further back in the logs",
    }
    return steps.get(stage, "")


def _if_wanted(unwanted: str, key: str) -> str:
    """Say how a record that is left out becomes a message all the same."""
    if unwanted.startswith("it was written before"):
        return f"if it should be sent: {command_line('replay --key', key)}"
    what = "your code" if unwanted.endswith("returned None") else "fifo.toml"
    for setting in ("where", "events"):
        if f"message.{setting}" in unwanted:
            what = f"[message] {setting} in fifo.toml"
    return (
        f"if it should be sent: correct {what}, then {command_line('deploy')}, then"
        f" {command_line('replay --missing')}"
    )


def _instant(text: str) -> datetime | str:
    """Read an instant as we write it; other text stays text."""
    instant = from_iso(text)
    return instant if instant and iso(instant) == text else text


def _hidden(looks: Iterable[BrowseResult]) -> str:
    return " and ".join(
        f"{look.queue} could not be looked through"
        if look.failure
        else f"{look.seen} of {look.total} messages of {look.queue} seen"
        for look in looks
        if not look.complete
    )


def _fragment(key: Mapping[str, Any]) -> str:
    """Return the longest stretch of the key's values that stands in a log line as it is, unescaped."""
    stretches = [
        stretch.strip()
        for value in key.values()
        for stretch in _PHRASE.findall(value if isinstance(value, str) else exact_json.dumps(value))
    ]
    return max(stretches, key=len, default="")
