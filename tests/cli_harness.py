"""The parts of the test bed that ``conftest.py`` hands out: stack, project folders, runs of the program."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.local.process import FOLDER, Files
from fifo_cli.model.names import Names

if TYPE_CHECKING:
    from tests.integration.fork_server import ForkedProcess

ROOT = Path(__file__).resolve().parent.parent
# Read by the embedded stack of the tests when it starts: its functions start in milliseconds.
STACK_PYTHON = ROOT / "tests" / "stack_python"
_KEPT = ("PATH", "HOME", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR", "COVERAGE_PROCESS_START")
_DUMMY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
_NOWHERE = "http://127.0.0.1:9"


def give_known_key(folder: Path) -> None:
    """Give a folder's stack the key test/test, which clients of the tests use; before its first start."""
    files = Files(folder)
    files.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.credentials.touch(mode=0o600)
    files.credentials.write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test\n")


def new_name() -> str:
    """Return a pipeline name that no other test has."""
    return f"t-{secrets.token_hex(5)}"


@dataclass(frozen=True)
class Stack:
    """The embedded stack that runs for ``folder``."""

    folder: Path
    endpoint: str

    @property
    def port(self) -> int:
        port = urlsplit(self.endpoint).port
        assert port is not None
        return port

    def aws(self) -> Aws:
        """Return clients of the stack."""
        return Aws(AwsEndpoint(endpoint_url=self.endpoint, local=True))

    def stop_invoking(self, pipelines: Iterable[str]) -> None:
        """Delete the mappings and functions of pipelines that no test needs any more.

        The stack invokes every mapping's function from one thread, one after the other. A function that fails
        is invoked again and again, each time in a new process: what one test left would delay the next. And
        of each function that ran it keeps a process, of some 50 MB.
        """
        functions = {f"{name}-{which}" for name in pipelines for which in ("enqueuer", "worker")}
        if not functions:
            return
        client = self.aws().client("lambda")
        for page in client.get_paginator("list_event_source_mappings").paginate():
            for mapping in page["EventSourceMappings"]:
                if functions & set(mapping["FunctionArn"].split(":")):
                    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
                        client.delete_event_source_mapping(UUID=mapping["UUID"])
        for name in functions:
            with contextlib.suppress(client.exceptions.ResourceNotFoundException):
                client.delete_function(FunctionName=name)

    def lend(self, folder: Path) -> None:
        """Make ``--local`` in ``folder`` mean this stack, as if ``local up`` had been run there."""
        (folder / FOLDER).symlink_to(self.folder / FOLDER, target_is_directory=True)


