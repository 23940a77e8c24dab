"""``prove`` as it is typed: the whole of it on the embedded stack, signals, kills, and older runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.local.process import FOLDER
from fifo_cli.model.names import PIPELINE_TAG, Place
from fifo_cli.model.operator_policies import prover_policies
from fifo_cli.operations.prove.pipeline import layouts
from fifo_cli.operations.prove.run_resources import find
from tests.cli_harness import Stack, clean_environment, wait_until
from tests.contract.json_shapes import shape_problems
from tests.faults import Action, Drop, Kill, Pass
from tests.integration.iam_calls import refused
from tests.integration.interrupted_runs import CODES
from tests.integration.prove_bed import KEYS, REGION, SECRET, LyingReceiver
from tests.integration.proxy import Proxy, Request

PLACE = Place("000000000000", REGION)
# Which calls change something: all but those that read or look.
_READS = ("Get", "List", "Describe", "Simulate", "Filter", "GET ", "HEAD ", "Receive", "Query", "Scan")


def arguments(*words: str) -> list[str]:
    return [sys.executable, "-m", "fifo_cli", "prove", *words]


def start(folder: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments(*words),
        cwd=folder,
        env=clean_environment({**KEYS, **env}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def folder(tmp_path: Path, stack: Stack) -> Path:
    """A folder in which --local means the tests' stack."""
    stack.lend(tmp_path)
    assert (tmp_path / FOLDER).is_dir()
    return tmp_path


def test_it_passes_whole_on_the_embedded_stack_and_leaves_nothing(folder: Path, clients: Aws) -> None:
    run = start(folder, "--local", "--yes", "-o", "json", "--report", "report.html")
    out, err = run.communicate(timeout=900)
    document = json.loads(out)
    assert {one["name"]: one["detail"] for one in document["checks"] if one["ok"] is False} == {}
    assert (run.returncode, "Traceback" in err) == (0, False), err
    assert {one["name"] for one in document["checks"] if one["ok"] is None} == {"redrive by SQS"}
    assert shape_problems("prove", document) == []
    assert document["left"] == []
    assert document["pipeline"] not in str(find(clients))
    assert document["requests"]["sqs CreateQueue"] >= 8
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert document["pipeline"] in page
    assert "<script" not in page


@pytest.mark.long
def test_with_idle_time_it_passes_on_the_embedded_stack(folder: Path) -> None:
    """On this machine it has 10 seconds for three hours: what is to be proven here is the check."""
    run = start(folder, "--local", "--yes", "--long", "-o", "json")
    out, err = run.communicate(timeout=900)
    checks = {one["name"]: one for one in json.loads(out)["checks"]}
    assert (run.returncode, checks["idle hours"]["ok"]) == (0, True), err
    assert checks["idle hours"]["seconds"] >= 10


@pytest.mark.long
def test_the_policy_of_a_prover_allows_every_call_of_it(folder: Path, stack: Stack) -> None:
    policies = prover_policies(layouts(), PLACE)
    with Proxy(stack.endpoint) as proxy:
        run = start(folder, "--endpoint-url", proxy.endpoint, "--yes", "-o", "json")
        out, err = run.communicate(timeout=900)
        assert run.returncode == 0, (out, err)
        both = {"Version": "2012-10-17", "Statement": [one for each in policies for one in each["Statement"]]}
        # What goes to the function's URL is no call of AWS's API.
        calls = [one for one in proxy.requests if not one.path.startswith("/_aws/lambda-url/")]
        lacking = refused(both, calls, PLACE)
        # A request names a mapping's UUID alone; IAM knows its function, by which it is allowed.
        assert {one for one in lacking if "EventSourceMapping" not in one.action} == set()


