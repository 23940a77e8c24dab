"""Runs pip with the user's settings of indexes, proxies and certificates, and with no others.

We say where and how it installs, so PIP_TARGET, PIP_USER and similar settings do not reach it, whether they
are in the environment or in a pip.conf. No AWS credentials reach it, nor what it builds. A signal ends it
with all that it has started.
"""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from fifo_cli.errors import Interrupted, UsageError
from fifo_cli.interrupts import CHILDREN

_KEPT: Final = frozenset(
    (
        *("index-url", "pypi-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
        *("cert", "client-cert", "proxy", "keyring-provider"),
        *("timeout", "default-timeout", "retries", "resume-retries", "cache-dir", "no-cache-dir"),
    )
)
# Of these options only the values that are about certificates.
_KEPT_VALUES: Final = {"use-feature": "truststore", "use-deprecated": "legacy-certs"}
_SETTING: Final = re.compile(r"(global|install)\.([\w-]+)=(.+)")
NOTHING_IS_BUILT: Final = "nothing is built from source"
# pip starts Python to build, and a version control system to fetch sources; for wheels it needs neither.
# A helper of keyring may be started.
_GUARD: Final = f"""
import os, runpy, sys
def refuse(event, args):
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec"):
        name = os.path.basename(os.fsdecode(args[0] or args[1][0])).lower()
        same = os.path.basename(sys.executable).lower()
        if name == same or name.startswith(("python", "pypy")) or name in ("git", "hg", "svn", "bzr"):
            raise OSError("{NOTHING_IS_BUILT}")
    elif event == "os.system":
        raise OSError("{NOTHING_IS_BUILT}")
sys.addaudithook(refuse)
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def run_pip(
    arguments: Sequence[str], *, folder: Path, temporary: Path, allow_builds: bool
) -> subprocess.CompletedProcess[str]:
    """Run pip in a folder, with its own temporary files in another.

    Raises UsageError if pip is missing, or its settings cannot be read, and Interrupted after a signal.
    """
    how = ("-m", "pip") if allow_builds else ("-c", _GUARD)
    env = {**_clean(os.environ), **_settings(folder), "TMPDIR": str(temporary)}
    return _run([*how, *arguments], folder, env)


def _run(arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-P", *arguments]  # -P: no module of the user's folder in place of pip's
    start = partial(
        subprocess.Popen,
        words,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # a group of its own, to be ended with all that it starts
    )
    with CHILDREN.start(start, _end) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            _end(process)
            raise
        finally:
            CHILDREN.over(process)
    if CHILDREN.ended:
        raise Interrupted
    ran = subprocess.CompletedProcess(words, process.returncode, out, err)
    if ran.returncode and re.search(r"No module named '?pip\b", ran.stderr):
        raise UsageError(
            f"requirements.txt cannot be installed: {sys.executable} has no pip",
            hint=f"install it: {sys.executable} -m ensurepip",
        )
    return ran


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _clean(env: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if not name.upper().startswith(("AWS_", "PIP_", "FIFO_")) and name != "BOTO_CONFIG"
    }


def _settings(folder: Path) -> dict[str, str]:
    """Return the kept settings as variables: pip's own order, environment over install over global."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for line in _configuration(folder).splitlines():
        if setting := _SETTING.fullmatch(line.strip()):
            found[setting[1]][setting[2].lower().replace("_", "-")] = _value(setting[3])
    variables = {
        name[4:].lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_") and value
    }
    effective = {**found["global"], **found["install"], **variables}
    kept = {name: value for name, value in effective.items() if name in _KEPT}
    kept |= {name: only for name, only in _KEPT_VALUES.items() if only in effective.get(name, "").split()}
    return {
        **{f"PIP_{name.upper().replace('-', '_')}": value for name, value in kept.items()},
        "PIP_CONFIG_FILE": os.devnull,  # pip then reads no configuration file at all
    }


def _value(text: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        return text


def _configuration(folder: Path) -> str:
    """Return what pip's configuration files say, as pip merges them."""
    file = os.environ.get("PIP_CONFIG_FILE")
    if file == os.devnull:
        return ""
    env = {**_clean(os.environ), **({"PIP_CONFIG_FILE": file} if file else {})}
    # A file may ask for quiet; the result is what pip would leave out first.
    ran = _run(["-m", "pip", "config", "list", "-vvv", "--disable-pip-version-check"], folder, env)
    if ran.returncode:
        lines = [line for line in ran.stderr.splitlines() if line.strip()]
        raise UsageError(
            f"pip cannot read its configuration: {lines[-1] if lines else f'exit {ran.returncode}'}",
            hint="correct it; `python -m pip config debug` lists its files",
        )
    return ran.stdout
