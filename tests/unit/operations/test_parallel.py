"""Many questions at once: nothing is lost, and nothing is waited for longer than asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from fifo_cli.errors import AwsError, FifoError
from fifo_cli.operations.parallel import THREADS, read_all


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Something that calls hang at, let go when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def fail(error: Exception) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


def test_answers_and_failures_are_kept_with_their_questions_in_order() -> None:
    refused = AwsError("denied")

    gathered = read_all({"c": lambda: 3, "a": fail(refused), "b": lambda: None})

    assert list(gathered.answers.items()) == [("c", 3), ("b", None)]
    assert gathered.failures == {"a": refused}
    assert (gathered.get("a", "nothing"), gathered["c"]) == ("nothing", 3)
    with pytest.raises(AwsError, match="denied"):
        gathered["a"]


def test_questions_are_asked_side_by_side() -> None:
    """Each waits for all the others: one after the other they would never end."""
    barrier = threading.Barrier(THREADS, timeout=60)

    gathered = read_all({str(number): barrier.wait for number in range(THREADS)})

    assert len(gathered.answers) == THREADS


def test_there_may_be_more_questions_than_threads() -> None:
    assert len(read_all({str(number): int for number in range(THREADS * 5)}).answers) == THREADS * 5


def test_what_hangs_is_a_failure_and_does_not_keep_the_rest_nor_the_process(gate: threading.Event) -> None:
    began = time.monotonic()

    gathered = read_all({"slow": gate.wait, "fast": lambda: 1}, limit=2)

    assert time.monotonic() - began < 30
    assert gathered.answers == {"fast": 1}
    assert str(gathered.failures["slow"]) == "no answer within 2 s"
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "gather")


def test_a_defect_is_not_kept_but_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        read_all({"a": lambda: 1 // 0, "b": lambda: 1})


def test_nothing_to_ask_is_nothing_to_wait_for() -> None:
    gathered = read_all({})

    assert (gathered.answers, gathered.failures) == ({}, {})
    with pytest.raises(KeyError):
        gathered["a"]


def test_an_error_of_botocore_s_that_nobody_explained_is_explained_and_kept() -> None:
    gathered = read_all({"a": lambda: 1, "b": fail(EndpointConnectionError(endpoint_url="http://x"))})

    assert gathered.answers == {"a": 1}
    assert "could not be reached (for b)" in str(gathered.failures["b"])


def test_every_error_of_ours_is_kept() -> None:
    assert isinstance(read_all({"a": fail(FifoError("x"))}).failures["a"], FifoError)
