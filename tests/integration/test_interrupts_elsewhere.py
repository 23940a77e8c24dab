"""The first signal is heard where a command waits for something else than an answer of AWS."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from fifo_cli.aws.sqs import Queue
from fifo_cli.local.receiver import Receiver
from tests.cli_harness import Project, Stack, clean_environment, new_name
from tests.faults import Stall, on
from tests.integration.fork_server import ForkServer
from tests.integration.interrupted_runs import CODES, KEYS, WITHIN, BlackHole, Place, interrupt
from tests.integration.proxy import Proxy
from tests.integration.queue_pipeline import ENV, Make
from tests.integration.test_interrupts import lines, typed

EACH_SIGNAL: Final = pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
# Where the signals differ in nothing but their number, every third case has the same.
IN_TURN: Final = tuple(CODES)
# Writes AWS's files into a home; returns variables, and whether the search for credentials hangs.
Source = Callable[[Path, BlackHole], tuple[dict[str, str], Callable[[], bool]]]
ROLE: Final = "arn:aws:iam::123456789012:role/ops"
# Commands that finish what is in flight, that ask many things at once, and that are just interrupted.
LINES: Final = (
    "depth",
    "depth --watch -o jsonl",
    "drain --all",
    "redrive --yes",
    "status",
    "deploy --yes",
    "check",
)


@pytest.fixture
def place(fork_server: ForkServer, tmp_path: Path) -> Place:
    tables = {"api": {"keys": {"api_key": "/k"}, "headers": {"X": "{api_key}"}}}
    made = Project.create(tmp_path / "project", new_name(), "http://127.0.0.1:9", None, tables)
    (tmp_path / "tmp").mkdir()
    return Place(made, fork_server, tmp_path / "tmp")


def process(home: Path, hole: BlackHole) -> tuple[dict[str, str], Callable[[], bool]]:
    """A credential_process that starts another one and does not end."""
    started = home / "started"
    (home / "keys.sh").write_text(f"touch {started}\nsleep 120\necho too late\n")
    (home / "config").write_text(f"[default]\ncredential_process = sh {home / 'keys.sh'}\n")
    return {}, started.exists


def role(home: Path, hole: BlackHole) -> tuple[dict[str, str], Callable[[], bool]]:
    """STS does not answer AssumeRole."""
    (home / "config").write_text(
        f"[default]\nrole_arn = {ROLE}\nsource_profile = keys\n"
        "[profile keys]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    return {"AWS_ENDPOINT_URL_STS": hole.url}, hole.called.is_set


def web_identity(home: Path, hole: BlackHole) -> tuple[dict[str, str], Callable[[], bool]]:
    (home / "config").write_text("")
    (home / "token").write_text("a-token")
    env = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "token")}
    return {**env, "AWS_ENDPOINT_URL_STS": hole.url}, hole.called.is_set


def sso(home: Path, hole: BlackHole) -> tuple[dict[str, str], Callable[[], bool]]:
    (home / "config").write_text(
        "[default]\nsso_session = ops\nsso_account_id = 123456789012\nsso_role_name = ops\n"
        "[sso-session ops]\nsso_region = us-east-1\nsso_start_url = https://ops.awsapps.com/start\n"
    )
    # botocore looks up where it is when it is imported.
    cache = Path(os.environ["HOME"], ".aws", "sso", "cache")
    cache.mkdir(parents=True, exist_ok=True)
    token = {
        "accessToken": "t",
        "expiresAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7200)),
    }
    token |= {"startUrl": "https://ops.awsapps.com/start", "region": "us-east-1"}
    (home / "token").write_text(json.dumps(token))
    # At once: others read it at the same time.
    os.replace(home / "token", cache / f"{hashlib.sha1(b'ops').hexdigest()}.json")
    return {"AWS_ENDPOINT_URL_SSO": hole.url}, hole.called.is_set


def container(home: Path, hole: BlackHole) -> tuple[dict[str, str], Callable[[], bool]]:
    (home / "config").write_text("")
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{hole.url}/keys"}, hole.called.is_set


def metadata(home: Path, hole: BlackHole) -> tuple[dict[str, str], Callable[[], bool]]:
    (home / "config").write_text("")
    env = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": hole.url}
    return {**env, "AWS_METADATA_SERVICE_TIMEOUT": "60"}, hole.called.is_set


@pytest.mark.parametrize(
    "source", [process, role, web_identity, sso, container, metadata], ids=lambda one: one.__name__
)
def test_while_credentials_are_looked_for(place: Place, source: Source) -> None:
    def run(line: str, number: signal.Signals) -> str:
        home = place.tmp / f"home-{line.split(maxsplit=1)[0]}-{len(line)}"
        home.mkdir()
        with BlackHole() as hole:
            own, hangs = source(home, hole)
            files = {
                "AWS_CONFIG_FILE": str(home / "config"),
                "AWS_SHARED_CREDENTIALS_FILE": str(home / "none"),
            }
            env = {"HOME": str(home), "AWS_DEFAULT_REGION": "us-east-1", **files, **own}
            return place.interrupted(line.split(), number, env, hangs=hangs)

    assert place.in_a_loop({line: partial(run, line, IN_TURN[at % 3]) for at, line in enumerate(LINES)}) == {}


def test_at_the_question_for_a_code(place: Place) -> None:
    """The echo is on again, whichever thread had switched it off."""

    def run(line: str, number: signal.Signals) -> str:
        home = place.tmp / f"home-{line.split(maxsplit=1)[0]}-{len(line)}-{number.name}"
        home.mkdir()
        (home / "config").write_text(
            f"[default]\nrole_arn = {ROLE}\nsource_profile = keys\nmfa_serial = arn:aws:iam::1:mfa/me\n"
            "[profile keys]\naws_access_key_id = a\naws_secret_access_key = b\n"
        )
        env = {"HOME": str(home), "AWS_CONFIG_FILE": str(home / "config"), "AWS_DEFAULT_REGION": "us-east-1"}
        env["AWS_SHARED_CREDENTIALS_FILE"] = str(home / "none")
        return place.interrupted(line.split(), number, env, hangs=lambda: True, typed=("MFA code", ""))

    runs = {f"{line} {number.name}": partial(run, line, number) for line in LINES for number in CODES}
    assert place.in_a_loop(runs) == {}


@EACH_SIGNAL
def test_while_pip_runs(fork_server: ForkServer, tmp_path: Path, number: signal.Signals) -> None:
    """Nothing of pip is left: no process, no half installed library."""
    (tmp_path / "tmp").mkdir()

    def run(line: str) -> str:
        handlers = {"source": "code/", "request": "mine:to_request", "message": "mine:to_message"}
        made = Project.create(
            tmp_path / new_name(), new_name(), "http://127.0.0.1:9", None, {"handlers": handlers}
        )
        (made.folder / "code").mkdir()
        (made.folder / "code" / "mine.py").write_text("to_request = to_message = print\n")
        (made.folder / "code" / "requirements.txt").write_text("some-library==1.0\n")
        place = Place(made, fork_server, tmp_path / "tmp")
        with BlackHole() as index, BlackHole() as aws:
            env = {**KEYS, "PIP_INDEX_URL": f"{index.url}/simple", "AWS_ENDPOINT_URL": aws.url}
            wrong = place.interrupted(line.split(), number, env, hangs=index.called.is_set)
        left = [str(path) for path in (made.folder / ".fifo").rglob("*") if path.name.startswith(".new-")]
        return wrong or " ".join(left)

    place = Place(Project(tmp_path, "none"), fork_server, tmp_path / "tmp")
    assert place.in_a_loop({line: partial(run, line) for line in ("package", "drain --all")}) == {}


HANGS: Final = {
    "asleep": "time.sleep(600)",
    "in a loop": "while True: pass",
    "at a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
}


@pytest.fixture
def coded(make: Make, tmp_path: Path) -> Iterator[Callable[[str], tuple[Place, Path]]]:
    """Makes queues with a message in main, and the user's code."""
    with make() as one:

        def write(code: str) -> tuple[Place, Path]:
            tables = {"handlers": {"source": "code/", "request": "mine:to_request"}}
            url = "http://127.0.0.1:9"
            made = Project.create(tmp_path / "coded", one.names.pipeline, url, None, tables)
            (made.folder / "code").mkdir()
            begun = made.folder / "begun"
            text = f"import pathlib, threading, time\nbegun = pathlib.Path({str(begun)!r})\n{code}\n"
            (made.folder / "code" / "mine.py").write_text(text)
            one.send("main", "{}")
            (tmp_path / "tmp").mkdir()
            return Place(made, one.fork_server, tmp_path / "tmp"), begun

        yield write
        assert one.total("main") == 1


