"""The history: an incident of two people, and what an operator moved, which audit and trace then know."""

from __future__ import annotations

import itertools
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from fifo_cli.local.receiver import Receiver
from fifo_cli.model.names import Place
from fifo_cli.model.operator_policies import people_policy
from fifo_cli.model.settings import load
from fifo_cli.operations.maintenance_lock import MAINTENANCE_TAG, Lease
from tests.cli_harness import Project, Stack, new_name, wait_until
from tests.every_command import EVERY_COMMAND
from tests.faults import AnswerWithError, Delay, Drop, Kill, Rule, forward_all, on
from tests.integration.deployed_pipeline import Pipeline, deployed
from tests.integration.fork_server import ForkServer
from tests.integration.iam_stack import REGION, ROOT_KEYS, Guarded, guarded_stack
from tests.integration.interrupted_runs import WITHIN, interrupt
from tests.integration.proxy import Proxy, Request, hidden

PLACE = Place("000000000000", REGION)
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def operations(ran: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ran.ok().json()["operations"]
    return found


# --- An incident of two people.


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_stack(tmp_path_factory.mktemp("guarded")) as stack:
        yield stack


def test_an_incident_of_two_people_is_in_the_history_whole_and_in_order(
    guarded: Guarded, tmp_path: Path, receiver: Receiver, fork_server: ForkServer
) -> None:
    """Twelve commands: one is killed, one refused because of another's marker, one denied by IAM."""
    name = new_name()
    project = Project.create(tmp_path / name, name, receiver.url, None, {})
    settings = load(project.config).settings
    operator = people_policy(settings, PLACE, "operator")
    may_not_send = {
        **operator,
        "Statement": [
            {**one, "Action": [each for each in one["Action"] if each != "sqs:SendMessage"]}
            for one in operator["Statement"]
        ],
    }
    with Proxy(guarded.endpoint, keep_host=True) as proxy:

        def run(person: Mapping[str, str], *args: str, code: int | None = 0, input: str = "") -> Any:
            line = [*args, "--endpoint-url", proxy.endpoint]
            ran = fork_server.run(project.folder, line, person, input=input)
            assert code in (None, ran.code), (args, ran.code, ran.err)
            assert "Traceback" not in ran.err
            return ran

        run(ROOT_KEYS, "deploy", "--yes")  # 1
        guarded.help_role(project.names.function("enqueuer"))
        alice = guarded.person(f"{name}-alice", operator)
        bob = guarded.person(f"{name}-bob", operator)
        carol = guarded.person(f"{name}-carol", may_not_send)
        run(alice, "pause", "worker", "--reason", "the API is down, ticket 12")  # 2
        items = "\n".join(json.dumps({"id": str(n), "grp": "g"}) for n in range(6))
        run(alice, "put", "-", input=items)  # 3
        _wait_for(run, alice, 6)
        run(carol, "park", "--yes", code=3)  # 4: denied
        run(bob, "park", "--count", "2", "--yes", "--reason", "poison")  # 5
        proxy.rule = _killed_at_the_first_delete()
        run(alice, "dump", "away.jsonl", "--queue", "main", "--move", "--yes", code=-9)  # 6: killed
        proxy.rule = forward_all
        url = guarded.client("sqs").get_queue_url(QueueName=project.names.main)["QueueUrl"]
        guarded.client("sqs").tag_queue(QueueUrl=url, Tags={MAINTENANCE_TAG: _lease_elsewhere()})
        run(bob, "redrive", "--yes", code=75)  # 7: alice works on another machine
        run(bob, "redrive", "--yes", "--force")  # 8
        run(alice, "dump", "away.jsonl", "--queue", "main", "--move", "--yes")  # 9
        run(bob, "load", "away.jsonl", "--yes", code=None)  # 10
        run(alice, "purge", "--queue", "main", "--backup", "saved.jsonl", "--yes")  # 11
        run(bob, "resume")  # 12

        _check_history(operations(run(bob, "history", "-o", "json")))
        # What was purged with a backup is with the operator: nothing is missing.
        audited = run(bob, "audit", "--settle", "0", "-o", "json").json()
        assert (audited["records"], audited["moved"], audited["missing"]) == (6, 6, [])
        text = run(bob, "trace", "1", "--since", "1h", code=1).out
        assert "purged" in text
        assert "alice" in text
        # Nothing of the items is in it.
        logs = guarded.client("logs").filter_log_events(logGroupName=project.names.operations_log)
        assert not any('"grp"' in event["message"] for event in logs["events"])


def _check_history(found: list[dict[str, Any]]) -> None:
    seen = [
        (one["operation"], one["who"].rpartition("/")[2].rpartition("-")[2], one["result"]) for one in found
    ]
    assert seen[1:] == [
        ("pause", "alice", "done"),
        ("put", "alice", "done"),
        ("park", "carol", "failed"),
        ("park", "bob", "done"),
        ("dump", "alice", "unfinished"),
        ("redrive", "bob", "refused"),
        ("redrive", "bob", "done"),
        ("dump", "alice", "done"),
        ("load", "bob", "done"),
        ("purge", "alice", "done"),
        ("resume", "bob", "done"),
    ]
    assert seen[0][0::2] == ("deploy", "done")
    assert [one["time"] for one in found] == sorted(one["time"] for one in found)
    assert found[1]["reason"] == "the API is down, ticket 12"
    assert found[4]["counts"] == {"parked": 2}
    assert found[4]["command"] == "fifo-cli park --count 2 --yes"
    assert "denied" in found[3]["error"]
    assert found[5]["messages"] > 0


def _wait_for(run: Callable[..., Any], person: Mapping[str, str], count: int) -> None:
    def there() -> bool:
        return run(person, "depth", "-o", "json").json()["queues"]["main"]["visible"] == count  # type: ignore[no-any-return]

    wait_until(there, interval=0.2)


def _lease_elsewhere() -> str:
    now = datetime.now(UTC)
    return Lease("park", "alice@other", now, now + timedelta(minutes=5), "abc", 1, "def").text()


def _killed_at_the_first_delete() -> Rule:
    def rule(request: Request) -> Any:
        return Kill() if request.action == "DeleteMessageBatch" else forward_all(request)

    return rule


# --- A pipeline of the embedded stack.


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    key = f"/{new_name()}/key"
    with deployed(
        tmp_path_factory.mktemp("history"),
        stack,
        api={"keys": {"api_key": key}, "headers": {"X": "{api_key}"}},
    ) as made:
        made.aws.client("ssm").put_parameter(Name=key, Value="a value", Type="SecureString")
        made.switch(enabled=False)
        yield made


def put(line: Pipeline, *ids: str) -> None:
    """Put items, and wait until they are in main."""
    before = total(line, "main")
    items = "\n".join(json.dumps({"id": one, "grp": f"g{one}"}) for one in ids)
    path = line.project.folder / "items.jsonl"
    path.write_text(items)
    line.local("put", f"@{path}").ok()
    wait_until(lambda: total(line, "main") >= before + len(ids), interval=0.1)


def total(line: Pipeline, queue: str) -> int:
    found = line.local("depth", "-o", "json").ok().json()["queues"][queue]
    return int(found["visible"] + found["in_flight"])


def audited(line: Pipeline) -> dict[str, Any]:
    found: dict[str, Any] = line.local("audit", "-o", "json").json()
    return found


def last(line: Pipeline) -> dict[str, Any]:
    return operations(line.local("history", "-o", "json"))[-1]


def test_every_command_that_changes_a_pipeline_is_in_its_history(stack: Stack, tmp_path: Path) -> None:
    with deployed(tmp_path, stack) as line:
        line.switch(enabled=False)
        recorded = {name for name, one in EVERY_COMMAND.items() if one.recorded}
        put(line, "1", "2")
        line.local("deploy", "--yes").ok()
        text = line.project.config.read_text()
        line.project.config.write_text(text.replace('"messages_per_run" = 10', '"messages_per_run" = 9'))
        why = ("--reason", "because")
        file, keep = str(tmp_path / "kept.jsonl"), str(tmp_path / "purged.jsonl")
        commands = [
            ["deploy", "--yes"],
            ["rollback", "--yes"],
            ["pause"],
            ["resume", "enqueuer"],
            ["park", "--yes"],
            ["redrive", "--yes"],
            ["dump", file, "--queue", "main", "--move", "--yes"],
            ["load", file, "--yes"],
            ["purge", "--queue", "main", "--backup", keep, "--yes"],
            ["replay", "--since", "1h", "--yes"],
            ["drain", "--all"],
        ]
        for one in commands:
            assert line.local(*one, *why).code in (0, 1), one
        found = operations(line.local("history", "-o", "json"))
        assert [one["operation"] for one in found][:2] == ["deploy", "put"]
        assert [one["operation"] for one in found][-len(commands) :] == [one[0] for one in commands]
        assert all(one["reason"] == "because" and one["ended"] for one in found[-len(commands) :])
        # Nothing else is, neither a dry run nor what only looks.
        for looking in (["dump", str(tmp_path / "x"), "--queue", "main"], ["park", "--dry-run"], ["drain"]):
            line.local(*looking)
        assert len(operations(line.local("history", "-o", "json"))) == len(found)
        assert recorded == {one["operation"] for one in found} | {"destroy", "keys set"}
        # It goes last, and what destroy writes does not bring it back.
        names = line.project.names
        ended = line.local("destroy", "--yes", "-o", "json").ok()
        assert [one["name"] for one in ended.json()["changes"]][-1] == names.operations_log
        groups = line.aws.client("logs").describe_log_groups(logGroupNamePrefix=names.operations_log)
        assert groups["logGroups"] == []
        line.project.config.write_text(text)
        line.local("deploy", "--yes").ok()
        assert [one["operation"] for one in operations(line.local("history", "-o", "json"))] == ["deploy"]


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (AnswerWithError("AccessDeniedException", status=400), "permission denied"),
        (AnswerWithError("ThrottlingException"), "throttled"),
        (Drop(), "could not be reached"),
        (AnswerWithError("ServiceUnavailableException", status=503), ""),
    ],
)
def test_a_command_goes_on_where_the_log_cannot_be_written_and_says_so_once(
    line: Pipeline, proxy: Proxy, action: Any, code: str
) -> None:
    put(line, new_name(), new_name())
    proxy.rule = lambda request: action if request.service.startswith("Logs") else forward_all(request)
    ran = line.at(proxy.endpoint, "park", "--count", "2", "--yes", "-o", "json").ok()
    assert len(ran.json()["parked"]) == 2
    assert ran.err.count("the history of") == 1
    assert code in ran.err
    proxy.rule = forward_all
    line.local("purge", "--queue", "dlq", "--backup", str(line.project.folder / new_name()), "--yes").ok()


