"""audit and trace against the embedded stack: the enqueuer broken in every way, and an item's whole life."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.local.receiver import Drop as Dropped
from fifo_cli.local.receiver import Reply
from fifo_cli.operations.queues.order_labels import label
from tests.cli_harness import Project, Ran, wait_until
from tests.faults import Action, AnswerWithError, Delay, Kill, Pass, Rule, forward_all, on
from tests.integration.fork_server import ForkServer
from tests.integration.proxy import Proxy, Request, hidden
from tests.integration.screens import shown
from tests.integration.test_pipeline import REPOSITORY, Pipeline, by_group, orders, repository


@dataclass(frozen=True)
class Forking(Project):
    """A project folder whose runs are forked from a process that has imported the program."""

    fork_server: ForkServer | None = None

    def run(
        self,
        *args: str,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Ran:
        assert self.fork_server is not None
        return self.fork_server.run(self.folder, args, env or {}, input=input, timeout=timeout)


@pytest.fixture
def folder(project: Callable[..., Project], fork_server: ForkServer) -> Callable[..., Project]:
    def make(**tables: Any) -> Project:
        made = project(**tables)
        return Forking(made.folder, made.name, made.background, fork_server)

    return make


@pytest.fixture
def line(folder: Callable[..., Project], clients: Aws, receiver: Any) -> Callable[..., Pipeline]:
    def deploy(**tables: Any) -> Pipeline:
        made = folder(**tables)
        made.local("deploy", "--yes").ok()
        return Pipeline(made, clients, receiver)

    return deploy


def write(flow: Pipeline, items: Iterable[dict[str, Any]]) -> None:
    """Put items without waiting for what becomes of them."""
    flow.project.local("put", "-", input="\n".join(json.dumps(item) for item in items)).ok()


def keys(rows: Iterable[dict[str, Any]]) -> set[str]:
    return {row["key"]["id"] for row in rows}


def audit(flow: Pipeline, *args: str) -> tuple[int, dict[str, Any]]:
    ran = flow.project.local("audit", *args, "-o", "json")
    return ran.code, ran.json()


def logged(flow: Pipeline, word: str) -> int:
    """Count the enqueuer's lines in a word."""
    events = flow.aws.client("logs").filter_log_events(logGroupName=flow.project.names.log_group("enqueuer"))
    return sum(f'"message": "{word}"' in event["message"] for event in events["events"])


def test_what_a_broken_enqueuer_lost_is_listed_replayed_and_then_proven_in_order(line, webhooks):
    """Wrong code deployed and rolled back, then the mapping off: lost are these, and nothing else."""
    items = [{**item, "kind": "order"} for item in webhooks[:80]]
    flow = line(message={"group": REPOSITORY, "where": "kind == 'order'"})
    right = flow.project.config.read_text()
    flow.put(*items[:30])
    flow.project.local("drain", "--all", "--concurrency", "8").ok()
    assert audit(flow)[0] == 0

    flow.project.config.write_text(right.replace("kind == 'order'", "kind == 'odrer'"))
    flow.project.local("deploy", "--yes").ok()
    write(flow, items[30:50])
    wait_until(lambda: logged(flow, "skipped") == 20)
    flow.project.config.write_text(right)
    flow.project.local("rollback", "--yes").ok()
    flow.project.local("pause", "enqueuer").ok()
    write(flow, items[50:])

    code, found = audit(flow)
    assert code == 1
    assert keys(found["missing"]) == {item["id"] for item in items[30:50]}
    reasons = {row["key"]["id"]: row["reason"] for row in found["missing"]}
    assert "message.where is false" in reasons[items[30]["id"]]
    assert found["waiting"] == 30
    assert (found["records"], found["delivered"], found["unknown"]) == (80, 30, 0)

    replayed = flow.project.local("replay", "--missing", "--yes", "-o", "json").ok()
    assert replayed.json()["enqueued"] == 20
    flow.project.local("resume", "enqueuer").ok()
    wait_until(lambda: logged(flow, "enqueued") >= 30 + 20 + 30)
    flow.project.local("drain", "--all", "--concurrency", "8").ok()

    code, found = audit(flow)
    assert (code, found["records"], found["delivered"]) == (0, 80, 80)
    assert [found[word] for word in ("missing", "duplicated", "reordered", "notes")] == [[], [], [], []]
    assert by_group(flow.bodies(), repository) == by_group(items, repository)
    assert len(flow.ids()) == 80