def test_without_a_terminal_and_without_yes_nothing_is_touched(folder: Path, stack: Stack) -> None:
    with Proxy(stack.endpoint) as proxy:
        run = start(folder, "--endpoint-url", proxy.endpoint)
        _, err = run.communicate(timeout=60)
        assert run.returncode == 2
        for said in (
            "pipeline: fifo-prove-",
            "account: 000000000000",
            f"region: {REGION}",
            f"endpoint: {proxy.endpoint} (an emulator, not AWS)",
            "cost: nothing: this is not AWS",
            "takes: a few minutes;",
            "a public URL of one of them",
            "and remove it",
            "next: go ahead with --yes",
        ):
            assert said in err
        assert "--dry-run" not in err
        assert [one.action for one in proxy.requests if changes(one)] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--report", "report.pdf"), "ends neither in .json nor in .html"),
        (("--report", "nowhere/report.json"), "the folder nowhere does not exist"),
        (("--report", "link.json"), "it is a symbolic link"),
        (("--report", "folder.HTML"), "folder.HTML: it is a folder"),
        (("--api", "https://example.com"), "FIFO_PROVE_SECRET"),
        (("--clean", "--keep"), "--keep cannot go with it"),
        (("--clean", "--report", "report.html", "--long"), "--long and --report cannot go with it"),
    ],
)
def test_what_could_not_be_done_is_refused_at_once(folder: Path, words: tuple[str, ...], said: str) -> None:
    (folder / "link.json").symlink_to(folder / "elsewhere.json")
    (folder / "folder.HTML").mkdir()
    run = start(folder, "--local", "--yes", *words)
    _, err = run.communicate(timeout=60)
    assert (run.returncode, said in err) == (2, True), err


def test_the_question_is_about_what_the_options_make_of_the_run(folder: Path) -> None:
    url = "https://receiver.example.com"
    run = start(folder, "--local", "--keep", "--long", "--api", url, FIFO_PROVE_SECRET=SECRET)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 2
    for said in (
        "a table, 4 queues, 2 functions",
        f"the items go to {url}",
        "and leave it there (--keep)",
        "takes: a few minutes, and 10.0 s in which nothing happens (--long)",
    ):
        assert said in err
    assert "public URL" not in err


def test_a_secret_that_can_be_guessed_is_refused(folder: Path) -> None:
    run = start(folder, "--local", "--yes", "--api", "http://127.0.0.1:9", FIFO_PROVE_SECRET="abc")
    _, err = run.communicate(timeout=60)
    assert (run.returncode, "FIFO_PROVE_SECRET: the secret must have at least 24" in err) == (2, True), err


def test_after_a_signal_every_call_to_aws_is_counted_the_runs_own_too(folder: Path, stack: Stack) -> None:
    with LyingReceiver() as api, Proxy(stack.endpoint) as proxy:
        run = start(
            folder, "--endpoint-url", proxy.endpoint, "--yes", "-o", "json", "--api", api.url,
            FIFO_PROVE_SECRET=SECRET,
        )  # fmt: skip
        assert run.stderr is not None
        for line in run.stderr:
            if "passed           deploy" in line:
                break
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=300)
    requests = json.loads(out)["requests"]
    assert "interrupted: removing all that was made; a second signal changes nothing" in err
    calls = [one.action for one in proxy.requests if " " not in one.action]
    for name in ("CreatePolicy", "CreateQueue", "ListQueues", "DeleteQueue", "DescribeTable"):
        counted = sum(times for call, times in requests.items() if call.split()[1] == name)
        assert (name, counted) == (name, calls.count(name))


@pytest.mark.long
def test_when_the_api_dies_one_check_fails_and_what_needs_it_is_not_run(folder: Path, clients: Aws) -> None:
    with LyingReceiver() as api:
        run = start(folder, "--local", "--yes", "-o", "json", "--api", api.url, FIFO_PROVE_SECRET=SECRET)
        assert run.stderr is not None
        for line in run.stderr:
            if "passed           put to queue" in line:
                break
    out, err = run.communicate(timeout=300)
    document = json.loads(out)
    checks = {one["name"]: one for one in document["checks"]}
    assert (run.returncode, document["left"]) == (1, []), err
    assert [name for name, one in checks.items() if one["verdict"] == "failed"] == ["depth and peek"]
    assert {one["verdict"] for name, one in checks.items() if "deliver" in name} == {"not run"}
    assert {checks[name]["ok"] for name in ("destroy", "deploy again at once", "nothing left")} == {True}
    assert document["pipeline"] not in str(find(clients))


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_after_a_signal_everything_is_removed_and_the_rest_is_not_run(
    folder: Path, clients: Aws, number: signal.Signals
) -> None:
    run = start(folder, "--local", "--yes", "-o", "json", "-v")
    assert run.stderr is not None
    name = ""
    for line in run.stderr:
        name = (
            name or line.rpartition("the pipeline of this run is ")[2].strip() if "this run" in line else name
        )
        if "passed           deploy" in line:
            break
    run.send_signal(number)
    out, err = run.communicate(timeout=300)
    document = json.loads(out)
    assert (run.returncode, document["interrupted"]) == (CODES[number], True), err
    assert "not run" in {one["verdict"] for one in document["checks"]}
    assert document["left"] == []
    assert name == document["pipeline"]
    assert name not in str(find(clients))


