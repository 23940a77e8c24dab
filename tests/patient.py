"""The program as users run it, but for how long it waits for AWS after a signal: ``python -m tests.patient``.

AWS that does not answer within 1.25 s is not waited for. The embedded stack shares a busy machine with the
tests, and may take longer: what a test wants to see finished would then end in the middle. What happens where
nothing answers is tried with the program itself (tests/integration/test_interrupts.py).
"""

from __future__ import annotations

import fifo_cli.__main__  # noqa: F401 - first: an early signal then ends the process as it should
from fifo_cli.cli.app import main
from fifo_cli.cli.console import announce
from fifo_cli.cli.signals import Signals

_WITHIN = 30.0


def patient_signals() -> Signals:
    """Return what makes a run wait longer."""
    return Signals(announce, aws_answers_within=_WITHIN)


if __name__ == "__main__":
    raise SystemExit(main(signals=patient_signals()))