def test_what_the_users_code_cannot_take_is_parked_and_not_missing(folder, clients, receiver):
    made = folder(handlers={"source": "code/", "message": "mine:to_message"})
    (made.folder / "code").mkdir()
    (made.folder / "code" / "mine.py").write_text(
        "def to_message(item):\n"
        "    print('noise on stdout')\n"
        "    if item['n'] == 1:\n"
        "        raise ValueError('no such product')\n"
        "    return item if item['n'] < 4 else None\n"
    )
    made.local("deploy", "--yes").ok()
    flow = Pipeline(made, clients, receiver)
    write(flow, orders(5))
    wait_until(lambda: flow.waiting() == 4)
    flow.project.local("drain", "--all").ok()
    code, found = audit(flow)
    assert code == 0
    assert {word: found[word] for word in ("records", "delivered", "parked", "filtered")} == {
        "records": 4, "delivered": 3, "parked": 1, "filtered": 1,
    }  # fmt: skip
    traced = flow.project.local("trace", "o01", "-o", "json")
    assert (traced.code, traced.json()["stage"]) == (1, "parked")
    assert "by enqueuer: mine:to_message raised ValueError: no such product" in traced.json()["detail"]


def test_twice_out_of_order_and_purged_are_reported_with_their_keys(line):
    flow = line()
    flow.put(*orders(6, "a", "b"))
    flow.api.answer = lambda received: Reply(422) if b'"o00"' in received.body else None
    assert flow.project.local("drain", "--count", "4", "--via", "lambda").code == 1
    flow.api.answer = lambda received: None
    flow.project.local("redrive", "--yes").ok()
    flow.project.local("drain", "--all").ok()  # o00 after o02 and o04
    flow.put(*orders(8, "a", "b")[6:])
    flow.project.local("purge", "--queue", "main", "--no-backup", "--yes").ok()
    code, found = audit(flow)
    assert code == 1
    assert keys(found["reordered"]) == {"o00"}
    assert found["reordered"][0]["group"] == "a"
    assert (found["moved"], found["missing"]) == (2, [])  # by a purge, which the history knows
    assert (found["delivered"], found["duplicated"], found["unknown"]) == (6, [], 0)
    rows = flow.project.local("audit", "-o", "jsonl").jsonl()
    assert [row["finding"] for row in rows] == ["reordered", "summary"]
    assert (rows[-1]["moved"], rows[-1]["reordered"]) == (2, 1)
    text = flow.project.local("audit").out
    assert text.startswith("not proven: 1 delivered out of order\n")
    assert "o00" in text


def test_trace_shows_every_stage_of_a_life(line, proxy: Proxy):
    flow = line(message={"where": "n != `3`"})

    def stage(key: str, *args: str) -> tuple[int, str, str]:
        ran = flow.project.local("trace", key, *args, "-o", "json")
        return ran.code, ran.json()["stage"], ran.json()["detail"]

    assert stage("o00")[:2] == (1, "unknown")
    flow.project.local("pause", "enqueuer").ok()
    write(flow, orders(14))
    resume = "(`fifo-cli resume enqueuer --local`)"
    assert stage("o05") == (0, "stream", f"not enqueued: the enqueuer is paused {resume}")
    flow.project.local("resume", "enqueuer").ok()
    wait_until(lambda: flow.waiting() == 13)
    assert stage("o03") == (0, "filtered", "becomes no message: message.where is false")
    assert stage('{"id": "o05"}') == (0, "queued", "number 5 in its group g")
    assert stage("o13") == (
        0,
        "queued",
        f"further back than can be seen, or in flight: 10 of 13 messages of {flow.main.name} seen",
    )
    statuses = {"o00": 422, "o02": 503}
    flow.api.answer = lambda got: (
        Reply(statuses[item]) if (item := json.loads(got.body)["id"]) in statuses else None
    )
    assert flow.project.local("drain", "--count", "5").code == 1
    code, word, detail = stage("o00")
    assert (code, word) == (1, "parked")
    assert detail.endswith("by worker: HTTP 422 from 127.0.0.1")
    code, word, detail = stage("o01")
    assert (code, word) == (0, "delivered")
    assert detail.endswith("with HTTP 200")
    code, word, detail = stage("o02")
    assert (code, word) == (1, "stuck")
    assert detail.startswith("number 1 in its group g; the last attempt, at 20")
    assert detail.endswith("failed: HTTP 503 from 127.0.0.1")

    table = flow.aws.client("dynamodb")
    for key in ("o01", "o03"):
        table.delete_item(TableName=flow.project.name, Key={"id": {"S": key}})
    assert stage("o01")[1] == "delivered"
    assert stage("o03") == (
        0, "deleted", "no longer in the table; its record becomes no message: message.where is false"
    )  # fmt: skip
    flow.project.local("purge", "--queue", "main", "--no-backup", "--yes").ok()
    code, word, detail = stage("o05")
    assert (code, word) == (1, "moved")
    assert detail.startswith("purged at 20")
    time.sleep(1)
    assert stage("o05", "--since", "1s")[:2] == (0, "table")