def test_a_log_that_never_answers_holds_up_no_interrupt(
    line: Pipeline, proxy: Proxy, fork_server: ForkServer
) -> None:
    put(line, new_name())
    asked = threading.Event()

    def rule(request: Request) -> Any:
        if request.service.startswith("Logs"):
            asked.set()
            return Delay(20)
        return forward_all(request)

    proxy.rule = rule
    running = fork_server.start(
        line.project.folder, ["park", "--yes", "--endpoint-url", proxy.endpoint], KEYS, patient=False
    )
    assert asked.wait(60)
    seconds = interrupt(running.pid, signal.SIGINT, lambda: running.over)
    ran = running.wait()
    assert seconds is not None
    assert seconds < WITHIN
    assert ran.code == 130
    assert "Traceback" not in ran.err
    proxy.rule = forward_all


def test_lines_of_others_and_events_cut_short_are_left_out(line: Pipeline) -> None:
    logs, group = line.aws.client("logs"), line.project.names.operations_log
    put(line, new_name())
    before = operations(line.local("history", "-o", "json"))
    logs.create_log_stream(logGroupName=group, logStreamName=(stream := new_name()))
    texts = [
        "operation",
        "{",
        '{"operation": 3}',
        '{"message": "begun", "id": "x", "operation": "pa',
        "\x1b[31moperation",
    ]
    events: Any = [{"timestamp": int(time.time() * 1000), "message": text} for text in texts]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    assert operations(line.local("history", "-o", "json")) == before
    assert line.local("history").ok().err == ""
    assert audited(line)["missing"] == []


