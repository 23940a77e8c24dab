"""An incident as the person on call has it: a terminal of 80 columns, the runbook, what the program prints.

``OnCall.type`` accepts a command only if the program has printed it in this incident, or the runbook's own
text has it (its blocks are output of these very incidents, and do not count). A shell parses it, as it would
a line that was copied from the screen.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.local.receiver import Receiver
from fifo_cli.model.names import QueueRole
from tests.cli_harness import ROOT, Project, Stack, wait_until
from tests.integration.screens import Screen, shown

RUNBOOK: Final = ROOT / "docs" / "runbook.md"
COMMANDS_MOST: Final = 4
_ROWS: Final = 300  # so many that nothing scrolls away; the program does not ask how many there are
_BLOCK: Final = re.compile(r"^<!-- incident: (\S+) -->\n```console\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_NEXT: Final = "next: "
_AFTER_NEXT: Final = (_NEXT, "do not ", "means: ")
PROGRAMS: Final = ("fifo-cli ", "aws ")
_QUOTED: Final = re.compile(r"`((?:fifo-cli|aws) [^`]*)`")
_PLACEHOLDER: Final = re.compile("[A-Z][A-Z_]+")
# What a shell makes of a line; each program prints its name and arguments instead of running.
_SHIM: Final = '#!/bin/sh\nprintf \'%s\\0\' "${0##*/}" "$@"\n'
_ROWS_SHOWN: Final = 12
# What is different in each run, and what stands for it in the runbook.
_UNSTABLE: Final = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "5f0c1d2e-3a4b-4c5d-8e6f-7a8b9c0d1e2f"),
    (r"\b(?!0{8})[0-9a-f]{8}\b", "5f0c1d2e"),
    (r"stream \d{4}-[^/]+/", "stream 2026-01-02T03:04:05.678/"),
    (r"\d{4}/\d\d/\d\d/\[(\d+)\][0-9a-f]+", r"2026/01/02/[\1]4aa3db94ea95428bb52135d266b4c"),
    (r"\b\d{30}\b", "000000017959011668140000000037"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-01-02T03:04:05.678Z"),
    (r"\b\d\d-\d\d \d\d:\d\d:\d\d\b", "01-02 03:04:05"),
    (r"\b\d\d:\d\d:\d\d(Z| UTC)", r"03:04:05\1"),
    (r"\b(\d+[hm] )?\d+s\b", "12s"),
    (r" {1,3}\d+ ms", "  42 ms"),
    (r"(pid: +)\d+", r"\g<1>4711"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:4566"),
    (rf"{re.escape(getpass.getuser())}@{re.escape(socket.gethostname())}", "eve@ops"),
)
WRITE_TO: Final = "RUNBOOK_BLOCKS"
UPDATE: Final = "docs/runbook.md shows something else: run python scripts/make_runbook.py"
_YES: Final = re.compile(r"\[y/N\]\s*$")


@dataclass(frozen=True)
class Step:
    """One command: what was typed, what was shown, and the exit code; or a note of what happened outside."""

    command: str = ""
    screen: str = ""
    code: int = 0
    note: str = ""

    @property
    def hint(self) -> str:
        """The first thing to do next, as one line; "" if there is none."""
        lines = iter(self.screen.splitlines())
        for line in lines:
            column = line.find(_NEXT)
            if column < 0 or line[:column].strip():
                continue
            found = [line[column + len(_NEXT) :]]
            for more in lines:
                if more[:column].strip() or not more.strip() or more.strip().startswith(_AFTER_NEXT):
                    break
                found.append(more.strip())
            return " ".join(found)
        return ""

    @property
    def advised(self) -> str:
        """The first command of that, or all of it where it has none."""
        found = _QUOTED.search(self.hint)
        return found[1] if found else self.hint


def flat(text: str) -> str:
    return " ".join(text.split())


@dataclass
class OnCall:
    """Who types, where, and what was seen so far."""

    project: Project
    shims: Path
    env: Mapping[str, str]
    programs: Mapping[str, Callable[..., object]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def type(
        self, command: str, *, exits: int = 0, advises: str = "", says: str = "", enter: str = ""
    ) -> Step:
        """Type a command that was printed. Questions are answered with yes; ``enter`` is a value asked for.

        ``advises`` is the first command of the first hint, or how one without begins; "" asks for none.
        """
        assert self._was_printed(command), f"nobody printed: {command}\n{self.transcript()}"
        program, *words = self._parsed(command)
        if program == "fifo-cli":
            code, screen = self._run(words, enter)
        else:
            self.programs[program](*words)
            code, screen = 0, ""
        step = Step(command, screen, code)
        self.steps.append(step)
        assert code == exits, f"exit {code}, not {exits}\n{self.transcript()}"
        advised = step.advised if advises.startswith(PROGRAMS) else step.hint[: len(advises) or None]
        assert advised == advises, f"it does not advise: {advises or 'nothing'}\n{self.transcript()}"
        assert flat(says) in flat(screen), f"it does not say: {says}\n{self.transcript()}"
        return step

    def meanwhile(self, note: str, *happens: Callable[[], object]) -> None:
        """Let something happen that nobody types here."""
        for each in happens:
            each()
        self.steps.append(Step(note=note))

    @property
    def typed(self) -> list[Step]:
        return [step for step in self.steps if step.command]

    def transcript(self) -> str:
        """All steps as the terminal had them."""
        return "\n".join(
            f"# {one.note}" if one.note else f"$ {one.command}\n{one.screen}" for one in self.steps
        )

    def check(self) -> None:
        """Check that it took few commands, and ended well: status, then audit, both without a complaint."""
        status, *between, ok, audit = [
            one.command.split()[1] for one in self.typed if one.command.startswith("fifo")
        ]
        assert (status, ok, audit) == ("status", "status", "audit")
        assert len([*between, ok]) <= COMMANDS_MOST, self.transcript()
        last, proof = self.typed[-2:]
        assert (last.code, last.screen[:4], proof.code) == (0, "OK  ", 0), self.transcript()

    def _was_printed(self, command: str) -> bool:
        printed = [*runbook_commands(), *(each for one in self.steps for each in _QUOTED.findall(one.screen))]
        return any(is_same(command, each) for each in printed)

    def _parsed(self, command: str) -> list[str]:
        ran = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.project.folder,
            env={"PATH": str(self.shims)},
            capture_output=True,
            check=True,
        )
        return ran.stdout.decode().split("\0")[:-1]

    def _run(self, words: list[str], enter: str) -> tuple[int, str]:
        with shown(*words, folder=self.project.folder, lines=_ROWS, env=self.env) as screen:
            code = _answered(screen, enter)
            return code, screen.unbroken().rstrip() + "\n"


def _answered(screen: Screen, enter: str, seconds: float = 90) -> int:
    """Read to the end, saying yes to each question and typing ``enter`` where a value is asked for."""
    deadline = time.monotonic() + seconds
    asked = 0
    while screen.read(0.1):
        assert time.monotonic() < deadline, f"it did not end:\n{screen.text}"
        line = screen.text.rstrip()
        if _YES.search(line) and asked != len(line):
            asked = len(line)
            screen.type("y\n")
        elif enter and line.endswith(":") and not asked:
            asked = len(line)
            screen.type(f"{enter}\n")
    return screen.end()


@cache
def runbook_commands() -> tuple[str, ...]:
    """The commands in the runbook's own text, without its blocks of output."""
    text = _BLOCK.sub("", RUNBOOK.read_text(encoding="utf-8"))
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    return (*_QUOTED.findall(text), *(line for line in lines if line.startswith(PROGRAMS)))