def test_trace_is_a_timeline_with_the_evidence_of_each_step(line):
    flow = line(table={"partition_key": "customer", "sort_key": "n:N"}, message={"group": "customer"})
    flow.put({"customer": "c 1", "n": 1}, {"customer": "c 1", "n": 2.5}, {"customer": "c 2", "n": 1})
    flow.project.local("drain", "--count", "1", "--via", "lambda").ok()
    both = flow.project.local("trace", "c 1", "-o", "json").ok().json()
    assert [(event["key"], event["stage"]) for event in both["events"]] == [
        ({"customer": "c 1", "n": 1}, "delivered"),
        ({"customer": "c 1", "n": 2.5}, "queued"),
    ]
    assert (both["key"], both["stage"]) == ({"customer": "c 1"}, "queued")
    one = flow.project.local("trace", '{"customer": "c 1", "n": 1}', "-o", "json").ok().json()
    steps = one["history"]
    assert [step["step"] for step in steps] == [
        "written", "enqueued (enqueuer)", "delivered (worker)", "in the table now",
    ]  # fmt: skip
    assert [step["time"] for step in steps] == sorted(step["time"] for step in steps)
    name = flow.project.name
    assert steps[0]["evidence"].startswith("stream 20")
    assert steps[1]["evidence"].startswith(f"log /aws/lambda/{name}-enqueuer 20")
    assert steps[2]["evidence"].startswith(f"log /aws/lambda/{name}-worker 20")
    assert (steps[2]["status"], steps[2]["attempt"], steps[3]["evidence"]) == (200, 1, f"table {name}")
    assert one["items"] == [{"key": {"customer": "c 1", "n": 1}, "stage": "delivered", "in_table": True}]
    text = flow.project.local("trace", "c 1").out
    assert text.startswith("c 1  queued: number 1 in its group c 1\n")
    assert "items" not in flow.project.local("trace", '{"customer": "c 1", "n": 1}').out.lower()

    key = {"customer": {"S": "c 1"}, "n": {"N": "2.5"}}
    flow.aws.client("dynamodb").delete_item(TableName=name, Key=key)
    flow.put({"customer": "c 1", "n": 12345678901234567890.5})
    several = flow.project.local("trace", "c 1", "-o", "json").json()["items"]
    assert [(item["key"]["n"], item["in_table"]) for item in several[:1]] == [(1, True)]
    assert {(str(item["key"]["n"]), item["in_table"]) for item in several} >= {("1", True), ("2.5", False)}
    text = flow.project.local("trace", "c 1").out
    assert '{"customer":"c 1","n":1}  ' in text
    assert re.search(r'\{"customer":"c 1","n":2.5\} +queued +not in the table now\n', text)
    assert """`fifo-cli trace '{"customer":"c 1","n":1}' --local` shows one of them alone""" in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("audit", "--since", "2099-01-01"), "is in the future"),
        (("audit", "--since", "yesterday"), "not a time"),
        (("trace", "x", "--since", "2099-01-01"), "is in the future"),
        (("trace", '{"order": 1}'), "whose key is id (S)"),
        (("trace", '{"id": 1}'), "whose key is id (S)"),
        (("trace", ""), "is empty"),
        (("trace",), "Missing argument 'KEY'"),
    ],
)
def test_a_bad_command_line_is_a_usage_error(folder, args, said):
    ran = folder().local(*args)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