def test_a_pipeline_without_the_log_gets_it_with_the_first_command_and_deploy_finds_nothing_to_change(
    stack: Stack, tmp_path: Path
) -> None:
    with deployed(tmp_path, stack) as line:
        put(line, "away")
        line.local("dump", str(tmp_path / "away.jsonl"), "--queue", "main", "--move", "--yes").ok()
        assert audited(line)["moved"] == 1
        line.aws.client("logs").delete_log_group(logGroupName=line.project.names.operations_log)
        without = line.local("audit", "-o", "json").json()
        assert (without["unknown"], without["missing"]) == (1, [])
        assert any("the history is gone, so whether somebody dumped" in note for note in without["notes"])
        assert "does not exist" in line.local("history").ok().err
        assert line.local("park", "--yes").code in (0, 1)
        line.local("plan", "--check").ok()
        assert last(line)["operation"] == "park"


def test_where_there_is_no_pipeline_no_log_is_made(stack: Stack, tmp_path: Path) -> None:
    name = new_name()
    project = Project.create(tmp_path / name, name, "http://127.0.0.1:9", stack, {})
    ran = project.local("purge", "--queue", "dlq", "--yes")
    assert ran.code == 3
    assert "the history of" not in ran.err
    groups = stack.aws().client("logs").describe_log_groups(logGroupNamePrefix=project.names.operations_log)
    assert groups["logGroups"] == []


