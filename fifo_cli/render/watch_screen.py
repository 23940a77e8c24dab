"""The dashboard of ``watch`` as lines for a screen of any size, or as one line where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from rich.text import Text

from fifo_cli.invocation import command_line
from fifo_cli.model.group_names import shown_group
from fifo_cli.model.health import Measurements, worst
from fifo_cli.model.schedules import zone_of
from fifo_cli.model.times import rough
from fifo_cli.model.watch_state import Sample, WatchState
from fifo_cli.model.worker_log import WatchEvent
from fifo_cli.render.pauses import next_call
from fifo_cli.render.text import count, display_width, fit, fold, printable, shorten

Span = tuple[str, str]
Line = list[Span]

KEYS: Final = "q quit   p pause/resume   d deliver one"
_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.-=+*%#"
_STYLES: Final = {"ok": "green", "warning": "yellow", "critical": "bold red", "unknown": "cyan"}
_FATES: Final = {"delivered": "green", "parked": "yellow", "failed": "red"}
_LABEL: Final = 9
_NUMBER: Final = 9
_STUCK_SHOWN: Final = 3
# A sample takes a moment, and its log lines another.
_LATE: Final = timedelta(seconds=5)


def frame(
    dashboard: WatchState, *, width: int, height: int, now: datetime, plain: bool = False, logs: bool = True
) -> list[Line]:
    """Return at most ``height`` lines of at most ``width`` columns; ``plain`` keeps to ASCII.

    On a low screen the deliveries go first, then what is above them; the keys stay.
    """
    head = [*_head(dashboard, now, width), *_measured(dashboard, width, plain, logs)]
    body = [*_flow(dashboard, now), *_stuck(dashboard, now)]
    foot = [*_answer(dashboard), [(KEYS if logs else "q quit", "dim")]]
    used = len(head) + len(body) + len(foot)
    room = height - used - 1
    recent = list(_recent(dashboard, room - 1)) if logs and room > 1 else []
    lines = [*head, *body, *([[]] if room > 0 else []), *recent]
    lines = lines[: max(0, height - len(foot))]
    lines += [[] for _ in range(height - len(foot) - len(lines))]
    return [_fit(line, width, plain) for line in [*lines, *foot][-height:]]


def as_text(lines: Iterable[Line]) -> Text:
    """Return the lines as one rich Text, never as markup: what is in a message stays text."""
    text = Text(no_wrap=True, overflow="crop", end="")
    for number, line in enumerate(lines):
        text.append("\n" if number else "")
        for part, style in line:
            text.append(part, style=style or None)
    return text


def one_line(dashboard: WatchState, *, now: datetime) -> str:
    """Return the dashboard as one line, for a terminal that is none, or for a log."""
    clock = _clock(now)
    if dashboard.lost is not None:
        return f"{clock} {printable(dashboard.pipeline)} LOST: {printable(dashboard.lost.reason)}\n"
    if dashboard.sample is None:
        return f"{clock} {printable(dashboard.pipeline)} waiting for AWS\n"
    measured = dashboard.sample.measured
    state = worst(problem.state for problem in dashboard.problems)
    message = [f"main {_or_unknown(measured.total('main'))}", f"dlq {_or_unknown(measured.total('dlq'))}"]
    message += [f"in {_rate(dashboard, 'entered')}", f"out {_rate(dashboard, 'left')}"]
    why = "; ".join(printable(problem.text) for problem in dashboard.problems[:2])
    return f"{clock} {state.upper():<8} {'  '.join(message)}" + (f"  {why}" if why else "") + "\n"


def sparkline(values: Sequence[float | None], width: int, *, plain: bool = False) -> str:
    """Draw the last ``width`` values as bars of the highest one's height; a gap where one is None."""
    bars = _ASCII_BARS if plain else _BARS
    shown = list(values)[-width:] if width > 0 else []
    top = max((value for value in shown if value is not None), default=0)
    drawn = []
    for value in shown:
        if value is None:
            drawn.append(" ")
        elif not top or value <= 0:
            drawn.append(bars[0])
        else:
            drawn.append(bars[max(1, round(value / top * (len(bars) - 1)))])
    return "".join(drawn)


