"""Starts functions' processes in milliseconds, for the embedded stack of the tests (function_server.py)."""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_SERVER = Path(__file__).with_name("function_server.py")


class ForkedFunction:
    """A function's process, with what ministack uses of ``subprocess.Popen``."""

    def __init__(self, pid: int, streams: Sequence[int]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = (
            os.fdopen(descriptor, mode, buffering=1, encoding="utf-8")
            for descriptor, mode in zip(streams, "wrr", strict=True)
        )
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._handle, self.returncode = -1, 0

    def poll(self) -> int | None:
        """Return None while it runs. How it ended nobody asks."""
        if self.returncode is None and self._ends_within(0):
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not self._ends_within(timeout):
            raise subprocess.TimeoutExpired("function", timeout or 0)
        self.returncode = 0
        return 0

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    def _ends_within(self, seconds: float | None) -> bool:
        poller = select.poll()
        poller.register(self._handle, select.POLLIN)
        return bool(poller.poll(None if seconds is None else seconds * 1000))

    def _send(self, number: signal.Signals) -> None:
        if self.returncode is None:
            try:
                signal.pidfd_send_signal(self._handle, number)
            except ProcessLookupError:
                self.returncode = 0


class FunctionServer:
    """Starts functions' processes, in place of ``subprocess.Popen``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: socket.socket | None = None

    def __call__(self, words: Sequence[str], *, cwd: str, env: Mapping[str, str], **_: Any) -> ForkedFunction:
        (given, stdin), (stdout, printed), (stderr, logged) = (os.pipe() for _ in range(3))
        try:
            order = {"script": words[1], "folder": cwd, "env": dict(env)}
            pid = self._fork(json.dumps(order).encode(), (given, printed, logged))
        finally:
            for descriptor in (given, printed, logged):
                os.close(descriptor)
        return ForkedFunction(pid, (stdin, stdout, stderr))

    def close(self) -> None:
        """End the process that forks; in the stack, it ends with the stack's process group."""
        if self._orders is not None:
            self._orders.close()
            self._process.communicate(timeout=60)

    def _fork(self, order: bytes, streams: Sequence[int]) -> int:
        with self._lock:
            if self._orders is None:
                self._orders = self._start()
            socket.send_fds(self._orders, [order], streams)
            return int(self._orders.recv(64))

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(_SERVER), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        return ours


def start_fast() -> None:
    """Let ministack, in this process, start its functions so."""
    lambda_runtime: Any = importlib.import_module("ministack.core.lambda_runtime")
    lambda_runtime.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": FunctionServer()})