# --- Killed.

MOVES = {
    "park": ["park", "--count", "10"],
    "redrive": ["redrive"],
    "dump": ["dump", "away.jsonl", "--queue", "main", "--move"],
    "purge": ["purge", "--queue", "main", "--backup", "purged.jsonl"],
    "load": ["load", "loaded.jsonl"],
    "purge-for-good": ["purge", "--queue", "main", "--no-backup"],
}
# A kill may leave a gap when the next place has the messages, when their ids are written, when they go.
_GOES: Final = {"purge-for-good": "PurgeQueue"}
_SENT: Final = {"park", "redrive", "load"}  # to a queue, not to a file
# A run that is killed before it has moved all takes no more than a few batches.
STOCK = 60


def stock(line: Pipeline, name: str) -> None:
    """Let there be something to move."""
    put(line, *(new_name() for _ in range(STOCK)))
    if name == "redrive":
        line.local("park", "--count", str(STOCK), "--yes").ok()
    if name == "load":
        for suffix in ("", ".loaded"):
            (line.project.folder / f"loaded.jsonl{suffix}").unlink(missing_ok=True)
        file = str(line.project.folder / "loaded.jsonl")
        line.local("dump", file, "--queue", "main", "--move", "--yes").ok()


def started(
    line: Pipeline, proxy: Proxy, fork_server: ForkServer, words: Sequence[str], input: str = ""
) -> Any:
    """Run a command through the proxy, in a process that may be killed."""
    line_ = [*words, "--endpoint-url", proxy.endpoint]
    return fork_server.run(line.project.folder, line_, KEYS, input=input)


def killed(line: Pipeline, proxy: Proxy, fork_server: ForkServer, words: Sequence[str], rule: Rule) -> Any:
    """Run a command that a rule may kill; what it had received then is visible again within a second."""
    proxy.rule, proxy.edit = rule, hidden(1)
    try:
        return started(line, proxy, fork_server, words)
    finally:
        # An audit holds what it has seen until it has seen all, which takes longer.
        proxy.rule, proxy.edit = forward_all, lambda request: request.body