def is_same(typed: str, printed: str) -> bool:
    """Whether that was typed which was printed; a word in capitals stands for any other."""
    words, wanted = shlex.split(typed), shlex.split(printed)
    return len(words) == len(wanted) and all(
        word == want or _PLACEHOLDER.fullmatch(want) for word, want in zip(words, wanted, strict=True)
    )


@cache
def runbook_blocks() -> dict[str, str]:
    """The runbook's blocks of output by incident."""
    return dict(_BLOCK.findall(RUNBOOK.read_text(encoding="utf-8")))


def shown_in_runbook(steps: Iterable[Step], folder: str, first: int) -> str:
    """Write an incident for the runbook: the head of each screen, without what differs from run to run.

    ``folder`` is the project's, and items are counted from ``first`` on.
    """
    lines = []
    for step in steps:
        if step.note:
            lines.append(f"# {step.note}")
            continue
        # Of status, the verdict and what to do: the numbers below are in every one.
        # An audit counts the other incidents, too.
        screen = step.screen.rstrip()
        rows = (screen.split("\n\n")[0] if " status" in step.command else screen).splitlines()
        most = 1 if " audit" in step.command else _ROWS_SHOWN
        rows[most:] = ["..."] * (len(rows) > most)
        lines += [f"$ {step.command}", *rows]
    text = "\n".join(lines).replace(folder, "/home/ops/orders")
    text = re.sub(r"\bo(\d{4})\b", lambda found: f"o{int(found[1]) - first:04}", text)
    for pattern, constant in _UNSTABLE:
        text = re.sub(pattern, constant, text)
    return f"{text}\n"


def outline(block: str) -> list[str]:
    """Return what a block must have in common with a run: the commands, and the first hint of each."""
    steps: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append((line, []))
        elif steps:
            steps[-1][1].append(line)
    return [text for command, rows in steps for text in (command, Step(screen="\n".join(rows)).hint)]


def make_shims(folder: Path) -> Path:
    """Make programs that print their name and arguments."""
    folder.mkdir()
    for name in ("fifo-cli", "aws"):
        (folder / name).write_text(_SHIM)
        (folder / name).chmod(0o755)
    return folder


