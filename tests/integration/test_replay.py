"""replay as users run it: records of a real stream through the enqueuer's code, into real queues."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.operations.maintenance_lock import MAINTENANCE_TAG, Lease
from tests.cli_harness import Ran, Stack, wait_until
from tests.faults import AnswerWithError, Kill, RefuseEntries, forward_all, on, position
from tests.integration.deployed_pipeline import Pipeline as Deployed
from tests.integration.deployed_pipeline import deployed
from tests.integration.fork_server import ForkServer
from tests.integration.queue_pipeline import ENV, Queues, by_group, queues
from tests.integration.screens import shown

Make = Callable[[], AbstractContextManager["Pipeline"]]


class Pipeline:
    """The queues with a table, its stream and the queue of failed batches; no function is deployed."""

    def __init__(self, one: Queues) -> None:
        self.queues = one
        self.table = one.project.name
        self.dynamodb = one.aws.client("dynamodb")
        self.dynamodb.create_table(
            TableName=self.table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.failures = one.sqs.create_queue(QueueName=one.names.stream_failures)["QueueUrl"]

    def put(self, count: int, groups: int = 3, *, start: int = 0) -> None:
        for n in range(start, start + count):
            item = {"id": {"S": f"i{n:03}"}, "grp": {"S": f"g{n % groups}"}, "n": {"N": str(n)}}
            self.dynamodb.put_item(TableName=self.table, Item=item)

    def records(self) -> list[dict[str, Any]]:
        streams = self.queues.aws.client("dynamodbstreams")
        arn = self.arn()
        shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        return list(streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"])  # type: ignore[arg-type]

    def arn(self) -> str:
        return self.dynamodb.describe_table(TableName=self.table)["Table"]["LatestStreamArn"]

    def fail(self, first: dict[str, Any], last: dict[str, Any], size: int, **more: Any) -> None:
        """Put a failure record on the queue as Lambda documents it."""
        info = {
            "shardId": "shardId-00000000000000000000-00000000",
            "startSequenceNumber": first["dynamodb"]["SequenceNumber"],
            "endSequenceNumber": last["dynamodb"]["SequenceNumber"],
            "approximateArrivalOfFirstRecord": "2026-01-02T03:04:05Z",
            "approximateArrivalOfLastRecord": "2026-01-02T03:04:05Z",
            "batchSize": size,
            "streamArn": self.arn(),
            **more.pop("info", {}),
        }
        body = {
            "requestContext": {
                "requestId": "r",
                "functionArn": "f",
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 3,
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
            },
            "version": "1.0",
            "timestamp": "2026-01-02T03:04:05.678Z",
            "DDBStreamBatchInfo": info,
            **more,
        }
        self.queues.sqs.send_message(QueueUrl=self.failures, MessageBody=json.dumps(body))

    def failures_left(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.queues.sqs.get_queue_attributes(QueueUrl=self.failures, AttributeNames=names)[
            "Attributes"
        ]
        return sum(map(int, found.values()))

    def run(self, *words: str) -> Ran:
        return self.queues.run("replay", *words)

    def ids(self) -> list[str]:
        """Take everything out of main, and return the items' ids by group, one group after the other."""
        groups = by_group(self.queues.drained("main"))
        return [json.loads(body)["id"] for group in sorted(groups) for body in groups[group]]


def expected(count: int, groups: int = 3) -> list[str]:
    return [f"i{n:03}" for group in range(groups) for n in range(group, count, groups)]


@pytest.fixture
def make(stack: Stack, clients: Aws, fork_server: ForkServer, tmp_path: Path) -> Make:
    @contextmanager
    def made() -> Iterator[Pipeline]:
        with queues(tmp_path, stack.endpoint, clients, fork_server) as one:
            yield Pipeline(one)

    return made


@pytest.fixture
def pipeline(make: Make) -> Iterator[Pipeline]:
    with make() as made:
        yield made


def counts(ran: Ran, *names: str) -> dict[str, Any]:
    document = ran.json()
    return {name: document[name] for name in names}


