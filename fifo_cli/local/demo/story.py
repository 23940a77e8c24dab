"""The demo's story: a pipeline on the embedded stack, its API broken and fixed, and a check at the end."""

from __future__ import annotations

import json
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from fifo_cli.aws.session import LOCAL_REGION, Aws, AwsEndpoint
from fifo_cli.aws.sqs import Queue
from fifo_cli.errors import AwsError, FifoError
from fifo_cli.events import Event, Finished, Listener, Warned
from fifo_cli.local import process, stack
from fifo_cli.local.demo.items import DemoItems
from fifo_cli.local.demo.verdict import DemoVerdict, id_of, judge
from fifo_cli.local.receiver import Answer, Received, Receiver, Reply
from fifo_cli.model.message import Message
from fifo_cli.model.names import Names
from fifo_cli.model.settings import CONFIG_FILE, Project, load
from fifo_cli.operations.deploy.api_keys import set_key
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.queues.depth import DepthResult, depth
from fifo_cli.operations.queues.drain import DrainOptions, DrainResult, drain_by_function, drain_here
from fifo_cli.operations.queues.peek import peek
from fifo_cli.operations.table.put import put

NAME: Final = "demo"
# Seen: 9 MiB, for the zips and what the functions unpack of them.
NEEDED_BYTES: Final = 20 * 1024 * 1024
_ENQUEUE_SECONDS: Final = 30
_DRAIN_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.2
_OUTAGE_MESSAGES: Final = 3
_CONCURRENCY: Final = 4
_POISON_STATUS: Final = 422
_RESOURCES: Final = 16


class StoryListener(Protocol):
    """Shows the story; the command line's is plain text with a live line."""

    def step(self, title: str, command: str = "") -> None:
        """Begin a step, done by a command that a person could type."""

    def say(self, text: str) -> None:
        """Add a line to the step."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far the messages are."""

    def depth(self, result: DepthResult) -> None:
        """Show the queues' depths."""

    def messages(self, queue: str, messages: tuple[Message, ...]) -> None:
        """Show messages that wait in a queue."""


@dataclass
class _Api:
    """The third-party API: a receiver that refuses the poison item."""

    key: str
    on_request: Callable[[int], None]
    poison: str | None = None
    receiver: Receiver = field(init=False)

    def __post_init__(self) -> None:
        self.receiver = Receiver(key=self.key, answer=self._answer, observer=self._observe)

    def _answer(self, received: Received) -> Answer | None:
        if self.poison is not None and id_of(received.body) == self.poison:
            return Reply(_POISON_STATUS, b'{"error": "this item is refused"}')
        return None

    def _observe(self, received: Received, answer: Answer) -> None:
        self.on_request(len(self.receiver.accepted))