@dataclass
class Shop:
    """A pipeline with two APIs and the world around it: customers who order, ticks of the schedule."""

    project: Project
    stack: Stack
    payments: Receiver
    mail: Receiver
    shims: Path
    code: str
    tables: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    well: bool = True

    @property
    def name(self) -> str:
        return self.project.name

    @property
    def aws(self) -> Aws:
        return self.stack.aws()

    @contextmanager
    def incident(
        self, name: str, *, env: Mapping[str, str] | None = None, **programs: Callable[..., object]
    ) -> Iterator[OnCall]:
        """Let somebody come to a terminal in the project's folder; afterwards all must be well.

        $FIFO_LOCAL is set there, as $AWS_PROFILE would be. ``programs`` are others that they may type.
        """
        on_call = OnCall(self.project, self.shims, {"FIFO_LOCAL": "1"} if env is None else env, programs)
        first = self.number
        try:
            yield on_call
            if on_call.typed[-1].command.split()[1] != "audit":
                on_call.type("fifo-cli audit --since 24h")
            on_call.check()
        finally:
            in_runbook = shown_in_runbook(on_call.steps, str(self.project.folder), first)
            if folder := os.environ.get(WRITE_TO):
                (Path(folder) / f"{name}.txt").write_text(in_runbook)
        if not os.environ.get(WRITE_TO):
            assert outline(runbook_blocks().get(name, "")) == outline(in_runbook), UPDATE
        self.configure()
        self.correct()
        self.well = True

    def configure(self, **tables: Any) -> None:
        """Write fifo.toml as at first, but for some tables."""
        document = shop_document(self.name, self.payments.url, self.mail.url, bool(self.code))
        self.project.configure({**document, **self.tables, **tables})

    def write_code(self, text: str) -> None:
        if self.code:
            (self.project.folder / "handlers").mkdir(exist_ok=True)
            (self.project.folder / "handlers" / "shop.py").write_text(text)

    def correct(self) -> None:
        """Write the code as at first."""
        self.write_code(self.code)

    def healed(self) -> None:
        """Let the APIs take everything again."""
        for api in (self.payments, self.mail):
            api.answer = lambda received: None
            api.recover()

    def total(self, role: QueueRole) -> int:
        return Queue(self.aws, self.project.names, role).counts().total

    def order(self, count: int, *customers: str, sends: int | None = None, **more: Any) -> list[str]:
        """Write orders to the table, the customers taking turns, and wait until ``sends`` are in line."""
        before, ids = self.total("main"), []
        for number in range(count):
            self.number += 1
            ids.append(f"o{self.number:04}")
            customer = customers[number % len(customers)]
            item = {"id": ids[-1], "customer": customer, "status": "paid", "total": self.number * 5, **more}
            self.aws.client("dynamodb").put_item(
                TableName=self.name, Item={key: _typed(item[key]) for key in item}
            )
        wanted = before + (count if sends is None else sends)
        wait_until(lambda: self.total("main") >= wanted)
        return ids

    def tick(self) -> None:
        """Let the worker run, as at a time of its schedule."""
        self.aws.client("lambda").invoke(
            FunctionName=f"{self.project.names.function('worker')}:live",
            Payload=json.dumps({"detail-type": "Scheduled Event"}),
        )


def _typed(value: int | str) -> dict[str, str]:
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


@contextmanager
def opened_shop(
    folder: Path, stack: Stack, *, name: str = "orders", code: str = "", **tables: Any
) -> Iterator[Shop]:
    """Deploy a shop for the block inside, with some tables of fifo.toml."""
    with Receiver(key="sesame-1723") as payments, Receiver() as mail:
        project = Project.create(folder / name, name, payments.url, stack, {})
        code = code.format(url=f"{payments.url}/orders") if code else ""
        shop = Shop(project, stack, payments, mail, make_shims(folder / f"{name}-bin"), code, tables)
        shop.configure()
        shop.write_code(code)
        project.local("keys", "set", "api_key", input="sesame-1723").ok()
        project.local("deploy", "--yes").ok()
        try:
            yield shop
        finally:
            shop.configure()
            shop.write_code(code)
            project.end()
            project.local("destroy", "--yes")


def shop_document(name: str, payments: str, mail: str, code: bool) -> dict[str, Any]:
    key = {"headers": {"Authorization": "Bearer {api_key}"}, "keys": {"api_key": f"/{name}/api-key"}}
    apis = [
        {"name": "payments", "url": f"{payments}/orders", "timeout": "2s", **key},
        {"name": "mail", "url": f"{mail}/confirmations", "timeout": "2s"},
    ]
    return {
        "pipeline": {"name": name},
        "table": {"name": name, "create": True, "partition_key": "id"},
        "message": {"events": ["INSERT"], "where": "status == 'paid'", "group": "customer"},
        "schedule": {"expressions": ["rate(1 day)"], "messages_per_run": 50},
        "functions": {"timeout": "10s" if code else "20s"},
        "api": apis[:1] if code else apis,
        **(
            {"handlers": {"source": "handlers/", "message": "shop:to_message", "request": "shop:to_request"}}
            if code
            else {}
        ),
    }
