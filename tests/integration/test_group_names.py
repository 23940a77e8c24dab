"""A group is shown and found by its name in every command, and one that is not there is an exit 1."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from fifo_cli.handlers.identifiers import sqs_id
from tests.cli_harness import Ran, Stack
from tests.integration.deployed_pipeline import Pipeline, deployed

NAMES = ["zoë", "a b", "zo%C3%AB", "日本", "100%"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    with deployed(tmp_path_factory.mktemp("groups"), stack) as line:
        line.local("pause", "enqueuer").ok()
        yield line


@pytest.fixture
def line(shared: Pipeline) -> Pipeline:
    shared.reset()
    for role in ("main", "dlq"):
        for name in NAMES:
            shared.send(1, role, group=sqs_id(name))
    return shared


def groups(ran: Ran) -> list[str]:
    return [one["group"] for one in ran.json()["messages"]]


TYPED = [
    ("zoë", "zo%C3%AB"),
    ("zo%C3%AB", "zo%C3%AB"),
    ("a b", "a%20b"),
    ("a%20b", "a%20b"),
    ("zo%25C3%25AB", "zo%25C3%25AB"),
    ("日本", "%E6%97%A5%E6%9C%AC"),
    ("100%", "100%25"),
]


def test_a_group_is_found_by_its_name_and_by_its_id(line: Pipeline) -> None:
    for typed, group_id in TYPED:
        assert groups(line.local("peek", "--group", typed, "-o", "json").ok()) == [group_id], typed
        preview = line.local("redrive", "--group", typed, "--dry-run", "-o", "json").ok()
        assert groups(preview) == [group_id], typed
        parked = line.local("park", "--group", typed, "--dry-run", "-o", "json").ok().json()["parked"]
        assert [one["group"] for one in parked] == [group_id], typed
        assert groups(line.local("peek", "--filter", f"group_id == '{group_id}'", "-o", "json")) == [group_id]


@pytest.mark.parametrize(("words", "moved"), [("redrive", "moved"), ("park", "parked")])
def test_a_move_takes_the_group_that_was_named_and_no_other(line: Pipeline, words: str, moved: str) -> None:
    ran = line.local(words, "--group", "zoë", "--yes", "-o", "json").ok().json()
    assert (ran[moved] if words == "redrive" else len(ran[moved])) == 1
    assert line.local("peek", "--queue", "dlq" if words == "redrive" else "main", "--group", "zoë").code == 1


def test_people_see_names_and_json_has_what_load_sends_again(line: Pipeline) -> None:
    for words in ("peek", "redrive --dry-run", "park --count 5 --dry-run", "drain --all --dry-run"):
        out = line.local(*words.split()).ok().out
        assert ("zoë" in out, "zo%C3%AB" in out) == (True, False), words
        assert "zo%C3%AB" in line.local(*words.split(), "-o", "json").ok().out, words
    assert groups(line.local("peek", "--filter", "group == 'zoë'", "-o", "json")) == ["zo%C3%AB"]
    assert len(groups(line.local("peek", "--filter", "group != 'zoë'", "-o", "json"))) == len(NAMES) - 1
    path = line.project.folder / "dump.jsonl"
    path.unlink(missing_ok=True)
    path.with_name("dump.jsonl.loaded").unlink(missing_ok=True)
    line.local("dump", str(path), "--move", "--yes").ok()
    saved = {json.loads(text)["group"] for text in path.read_text().splitlines()}
    assert saved == {sqs_id(name) for name in NAMES}
    line.local("load", str(path), "--queue", "dlq", "--yes").ok()
    assert set(groups(line.local("peek", "--queue", "dlq", "-o", "json"))) == saved


def test_what_is_stuck_is_named_and_the_hint_can_be_typed(line: Pipeline) -> None:
    line.forget_logs()
    line.aws.client("sqs").purge_queue(QueueUrl=line.url("main"))
    line.send(1, group="zo%C3%AB")
    line.api.fail(503)
    line.local("drain", "--all", "--via", "lambda")
    status = line.local("status")
    assert "zoë" in status.out
    assert "zo%C3%AB" not in status.out
    assert "zo%C3%AB" not in line.local("logs", "worker", "--since", "5m").out


NOTHING = [
    ("peek --group nobody", "no message of group nobody in {main}"),
    ("peek --group nöbody", "no message of group nöbody (n%C3%B6body) in {main}"),
    ("peek --queue dlq --group n%C3%B6body", "no message of group nöbody (n%C3%B6body) in {dlq}"),
    ("peek --queue hold --group zoë", "no message of group zoë (zo%C3%AB) in {hold}"),
    ("redrive --group nobody --dry-run", "no message of group nobody in {dlq}"),
    ("redrive --group nobody --yes", "no message of group nobody in {dlq}"),
    ("redrive --id no-such --dry-run", "not found: no-such in {dlq}"),
    ("redrive --id no-such --yes", "not found: no-such in {dlq}"),
    ("redrive --id no-such --group nobody --yes", "not found: no-such in {dlq}"),
    ("park --group nobody --dry-run", "no message of group nobody in {main}"),
    ("park --group nobody --yes", "found 0 in group nobody in {main}"),
    ("replay --key nobody --since 1h --dry-run", 'no record of the item {{"id": "nobody"}}'),
    ("replay --key nobody --since 1h --yes", 'no record of the item {{"id": "nobody"}}'),
    ("trace nobody", "nothing about it since"),
]  # fmt: skip


@pytest.mark.parametrize("empty", [False, True], ids=["among others", "in empty queues"])
def test_a_name_that_matches_nothing_is_an_exit_1_that_says_what_was_looked_for(
    line: Pipeline, empty: bool
) -> None:
    if empty:
        for role in ("main", "dlq"):
            line.aws.client("sqs").purge_queue(QueueUrl=line.url(role))
    queues = {role: line.project.names.queue(role) for role in ("main", "dlq", "hold")}
    for words, text in NOTHING:
        for format_ in ("table", "json"):
            ran = line.local(*words.split(), "-o", format_)
            assert ran.code == 1, (words, format_, ran.out, ran.err)
            shown = text.format(**queues)
            # JSON has the item's key and its detail itself.
            assert shown in ran.out + ran.err or (format_ == "json" and "nobody" in ran.out), (words, ran)