def proven(line: Pipeline, proxy: Proxy, fork_server: ForkServer) -> dict[str, Any]:
    """Audit, with the short pauses of the forked runs: the embedded stack shows at once what it has."""
    ran = started(line, proxy, fork_server, ["audit", "--settle", "0", "-o", "json"])
    assert ran.code in (0, 1), ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def decisive(name: str) -> list[tuple[Callable[[Request], bool], bool]]:
    """Return the requests to be killed at, and whether after they took effect."""

    def is_sent(request: Request) -> bool:
        return request.action == "SendMessageBatch"

    def is_gone(request: Request) -> bool:
        return request.action == _GOES.get(name, "DeleteMessageBatch")

    # After it is sent is before it is noted, and after that before it goes.
    noted = [(is_noted, False), (is_noted, True)]
    # A load takes nothing away: it notes the lines beside the file.
    return [
        *([(is_sent, False)] if name in _SENT else []),
        *noted,
        *([] if name == "load" else [(is_gone, True)]),
    ]


def is_noted(request: Request) -> bool:
    """Say whether a request writes which messages leave their place."""
    return (
        request.action == "PutLogEvents"
        and re.search(rb"history-(messages|everything)", request.body) is not None
    )


@pytest.mark.parametrize("name", MOVES)
def test_what_a_killed_command_moved_is_never_missing(
    line: Pipeline, proxy: Proxy, fork_server: ForkServer, name: str
) -> None:
    words = [*MOVES[name], "--yes"]
    stock(line, name)
    for is_decisive, after in decisive(name):
        rule = killed_at_first(is_decisive, after=after)
        assert killed(line, proxy, fork_server, words, rule).code == -9, (name, is_decisive.__name__, after)
    # What was lost without a note would be missing for good: no later run could know of it.
    assert proven(line, proxy, fork_server)["missing"] == []
    # Elsewhere than on the embedded stack, a PurgeQueue takes a minute.
    assert line.local(*_here(line, words)).code in (0, 1)
    found = proven(line, proxy, fork_server)
    assert (found["missing"], found["unknown"]) == ([], 0)


@pytest.mark.parametrize("name", ["dump", "redrive"])
def test_status_names_a_killed_move_at_once(
    line: Pipeline, proxy: Proxy, fork_server: ForkServer, name: str
) -> None:
    """Its lock shows that its process is gone: nobody has to wait until the lock expires."""
    words = [*MOVES[name], "--yes"]
    stock(line, name)
    rule = killed_at_first(lambda request: request.action == "DeleteMessageBatch")
    assert killed(line, proxy, fork_server, words, rule).code == -9
    ran = started(line, proxy, fork_server, ["status", "-o", "json"])
    [found] = [
        one for one in json.loads(ran.out)["verdict"]["problems"] if "has not logged its end" in one["text"]
    ]
    assert re.match(rf"{name}, begun \d+s ago by .*; its lock holds nobody up$", found["text"])
    assert line.local(*_here(line, words)).code in (0, 1)
    ran = started(line, proxy, fork_server, ["status"])
    assert "has not logged its end" not in ran.out


def _here(line: Pipeline, words: Sequence[str]) -> list[str]:
    """Return a command line whose files are those of the pipeline's folder."""
    return [str(line.project.folder / word) if word.endswith(".jsonl") else word for word in words]