@pytest.mark.parametrize(
    ("where", "deed", "number"),
    [
        pytest.param(where, deed, IN_TURN[at % 3], id=f"{where} {name}")
        for at, (where, (name, deed)) in enumerate(product(("import", "request"), HANGS.items()))
    ],
)
def test_while_the_users_code_runs(
    coded: Callable[[str], tuple[Place, Path]],
    stack: Stack,
    where: str,
    deed: str,
    number: signal.Signals,
) -> None:
    """What it had in flight is in main, and seen again at once: the message is not to blame."""
    deed = f"to_request = print\nbegun.touch()\n{deed}"
    if where == "request":
        deed = "def to_request(body, attributes, keys):\n" + textwrap.indent(deed, "    ")
    place, begun = coded(deed)  # the checks of fifo.toml look for the function without importing it
    env = {**ENV, "AWS_ENDPOINT_URL": stack.endpoint}
    assert place.interrupted(["drain", "--all"], number, env, hangs=begun.exists) == ""


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        *(pytest.param(one, marks=pytest.mark.long) for one in (signal.SIGTERM, signal.SIGHUP)),
    ],
)
def test_while_an_answer_stops_half_way(
    project: Callable[..., Project],
    fork_server: ForkServer,
    stack: Stack,
    tmp_path: Path,
    receiver: Receiver,
    number: signal.Signals,
) -> None:
    """Every command against a deployed pipeline, of which one of the first answers breaks off in its body."""
    made = project(api={"keys": {"api_key": "/k"}, "headers": {"X": "{api_key}"}})
    made.local("deploy", "--yes").ok()
    (tmp_path / "tmp").mkdir()
    place, reached = Place(made, fork_server, tmp_path / "tmp"), []

    def run(line: list[str], nth: int) -> str:
        with Proxy(stack.endpoint, on(nth=nth, do=Stall())) as proxy:
            env = {**ENV, "AWS_ENDPOINT_URL": proxy.endpoint}
            wrong = place.interrupted(line, number, env, hangs=proxy.stalled.is_set, typed=typed(line))
            reached.append(not wrong.startswith("ended before"))
            return wrong if reached[-1] else ""

    runs = {" ".join(line): partial(run, line, 1 + place_ % 4) for place_, line in enumerate(lines())}
    assert place.in_a_loop(runs) == {}
    assert sum(reached) > 0.8 * len(reached)


