"""Pause and resume of a pipeline for ``redrive --in-order``, by the provisioning's own code."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fifo_cli.aws.resources.gateway import Waiter
from fifo_cli.aws.session import Aws
from fifo_cli.errors import NotDeployedError, UsageError
from fifo_cli.events import Event, Listener, Warned, silent
from fifo_cli.model.external_triggers import end_other, other_starters
from fifo_cli.model.names import FunctionRole
from fifo_cli.model.settings import Settings
from fifo_cli.operations.deploy.apply import sleep_unless
from fifo_cli.operations.deploy.pause import STREAM_FORGETS, pause, pause_state, resume
from fifo_cli.operations.deploy.remote_state import gateways, named_triggers, worker_triggers


@dataclass(frozen=True)
class PipelinePause:
    """Enqueuer and worker. Queues without either are taken as they are, with a warning."""

    aws: Aws
    settings: Settings
    listener: Listener = silent

    def running(self) -> frozenset[FunctionRole]:
        """Return which functions are fed.

        Raises NotDeployedError if only one of them can be paused, UsageError if others start the worker, too.
        """
        self._refuse_other_starters()
        try:
            found = pause_state(self.aws, self.settings)
        except NotDeployedError:
            if self._is_fed():
                raise
            self.listener(
                Warned(
                    "no enqueuer and no worker exists to pause: see to it that nobody else uses the queues"
                )
            )
            return frozenset()
        states: dict[FunctionRole, str] = {"enqueuer": found.enqueuer, "worker": found.worker}
        return frozenset(role for role, state in states.items() if state == "running")

    def pause(self, stopped: Callable[[], bool]) -> None:
        """Pause both, and wait until nothing is in flight, or until that takes too long.

        Raises Interrupted soon after ``stopped`` says so, and UsageError if others start the worker, too.
        """
        self._refuse_other_starters()
        sleep = sleep_unless(stopped, time.sleep)
        try:
            pause(self.aws, self.settings, "all", wait="until visible", listener=self._pass_on, sleep=sleep)
        except NotDeployedError:
            if self._is_fed():
                raise

    def _refuse_other_starters(self) -> None:
        """Refuse to work on main while a worker that no pause stops would meet groups without their heads."""
        gates = gateways(self.aws, self.settings, waiter=Waiter())
        others = other_starters(self.settings, named_triggers(gates, self.settings))
        if others:
            key, text = next(iter(others.items()))
            raise UsageError(f"{text}: no pause stops it", hint=f"{end_other(key)} stops it; then try again")

    def _pass_on(self, event: Event) -> None:
        """Pass on all but the warning of a long pause: an in-order redrive resumes by itself."""
        if not (isinstance(event, Warned) and event.text.startswith(STREAM_FORGETS)):
            self.listener(event)

    def resume(self, role: FunctionRole) -> None:
        """Feed a function again."""
        resume(self.aws, self.settings, role, finishes_restore=True, listener=self.listener)

    def _is_fed(self) -> bool:
        """Say whether there is anything that feeds a function of this pipeline."""
        gates = gateways(self.aws, self.settings, waiter=Waiter())
        enqueuer = self.settings.names.function("enqueuer")
        return bool(gates.mappings.read(enqueuer) or worker_triggers(gates, self.settings))
