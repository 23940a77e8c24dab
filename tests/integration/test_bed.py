"""The test bed itself: project folders the program accepts, on the stack users would have."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tomllib
from typing import Any

import pytest

from fifo_cli.local import stack as embedded
from fifo_cli.model.settings import load
from tests.cli_harness import STACK_PYTHON, Project, clean_environment, to_toml

pytest_plugins = ["pytester"]


def test_a_project_is_a_valid_pipeline_of_its_own_that_delivers_to_the_receiver(project, receiver):
    one, two = project(), project()
    assert one.name != two.name
    settings = load(one.config).settings
    assert settings.pipeline.name == one.name
    assert [api.url for api in settings.api] == [f"{receiver.url}/orders"]


def test_tables_given_to_a_project_overlay_its_defaults(project):
    made = project(
        queue={"max_receives": 3}, message={"group": None}, api={"permanent": [400]}, tags={"a": "b"}
    )
    settings = load(made.config).settings
    assert (settings.queue.max_receives, settings.message.group) == (3, None)
    assert settings.api[0].permanent == ("400",)
    assert settings.api[0].url.endswith("/orders")
    assert settings.tags == {"a": "b"}


def test_what_is_written_as_toml_is_read_the_same():
    document = {
        "a": {
            "s": 'quote " back\\slash é 漢 \x7f \n\t',
            "n": 1,
            "f": 1.5,
            "t": True,
            "l": ["x", 2],
            "": "empty",
        },
        "b": [{"headers": {"A b": "{c}", "d": [1]}}, {"x": False}],
    }
    assert tomllib.loads(to_toml(document)) == document


def test_a_project_finds_the_sessions_stack_by_local(project, stack):
    made: Project = project()
    assert embedded.endpoint_of(made.folder) == stack.endpoint
    text = made.run("local", "status", "-o", "json").ok().json()
    assert (text["endpoint"], text["running"]) == (stack.endpoint, True)


def test_the_program_runs_in_a_clean_environment(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "prod")
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    run = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment({"EXTRA": "1"}), capture_output=True, check=True
    )
    seen = json.loads(run.stdout)
    assert "AWS_PROFILE" not in seen
    assert seen["EXTRA"] == "1"


def test_a_program_in_the_background_can_be_interrupted_and_is_killed_at_the_end(tmp_path):
    made = Project.create(tmp_path / "p", "p", "http://127.0.0.1:1", None, {})
    running = made.start("local", "status", endpoint="http://127.0.0.1:1")
    running.interrupt(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    left = made.start("local", "status")
    made.end()
    assert left.process.returncode is not None


FACTS = """
import json, os, random, resource, signal, sys
main, kinds = sys.modules["__main__"], (resource.RLIMIT_DATA, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
streams = (sys.stdin, sys.stdout, sys.stderr)
ours = ("fifo_cli", "httpx", "jmespath")
print(json.dumps({
    "environment": dict(os.environ), "folder": os.getcwd(), "words": sys.argv, "path": sys.path,
    "file": [__name__, __file__, main.__file__], "mask": os.umask(0),
    "group": os.getpgid(0), "session": os.getsid(0),
    "signals": [str(signal.getsignal(one)) for one in signal.valid_signals()],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "limits": [resource.getrlimit(one) for one in kinds],
    "streams": [(one.encoding, one.errors, one.line_buffering, one.isatty()) for one in streams],
    "open": sorted(map(int, os.listdir("/proc/self/fd"))), "line": sys.stdin.readline(),
    "ours": sorted(name for name in sys.modules if name.partition(".")[0] in ours),
}))
print(random.random())
print("logged", file=sys.stderr)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="functions are not forked here")
def test_a_forked_function_finds_what_one_that_is_started_finds(tmp_path, monkeypatch):
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONUTF8": "1"}
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONUTF8", "1")  # as in the stack's process
    monkeypatch.syspath_prepend(STACK_PYTHON)
    start: Any = importlib.import_module("forked_functions").FunctionServer()
    (tmp_path / "function.py").write_text(FACTS)
    found, seeds = [], set()
    pipes: Any = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    for popen in (subprocess.Popen, start, start):
        words = [sys.executable, str(tmp_path / "function.py")]
        run: Any = popen(words, cwd=str(tmp_path), env={**env, "KEY": "value"}, **pipes)
        assert run.poll() is None
        run.stdin.write("an order\n")
        run.stdin.flush()
        found.append(json.loads(run.stdout.readline()))
        seeds.add(run.stdout.readline())
        assert (run.stderr.read(), run.wait(60), run.poll()) == ("logged\n", 0, 0)
        for stream in (run.stdin, run.stdout, run.stderr):
            stream.close()
    assert found[0] == found[1] == found[2]
    assert len(seeds) == 3
    ends = start(words, cwd=str(tmp_path), env={}, **pipes)
    with pytest.raises(subprocess.TimeoutExpired):
        ends.wait(0.01)
    ends.terminate()
    assert ends.wait(60) == 0
    for stream in (ends.stdin, ends.stdout, ends.stderr):
        stream.close()
    start.close()


def test_going_to_another_machine_fails_the_test(pytester: pytest.Pytester):
    pytester.makeconftest("from tests.conftest import no_network")
    pytester.makepyfile(
        """
        import socket, urllib.request

        def test_by_address_even_when_the_error_is_caught():
            try:
                socket.create_connection(("192.0.2.1", 80), timeout=1)
            except OSError:
                pass

        def test_by_name():
            urllib.request.urlopen("http://sqs.us-east-1.amazonaws.com/", timeout=1)

        def test_on_loopback():
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()).close()
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    # The first passes, but for the guard; the second fails, and the guard says why.
    result.assert_outcomes(passed=2, failed=1, errors=2)
    result.stdout.fnmatch_lines(["*the test tried to reach*192.0.2.1*"])
    result.stdout.fnmatch_lines(["*the test tried to reach*sqs.us-east-1.amazonaws.com*"])


def test_waiting_in_a_unit_test_fails_it(pytester: pytest.Pytester):
    pytester.makeconftest("from tests.conftest import no_sleep")
    sleeps = "import time\n\ndef test_it():\n    time.sleep(0.3)\n"
    for folder in ("unit", "integration"):
        (pytester.mkpydir(folder) / f"test_{folder}.py").write_text(sleeps)
    pytester.runpytest("unit", "-p", "no:cacheprovider").assert_outcomes(failed=1)
    pytester.runpytest("integration", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_users_aws_settings_and_home_are_not_there(pytester: pytest.Pytester, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("HOME", "/users/home")
    pytester.makeconftest("from tests.conftest import own_environment")
    pytester.makepyfile(
        """
        import os

        def test_it():
            assert not {"AWS_PROFILE", "HTTPS_PROXY"} & set(os.environ)
            assert os.environ["HOME"] != "/users/home"
        """
    )
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert os.environ["AWS_PROFILE"] == "prod"
