"""The history of a pipeline: who did what, as events of its operations log; a line of JSON each.

A command writes an event when it begins and one when it ends, and before messages leave their place one or
several with their ids. Each event says who, where and which command, so that it can be read alone: the
command may have begun before what is read, or be at work still, or have been killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final, Literal

from fifo_cli.errors import ExitCode
from fifo_cli.model.message import Message
from fifo_cli.model.results import OPTIONAL, Fields, named
from fifo_cli.model.times import from_iso, iso

Result = Literal["done", "attention", "refused", "failed", "interrupted", "unfinished"]
# Which result an exit code is; a command that has not logged its end is unfinished.
_RESULTS: Final[Mapping[int, Result]] = {
    ExitCode.OK: "done",
    ExitCode.ATTENTION: "attention",
    ExitCode.USAGE: "refused",
    ExitCode.BUSY: "refused",
    ExitCode.AWS: "failed",
    ExitCode.HUNG_UP: "interrupted",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.TERMINATED: "interrupted",
}

# What became of messages, in the words of the log.
MovedWord = Literal["parked", "dumped", "purged", "redriven", "loaded", "stayed"]
# After these a message is in no queue of the pipeline.
TAKEN_AWAY: Final[frozenset[str]] = frozenset({"dumped", "purged"})
# After these it is in a queue again, behind what was there.
PUT_BACK: Final[frozenset[str]] = frozenset({"redriven", "loaded"})
# Of messages that an event before it names: they did not leave, as the target refused them.
STAYED: Final = "stayed"
MOVED_WORDS: Final[tuple[MovedWord, ...]] = ("parked", "dumped", "purged", "redriven", "loaded", STAYED)
# What kind of event a line is; CloudWatch finds the lines by it. The first is a beginning or an end: all that
# has to be read to know only what was done. The last is about all of a queue.
OPERATION_TEXT: Final = "history-operation"
_MESSAGES_TEXT: Final = "history-messages"
EVERYTHING_TEXT: Final = "history-everything"
_BEGUN: Final = "begun"
_ENDED: Final = "ended"
# In characters; what is longer is cut off. An event has 256 KiB, and a text is in each.
TEXT_MAX: Final = 2_000
_NAME_MAX: Final = 300
# json.dumps would make an encoder for each message.
_to_json: Final = json.JSONEncoder(ensure_ascii=False).encode


def result_of(exit_code: int) -> Result:
    """Return what an exit code means."""
    return _RESULTS.get(exit_code, "failed")


def short_who(arn: str) -> str:
    """Return the name in an ARN of a user or a role's session: alice, operators/alice."""
    kind, slash, name = arn.rpartition(":")[2].partition("/")
    return name if slash else kind


