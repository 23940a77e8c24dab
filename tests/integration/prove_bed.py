"""What the tests of ``prove`` work with: a run's context behind a proxy, and an API that may lie.

The commands go through the proxy; the functions of the embedded stack call the stack itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.events import silent
from fifo_cli.invocation import PROGRAM
from fifo_cli.local.prove_receiver import MemoryStore, ProveReceiver
from fifo_cli.model.prove_result import Check
from fifo_cli.model.settings import CONFIG_FILE
from fifo_cli.operations.prove.check_context import AT_ONCE, CheckContext, Waits
from fifo_cli.operations.prove.pipeline import Child, Commands
from fifo_cli.operations.prove.prove import STEPS, Checks, PlannedCheck, ProveRun, make_context
from fifo_cli.operations.prove.receiver import HttpReceiver
from fifo_cli.operations.prove.run_resources import find
from fifo_cli.prove_api.api import AnswerRules, ProveApi, RecordedDelivery, sha256
from tests.cli_harness import Stack, clean_environment
from tests.faults import forward_all
from tests.integration.fork_server import forker
from tests.integration.proxy import Proxy

SECRET = "the-secret-of-this-receiver-alone"
# A fault must not take a minute to show; what must succeed has the run's own time.
IMPATIENT = replace(AT_ONCE, arrive=12, logs=6, metrics=1, gone=2, quiet=3)
REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


class LyingStore(MemoryStore):
    """The memory of an API that does not do what it says: ``record`` and ``answer_by`` may be replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.tell_the_truth()

    def tell_the_truth(self) -> None:
        self.record: Callable[[RecordedDelivery], list[RecordedDelivery]] = lambda delivery: [delivery]
        self.answer_by: Callable[[AnswerRules], AnswerRules] = lambda rules: rules

    def rules(self) -> AnswerRules:
        return self.answer_by(super().rules())

    def append(self, delivery: RecordedDelivery) -> None:
        for one in self.record(delivery):
            super().append(one)


class LyingReceiver(ProveReceiver):
    """The API on loopback with such a memory."""

    def __init__(self) -> None:
        super().__init__(SECRET)
        self.store = LyingStore()
        self.api = ProveApi(sha256(SECRET), self.store)


class ForkedCommands(Commands):
    """Runs commands in processes that are forked, and need not import the program."""

    def start(self, *words: str) -> Child:
        line = [*words, "-o", "json", "--config", str(self.folder / CONFIG_FILE), *self.where]
        process: Any = forker().popen(
            self.folder, line, self.environment, reads=True, session=True, patient=False
        )
        return Child(f"`{PROGRAM} {shlex.join(words)}`", process)


@dataclass
class Bed:
    """A run's context, whose checks are run one by one."""

    context: CheckContext
    proxy: Proxy
    api: LyingReceiver
    clients: Aws  # of the stack itself, past the proxy

    def check(self, *names: str, alone: bool = True, waits: Waits = IMPATIENT) -> dict[str, Check]:
        """Run checks by name, without those that they need; after a failure the pipeline is put to rest."""
        self.context.waits = waits
        steps = [replace(step, needs=()) if alone else step for step in STEPS if step.name in names]
        assert len(steps) == len(names), names
        checks = Checks([*_DEPLOYED, *steps] if alone else steps, self.context, silent, lambda: False)
        checks.run_all()
        return {one.name: one for one in checks.verdicts() if one.name in names}

    def must_pass(self, *names: str) -> None:
        found = self.check(*names, waits=AT_ONCE)
        assert {name: one.detail for name, one in found.items() if not one.ok} == {}

    @contextmanager
    def truth(self) -> Iterator[None]:
        """Let no fault outlive the block."""
        try:
            yield
        finally:
            self.proxy.rule = forward_all
            self.proxy.edit = lambda request: request.body
            self.api.store.tell_the_truth()

    def queue_url(self, queue: str) -> str:
        """Return a queue's URL on the stack itself."""
        return self.clients.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]


# What tells the checks that the pipeline is deployed, so that they put it to rest after a failure.
_DEPLOYED = (PlannedCheck("deploy", lambda context: "by the test", ()),)


@contextmanager
def bed(folder: Path, stack: Stack) -> Iterator[Bed]:
    """Make a context with nothing deployed; whatever is, is removed at the end."""
    api = LyingReceiver()
    with Proxy(stack.endpoint) as proxy, api:
        run = run_of(proxy.endpoint, folder, api.url)
        context = make_context(run, datetime.now(UTC))
        context.commands = ForkedCommands(
            context.commands.folder, context.commands.where, context.commands.environment
        )
        made = Bed(context, proxy, api, stack.aws())
        try:
            yield made
        finally:
            proxy.rule = forward_all
            if find(made.clients, run.name):
                context.commands.start("destroy", "--yes").end()


def run_of(endpoint: str, folder: Path, url: str | None, **more: object) -> ProveRun:
    """Return a run against an endpoint, whose API is at a URL, or a function of its own."""
    api = None if url is None else HttpReceiver(url, SECRET)
    environment = clean_environment(KEYS)
    where = ["--endpoint-url", endpoint, "--region", REGION]
    return ProveRun(
        Aws(AwsEndpoint(endpoint_url=endpoint, region=REGION, local=True)),
        AT_ONCE,
        where,
        environment,
        folder,
        api,
        **more,  # type: ignore[arg-type]
    )
