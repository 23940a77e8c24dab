"""watch on a terminal: keys, resizes, outages, and the terminal as it was afterwards."""

from __future__ import annotations

import json
import signal
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.cli_harness import Project, Stack, wait_until
from tests.faults import Action, AnswerWithError, Drop, Pass, forward_all
from tests.integration.deployed_pipeline import Pipeline, deployed
from tests.integration.proxy import Proxy, Request
from tests.integration.screens import ENTER, LEAVE, SHOW_CURSOR, Screen, shown

AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
KEYS = "q quit   p pause/resume   d deliver one"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Pipeline]:
    with deployed(tmp_path_factory.mktemp("watch"), stack) as line:
        yield line


@pytest.fixture
def line(shared: Pipeline) -> Pipeline:
    shared.reset()
    return shared


def given_back(screen: Screen) -> bool:
    """Say whether the terminal is as it was: main screen, cursor shown, echo and lines on."""
    after_enter = screen.written.rpartition(ENTER)[2]
    settings = screen.attributes()[3]
    assert isinstance(settings, int)
    return (
        LEAVE in after_enter
        and SHOW_CURSOR in after_enter
        and bool(settings & termios.ECHO)
        and bool(settings & termios.ICANON)
    )


def test_it_shows_the_line_and_q_gives_the_terminal_back(line: Pipeline) -> None:
    line.send(3)
    with shown("watch", "--local", folder=line.project.folder) as screen:
        screen.until("main             3")
        assert screen.lines[0].startswith(f"{line.name}  000000000000 us-east-1")
        assert screen.lines[1] == "OK"
        assert "worker   running" in screen.text
        assert screen.lines[-1] == KEYS
        settings = screen.attributes()[3]
        assert isinstance(settings, int)
        assert not settings & termios.ECHO, "what is typed does not show"

        screen.type("q")

        assert screen.end() == 0
        assert given_back(screen)
    assert line.aws.client("sqs").get_queue_attributes(
        QueueUrl=line.url("main"), AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"] == {"ApproximateNumberOfMessages": "3"}, "looking took nothing"


def test_p_pauses_and_resumes_the_worker_after_a_yes_and_only_then(line: Pipeline) -> None:
    rule = {"Name": line.project.names.schedule(1)}
    with shown("watch", "--local", "--interval", "1s", folder=line.project.folder) as screen:
        screen.until("worker   running")
        screen.type("p")
        screen.until(f"Pause the worker of {line.name}? Messages wait, nothing is lost. [y/N]")
        screen.type("n")
        screen.until("not done")
        assert line.aws.client("events").describe_rule(**rule)["State"] == "ENABLED"

        screen.type("p")
        screen.until("[y/N]")
        screen.type("y")
        screen.until("the worker is paused")
        screen.until("worker   paused")
        assert line.aws.client("events").describe_rule(**rule)["State"] == "DISABLED"

        screen.type("p")
        screen.until(f"Resume the worker of {line.name}? [y/N]")
        screen.type("y")
        screen.until("worker   running")
        screen.type("q")
        assert screen.end() == 0
    assert line.aws.client("events").describe_rule(**rule)["State"] == "ENABLED"


def test_d_delivers_one_message_and_the_delivery_streams_by(line: Pipeline) -> None:
    line.send(2)
    before = len(line.api.accepted)
    with shown("watch", "--local", "--interval", "1s", folder=line.project.folder) as screen:
        screen.until("main             2")
        screen.type("d")
        screen.until("[y/N]")
        screen.type("y")
        screen.until("delivered: message")
        screen.until("main             1")
        screen.until(lambda: any(each[9:].startswith("delivered  200") for each in screen.lines))
        screen.until("API      200: 1")
        screen.type("q")
        assert screen.end() == 0
    assert len(line.api.accepted) == before + 1


def test_a_delivery_in_hand_is_finished_when_it_is_quit(line: Pipeline) -> None:
    from fifo_cli.local.receiver import Reply

    line.send(1)
    before = len(line.api.accepted)
    line.api.answer = lambda received: Reply(200, delay=1.0)
    try:
        with shown("watch", "--local", folder=line.project.folder) as screen:
            screen.until("main             1")
            screen.type("d")
            screen.until("[y/N]")
            screen.type("y")
            screen.until("delivering one message")
            screen.type("q")
            assert screen.end() == 0
            assert "delivered: message" in screen.written.decode()
            assert given_back(screen)
    finally:
        line.api.answer = None  # type: ignore[assignment]
    assert len(line.api.accepted) == before + 1


def test_a_failing_api_shows_what_waits_and_why(line: Pipeline) -> None:
    line.send(1, group="ada")
    line.api.fail(503)
    assert line.project.local("drain", "--count", "1", "--via", "lambda").code == 1
    with shown("watch", "--local", folder=line.project.folder) as screen:
        screen.until("waiting  ada")
        screen.until("503: 1")
        screen.type("q")
        assert screen.end() == 0


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 143)],
)
def test_signals_end_it_with_the_terminal_given_back(
    line: Pipeline, number: signal.Signals, code: int
) -> None:
    with shown("watch", "--local", folder=line.project.folder) as screen:
        screen.until("main             0")

        screen.child.kill(number)

        assert screen.end() == code
        assert given_back(screen)