def counts_of(document: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of a result's document: its own and its sums; else its lists' lengths."""
    sums = document.get("summary")
    found = {**(sums if isinstance(sums, Mapping) else {}), **document}
    numbers = {name: number for name, value in found.items() if (number := _number(value)) is not None}
    return numbers or {name: len(value) for name, value in document.items() if isinstance(value, list)}


@dataclass(frozen=True, slots=True)
class Header:
    """Which operation an event is about: ``operation`` is the command's name, ``command`` all of its line."""

    id: str
    operation: str
    command: str
    who: str
    host: str
    began: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MovedMessage:
    """What identifies a message, after it has left its place; "" for what it has not."""

    message_id: str = ""
    event_id: str = ""
    stream_sequence: str = ""
    group: str = ""
    dedup_id: str = ""
    item_key: str = ""

    @classmethod
    def of(cls, message: Message) -> MovedMessage:
        """Return the ids of a message."""
        known = [message.text(name) or "" for name in ("event_id", "stream_sequence")]
        ids = (message.message_id, *known, message.group, message.dedup_id, message.text("item_key") or "")
        return cls(*map(whole, ids))

    @property
    def facts(self) -> dict[str, str]:
        """What it has."""
        return {name: text for name in self.__slots__ if (text := getattr(self, name))}


@dataclass(frozen=True, slots=True)
class Move:
    """Messages that leave ``source`` for ``target``: queues by their roles, or files.

    ``everything``: all that was in the queue, also messages that no event names. How many is ``unseen``; None
    in what earlier versions wrote.
    """

    word: MovedWord
    source: str
    target: str = ""
    messages: tuple[MovedMessage, ...] = ()
    everything: bool = False
    unseen: int | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How an operation ended."""

    exit_code: int
    counts: Mapping[str, int] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event; with neither ``move`` nor ``end`` it is the beginning. ``stream`` is its log stream."""

    header: Header
    time: datetime
    move: Move | None = None
    end: End | None = None
    stream: str = ""


def whole(text: str, most: int = TEXT_MAX) -> str:
    """Return a text as it can be logged: no lone surrogates, and not too long."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode("utf-8")


def header_of(
    *, id: str, operation: str, command: str, who: str, host: str, began: datetime, reason: str = ""
) -> Header:
    """Return a header whose texts can be logged."""
    return Header(
        id, whole(operation), whole(command), whole(who, _NAME_MAX), whole(host, _NAME_MAX), began,
        whole(reason),
    )  # fmt: skip


def encode(event: HistoryEvent, *, bytes_max: int) -> Iterator[str]:
    """Yield the lines of an event: as many as its messages need, each of ``bytes_max`` at most."""
    header, move, end = event.header, event.move, event.end
    common = {
        **{name: value for name, value in asdict(header).items() if value},
        "began": iso(header.began),
    }
    if move is None:
        facts = {"event": OPERATION_TEXT, **({} if end is None else _facts_of(end))}
        yield _line(event.time, _BEGUN if end is None else _ENDED, {**facts, **common})
        return
    kind = EVERYTHING_TEXT if move.everything else _MESSAGES_TEXT
    about: dict[str, Any] = {"event": kind, **common, "source": move.source, "target": move.target}
    if move.unseen is not None:
        about["unseen"] = move.unseen
    line = _line(event.time, move.word, {**about, "messages": []})
    for chunk in _chunks(move.messages, bytes_max - len(line.encode())):
        yield f"{line.removesuffix(']}')}{', '.join(chunk)}]}}"


def _facts_of(end: End) -> dict[str, Any]:
    facts = {"exit_code": end.exit_code, "result": result_of(end.exit_code), "counts": dict(end.counts)}
    return {**facts, "error": whole(end.error)} if end.error else facts


def _chunks(messages: Sequence[MovedMessage], room: int) -> Iterator[list[str]]:
    """Yield the messages' JSON in portions that fit; one that fits nowhere goes with its ids alone."""
    chunk: list[str] = []
    size = 0
    for one in messages:
        facts = one.facts
        text = _to_json(facts)
        if _size(text) > room:
            ids = {name: facts[name][:_NAME_MAX] for name in ("message_id", "event_id") if name in facts}
            text = _to_json(ids)
        needs = _size(text)
        if chunk and size + needs > room:
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += needs
    yield chunk


def _size(text: str) -> int:
    return len(text.encode()) + len(", ")


def _line(time: datetime, word: str, facts: Mapping[str, Any]) -> str:
    common = {"time": iso(time), "level": "info", "message": word}
    return _to_json({**common, **facts})


def parse(text: str, *, logged: datetime, stream: str = "") -> HistoryEvent | None:
    """Read a line; None if it is none of ours, or was cut short. ``logged`` is the time of the log event."""
    facts = _object(text)
    word, id_, operation = (facts.get(name) for name in ("message", "id", "operation"))
    if not (isinstance(word, str) and isinstance(id_, str) and id_ and isinstance(operation, str)):
        return None
    command, who, host, reason = (_text(facts, name) for name in ("command", "who", "host", "reason"))
    time = from_iso(facts.get("time")) or logged
    began = from_iso(facts.get("began")) or time
    header = Header(id_, operation, command or operation, who, host, began, reason)
    if word == _BEGUN:
        return HistoryEvent(header, time, stream=stream)
    if word == _ENDED:
        return HistoryEvent(header, time, end=_end(facts), stream=stream)
    for known in MOVED_WORDS:
        if word == known:
            return HistoryEvent(header, time, move=_move(known, facts), stream=stream)
    return None


def _object(text: str) -> dict[str, Any]:
    """Return the object that a line is; an empty one if it is anything else."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        found: Any = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _end(facts: Mapping[str, Any]) -> End:
    counts = facts.get("counts")
    known = {
        name: number
        for name, value in (counts if isinstance(counts, dict) else {}).items()
        if (number := _number(value)) is not None
    }
    code = _number(facts.get("exit_code"))
    return End(3 if code is None else code, known, _text(facts, "error"))


def _move(word: MovedWord, facts: Mapping[str, Any]) -> Move:
    listed = facts.get("messages")
    messages = tuple(
        MovedMessage(**{one.name: _text(message, one.name) for one in fields(MovedMessage)})
        for message in (listed if isinstance(listed, list) else [])
        if isinstance(message, dict)
    )
    everything = facts.get("event") == EVERYTHING_TEXT
    source, target = _text(facts, "source"), _text(facts, "target")
    return Move(word, source, target, messages, everything, _number(facts.get("unseen")))


def stayed_of(events: Iterable[HistoryEvent]) -> frozenset[tuple[str, str]]:
    """Return the messages that operations noted and that stayed after all: the operation's id, and theirs."""
    return frozenset(
        (event.header.id, message.message_id)
        for event in events
        if event.move is not None and event.move.word == STAYED
        for message in event.move.messages
    )


def without_stayed(events: Iterable[HistoryEvent], stayed: Set[tuple[str, str]]) -> Iterator[HistoryEvent]:
    """Leave out the messages that stayed after all, and the events that say so."""
    for event in events:
        move = event.move
        if move is None or not stayed:
            yield event
        elif move.word != STAYED:
            left = (one for one in move.messages if (event.header.id, one.message_id) not in stayed)
            yield replace(event, move=replace(move, messages=tuple(left)))


@dataclass(frozen=True, slots=True)
class Operation(Fields):
    """What one command did: ``time`` is when it began, ``messages`` how many it noted that it moved."""

    time: datetime
    operation: str
    who: str
    host: str
    command: str
    result: Result
    reason: str | None
    ended: datetime | None
    counts: Mapping[str, int]
    messages: int
    error: str | None = field(default=None, metadata=OPTIONAL)
    id: str = field(default="", metadata=named("id"))

    @property
    def order(self) -> tuple[datetime, str, str]:
        """The sort key: by time, then by host, as two machines' clocks differ."""
        return self.time, self.host, self.id


def operations_of(events: Iterable[HistoryEvent]) -> tuple[Operation, ...]:
    """Put events together, each operation whole, in order of time."""
    headers: dict[str, Header] = {}
    ends: dict[str, HistoryEvent] = {}
    messages: dict[str, int] = {}
    for event in events:
        key = event.header.id
        headers.setdefault(key, event.header)
        if event.header.who and not headers[key].who:
            headers[key] = event.header
        if event.end is not None and (key not in ends or ends[key].time <= event.time):
            ends[key] = event
        if event.move is not None:
            messages[key] = messages.get(key, 0) + len(event.move.messages)
    made = (_operation(header, ends.get(key), messages.get(key, 0)) for key, header in headers.items())
    return tuple(sorted(made, key=lambda one: one.order))


def _operation(header: Header, last: HistoryEvent | None, messages: int) -> Operation:
    end = last.end if last is not None else None
    return Operation(
        time=header.began,
        operation=header.operation,
        who=header.who,
        host=header.host,
        command=header.command,
        result="unfinished" if end is None else result_of(end.exit_code),
        reason=header.reason or None,
        ended=last.time if last is not None else None,
        counts=dict(end.counts) if end else {},
        messages=messages,
        error=(end.error or None) if end else None,
        id=header.id,
    )
