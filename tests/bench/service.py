"""Servers of the bench, each in a process of its own: the relay, the receiver, the embedded stack."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from fifo_cli.local.ports import HOST, free_port
from tests.cli_harness import ROOT, clean_environment

__all__ = ["HOST", "embedded_stack", "receiver", "service"]
_READY_WITHIN = 60.0


@contextlib.contextmanager
def service(module: str, *arguments: str) -> Iterator[str]:
    """Run a module that prints its port and ends with its stdin; give its endpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C is ours alone
    )
    assert process.stdout is not None
    with process:
        try:
            yield f"http://{HOST}:{int(process.stdout.readline())}"
        finally:
            process.kill()


@contextlib.contextmanager
def receiver(delay: float = 0.0) -> Iterator[str]:
    """Run the loopback receiver that stands in for the API, and takes ``delay`` seconds; give its URL."""
    port = free_port()
    command = ["-m", "fifo_cli.local.receiver", "--port", str(port), "--delay", str(delay)]
    with _running(command, {}, port, ROOT):
        yield f"http://{HOST}:{port}"


@contextlib.contextmanager
def embedded_stack(folder: Path) -> Iterator[str]:
    """Run an embedded stack that keeps nothing, as `fifo-cli local up` would; give its endpoint."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    env = {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "TMPDIR": str(folder),
    }
    with _running(["-m", "ministack"], env, port, folder):
        yield f"http://{HOST}:{port}"


@contextlib.contextmanager
def _running(arguments: list[str], env: dict[str, str], port: int, folder: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=clean_environment(env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # What it starts itself ends with it.
        start_new_session=True,
    )
    try:
        _wait_for(port, process)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something answers at a port, whatever it says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        try:
            opener.open(f"http://{HOST}:{port}/_ministack/health", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing answers at port {port}")
