from datetime import UTC, datetime

import pytest

from fifo_cli.errors import ExitCode
from fifo_cli.model.prove_result import Check, CheckVerdict, Left, ProveResult

AT = datetime(2026, 1, 2, tzinfo=UTC)


def result(*verdicts: CheckVerdict, left: tuple[Left, ...] = ()) -> ProveResult:
    checks = tuple(Check(verdict.name, verdict, 1.5, "why", AT) for verdict in verdicts)
    return ProveResult(
        account="1",
        region="r",
        pipeline="fifo-prove-x",
        checks=checks,
        measured={},
        left=left,
        started=AT,
        ended=AT,
    )


@pytest.mark.parametrize(
    ("verdict", "ok"),
    [
        (CheckVerdict.PASSED, True),
        (CheckVerdict.FAILED, False),
        (CheckVerdict.NOT_OFFERED, None),
        (CheckVerdict.NOT_RUN, None),
    ],
)
def test_a_check_that_proved_nothing_is_neither_true_nor_false(verdict, ok):
    document = Check("deploy", verdict, 1.5, "why", AT).document()
    assert document["ok"] is ok
    assert document["verdict"] == verdict.value


def test_a_failed_check_or_something_left_needs_a_look():
    left = (Left("queue", "fifo-prove-x.fifo", "refused", "aws sqs delete-queue …"),)
    assert result(CheckVerdict.PASSED, CheckVerdict.NOT_OFFERED).exit_code is ExitCode.OK
    assert result(CheckVerdict.PASSED, CheckVerdict.FAILED).exit_code is ExitCode.ATTENTION
    assert result(CheckVerdict.PASSED, left=left).exit_code is ExitCode.ATTENTION
    assert (
        result(CheckVerdict.FAILED, CheckVerdict.FAILED, CheckVerdict.PASSED).count(CheckVerdict.FAILED) == 2
    )
