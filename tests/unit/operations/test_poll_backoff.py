"""How long a lost connection is waited for, and what is never waited for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from fifo_cli.aws.errors import explain
from fifo_cli.errors import FifoError, NeedsAttention
from fifo_cli.events import Event, Noted, Warned
from fifo_cli.operations.monitor.poll_backoff import PollBackoff


def unreachable() -> FifoError:
    cause = EndpointConnectionError(endpoint_url="http://x")
    error = explain(cause, "orders.fifo")
    error.__cause__ = cause
    return error


def test_pauses_double_up_to_half_a_minute_and_begin_anew_after_an_answer() -> None:
    heard: list[Event] = []
    backoff = PollBackoff(timedelta(seconds=2), heard.append)
    backoff.answered()

    assert [backoff.failed(unreachable()) for _ in range(5)] == [4, 8, 16, 30, 30]
    backoff.answered()
    assert backoff.failed(unreachable()) == 4

    assert [type(event) for event in heard] == [Warned, Noted, Warned], "each loss is reported once"


def test_what_never_answered_is_not_waited_for() -> None:
    with pytest.raises(FifoError, match="could not be reached"):
        PollBackoff(timedelta(seconds=2), lambda _: None).failed(unreachable())


def test_what_will_not_pass_is_not_waited_for() -> None:
    backoff = PollBackoff(timedelta(seconds=2), lambda _: None)
    backoff.answered()
    refused = explain(NoCredentialsError())
    refused.__cause__ = NoCredentialsError()

    for error in (refused, NeedsAttention("stdout cannot be written")):
        with pytest.raises(FifoError):
            backoff.failed(error)