def run_story(
    items: DemoItems, listener: StoryListener, *, before_cleanup: Callable[[], None] = lambda: None
) -> DemoVerdict:
    """Run the whole story and return what the check found; leaves nothing running and no file behind.

    ``before_cleanup`` is called when all is reported, or on an interrupt: none should come after it.
    """
    total = len(items.entries)
    api = _Api(secrets.token_hex(16), lambda accepted: listener.progress("delivered", accepted, total))
    with tempfile.TemporaryDirectory(prefix="fifo-cli-demo-") as name, api.receiver:
        folder = Path(name)
        process.check_room(folder, NEEDED_BYTES, "the demo")
        path = folder / CONFIG_FILE
        path.write_text(_config(items, api.receiver.url), encoding="utf-8")
        listener.step("Start the embedded AWS and an HTTP API to deliver to", "fifo-cli local up")
        with _stack(folder, before_cleanup) as endpoint:
            listener.say(f"AWS at {endpoint}, the API at {api.receiver.url}")
            key = stack.key_of(folder)
            aws = Aws(AwsEndpoint(region=LOCAL_REGION, endpoint_url=endpoint, local=True, key=key))
            try:
                return _Story(aws, load(path), items, api, listener).run()
            except FifoError:
                process.check_room(folder, NEEDED_BYTES // 2, "the demo")
                raise


@contextmanager
def _stack(folder: Path, before_cleanup: Callable[[], None]) -> Iterator[str]:
    """Run a stack of our own; in every case it and its functions are gone afterwards."""
    try:
        stack.up(folder, port=0)
        yield stack.endpoint_of(folder)
    finally:
        before_cleanup()
        files = process.Files(folder)
        running = process.find(files)
        if running is not None:
            process.kill(files, running)


def _config(items: DemoItems, url: str) -> str:
    group = f"group = {json.dumps(items.group)}\n" if items.group else ""
    return f"""\
[pipeline]
name = "{NAME}"

[table]
name = "{NAME}-items"
partition_key = "id:{items.key_type}"

[message]
{group}
[schedule]
expressions = ["rate(1 minute)"]
messages_per_run = 5

[functions]
timeout = "30s"

[api]
url = "{url}/orders"
timeout = "5s"
headers = {{ Authorization = "Bearer {{api_key}}" }}
keys = {{ api_key = "/{NAME}/api-key" }}
"""


@dataclass
class _Story:
    aws: Aws
    project: Project
    items: DemoItems
    api: _Api
    listener: StoryListener

    def __post_init__(self) -> None:
        names = Names(NAME)
        self.main = Queue(self.aws, names, "main")
        self.dlq = Queue(self.aws, names, "dlq")
        self.total = len(self.items.entries)

    def run(self) -> DemoVerdict:
        self._deploy()
        self._put()
        self._deliver_some()
        self._break_the_api()
        self._recover_and_poison()
        self._rotate_the_key()
        self._deliver_the_rest()
        return self._check()

    def _deploy(self) -> None:
        self.listener.step("Deploy the pipeline", "fifo-cli deploy --local")
        result = deploy(self.aws, self.project, listener=_progress(self.listener))
        counts = result.plan.summary
        self.listener.say(f"{counts['create']} resources created: table, queues, roles, functions, schedule")
        self.listener.step("Give it the API's key", "fifo-cli keys set api_key --local")
        set_key(self.aws, self.project.settings, "api_key", self.api.key)
        self.listener.say("kept as a SecureString in SSM Parameter Store, and nowhere else")

    def _put(self) -> None:
        self.listener.step(f"Put {self.total} items into the table", "fifo-cli put @items.jsonl --local")
        table = self.project.settings.table
        put(self.aws, table.name, table.keys, list(self.items.entries), stop=threading.Event())
        self.listener.say("the stream wakes the enqueuer function, which sends them to the FIFO queue")
        until = time.monotonic() + _ENQUEUE_SECONDS
        while (enqueued := self._enqueued()) < self.total:
            self.listener.progress("enqueued", enqueued, self.total)
            if time.monotonic() > until:
                raise AwsError(
                    f"only {enqueued} of {self.total} items reached the queue in {_ENQUEUE_SECONDS} s",
                    hint="run it again on a machine that is less busy; -vv shows more",
                )
            time.sleep(_POLL_SECONDS)
        self.listener.progress("enqueued", enqueued, self.total)
        self.listener.depth(depth(self.aws, Names(NAME)))
        self.listener.step(
            "Look at the head of the line without taking it", "fifo-cli peek --count 2 --local"
        )
        self.listener.messages("main", peek(self.main, count=2).messages)

    def _enqueued(self) -> int:
        return self.main.counts().total + self.dlq.counts().total + len(self.api.receiver.accepted)

    def _deliver_some(self) -> None:
        count = max(1, self.total // 4)
        self.listener.step(
            f"Let the worker function deliver {count} (its schedule does so every minute)",
            f"fifo-cli drain --count {count} --via lambda --local",
        )
        self._report(drain_by_function(self.aws, self.project, DrainOptions(count)))

    def _break_the_api(self) -> None:
        self.api.receiver.fail(503)
        command = f"fifo-cli drain --count {_OUTAGE_MESSAGES} --local"
        self.listener.step("The API is down: 503 to everything", command)
        self._report(drain_here(self.aws, self.project, DrainOptions(_OUTAGE_MESSAGES)))
        self._report(drain_by_function(self.aws, self.project, DrainOptions(_OUTAGE_MESSAGES)))
        self.listener.say("nothing is parked, nothing lost, nothing out of order: the line waits")
        self.listener.depth(depth(self.aws, Names(NAME)))

    def _recover_and_poison(self) -> None:
        head = peek(self.main, count=1).messages
        self.api.poison = id_of(head[0].body) if head else None
        self.api.receiver.recover()
        count = max(1, self.total // 4)
        self.listener.step(
            f"The API is back, but refuses the head of the line with {_POISON_STATUS}",
            f"fifo-cli drain --count {count} --local",
        )
        self._report(drain_here(self.aws, self.project, DrainOptions(count)))
        self.listener.step(
            "Look at the message that was parked, and why", "fifo-cli peek --queue dlq --local"
        )
        self.listener.messages("dlq", peek(self.dlq).messages)

    def _rotate_the_key(self) -> None:
        self.listener.step(
            "Rotate the API's key: the functions find out by themselves", "fifo-cli keys set api_key --local"
        )
        self.api.receiver.key = secrets.token_hex(16)
        set_key(self.aws, self.project.settings, "api_key", self.api.receiver.key)
        self._report(drain_by_function(self.aws, self.project, DrainOptions(1)))

    def _deliver_the_rest(self) -> None:
        command = f"fifo-cli drain --all --concurrency {_CONCURRENCY} --local"
        self.listener.step("Deliver all the rest by hand", command)
        until = time.monotonic() + _DRAIN_SECONDS
        while True:
            self._report(drain_here(self.aws, self.project, DrainOptions(None, concurrency=_CONCURRENCY)))
            # The schedule's own run may have some in flight.
            if not self.main.counts().total or time.monotonic() > until:
                break
            time.sleep(_POLL_SECONDS)
        self.listener.depth(depth(self.aws, Names(NAME)))

    def _check(self) -> DemoVerdict:
        self.listener.step("Check: every item delivered once or parked, unchanged, in order")
        parked = peek(self.dlq, count=self.total).messages
        poison = [self.api.poison] if self.api.poison is not None else []
        return judge(self.items, self.api.receiver.accepted, parked, expected_parked=poison)

    def _report(self, result: DrainResult) -> None:
        if result.error is not None:
            raise result.error
        parts = [
            f"{count} {word}" for word in ("delivered", "parked", "failed") if (count := result.count(word))
        ]
        errors = sorted(
            {outcome.error for outcome in result.results if outcome.error and outcome.status == "failed"}
        )
        self.listener.say(
            ", ".join(parts) + (f" ({'; '.join(errors)})" if errors else "") if parts else "nothing to do"
        )


def _progress(listener: StoryListener) -> Listener:
    made = [0]

    def listen(event: Event) -> None:
        match event:
            case Warned(text):
                listener.say(f"warning: {text}")
            case Finished():
                made[0] += 1
                listener.progress("resources created", made[0], max(made[0], _RESOURCES))
            case _:
                pass

    return listen
