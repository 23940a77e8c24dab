"""A proxy that counts requests by action and adds a delay to each, in a process of its own.

tests/integration/proxy.py can do far more, but with a thread and http.server's parsing for each connection
it takes a millisecond of Python a request, and would itself be what is measured. This one forwards bytes.

Run as ``python -m tests.bench.relay UPSTREAM``; it prints its port and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.bench.service import HOST, service

_CONTROL = "/_relay"
_HEAD_END = b"\r\n\r\n"
_HEAD_MAX = 1024 * 1024


class Relay:
    """The running relay as its users see it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        # The environment's proxies are for the world outside.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def delay(self, seconds: float) -> None:
        """Wait so long before forwarding each request."""
        self._ask("delay", seconds)

    def clear(self) -> None:
        """Forget the counts."""
        self._ask("clear", None)

    @property
    def counts(self) -> Counter[str]:
        """How many requests came since the last ``clear``, by action."""
        return Counter(self._ask("counts", None))

    def _ask(self, what: str, value: float | None) -> dict[str, int]:
        order = json.dumps({what: value}).encode()
        with self._opener.open(f"{self.endpoint}{_CONTROL}", order) as answer:
            counts: dict[str, int] = json.loads(answer.read())
        return counts


@contextlib.contextmanager
def relay(upstream: str) -> Iterator[Relay]:
    """Run a relay before ``upstream``."""
    with service("tests.bench.relay", upstream) as endpoint:
        yield Relay(endpoint)


class _Server:
    def __init__(self, upstream: str) -> None:
        address = urlsplit(upstream)
        self.upstream = (address.hostname, address.port)
        self.seconds = 0.0
        self.counts: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward what comes on one connection of a client over one connection of ours."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            there: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
            try:
                while True:
                    head = await reader.readuntil(_HEAD_END)
                    body = await reader.readexactly(_length(head))
                    line = head[: head.index(b"\r\n")].decode("latin-1")
                    if _CONTROL in line:
                        writer.write(self._obey(json.loads(body)))
                        continue
                    self.counts[_action(line, head)] += 1
                    if self.seconds:
                        await asyncio.sleep(self.seconds)
                    if there is None:
                        there = await asyncio.open_connection(*self.upstream, limit=_HEAD_MAX)
                    there[1].write(self._addressed(head) + body)
                    answer = await there[0].readuntil(_HEAD_END)
                    writer.write(answer + await there[0].readexactly(_length(answer)))
            finally:
                writer.close()
                if there is not None:
                    there[1].close()

    def _addressed(self, head: bytes) -> bytes:
        """Name the upstream as the host: the embedded stack answers to no other name."""
        host = "{}:{}".format(*self.upstream).encode()
        return re.sub(rb"(?i)\r\nhost:[^\r]*", b"\r\nHost: " + host, head, count=1)

    def _obey(self, order: dict[str, float | None]) -> bytes:
        if order.get("delay") is not None:
            self.seconds = float(order["delay"] or 0)
        if "clear" in order:
            self.counts.clear()
        data = json.dumps(self.counts).encode()
        return b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)


def _length(head: bytes) -> int:
    value = _header(head, b"content-length")
    return int(value) if value else 0


def _action(line: str, head: bytes) -> str:
    target = _header(head, b"x-amz-target")
    if target:
        return target.decode().rpartition(".")[2]
    method, path, _ = line.split(" ", 2)
    return path.rpartition("/operation/")[2] if "/operation/" in path else f"{method} {path}"


def _header(head: bytes, name: bytes) -> bytes:
    start = head.lower().find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


async def _main(upstream: str) -> None:
    server = await asyncio.start_server(_Server(upstream).serve, HOST, 0, limit=_HEAD_MAX)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - what the parent reads
    # The parent's end of stdin closes when it ends, however it does.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
