"""What the enqueuer parks comes back as what the code makes of it now, never as it lies in the DLQ."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from tests.cli_harness import Project, wait_until

CARD: Final = "4111111111111111"
BROKEN: Final = """
def to_message(item):
    print("noise on stdout")
    item.pop("card_number")
    if item["id"] == "o1":
        raise ValueError("no such product")
    return item
"""
FIXED: Final = """
def to_message(item):
    print("noise on stdout")
    item.pop("card_number")
    return item if item["id"] != "o9" else None
"""
STILL_BROKEN: Final = """
def to_message(item):
    raise LookupError("another fault")
"""
SKIPS: Final = """
def to_message(item):
    return None
"""


class Story:
    """A pipeline whose code fails on o1 of three items, which the enqueuer has parked."""

    def __init__(self, project: Project, aws: Aws, api: Any) -> None:
        self.project, self.api, self.sqs = project, api, aws.client("sqs")
        self.main, self.dlq = Queue(aws, project.names, "main"), Queue(aws, project.names, "dlq")

    def code(self, text: str) -> None:
        (self.project.folder / "code" / "mine.py").write_text(text)
        self.project.local("deploy", "--yes").ok()

    def put(self, *items: dict[str, Any]) -> None:
        before = self.main.counts().total + self.dlq.counts().total
        self.project.local("put", "-", input="\n".join(json.dumps(item) for item in items)).ok()
        wait_until(
            lambda: self.main.counts().total + self.dlq.counts().total == before + len(items), timeout=30
        )

    def parked(self) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = (
            self.project.local("peek", "--queue", "dlq", "-o", "json").ok().json()["messages"]
        )
        return shown

    def sent(self) -> list[Any]:
        return [json.loads(one.body) for one in self.api.accepted]


@pytest.fixture
def story_of(project: Callable[..., Project], clients: Aws, receiver: Any) -> Callable[[str], Story]:
    """Makes a deployed pipeline with code of the user's."""

    def make(code: str) -> Story:
        made = project(handlers={"source": "code/", "message": "mine:to_message"}, message={"group": "grp"})
        (made.folder / "code").mkdir()
        story = Story(made, clients, receiver)
        story.code(code)
        return story

    return make


@pytest.fixture
def story(story_of: Callable[[str], Story]) -> Story:
    story = story_of(BROKEN)
    story.put(*({"id": f"o{n}", "grp": "a", "card_number": CARD} for n in range(3)))
    return story


@pytest.mark.parametrize("way", [["redrive"], ["redrive", "--in-order"], ["redrive", "--count", "1"]])
def test_a_parked_record_is_delivered_as_the_fixed_code_makes_it(story, way):
    (parked,) = story.parked()
    body = json.loads(parked["body"])
    assert body["new_image"]["card_number"] == {"S": CARD}
    assert (body["event_name"], body["keys"], body["old_image"]) == ("INSERT", {"id": {"S": "o1"}}, None)
    story.code(FIXED)
    done = story.project.local(*way, "--yes", "-o", "json").ok().json()
    assert (done["moved"], done["skipped"], done["failed"], done["remaining"]) == (1, 0, 0, 0)
    story.project.local("drain", "--all").ok()
    assert CARD not in "".join(one.body.decode() for one in story.api.accepted)
    expected = ["o0", "o1", "o2"] if "--in-order" in way else ["o0", "o2", "o1"]
    assert [one["id"] for one in story.sent()] == expected
    audit = story.project.local("audit", "-o", "json")
    assert (audit.json()["missing"], audit.json()["delivered"]) == ([], 3)


def test_what_still_fails_stays_with_the_new_reason_and_what_is_left_out_now_is_skipped(story):
    story.code(STILL_BROKEN)
    failed = story.project.local("redrive", "--yes", "-o", "json")
    assert failed.code == 1
    assert (failed.json()["moved"], failed.json()["failed"], failed.json()["remaining"]) == (0, 1, 1)
    assert "LookupError: another fault" in failed.err
    (parked,) = story.parked()
    assert parked["attributes"]["park_reason"]["value"].endswith("LookupError: another fault")
    assert parked["attributes"]["park_from"]["value"] == "enqueuer"
    in_order = story.project.local("redrive", "--in-order", "--yes", "-o", "json")
    assert (in_order.code, in_order.json()["failed"], in_order.json()["remaining"]) == (1, 1, 1)
    story.code(SKIPS)
    skipped = story.project.local("redrive", "--yes", "-o", "json").ok().json()
    assert (skipped["moved"], skipped["skipped"], skipped["remaining"]) == (0, 1, 1)
    story.code("raise ImportError('gone')\n\nto_message = print\n")
    broken = story.project.local("redrive", "--yes")
    assert broken.code == 2
    assert "mine:to_message" in broken.err
    assert len(story.parked()) == 1


def test_a_record_in_main_is_parked_again_and_load_refuses_it(story, tmp_path):
    saved = tmp_path / "dlq.jsonl"
    story.project.local("dump", str(saved), "--yes").ok()
    refused = story.project.local("load", str(saved), "--queue", "main", "--yes")
    assert (refused.code, story.main.counts().total) == (2, 2)
    assert "redrive" in refused.err
    line = json.loads(saved.read_text())
    story.project.local("purge", "--queue", "dlq", "--no-backup", "--yes").ok()
    story.sqs.send_message(
        QueueUrl=story.main.url,
        MessageBody=line["body"],
        MessageGroupId="b",
        MessageDeduplicationId="by-other-means",
        MessageAttributes={
            name: {"DataType": each["type"], "StringValue": each["value"]}
            for name, each in line["attributes"].items()
        },
    )
    assert story.project.local("drain", "--all").code == 1
    assert [one["id"] for one in story.sent()] == ["o0", "o2"]
    (again,) = story.parked()
    assert again["body"] == line["body"]
    assert again["attributes"]["park_from"]["value"] == "enqueuer"


