"""Imported by Python when it starts the embedded stack of the tests: its functions start in milliseconds.

Their processes are forked. All else of the stack is as users have it. A stack that the program starts itself,
as for the demo, starts functions as users' do.
"""

import importlib
import os
import sys

if any(word.endswith("fifo_cli/local/server.py") for word in sys.orig_argv) and hasattr(os, "pidfd_open"):
    fast = importlib.import_module("forked_functions")
    # Functions look for modules where users' do.
    _own = os.path.dirname(__file__)
    sys.path.remove(_own)
    _paths = [path for path in os.environ.pop("PYTHONPATH", "").split(os.pathsep) if path not in ("", _own)]
    if _paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(_paths)
    fast.start_fast()