def test_records_become_the_messages_that_the_enqueuer_makes_of_them_in_order(pipeline):
    pipeline.put(7)
    pipeline.dynamodb.delete_item(TableName=pipeline.table, Key={"id": {"S": "i000"}})
    records = pipeline.records()
    done = pipeline.run("--yes", "-o", "json")
    numbers = [one["dynamodb"]["SequenceNumber"] for one in records]
    document = done.json()
    (tip,) = document.pop("unproven_tips")  # the shard is open, and gave no record behind these
    assert int(tip["read_to"]) == int(numbers[-1])
    assert document == {
        "read": 8,
        "matched": 8,
        "enqueued": 7,
        "suppressed": 0,
        "skipped": 1,  # events = ["INSERT"]
        "parked": 0,
        "failed": 0,
        "waiting": 0,
        "first_sequence": numbers[0],
        "last_sequence": numbers[-1],
        "expired": 0,
        "failures": [],
        "kept": [],
        "notes": [],
    }
    assert done.code == 0
    found = pipeline.queues.drained("main")
    assert by_group(found) == {
        f"g{g}": [f'{{"id":"i{n:03}","grp":"g{g}","n":{n}}}' for n in range(g, 7, 3)] for g in range(3)
    }
    by_id = {one["eventID"]: one["dynamodb"] for one in records}
    for one in found:
        attributes = {name: value["StringValue"] for name, value in one["MessageAttributes"].items()}
        data = by_id[attributes["event_id"]]
        assert attributes["stream_sequence"] == data["SequenceNumber"]
        assert json.loads(attributes["item_key"]) == {"id": data["Keys"]["id"]["S"]}
        assert one["Attributes"]["MessageDeduplicationId"] == attributes["event_id"]
    assert not list((pipeline.queues.project.folder / ".fifo" / "replay").glob("*.db*"))


def test_a_dry_run_shows_what_it_would_do_and_does_nothing(pipeline):
    pipeline.put(4)
    pipeline.queues.proxy.clear()
    document = pipeline.run("--dry-run", "-o", "json").ok().json()
    assert [(one["item_key"], one["becomes"], one["group"]) for one in document["records"]] == [
        (f'{{"id":"i{n:03}"}}', "enqueued", f"g{n % 3}") for n in range(4)
    ]
    names = ("read", "matched", "enqueued", "waiting")
    assert [document[name] for name in names] == [4, 4, 0, 4]
    made = set(pipeline.queues.proxy.counts)
    assert not made & {"SendMessageBatch", "SendMessage", "TagQueue", "UntagQueue", "ReceiveMessage"}
    assert not (pipeline.queues.project.folder / ".fifo").exists()


def test_the_options_choose_among_the_records(pipeline):
    pipeline.put(6)
    numbers = [one["dynamodb"]["SequenceNumber"] for one in pipeline.records()]

    def chosen(*words: str) -> list[str]:
        records = pipeline.run("--dry-run", "-o", "json", *words).json()["records"]
        return [json.loads(one["item_key"])["id"] for one in records]

    assert chosen("--from-sequence", numbers[2], "--to-sequence", numbers[3]) == ["i002", "i003"]
    assert chosen("--key", '{"id": "i004"}') == ["i004"]
    assert chosen("--filter", "n > `3` || grp == 'g0'") == ["i000", "i003", "i004", "i005"]
    assert chosen("--since", "1h", "--event", "INSERT", "--key", "i001") == ["i001"]
    assert chosen("--until", "1h") == []


def test_nothing_to_replay_asks_nothing_and_exits_0(pipeline):
    done = pipeline.run("--yes")
    assert (done.code, "0 records read" in done.out) == (0, True)
    assert "TagQueue" not in pipeline.queues.proxy.counts


