"""The embedded stack for real: it starts, keeps what it holds, stops without a trace, is never mixed up."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.errors import StackError, UsageError
from fifo_cli.events import Event, Finished, Started, Warned
from fifo_cli.local import process, stack
from fifo_cli.local.ports import free_port
from fifo_cli.local.process import Files
from fifo_cli.local.stack import StackStatus
from tests.cli_harness import clean_environment, wait_until

FUNCTION = """
import json, os, time, boto3

def handler(event, context):
    sqs = boto3.client("sqs")
    for record in event.get("Records", []):
        sqs.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=record["dynamodb"]["Keys"]["id"]["S"],
                         MessageGroupId="g", MessageDeduplicationId=record["eventID"])
    time.sleep(event.get("sleep", 0))
    return dict(os.environ)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    files = Files(tmp_path)
    running = process.find(files)
    if running is not None:
        process.kill(files, running)


def _aws(status: StackStatus) -> Aws:
    assert status.credentials is not None
    key = Files(Path(status.credentials).parent.parent).key()
    return Aws(AwsEndpoint(endpoint_url=status.endpoint, local=True, key=(key.id, key.secret)))


def _processes(folder: Path) -> list[str]:
    """List the command lines of living processes that work in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and os.readlink(entry / "cwd").startswith(str(folder)):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def _zipped(name: str, code: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(name, code)
    return packed.getvalue()


def _deploy(aws: Aws) -> str:
    """Make a table whose stream feeds a function that writes to a FIFO queue; return the queue's URL."""
    queue = aws.client("sqs").create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    aws.client("dynamodb").create_table(
        TableName="items",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    role = aws.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    functions = aws.client("lambda")
    functions.create_function(
        FunctionName="f",
        Runtime="python3.13",
        Handler="f.handler",
        Role=role,
        Code={"ZipFile": _zipped("f.py", FUNCTION)},
        Timeout=60,
        Environment={"Variables": {"QUEUE": queue}},
    )
    functions.create_event_source_mapping(
        FunctionName="f", EventSourceArn=_stream(aws), StartingPosition="TRIM_HORIZON", BatchSize=10
    )
    return queue


def _stream(aws: Aws) -> str:
    return aws.client("dynamodb").describe_table(TableName="items")["Table"]["LatestStreamArn"]


def _put(aws: Aws, *ids: str) -> None:
    for each in ids:
        aws.client("dynamodb").put_item(TableName="items", Item={"id": {"S": each}})


def _visible(aws: Aws, queue: str) -> int:
    answer = aws.client("sqs").get_queue_attributes(
        QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def _queues(status: StackStatus) -> list[str]:
    urls = _aws(status).client("sqs").list_queues().get("QueueUrls", [])
    return [url.rpartition("/")[2] for url in urls]


def _take_all(aws: Aws, queue: str) -> list[str]:
    """Receive and delete everything, in order."""
    sqs, bodies = aws.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def _stream_ids(aws: Aws) -> list[str]:
    streams, arn = aws.client("dynamodbstreams"), _stream(aws)
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = streams.get_records(ShardIterator=iterator)["Records"]
    return [record["dynamodb"]["Keys"]["id"]["S"] for record in records]


def _read(status: StackStatus) -> Any:
    return status.document()


def test_it_starts_answers_and_stops_without_leaving_a_process(folder):
    assert _read(stack.status(folder)) == {
        "endpoint": None,
        "pid": None,
        "running": False,
        "credentials": None,
    }
    events: list[Event] = []
    started = stack.up(folder, port=0, listener=events.append)
    assert started.running
    assert started.pid is not None
    assert stack.status(folder) == started
    assert stack.endpoint_of(folder) == started.endpoint
    assert _aws(started).place.account == "000000000000"
    assert stack.down(folder, listener=events.append) == StackStatus()
    assert stack.status(folder) == StackStatus()
    assert _processes(folder) == []
    assert not Files(folder).tmp.exists()
    assert started.endpoint is not None
    assert events == [
        Started("start", "stack", started.endpoint),
        Finished("start", "stack", started.endpoint),
        Started("stop", "stack", started.endpoint),
        Finished("stop", "stack", started.endpoint),
    ]


def test_it_listens_on_loopback_only(folder):
    started = stack.up(folder, port=0)
    listening = set()
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "0" * 24 + "01000000")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            inode, state, address = fields[9], fields[3], fields[1].split(":")[0]
            if state == "0A" and f"socket:[{inode}]" in _links(started.pid):
                listening.add(address == loopback)
    assert listening == {True}


def _links(pid: int | None) -> set[str]:
    return {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}


BATCHES = """
import os, boto3

def handler(event, context):
    for record in event["Records"]:
        boto3.client("sqs").send_message(QueueUrl=os.environ["DONE"], MessageBody=record["body"])
"""


def test_on_another_port_what_it_kept_of_a_queue_goes_on_starting_its_function(folder):
    first = stack.up(folder, port=0)
    aws = _aws(first)
    sqs, functions = aws.client("sqs"), aws.client("lambda")
    queue = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    done = sqs.create_queue(QueueName="done")["QueueUrl"]
    role = aws.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    functions.create_function(
        FunctionName="f",
        Runtime="python3.13",
        Handler="f.handler",
        Role=role,
        Code={"ZipFile": _zipped("f.py", BATCHES)},
        Environment={"Variables": {"DONE": done}},
    )
    arn = "arn:aws:sqs:us-east-1:000000000000:q.fifo"
    functions.create_event_source_mapping(FunctionName="f", EventSourceArn=arn)
    sqs.send_message(QueueUrl=queue, MessageBody="1", MessageGroupId="g", MessageDeduplicationId="1")
    wait_until(lambda: _visible(aws, done) == 1, timeout=30)
    stack.down(folder)

    second = stack.up(folder, port=free_port())

    assert second.endpoint != first.endpoint
    sqs = _aws(second).client("sqs")
    moved = sqs.get_queue_url(QueueName="q.fifo")["QueueUrl"]
    assert moved == queue.replace(
        str(first.endpoint).rpartition(":")[2], str(second.endpoint).rpartition(":")[2]
    )
    assert sorted(_queues(second)) == ["done", "q.fifo"]
    # By its URL of before, which functions and users still know, it is found, too.
    sqs.send_message(QueueUrl=queue, MessageBody="2", MessageGroupId="g", MessageDeduplicationId="2")
    wait_until(lambda: _visible(_aws(second), done) == 2, timeout=30)


def test_starting_it_twice_gives_the_same_stack(folder):
    first = stack.up(folder, port=0)
    assert first.endpoint is not None
    assert stack.up(folder) == first
    assert stack.up(folder, port=0) == first
    assert stack.up(folder, port=int(first.endpoint.rpartition(":")[2])) == first


def test_asking_a_running_stack_for_another_port_is_refused(folder):
    first = stack.up(folder, port=0)
    with pytest.raises(StackError, match="runs already, on port") as caught:
        stack.up(folder, port=9)
    assert "local down" in caught.value.hint
    assert stack.status(folder) == first


def test_of_many_that_start_it_at_once_one_does_and_all_get_it(folder):
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(lambda _: stack.up(folder, port=0), range(6)))
    assert len(set(made)) == 1
    assert len([line for line in _processes(folder) if "server.py" in line]) == 1


