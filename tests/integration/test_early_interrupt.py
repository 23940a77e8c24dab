"""A signal while the program starts or ends: a word, the right exit code, no traceback, nothing half done.

Before its own first line the interpreter is alone: it dies of the signal, with a traceback of its own modules
or without a word, and nothing of ours can change that.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cli_harness import clean_environment
from tests.integration.interrupted_runs import CODES

# Sends itself a signal at the n-th import, or at the n-th call of a function, after the first lines of ours.
_AT_IMPORT = """
import os, sys
at, number = int(sys.argv.pop(1)), int(sys.argv.pop(1))
class Import:
    def find_spec(self, name, path=None, target=None):
        global at
        at -= hasattr(sys.modules.get("fifo_cli.__main__"), "main")
        if at == 0:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Import())
from fifo_cli.__main__ import main
raise SystemExit(main())
"""
_AT_CALL = """
import os, sys
at, number = int(sys.argv.pop(1)), int(sys.argv.pop(1))
def count(frame, event, arg):
    global at
    at -= event == "call"
    if at == 0:
        sys.setprofile(None)
        os.kill(os.getpid(), number)
from fifo_cli.__main__ import main
import fifo_cli.cli.app
sys.setprofile(count)
raise SystemExit(main())
"""
# At the end: when all is done, and while Python frees what was loaded.
_AT_EXIT = """
import os, signal, sys
number = int(sys.argv.pop(1))
class Freed:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=number):
        kill(pid, number)
from fifo_cli.__main__ import main
code = main()
sys.modules["freed"] = Freed()
raise SystemExit(code)
"""


def run(script: str, *args: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, args), "schema"],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr.strip()


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("script", "places"),
    [(_AT_IMPORT, [*range(1, 100, 11), *range(100, 260, 40)]), (_AT_CALL, [1, 5, 400, 1831, 3501, 40_000])],
    ids=["import", "call"],
)
def test_a_signal_while_it_starts_ends_it_with_a_word(
    script: str, places: list[int], number: signal.Signals
) -> None:
    with ThreadPoolExecutor(2) as pool:
        ended = dict(zip(places, pool.map(lambda at: run(script, at, int(number)), places), strict=True))

    assert ended == dict.fromkeys(places, (CODES[number], "", "interrupted"))


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_signal_when_all_is_done_changes_nothing(number: signal.Signals) -> None:
    code, out, err = run(_AT_EXIT, int(number))

    assert (code, err) == (0, "")
    assert out.startswith("{")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As a shell does with background jobs, and nohup."""
    script = f"import signal; signal.signal({int(signal.SIGHUP)}, signal.SIG_IGN)\n{_AT_IMPORT}"

    code, out, _ = run(script, 5, int(signal.SIGHUP))

    assert code == 0
    assert out.startswith("{")