def _head(dashboard: WatchState, now: datetime, width: int) -> Iterator[Line]:
    place = f"  {dashboard.place}" if dashboard.place else ""
    yield [
        (printable(dashboard.pipeline), "bold"),
        (f"{place}  {_clock(now)}, every {dashboard.interval:g} s", "dim"),
    ]
    if lost := dashboard.lost:
        again = max(0, round((lost.again - now).total_seconds()))
        yield [
            ("LOST ", "bold red"),
            (f"for {rough(now - lost.since)}, again in {again} s: {_flat(lost.reason)}", "red"),
        ]
        if lost.hint:
            yield from _folded(f"     {_flat(lost.hint)}", width, "")
    elif dashboard.sample is None:
        yield [("waiting for AWS", "dim")]
    else:
        yield from _verdict(dashboard, width)
        age = now - dashboard.sample.at
        if age - timedelta(seconds=dashboard.interval) > _LATE:
            yield [(f"no answer from AWS for {rough(age)}; the numbers are so old", "yellow")]


def _verdict(dashboard: WatchState, width: int) -> Iterator[Line]:
    problems = dashboard.problems
    state = worst(problem.state for problem in problems)
    if not problems:
        yield [("OK", "green")]
        return
    yield [(state.upper(), _STYLES[state]), (f"  {_flat(problems[0].text)}", "")]
    first, indent = problems[0], " " * (len(state) + 2)
    steps = [
        first.next and f"next: {_flat(first.next)}",
        first.avoid and f"do not {_flat(first.avoid)}",
        f"{len(problems) - 1} more: {command_line('status')}" if len(problems) > 1 else "",
    ]
    for step in filter(None, steps):
        yield from _folded(f"{indent}{step}", width, "dim")


def _folded(text: str, width: int, style: str) -> Iterator[Line]:
    """Yield a text that may hold commands in as many lines as it takes: a part of one is another command."""
    for line in fold(text, width).split("\n"):
        yield from ([(line[at : at + width], style)] for at in range(0, len(line), max(1, width)))


def _measured(dashboard: WatchState, width: int, plain: bool, logs: bool) -> Iterator[Line]:
    """Yield the depths and the rates, each with its history."""
    measured = dashboard.sample.measured if dashboard.sample else Measurements()
    main, points = measured.queues.get("main"), dashboard.points
    details = [f"{main.in_flight} in flight"] if main and main.in_flight else []
    details += [f"oldest {rough(timedelta(seconds=measured.age))}"] if measured.age else []
    rows: list[tuple[str, str, list[float | None], str]] = [
        ("main", _or_unknown(measured.total("main")), [one.main for one in points], ", ".join(details)),
        ("dlq", _or_unknown(measured.total("dlq")), [one.dlq for one in points], ""),
    ]
    if logs:
        rows.append(("in", _rate(dashboard, "entered"), [one.entered for one in points], ""))
        rows.append(("out", _rate(dashboard, "left"), [one.left for one in points], ""))
    yield []
    faded = "dim" if dashboard.lost else ""
    for label, number, values, detail in rows:
        note = f"  {detail}" if detail else ""
        room = width - _LABEL - _NUMBER - 2 - display_width(note)
        yield [
            _label(label),
            (f"{number:>{_NUMBER}}  ", faded or "bold"),
            (sparkline(values, room, plain=plain), faded or "cyan"),
            (note, faded),
        ]
    if measured.total("hold"):
        yield [_label("hold"), (f"{measured.total('hold'):>{_NUMBER}}", "yellow")]


def _flow(dashboard: WatchState, now: datetime) -> Iterator[Line]:
    """Yield what the API answers, and when the worker runs next."""
    yield []
    if dashboard.statuses:
        answers = [(f"{one}: {number}   ", _answer_style(one)) for one, number in dashboard.statuses.items()]
        since = f"since {dashboard.since.astimezone():%H:%M}" if dashboard.since else ""
        yield [_label("API"), *answers, (since, "dim")]
    sample = dashboard.sample
    if sample is None:
        return
    measured = sample.measured
    message = f"{measured.worker or 'not known'}"
    if sample.next_run is not None:
        about = "about " if sample.estimated else ""
        zone = sample.snapshot.settings.schedule.timezone if sample.snapshot else None
        at = f"{sample.next_run.astimezone(zone_of(zone)):%H:%M %Z}"
        message += f", next run {about}{at} (in {rough(sample.next_run - now)})"
    elif sample.snapshot is not None and sample.snapshot.settings.worker.by_queue:
        message += ", started by the queue"
    yield [
        _label("worker"),
        (message, "" if measured.worker == "running" else "yellow"),
        ("   enqueuer ", "dim"),
        (measured.enqueuer or "not known", "" if measured.enqueuer == "running" else "yellow"),
    ]
    yield from _pauses(sample, now)
    if sample.logs_unseen:
        yield [_label("log"), (f"not seen: {_flat(sample.logs_unseen)}", "cyan")]