@pytest.mark.parametrize("command", [("audit",), ("trace", "x")])
def test_what_is_not_deployed_is_said(folder, command):
    ran = folder().local(*command)
    assert (ran.code, ran.out) == (3, "")
    assert "does not exist" in ran.err


def test_of_another_environment_with_the_same_table_nothing_is_judged(line):
    flow = line()
    with (flow.project.folder / "fifo.toml").open("a") as file:
        file.write(f'\n[env.stage.pipeline]\nname = "{flow.project.name}-stage"\n')
    for words in (("audit",), ("trace", "x")):
        ran = flow.project.local(*words, "--env", "stage")
        assert (ran.code, ran.out) == (3, "")
        assert f"{flow.project.name}-stage.fifo does not exist in this account and region" in ran.err
        assert "check --env" in ran.err


def test_a_stream_that_was_switched_off_and_on_again_is_read_in_both_parts(line):
    flow = line()
    flow.put(*orders(2))
    table = flow.aws.client("dynamodb")
    name = flow.project.name
    table.update_table(TableName=name, StreamSpecification={"StreamEnabled": False})
    code, found = audit(flow)
    assert (code, found["records"], found["queued"]) == (0, 2, 2)
    time.sleep(1.1)  # the embedded stack names a stream by the second
    on_again = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    table.update_table(TableName=name, StreamSpecification=on_again)
    write(flow, [{"id": "new", "grp": "g"}])
    code, found = audit(flow)
    assert (code, keys(found["missing"]), found["queued"]) == (1, {"new"}, 2)
    assert "another stream than the table's present one" in found["missing"][0]["reason"]
    flow.project.local("deploy", "--yes").ok()
    wait_until(lambda: flow.waiting() == 3)
    flow.project.local("drain", "--all").ok()
    code, found = audit(flow)
    # The embedded stack forgets a stream that was replaced; AWS keeps it for a day.
    assert (code, found["records"], found["delivered"], found["missing"]) == (1, 3, 3, [])
    assert "the stream has expired up to" in found["notes"][0]


