"""What every test gets: isolation from the user's AWS, home and network, and the test bed to ask for.

The bed is what users have: the embedded stack, an API on loopback, a folder with a fifo.toml, and the
program run as a process. One stack serves all tests of a worker, so every pipeline gets a name of its own.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import tests.built_once  # noqa: F401
from fifo_cli.interrupts import AWS_CALLS, CHILDREN
from fifo_cli.invocation import remember
from fifo_cli.local import stack as embedded
from fifo_cli.local.receiver import Receiver
from tests.cli_harness import STACK_PYTHON, Project, Stack, give_known_key, new_name
from tests.tiers import DEFAULT, SLOW, has_tests, longest_first, mark_tiers

_FORGOTTEN = ("AWS_", "FIFO_", "BOTO_")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
# Long enough for a poll of something in this process, too short to wait for a timeout.
_LONGEST_SLEEP = 0.25
# An example that takes longer than hypothesis's 200 ms shows a busy machine.
settings.register_profile("fifo-cli", deadline=None)
settings.load_profile("fifo-cli")
# For runs with other versions of the libraries (.ci/run), where chance is to find nothing either.
settings.register_profile("few", deadline=None, derandomize=True, database=None, max_examples=20)
# What nohup ignores, all that the tests start would ignore as well.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    """Run all of what is named on the command line, but for its long tests."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    if named and config.option.markexpr == DEFAULT:
        config.option.markexpr = "not long"
    if config.option.markexpr == "slow":
        config.option.markexpr = SLOW


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without a test of the tier that is run: each worker would import them."""
    if not collection_path.match("test_*.py"):
        return None
    return None if has_tests(collection_path, config.option.markexpr) else True


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage in what is collected, now or later: all of it stays.

    To look takes 2 s of 5 that each worker computes before its first test, and a tenth of what tests take.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Say of each test when it runs; of those that then run, put the longest first."""
    mark_tiers(items)
    yield
    items[:] = longest_first(items, getattr(config, "workerinput", {}).get("workercount", 1))


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take the user's AWS settings, proxies and home away."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_FORGOTTEN) or name.lower() in _PROXIES or name == "NO_COLOR":
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        # botocore would look for credentials on 169.254.169.254 otherwise.
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


def _is_loopback(host: object) -> bool:
    if not isinstance(host, str):
        return host is None
    if host in {"localhost", ""}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse to look up or connect to another machine; a test that tries fails, even if it copes."""
    tried: list[object] = []

    def check(host: object) -> None:
        if not _is_loopback(host):
            tried.append(host)
            raise OSError(f"tests have no network: {host!r}")

    def guard(name: str) -> None:
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                check(address[0])
            return real(self, address)

        monkeypatch.setattr(socket.socket, name, guarded)

    guard("connect")
    guard("connect_ex")
    lookup = socket.getaddrinfo

    def guarded_lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host.decode() if isinstance(host, bytes) else host)
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_lookup)
    yield
    if tried:
        pytest.fail(f"the test tried to reach {sorted(map(str, tried))}")


@pytest.fixture(autouse=True)
def no_signal_before() -> None:
    """Forget the signal of an earlier test: after one, no child is started, and AWS hardly waited for."""
    CHILDREN.ended = False
    for one in (AWS_CALLS._hurried, AWS_CALLS._given_up):
        one.clear()


@pytest.fixture(autouse=True)
def no_command_line_before() -> None:
    """Forget the options of an earlier test's command line, which printed commands repeat."""
    remember({})


@pytest.fixture(autouse=True)
def no_sleep(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to wait in unit tests: what waits takes ``sleep`` as an argument."""
    if "unit" not in request.path.parts:
        return
    real = time.sleep

    def short(seconds: float) -> None:
        if seconds > _LONGEST_SLEEP:
            pytest.fail(f"a unit test sleeps {seconds} s: pass a `sleep` of its own")
        real(seconds)

    monkeypatch.setattr(time, "sleep", short)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The embedded stack, one for all tests of a worker."""
    folder = tmp_path_factory.mktemp("stack")
    give_known_key(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(STACK_PYTHON), prepend=os.pathsep)
        status = embedded.up(folder, port=0)
    assert status.endpoint is not None
    try:
        yield Stack(folder, status.endpoint)
    finally:
        embedded.down(folder)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """The third-party API."""
    with Receiver() as api:
        yield api


@pytest.fixture
def project(tmp_path: Path, stack: Stack, receiver: Receiver) -> Iterator[Callable[..., Project]]:
    """Make project folders on the stack: ``project(queue={"max_receives": 3})`` overlays the fifo.toml.

    Each has a pipeline name of its own and the receiver as its API. ``run("depth")`` runs a command line,
    ``local("depth")`` the same with ``--local``, ``at(endpoint, "depth")`` with ``--endpoint-url``,
    ``start(...)`` in the background.
    """
    made: list[Project] = []

    def make(**tables: Any) -> Project:
        name = tables.get("pipeline", {}).get("name") or new_name()
        made.append(Project.create(tmp_path / name, name, receiver.url, stack, tables))
        return made[-1]

    yield make
    for each in made:
        each.end()
    stack.stop_invoking([each.name for each in made])