def _pauses(sample: Sample, now: datetime) -> Iterator[Line]:
    """Yield until when the API is not called, and groups are hidden, where the log shows that."""
    runs = sample.snapshot.runs if sample.snapshot else None
    if runs is None or not sample.measured.total("main"):
        return
    if runs.breaker is not None:
        end = next_call(runs.breaker, now=now, clock=_clock)
        if sample.measured.worker not in ("running", None):
            end = "the worker does not run"
        since = f"open for {rough(now - runs.breaker.since)}"
        yield [_label("breaker"), (", ".join(filter(None, (since, end))), "red")]
    paused = [one for one in runs.paused if one.until > now]
    if paused:
        as_of = f" (as of {_clock(runs.as_of)})" if runs.as_of else ""
        number = f"{count(len(paused), 'group')}, the first until {_clock(paused[0].until)}{as_of}"
        yield [_label("paused"), (number, "yellow")]


def _stuck(dashboard: WatchState, now: datetime) -> Iterator[Line]:
    heads = dashboard.stuck
    for number, one in enumerate(heads[:_STUCK_SHOWN]):
        times = f", {count(one.attempts, 'attempt')} as of {_clock(one.time)} ({rough(now - one.time)} ago)"
        yield [
            _label("" if number else "waiting"),
            (shorten(printable(shown_group(one.group)), 24), "bold"),
            (f"{times}: {_flat(one.error or '') or 'no reason logged'}", "red"),
        ]
    if len(heads) > _STUCK_SHOWN:
        yield [(" " * _LABEL, ""), (f"and {count(len(heads) - _STUCK_SHOWN, 'more group')}", "")]


def _recent(dashboard: WatchState, room: int) -> Iterator[Line]:
    """Yield the last deliveries, the newest at the top."""
    if not dashboard.recent:
        yield [("no deliveries yet", "dim")]
        return
    for one in reversed(dashboard.recent[-room:] if room > 0 else ()):
        yield _delivery(one)


def _delivery(one: WatchEvent) -> Line:
    status = str(one.http_status) if one.http_status else "-"
    elapsed = f"{one.elapsed_ms} ms" if one.elapsed_ms is not None else ""
    what = one.item_key or one.message_id
    return [
        (f"{_clock(one.time)} ", "dim"),
        (f"{one.fate:<10}", _FATES.get(one.fate, "")),
        (f"{status:>4} {elapsed:>9}  ", ""),
        (f"{shorten(printable(shown_group(one.group)), 20):<20} ", ""),
        (shorten(printable(what), 40), "dim"),
        (f"  {_flat(one.reason)}" if one.reason else "", ""),
    ]


def _answer(dashboard: WatchState) -> Iterator[Line]:
    """Yield the line above the keys: a question, or what came of the last one."""
    if dashboard.question:
        yield [(f"{dashboard.question} [y/N]", "bold")]
    elif dashboard.notice:
        yield [(_flat(dashboard.notice), "")]


def _label(name: str) -> Span:
    return f"{name:<{_LABEL}}", "dim"


def _clock(instant: datetime) -> str:
    return f"{instant.astimezone():%H:%M:%S}"


def _answer_style(status: str) -> str:
    return "green" if status.startswith("2") else "red" if status[0] in "5n" else "yellow"


def _rate(dashboard: WatchState, what: Literal["entered", "left"]) -> str:
    rate = dashboard.rate(what)
    return "-" if rate is None else f"{rate:.1f}/s"


def _or_unknown(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _flat(text: str) -> str:
    return printable(" ".join(text.split()))


def _fit(line: Line, width: int, plain: bool) -> Line:
    """Cut a line at the screen's edge."""
    fitted: Line = []
    room = width
    for part, style in line:
        if room <= 0:
            break
        # Before it is measured: a character without a width is replaced by one that has one.
        text = part.replace("…", "~").encode("ascii", "replace").decode("ascii") if plain else part
        shown = fit(text, room).replace("…", "~" if plain else "…")
        fitted.append((shown, style))
        room -= display_width(shown)
    return fitted
