"""The pipeline of a run: its fifo.toml, and the commands that are run on it, each as a child process.

The commands are what a user types: the same program, options, credentials and exit codes. A child can be
killed as a user's terminal can, and no operation is called in a way that no user calls it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fifo_cli.errors import FifoError
from fifo_cli.invocation import PROGRAM
from fifo_cli.model.names import PROVE_PREFIX
from fifo_cli.model.settings import CONFIG_FILE, Settings, load

# A deploy that waits for a queue's name after a destroy takes minutes; nothing takes this long.
COMMAND_SECONDS: Final = 1200.0
_ENDS_WITHIN: Final = 10.0
_SHOWN: Final = 400  # characters of a child's last words
# What would change which pipeline the children mean.
_LEFT_OUT: Final = ("FIFO_CONFIG", "FIFO_ENV", "FIFO_LOCAL")


class CheckFailed(FifoError):
    """What a check expected did not happen."""


class NotOfferedError(FifoError):
    """The service does not have what a check needs."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs between the fifo.toml files of a run.

    Its timeouts are longer than the slowest answer of the API. After an answer that came too late, a delivery
    comes twice, rightly so.
    """

    name: str
    url: str  # the receiver's, without a path
    tags: Mapping[str, str]
    by_queue: bool = False
    where: str = ""

    def toml(self) -> str:
        """Return the fifo.toml; what it holds of the run's secrets are the names of their parameters."""
        where = f"where = {json.dumps(self.where)}\n" if self.where else ""
        tags = "".join(f"{key} = {json.dumps(value)}\n" for key, value in self.tags.items())
        return f"""\
[pipeline]
name = "{self.name}"

[table]
name = "{self.name}"
partition_key = "id"

[message]
group = "group"
{where}
[queue]
retention = "1d"

[schedule]
expressions = ["rate(1 minute)"]
messages_per_run = 500

[worker]
trigger = "{"queue" if self.by_queue else "schedule"}"
concurrency = 8
retry = ["1s", "5s"]

[functions]
timeout = "120s"
log_retention = "1d"

[api]
name = "receiver"
url = "{self.url}/deliver"
timeout = "60s"
headers = {{ x-prove-secret = "{{secret}}", Authorization = "Bearer {{api_key}}" }}
keys = {{ secret = "/{self.name}/secret", api_key = "/{self.name}/api-key" }}

[tags]
{tags}"""


def layouts() -> list[Settings]:
    """Return the settings that a run deploys, by the schedule and by the queue, under a name of its own."""
    found = []
    with tempfile.TemporaryDirectory(prefix=PROVE_PREFIX) as folder:
        path = Path(folder) / CONFIG_FILE
        for by_queue in (False, True):
            layout = Layout(PROVE_PREFIX + 8 * "0", "https://example.com", {}, by_queue=by_queue)
            path.write_text(layout.toml(), encoding="utf-8")
            found.append(load(path).settings)
    return found


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left."""

    line: str  # as it would be typed
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return the one JSON document on stdout."""
        try:
            return json.loads(self.out)
        except ValueError:
            raise CheckFailed(f"{self.line} exited {self.code} and printed no JSON: {self.reason}") from None

    @property
    def reason(self) -> str:
        """The error's line on stderr, or the last one."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error:")]
        return (errors or lines or ["(no message)"])[-1][:_SHOWN]

    def expect(self, *codes: int) -> Done:
        """Return itself; raises CheckFailed if the exit code is another one."""
        if self.code not in codes:
            raise CheckFailed(f"{self.line} exited {self.code}: {self.reason}")
        return self


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands on the run's pipeline. ``where`` are the options that say which AWS is meant."""

    folder: Path
    where: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    def share(self, folder: Path | None) -> None:
        """Let --local mean the embedded stack whose files are in another project's folder."""
        if folder is not None:
            (self.folder / folder.name).symlink_to(folder, target_is_directory=True)

    def configure(self, layout: Layout) -> None:
        """Write fifo.toml."""
        (self.folder / CONFIG_FILE).write_text(layout.toml(), encoding="utf-8")

    def run(self, *words: str, stdin: str = "", codes: Sequence[int] = (0,)) -> Done:
        """Run a command with ``-o json`` to its end; raises CheckFailed for an exit code not in ``codes``.

        An interrupt ends the child first.
        """
        return self.start(*words).end(stdin=stdin).expect(*codes)

    def run_side_by_side(self, *commands: Sequence[str], stdin: Sequence[str] = ()) -> list[Done]:
        """Run commands that do not concern each other at once; raises CheckFailed unless all exit 0.

        ``stdin`` is what each reads, in their order.
        """
        children = [self.start(*words) for words in commands]
        try:
            given = stdin or [""] * len(children)
            return [child.end(stdin=text).expect(0) for child, text in zip(children, given, strict=True)]
        finally:
            for child in children:
                child.stop()

    def start(self, *words: str) -> Child:
        """Start a command in a process group of its own: a Ctrl-C at the terminal does not reach it."""
        config = str(self.folder / CONFIG_FILE)
        kept = {name: text for name, text in self.environment.items() if name not in _LEFT_OUT}
        process = subprocess.Popen(
            [sys.executable, "-m", "fifo_cli", *words, "-o", "json", "--config", config, *self.where],
            cwd=self.folder,
            env=kept,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        return Child(f"`{PROGRAM} {shlex.join(words)}`", process)


@dataclass(frozen=True, slots=True)
class Child:
    """A command that runs."""

    line: str
    process: subprocess.Popen[str]

    def end(self, *, stdin: str = "") -> Done:
        """Wait for its end, and return what it left; all else that ends the waiting ends the child, too."""
        try:
            out, err = self.process.communicate(stdin, timeout=COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            self.stop()
            raise CheckFailed(f"{self.line} did not end within {COMMAND_SECONDS:.0f} s") from None
        except BaseException:
            self.stop()
            raise
        return Done(self.line, self.process.returncode, out, err)

    def kill(self) -> None:
        """Kill it, as a crash does."""
        self.process.kill()
        self.process.communicate()

    def stop(self) -> None:
        """End it as a user would, if it has not ended, and by force if it does not end."""
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