def test_of_many_processes_that_start_it_at_once_one_does_and_all_get_it(folder):
    code = (
        "import sys, pathlib; from fifo_cli.local import stack;"
        "print(stack.up(pathlib.Path(sys.argv[1]), port=0).endpoint)"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], env=clean_environment(), stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    said = {run.communicate(timeout=60)[0] for run in runs}
    assert len(said) == 1
    assert said == {f"{stack.endpoint_of(folder)}\n".encode()}


@pytest.mark.parametrize("answering", [True, False], ids=["another stack", "a silent server"])
def test_a_port_somebody_else_holds_is_named_and_never_taken_for_the_stack(folder, tmp_path, answering):
    other = tmp_path / "other"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if answering:
            server.close()
            other.mkdir()
            stack.up(other, port=port)
        try:
            with pytest.raises(StackError) as caught:
                stack.up(folder, port=port)
        finally:
            stack.down(other)
    assert caught.value.message.startswith(f"port {port} is taken by process ")
    assert "--port" in caught.value.hint
    assert stack.status(folder) == StackStatus()
    with pytest.raises(StackError) as caught:
        stack.endpoint_of(folder)
    assert "fifo-cli local up" in caught.value.hint


def test_the_default_port_is_4566_and_no_other_is_taken_in_its_place(folder):
    with contextlib.ExitStack() as held:
        # When it is somebody else's already, that is all the same to the stack.
        with contextlib.suppress(OSError):
            held.enter_context(socket.create_server(("127.0.0.1", stack.DEFAULT_PORT)))
        with pytest.raises(StackError, match="port 4566 is taken"):
            stack.up(folder)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_what_is_no_port_is_a_usage_error(folder, port):
    with pytest.raises(UsageError, match="not a TCP port"):
        stack.up(folder, port=port)