@dataclass(frozen=True)
class Ran:
    """What a run of the program left: exit code, stdout and stderr."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return stdout as the one JSON document it must be."""
        return json.loads(self.out)

    def jsonl(self) -> list[Any]:
        """Return stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    def ok(self) -> Ran:
        """Return itself, if the run exited 0; fails with its output otherwise."""
        assert self.code == 0, f"{' '.join(self.args)}: exit {self.code}\n{self.out}\n{self.err}"
        return self


@dataclass(frozen=True)
class Background:
    """A run of the program that goes on."""

    args: tuple[str, ...]
    process: subprocess.Popen[str] | ForkedProcess

    @property
    def pid(self) -> int:
        return self.process.pid

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 60.0) -> Ran:
        """Return what the run left, once it ends."""
        out, err = self.process.communicate(timeout=timeout)
        return Ran(self.args, self.process.wait(), out, err)


@dataclass(frozen=True)
class Project:
    """A folder with a fifo.toml."""

    folder: Path
    name: str
    background: list[Background] = field(default_factory=list)

    @classmethod
    def create(
        cls, folder: Path, name: str, url: str, stack: Stack | None, tables: Mapping[str, Any]
    ) -> Project:
        folder.mkdir(parents=True)
        if stack is not None:
            stack.lend(folder)
        made = cls(folder, name)
        made.configure(_overlaid(_default(name, url), tables))
        return made

    @property
    def names(self) -> Names:
        return Names(self.name)

    @property
    def config(self) -> Path:
        return self.folder / "fifo.toml"

    def configure(self, document: Mapping[str, Any]) -> None:
        """Write a whole fifo.toml."""
        self.config.write_text(to_toml(document), encoding="utf-8")

    def run(
        self,
        *args: str,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Ran:
        """Run a command line in the folder, without a terminal, and wait for it.

        It is a process of its own, forked from one that has imported the program, unless a variable is given
        that the interpreter reads when it starts.
        """
        from tests.integration.fork_server import can_be_forked, forker

        if can_be_forked(env or {}):
            return forker().run(self.folder, args, env or {}, input=input, timeout=timeout, patient=False)
        done = subprocess.run(
            [sys.executable, "-m", "fifo_cli", *args],
            cwd=self.folder,
            env=clean_environment(env),
            input=input.encode() if isinstance(input, str) else input or b"",
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return Ran(args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def local(self, *args: str, **options: Any) -> Ran:
        """Run a command line with ``--local``."""
        return self.run(*args, "--local", **options)

    def at(self, endpoint: str, *args: str, **options: Any) -> Ran:
        """Run a command line against another endpoint, such as the proxy's, as if that were AWS."""
        env = {**_DUMMY, **options.pop("env", {})}
        return self.run(*args, "--endpoint-url", endpoint, env=env, **options)

    def start(
        self,
        *args: str,
        endpoint: str | None = None,
        env: Mapping[str, str] | None = None,
        forked: bool = sys.platform == "linux",
    ) -> Background:
        """Start a command line, with ``--local`` or against an endpoint; killed when the test ends.

        Interrupted, it waits longer for answers than it would for AWS's (tests/patient.py). Unless it is
        ``forked``, it begins with a new Python.
        """
        from tests.integration.fork_server import can_be_forked, forker

        line = [*args, *(("--local",) if endpoint is None else ("--endpoint-url", endpoint))]
        variables = {**({} if endpoint is None else _DUMMY), **(env or {})}
        process: subprocess.Popen[str] | ForkedProcess
        if forked and can_be_forked(variables):
            process = forker().popen(self.folder, line, variables)
            self.background.append(Background(args, process))
            return self.background[-1]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.patient", *line],
            cwd=self.folder,
            env=clean_environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.background.append(Background(args, process))
        return self.background[-1]

    def end(self) -> None:
        """Kill what still runs."""
        for each in self.background:
            with each.process, contextlib.suppress(ProcessLookupError):
                each.process.kill()


def wait_until(condition: Callable[[], object], timeout: float = 60.0, interval: float = 0.02) -> None:
    """Wait until a condition holds; fails after ``timeout`` seconds.

    To ask the stack takes its time and ours, so what takes long is asked less often.
    """
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < timeout, f"it did not happen within {timeout} s"
        time.sleep(max(interval, min(waited / 10, 0.1)))


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build the environment of a program under test: no AWS of the user's, and no way out of this machine."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        "PYTHONPATH": os.pathsep.join(paths),
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HTTP_PROXY": _NOWHERE,
        "HTTPS_PROXY": _NOWHERE,
        "NO_PROXY": "127.0.0.1,localhost",
        **(extra or {}),
    }


def _default(name: str, url: str) -> dict[str, Any]:
    return {
        "pipeline": {"name": name},
        "table": {"name": name, "create": True, "partition_key": "id"},
        "message": {"events": ["INSERT"], "group": "grp"},
        "queue": {"retention": "4d"},
        # Never during a test: the worker runs when the test says so.
        "schedule": {"expressions": ["rate(365 days)"], "messages_per_run": 10},
        "api": [{"url": f"{url}/orders", "timeout": "2s"}],
    }


def _overlaid(base: Any, over: Any) -> Any:
    """Lay tables over tables, key by key; None removes one. One ``api`` table overlays the default's."""
    if isinstance(base, list) and isinstance(over, dict):
        return [_overlaid(each, over) for each in base]
    if not isinstance(base, dict) or not isinstance(over, Mapping):
        return over
    merged = {**base, **{key: _overlaid(base.get(key), value) for key, value in over.items()}}
    return {key: value for key, value in merged.items() if value is not None}


def to_toml(document: Mapping[str, Any]) -> str:
    """Write tables, arrays of tables and their values as TOML."""
    lines: list[str] = []
    for name, value in document.items():
        tables, header = (value, f"[[{name}]]") if isinstance(value, list) else ([value], f"[{name}]")
        for table in tables:
            lines += [header, *(f"{_key(key)} = {_value(each)}" for key, each in table.items()), ""]
    return "\n".join(lines)


def _key(key: str) -> str:
    return json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    # JSON strings, numbers and booleans are TOML; only DEL, which JSON leaves as it is, TOML forbids.
    return json.dumps(value).replace("\x7f", "\\u007f")
