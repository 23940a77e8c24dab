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
import signal
import sys
import traceback
from pathlib import Path
from typing import Any


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
    # The state holds the values of SecureString parameters.
    os.umask(0o077)
    keep_streams(importlib.import_module("ministack.services.dynamodb"))
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


if __name__ == "__main__":
    main()
