"""An HTTP server on loopback, a thread a connection, that can be stopped while clients hang on it."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import sys
import threading
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

from fifo_cli.local.access import refusal
from fifo_cli.local.ports import HOST

_SHUTDOWN_POLL: Final = 0.02


class LoopbackServer(http.server.ThreadingHTTPServer):
    """Serves from ``start`` to ``stop``; each connection gets a ``handler``, whose ``server`` this is.

    ``service`` is what the handlers answer for.
    """

    request_queue_size = 128
    daemon_threads = False  # server_close waits for them

    def __init__(
        self, port: int, handler: type[http.server.BaseHTTPRequestHandler], service: Any = None
    ) -> None:
        self.service = service
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        self.stopping = threading.Event()
        super().__init__((HOST, port), handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_SHUTDOWN_POLL,), name=f"loopback:{self.server_port}"
        )

    def start(self) -> None:
        """Serve in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Cut all connections, wait for their threads and stop listening."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._connections_lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def pause(self, seconds: float) -> bool:
        """Wait, and say whether to go on; False means that the server stops."""
        return not self.stopping.wait(max(seconds, 0.0))

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for this host's name, which may take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that went away is not news.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class LoopbackService:
    """What listens on a port of loopback from ``start`` to ``stop``; port 0 takes any that is free.

    Its handlers find it as ``server.service``.
    """

    def __init__(self, port: int, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self._port = port
        self._handler = handler
        self._server: LoopbackServer | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def start(self) -> Self:
        """Listen; raises OSError if the port is taken."""
        self._server = LoopbackServer(self._port, self._handler, self)
        # The port stays, so that what was stopped comes back where its users look for it.
        self._port = self._server.server_port
        self._server.start()
        return self

    def stop(self) -> None:
        """Cut all connections and stop listening; what was recorded stays."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class LoopbackHandler(http.server.BaseHTTPRequestHandler):
    """Reads requests and writes answers of known length, each in one packet."""

    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def parse_request(self) -> bool:
        """Refuse what a page in a browser sends (access.py), before anything is done for it."""
        if not super().parse_request():
            return False
        if why := refusal(self.command, self.headers.items(), self.server.server_port):
            self.close_connection = True
            self.send_answer(HTTPStatus.FORBIDDEN, {"Content-Type": "text/plain"}, why.encode())
            return False
        return True

    def read_body(self) -> bytes:
        """Read the request's body, of a given length or chunked (RFC 9112, section 7.1)."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def send_answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send a whole answer; raises OSError if the client has gone."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")  # else the client would use it again
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: stderr belongs to whoever runs the server."""
