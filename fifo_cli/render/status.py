"""``status`` on one screen: the verdict, what to do about it, and the numbers it rests on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from fifo_cli.model.group_names import shown_group
from fifo_cli.model.health import TriggerState
from fifo_cli.model.history_events import short_who
from fifo_cli.model.schedules import zone_of
from fifo_cli.model.times import iso, rough
from fifo_cli.render.advice import advice_lines
from fifo_cli.render.pauses import next_call, pause_lines
from fifo_cli.render.plan import value_text
from fifo_cli.render.queue_tables import depth_table
from fifo_cli.render.text import (
    Style,
    count,
    display_width,
    fit,
    fold,
    has_command,
    paint,
    printable,
    shorten,
)

if TYPE_CHECKING:
    from fifo_cli.model.planning import Difference
    from fifo_cli.model.worker_log import WorkerRun
    from fifo_cli.operations.monitor.status import StatusResult

_WIDTH_MAX: Final = 110
_LABEL: Final = 12
_STYLES: Final[dict[str, Style]] = {"ok": "green", "warning": "yellow", "critical": "red", "unknown": "cyan"}
_WORDS: Final = {
    "ok": "is healthy",
    "warning": "needs a look",
    "critical": "is in trouble",
    "unknown": "cannot be judged in full",
}
_RUNS_SHOWN: Final = 5
_STUCK_SHOWN: Final = 3
_DIFFS_SHOWN: Final = 5


def status_screen(
    result: StatusResult,
    *,
    width: int | None,
    color: bool,
    now: datetime,
    absolute: bool = False,
    height: int | None = None,
) -> str:
    """Write the screen; times are relative, and with ``absolute`` the instants beside them.

    On a terminal of less than its ``height``, what is read first must not scroll away: it comes last.
    """
    screen = _Screen(result, width, color, now, absolute)
    verdict, numbers = list(screen.verdict()), list(screen.numbers())
    lines = [*verdict, "", *numbers]
    if height is not None and len(lines) >= height and result.problems:  # the prompt takes a line, too
        lines = [*numbers, "", *verdict]
    return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class _Screen:
    """One screen: what it shows, the room it has, and the moment it is looked at."""

    _result: StatusResult
    _width: int | None
    _color: bool
    _now: datetime
    _absolute: bool

    def numbers(self) -> Iterator[str]:
        """Yield what the verdict rests on, no line wider than the terminal."""
        queues = self._result.queues.items()
        yield from depth_table(queues, width=self._width, name=self._short).splitlines()
        yield ""
        yield from self._labelled("enqueuer", self._enqueuer())
        yield from self._labelled("worker", self._worker())
        if not self._by_queue:
            yield from self._labelled("next run", self._next_runs())
        yield from self._labelled("breaker", self._breaker())
        yield from self._labelled("paused", self._paused())
        yield from self._labelled("rebuild", self._restore())
        yield from self._labelled("maintenance", self._maintenance())
        yield from self._labelled("last change", self._last_change())
        yield from self._labelled("batches" if self._by_queue else "last runs", self._last_runs())
        yield from self._labelled("waiting", self._stuck())
        yield from self._labelled("resources", self._resources())
        yield from self._labelled("keys", self._keys())
        yield from self._labelled("not seen", [f"{one.what}: {one.reason}" for one in self._result.unseen])

    def verdict(self) -> Iterator[str]:
        """Yield the verdict and, for each problem, what to do, no line wider than the terminal."""
        result = self._result
        where = f"  ({result.place.account}, {result.place.region})" if result.place else ""
        word = paint(result.state.upper(), _STYLES[result.state], color=self._color)
        yield f"{word}  {printable(result.names.pipeline)} {_WORDS[result.state]}{where}"
        for problem in result.problems:
            head = f"  {problem.state:<9}"
            for number, line in enumerate(self._wrap(printable(problem.text), len(head))):
                shown = paint(head, _STYLES[problem.state], color=self._color)
                yield (" " * len(head) if number else shown) + line
            for line in advice_lines(problem):
                yield from (f"{' ' * len(head)}{one}" for one in self._wrap(line, len(head)))

    def _enqueuer(self) -> list[str]:
        behind = self._result.measured.iterator_age
        state = _state(self._result.measured.enqueuer, self._result.version("enqueuer"))
        return [state if behind is None else f"{state}, {rough(timedelta(seconds=behind))} behind the stream"]

    @property
    def _by_queue(self) -> bool:
        return self._result.settings.worker.by_queue

    def _worker(self) -> list[str]:
        measured = self._result.measured
        state = _state(measured.worker, self._result.version("worker"))
        if not self._by_queue:
            return [state]
        polling = f"; its mapping is {measured.polling.state}" if measured.polling else ""
        return [f"{state}, started by the queue{polling}"]

    def _breaker(self) -> list[str]:
        found = self._result.runs.breaker
        if found is None:
            return []
        where = f" in up to {found.functions} functions" if found.functions > 1 else ""
        until = "; the next run makes one call"
        if self._result.enabled is False:
            until = "; the worker does not run, and calls nothing"
        elif due := next_call(found, now=self._now, clock=self._time, absolute=self._absolute):
            until = f"; {due}"
        return [f"open{where} since {self._time(found.since)} ({self._ago(found.since)}){until}"]

    def _paused(self) -> list[str]:
        runs = self._result.runs
        lines = pause_lines(
            runs.paused, as_of=runs.as_of, now=self._now, clock=self._time, absolute=self._absolute
        )
        return list(lines)

    def _next_runs(self) -> list[str]:
        runs = self._result.next_runs
        if self._result.enabled is False:
            return ["none: the schedule is off"]
        unknown = [f"{', '.join(runs.unknown)}: only AWS knows when"] if runs.unknown else []
        if not runs.times:
            return unknown
        first, *more = runs.times
        about = "about " if runs.estimated else ""
        message = f"{about}{self._clock(first)} (in {rough(first - self._now)})"
        then = ", ".join(self._clock(one) for one in more)
        return [
            *unknown,
            message + (f", then {then}" if then else "") + (f"  {iso(first)}" * self._absolute),
        ]

    def _restore(self) -> list[str]:
        found = self._result.measured.restore
        if found is None:
            return []
        begun = f", begun {self._ago(found.since)}" if found.since else ""
        paused = f"; it paused {' and '.join(found.running)}" if found.running else ""
        return [f"unfinished, at its step {found.phase}{begun}{paused}"]

    def _maintenance(self) -> list[str]:
        found = self._result.measured.maintenance
        if found is None:
            return []
        if found.since is None or found.until is None:
            return [found.what]
        left = rough(found.until - self._now)
        return [
            f"{found.what} by {found.who}, begun {self._ago(found.since)}",
            f"its marker expires in {left} unless it is renewed" + f"  {iso(found.until)}" * self._absolute,
        ]

    def _last_change(self) -> list[str]:
        found = self._result.last_change
        if found is None:
            return []
        who = f"{short_who(found.who)}@{found.host}"
        why = f" ({found.reason})" if found.reason else ""
        return [f"{self._ago(found.time)}: {found.command} by {who}, {found.result}{why}"]

    def _last_runs(self) -> list[str]:
        runs = self._result.runs.runs
        return [self._run(run) for run in runs[:_RUNS_SHOWN]] or ["none in the last day"]

    def _run(self, run: WorkerRun) -> str:
        when = f"{self._ago(run.time):<13}"
        if run.error is not None:
            return f"{when} failed: {printable(run.error.splitlines()[0] if run.error else '?')}"
        if not run.received:
            return f"{when} nothing to deliver"
        counts = {"delivered": run.delivered or 0, "parked": run.parked or 0, "failed": run.failed or 0}
        text = [f"{number} {word}" for word, number in counts.items() if number]
        left = run.received - sum(counts.values())
        later = "given back" if self._by_queue else "left for the next run"
        text += [f"{left} {later}"] if left > 0 else []
        return f"{when} {', '.join(text)}"

    def _stuck(self) -> list[str]:
        found = self._result.runs.stuck
        lines = []
        for one in found[:_STUCK_SHOWN]:
            facts = [
                f"HTTP {one.http_status}" if one.http_status else "",
                f"{count(one.attempts, 'attempt')} as of {self._clock(one.time)} ({self._ago(one.time)})",
            ]
            item = f", item {printable(one.item_key)}" if one.item_key else ""
            head = f"group {printable(shown_group(one.group))}: message {self._short(one.message_id)}{item}"
            lines += [f"{head}, {', '.join(filter(None, facts))}", f"  {printable(one.error or '')}"]
        if len(found) > _STUCK_SHOWN:
            lines.append(f"and {count(len(found) - _STUCK_SHOWN, 'more group')}")
        return [line for line in lines if line.strip()]

    def _resources(self) -> list[str]:
        resources = self._result.drift.resources
        wrong = [one for one in resources if one.state not in ("ok", "unknown")]
        right = sum(one.state == "ok" for one in resources)
        lines = [f"{right} of {count(len(resources), 'resource')} as in fifo.toml"] if resources else []
        for one in wrong:
            reason = f": {one.reason}" if one.reason else ""
            lines.append(f"{one.state}: {one.kind} {printable(one.name)}{printable(reason)}")
            lines += [f"  {_difference(diff)}" for diff in one.diff[:_DIFFS_SHOWN]]
        return lines

    def _keys(self) -> list[str]:
        return [
            f"{printable(key.name)}: {printable(key.parameter)} "
            + (f"set {self._ago(key.set_at)}" if key.set_at else f"is {key.unusable}")
            for key in (self._result.keys.keys if self._result.keys else ())
        ]

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
        if has_command(text):
            return fold(" ".join(text.split()), room).split("\n")
        lines = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
        return [line if display_width(line) <= room else fit(line, room) for line in lines]

    def _short(self, text: str) -> str:
        return shorten(printable(text), None if self._width is None else 36)

    def _time(self, instant: datetime) -> str:
        """Write an instant to the second: a pause may be as short."""
        return self._clock(instant, "%H:%M:%S")

    def _clock(self, instant: datetime, time: str = "%H:%M") -> str:
        """Write an instant in the pipeline's time zone, with the day unless it is today."""
        zone = zone_of(self._result.settings.schedule.timezone)
        local = instant.astimezone(zone)
        day = "" if local.date() == self._now.astimezone(zone).date() else f"{local:%a %d %b} "
        return f"{day}{local:{time}} {local.tzname()}"

    def _ago(self, then: datetime) -> str:
        relative = f"{rough(self._now - then)} ago"
        return f"{relative}, {iso(then)}" if self._absolute else relative


def _state(state: TriggerState | None, version: str | None) -> str:
    return (state or "not known") + (f", version {version}" if version else "")


def _difference(diff: Difference) -> str:
    if diff.path == "code_sha256" and diff.old:
        return f"the code is not what is here: {printable(diff.old[:8])} -> {printable(diff.new[:8])}"
    return f"{printable(diff.path)}: {value_text(diff.old)} -> {value_text(diff.new)}"
