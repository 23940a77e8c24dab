"""check as monitoring systems run it, on the states a pipeline can be in."""

from __future__ import annotations

import json
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli_harness import Project, Stack, new_name
from tests.faults import Action, AnswerWithError, Pass
from tests.integration.deployed_pipeline import Pipeline, deployed
from tests.integration.proxy import Proxy, Request

REFUSED_PORT = "http://127.0.0.1:9"
# What reads and receives nothing; a monitor has no more than this.
READS = ("Get", "List", "Describe", "GET ", "QueryGet", "FilterLogEvents")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    with deployed(tmp_path_factory.mktemp("check"), stack) as line:
        yield line


@pytest.fixture
def line(shared: Pipeline) -> Pipeline:
    shared.reset()
    return shared


def test_a_fresh_pipeline_is_ok(line: Pipeline) -> None:
    ran = line.local("check")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"FIFO {line.name} OK: 0 waiting, 0 in the DLQ | depth=0;1000;10000;0 age=0s;")


def test_a_key_that_does_not_exist_is_critical_before_a_run_fails_for_it(
    tmp_path: Path, stack: Stack
) -> None:
    keys = {"api_key": f"/{new_name()}"}
    with deployed(tmp_path, stack, api={"headers": {"X-Key": "{api_key}"}, "keys": keys}) as line:
        ran = line.local("check")
        assert (ran.code, f"parameter {keys['api_key']} does not exist" in ran.out) == (2, True)
        line.aws.client("ssm").put_parameter(Name=keys["api_key"], Value="sesame", Type="SecureString")
        assert line.local("check").code == 0


def test_a_secret_that_does_not_exist_or_is_to_be_deleted_is_critical(tmp_path: Path, stack: Stack) -> None:
    name = new_name()
    api = {"headers": {"X-Key": "{api_key}"}, "keys": {"api_key": f"secretsmanager:{name}#key"}}
    with deployed(tmp_path, stack, api=api) as line:
        secrets = line.aws.client("secretsmanager")
        ran = line.local("check")
        assert (ran.code, f"secret {name} does not exist" in ran.out) == (2, True)
        secrets.create_secret(Name=name, SecretString='{"key": "sesame"}')
        assert line.local("check").code == 0
        assert f"api_key: secretsmanager:{name}#key set" in line.local("status").ok().out
        secrets.delete_secret(SecretId=name)
        ran = line.local("check")
        assert (ran.code, f"cannot be read: secret {name} is scheduled for deletion" in ran.out) == (2, True)
        assert f"api_key: secretsmanager:{name}#key is scheduled for deletion" in line.local("status").out


@pytest.mark.parametrize(("count", "code", "word"), [(1, 0, "OK"), (2, 1, "WARNING"), (4, 2, "CRITICAL")])
def test_a_backlog_warns_from_the_first_threshold_and_is_critical_from_the_second(
    line: Pipeline, count: int, code: int, word: str
) -> None:
    line.send(count)

    ran = line.local("check", "--depth", "2,4")

    assert ran.code == code
    assert ran.out.startswith(f"FIFO {line.name} {word}: ")
    assert f"| depth={count};2;4;0 " in ran.out


@pytest.mark.parametrize(("flags", "code"), [([], 1), (["--dlq", "1,2"], 2), (["--dlq", "3,9"], 0)])
def test_a_message_in_the_dlq_is_held_against_its_thresholds(
    line: Pipeline, flags: list[str], code: int
) -> None:
    line.send(2, "dlq")

    assert line.local("check", *flags).code == code


@pytest.mark.parametrize(("age", "code"), [(60, 0), (901, 1), (3600, 2)])
def test_the_age_that_cloudwatch_knows_counts_while_messages_wait(
    project: Callable[..., Project], stack: Stack, age: int, code: int
) -> None:
    with deployed(project().folder / "own", stack) as line:
        line.measured("ApproximateAgeOfOldestMessage", age, QueueName=line.project.names.main)
        assert line.local("check").code == 0, "an empty queue has no oldest message"

        line.send(1)

        ran = line.local("check")
        assert ran.code == code
        assert f"age={age}s;900;3600;0" in ran.out


def test_a_paused_worker_warns(line: Pipeline) -> None:
    line.switch(enabled=False)

    ran = line.local("check")

    assert ran.code == 1
    assert ran.out.startswith(f"FIFO {line.name} WARNING: the worker is paused |")


def test_when_the_stack_is_down_it_is_unknown_with_the_reason(line: Pipeline) -> None:
    ran = line.at(REFUSED_PORT, "check")

    assert ran.code == 3
    assert ran.out.startswith(f"FIFO {line.name} UNKNOWN: AWS could not be reached")
    assert "depth=U;1000;10000;0" in ran.out


def test_a_pipeline_that_is_not_deployed_is_unknown(project: Callable[..., Project]) -> None:
    ran = project().local("check")

    assert ran.code == 3
    assert "UNKNOWN: queue" in ran.out
    assert "does not exist" in ran.out


