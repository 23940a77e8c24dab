"""The first hint of status is the right one, whatever holds up the pipeline: as text, by what people type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fifo_cli.handlers.json_log import line as journal_line
from fifo_cli.local.receiver import Reply
from tests.cli_harness import Stack
from tests.integration.deployed_pipeline import Pipeline, deployed

GROUPS = ("ada", "bob", "eve")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    api = {"name": "shop", "timeout": "4s", "keys": {"shop_key": "/t/advice"}}
    with deployed(tmp_path_factory.mktemp("advice"), stack, api=api) as line:
        line.project.local("keys", "set", "shop_key", input="sesame\n").ok()
        yield line
        line.aws.client("ssm").delete_parameter(Name="/t/advice")


@pytest.fixture
def line(shared: Pipeline) -> Pipeline:
    shared.reset()
    shared.forget_logs()
    for group in GROUPS:
        shared.send(2, group=group)
    return shared


def advice(line: Pipeline) -> list[str]:
    """Return the first problem that status shows, with what it advises; into a pipe nothing is wrapped."""
    out = re.sub(r" --config \S+", "", line.local("status").out).splitlines()
    problem = [text.strip() for text in out[1 : out.index("")]]
    more = [at for at, text in enumerate(out[2 : len(problem) + 1], 1) if text[2:3] != " "]
    return problem[: more[0] if more else None]


DOWN = [
    "means: shop is down: nothing is delivered meanwhile",
    "next: wait, or have shop fixed: each run tries again, and order is kept",
    "do not park: the messages are good, and would lose their places",
]


def test_all_groups_at_503_wait_and_looking_at_one_does_not_forget_the_others(line: Pipeline) -> None:
    line.api.fail(503)
    drained = line.local("drain", "--all")
    assert DOWN[1] in drained.err

    first = advice(line)
    assert first[0].startswith("warning  group ada waits for its head: HTTP 503 from shop")
    assert first[0].endswith("(2 more groups wait)")
    assert first[1:] == DOWN

    for via in ("local", "lambda"):  # the latter is what `d` does in watch
        line.local("drain", "--count", "1", "--via", via)
        again = advice(line)
        assert again[0].endswith("(2 more groups wait)")
        assert again[1:] == DOWN
    assert "fifo-cli park" not in line.local("status").out

    line.api.recover()
    line.local("drain", "--count", "1").ok()
    back = advice(line)
    assert back[1:3] == [
        "means: shop answers again: other groups were delivered since this was tried",
        "next: `fifo-cli drain --all --local` delivers what waits now; or wait for the next run",
    ]
    line.local("drain", "--all").ok()
    assert line.local("status").ok().out.startswith("OK")


def test_one_group_alone_at_500_is_parked_and_gone_at_once(line: Pipeline) -> None:
    poison = json.loads(line.local("peek", "--group", "bob", "--count", "1", "-o", "json").ok().out)
    body = poison["messages"][0]["message_id"]
    # Heads that were looked at have their turn by chance: the others are delivered after bob's has failed.
    fine = Reply(delay=0.4)
    line.api.answer = lambda received: Reply(500, b"no") if received.idempotency_key == body else fine
    for _ in range(3):  # looks, which SQS counts as receives
        line.local("peek", "--count", "9").ok()
    assert line.local("drain", "--all", "--concurrency", "3").code == 1

    found = advice(line)
    assert found[0] == "warning  group bob waits for its head: HTTP 500 from shop: no"
    assert found[1:] == [
        "means: shop takes other groups' messages, and fails on this one",
        "next: `fifo-cli park --group bob --local` sets this message aside, and its group goes on",
        "do not redrive it before shop is fixed: it would hold up its group again",
    ]
    assert ", 1 attempt as of " in line.local("status").out
    [stuck] = line.local("status", "-o", "json").json()["worker"]["stuck"]
    assert (stuck["attempts"], stuck["api"], stuck["http_status"]) == (1, "shop", 500)
    assert stuck["receives"] > 1

    line.local("park", "--group", "bob", "--yes").ok()
    for _ in range(2):  # a second look says the same
        gone = line.local("status", "-o", "json").json()
        assert gone["worker"]["stuck"] == []
        assert [one["text"] for one in gone["verdict"]["problems"]] == ["1 message in the DLQ"]


def test_a_refused_key_is_set_again(line: Pipeline) -> None:
    line.api.fail(401)
    assert line.local("drain", "--all").code == 1

    assert advice(line)[1:] == [
        "means: shop refuses the key: it was changed or has expired",
        "next: `fifo-cli keys set shop_key --local`, then `fifo-cli drain --count 1 --local`",
        "do not park: the messages are good, and would lose their places",
    ]


def test_an_api_that_is_slow_is_waited_for(line: Pipeline) -> None:
    line.api.delay = 6
    drained = line.local("drain", "--all", "--concurrency", "3", "-o", "json")
    assert {one["api"] for one in drained.json()["results"] if one["status"] == "failed"} == {"shop"}

    found = advice(line)
    assert "no answer from shop: ReadTimeout" in found[0]
    assert found[1] == "means: shop does not answer within [api] timeout: it is slow, or down"
    assert found[2].startswith("next: wait: each run tries again, and order is kept; if it stays slow, raise")


def test_a_paused_worker_is_resumed(line: Pipeline) -> None:
    line.switch(enabled=False)

    found = advice(line)
    assert found[0] == "warning  the worker is paused"
    assert found[2] == "next: `fifo-cli resume worker --local`"


def test_an_enqueuer_that_fails_is_looked_at(line: Pipeline) -> None:
    for ago in (60, 30):
        at = datetime.now(UTC) - timedelta(seconds=ago)
        line.logged(
            "enqueuer",
            journal_line("error", "batch failed", at=at, owner="program", reason="KeyError: 'id'"),
            ago=ago,
        )

    found = advice(line)
    assert found[0].startswith("critical the enqueuer's last 2 invocations failed: KeyError: 'id'")
    assert found[1:] == [
        "means: new items wait in the stream, which forgets them after 24 h",
        "next: `fifo-cli logs enqueuer --local`",
        "do not put the items again: the stream has them, and each would be delivered twice",
    ]


def test_what_is_in_the_dlq_is_shown_by_reason(line: Pipeline) -> None:
    line.api.fail(422)
    assert line.local("drain", "--all").code == 1

    found = advice(line)
    assert found[0] == "warning  6 messages in the DLQ"
    assert found[1] == "means: parked, as the log shows: 6 by HTTP 422 from shop"
