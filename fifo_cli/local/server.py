"""The embedded stack's process: leave the terminal, write down who we are, run ministack.

``stack.up`` runs this file as a script. It inherits the locked state file and keeps it open until it
ends, so the lock says, without any guessing over process ids, whether the stack is alive.
"""

from __future__ import annotations

import copy
import importlib
import json
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

# A function may leave a child behind that goes on printing: its lines are not waited for longer.
_LOG_SECONDS_MAX = 5.0


def main() -> None:
    """Run as ``server.py FD RECORD``: FD is the locked state file, RECORD the JSON object to write there."""
    lock, record = int(sys.argv[1]), json.loads(sys.argv[2])
    # The functions that ministack runs must not inherit the lock: they would keep it when the stack is gone.
    os.set_inheritable(lock, False)
    if os.fork():
        os._exit(0)
    # A session of its own: Ctrl-C in the terminal does not reach it, and its functions are stopped with it.
    os.setsid()
    # Not the parent, which may be killed before it gets to it: whoever holds the lock is to be found.
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps({"pid": os.getpid(), **record}).encode(), 0)
    # The state holds the values of SecureString parameters and of secrets.
    os.umask(0o077)
    keep_streams(importlib.import_module("ministack.services.dynamodb"))
    move_queues(importlib.import_module("ministack.services.sqs"))
    keep_log_lines(importlib.import_module("ministack.core.lambda_runtime").Worker)
    create_no_log_groups(
        importlib.import_module("ministack.services.lambda_svc"),
        importlib.import_module("ministack.services.cloudwatch_logs"),
    )
    ministack: Any = importlib.import_module("ministack.app")
    # This file runs as a script, with -P; its neighbours are found once the package's folder is known.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    access: Any = importlib.import_module("fifo_cli.local.access")
    ministack.app = access.guarded(ministack.app, port=record["port"], key=os.environ["AWS_SESSION_TOKEN"])
    sys.argv = ["ministack"]
    try:
        ministack.main()
    except Exception:  # noqa: BLE001 - the end of the process: any error goes to the log
        traceback.print_exc()
    finally:
        # Its functions end with it, also where the command that stopped it was interrupted.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os.killpg(0, signal.SIGKILL)


def keep_streams(dynamodb: Any) -> None:
    """Have ministack's DynamoDB module save and restore its stream records, which 1.5.33 forgets.

    It does restore how far each event source mapping has read, as an index into those records: without
    them, as many new records as were read before the restart would be taken for read, and be lost.
    """
    get_state, load_state = dynamodb.get_state, dynamodb.load_persisted_state
    if "stream_records" in get_state():
        return

    def get_state_with_streams() -> dict[str, Any]:
        return {
            **get_state(),
            "stream_records": copy.deepcopy(dynamodb._stream_records),
            "stream_trimmed": copy.deepcopy(dynamodb._stream_trimmed),
            "closed_streams": copy.deepcopy(dynamodb._closed_streams),
        }

    def load_state_with_streams(data: dict[str, Any]) -> None:
        load_state(data)
        dynamodb._stream_records.update(data.get("stream_records", {}))
        dynamodb._stream_trimmed.update(data.get("stream_trimmed", {}))
        dynamodb._closed_streams.update(data.get("closed_streams", {}))

    dynamodb.get_state = get_state_with_streams
    dynamodb.load_persisted_state = load_state_with_streams


def move_queues(sqs: Any) -> None:
    """Have ministack's SQS module restore its queues under the URLs of the port that it listens on now.

    1.5.33 keeps those of the port before. Its poller builds a queue's URL from the port, finds no queue
    there, and starts no function, without a word.
    """
    load_state = sqs.load_persisted_state

    def load_state_and_move(data: dict[str, Any]) -> None:
        load_state(data)
        for (account, region, old), queue in sqs._queues.all_items():
            queue["url"] = sqs._queue_url_for_account(account, queue["name"])
            sqs._queues.pop_scoped(account, region, old)
            sqs._queues.set_scoped(account, region, queue["url"], queue)
        sqs._queue_name_to_url.clear()
        sqs._rebuild_queue_name_index()

    sqs.load_persisted_state = load_state_and_move


def create_no_log_groups(functions: Any, logs: Any) -> None:
    """Have ministack's Lambda module write what a function logs only into a log group that exists.

    1.5.33 creates the log group. In AWS that takes logs:CreateLogGroup, which no role of a pipeline has. A
    function that still runs while ``destroy`` deletes its log group would leave one without tags, and the
    next ``deploy`` would refuse to take it for its own.
    """
    write = functions._emit_lambda_logs

    def write_if_it_exists(function: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        config = function.get("config") or function
        own = f"/aws/lambda/{config.get('FunctionName')}"
        if ((config.get("LoggingConfig") or {}).get("LogGroup") or own) in logs._log_groups:
            write(function, *args, **kwargs)

    functions._emit_lambda_logs = write_if_it_exists


def keep_log_lines(worker: Any) -> None:
    """Have ministack's class of function processes wait for all that a function printed.

    1.5.33 takes what has come 5 ms after a line: on a busy machine the rest lands in the log of the next
    invocation, or in none, and an audit would find messages missing that were sent.

    A function prints before it answers, so its lines are in the pipe when the answer is here. The reader of
    the pipe holds a lock until they are in the queue: so an empty pipe and then a free lock mean all of them.
    """
    take_all, take_soon = worker._drain_stderr, worker._drain_stderr_bounded

    def lock_of(self: Any) -> threading.Lock:
        lock: threading.Lock = self.__dict__.setdefault("_pipe_lock", threading.Lock())
        return lock

    def read_stderr(self: Any) -> None:
        _take_lines(self._proc.stderr, self._stderr_queue.put, lock_of(self))

    def wait_and_take(self: Any, *args: Any, **kwargs: Any) -> str:
        if type(self) is not worker:
            return str(take_soon(self, *args, **kwargs))
        end = time.monotonic() + _LOG_SECONDS_MAX
        process = self._proc  # a deploy meanwhile takes it away
        if process is None:
            self._stderr_thread.join(_LOG_SECONDS_MAX)
        else:
            while _poll(process.stderr, 0) and time.monotonic() < end:
                time.sleep(0.001)
        if lock_of(self).acquire(timeout=max(0.0, end - time.monotonic())):
            lock_of(self).release()
        return str(take_all(self))

    worker._read_stderr = read_stderr
    worker._drain_stderr = worker._drain_stderr_bounded = wait_and_take


def _take_lines(pipe: IO[str], put: Callable[[str], None], lock: threading.Lock) -> None:
    """Put what comes out of a pipe, line by line, until its end."""
    unended = b""
    while _poll(pipe, None):
        with lock:
            read = os.read(pipe.fileno(), 65_536)
            *lines, unended = (unended + read).split(b"\n")
            for line in lines:
                put(line.decode(errors="replace"))
            if not read:
                if unended:
                    put(unended.decode(errors="replace"))
                return


def _poll(pipe: IO[str], wait_ms: int | None) -> bool:
    """Return whether something can be read: bytes, or where ``wait_ms`` is None also the end."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    events = poller.poll(wait_ms)
    return bool(events) and (wait_ms is None or bool(events[0][1] & select.POLLIN))


if __name__ == "__main__":
    main()
