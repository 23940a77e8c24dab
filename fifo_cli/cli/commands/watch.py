"""``watch``: samples come from a thread, keys from the terminal, and the dashboard is drawn here."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fifo_cli.cli.context import Cli
from fifo_cli.cli.framework import Impact, command
from fifo_cli.cli.parameters import read_duration
from fifo_cli.errors import ExitCode, FifoError, UsageError
from fifo_cli.invocation import command_line

if TYPE_CHECKING:
    from fifo_cli.cli.screen import Screen
    from fifo_cli.model.watch_state import Lost, Sample, WatchState
    from fifo_cli.operations.deploy.pause import PauseState
    from fifo_cli.operations.monitor.watch import Sampler

# Often enough for keys and resizes to feel immediate.
_TICK_SECONDS: Final = 0.25
# What came of a key is old news after that.
_NOTICE_SECONDS: Final = 20.0


@command(
    "watch",
    impact=Impact.WRITES,
    recorded=False,
    examples=["fifo-cli watch", "fifo-cli watch --interval 5s --env prod"],
)
def watch(
    cli: Cli,
    *,
    interval: Annotated[
        str, typer.Option("--interval", metavar="DURATION", help="Time between two looks, 1s to 1h.")
    ] = "2s",
) -> ExitCode:
    """Show the pipeline live: depths and rates over time, deliveries as they happen, what waits and why.

    Keys: q quits, p pauses or resumes the worker, d lets the worker function deliver one message; p and d
    ask first. It receives no message. On a terminal that cannot be drawn on (TERM=dumb) it prints a
    line each time; into a pipe, use `fifo-cli depth --watch -o jsonl`.
    """
    from fifo_cli.cli.screen import is_dumb, is_screen

    seconds = read_duration("--interval", interval, example="5s").total_seconds()
    if not 1 <= seconds <= 3600:
        raise UsageError(f"--interval {interval}: from 1s to 1h", hint="such as --interval 5s")
    if not is_screen() and not is_dumb():
        raise UsageError(
            "watch needs a terminal to draw on",
            hint=f"in a pipe, {command_line('depth --watch -o jsonl')} does it",
        )
    return show(cli, seconds)


def show(cli: Cli, seconds: float, *, logs: bool = True) -> ExitCode:
    """Show the dashboard until q or a signal; without ``logs``, depths only."""
    from fifo_cli.aws.session import Aws
    from fifo_cli.cli.screen import is_dumb
    from fifo_cli.model.watch_state import WatchState
    from fifo_cli.operations.monitor.drift import drift
    from fifo_cli.operations.monitor.watch import LIMIT_SECONDS, LOOKED_BACK, Sampler, keep_sampling

    since = datetime.now(UTC) - LOOKED_BACK
    dashboard = WatchState(cli.names.pipeline, interval=seconds, since=since, place=_place(cli))
    endpoint = cli.aws.endpoint
    project = cli.project
    compare = (lambda aws: drift(aws, project, aws.place, limit=LIMIT_SECONDS)) if logs else None
    sampler = Sampler(lambda: Aws(endpoint), cli.settings, with_logs=logs, compare=compare)
    news: queue.SimpleQueue[Sample | Lost] = queue.SimpleQueue()
    stop = threading.Event()
    thread = threading.Thread(
        target=keep_sampling,
        args=(sampler, news.put),
        kwargs={"interval": seconds, "stop": stop},
        name="sampler",
        daemon=True,  # it may be in a call that takes its time
    )
    thread.start()
    try:
        if is_dumb():
            return _print(cli, dashboard, news)
        return _Loop(cli, sampler, news, logs=logs).run(dashboard)
    finally:
        stop.set()


def _print(cli: Cli, dashboard: WatchState, news: queue.SimpleQueue[Sample | Lost]) -> ExitCode:
    """Write a line for each sample, until a signal."""
    from fifo_cli.render.watch_screen import one_line

    with cli.stopping() as stop:
        while not stop.is_set() and not cli.console.unread:
            try:
                dashboard = _take(dashboard, news.get(timeout=_TICK_SECONDS))
            except queue.Empty:
                continue
            cli.console.result([one_line(dashboard, now=datetime.now(UTC))], data=False)
    return ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Action:
    """Something to do once the user has answered yes."""

    question: str
    doing: str
    act: Callable[[], str]
    operation: str  # as the history calls it


class _Loop:
    """Draws the dashboard and minds the keys; actions are done in a thread of their own, one at a time."""

    def __init__(
        self, cli: Cli, sampler: Sampler, news: queue.SimpleQueue[Sample | Lost], *, logs: bool
    ) -> None:
        self._cli = cli
        self._sampler = sampler
        self._news = news
        self._logs = logs
        self._asked: _Action | None = None
        self._thread: threading.Thread | None = None
        self._message: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._noticed = 0.0

    def run(self, dashboard: WatchState) -> ExitCode:
        """Draw until q or a signal, whose exit code is then the command's; wait for what is being done."""
        from fifo_cli.cli.screen import screen

        with screen(color=self._cli.console.color) as on:
            self._draw_until_done(on, dashboard)
        if on.ended is not None:
            self._cli.signals.received_elsewhere(on.ended)
        if self._thread is not None and self._busy:
            self._cli.console.message("finishing what is in flight …")
            self._thread.join()
            self._cli.console.message(self._message.get())
        return ExitCode.OK

    def _draw_until_done(self, on: Screen, dashboard: WatchState) -> None:
        from fifo_cli.render.watch_screen import as_text, frame

        while on.ended is None:
            while not self._news.empty():
                dashboard = _take(dashboard, self._news.get())
            while not self._message.empty():
                dashboard = self._notice(dashboard, self._message.get())
            if dashboard.notice and not self._busy and time.monotonic() - self._noticed > _NOTICE_SECONDS:
                dashboard = replace(dashboard, notice="")
            dashboard = replace(dashboard, question=self._asked.question if self._asked else "")
            width, height = on.size
            lines = frame(
                dashboard, width=width, height=height, now=datetime.now(UTC), plain=on.plain, logs=self._logs
            )
            try:
                on.draw(as_text(lines))
            except OSError:
                return  # the terminal is gone
            key = on.key(_TICK_SECONDS)
            if key is None or (key in ("q", "Q") and self._asked is None):
                return
            if key:
                dashboard = self._press(key, dashboard)

    def _press(self, key: str, dashboard: WatchState) -> WatchState:
        if self._asked is not None:
            action, self._asked = self._asked, None
            if key in ("y", "Y"):
                return self._start(action, dashboard)
            return self._notice(dashboard, "not done")
        if self._busy:
            return dashboard
        if key in ("p", "P") and self._logs:
            self._asked = self._pause_or_resume(dashboard)
        elif key in ("d", "D") and self._logs:
            name = self._cli.names.function("worker")
            self._asked = _Action(
                f"Let {name} deliver one message now?", "delivering one message", self._deliver, "drain"
            )
        return dashboard

    def _start(self, action: _Action, dashboard: WatchState) -> WatchState:
        def act() -> None:
            try:
                message = self._recorded(action)
            except FifoError as error:
                message = f"{action.doing} failed: {error.message}"
            except Exception as error:  # noqa: BLE001 - reported on the screen, which goes on
                message = f"{action.doing} failed: {type(error).__name__}: {error}"
            self._sampler.refresh()
            self._message.put(message)

        # Not a daemon: a delivery in flight is finished, no matter which key is pressed next.
        self._thread = threading.Thread(target=act, name="action")
        self._thread.start()
        return self._notice(dashboard, f"{action.doing} …")

    def _recorded(self, action: _Action) -> str:
        """Do something, as an operation of its own in the history; a warning has no place on the screen."""
        from fifo_cli.events import silent

        history = self._cli.new_history(action.operation, self._cli.line, listener=silent)
        history.begin()
        code, error = ExitCode.AWS, ""
        try:
            message = action.act()
            code = ExitCode.OK
        except FifoError as failure:
            code, error = failure.exit_code, failure.message
            raise
        finally:
            history.end(code, error=error)
        return message

    def _notice(self, dashboard: WatchState, text: str) -> WatchState:
        self._noticed = time.monotonic()
        return replace(dashboard, notice=text)

    @property
    def _busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _pause_or_resume(self, dashboard: WatchState) -> _Action:
        from fifo_cli.operations.deploy.pause import pause, resume

        def switch(to: Callable[..., PauseState]) -> str:
            return f"the worker is {to(self._cli.aws, self._cli.settings, 'worker').worker}"

        pipeline = self._cli.names.pipeline
        if dashboard.sample is not None and dashboard.sample.measured.worker == "paused":
            question = f"Resume the worker of {pipeline}?"
            return _Action(question, "resuming the worker", partial(switch, resume), "resume")
        question = f"Pause the worker of {pipeline}? Messages wait, nothing is lost."
        return _Action(question, "pausing the worker", partial(switch, pause), "pause")

    def _deliver(self) -> str:
        from fifo_cli.model.group_names import shown_group
        from fifo_cli.operations.queues.drain import DrainOptions, drain_by_function

        result = drain_by_function(self._cli.aws, self._cli.project, DrainOptions(1))
        if result.error is not None:
            raise result.error
        if not result.results:
            return "nothing to deliver"
        one = result.results[0]
        why = f": {one.error}" if one.error else ""
        return f"{one.status}: message {one.message_id} of group {shown_group(one.group)}{why}"


def _take(dashboard: WatchState, news: Sample | Lost) -> WatchState:
    from fifo_cli.model.watch_state import Sample, lost, seen

    return seen(dashboard, news) if isinstance(news, Sample) else lost(dashboard, news)


def _place(cli: Cli) -> str:
    """Return where this is; without the account if AWS cannot be asked just now."""
    try:
        return f"{cli.aws.place.account} {cli.aws.place.region}"
    except UsageError:
        raise
    except FifoError:
        return cli.aws.region
