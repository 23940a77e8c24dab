"""redrive and park as processes against the embedded stack, through the fault-injecting proxy."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.aws.sqs import QueueTags
from fifo_cli.errors import BusyError, FifoError
from fifo_cli.events import Event
from fifo_cli.local.receiver import Receiver
from fifo_cli.model.limits import MESSAGE_BYTES_MAX
from fifo_cli.model.names import Names, QueueRole
from fifo_cli.operations.maintenance_lock import MAINTENANCE_TAG, RESTORE_TAG
from fifo_cli.operations.queues.redrive import Engine, Redrive, RedriveOptions
from tests.cli_harness import wait_until
from tests.faults import Action, AnswerWithError, Delay, DropAnswer, Pass, RefuseEntries, forward_all, on
from tests.integration.fork_server import ForkServer, Running
from tests.integration.lean_sqs import ask, lean_sqs
from tests.integration.proxy import Proxy, Request, hidden
from tests.integration.queue_pipeline import (
    ENV,
    Found,
    ImpatientAws,
    Make,
    Queues,
    by_group,
    changes_sqs,
    crash_everywhere,
    crashes,
    to_sqs,
    weather,
)

# Every character that a message group may have (SQS API Reference, SendMessage).
LEGAL = "".join(map(chr, range(0x21, 0x7F)))


def text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def in_turns(count: int, groups: int) -> dict[str, list[str]]:
    """Return what ``Queues.fill`` sent, by group."""
    return {f"g{k}": [str(n) for n in range(k, count, groups)] for k in range(min(groups, count))}


def as_sent(message: Found) -> dict[str, Any]:
    """Return all of a message that a move keeps."""
    attributes = {
        name: (value["DataType"], value.get("StringValue", value.get("BinaryValue")))
        for name, value in message.get("MessageAttributes", {}).items()
    }
    system = message["Attributes"]
    return {
        "body": message["Body"],
        "group": system["MessageGroupId"],
        "trace": system.get("AWSTraceHeader"),
        **attributes,
    }


def test_a_redrive_moves_everything_in_the_order_of_its_groups(one: Queues) -> None:
    one.fill("dlq", 45, 4)
    done = one.run("redrive", "--yes", "-o", "json")
    assert done.json() == {"engine": "client", "moved": 45, "skipped": 0, "failed": 0, "remaining": 0}
    assert done.code == 0
    assert by_group(one.drained("main")) == in_turns(45, 4)
    assert "Tags" not in one.sqs.list_queue_tags(QueueUrl=one.urls["main"]) or not _tags(one)


def _tags(one: Queues) -> dict[str, str]:
    return dict(one.sqs.list_queue_tags(QueueUrl=one.urls["main"]).get("Tags") or {})


# --- Killed at any request.

CRASHES: dict[str, tuple[tuple[str, ...], QueueRole, QueueRole]] = {
    "redrive": (("redrive", "--yes"), "dlq", "main"),
    "park": (("park", "--count", "7", "--yes"), "main", "dlq"),
}
PARKED = {"park_reason", "park_at", "park_from"}


def _fill_seven(one: Queues, role: QueueRole) -> None:
    attributes = {"event_id": text("e"), "b": {"DataType": "Binary", "BinaryValue": b"\x00"}}
    for n in range(7):
        one.send(role, str(n), f"g{n % 2}", MessageAttributes=attributes)


@crashes
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", CRASHES)
def test_killed_at_any_request_a_second_run_completes_the_move(
    make: Make, name: str, after: bool, every: bool
) -> None:
    args, source, target = CRASHES[name]

    def check(one: Queues) -> None:
        arrived = one.drained(target)
        assert by_group(arrived) == {"g0": ["0", "2", "4", "6"], "g1": ["1", "3", "5"]}
        for message in arrived:
            kept = {key: value for key, value in as_sent(message).items() if key not in PARKED}
            assert (kept["event_id"], kept["b"]) == (("String", "e"), ("Binary", b"\x00"))
            assert len(kept) == 5
        assert one.drained(source, timeout=2) == []

    # A second park parks what is left of the seven and finds that there are no seven more.
    codes = (0, 1) if name == "park" else (0,)
    requests = crash_everywhere(
        make,
        lambda one: _fill_seven(one, source),
        lambda one: one.run(*args),
        check,
        after=after,
        at=changes_sqs if after else to_sqs,
        every=every,
        codes=codes,
    )
    whole, part = (8, 5) if after else (12, 8)
    assert requests >= (whole if every else part)


# Why one record of nine still cannot become a message: its item, and what the new reason says.
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no such type": ({"bad": "N"}, "bad"),
    "too long for main": ({"S": "x" * 3_000}, "main takes 2048"),
}


def _fill_records(one: Queues, fault: Mapping[str, Any] = FAULTS["no such type"][0]) -> None:
    """Fill the DLQ with what the worker and the enqueuer parked; one record still cannot become a message."""
    one.sqs.set_queue_attributes(QueueUrl=one.urls["main"], Attributes={"MaximumMessageSize": "2048"})
    for n in range(9):
        attributes = {"event_id": text(f"e{n}"), "park_from": text("worker"), "park_reason": text("400")}
        body = str(n)
        if n % 3 == 0:
            attributes |= {
                "park_from": text("enqueuer"),
                "park_reason": text("ValueError"),
                "stream_sequence": text(str(100 + n)),
                "created_at": text("2026-01-02T03:04:05.000Z"),
            }
            image = {"id": {"S": str(n)}, "secret" if n == 3 else "x": fault if n == 3 else {"S": str(n)}}
            body = json.dumps({"event_name": "INSERT", "keys": {"id": {"S": str(n)}}, "new_image": image})
        one.send("dlq", body, "all" if n % 3 == 0 else f"g{n % 2}", MessageAttributes=attributes)


def _check_records(one: Queues, fault: Mapping[str, Any], reason: str) -> None:
    """Check that one record is parked again, and that all else is in main."""
    arrived = by_group(one.drained("main"))
    assert (arrived["g0"], arrived["g1"]) == (["2", "4", "8"], ["1", "5", "7"])
    assert [json.loads(body) for body in arrived["all"]] == [{"id": n, "x": n} for n in ("0", "6")]
    (left,) = one.drained("dlq", timeout=8)
    facts = as_sent(left)
    assert json.loads(facts["body"])["new_image"]["secret"] == fault
    assert facts["park_from"] == ("String", "enqueuer")
    assert reason in facts["park_reason"][1]


@crashes
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", FAULTS)
def test_killed_at_any_request_records_become_messages_once_and_what_fails_stays_once(
    make: Make, kind: str, after: bool, every: bool
) -> None:
    fault, reason = FAULTS[kind]
    requests = crash_everywhere(
        make,
        lambda one: _fill_records(one, fault),
        lambda one: one.run("redrive", "--yes"),
        lambda one: _check_records(one, fault, reason),
        after=after,
        at=changes_sqs if after else to_sqs,
        every=every,
        codes=(1,),
        hidden_for=5,
    )
    whole, part = (8, 5) if after else (12, 8)
    assert requests >= (whole if every else part)


@pytest.mark.parametrize("way", [["redrive"], ["redrive", "--in-order"]])
def test_a_record_that_is_too_long_for_main_is_parked_again_and_a_second_run_changes_no_more(
    one: Queues, way: list[str]
) -> None:
    fault, reason = FAULTS["too long for main"]
    _fill_records(one, fault)
    for moved in (8, 0):
        done = one.run(*way, "--yes", "-o", "json")
        assert (done.code, done.json()["moved"], done.json()["failed"]) == (1, moved, 1), done
        assert reason in done.err
    _check_records(one, fault, reason)


@pytest.mark.parametrize("code", ["InvalidMessageContents", "InvalidParameterValue", "InvalidAttributeValue"])
def test_a_record_whose_message_main_refuses_is_parked_again_with_that_reason(one: Queues, code: str) -> None:
    fault = {"S": "refuse me"}
    _fill_records(one, fault)

    def refuse(request: Request) -> Action:
        body = request.json() if request.action == "SendMessageBatch" else {}
        if not body.get("QueueUrl", "").endswith(f"/{one.names.main}"):
            return forward_all(request)
        return RefuseEntries(lambda _, entry: "refuse me" in entry["MessageBody"], code, sender_fault=True)

    one.proxy.rule = refuse
    done = one.run("redrive", "--yes", "-o", "json")
    assert (done.code, done.json()["moved"], done.json()["failed"], done.json()["remaining"]) == (1, 8, 1, 1)
    _check_records(one, fault, f"SQS refuses the message: {code}")


# --- Bad weather.


def test_in_bad_weather_a_redrive_completes_or_accounts_for_what_stayed(one: Queues) -> None:
    one.fill("dlq", 40, 20)
    one.proxy.edit = hidden(2)
    one.proxy.rule = weather(1)
    done = one.run("redrive", "--yes", "-o", "json", timeout=120)
    assert done.code in (0, 1), done
    report = done.json()
    one.proxy.rule = forward_all
    if report["remaining"]:
        assert done.code == 1
        one.run("redrive", "--yes").ok()
    else:
        assert (report["moved"], report["failed"]) == (40, 0)
    assert one.drained("dlq", timeout=4) == []
    assert by_group(one.drained("main")) == in_turns(40, 20)


def test_in_bad_weather_a_park_completes_or_accounts_for_what_stayed(one: Queues) -> None:
    one.fill("main", 16, 4)
    one.proxy.edit = hidden(2)
    one.proxy.rule = weather(2)
    done = one.run("park", "--count", "16", "--yes", "-o", "json", timeout=120)
    one.proxy.rule = forward_all
    assert done.code in (0, 1), done
    parked = done.json()["parked"]
    assert len({message["message_id"] for message in parked}) == len(parked)
    if len(parked) < 16:
        assert done.code == 1
        wait_until(lambda: not one.hidden("main"))  # what a call that came late has received
        again = one.run("park", "--count", "16", "--yes", "--force")  # a marker may be there still
        assert again.code in (0, 1), again
    assert one.drained("main", timeout=4) == []
    assert by_group(one.drained("dlq")) == in_turns(16, 4)


def test_when_sqs_throttles_a_redrive_goes_slower_and_says_so(one: Queues) -> None:
    one.fill("dlq", 300, 50)
    one.proxy.rule = on("SendMessageBatch", nth=2, do=AnswerWithError("RequestThrottled", status=403))
    ran = one.run("redrive", "--yes").ok()
    assert "AWS throttles: 6 calls at a time" in ran.err
    assert by_group(one.drained("main")) == in_turns(300, 50)


def test_answers_later_than_the_client_waits_lose_nothing(one: Queues) -> None:
    one.fill("dlq", 40, 10)
    one.proxy.edit = hidden(2)
    # One request in nine takes effect when its answer is no longer waited for, and was asked for again.
    one.proxy.rule = lambda request: Delay(2.0) if request.number % 9 == 0 else forward_all(request)
    aws = ImpatientAws(AwsEndpoint(endpoint_url=one.proxy.endpoint, local=True))
    result = Redrive(aws, one.names, RedriveOptions()).perform()
    one.proxy.rule = forward_all
    if result.remaining:
        assert result.exit_code in (1, 3)
        Redrive(aws, one.names, RedriveOptions()).perform(force=True)  # a marker may be there still
    else:
        assert (result.moved, result.failed, result.exit_code) == (40, 0, 0), result
    assert by_group(one.drained("main")) == in_turns(40, 10)


def test_a_service_that_refuses_every_send_ends_it_with_3_and_everything_where_it_was(one: Queues) -> None:
    one.fill("dlq", 12, 3)
    one.proxy.rule = on("SendMessageBatch", do=AnswerWithError("AccessDenied", "not you", status=403))
    done = one.run("redrive", "--yes", "-o", "json")
    assert done.code == 3
    assert done.json() == {"engine": "client", "moved": 0, "skipped": 0, "failed": 0, "remaining": 12}
    assert "permission denied (not you" in done.err
    assert _tags(one) == {}
    # Released, not left to their visibility timeout.
    assert by_group(one.drained("dlq")) == in_turns(12, 3)


def test_one_group_that_is_refused_stays_in_order_while_the_others_go(one: Queues) -> None:
    one.fill("dlq", 12, 3)

    def bodies_of_g1(place: int, entry: Any) -> bool:
        return bool(entry["MessageGroupId"] == "g1")

    one.proxy.rule = on("SendMessageBatch", do=RefuseEntries(bodies_of_g1, code="InvalidMessageContents"))
    done = one.run("redrive", "--yes")
    assert done.code == 1
    assert "; 4 messages remain in " in done.out
    assert "(group g1): InvalidMessageContents" in done.out
    arrived = by_group(one.drained("main"))
    assert arrived == {name: bodies for name, bodies in in_turns(12, 3).items() if name != "g1"}
    assert by_group(one.drained("dlq")) == {"g1": ["1", "4", "7", "10"]}


def test_with_same_group_batches_a_partial_refusal_names_who_overtook_whom(one: Queues) -> None:
    one.fill("dlq", 3, 1)
    refused = RefuseEntries(lambda place, entry: bool(entry["MessageBody"] == "1"))
    one.proxy.rule = on("SendMessageBatch", nth=1, do=refused)
    done = one.run("redrive", "--same-group-batches", "--yes")
    assert done.code == 1
    assert by_group(one.drained("main")) == {"g0": ["0", "2", "1"]}
    assert " (group g0) was overtaken by " in done.out


# --- The deduplication trap.


def test_a_message_whose_deduplication_id_main_has_seen_survives_a_redrive(one: Queues) -> None:
    one.send("main", "first", dedup_id="the-same")
    one.drained("main")
    one.send("dlq", "parked", dedup_id="the-same")
    one.run("redrive", "--yes").ok()
    assert by_group(one.drained("main")) == {"g": ["parked"]}


def test_a_message_whose_deduplication_id_the_dlq_has_seen_survives_a_park(one: Queues) -> None:
    one.send("dlq", "first", dedup_id="the-same")
    one.drained("dlq")
    one.send("main", "poison", dedup_id="the-same")
    one.run("park", "--yes").ok()
    assert by_group(one.drained("dlq")) == {"g": ["poison"]}


def test_a_message_may_be_redriven_and_parked_again_and_again_within_minutes(one: Queues) -> None:
    one.send("dlq", "poison")
    for _ in range(2):
        one.run("redrive", "--yes").ok()
        one.run("park", "--yes", "--reason", "still poison").ok()
    (message,) = one.drained("dlq")
    assert message["MessageAttributes"]["park_reason"]["StringValue"] == "still poison"


# --- Others at work.


def test_the_worker_delivers_while_a_redrive_runs_each_once_and_in_order(
    make: Make, receiver: Receiver
) -> None:
    with make(api=receiver.url) as one:
        for n in range(6):
            one.send(
                "main", json.dumps(["newer", n]), f"g{n % 3}", MessageAttributes={"event_id": text(f"m{n}")}
            )
        for n in range(60):
            attributes = {"event_id": text(f"d{n}")}
            one.send("dlq", json.dumps(["parked", n]), f"g{n % 3}", MessageAttributes=attributes)
        redrive = one.start("redrive", "--yes", "--max-rate", "20")
        while one.total("main") < 12:
            time.sleep(0.02)
        assert one.total("dlq") > 20
        while one.total("dlq") or one.total("main"):
            one.run("drain", "--all")
        redrive.wait().ok()
        received = [json.loads(each.body) for each in receiver.requests]
        assert len({each.idempotency_key for each in receiver.requests}) == len(received) == 66
        for k in range(3):
            mine = [each for each in received if each[1] % 3 == k]
            assert mine == [
                *(["newer", n] for n in range(k, 6, 3)),
                *(["parked", n] for n in range(k, 60, 3)),
            ]


def test_a_second_redrive_exits_75_until_the_first_is_done(one: Queues) -> None:
    one.fill("dlq", 12, 1)
    first = one.start("redrive", "--yes", "--max-rate", "4")
    while MAINTENANCE_TAG not in _tags(one):
        time.sleep(0.05)
    time.sleep(0.4)  # the first has looked again, as it must
    second = one.run("redrive", "--yes")
    assert (second.code, second.out) == (75, "")
    assert "another maintenance operation holds" in second.err
    assert f"{one.names.queue('main')}: redrive by " in second.err
    parked = one.run("park", "--yes")
    assert (parked.code, parked.out) == (75, "")
    first.wait().ok()
    assert by_group(one.drained("main")) == in_turns(12, 1)


def test_one_of_two_that_begin_at_once_exits_75_and_puts_back_what_it_had_taken_already(one: Queues) -> None:
    one.fill("dlq", 100, 10)
    claim = "park by eve@elsewhere since {0}T03:04:05.000Z until {0}T03:04:05.000Z as 0123.1.ff"

    def claim_too(request: Request) -> Pass:
        if (request.action, request.nth) == ("ReceiveMessage", 2):
            tags = {MAINTENANCE_TAG: claim.format("2999-01-02")}
            one.sqs.tag_queue(QueueUrl=one.urls["main"], Tags=tags)
        return Pass()

    one.proxy.rule = claim_too
    ran = one.run("redrive", "--yes")
    assert (ran.code, ran.out) == (75, "")
    assert "park by eve@elsewhere" in ran.err
    assert one.proxy.counts["ReceiveMessage"] >= 2
    assert one.proxy.counts["SendMessageBatch"] == 0
    assert by_group(one.drained("dlq")) == in_turns(100, 10)
    assert set(_tags(one)) == {MAINTENANCE_TAG}


def test_an_expired_lock_stops_nobody_and_force_goes_past_a_fresh_one(one: Queues) -> None:
    one.send("dlq", "a")
    name, queue = one.names.queue("main"), one.urls["main"]
    claim = "redrive by eve@elsewhere since 2026-01-02T03:04:05.000Z until {}T03:04:05.000Z as 0123.1.ff"
    one.sqs.tag_queue(QueueUrl=queue, Tags={MAINTENANCE_TAG: claim.format("2999-01-02")})
    refused = one.run("redrive", "--yes")
    assert refused.code == 75
    assert f"holds {name}: redrive by eve@elsewhere since 2026-01-02" in refused.err
    forced = one.run("redrive", "--yes", "--force").ok()
    assert "going on because of --force" in forced.err
    one.send("dlq", "b")
    one.sqs.tag_queue(QueueUrl=queue, Tags={MAINTENANCE_TAG: claim.format("2026-01-03")})
    one.run("redrive", "--yes").ok()
    assert by_group(one.drained("main")) == {"g": ["a", "b"]}
    assert _tags(one) == {}


@pytest.mark.parametrize(
    "command", ["redrive --yes", "park --yes", "drain --all", "drain --all --via lambda", "resume"]
)
def test_an_restore_warning_stops_what_moves_and_what_delivers(one: Queues, command: str) -> None:
    one.sqs.tag_queue(QueueUrl=one.urls["main"], Tags={RESTORE_TAG: "merge since 2026-01-02T03:04:05.000Z"})
    refused = one.run(*command.split())
    assert (refused.code, refused.out) == (75, "")
    assert "an in-order redrive is unfinished" in refused.err
    assert "redrive --in-order" in refused.err


def test_what_comes_after_a_redrive_began_is_left_so_that_it_ends(one: Queues) -> None:
    one.fill("dlq", 20, 2)
    done = threading.Event()

    def grow() -> None:
        while not one.total("main"):
            time.sleep(0.05)
        time.sleep(1.2)  # the service's clock has whole seconds
        for n in range(100):
            one.send("dlq", f"late-{n}", f"late{n % 3}")
            if done.wait(0.05):
                return

    growing = threading.Thread(target=grow)
    growing.start()
    ran = one.run("redrive", "--yes", "--max-rate", "4", "-o", "json")
    done.set()
    growing.join()
    assert (ran.code, ran.json()["moved"]) == (0, 20), ran
    assert "that came after the redrive began" in ran.err
    assert by_group(one.drained("main")) == in_turns(20, 2)
    assert all(message["Body"].startswith("late-") for message in one.drained("dlq"))


def test_of_a_dlq_shared_by_two_queues_only_ours_is_taken(one: Queues) -> None:
    policy = json.dumps(
        {"deadLetterTargetArn": _arn(one, "dlq"), "maxReceiveCount": 1},
    )
    other = one.sqs.create_queue(
        QueueName=f"{one.names.pipeline}-other.fifo",
        Attributes={"FifoQueue": "true", "RedrivePolicy": policy},
    )["QueueUrl"]
    one.sqs.send_message(QueueUrl=other, MessageBody="theirs", MessageGroupId="g", MessageDeduplicationId="t")
    for _ in range(2):
        one.sqs.receive_message(QueueUrl=other, VisibilityTimeout=0)
    one.send("dlq", "ours", "h")
    assert one.total("dlq") == 2
    done = one.run("redrive", "--yes", "-o", "json")
    assert (done.code, done.json()["moved"], done.json()["remaining"]) == (0, 1, 1), done
    assert "left alone: 1 that another queue dead-lettered" in done.err
    assert by_group(one.drained("main")) == {"h": ["ours"]}
    assert by_group(one.drained("dlq")) == {"g": ["theirs"]}


def _arn(one: Queues, role: QueueRole) -> str:
    answer = one.sqs.get_queue_attributes(QueueUrl=one.urls[role], AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_ends_with_a_summary_and_nothing_in_the_air(
    one: Queues, number: signal.Signals, code: int
) -> None:
    one.fill("dlq", 30, 2)
    running = one.start("redrive", "--yes", "--max-rate", "5", "-o", "json")
    while one.total("main") < 3:
        time.sleep(0.05)
    running.send(number)
    done = running.wait()
    assert done.code == code
    report = done.json()
    assert report["moved"] + report["remaining"] == 30
    assert _tags(one) == {}
    assert one.total("main") == report["moved"]
    one.run("redrive", "--yes").ok()
    assert by_group(one.drained("main")) == in_turns(30, 2)


# --- Odd messages.


def test_odd_messages_arrive_as_they_were_sent(one: Queues) -> None:
    ten: dict[str, Any] = {f"name.{n}-_": text(f"v{n} é") for n in range(8)}
    ten["number"] = {"DataType": "Number.int", "StringValue": "12345678901234567890"}
    ten["blob"] = {"DataType": "Binary.png", "BinaryValue": bytes(range(256))}
    header = {"AWSTraceHeader": text("Root=1-5759e988-bd862e3fe1be46a994272793")}
    odd: list[tuple[str, str, dict[str, Any]]] = [
        ("x" * MESSAGE_BYTES_MAX, "g", {}),
        ("é" * (MESSAGE_BYTES_MAX // 2), "g", {}),
        ("ten", "g", {"MessageAttributes": ten}),
        ("traced", "g", {"MessageSystemAttributes": header}),
        ("not { json", LEGAL, {}),
        ("\t\n\r \u2028\ufffd\U0001f600\U0010fffd", "!" * 128, {}),
        (" ", "~" * 128, {"MessageAttributes": ten, "MessageSystemAttributes": header}),
        ("null", "g", {}),
    ]
    for n, (body, group, more) in enumerate(odd):
        one.send("dlq", body, group, f"odd-{n}", **more)
    expected = [as_sent(message) for message in one.drained("dlq")]
    assert [each["body"] for each in expected] == [body for body, _, _ in odd]
    for n, (body, group, more) in enumerate(odd):
        one.send("dlq", body, group, f"again-{n}", **more)
    one.run("redrive", "--yes").ok()
    arrived = [as_sent(message) for message in one.drained("main")]
    key = lambda each: each["group"]  # noqa: E731 - groups may change places, not what is within
    assert sorted(arrived, key=key) == sorted(expected, key=key)


def test_a_parked_message_keeps_all_that_fits_and_says_why_and_by_whom(one: Queues) -> None:
    one.send("main", "poison", "g", MessageAttributes={"event_id": text("e1")})
    done = one.run("park", "--reason", "see ticket 123", "--yes", "-o", "json").ok()
    (parked,) = done.json()["parked"]
    shown = {name: value["value"] for name, value in parked["attributes"].items()}
    assert (parked["body"], parked["queue"], parked["group"]) == ("poison", "main", "g")
    (message,) = one.drained("dlq")
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == shown
    assert attributes.pop("park_at")
    assert attributes == {"event_id": "e1", "park_reason": "see ticket 123", "park_from": "operator"}


def test_park_takes_the_heads_of_the_group_asked_for_and_no_more(one: Queues) -> None:
    one.fill("main", 12, 3)
    one.run("park", "--group", "g1", "--count", "2", "--yes").ok()
    assert by_group(one.drained("dlq")) == {"g1": ["1", "4"]}
    assert by_group(one.drained("main")) == {**in_turns(12, 3), "g1": ["7", "10"]}


def test_a_park_of_more_than_there_is_exits_1_and_says_how_many_it_found(one: Queues) -> None:
    one.send("main", "only")
    done = one.run("park", "--count", "3", "--yes", "-o", "json")
    assert (done.code, len(done.json()["parked"])) == (1, 1)
    assert f"asked for 3, found 1 in {one.names.queue('main')}" in done.err


# --- Selection.


def test_only_what_is_selected_is_moved_and_the_rest_stays_in_order(one: Queues) -> None:
    ids = [
        one.send("dlq", json.dumps({"type": "refund" if n % 2 else "sale", "n": n}), f"g{n % 3}")
        for n in range(9)
    ]
    by_filter = one.run(
        "redrive", "--filter", "body.type == 'refund' && receives < `3`", "--yes", "-o", "json"
    )
    assert (by_filter.code, by_filter.json()["moved"], by_filter.json()["skipped"]) == (0, 4, 5), by_filter
    by_id = one.run("redrive", "--id", ids[8], "--id", ids[0], "--yes", "-o", "json").ok()
    assert by_id.json()["moved"] == 2
    by_group_ = one.run("redrive", "--group", "g1", "--yes", "-o", "json").ok()
    assert by_group_.json()["moved"] == 1
    assert {json.loads(message["Body"])["n"] for message in one.drained("dlq")} == {2, 6}
    arrived = {g: [json.loads(b)["n"] for b in bodies] for g, bodies in by_group(one.drained("main")).items()}
    assert arrived == {"g0": [3, 0], "g1": [1, 7, 4], "g2": [5, 8]}


def test_an_id_that_is_not_there_is_said_and_exits_1(one: Queues) -> None:
    found = one.send("dlq", "a")
    done = one.run("redrive", "--id", found, "--id", "no-such-id", "--yes", "-o", "json")
    assert (done.code, done.json()["moved"]) == (1, 1)
    assert "not found: no-such-id" in done.err


def test_what_cannot_be_seen_behind_ten_that_stay_is_said_and_exits_1(one: Queues) -> None:
    one.fill("dlq", 14, 1)
    done = one.run("redrive", "--filter", "body == `12`", "--yes", "-o", "json")
    assert (done.code, done.json()["moved"], done.json()["skipped"]) == (1, 0, 10), done
    assert "4 could not be seen: SQS gives out ten of a group at most while those stay in it" in done.err


@pytest.mark.parametrize(
    ("options", "code", "moved", "text"),
    [
        (["--group", "g0"], 0, 14, "28 more of other groups stay"),
        (["--group", "g2", "--count", "14"], 0, 14, ""),
        (["--group", "g1", "--count", "20"], 0, 14, "28 more of other groups stay"),
        (["--group", "g1", "--since", "1h"], 0, 14, "28 more of other groups stay"),
        (["--group", "g1", "--until", "1h"], 1, 0, "could not be seen"),
        (["--until", "0s"], 0, 42, ""),
        (["--since", "0s"], 1, 0, "could not be seen"),
        (["--group", "g0", "--filter", "body == `0`"], 1, 1, "could not be seen"),
        (["--filter", "group == 'g0'"], 1, 14, "could not be seen"),
        (["--group", "nobody"], 1, 0, "no message of"),
    ],
)
def test_what_is_not_asked_for_is_not_a_failure_and_what_may_be_hidden_is(
    one: Queues, options: list[str], code: int, moved: int, text: str
) -> None:
    one.fill("dlq", 42, 3)
    done = one.run("redrive", *options, "--yes", "-o", "json")
    assert (done.code, done.json()["moved"]) == (code, moved), done
    assert text.replace("28 more", "") in done.err
    if code == 0:
        assert "could not be seen" not in done.err


def test_a_count_takes_the_heads(one: Queues) -> None:
    one.fill("dlq", 30, 1)
    done = one.run("redrive", "--count", "12", "--yes", "-o", "json").ok()
    assert (done.json()["moved"], done.json()["remaining"]) == (12, 18)
    assert by_group(one.drained("main")) == {"g0": [str(n) for n in range(12)]}


# --- Asking first, and looking.


def test_without_yes_and_without_a_terminal_nothing_is_touched(one: Queues) -> None:
    one.send("dlq", "a")
    one.fill("main", 2, 1)
    main, dlq = one.names.queue("main"), one.names.queue("dlq")
    questions = {
        "redrive": f"move 1 message from {dlq} to {main}\n"
        f"Order: they go to the end of {main}, behind the 2 messages counted there now",
        "park": f"move the first message of {main} (2 messages) to {dlq}\n"
        "Order: the rest of each group goes on without them",
    }
    for command, question in questions.items():
        done = one.run(command)
        assert (done.code, done.out) == (2, "")
        assert question in done.err
        assert "--yes" in done.err
    assert one.total("dlq") == 1
    assert not [action for action in one.proxy.counts if action in ("ReceiveMessage", "TagQueue")]


def test_a_dry_run_shows_what_would_go_where_and_what_becomes_of_order(one: Queues) -> None:
    one.fill("dlq", 3, 1)
    one.send("main", "newer", "g0")
    done = one.run("redrive", "--dry-run", "-o", "json").ok()
    shown = done.json()
    assert [message["body"] for message in shown["messages"]] == ["0", "1", "2"]
    names = (one.names.queue("dlq"), one.names.queue("main"))
    assert (shown["moved"], shown["from"], shown["to"], shown["behind"]) == (0, *names, 1)
    report_text = one.run("redrive", "--dry-run").ok().out
    assert "dry run: nothing was moved; 3 messages would go" in report_text
    some = one.run("redrive", "--dry-run", "--count", "2").ok().out
    assert "dry run: nothing was moved; 2 messages would go" in some
    assert done.json()["would_move"] == 3
    assert "There are more than shown" not in some
    assert "no longer in stream order" in report_text
    assert re.search(r"`fifo-cli redrive --in-order( -[^`]*)?`", report_text)
    parked = one.run("park", "--dry-run", "-o", "json").ok().json()
    assert [message["body"] for message in parked["parked"]] == ["newer"]
    assert not [action for action in one.proxy.counts if action.startswith(("Send", "Delete", "Tag"))]
    assert by_group(one.drained("dlq")) == {"g0": ["0", "1", "2"]}


NOTHING: dict[str, Any] = {"engine": "client", "moved": 0, "skipped": 0, "failed": 0, "remaining": 0}


@pytest.mark.parametrize("yes", [[], ["--yes"]])
def test_nothing_to_do_is_said_with_0_and_nobody_is_asked(one: Queues, yes: list[str]) -> None:
    main, dlq = one.names.queue("main"), one.names.queue("dlq")
    assert one.run("redrive", *yes, "-o", "json").ok().json() == NOTHING
    assert one.run("park", *yes, "-o", "json").ok().json() == {"parked": []}
    assert one.run("redrive", *yes).ok().out == f"nothing to move: {dlq} is empty\n"
    assert one.run("park", "--count", "3", *yes).ok().out == f"nothing to park: {main} is empty\n"


@pytest.mark.parametrize("yes", [[], ["--yes"]])
def test_what_is_named_and_not_there_is_said_with_1_even_of_empty_queues(one: Queues, yes: list[str]) -> None:
    redriven = one.run("redrive", "--id", "no-such-id", *yes, "-o", "json")
    assert (redriven.code, redriven.json()) == (1, NOTHING)
    assert "not found: no-such-id" in redriven.err
    parked = one.run("park", "--group", "g", *yes, "-o", "json")
    assert (parked.code, parked.json()) == (1, {"parked": []})
    assert "asked for 1, found 0 in group g" in parked.err


@pytest.mark.parametrize("command", ["redrive", "park"])
def test_empty_queues_of_an_restore_warning_are_not_called_nothing_to_do(one: Queues, command: str) -> None:
    one.sqs.tag_queue(QueueUrl=one.urls["main"], Tags={RESTORE_TAG: "merge since 2026-01-02T03:04:05.000Z"})
    refused = one.run(command)
    assert (refused.code, refused.out) == (75, "")
    assert "an in-order redrive is unfinished" in refused.err


@pytest.mark.parametrize(
    "words", [("redrive", "--id"), ("redrive", "--group"), ("park", "--group"), ("park", "--reason")]
)
def test_an_option_of_which_a_script_s_variable_was_not_set_is_refused(
    one: Queues, words: tuple[str, str]
) -> None:
    refused = one.run(*words, "", "--yes")
    assert (refused.code, refused.out) == (2, "")
    assert f"{words[1]} is empty" in refused.err
    assert one.proxy.counts == {}


def test_a_missing_dlq_is_told(one: Queues) -> None:
    one.sqs.delete_queue(QueueUrl=one.urls["dlq"])
    missing = one.run("redrive", "--yes")
    assert (missing.code, missing.out) == (3, "")
    assert f"{one.names.queue('dlq')} does not exist" in missing.err


def test_where_sqs_has_no_move_tasks_the_native_engine_moves_nothing_and_says_so(one: Queues) -> None:
    one.fill("dlq", 5, 1)
    done = one.run("redrive", "--engine", "native", "--yes")
    assert (done.code, done.out) == (3, "")
    assert "this service knows no message move tasks; nothing was moved" in done.err
    assert "--engine client" in done.err
    assert by_group(one.drained("dlq")) == in_turns(5, 1)


def test_the_native_engine_refuses_what_only_the_client_engine_takes(one: Queues) -> None:
    done = one.run("redrive", "--engine", "native", "--group", "g", "--yes")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: --engine native moves everything, as fast as SQS does; --group works with the client engine\n"
        "next: use --engine client, or leave out --group\n"
    )
    both = one.run("redrive", "--engine", "native", "--count", "1", "--max-rate", "100", "--yes")
    assert (both.code, both.out) == (2, "")
    assert "--count and --max-rate work with the client engine" in both.err


# --- SQS's own move task, on the lean service, which knows it.


@dataclass
class Lean:
    """A pipeline "big" on the lean service, and the program run in its folder."""

    endpoint: str
    folder: Path
    fork_server: ForkServer

    @property
    def sqs(self) -> Any:
        return Aws(AwsEndpoint(endpoint_url=self.endpoint, local=True)).client("sqs")

    def start(self, *args: str) -> Running:
        return self.fork_server.start(self.folder, [*args, "--endpoint-url", self.endpoint], ENV)

    def audit(self, queue: str = "big.fifo") -> Any:
        return ask(self.endpoint, "Audit", QueueUrl=f"/{queue}")

    def fill(self, count: int, groups: int, size: int = 100) -> None:
        ask(self.endpoint, "Fill", QueueUrl="/big-dlq.fifo", Count=count, Groups=groups, Bytes=size)


@contextlib.contextmanager
def lean_pipeline(folder: Path, fork_server: ForkServer) -> Iterator[Lean]:
    """Make the queues of a pipeline on a lean service of its own."""
    (folder / "fifo.toml").write_text(
        '[pipeline]\nname = "big"\n[table]\nname = "big"\n[[api]]\nurl = "http://127.0.0.1:9"\n'
    )
    with lean_sqs() as endpoint:
        made = Lean(endpoint, folder, fork_server)
        policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:big-dlq.fifo"}
        for name in ("big-dlq.fifo", "big-hold.fifo"):
            made.sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})
        attributes = {"FifoQueue": "true", "RedrivePolicy": json.dumps({**policy, "maxReceiveCount": 1000})}
        made.sqs.create_queue(QueueName="big.fifo", Attributes=attributes)
        yield made


@pytest.fixture
def lean(fork_server: ForkServer, tmp_path: Path) -> Iterator[Lean]:
    with lean_pipeline(tmp_path, fork_server) as made:
        yield made


def test_the_native_engine_has_sqs_move_everything_and_counts_it(lean: Lean) -> None:
    lean.fill(60, 6)
    done = lean.start("redrive", "--engine", "native", "--yes", "-o", "json").wait().ok()
    assert done.json() == {"engine": "native", "moved": 60, "skipped": 0, "failed": 0, "remaining": 0}
    audit = lean.audit()
    assert (audit["Count"], audit["Disordered"]) == (60, [])
    assert audit["Calls"]["StartMessageMoveTask"] == 1
    assert "SendMessageBatch" not in audit["Calls"]


def test_each_native_redrive_reports_its_own_task(lean: Lean) -> None:
    for count in (60, 5):
        lean.fill(count, 6)
        done = lean.start("redrive", "--engine", "native", "--yes", "-o", "json").wait().ok()
        assert done.json()["moved"] == count


def test_a_task_whose_start_got_no_answer_is_followed_and_started_once(lean: Lean) -> None:
    lean.fill(60, 6)
    heard: list[Event] = []
    with Proxy(lean.endpoint, on("StartMessageMoveTask", do=DropAnswer())) as proxy:
        aws = Aws(AwsEndpoint(endpoint_url=proxy.endpoint, local=True))
        options = RedriveOptions(engine=Engine.NATIVE)
        result = Redrive(aws, Names("big"), options, heard.append).perform()
    assert (result.moved, result.exit_code) == (60, 0)
    assert lean.audit()["Calls"]["StartMessageMoveTask"] == 1


def test_a_native_redrive_that_is_killed_is_followed_by_the_next(lean: Lean) -> None:
    lean.fill(300, 30)
    running = lean.start("redrive", "--engine", "native", "--yes")
    while not lean.audit()["Count"]:
        time.sleep(0.05)
    running.send(signal.SIGKILL)
    running.wait()
    done = lean.start("redrive", "--engine", "native", "--yes", "--force", "-o", "json").wait().ok()
    assert done.json()["moved"] == 300
    assert "is running; following it" in done.err
    assert lean.audit()["Calls"]["StartMessageMoveTask"] == 1


def test_who_lost_the_lock_at_the_last_moment_starts_no_task(
    lean: Lean, monkeypatch: pytest.MonkeyPatch
) -> None:
    lean.fill(60, 6)
    claim = "park by eve@elsewhere since {0}T03:04:05.000Z until {0}T03:04:05.000Z as 0123.1.ff"

    write = QueueTags.write

    def write_and_lose(tags: QueueTags, tag: str, value: str) -> None:
        write(tags, tag, value)
        write(tags, tag, claim.format("2999-01-02"))

    monkeypatch.setattr(QueueTags, "write", write_and_lose)
    redrive = Redrive(
        Aws(AwsEndpoint(endpoint_url=lean.endpoint, local=True)),
        Names("big"),
        RedriveOptions(engine=Engine.NATIVE),
    )
    with pytest.raises(BusyError, match="park by eve@elsewhere"):
        redrive.perform()
    assert "StartMessageMoveTask" not in lean.audit()["Calls"]


def test_interrupted_the_native_engine_cancels_its_task(lean: Lean) -> None:
    lean.fill(2_000, 200)
    running = lean.start("redrive", "--engine", "native", "--yes", "-o", "json")
    while not lean.audit()["Count"]:
        time.sleep(0.05)
    running.send(signal.SIGINT)
    done = running.wait()
    assert done.code == 130
    report = done.json()
    assert 0 < report["moved"] < 2_000
    assert report["moved"] + report["remaining"] == 2_000
    assert "cancelling the move task; what it has moved stays moved" in done.err
    assert lean.audit()["Calls"]["CancelMessageMoveTask"] == 1


def test_a_dlq_of_several_queues_is_not_for_the_native_engine(lean: Lean) -> None:
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:big-dlq.fifo", "maxReceiveCount": 9}
    attributes = {"FifoQueue": "true", "RedrivePolicy": json.dumps(policy)}
    lean.sqs.create_queue(QueueName="other.fifo", Attributes=attributes)
    lean.fill(5, 1)
    done = lean.start("redrive", "--engine", "native", "--yes").wait()
    assert (done.code, done.out) == (2, "")
    assert "big-dlq.fifo is the dead-letter queue of big.fifo, other.fifo" in done.err
    assert lean.audit()["Count"] == 0


def test_records_that_the_enqueuer_parked_are_not_for_the_native_engine(lean: Lean) -> None:
    lean.fill(5, 1)
    lean.sqs.send_message(
        QueueUrl=lean.sqs.get_queue_url(QueueName="big-dlq.fifo")["QueueUrl"],
        MessageBody='{"event_name":"INSERT","keys":{"id":{"S":"i1"}}}',
        MessageGroupId="other",
        MessageDeduplicationId="a record",
        MessageAttributes={"park_from": {"DataType": "String", "StringValue": "enqueuer"}},
    )
    done = lean.start("redrive", "--engine", "native", "--yes").wait()
    assert (done.code, done.out) == (2, "")
    assert "big-dlq.fifo holds records that the enqueuer parked (1 seen)" in done.err
    assert "StartMessageMoveTask" not in lean.audit()["Calls"]
    aws = Aws(AwsEndpoint(endpoint_url=lean.endpoint, local=True))
    result = Redrive(aws, Names("big"), RedriveOptions()).perform()
    assert (result.engine, result.moved, result.failed) == ("client", 5, 1)


def test_a_dlq_of_which_not_all_can_be_seen_is_not_for_the_native_engine(
    lean: Lean, monkeypatch: pytest.MonkeyPatch
) -> None:
    lean.fill(24, 2)
    done = lean.start("redrive", "--engine", "native", "--yes").wait()
    assert (done.code, done.out) == (2, "")
    assert "big-dlq.fifo holds 4 messages that cannot be looked at" in done.err
    assert "use --engine client" in done.err
    monkeypatch.setattr("fifo_cli.operations.queues.redrive.MESSAGES_MAX", 23)
    many = lean.start("redrive", "--engine", "native", "--yes").wait()
    assert many.code == 2
    assert "StartMessageMoveTask" not in lean.audit()["Calls"]
    result = Redrive(
        Aws(AwsEndpoint(endpoint_url=lean.endpoint, local=True)), Names("big"), RedriveOptions()
    ).perform()
    assert (result.engine, result.moved, result.failed) == ("client", 24, 0)


def test_auto_is_our_own_engine_and_asks_nothing_about_move_tasks(lean: Lean) -> None:
    aws = Aws(AwsEndpoint(endpoint_url=lean.endpoint, local=True))
    for options, engine in [
        (RedriveOptions(), Engine.CLIENT),
        (RedriveOptions(group="g7"), Engine.CLIENT),
        (RedriveOptions(engine=Engine.CLIENT), Engine.CLIENT),
    ]:
        assert Redrive(aws, Names("big"), options)._engine() is engine, options
    assert "ListMessageMoveTasks" not in lean.audit()["Calls"]
    assert Redrive(aws, Names("big"), RedriveOptions(engine=Engine.NATIVE))._engine() is Engine.NATIVE


@pytest.mark.parametrize("call", ["ListMessageMoveTasks", "StartMessageMoveTask"])
def test_where_sqs_has_no_move_tasks_only_the_native_engine_is_refused(lean: Lean, call: str) -> None:
    lean.fill(5, 1)
    with Proxy(lean.endpoint, on(call, do=AnswerWithError("InvalidAction"))) as proxy:
        aws = Aws(AwsEndpoint(endpoint_url=proxy.endpoint, local=True))
        with pytest.raises(FifoError, match="no message move tasks; nothing was moved"):
            Redrive(aws, Names("big"), RedriveOptions(engine=Engine.NATIVE)).perform()
        result = Redrive(aws, Names("big"), RedriveOptions()).perform(force=True)
    assert (result.engine, result.moved, result.exit_code) == ("client", 5, 0)


def test_who_may_not_look_at_move_tasks_is_refused_the_native_engine(lean: Lean) -> None:
    denied = on("ListMessageMoveTasks", do=AnswerWithError("AccessDenied", "not you", status=403))
    with Proxy(lean.endpoint, denied) as proxy:
        aws = Aws(AwsEndpoint(endpoint_url=proxy.endpoint, local=True))
        with pytest.raises(FifoError, match="permission denied"):
            Redrive(aws, Names("big"), RedriveOptions(engine=Engine.NATIVE))._engine()


# --- Size.


def _redrive(folder: Path, fork_server: ForkServer, count: int) -> tuple[int, int]:
    """Redrive so many messages of 1 KB; return the requests it took, and the most memory in KiB."""
    with lean_pipeline(folder, fork_server) as lean:
        lean.fill(count, 100, 1000)
        before = sum(lean.audit()["Calls"].values())
        done = lean.start("redrive", "--yes", "-o", "json", "--engine", "client").wait(600).ok()
        assert done.json()["moved"] == count
        audit = lean.audit()
        assert (audit["Count"], audit["Different"], audit["Disordered"]) == (count, count, [])
        return sum(audit["Calls"].values()) - before, done.peak_kib


def test_memory_stays_flat_and_requests_grow_with_the_messages_only(
    fork_server: ForkServer, tmp_path: Path
) -> None:
    few, small = _redrive(tmp_path, fork_server, 1_000)
    many, large = _redrive(tmp_path, fork_server, 5_000)
    assert many <= 5_000 * 0.35
    assert many <= 5 * few
    assert large - small < 8 * 1024
    assert large < 120 * 1024


@pytest.mark.long
def test_a_hundred_thousand_take_no_more_memory_and_no_more_requests_each(
    fork_server: ForkServer, tmp_path: Path
) -> None:
    few, small = _redrive(tmp_path, fork_server, 1_000)
    many, large = _redrive(tmp_path, fork_server, 100_000)
    assert many <= 100 * few
    assert large <= 1.35 * small
    assert large < 120 * 1024


@pytest.mark.long
def test_ten_thousand_arrive_once_and_in_order(one: Queues) -> None:
    one.fill("dlq", 10_000, 100)
    done = one.run("redrive", "--yes", "-o", "json", timeout=600).ok()
    assert (done.json()["moved"], done.json()["remaining"]) == (10_000, 0)
    assert done.peak_kib < 120 * 1024
    assert by_group(one.drained("main")) == {
        f"g{k}": [str(n) for n in range(k, 10_000, 100)] for k in range(100)
    }
