"""The one mapping of exceptions to owners: complete, and the network's failures recognised in every dress."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
import ssl
import threading
import urllib.error
from collections.abc import Callable, Iterator

import botocore.exceptions
import httpcore
import httpx
import pytest

from fifo_cli.handlers.failure import (
    ApiUnavailableError,
    ConfigurationError,
    MessageError,
    Owner,
    described,
    is_interruption,
    is_network_error,
    owner_of,
    user_code_failure,
)
from fifo_cli.handlers.runtime import UserCodeError


@pytest.mark.parametrize(
    ("error", "owner"),
    [
        (ApiUnavailableError("down"), "api"),
        (MessageError("bad"), "message"),
        (ConfigurationError("NO_PROXY", "bad"), "configuration"),
        (UserCodeError("a:b", "gone"), "configuration"),
        (botocore.exceptions.ClientError({"Error": {"Code": "x"}}, "Send"), "aws"),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"), "aws"),
        (botocore.exceptions.NoCredentialsError(), "aws"),
        (ZeroDivisionError(), "program"),
        (MemoryError(), "program"),
        (ConnectionError(), "program"),
        (asyncio.CancelledError(), "program"),
        (SystemExit(3), "program"),
        (GeneratorExit(), "program"),
    ],
)
def test_each_exception_has_one_owner(error: BaseException, owner: Owner) -> None:
    assert owner_of(error) == owner


def _kinds(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def test_every_other_exception_is_the_programs() -> None:
    builtin = {kind for kind in _kinds(BaseException) if kind.__module__ == "builtins"}
    assert len(builtin) > 50
    others = {kind for kind in builtin if not issubclass(kind, BaseExceptionGroup)}
    assert {owner_of(kind.__new__(kind)) for kind in others} == {"program"}


def _raised(raise_it: Callable[[], object]) -> BaseException:
    try:
        raise_it()
    except BaseException as error:  # noqa: BLE001 - it is the value
        return error
    raise AssertionError


def _chained() -> None:
    try:
        raise httpx.ConnectError("no route")
    except httpx.ConnectError as error:
        raise RuntimeError("no token") from error


def _in_passing() -> None:
    try:
        raise ConnectionRefusedError
    except OSError:
        raise KeyError("token")  # noqa: B904 - as users write it


def _cut() -> None:
    try:
        raise ConnectionRefusedError
    except OSError:
        raise ValueError("this order has no country") from None


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.ProxyError("407"),
        ConnectionError(),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError(),
        urllib.error.URLError(socket.gaierror(-2, "Name or service not known")),
        urllib.error.URLError(ssl.SSLError(1, "handshake")).with_traceback(None),
        http.client.RemoteDisconnected("gone"),
        http.client.IncompleteRead(b"x"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        TimeoutError("timed out"),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"),
        httpcore.ConnectError(),
        ExceptionGroup("tasks", [ValueError(), httpx.ConnectError("x")]),
        type("ConnectionError", (OSError,), {"__module__": "requests.exceptions"})(),
        type("MaxRetryError", (Exception,), {"__module__": "urllib3.exceptions"})(),
        _raised(_chained),
        _raised(_in_passing),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_code_that_lacks_the_network_is_the_apis_failure(error: BaseException) -> None:
    failure = user_code_failure("orders:to_request", error, calls_network=True)
    assert owner_of(failure) == "api"
    assert owner_of(user_code_failure("orders:to_message", error, calls_network=False)) == "message"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no country"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        OSError(errno.ENOSPC, "disk full"),
        asyncio.CancelledError(),
        SystemExit(3),
        GeneratorExit(),
        MemoryError(),
        RecursionError(),
        http.client.InvalidURL("spaces"),
        _raised(_cut),
    ],
    ids=lambda error: type(error).__name__,
)
def test_code_that_raises_anything_else_fails_for_its_message(error: BaseException) -> None:
    assert owner_of(user_code_failure("orders:to_request", error, calls_network=True)) == "message"


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert not is_network_error(first)


def test_only_the_main_thread_is_interrupted() -> None:
    assert is_interruption(KeyboardInterrupt())
    assert not is_interruption(SystemExit())
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(is_interruption(KeyboardInterrupt())))
    thread.start()
    thread.join()
    assert seen == [False]


class _Rude(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text for you")


def test_an_exception_without_a_text_is_described() -> None:
    assert described(_Rude()) == "_Rude: (its text cannot be read: SystemExit)"
    assert described(ValueError("two\nlines")) == "ValueError: two lines"
    assert described(KeyError()) == "KeyError"