def test_two_ctrl_c_in_a_row_do_not_leave_the_screen_behind(line: Pipeline) -> None:
    with shown("watch", "--local", folder=line.project.folder) as screen:
        screen.until("main             0")

        screen.type("\x03\x03")

        assert screen.end() == 130
        assert given_back(screen)


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(line: Pipeline) -> None:
    with shown("watch", "--local", folder=line.project.folder) as screen:
        screen.until("main             0")
        screen.type("\x1a")
        screen.until(lambda: LEAVE in screen.written)
        wait_until(lambda: _state(screen.child.pid) == "T")
        assert given_back(screen)

        screen.child.kill(signal.SIGCONT)
        screen.until(lambda: screen.written.count(ENTER) == 2)
        screen.until(KEYS)
        screen.type("q")
        assert screen.end() == 0


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(") ")[2].split()[0]


def fits(screen: Screen, keys: str) -> bool:
    return screen.lines[-1] == keys and screen.lines[0].startswith("t-")


def test_it_follows_the_window_from_narrow_to_wide(line: Pipeline) -> None:
    with shown("watch", "--local", folder=line.project.folder, columns=200, lines=50) as screen:
        screen.until(lambda: screen.lines[-1] == KEYS)
        for columns, lines in ((40, 12), (80, 24), (20, 5), (150, 40)):
            screen.resize(columns, lines)
            keys = KEYS if columns >= len(KEYS) else KEYS[: columns - 1] + "…"
            screen.until(partial(fits, screen, keys))
        screen.type("q")
        assert screen.end() == 0


def test_a_lost_connection_is_reported_and_outlived(line: Pipeline, proxy: Proxy) -> None:
    line.send(1)
    words = ("watch", "--interval", "1s", "--endpoint-url", proxy.endpoint)
    with shown(*words, folder=line.project.folder, env={**AWS, "AWS_MAX_ATTEMPTS": "1"}) as screen:
        screen.until("main             1")
        proxy.rule = lambda request: Drop()
        screen.until("LOST for")
        screen.until("main             1")  # the last numbers stay
        assert "Traceback" not in screen.text

        proxy.rule = forward_all
        line.send(1)
        screen.until("main             2", 40)
        assert "LOST" not in screen.text
        screen.type("q")
        assert screen.end() == 0


def expired(request: Request) -> Action:
    return AnswerWithError("ExpiredToken", "The security token included in the request is expired", 403)


def test_credentials_that_expire_are_reported_with_what_to_do_and_new_ones_are_taken(
    line: Pipeline, proxy: Proxy
) -> None:
    """The profile's file gets new credentials while it runs, as a login would write them."""
    credentials = line.project.folder / "credentials"
    profile = "[default]\naws_access_key_id = test\naws_secret_access_key = test\naws_session_token = {}\n"
    credentials.write_text(profile.format("old"))
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_DEFAULT_REGION": "us-east-1"}

    def by_key(request: Request) -> Action:
        return expired(request) if request.headers.get("x-amz-security-token") == "old" else Pass()

    words = ("watch", "--interval", "1s", "--endpoint-url", proxy.endpoint)
    with shown(*words, folder=line.project.folder, env=env, columns=140) as screen:
        screen.until("main             0")
        proxy.rule = by_key
        screen.until("the AWS credentials have expired")
        assert "aws sso login" in screen.text

        credentials.write_text(profile.format("new"))
        screen.until(lambda: "LOST" not in screen.text, 40)
        assert any(one.headers.get("x-amz-security-token") == "new" for one in proxy.requests)
        screen.type("q")
        assert screen.end() == 0


def test_looking_only_reads_and_receives_nothing(line: Pipeline, proxy: Proxy) -> None:
    line.send(1)
    words = ("watch", "--interval", "1s", "--endpoint-url", proxy.endpoint)
    with shown(*words, folder=line.project.folder, env=AWS) as screen:
        screen.until("main             1")
        screen.until(lambda: proxy.counts["GetQueueAttributes"] > 12)
        screen.type("q")
        assert screen.end() == 0
    reads = ("Get", "List", "Describe", "GET ", "FilterLogEvents")
    assert [action for action in proxy.counts if not action.startswith(reads)] == []