def test_while_the_worker_runs_in_lambda(
    project: Callable[..., Project],
    fork_server: ForkServer,
    stack: Stack,
    tmp_path: Path,
    receiver: Receiver,
) -> None:
    """The run goes on by itself, and the command says so."""
    made = project(api={"timeout": "20s"})
    made.local("deploy", "--yes").ok()
    receiver.delay = 12.0
    queue = Queue(stack.aws(), made.names, "main")
    stack.aws().client("sqs").send_message(
        QueueUrl=queue.url, MessageBody="{}", MessageGroupId="g", MessageDeduplicationId="1"
    )
    (tmp_path / "tmp").mkdir()
    env = {**ENV, "AWS_ENDPOINT_URL": stack.endpoint}
    place = Place(made, fork_server, tmp_path / "tmp")
    line = ["drain", "--all", "--via", "lambda"]
    assert place.interrupted(line, signal.SIGINT, env, hangs=lambda: bool(receiver.requests)) == ""


@EACH_SIGNAL
def test_at_the_question_whether_to_go_ahead(
    make: Make, stack: Stack, tmp_path: Path, number: signal.Signals
) -> None:
    with make() as one:
        one.send("dlq", "{}")
        (tmp_path / "tmp").mkdir()
        place = Place(one.project, one.fork_server, tmp_path / "tmp")
        env = {**ENV, "AWS_ENDPOINT_URL": stack.endpoint}

        def run(line: str) -> str:
            return place.interrupted(
                line.split(), number, env, hangs=lambda: True, typed=("Go ahead? [y/N]", "y")
            )

        asking = ("redrive", "purge --queue dlq", "dump out.jsonl --move", "load in.jsonl")
        assert place.in_a_loop({line: partial(run, line) for line in asking}) == {}
        assert one.total("dlq") == 1


@EACH_SIGNAL
def test_at_the_question_for_a_key(place: Place, number: signal.Signals) -> None:
    """A half-typed value is not shown, and what is typed next is."""
    with BlackHole() as hole:
        env = {**KEYS, "AWS_ENDPOINT_URL": hole.url}
        wrong = place.interrupted(
            ["keys", "set", "api_key"], number, env, hangs=lambda: True, typed=("not shown", "s3cr3t")
        )
    assert wrong == ""


# In a call of C that no signal ends: pthread_mutex_lock of a mutex that this thread holds already.
HANGING_LOOKUP: Final = """
import ctypes, pathlib, socket, sys
path = pathlib.Path(sys.argv.pop())
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)

def lookup(*args, **options):
    path.touch()
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)

socket.getaddrinfo = lookup
from fifo_cli.cli.app import main
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("line", "number"),
    list(zip(("depth", "drain --all", 'put {"id":"1"}'), IN_TURN, strict=True)),
)
def test_while_a_name_is_looked_up(place: Place, tmp_path: Path, line: str, number: signal.Signals) -> None:
    looked_up = tmp_path / "looked-up"
    env = {**KEYS, "AWS_ENDPOINT_URL": "http://aws.example", "NO_PROXY": "aws.example"}
    run = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HANGING_LOOKUP,
            *line.split(),
            "--config",
            str(place.project.config),
            str(looked_up),
        ],
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not looked_up.exists() and run.poll() is None:
        time.sleep(0.02)
    seconds = interrupt(run.pid, number, lambda: run.poll() is not None)
    _, err = run.communicate(timeout=30)
    assert (run.returncode, "Traceback" in err) == (CODES[number], False), err
    assert seconds is not None
    assert seconds < WITHIN
    assert "interrupted" in err or "finishing" in err
