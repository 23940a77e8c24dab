"""The units in docs/ops-box.md are units that systemd takes, and treat our exit codes as they should."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fifo_cli.errors import ExitCode
from tests.cli_harness import ROOT

_BLOCK = re.compile(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def units() -> dict[str, str]:
    found = dict(_BLOCK.findall((ROOT / "docs" / "ops-box.md").read_text(encoding="utf-8")))
    assert set(found) == {"orders-drain.service", "orders-drain.timer", "mail-oncall@.service"}
    return found


class Unit(configparser.RawConfigParser):
    """A unit file, whose settings' names have capitals."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def read(text: str) -> Unit:
    parser = Unit()
    parser.read_string(text)
    return parser


def test_systemd_has_nothing_to_say_against_them(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    for name, text in units().items():
        # The program is not where the guide puts it.
        (tmp_path / name).write_text(text.replace("/opt/fifo/bin/fifo-cli", "/bin/true"))

    names = [name for name in units() if "@" not in name]
    done = subprocess.run(
        [program, "verify", *(f"./{name}" for name in names)],
        cwd=tmp_path,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_stop_is_no_failure_and_its_mail_names_the_unit() -> None:
    service = read(units()["orders-drain.service"])

    assert service["Service"]["SuccessExitStatus"].split() == [
        str(code.value) for code in (ExitCode.ATTENTION, ExitCode.TERMINATED)
    ]
    assert service["Unit"]["OnFailure"] == "mail-oncall@%n.service"
    assert "%i" in read(units()["mail-oncall@.service"])["Service"]["ExecStart"]