def test_what_it_held_is_there_again_after_a_restart_even_on_another_port(folder):
    aws = _aws(stack.up(folder, port=0))
    queue = _deploy(aws)
    aws.client("ssm").put_parameter(Name="/k", Value="v", Type="SecureString")
    aws.client("events").put_rule(Name="r", ScheduleExpression="rate(365 days)", State="DISABLED")
    _put(aws, "a", "b", "c")
    wait_until(lambda: _visible(aws, queue) == 3)
    stack.down(folder)
    aws = _aws(stack.up(folder, port=0))
    queue = aws.client("sqs").get_queue_url(QueueName="q.fifo")["QueueUrl"]
    assert _stream_ids(aws) == ["a", "b", "c"]
    assert aws.client("dynamodb").scan(TableName="items")["Count"] == 3
    parameter = aws.client("ssm").get_parameter(Name="/k", WithDecryption=True)["Parameter"]
    assert parameter.get("Value") == "v"
    assert aws.client("events").describe_rule(Name="r")["State"] == "DISABLED"
    # The mapping goes on where it was: nothing twice, and nothing of what is new taken for read already.
    _put(aws, "d", "e")
    wait_until(lambda: _visible(aws, queue) == 5)
    assert _take_all(aws, queue) == ["a", "b", "c", "d", "e"]
    assert _stream_ids(aws) == ["a", "b", "c", "d", "e"]


def test_a_deduplication_id_is_remembered_over_a_restart(folder):
    def send(aws: Aws) -> None:
        queue = aws.client("sqs").get_queue_url(QueueName="d.fifo")["QueueUrl"]
        aws.client("sqs").send_message(
            QueueUrl=queue, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="once"
        )

    aws = _aws(stack.up(folder, port=0))
    aws.client("sqs").create_queue(QueueName="d.fifo", Attributes={"FifoQueue": "true"})
    send(aws)
    stack.down(folder)
    aws = _aws(stack.up(folder, port=0))
    send(aws)
    assert _visible(aws, aws.client("sqs").get_queue_url(QueueName="d.fifo")["QueueUrl"]) == 1


def test_stopping_ends_a_function_in_the_middle_of_its_work(folder):
    aws = _aws(stack.up(folder, port=0))
    _deploy(aws)
    aws.client("lambda").invoke(FunctionName="f", InvocationType="Event", Payload=b'{"sleep": 50}')
    wait_until(lambda: len(_processes(folder)) > 1)
    began = time.monotonic()
    events: list[Event] = []
    stack.down(folder, listener=events.append)
    assert time.monotonic() - began < 15
    # Killed, it takes the kernel a moment to be gone.
    wait_until(lambda: _processes(folder) == [])
    assert not any(isinstance(event, Warned) for event in events)


