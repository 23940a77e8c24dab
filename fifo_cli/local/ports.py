"""Free TCP ports of loopback, and who holds the others, as far as the system shows (by Linux's /proc)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
_LISTENING: Final = "0A"  # TCP_LISTEN in the kernel's include/net/tcp_states.h
_CONNECT_TIMEOUT: Final = 1.0


def free_port() -> int:
    """Return a loopback port that nobody holds at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Say whether a server could listen on a loopback port: nobody answers there, and binding is allowed."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_TIMEOUT)
        # Binding alone would not do: on BSD and macOS it succeeds beside a listener on all addresses.
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def holder_of(port: int) -> str:
    """Name the process that listens on a port ("process 4711 (nginx)"), or "" if the system does not tell."""
    inodes = {inode for local, _, state, inode in tcp_sockets() if local == port and state == _LISTENING}
    pid = owner_of(inodes)
    return f"process {pid} ({_command(pid)})" if pid else ""


def tcp_sockets() -> Iterator[tuple[int, int, str, str]]:
    """Yield local port, remote port, state and inode of each TCP socket (proc(5), /proc/net/tcp)."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            yield (
                int(fields[1].rpartition(":")[2], 16),
                int(fields[2].rpartition(":")[2], 16),
                fields[3],
                fields[9],
            )


def owner_of(inodes: set[str]) -> int | None:
    """Return the lowest process id that holds one of these sockets open."""
    wanted = {f"socket:[{inode}]" for inode in inodes - {"0"}}
    if not wanted:
        return None
    pids = sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return next((pid for pid in pids if wanted & _links(pid)), None)


def _links(pid: int) -> set[str]:
    """Return what a process's open files link to; nothing of a process that is gone or another user's."""
    links: set[str] = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            # It may be closed by now.
            with contextlib.suppress(OSError):
                links.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return links


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"