BAD = {
    "a time in the future": (("--since", "2999-01-01"), "is in the future"),
    "an end in the future": (("--until", "2999-01-01"), "is in the future"),
    "no time": (("--since", "yesterday"), "not a time"),
    "a reversed range of time": (("--since", "1h", "--until", "2h"), "is later than --until"),
    "a reversed range of numbers": (("--from-sequence", "9", "--to-sequence", "8"), "is greater than"),
    "a number that is none": (("--from-sequence", "12ab"), "is not a sequence number"),
    "a key of another table": (("--key", '{"order": 1}'), "does not fit this table, whose key is id (S)"),
    "a key of another type": (("--key", '{"id": 1}'), "the table's is a string"),
    "no JMESPath": (("--filter", "a["), "is not a JMESPath"),
    "an event that makes no message": (("--event", "REMOVE"), "makes messages of INSERT only"),
    "two sources": (("--failed", "--missing"), "two ways"),
    "a choice among failed batches": (("--failed", "--since", "1h"), "cannot be combined"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_touched(pipeline, case):
    words, said = BAD[case]
    done = pipeline.run("--yes", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err
    assert not pipeline.queues.proxy.counts


def test_without_a_terminal_and_without_yes_nothing_is_touched(pipeline):
    pipeline.put(1)
    done = pipeline.run()
    assert done.code == 2
    assert "no terminal to ask on" in done.err
    assert f"to do: enqueue 1 stream record again in {pipeline.queues.names.main}\n" in done.err
    assert not pipeline.queues.proxy.counts.keys() & {"SendMessageBatch", "TagQueue"}
    assert not (pipeline.queues.project.folder / ".fifo").exists()


def test_another_maintenance_operation_is_minded(pipeline):
    pipeline.put(2)
    now = datetime.now(UTC)
    claim = Lease("redrive", "somebody", now, now.replace(year=now.year + 1), "0" * 12, 1, "00")
    pipeline.queues.sqs.tag_queue(QueueUrl=pipeline.queues.urls["main"], Tags={MAINTENANCE_TAG: claim.text()})
    refused = pipeline.run("--yes")
    assert refused.code == 75
    assert "redrive by somebody" in refused.err
    assert pipeline.queues.total("main") == 0
    assert pipeline.run("--yes", "--force").code == 0
    assert pipeline.ids() == expected(2)


def test_fresh_gives_new_deduplication_ids_and_the_old_event_ids(pipeline):
    pipeline.put(3)
    pipeline.run("--yes").ok()
    again = pipeline.run("--yes", "--fresh", "-o", "json").ok()
    assert counts(again, "enqueued", "suppressed") == {"enqueued": 3, "suppressed": 0}
    found = pipeline.queues.drained("main")
    ids = Counter(one["MessageAttributes"]["event_id"]["StringValue"] for one in found)
    assert set(ids.values()) == {2}
    dedup = {one["Attributes"]["MessageDeduplicationId"] for one in found}
    assert len(dedup) == 6
    assert dedup > set(ids)


def test_a_batch_that_is_refused_in_part_is_sent_again_in_order(pipeline):
    pipeline.put(9)
    pipeline.queues.proxy.rule = on("SendMessageBatch", nth=2, do=RefuseEntries(position(0, 2)))
    done = pipeline.run("--yes", "-o", "json").ok()
    assert counts(done, "matched", "enqueued", "failed") == {"matched": 9, "enqueued": 9, "failed": 0}
    assert pipeline.ids() == expected(9)


@pytest.mark.parametrize(
    ("fresh", "after"), [(False, False), (False, True), (True, True)], ids=["before", "after", "fresh-after"]
)
def test_killed_at_any_send_and_run_again_every_record_is_enqueued_once(make, fresh, after):
    """Six records in two groups are three calls, as no call holds two messages of a group."""
    words = ("--yes", *(["--fresh"] if fresh else []))
    for number in (1, 2, 3, 4):
        with make() as pipeline:
            pipeline.put(6, 2)
            pipeline.queues.proxy.rule = on("SendMessageBatch", nth=number, do=Kill(after=after))
            first = pipeline.run(*words)
            pipeline.queues.proxy.rule = forward_all
            if number == 4:
                assert first.code == 0
                return
            assert first.code == -signal.SIGKILL
            again = pipeline.run(*words, "-o", "json")
            assert again.code == 0, again
            assert counts(again, "matched", "enqueued", "failed", "waiting") == {
                "matched": 6,
                "enqueued": 6,
                "failed": 0,
                "waiting": 0,
            }
            assert "going on with the same replay" in again.err
            # Records that an earlier run sent are not sent again, but those of the call that was cut.
            assert pipeline.queues.proxy.counts["SendMessageBatch"] - number == 3 - (number - 1)
            assert pipeline.ids() == expected(6, 2)
            assert not list((pipeline.queues.project.folder / ".fifo" / "replay").glob("*.db*"))


def test_killed_while_it_reads_it_begins_again(pipeline):
    pipeline.put(3)
    pipeline.queues.proxy.rule = on("GetRecords", nth=2, do=Kill())
    assert pipeline.run("--yes").code == -signal.SIGKILL
    pipeline.queues.proxy.rule = forward_all
    again = pipeline.run("--yes", "-o", "json").ok()
    assert counts(again, "read", "enqueued") == {"read": 3, "enqueued": 3}
    assert "going on" not in again.err


def test_interrupted_while_it_reads_it_ends_and_leaves_nothing_behind(pipeline):
    pipeline.put(3)
    pipeline.queues.proxy.rule = on("GetRecords", nth=2, do=Kill(number=signal.SIGTERM))
    done = pipeline.run("--yes", "-o", "json")
    assert (done.code, done.out) == (143, "")
    assert not list((pipeline.queues.project.folder / ".fifo" / "replay").glob("*.db*"))
    assert "TagQueue" not in pipeline.queues.proxy.counts


def test_interrupted_it_says_how_far_it_came_and_the_next_run_goes_on(pipeline):
    pipeline.put(6, 1)
    pipeline.queues.proxy.rule = on("SendMessageBatch", nth=2, do=Kill(after=True, number=signal.SIGINT))
    first = pipeline.run("--yes", "-o", "json")
    assert first.code == 130
    document = first.json()
    assert 0 < document["enqueued"] < 6
    assert document["enqueued"] + document["waiting"] == 6
    pipeline.queues.proxy.rule = forward_all
    # What is written meanwhile is none of this replay's business.
    pipeline.put(1, 1, start=6)
    assert counts(pipeline.run("--yes", "-o", "json").ok(), "matched", "enqueued") == {
        "matched": 6,
        "enqueued": 6,
    }
    assert pipeline.ids() == expected(6, 1)


def test_restart_forgets_an_interrupted_replay(pipeline):
    pipeline.put(2, 1)
    pipeline.queues.proxy.rule = on("SendMessageBatch", nth=2, do=Kill())
    pipeline.run("--yes")
    pipeline.queues.proxy.rule = forward_all
    pipeline.put(1, 1, start=2)
    again = pipeline.run("--yes", "--restart", "-o", "json").ok()
    assert counts(again, "matched", "enqueued")["matched"] == 3
    assert pipeline.ids() == expected(3, 1)


def test_when_sqs_refuses_it_says_why_and_a_later_run_goes_on(pipeline):
    pipeline.put(4, 1)
    refusal = on("SendMessageBatch", do=AnswerWithError("AccessDenied", "no more of this", status=403))
    pipeline.queues.proxy.rule = lambda request: refusal(request) if request.nth > 2 else forward_all(request)
    first = pipeline.run("--yes", "-o", "json")
    assert (first.code, counts(first, "enqueued", "waiting")) == (3, {"enqueued": 2, "waiting": 2})
    assert f"SendMessageBatch on {pipeline.queues.names.main}: permission denied" in first.err
    pipeline.queues.proxy.rule = forward_all
    assert counts(pipeline.run("--yes", "-o", "json").ok(), "enqueued", "waiting") == {
        "enqueued": 4,
        "waiting": 0,
    }
    assert pipeline.ids() == expected(4, 1)


def test_a_person_is_asked_and_reported_what_it_does_to_order(pipeline):
    pipeline.put(2)
    where = ("--endpoint-url", pipeline.queues.proxy.endpoint)
    folder = pipeline.queues.project.folder
    with shown("replay", "--fresh", *where, folder=folder, columns=80, env=ENV) as screen:
        screen.until("Go ahead? [y/N]")
        numbers = [line.split()[-1] for line in screen.text.splitlines() if "sequence number" in line]
        assert numbers == [one["dynamodb"]["SequenceNumber"] for one in pipeline.records()]
        assert f"enqueue 2 stream records again in {pipeline.queues.names.main}" in screen.text
        assert "Order:" in screen.text
        assert "the API may see repeats" in screen.text
        screen.type("n\r")
        screen.until("Nothing was changed")
        assert screen.end() == 2
    assert pipeline.queues.total("main") == 0
    assert "TagQueue" not in pipeline.queues.proxy.counts


def test_a_stream_that_was_switched_off_is_read_as_long_as_it_is_there(pipeline):
    pipeline.put(3)
    pipeline.dynamodb.update_table(TableName=pipeline.table, StreamSpecification={"StreamEnabled": False})
    done = pipeline.run("--yes", "-o", "json")
    assert done.code == 0, done.err
    assert "is switched off" in done.err
    assert pipeline.ids() == expected(3)


def test_a_stream_that_was_created_again_is_read(pipeline):
    pipeline.put(2)
    pipeline.dynamodb.update_table(TableName=pipeline.table, StreamSpecification={"StreamEnabled": False})
    pipeline.dynamodb.update_table(
        TableName=pipeline.table,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    pipeline.put(1, start=2)
    pipeline.run("--yes").ok()
    # ministack does not list the older stream, as AWS does.
    assert "i002" in pipeline.ids()


def test_a_stream_that_is_created_again_while_it_is_read_is_read_to_its_end(pipeline):
    pipeline.put(3)
    view = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}

    def rule(request: Any) -> Any:
        if request.action == "GetRecords" and request.nth == 1:
            for specification in ({"StreamEnabled": False}, view):
                pipeline.dynamodb.update_table(TableName=pipeline.table, StreamSpecification=specification)
        return forward_all(request)

    pipeline.queues.proxy.rule = rule
    assert counts(pipeline.run("--yes", "-o", "json").ok(), "read", "enqueued") == {"read": 3, "enqueued": 3}
    assert pipeline.ids() == expected(3)


def test_a_table_without_stream_or_none_at_all_is_said(pipeline):
    pipeline.dynamodb.delete_table(TableName=pipeline.table)
    done = pipeline.run("--yes")
    assert done.code == 3
    assert f"table {pipeline.table} does not exist" in done.err


def test_what_was_written_before_the_stream_keeps_it_is_reported_as_expired(pipeline):
    pipeline.put(2)
    arn = pipeline.arn()
    done = pipeline.run("--since", "3d", "--dry-run", "-o", "json")
    # The stream is younger than a day, so nothing of it can have expired.
    assert (done.code, done.json()["expired"]) == (0, 0), arn


def test_failed_batches_are_replayed_and_their_failure_records_deleted(pipeline):
    pipeline.put(9)
    records = pipeline.records()
    pipeline.fail(records[4], records[7], 4)
    pipeline.fail(records[1], records[2], 2)
    done = pipeline.run("--failed", "--yes", "-o", "json")
    assert done.code == 0, done
    assert counts(done, "read", "matched", "enqueued", "expired") == {
        "read": 6,
        "matched": 6,
        "enqueued": 6,
        "expired": 0,
    }
    assert pipeline.failures_left() == 0
    assert sorted(pipeline.ids()) == [f"i{n:03}" for n in (1, 2, 4, 5, 6, 7)]


def test_a_failure_record_made_for_s3_holds_its_records_itself(pipeline):
    pipeline.put(3)
    records = pipeline.records()
    for one in records:
        one["dynamodb"]["ApproximateCreationDateTime"] = one["dynamodb"][
            "ApproximateCreationDateTime"
        ].timestamp()
    gone = {"startSequenceNumber": "1", "endSequenceNumber": "2"}
    pipeline.fail(records[0], records[-1], 3, info=gone, payload=json.dumps({"Records": records}))
    assert counts(pipeline.run("--failed", "--yes", "-o", "json").ok(), "enqueued") == {"enqueued": 3}
    assert pipeline.failures_left() == 0
    assert pipeline.ids() == expected(3)


def test_failure_records_whose_records_have_expired_are_kept_and_reported(pipeline):
    pipeline.put(2)
    records = pipeline.records()
    gone = {"startSequenceNumber": "1", "endSequenceNumber": "2"}
    pipeline.fail(records[0], records[0], 2, info=gone)
    pipeline.fail(records[1], records[1], 1)
    pipeline.queues.sqs.send_message(QueueUrl=pipeline.failures, MessageBody="what is this")
    pipeline.fail(records[0], records[0], 1, info={"streamArn": "arn:aws:dynamodb:r:1:table/other/stream/x"})
    done = pipeline.run("--failed", "--yes", "-o", "json")
    document = done.json()
    assert done.code == 1
    assert (document["enqueued"], document["expired"]) == (1, 2)
    reasons = sorted(one["reason"] for one in document["kept"])
    assert [reason[:25] for reason in reasons] == [
        "2 of its 2 records have e",
        "it is about arn:aws:dynam",
        "it is not a failure recor",
    ]
    assert pipeline.failures_left() == 3
    assert pipeline.ids() == ["i001"]
    # They were given back at once, not only when their time was over.
    assert (
        len(
            pipeline.queues.sqs.receive_message(QueueUrl=pipeline.failures, MaxNumberOfMessages=10)[
                "Messages"
            ]
        )
        > 0
    )


def test_a_dry_run_of_failed_batches_gives_the_failure_records_back(pipeline):
    pipeline.put(2)
    records = pipeline.records()
    pipeline.fail(records[0], records[1], 2)
    document = pipeline.run("--failed", "--dry-run", "-o", "json").ok().json()
    assert len(document["records"]) == 2
    assert pipeline.queues.total("main") == 0
    assert "Messages" in pipeline.queues.sqs.receive_message(QueueUrl=pipeline.failures)


def test_killed_at_any_send_of_failed_batches_and_run_again_all_is_enqueued_once(make):
    for number, after in ((1, True), (2, False)):
        with make() as pipeline:
            pipeline.put(4, 2)
            records = pipeline.records()
            pipeline.fail(records[0], records[3], 4)
            pipeline.queues.proxy.edit = _hidden_briefly
            pipeline.queues.proxy.rule = on("SendMessageBatch", nth=number, do=Kill(after=after))
            assert pipeline.run("--failed", "--yes").code == -signal.SIGKILL
            assert pipeline.failures_left() == 1
            pipeline.queues.proxy.rule = forward_all
            again = pipeline.run("--failed", "--yes", "-o", "json")
            assert again.code == 0, again
            assert counts(again, "enqueued", "matched") == {"enqueued": 4, "matched": 4}
            assert pipeline.failures_left() == 0
            assert pipeline.ids() == expected(4, 2)


def test_killed_before_a_failure_record_is_deleted_the_next_run_deletes_it_and_sends_nothing(pipeline):
    pipeline.put(3, 1)
    records = pipeline.records()
    pipeline.fail(records[0], records[2], 3)
    pipeline.queues.proxy.edit = _hidden_briefly
    pipeline.queues.proxy.rule = on("DeleteMessageBatch", do=Kill())
    assert pipeline.run("--failed", "--yes", "--fresh").code == -signal.SIGKILL
    assert pipeline.failures_left() == 1
    pipeline.queues.proxy.rule = forward_all
    before = pipeline.queues.proxy.counts["SendMessageBatch"]
    assert counts(pipeline.run("--failed", "--yes", "--fresh", "-o", "json").ok(), "enqueued") == {
        "enqueued": 3
    }
    assert pipeline.queues.proxy.counts["SendMessageBatch"] == before
    assert pipeline.failures_left() == 0
    assert pipeline.ids() == expected(3, 1)


def test_of_a_batch_that_has_expired_in_part_the_rest_is_replayed_once(pipeline):
    pipeline.put(2, 1)
    records = pipeline.records()
    pipeline.fail(records[0], records[1], 2, info={"startSequenceNumber": "1", "batchSize": 5})
    done = pipeline.run("--failed", "--yes", "-o", "json")
    assert (done.code, counts(done, "enqueued", "expired")) == (1, {"enqueued": 2, "expired": 3})
    assert pipeline.failures_left() == 1
    sends = pipeline.queues.proxy.counts["SendMessageBatch"]
    assert pipeline.run("--failed", "--yes").code == 1
    assert pipeline.queues.proxy.counts["SendMessageBatch"] == sends
    assert pipeline.ids() == expected(2, 1)


def _hidden_briefly(request: Any) -> bytes:
    if request.action != "ReceiveMessage":
        return bytes(request.body)
    return json.dumps({**request.json(), "VisibilityTimeout": 1}).encode()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("replay"), stack) as made:
        yield made


@contextmanager
def broken_enqueuer(line: Deployed) -> Iterator[None]:
    """Make the enqueuer a function that cannot even be loaded, and Lambda give up after a second."""
    functions = line.aws.client("lambda")
    name = line.project.names.function("enqueuer")
    good = functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
    mapping = (
        functions.list_event_source_mappings(FunctionName=f"{name}:live")["EventSourceMappings"]
        or (functions.list_event_source_mappings()["EventSourceMappings"])
    )
    uuid = next(one["UUID"] for one in mapping if name in one["FunctionArn"])
    before = functions.get_event_source_mapping(UUID=uuid)["MaximumRecordAgeInSeconds"]
    functions.update_function_configuration(FunctionName=name, Handler="nowhere.handler")
    bad = functions.publish_version(FunctionName=name)["Version"]
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=bad)
    functions.update_event_source_mapping(UUID=uuid, MaximumRecordAgeInSeconds=1)
    try:
        yield
    finally:
        functions.update_alias(FunctionName=name, Name="live", FunctionVersion=good)
        functions.update_event_source_mapping(UUID=uuid, MaximumRecordAgeInSeconds=before)


def records_failed(line: Deployed) -> int:
    """Count the records of the batches on the queue of failures, each batch a message."""
    sqs = line.aws.client("sqs")
    queue = sqs.get_queue_url(QueueName=line.project.names.stream_failures)["QueueUrl"]
    found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
    batches = {one["MessageId"]: json.loads(one["Body"]) for one in found.get("Messages", [])}
    return sum(one["DDBStreamBatchInfo"]["batchSize"] for one in batches.values())


def put(line: Deployed, *ids: str, group: str) -> None:
    line.local("put", json.dumps([{"id": each, "grp": group} for each in ids])).ok()


def delivered(line: Deployed) -> list[str]:
    line.local("drain", "--all").ok()
    return [json.loads(one.body)["id"] for one in line.api.accepted]


def test_a_batch_that_the_enqueuer_cannot_take_is_replayed_from_the_queue_of_failures(line):
    put(line, "fine", group="g")
    wait_until(lambda: _waiting(line) == 1)
    with broken_enqueuer(line):
        put(line, "lost-0", "lost-1", "lost-2", group="g")
        wait_until(lambda: records_failed(line) == 3, interval=0.2)
    done = line.local("replay", "--failed", "--yes", "-o", "json")
    assert (done.code, done.json()["enqueued"]) == (0, 3), done
    assert records_failed(line) == 0
    assert delivered(line) == ["fine", "lost-0", "lost-1", "lost-2"]


def test_what_audit_finds_missing_is_what_is_replayed_and_then_nothing_is(line):
    with broken_enqueuer(line):
        put(line, "missed-0", "missed-1", group="m")
        wait_until(lambda: records_failed(line) == 2, interval=0.2)
    put(line, "later", group="n")
    wait_until(lambda: _waiting(line) == 1)
    audit = line.local("audit", "-o", "json")
    assert audit.code == 1, audit
    missing = {json.dumps(one["key"], separators=(",", ":")) for one in audit.json()["missing"]}
    assert missing == {'{"id":"missed-0"}', '{"id":"missed-1"}'}
    done = line.local("replay", "--missing", "--yes", "-o", "json").ok().json()
    assert (done["matched"], done["enqueued"], done["expired"]) == (2, 2, 0)
    assert [one for one in delivered(line) if one.startswith("missed")] == ["missed-0", "missed-1"]
    again = line.local("replay", "--missing", "--yes", "-o", "json").ok().json()
    assert again["matched"] == 0
    line.local("replay", "--failed", "--yes").ok()
    line.aws.client("sqs").purge_queue(QueueUrl=line.url("main"))


def test_what_sqs_has_suppressed_is_counted_apart(line):
    line.local("put", json.dumps([{"id": f"again-{n}", "grp": "h"} for n in range(2)])).ok()
    wait_until(lambda: _waiting(line) == 2)
    wait_until(lambda: "again-1" in line.local("logs", "enqueuer", "-o", "jsonl").out)
    done = line.local("replay", "--yes", "--filter", "grp == 'h'", "-o", "json").ok()
    assert (done.json()["enqueued"], done.json()["suppressed"]) == (0, 2)
    assert _waiting(line) == 2


def _waiting(line: Deployed) -> int:
    return Queue(line.aws, line.project.names, "main").counts().total


def test_the_checkpoint_folder_is_private(pipeline):
    pipeline.put(2, 1)
    pipeline.queues.proxy.rule = on("SendMessageBatch", nth=2, do=Kill())
    pipeline.run("--yes")
    folder = pipeline.queues.project.folder / ".fifo" / "replay"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.glob("*.db")] == [0o600]
    assert (folder.parent / ".gitignore").read_text() == "*\n"


def test_two_at_once_are_reported_from_each_other(pipeline):
    pipeline.put(2, 1)
    pipeline.queues.proxy.rule = on("SendMessageBatch", nth=1, do=Kill())
    pipeline.run("--yes")
    folder = pipeline.queues.project.folder / ".fifo" / "replay"
    lock = next(folder.glob("*.lock"))
    import fcntl

    with lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = pipeline.run("--yes")
    assert done.code == 75
    assert "another run is working" in done.err