def test_a_second_ctrl_c_in_the_terminal_does_not_reach_the_removal(folder: Path, stack: Stack) -> None:
    """A terminal signals all processes of its group; the removal's own command is one of another."""

    def rule(request: Request) -> Action:
        if request.action == "DeleteQueue" and not again:
            again.append(request)
            os.killpg(run.pid, signal.SIGINT)
        return Pass()

    again: list[Request] = []
    with LyingReceiver() as api, Proxy(stack.endpoint) as proxy:
        words = ("--endpoint-url", proxy.endpoint, "--yes", "-o", "json", "-v", "--api", api.url)
        run = start(folder, *words, FIFO_PROVE_SECRET=SECRET)
        assert run.stderr is not None
        for line in run.stderr:
            if "passed           deploy" in line:
                break
        proxy.rule = rule
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=300)
    assert (len(again), run.returncode, json.loads(out)["left"]) == (1, 130, []), err
    assert "a second signal changes nothing" in err


def changes(request: Request) -> bool:
    return not request.action.startswith(_READS) and "AssumeRole" not in request.action


@pytest.mark.parametrize(
    "nth", [pytest.param(n, marks=() if n in (3, 9, 24) else pytest.mark.long) for n in range(1, 61)]
)
def test_killed_at_a_change_it_leaves_what_the_next_clean_removes(
    folder: Path, stack: Stack, clients: Aws, nth: int
) -> None:
    """Killed is who made the change: a command of the run, or the run itself. Then the run is, too."""
    seen, lock = 0, threading.Lock()

    def rule(request: Request) -> Action:
        nonlocal seen
        if not changes(request):
            return Pass()
        with lock:
            seen += 1
            now = seen
        # Until the run is killed, too, it changes nothing more.
        return Pass() if now < nth else Kill(after=True) if now == nth else Drop()

    temporary = folder / "temporary"
    temporary.mkdir()
    env = {"FIFO_PROVE_SECRET": SECRET, "TMPDIR": str(temporary)}
    with LyingReceiver() as api, Proxy(stack.endpoint, rule) as proxy:
        run = start(folder, "--endpoint-url", proxy.endpoint, "--yes", "--api", api.url, **env)
        wait_until(lambda: proxy.killed != [], timeout=120)
        run.kill()
        run.communicate(timeout=60)
        assert run.returncode == -signal.SIGKILL
    assert list(temporary.glob("*/.prove-run")) != []
    clean(folder, **env)
    assert [one.name for one in temporary.iterdir() if one.name.startswith("fifo-")] == []
    wait_until(lambda: find(clients) == [], timeout=60)


def clean(folder: Path, **env: str) -> None:
    run = start(folder, "--local", "--clean", "--yes", "-o", "json", **env)
    out, err = run.communicate(timeout=300)
    assert (run.returncode, json.loads(out)["left"]) == (0, []), err


def test_nothing_of_another_pipeline_is_touched(folder: Path, clients: Aws) -> None:
    """Names that begin like a run's, and one that is like a run's and carries another pipeline's tag."""
    sqs, foreign = clients.client("sqs"), "fifo-prove-0a1b2c3d"
    kept = {
        "fifo-prove-orders.fifo": "fifo-prove-orders",
        f"{foreign}.fifo": "orders",
        f"{foreign}-dlq.fifo": foreign,
    }
    for name, pipeline in kept.items():
        sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"}, tags={PIPELINE_TAG: pipeline})
    clean(folder)
    found = {
        url.rpartition("/")[2] for url in sqs.list_queues(QueueNamePrefix="fifo-prove-").get("QueueUrls", [])
    }
    assert found == set(kept)
    for name in kept:
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
