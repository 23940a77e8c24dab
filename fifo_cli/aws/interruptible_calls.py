"""Calls to AWS that end when they are given up after a signal (interrupts.py)."""

from __future__ import annotations

import contextlib
import gc
import socket
import time
from typing import Any

import botocore.endpoint
from botocore.awsrequest import AWSHTTPConnection, AWSHTTPSConnection
from botocore.exceptions import BotoCoreError

from fifo_cli.interrupts import AWS_CALLS


class GivenUpError(BotoCoreError):
    """A call was given up because AWS did not answer after a signal."""

    fmt = "AWS does not answer, and is not waited for after the interrupt"


def watch_calls(client: Any) -> None:
    """Note a client's calls while they are in flight; give them up when all are given up."""
    endpoint = client._endpoint
    session = endpoint.http_session
    call, send = endpoint.make_request, session.send

    def noted(*args: Any, **kwargs: Any) -> Any:
        with AWS_CALLS.one():
            return call(*args, **kwargs)

    def sent(request: Any) -> Any:
        if AWS_CALLS.given_up:
            raise GivenUpError
        try:
            response = send(request)
        except Exception:
            # Not one of the errors that botocore repeats a call after.
            if AWS_CALLS.given_up:
                raise GivenUpError from None
            AWS_CALLS.unanswered()
            raise
        AWS_CALLS.answered()
        return response

    endpoint.make_request, session.send = noted, sent


def _cut() -> None:
    """End the connections in use, so that whoever waits on one stops waiting.

    A pool of connections knows only those that nobody uses. This one walk over all objects is cheaper than to
    keep account of each connection.
    """
    for found in gc.get_objects():
        if isinstance(found, AWSHTTPConnection | AWSHTTPSConnection) and found.sock is not None:
            with contextlib.suppress(OSError):
                # Of TLS too only the connection below: the thread that reads from it still uses the rest.
                socket.socket.shutdown(found.sock, socket.SHUT_RDWR)


class _Time:
    """botocore's time module: a pause before a repetition ends when all is given up."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        AWS_CALLS.pause(seconds)


AWS_CALLS.cut = _cut
vars(botocore.endpoint)["time"] = _Time()
