"""The process that the functions of the tests' embedded stack are forked from: ``function_server.py SOCKET``.

It has imported boto3, which Lambda's runtime brings, and has compiled the libraries that are in every zip. A
function still imports all that is in its zip from there.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

# The libraries that are in every zip, and our package's name.
_IN_ZIPS = (
    "anyio",
    "certifi",
    "fifo_cli",
    "h11",
    "httpcore",
    "httpx",
    "idna",
    "jmespath",
    "typing_extensions",
)


def prepare() -> None:
    """Import what all functions import, and remember the code of what they bring."""
    import botocore.loaders

    reader: Any = botocore.loaders.JSONFileLoader
    read = cache(reader().load_file)
    reader.load_file = lambda self, path: read(path)
    import boto3.session

    session = boto3.session.Session("key", "secret", region_name="us-east-1")
    for service in ("sqs", "ssm", "secretsmanager"):
        session.client(service, endpoint_url="http://127.0.0.1:9")
    loader: Any = importlib.machinery.SourceFileLoader
    compile_source = loader.source_to_code
    codes = dict(_codes())

    def source_to_code(self: Any, data: Any, path: Any, **options: Any) -> Any:
        known = codes.get(hashlib.sha256(data).digest()) if isinstance(data, bytes) else None
        return known or compile_source(self, data, path, **options)

    loader.source_to_code = source_to_code
    for name in list(sys.modules):
        if name.partition(".")[0] in _IN_ZIPS:
            del sys.modules[name]


def _codes() -> Iterator[tuple[bytes, CodeType]]:
    """Yield the code of each module of these packages, by the hash of its source."""
    for package in _IN_ZIPS:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        folder = origin.parent / "handlers" if package == "fifo_cli" else origin.parent
        for path in folder.rglob("*.py") if spec.submodule_search_locations else [origin]:
            loader = importlib.machinery.SourceFileLoader(path.stem, str(path))
            code = loader.get_code(path.stem)
            if code is not None:
                yield hashlib.sha256(path.read_bytes()).digest(), code


def serve(orders: socket.socket) -> dict[str, Any]:
    """Fork a process for each order; returns the order in that process, with its streams in place."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a function's process ended
    while True:
        text, streams, _, _ = socket.recv_fds(orders, 1 << 20, 3)
        if not text:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            for number, descriptor in enumerate(streams):
                os.dup2(descriptor, number)
        for descriptor in streams:
            os.close(descriptor)
        if pid == 0:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            order: dict[str, Any] = json.loads(text)
            return order
        orders.send(str(pid).encode())


def become(order: dict[str, Any]) -> None:
    """Run the script of an order as Python would."""
    sys.dont_write_bytecode = True  # its folder is thrown away when it ends
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    script = order["script"]
    sys.argv = [script]
    sys.path[0] = os.path.dirname(script)
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = script
    exec(compile(Path(script).read_bytes(), script, "exec"), vars(main))


if __name__ == "__main__":
    _socket = socket.socket(fileno=int(sys.argv[1]))
    prepare()
    become(serve(_socket))
