"""``status`` on one screen: the verdict, what to do about it, and the numbers it rests on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from fifo_cli.model.health import rough
from fifo_cli.model.results import Document
from fifo_cli.render.text import Style, count, display_width, fit, paint, printable, shorten, table

_WIDTH_MAX: Final = 110
_LABEL: Final = 12
_STYLES: Final[dict[str, Style]] = {"ok": "green", "warning": "yellow", "critical": "red", "unknown": "cyan"}
_WORDS: Final = {
    "ok": "is healthy",
    "warning": "needs a look",
    "critical": "is in trouble",
    "unknown": "cannot be judged in full",
}
_QUEUES: Final = {"main": "main", "dlq": "dlq", "hold": "hold", "stream_failures": "stream failures"}
_RUNS_SHOWN: Final = 5
_STUCK_SHOWN: Final = 3
_DIFFS_SHOWN: Final = 5


def status_screen(
    document: Document, *, width: int | None, color: bool, now: datetime, absolute: bool = False
) -> str:
    """Write the screen; times are relative, and with ``absolute`` the instants beside them."""
    screen = _Screen(document, width, color, now, absolute)
    return "".join(f"{line}\n" for line in screen.lines())


class _Screen:
    """One screen: its document, the room it has, and the moment it is looked at."""

    def __init__(
        self, document: Document, width: int | None, color: bool, now: datetime, absolute: bool
    ) -> None:
        self._document = document
        self._width = width
        self._color = color
        self._now = now
        self._absolute = absolute

    def lines(self) -> Iterator[str]:
        """Yield the lines, none wider than the terminal."""
        yield from self._verdict()
        yield ""
        yield from self._queues()
        yield ""
        yield from self._labelled("enqueuer", self._enqueuer())
        yield from self._labelled("worker", self._worker())
        yield from self._labelled("next run", self._next_runs())
        yield from self._labelled("rebuild", self._restore())
        yield from self._labelled("maintenance", self._maintenance())
        yield from self._labelled("last runs", self._last_runs())
        yield from self._labelled("waiting", self._stuck())
        yield from self._labelled("resources", self._resources())
        yield from self._labelled("keys", self._keys())
        yield from self._labelled("not seen", [f"{one['what']}: {one['reason']}" for one in self._unseen()])

    def _verdict(self) -> Iterator[str]:
        document = self._document
        verdict = document["verdict"]
        state = verdict["state"]
        where = ", ".join(filter(None, (document["account"], document["region"])))
        word = paint(state.upper(), _STYLES[state], color=self._color)
        yield f"{word}  {printable(document['pipeline'])} {_WORDS[state]}" + (f"  ({where})" if where else "")
        for problem in verdict["problems"]:
            style = _STYLES[problem["state"]]
            head = f"  {problem['state']:<9}"
            for number, line in enumerate(self._wrap(printable(problem["text"]), len(head))):
                yield (paint(head, style, color=self._color) if not number else " " * len(head)) + line
            if problem["next"]:
                yield from (f"{' ' * len(head)}{line}" for line in self._wrap(f"next: {problem['next']}", 11))

    def _queues(self) -> Iterator[str]:
        rows = [
            (
                _QUEUES[kind],
                self._short(queue["name"]),
                queue["visible"],
                queue["in_flight"],
                queue["delayed"],
                None if queue["oldest_age_seconds"] is None else _span(queue["oldest_age_seconds"]),
            )
            for kind, queue in self._document["queues"].items()
        ]
        headers = ("QUEUE", "NAME", "VISIBLE", "IN FLIGHT", "DELAYED", "OLDEST")
        yield from table(rows, headers=headers, right=(2, 3, 4, 5), width=self._width).splitlines()

    def _enqueuer(self) -> list[str]:
        enqueuer = self._document["enqueuer"]
        behind = enqueuer["iterator_age_seconds"]
        message = [_state(enqueuer), *([] if behind is None else [f"{_span(behind)} behind the stream"])]
        return [", ".join(message)]

    def _worker(self) -> list[str]:
        return [_state(self._document["worker"])]

    def _next_runs(self) -> list[str]:
        schedule = self._document["schedule"]
        if schedule["enabled"] is False:
            return ["none: the schedule is off"]
        unknown = [f"of {', '.join(schedule['unknown'])} known to AWS only"] if schedule["unknown"] else []
        if not schedule["next_runs"]:
            return unknown
        first, *more = [datetime.fromisoformat(text) for text in schedule["next_runs"]]
        about = "about " if schedule["estimated"] else ""
        message = f"{about}{_local(first, self._now)} (in {rough(first - self._now)})"
        then = ", ".join(_local(one, self._now) for one in more)
        return [
            *unknown,
            message + (f", then {then}" if then else "") + (f"  {schedule['next_runs'][0]}" * self._absolute),
        ]

    def _restore(self) -> list[str]:
        found = self._document["rebuild"]
        if found is None:
            return []
        begun = f", begun {self._ago(found['since'])}" if found["since"] else ""
        paused = f"; it paused {' and '.join(found['paused'])}" if found["paused"] else ""
        return [f"unfinished, at its step {found['phase']}{begun}{paused}"]

    def _maintenance(self) -> list[str]:
        found = self._document["maintenance"]
        if found is None:
            return []
        if found["who"] is None:
            return [found["what"]]
        left = rough(datetime.fromisoformat(found["until"]) - self._now)
        return [
            f"{found['what']} by {found['who']}, begun {self._ago(found['since'])}",
            f"its marker expires in {left} unless it is renewed" + f"  {found['until']}" * self._absolute,
        ]

    def _last_runs(self) -> list[str]:
        runs = self._document["worker"]["last_runs"]
        return [self._run(run) for run in runs[:_RUNS_SHOWN]] or ["none in the last day"]

    def _run(self, run: Mapping[str, Any]) -> str:
        when = f"{self._ago(run['time']):<13}"
        if run["error"] is not None:
            return f"{when} failed: {printable(run['error'].splitlines()[0] if run['error'] else '?')}"
        if not run["received"]:
            return f"{when} nothing to deliver"
        said = [f"{run[word]} {word}" for word in ("delivered", "parked", "failed") if run[word]]
        left = run["received"] - sum(run[word] or 0 for word in ("delivered", "parked", "failed"))
        said += [f"{left} left for the next run"] if left > 0 else []
        return f"{when} {', '.join(said)}"

    def _stuck(self) -> list[str]:
        found = self._document["worker"]["stuck"]
        lines = []
        for one in found[:_STUCK_SHOWN]:
            facts = [
                f"received {count(one['receives'], 'time')}" if one["receives"] else "",
                f"HTTP {one['http_status']}" if one["http_status"] else "",
                f"tried {self._ago(one['time'])}",
            ]
            item = f", item {printable(one['item_key'])}" if one["item_key"] else ""
            head = f"group {printable(one['group'])}: message {self._short(one['message_id'])}{item}"
            lines += [f"{head}, {', '.join(filter(None, facts))}", f"  {printable(one['error'] or '')}"]
        if len(found) > _STUCK_SHOWN:
            lines.append(f"and {count(len(found) - _STUCK_SHOWN, 'more group')}")
        return [line for line in lines if line.strip()]

    def _resources(self) -> list[str]:
        resources = self._document["resources"]
        wrong = [one for one in resources if one["state"] not in ("ok", "unknown")]
        right = sum(one["state"] == "ok" for one in resources)
        lines = [f"{right} of {count(len(resources), 'resource')} as in fifo.toml"] if resources else []
        for one in wrong:
            reason = f": {one['reason']}" if one["reason"] else ""
            lines.append(f"{one['state']}: {one['type']} {printable(one['name'])}{printable(reason)}")
            lines += [f"  {_difference(diff)}" for diff in one["diff"][:_DIFFS_SHOWN]]
        return lines

    def _keys(self) -> list[str]:
        return [
            f"{printable(key['name'])}: {printable(key['parameter'])} "
            + (f"set {self._ago(key['modified_at'])}" if key["exists"] else "is missing")
            for key in self._document["keys"] or ()
        ]

    def _unseen(self) -> list[Mapping[str, str]]:
        found: list[Mapping[str, str]] = self._document["unseen"]
        return found

    def _labelled(self, label: str, lines: list[str]) -> Iterator[str]:
        """Yield lines behind a label in the left column; nothing for none."""
        first = f"{label:<{_LABEL}}"
        for text in lines:
            indent = len(text) - len(text.lstrip())
            for line in self._wrap(printable(text.strip()), _LABEL + indent):
                yield f"{first}{' ' * indent}{line}"
                first = " " * _LABEL

    def _wrap(self, text: str, indent: int) -> list[str]:
        """Break a text into lines that fit behind ``indent`` columns; nothing is broken in a pipe."""
        if self._width is None:
            return [text]
        room = max(20, min(self._width, _WIDTH_MAX) - indent)
        lines = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
        return [line if display_width(line) <= room else fit(line, room) for line in lines]

    def _short(self, text: str) -> str:
        return printable(text) if self._width is None else shorten(printable(text), 36)

    def _ago(self, text: str) -> str:
        then = datetime.fromisoformat(text)
        relative = f"{rough(self._now - then)} ago"
        return f"{relative}, {text}" if self._absolute else relative


def _state(function: Mapping[str, Any]) -> str:
    version = f", version {function['version']}" if function["version"] else ""
    return f"{function['state'] or 'not known'}{version}"


def _span(seconds: int) -> str:
    return rough(timedelta(seconds=seconds))


def _local(instant: datetime, now: datetime) -> str:
    """Write an instant in this machine's time zone, with the day unless it is today."""
    local = instant.astimezone()
    day = "" if local.date() == now.astimezone().date() else f"{local:%a %d %b} "
    return f"{day}{local:%H:%M} {local.tzname()}"


def _difference(diff: Mapping[str, Any]) -> str:
    if diff["path"] == "code_sha256" and diff["old"]:
        return f"the code is not what is here: {printable(diff['old'][:8])} -> {printable(diff['new'][:8])}"
    return printable(f"{diff['path']}: {diff['old']!r} -> {diff['new']!r}")