def test_its_functions_see_none_of_the_users_aws_settings(folder, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-users-own")
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:8080")
    started = stack.up(folder, port=0)
    monkeypatch.undo()
    aws = _aws(started)
    _deploy(aws)
    seen = json.loads(aws.client("lambda").invoke(FunctionName="f", Payload=b"{}")["Payload"].read())
    assert seen["AWS_ENDPOINT_URL"] == started.endpoint
    assert "AWS_PROFILE" not in seen
    assert "HTTPS_PROXY" not in seen
    assert "the-users-own" not in seen.values()
    assert (seen["AWS_CONFIG_FILE"], seen["AWS_SHARED_CREDENTIALS_FILE"]) == (os.devnull, os.devnull)


def test_reset_forgets_everything_and_goes_on_where_it_was(folder):
    before = stack.up(folder, port=0)
    _aws(before).client("sqs").create_queue(QueueName="gone")
    after = stack.reset(folder)
    assert (after.running, after.endpoint) == (True, before.endpoint)
    assert after.pid != before.pid
    assert _queues(after) == []


def test_reset_of_a_stopped_stack_forgets_everything_and_starts_nothing(folder):
    _aws(stack.up(folder, port=0)).client("sqs").create_queue(QueueName="gone")
    stack.down(folder)
    assert stack.reset(folder) == StackStatus()
    assert stack.status(folder) == StackStatus()
    assert _queues(stack.up(folder, port=0)) == []


def test_stopping_or_resetting_what_never_ran_does_nothing(folder):
    assert stack.down(folder) == StackStatus()
    assert stack.reset(folder) == StackStatus()
    assert list(folder.iterdir()) == []


def test_a_stack_that_was_killed_is_noticed_and_starts_again_from_its_last_stop(folder):
    aws = _aws(stack.up(folder, port=0))
    aws.client("sqs").create_queue(QueueName="kept")
    stack.down(folder)
    killed = stack.up(folder, port=0)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    wait_until(lambda: not stack.status(folder).running)
    assert stack.down(folder) == StackStatus()
    again = stack.up(folder, port=0)
    assert again.pid != killed.pid
    assert [url.rpartition("/")[2] for url in _aws(again).client("sqs").list_queues()["QueueUrls"]] == [
        "kept"
    ]


def test_a_stack_that_does_not_stop_is_killed_and_the_loss_is_told(folder):
    started = stack.up(folder, port=0)
    assert started.pid is not None
    os.kill(started.pid, signal.SIGSTOP)
    events: list[Event] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += 1
        time.sleep(0.01)

    assert stack.down(folder, listener=events.append, sleep=sleep, clock=lambda: now[0]) == StackStatus()
    assert any(isinstance(event, Warned) and "killed" in event.text for event in events)
    wait_until(lambda: _processes(folder) == [])


def test_an_interrupted_start_leaves_no_process(folder):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stack.up(folder, port=0, sleep=interrupt)
    wait_until(lambda: _processes(folder) == [])
    assert stack.status(folder) == StackStatus()
    assert stack.up(folder, port=0).running


def test_a_stack_that_cannot_start_says_why(folder):
    files = Files(folder)
    files.prepare()
    # A broken ministack comes first on the path.
    broken = folder / "broken" / "ministack"
    (broken / "services").mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('ministack is broken')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(broken.parent))
        with pytest.raises(StackError, match="ended while it was starting") as caught:
            stack.up(folder, port=0)
    assert "ministack is broken" in caught.value.message
    assert stack.status(folder) == StackStatus()


def test_without_ministack_the_hint_says_how_to_install_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ministack", None)
    with pytest.raises(StackError, match="not installed") as caught:
        stack.up(folder, port=0)
    assert caught.value.hint == "pip install 'fifo-cli[local]'"


def test_spaces_accents_and_length_in_the_path_do_not_matter(folder):
    deep = folder.joinpath("with space", "é ü 漢字", *["x" * 100] * 5)
    deep.mkdir(parents=True)
    try:
        aws = _aws(stack.up(deep, port=0))
        queue = _deploy(aws)
        _put(aws, "a")
        wait_until(lambda: _visible(aws, queue) == 1)
    finally:
        stack.down(deep)
    try:
        assert _queues(stack.up(deep, port=0)) == ["q.fifo"]
    finally:
        stack.down(deep)


def test_what_it_saves_is_for_the_user_alone(folder):
    aws = _aws(stack.up(folder, port=0))
    aws.client("ssm").put_parameter(Name="/key", Value="s3cret", Type="SecureString")
    stack.down(folder)
    files = Files(folder)
    assert stat.S_IMODE(files.root.stat().st_mode) == 0o700
    saved = [path for path in files.root.rglob("*") if path.is_file() and path.name != ".gitignore"]
    assert len(saved) > 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in saved} == {0o600}


def test_a_folder_nothing_can_be_written_to_is_a_clear_error():
    with pytest.raises(StackError, match="cannot keep its state") as caught:
        stack.up(Path("/proc"), port=0)
    assert "write" in caught.value.hint
    assert stack.status(Path("/proc")) == StackStatus()


def test_two_folders_have_stacks_of_their_own(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    one, two = stack.up(folder, port=0), stack.up(other, port=0)
    try:
        assert one.endpoint != two.endpoint
        _aws(one).client("sqs").create_queue(QueueName="only-here")
        assert (_queues(one), _queues(two)) == (["only-here"], [])
        stack.down(folder)
        assert stack.status(other) == two
    finally:
        stack.down(other)


def test_who_looks_all_the_time_does_not_keep_it_from_starting(folder):
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            stack.status(folder)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(3):
            stack.up(folder, port=0)
            stack.down(folder)
    finally:
        ended.set()
        for looker in lookers:
            looker.join()