@pytest.mark.parametrize(
    "words",
    [
        ["--depth", "5"],
        ["--depth", "5,1"],
        ["--age", "1,2"],
        ["--dlq", "x,y"],
        ["--timeout", "soon"],
        ["--nonsense"],
        ["--format", "xml"],
        ["--config", "nowhere.toml"],
        ["--env", "nowhere"],
    ],
    ids=" ".join,
)
def test_whatever_is_wrong_with_the_command_itself_is_unknown_and_not_critical(
    line: Pipeline, words: list[str]
) -> None:
    ran = line.local("check", *words)

    assert ran.code == 3
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("words", [["--format", "json"], ["-o", "json"], ["-o", "jsonl"]], ids=" ".join)
def test_json_is_one_document_whatever_the_state(line: Pipeline, words: list[str]) -> None:
    line.send(1, "dlq")

    ran = line.local("check", *words)

    assert ran.code == 1
    document = ran.json()
    assert (document["state"], document["code"], document["values"]["dlq"]) == ("WARNING", 1, 1)
    given = f"--config {line.project.config} --local"
    assert document["problems"] == [
        {
            "state": "warning",
            "text": "1 message in the DLQ",
            "next": f"`fifo-cli peek --queue dlq {given}` shows why;"
            f" once that is fixed, `fifo-cli redrive {given}`",
            "avoid": "redrive before that is fixed: they would be parked again",
        }
    ]
    assert line.at(REFUSED_PORT, "check", *words, "--timeout", "1s").json()["state"] == "UNKNOWN"


def families(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{json.dumps(sample.labels, sort_keys=True)}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_its_format_and_the_textfile(line: Pipeline, tmp_path: Path) -> None:
    line.send(3)
    target = tmp_path / "orders.prom"

    ran = line.local("check", "--format", "prometheus", "--textfile", str(target))

    assert ran.code == 0
    for text in (ran.out, target.read_text()):
        found = families(text)
        key = {"pipeline": line.name, "queue": "main", "state": "visible"}
        assert found[f"fifo_messages{json.dumps(key, sort_keys=True)}"] == 3
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["orders.prom"]


def test_the_textfile_is_replaced_in_one_step_and_shows_when_aws_is_gone(
    line: Pipeline, tmp_path: Path
) -> None:
    target = tmp_path / "orders.prom"
    line.local("check", "-q", "--textfile", str(target))
    with target.open() as reader:  # node_exporter, in the middle of reading
        ran = line.at(REFUSED_PORT, "check", "-q", "--textfile", str(target), "--timeout", "1s")
        read = reader.read()

    assert (ran.code, ran.out) == (3, "")
    assert families(read)[f'fifo_up{{"pipeline": "{line.name}"}}'] == 1
    assert families(target.read_text())[f'fifo_up{{"pipeline": "{line.name}"}}'] == 0


@pytest.mark.parametrize("path", ["missing/orders.prom", ".", "/dev/full"])
def test_a_textfile_that_cannot_be_written_is_unknown_and_leaves_nothing(
    line: Pipeline, tmp_path: Path, path: str
) -> None:
    ran = line.local("check", "--textfile", str(tmp_path / path) if path != "/dev/full" else "/proc/x")

    assert ran.code == 3
    assert "cannot be written" in ran.err
    assert list(tmp_path.iterdir()) == [line.project.folder] or not list(tmp_path.iterdir())


def denying(*actions: str) -> Callable[[Request], Action]:
    def rule(request: Request) -> Action:
        refused = request.action in actions
        return (
            AnswerWithError("AccessDeniedException", "not authorized to perform it", 403)
            if refused
            else Pass()
        )

    return rule


def test_a_right_that_is_missing_makes_it_unknown_with_the_reason(line: Pipeline, proxy: Proxy) -> None:
    proxy.rule = denying("DescribeRule")

    ran = line.at(proxy.endpoint, "check")

    assert ran.code == 3
    assert "permission denied (not authorized to perform it)" in ran.out
    assert "depth=0;" in ran.out

    line.send(1, "dlq")
    assert line.at(proxy.endpoint, "check").code == 1, "what is known to be wrong comes first"


def test_it_only_reads_and_receives_nothing(line: Pipeline, proxy: Proxy) -> None:
    line.send(2)

    line.at(proxy.endpoint, "check").ok()

    assert [action for action in proxy.counts if not action.startswith(READS)] == []
    assert proxy.counts["ReceiveMessage"] == 0


@pytest.mark.parametrize(("runs", "most"), [(False, 67), (True, 75)])
@pytest.mark.parametrize("command", ["check", "status"])
def test_no_question_is_asked_twice(
    line: Pipeline, proxy: Proxy, command: str, runs: bool, most: int
) -> None:
    line.forget_logs()
    if runs:
        line.logged("worker", json.dumps({"level": "info", "message": "run ended", "failed": 0}))
    asked: Counter[tuple[str, str, bytes]] = Counter()

    def count(request: Request) -> Action:
        asked[request.action, request.path, request.body] += 1
        return Pass()

    proxy.rule = count
    line.at(proxy.endpoint, command).ok()

    assert [action for (action, _, _), times in asked.items() if times > 1] == []
    assert asked.total() <= most


def test_it_ends_in_time_though_nothing_answers(line: Pipeline) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        began = time.monotonic()
        ran = line.at(f"http://127.0.0.1:{deaf.getsockname()[1]}", "check", "--timeout", "2s")

    assert ran.code == 3
    assert "no answer within 2 s" in ran.out
    assert time.monotonic() - began < 30