def test_a_message_of_an_older_form_stays_with_a_hint(story):
    story.project.local("purge", "--queue", "dlq", "--no-backup", "--yes").ok()
    attributes = {
        "park_from": "enqueuer",
        "park_reason": "too large",
        "event_id": "e1",
        "stream_sequence": "7",
    }
    for number, body in enumerate(
        ['{"id":"o1","card_number":"4111"}', '{"event_name":"INSERT","keys":{"id":{"S":"o1"}}}']
    ):
        story.sqs.send_message(
            QueueUrl=story.dlq.url,
            MessageBody=body,
            MessageGroupId="all",
            MessageDeduplicationId=f"old-{number}",
            MessageAttributes={
                name: {"DataType": "String", "StringValue": f"{text}{number}" if name == "event_id" else text}
                for name, text in attributes.items()
            },
        )
    done = story.project.local("redrive", "--yes", "-o", "json")
    assert (done.code, done.json()["moved"], done.json()["failed"], done.json()["remaining"]) == (1, 0, 2, 2)
    assert done.err.count("fifo-cli replay") == 2


GROWS: Final = """
def to_message(item):
    if item["id"] == "big":
        item["copies"] = [item["text"]] * 4
    return item
"""
SMALL: Final = """
def to_message(item):
    item.pop("text", None)
    return item
"""


@pytest.fixture
def large(story_of: Callable[[str], Story]) -> Story:
    return story_of(GROWS)


def test_a_record_that_is_too_large_is_parked_whole_and_delivered_as_the_fixed_code_makes_it(large):
    items = [{"id": one, "grp": "a", "text": "ä" * 150_000} for one in ("o0", "big", "o2")]
    large.put(*items)
    (parked,) = large.parked()
    assert json.loads(parked["body"])["new_image"]["text"] == {"S": items[1]["text"]}
    reason = parked["attributes"]["park_reason"]["value"]
    assert reason.startswith("the message has 1")
    assert "SQS takes 1048576" in reason
    status = large.project.local("status", "-o", "json")
    assert (status.code, status.json()["verdict"]["problems"][0]["text"]) == (1, "1 message in the DLQ")
    still = large.project.local("redrive", "--yes", "-o", "json")
    assert (still.code, still.json()["moved"], still.json()["failed"]) == (1, 0, 1)
    large.code(SMALL)
    done = large.project.local("redrive", "--in-order", "--yes", "-o", "json").ok().json()
    assert (done["moved"], done["remaining"]) == (1, 0)
    large.project.local("drain", "--all").ok()
    assert [one["id"] for one in large.sent()] == ["o0", "big", "o2"]
    assert "copies" not in large.sent()[1]
    assert "text" not in large.sent()[1]
    assert large.project.local("audit", "-o", "json").json()["missing"] == []


def test_a_record_too_large_for_the_dlq_too_stays_with_a_hint_and_a_replay_delivers_it(large):
    # Each control character is six bytes in JSON, and one in DynamoDB.
    large.put({"id": "big", "grp": "a", "text": "\x01" * 250_000}, {"id": "o2", "grp": "a"})
    (parked,) = large.parked()
    assert json.loads(parked["body"]) == {"event_name": "INSERT", "keys": {"id": {"S": "big"}}}
    large.code(SMALL)
    refused = large.project.local("redrive", "--yes", "-o", "json")
    assert (refused.code, refused.json()["moved"], refused.json()["remaining"]) == (1, 0, 1)
    assert "fifo-cli replay --key" in refused.err
    large.project.local("replay", "--key", '{"id": "big"}', "--since", "1h", "--yes").ok()
    large.project.local("purge", "--queue", "dlq", "--no-backup", "--yes").ok()
    large.project.local("drain", "--all").ok()
    assert sorted(one["id"] for one in large.sent()) == ["big", "o2"]


def test_what_the_queue_refuses_for_its_size_is_parked_and_comes_back_when_the_queue_takes_it(large):
    def limit(size: int) -> None:
        large.sqs.set_queue_attributes(QueueUrl=large.main.url, Attributes={"MaximumMessageSize": str(size)})

    limit(10_000)
    large.put(
        *({"id": f"o{n}", "grp": f"g{n % 2}", "text": "x" * (20_000 if n == 1 else 9)} for n in range(4))
    )
    (parked,) = large.parked()
    assert parked["attributes"]["park_reason"]["value"].startswith(
        "SQS refuses the message: InvalidParameter"
    )
    assert large.main.counts().total == 3
    refused = large.project.local("redrive", "--yes", "-o", "json")
    assert (refused.code, refused.json()["moved"], refused.json()["remaining"]) == (1, 0, 1)
    limit(1_048_576)
    large.project.local("redrive", "--in-order", "--yes").ok()
    large.project.local("drain", "--all").ok()
    assert [one["id"] for one in large.sent() if one["grp"] == "g1"] == ["o1", "o3"]