def test_a_batch_that_lambda_gave_up_is_missing_and_what_is_in_hold_is_queued(line):
    """The failure record is Lambda's documented one, put there by hand."""
    flow = line()
    flow.put(*orders(2))
    sqs = flow.aws.client("sqs")
    hold = Queue(flow.aws, flow.project.names, "hold")
    (head,) = flow.main.receive(count=1, visibility=60, wait=0)
    place = label(head.message)
    sqs.send_message(
        QueueUrl=hold.url,
        MessageBody=head.message.body,
        MessageGroupId=place.group,
        MessageDeduplicationId=place.dedup_id,
        MessageAttributes={
            name: {"DataType": each.type, "StringValue": each.value}
            for name, each in head.message.attributes.items()
        },
    )
    sqs.delete_message(QueueUrl=flow.main.url, ReceiptHandle=head.receipt_handle)
    flow.project.local("pause", "enqueuer").ok()
    write(flow, [{"id": "lost", "grp": "g"}])
    streams = flow.aws.client("dynamodbstreams")
    arn = streams.list_streams(TableName=flow.project.name)["Streams"][0]["StreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    start = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    *_, last = streams.get_records(ShardIterator=start["ShardIterator"])["Records"]
    number = last["dynamodb"]["SequenceNumber"]
    info = {"streamArn": arn, "shardId": shard, "startSequenceNumber": number, "endSequenceNumber": number}
    failures = sqs.get_queue_url(QueueName=flow.project.names.stream_failures)["QueueUrl"]
    sqs.send_message(
        QueueUrl=failures, MessageBody=json.dumps({"DDBStreamBatchInfo": {**info, "batchSize": 1}})
    )
    code, found = audit(flow)
    assert (code, found["queued"], keys(found["missing"])) == (1, 2, {"lost"})
    assert re.search(r"`fifo-cli replay --failed( -[^`]*)?` sends it", found["missing"][0]["reason"])
    assert "replay --failed" in flow.project.local("trace", "lost", "-o", "json").json()["detail"]
    held = flow.project.local("trace", "o00", "-o", "json").ok().json()
    assert (held["stage"], held["detail"]) == ("queued", "in hold, while an in-order redrive is unfinished")
    assert (held["history"][-2]["queue"], held["history"][-2]["group"]) == ("hold", "g")
    assert sqs.receive_message(QueueUrl=failures, WaitTimeSeconds=1)["Messages"]


def test_interrupted_a_look_gives_back_even_what_was_on_its_way(line, proxy: Proxy):
    flow = line()
    flow.put(*orders(3))
    for number, code, *args in (
        (signal.SIGINT, 130, "peek"),
        (signal.SIGTERM, 143, "peek"),
        (signal.SIGINT, 130, "audit"),
        (signal.SIGINT, 130, "trace", "o02"),
    ):
        proxy.clear()
        proxy.rule = on("ReceiveMessage", nth=1, do=Delay(1))
        running = flow.project.start(*args, endpoint=proxy.endpoint)
        wait_until(lambda: proxy.counts["ReceiveMessage"] > 0)
        running.interrupt(number)
        ran = running.wait()
        assert (ran.code, ran.out) == (code, ""), args
        assert "Traceback" not in ran.err
        assert proxy.counts["ChangeMessageVisibilityBatch"], args
        assert flow.main.counts().visible == 3, args


def test_a_long_line_of_one_group_is_known_to_be_queued_and_a_held_one_by_the_count(line):
    flow = line(message={"group": "grp"})
    flow.put(*orders(25))
    code, found = audit(flow)
    assert (code, found["records"], found["queued"], found["unknown"]) == (0, 25, 25, 0)
    held = flow.main.receive(count=1, visibility=60, wait=0)
    code, found = audit(flow)
    assert (code, found["queued"], found["queued_unseen"], found["unknown"]) == (0, 25, 25, 0)
    (reason,) = found["reasons"]
    assert (reason["state"], reason["number"]) == ("queued", 25)
    assert "1 held by a consumer" in reason["reason"]
    text = flow.project.local("audit").ok().out
    assert "25 still on the way or parked (25 of them by the queues' counts alone)\n" in text
    where = f"25 queued: sent, and deeper than can be seen, or in flight, in {flow.main.name} (0 of 25 known)"
    assert f"{where}: 1 held by a consumer" in text
    traced = flow.project.local("trace", "o24", "-o", "json").ok().json()
    assert (traced["stage"], traced["detail"].partition(":")[0]) == (
        "queued",
        "further back than can be seen, or in flight",
    )
    # One is deleted behind our back: of the others nobody can say which it was.
    flow.aws.client("sqs").delete_message(QueueUrl=flow.main.url, ReceiptHandle=held[0].receipt_handle)
    flow.main.receive(count=1, visibility=60, wait=0)
    code, found = audit(flow)
    assert (code, found["queued"], found["unknown"], found["missing"]) == (1, 0, 25, [])
    assert found["notes"][0].startswith(
        "25 unknown: sent, and 1 of these 25 are in no queue any more: 24 can be"
    )


def test_what_waits_behind_a_paused_enqueuer_is_waiting_and_not_missing(line):
    flow = line(message={"group": "grp"})
    flow.put(*orders(2))
    flow.project.local("pause", "enqueuer").ok()
    write(flow, orders(7)[2:])
    code, found = audit(flow)
    assert (code, found["records"], found["queued"], found["waiting"]) == (0, 7, 2, 5)
    assert (found["missing"], found["unknown"], found["notes"]) == ([], 0, [])
    reason = "not enqueued: the enqueuer is paused (`fifo-cli resume enqueuer --local`)"
    assert found["reasons"] == [{"state": "waiting", "number": 5, "reason": reason}]
    text = flow.project.local("audit").ok().out
    assert text.startswith("proven: what was delivered was delivered once and in order; 7 still on the way")
    assert f"5 waiting: {reason}\n" in text
    traced = flow.project.local("trace", "o03", "-o", "json").ok().json()
    assert (traced["stage"], traced["detail"]) == ("stream", reason)
    replayed = flow.project.local("replay", "--missing", "--yes", "-o", "json").ok()
    assert replayed.json()["matched"] == 0
    # With a settle time: written more than a minute after the pause, it would wait for certain.
    code, found = audit(flow, "--settle", "15m")
    assert (code, found["missing"], found["waiting"] + found["unknown"]) == (1, [], 5)
    flow.project.local("resume", "enqueuer").ok()
    wait_until(lambda: flow.waiting() == 7)
    flow.project.local("drain", "--all").ok()
    code, found = audit(flow)
    assert (code, found["delivered"], found["waiting"], found["reasons"]) == (0, 7, 0, [])


def test_without_a_mapping_nothing_waits(line):
    flow = line()
    client = flow.aws.client("lambda")
    name = flow.project.names.function("enqueuer")
    (mapping,) = client.list_event_source_mappings(FunctionName=f"{name}:live")["EventSourceMappings"]
    client.delete_event_source_mapping(UUID=mapping["UUID"])
    write(flow, orders(2))
    code, found = audit(flow)
    assert (code, keys(found["missing"]), found["waiting"]) == (1, {"o00", "o01"}, 0)
    assert found["missing"][0]["reason"].startswith(
        f"not enqueued: {name} has no event source mapping (`fifo-"
    )
    flow.project.local("deploy", "--yes").ok()
    wait_until(lambda: flow.waiting() == 2)
    assert audit(flow)[0] == 0


def test_a_long_dlq_of_one_group_is_parked(line):
    flow = line(message={"group": "grp"})
    flow.put(*orders(14))
    flow.api.answer = lambda received: Reply(422)
    assert flow.project.local("drain", "--all").code == 1
    code, found = audit(flow)
    assert (code, found["parked"], found["parked_unseen"], found["unknown"]) == (0, 14, 4, 0)
    traced = flow.project.local("trace", "o13", "-o", "json")
    assert (traced.code, traced.json()["stage"]) == (1, "parked")
    assert "HTTP 422" in traced.json()["detail"]


def test_what_an_api_may_have_taken_before_is_possibly_twice(line, receiver):
    """It timed out, broke off, answered 504 after the work, or a later API did not take it; or none of it."""
    apis = [{"url": f"{receiver.url}/{name}", "name": name, "timeout": "4s"} for name in ("first", "second")]
    flow = line(api=apis, message={"group": "id"})
    flow.put(*orders(6))
    answers: dict[str, Any] = {
        "o00": ("/first", Reply(200, delay=6)),
        "o01": ("/first", Dropped(0.1)),
        "o02": ("/first", Reply(504)),
        "o03": ("/second", Reply(503)),
        "o04": ("/first", Reply(503)),
        "o05": ("/first", Reply(429)),
    }

    def answer(received: Any) -> Any:
        path, reply = answers[json.loads(received.body)["id"]]
        return reply if received.path == path else None

    flow.api.answer = answer
    assert flow.project.local("drain", "--all", "--concurrency", "6").code == 1
    flow.api.answer = lambda received: None
    flow.project.local("drain", "--all", "--via", "lambda").ok()
    code, found = audit(flow)
    assert (code, found["delivered"], found["duplicated"]) == (0, 6, [])
    reasons = {row["key"]["id"]: row["reason"].partition(": ")[2] for row in found["possibly_twice"]}
    assert reasons == {
        "o00": "no answer from first: ReadTimeout: no complete answer within 4 s",
        "o01": "no answer from first: RemoteProtocolError: Server disconnected without sending a response.",
        "o02": "HTTP 504 from first",
        "o03": "HTTP 503 from second",
    }
    # An API that refused the message plainly cannot have it twice: the one before it, which took it, can.
    assert {row["reason"].partition(", as the attempt")[0] for row in found["possibly_twice"]} == {
        "first may have it twice"
    }
    text = flow.project.local("audit").ok().out
    assert "\n4 possibly delivered twice:\n" in text
    traced = flow.project.local("trace", "o02", "-o", "json").ok().json()
    assert traced["detail"].endswith("was not confirmed: HTTP 504 from first")
    assert "possibly twice" not in flow.project.local("trace", "o05", "-o", "json").ok().json()["detail"]


def killed_between_two_log_calls(proxy: Proxy, kill: Kill, *, at: str) -> Rule:
    """Kill a drain at a call after the first that carries its log, with deliveries that no log shows yet."""

    shipped = 0  # calls that carry the drain's log; the history has a log group of its own

    def rule(request: Request) -> Action:
        nonlocal shipped
        if request.action == "PutLogEvents" and request.json()["logGroupName"].startswith("/aws/lambda/"):
            shipped += 1
        if request.action == "DeleteMessage" and request.nth >= 5:
            wait_until(lambda: shipped > 0)
        return kill if request.action == at and shipped > (at == "PutLogEvents") else Pass()

    return rule


def test_what_a_killed_drain_may_have_delivered_is_unknown_and_not_replayed(line, proxy: Proxy):
    """Its last lines never reached the log."""
    flow = line()
    flow.put(*orders(12, "a", "b", "c", "d"))
    proxy.edit = hidden(3)
    proxy.rule = killed_between_two_log_calls(proxy, Kill(), at="PutLogEvents")
    assert flow.project.at(proxy.endpoint, "drain", "--all").code == -9
    proxy.rule = forward_all
    wait_until(lambda: flow.main.counts().visible == flow.main.counts().total)
    flow.project.local("drain", "--all").ok()
    code, found = audit(flow)
    assert (code, found["missing"]) == (1, [])
    assert found["delivered"] + found["unknown"] == 12
    assert found["unknown"] > 0
    assert "has not logged its end" in found["notes"][0]
    replayed = flow.project.local("replay", "--missing", "--yes", "-o", "json")
    assert (replayed.code, replayed.json()["matched"]) == (1, 0)
    (named,) = [note for note in replayed.json()["notes"] if note.startswith("not known to be safe")]
    assert found["unknown_records"][0]["key"]["id"] in named
    assert "not known to be safe" in replayed.err
    assert len(set(flow.ids())) == 12
    assert len(flow.ids()) <= 13  # the drain may have been killed between the API's yes and the delete
    unknown = found["unknown_records"][0]["key"]["id"]
    traced = flow.project.local("trace", unknown, "-o", "json")
    assert (traced.code, traced.json()["stage"]) == (1, "unclear")
    assert traced.json()["detail"] == found["unknown_records"][0]["reason"]


@pytest.mark.parametrize("kill", [Kill(), Kill(after=True)], ids=["before the delete", "before its log line"])
def test_of_what_a_killed_drain_may_have_delivered_audit_and_trace_say_the_same(
    line, proxy: Proxy, kill: Kill
):
    """The API took it, the drain ended at the delete: no log shows the delivery, and the message is gone."""
    flow = line()
    flow.put(*orders(12))
    proxy.rule = killed_between_two_log_calls(proxy, kill, at="DeleteMessage")
    assert flow.project.at(proxy.endpoint, "drain", "--all").code == -9
    flow.project.local("purge", "--queue", "main", "--no-backup", "--yes").ok()
    code, found = audit(flow)
    assert (code, found["missing"], found["delivered"] + found["unknown"]) == (1, [], 12)
    assert found["unknown"] > 0
    assert len(flow.ids()) > found["delivered"], "one more was taken by the API than the log shows"
    for row in (found["unknown_records"][0], found["unknown_records"][-1]):
        traced = flow.project.local("trace", row["key"]["id"], "-o", "json")
        assert (traced.code, traced.json()["stage"]) == (1, "unclear")
        assert traced.json()["detail"] == row["reason"]
        assert "has not logged its end" in row["reason"]


def test_a_message_whose_record_the_rules_leave_out_by_now_is_looked_for_in_the_queues(line):
    flow = line()
    flow.put(*orders(1))
    text = flow.project.config.read_text()
    flow.project.config.write_text(text.replace("[message]", '[message]\nwhere = "n == `99`"'))
    assert flow.project.config.read_text() != text
    traced = flow.project.local("trace", "o00", "-o", "json").ok().json()
    assert (traced["stage"], traced["detail"]) == ("queued", "number 1 in its group g")


def test_what_sqs_suppresses_is_still_missing_and_said_so(line):
    flow = line()
    flow.put(*orders(2))
    for each in flow.main.receive(count=10, visibility=60, wait=0):
        flow.aws.client("sqs").delete_message(QueueUrl=flow.main.url, ReceiptHandle=each.receipt_handle)
    replayed = flow.project.local("replay", "--missing", "--yes", "-o", "json")
    assert (replayed.code, replayed.json()["suppressed"]) == (1, 2)
    assert "2 still missing: SQS took them within the last five minutes" in replayed.err
    steps = flow.project.local("trace", "o00", "-o", "json").json()["history"]
    assert "suppressed (replay)" in [step["step"] for step in steps]
    code, found = audit(flow)
    assert (code, keys(found["missing"])) == (1, {"o00", "o01"})
    assert found["missing"][0]["reason"].startswith("enqueued by the enqueuer at 20")
    fresh = flow.project.local("replay", "--missing", "--fresh", "--yes", "-o", "json").ok().json()
    assert (fresh["enqueued"], fresh["suppressed"]) == (2, 0)
    flow.project.local("drain", "--all").ok()
    assert audit(flow)[0] == 0


def test_times_are_whole_at_80_columns(line):
    flow = line()
    flow.put(*orders(1))
    flow.project.local("drain", "--all").ok()
    with shown("trace", "o00", "--local", folder=flow.project.folder, columns=80) as screen:
        screen.until("in the table now")
        assert screen.end() == 0
        assert re.search(r"^[0-9:]{8}Z  delivered \(worker\)", screen.text, re.MULTILINE)
    with shown("audit", "--local", folder=flow.project.folder, columns=80) as screen:
        screen.until("the API took them")
        assert screen.end() == 0
        assert re.search(r"^written [0-9-]{10} [0-9:]{8}Z to [0-9-]{10} [0-9:]{8}Z: 1 r", screen.text, re.M)


class TestDrainsLog:
    """What `drain --via local` does is logged where the worker logs."""

    def test_shows_the_fate_of_every_message_and_the_end_of_the_run(self, line):
        flow = line()
        flow.put(*orders(2))
        flow.project.local("drain", "--count", "2", "--dry-run").ok()
        assert flow.project.local("logs", "worker", "-o", "jsonl").ok().jsonl() == []
        flow.project.local("drain", "--all").ok()
        rows = flow.project.local("logs", "worker", "-o", "jsonl").ok().jsonl()
        assert [row["message"] for row in rows] == ["delivered", "delivered", "run ended"]
        assert (rows[0]["status"], rows[0]["item_key"]) == (200, '{"id":"o00"}')
        assert {name: rows[2][name] for name in ("received", "delivered", "parked", "failed")} == {
            "received": 2, "delivered": 2, "parked": 0, "failed": 0,
        }  # fmt: skip
        assert flow.project.local("status", "-o", "json").json()["worker"]["last_runs"][0]["delivered"] == 2
        flow.project.local("drain", "--all").ok()
        assert len(flow.project.local("logs", "worker", "-o", "jsonl").ok().jsonl()) == 3

    def test_that_is_refused_fails_no_drain(self, line, proxy: Proxy):
        flow = line()
        flow.put(*orders(2))
        proxy.rule = on("CreateLogStream", do=AnswerWithError("AccessDeniedException"))
        ran = flow.project.at(proxy.endpoint, "drain", "--all", "-o", "json").ok()
        assert ran.json()["delivered"] == 2
        assert "did not reach /aws/lambda/" in ran.err
        assert "permission denied" in ran.err

    def test_that_gets_no_answer_holds_up_no_drain(self, line, proxy: Proxy):
        flow = line()
        flow.put(*orders(12, "a", "b"))
        proxy.rule = on("PutLogEvents", do=Delay(30))
        started = time.monotonic()
        ran = flow.project.at(proxy.endpoint, "drain", "--all", "-o", "json").ok()
        assert ran.json()["delivered"] == 12
        assert time.monotonic() - started < 20
        assert "did not reach" in ran.err


def test_what_a_killed_drain_may_have_delivered_before_another_did_is_possibly_twice(line, proxy: Proxy):
    """The API took it, and the drain was killed at the delete, before its first log line."""
    flow = line(message={"group": "id"})
    flow.put(*orders(6))
    proxy.edit = hidden(3)
    proxy.rule = on("DeleteMessage", nth=1, do=Kill())
    assert flow.project.at(proxy.endpoint, "drain", "--all").code == -9
    twice = flow.ids()[-1]
    proxy.rule = forward_all
    wait_until(lambda: flow.main.counts().visible == flow.main.counts().total)
    flow.project.local("drain", "--all").ok()
    assert flow.ids().count(twice) == 2
    _, found = audit(flow)
    assert (found["missing"], found["duplicated"]) == ([], [])
    rows = {row["key"]["id"]: row["reason"] for row in found["possibly_twice"]}
    assert twice in rows
    assert "did not log its end (it was killed, or ran out of time)" in rows[twice]