@pytest.fixture
def own_line(stack: Stack, tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline of a test's own: of thirty runs, each with as many records more, an audit takes long."""
    with deployed(tmp_path, stack) as made:
        made.switch(enabled=False)
        yield made


def put_away(line: Pipeline) -> None:
    """Purge what is left, with a backup: the next audit knows where it went, and no look goes through it."""
    for role in ("main", "dlq"):
        file = str(line.project.folder / new_name())
        line.local("purge", "--queue", role, "--backup", file, "--yes").ok()


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", MOVES)
def test_killed_at_any_request_a_command_leaves_nothing_missing(
    own_line: Pipeline, proxy: Proxy, fork_server: ForkServer, name: str, after: bool
) -> None:
    words = [*MOVES[name], "--yes"]
    for number in itertools.count(1):
        stock(own_line, name)
        first = killed(own_line, proxy, fork_server, words, on(nth=number, do=Kill(after=after)))
        assert proven(own_line, proxy, fork_server)["missing"] == [], number
        assert own_line.local(*_here(own_line, words)).code in (0, 1)
        found = proven(own_line, proxy, fork_server)
        assert (found["missing"], found["unknown"]) == ([], 0), number
        if first.code != -9:
            assert number > 5
            return
        put_away(own_line)


def killed_at_first(is_meant: Callable[[Request], bool], *, after: bool = False) -> Rule:
    """Make a rule that kills whoever makes the first of such requests; what it has on its way is cut off."""
    lock, killed = threading.Lock(), False

    def rule(request: Request) -> Any:
        nonlocal killed
        with lock:
            if killed:
                return Drop()
            if is_meant(request):
                killed = True
                return Kill(after=after)
        return forward_all(request)

    return rule


# Every command that changes something, and what it is given.
CHANGES: dict[str, list[str]] = {
    "deploy": ["--yes"],
    "destroy": ["--yes"],
    "rollback": ["--yes"],
    "pause": [],
    "resume": [],
    "park": ["--yes"],
    "redrive": ["--yes"],
    "dump": ["dumped.jsonl", "--queue", "main", "--move", "--yes"],
    "load": ["lines.jsonl", "--yes"],
    "purge": ["--queue", "main", "--no-backup", "--yes"],
    "replay": ["--since", "1h", "--yes"],
    "drain": ["--count", "1"],
    "put": ['{"id": "killed", "grp": "g"}'],
    "keys set": ["api_key"],
}


def test_each_command_that_changes_something_has_a_kill_at_its_first_change() -> None:
    assert set(CHANGES) == {name for name, one in EVERY_COMMAND.items() if one.recorded}


@pytest.mark.parametrize("name", CHANGES)
def test_killed_at_its_first_change_a_command_has_begun_in_the_history(
    line: Pipeline, proxy: Proxy, fork_server: ForkServer, name: str
) -> None:
    """However early: the beginning is on record before the change is asked for."""
    put(line, new_name()) if name == "replay" else line.send(1)
    line_of_a_file = json.dumps({"body": "{}", "group": new_name()})
    (line.project.folder / "lines.jsonl").write_text(f"{line_of_a_file}\n")
    if name in ("deploy", "rollback"):
        count = 8 if name == "deploy" else 7
        text = line.project.config.read_text()
        line.project.config.write_text(
            re.sub(r'"messages_per_run" = \d+', f'"messages_per_run" = {count}', text)
        )
    if name == "rollback":
        line.local("deploy", "--yes").ok()
    if name == "resume":
        line.local("pause").ok()
    if name == "redrive":
        line.local("park", "--yes").ok()
    before = len(operations(line.local("history", "-o", "json")))
    proxy.rule = killed_at_first(is_change)
    words = [*name.split(), *CHANGES[name]]
    assert started(line, proxy, fork_server, words, input="a value").code == -9
    found = operations(line.local("history", "-o", "json"))[before:]
    assert [(one["operation"], one["result"]) for one in found] == [(name, "unfinished")]
    assert found[0]["who"].startswith("arn:")
    if name == "resume":
        line.local("resume", "enqueuer").ok()


def is_change(request: Request) -> bool:
    """Say whether a request is anything but one that reads, or the history's own."""
    if request.action.startswith(("GET ", "Get", "List", "Describe", "Query", "Scan", "Filter", "BatchGet")):
        return False
    return not (request.service.startswith("Logs") and b"/fifo-cli/" in request.body)