def test_it_leaves_no_process_behind(line: Pipeline) -> None:
    with shown("watch", "--local", folder=line.project.folder) as screen:
        screen.until("main             0")
        children = f"/proc/{screen.child.pid}/task/{screen.child.pid}/children"
        with open(children, encoding="utf-8") as file:
            assert file.read() == ""
        screen.type("q")
        assert screen.end() == 0


def test_depth_watch_is_the_same_screen_with_depths_only(line: Pipeline) -> None:
    line.send(2, "dlq")
    with shown("depth", "--watch", "--local", folder=line.project.folder) as screen:
        screen.until("dlq              2")
        assert screen.lines[-1] == "q quit"
        screen.type("p")
        time.sleep(0.6)
        screen.read()
        assert "[y/N]" not in screen.text
        screen.type("q")
        assert screen.end() == 0
        assert given_back(screen)


def test_depth_watch_in_a_pipe_goes_on_line_by_line(line: Pipeline) -> None:
    running = line.project.start("depth", "--watch", "-o", "jsonl")
    assert running.process.stdout is not None
    for _ in range(2):
        assert json.loads(running.process.stdout.readline())["queues"]["main"]["visible"] == 0
    running.interrupt()
    wait_until(lambda: running.process.poll() is not None)
    assert running.process.returncode == 130


def test_depth_watch_ends_when_its_reader_has_gone(line: Pipeline) -> None:
    running = line.project.start("depth", "--watch", "-o", "jsonl")
    assert running.process.stdout is not None
    running.process.stdout.readline()
    running.process.stdout.close()

    wait_until(lambda: running.process.poll() is not None)

    assert running.process.returncode == 0


def test_depth_watch_in_a_pipe_outlives_a_lost_connection(line: Pipeline, proxy: Proxy) -> None:
    running = line.project.start("depth", "--watch", "-o", "jsonl", endpoint=proxy.endpoint)
    out, err = running.process.stdout, running.process.stderr
    assert out is not None
    assert err is not None
    out.readline()
    proxy.rule = lambda request: Drop()
    assert "AWS could not be reached" in err.readline()
    line.send(3)
    proxy.rule = forward_all

    assert err.readline() == "AWS answers again\n"
    assert json.loads(out.readline())["queues"]["main"]["visible"] == 3


@pytest.mark.parametrize("term", ["dumb", ""])
def test_on_a_terminal_that_cannot_be_drawn_on_it_prints_lines(line: Pipeline, term: str) -> None:
    line.send(1)
    with shown(
        "watch", "--local", "--interval", "1s", folder=line.project.folder, env={"TERM": term}
    ) as screen:
        screen.until(lambda: screen.text.count(" main 1  dlq 0") >= 2)
        screen.child.sendintr()
        assert screen.end() == 130
        assert b"\x1b" not in screen.written


def test_no_color_means_none(line: Pipeline) -> None:
    for words, env in ((("--no-color",), {}), ((), {"NO_COLOR": "1"})):
        with shown("watch", "--local", *words, folder=line.project.folder, env=env) as screen:
            screen.until("main             0")
            screen.type("q")
            assert screen.end() == 0
            assert b"\x1b[32m" not in screen.written
            assert b"\x1b[36m" not in screen.written


def test_in_a_terminal_of_ascii_nothing_else_is_written(line: Pipeline) -> None:
    env = {
        "LANG": "C",
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
    }
    with shown("watch", "--local", folder=line.project.folder, env=env) as screen:
        screen.until("main             0")
        screen.type("q")
        assert screen.end() == 0
        assert screen.written.isascii()


@pytest.mark.parametrize("interval", ["0s", "2h", "soon"])
def test_an_interval_that_makes_no_sense_is_told(line: Pipeline, interval: str) -> None:
    ran = line.project.local("watch", "--interval", interval)

    assert (ran.code, ran.out) == (2, "")
    assert "--interval" in ran.err


def test_in_a_pipe_it_says_what_to_use_instead(line: Pipeline) -> None:
    ran = line.project.run("watch", "--local", env={"TERM": "xterm"})

    assert (ran.code, ran.out) == (2, "")
    assert "fifo-cli depth --watch -o jsonl" in ran.err


def test_a_pipeline_that_is_not_there_is_lost_and_not_a_crash(project: Callable[..., Project]) -> None:
    folder = project().folder
    with shown("watch", "--local", folder=folder, columns=120) as screen:
        screen.until("does not exist in this account")
        screen.type("q")
        assert screen.end() == 0
