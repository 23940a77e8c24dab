from datetime import UTC, datetime
from typing import Any

from fifo_cli.model.prove_result import Check, CheckVerdict, Left, Measurement, ProveResult, Resource
from fifo_cli.render.prove_text import prove_text

AT = datetime(2026, 1, 2, tzinfo=UTC)


def result(**more: Any) -> ProveResult:
    given: dict[str, Any] = {
        "account": "1", "region": "r", "pipeline": "fifo-prove-0a1b2c3d", "checks": (), "measured": {},
        "left": (), "started": AT, "ended": AT,
    }  # fmt: skip
    return ProveResult(**(given | more))


def test_verdicts_and_measured_values_are_shown():
    text = prove_text(
        result(
            checks=(
                Check("deploy", CheckVerdict.PASSED, 12.4, "16 resources created", AT),
                Check("redrive by SQS", CheckVerdict.NOT_OFFERED, 0.0, "unknown call", AT),
            ),
            measured={
                "deploy": Measurement("a deploy", "s", (3.0,)),
                "x": Measurement("y", "s", (1.0, 9.0, 2.0, 3.0)),
            },
            removed=(Resource("queue", "q"),),
            requests={"sqs SendMessage": 3, "sqs ReceiveMessage": 4},
            cost="at most 0.30 USD",
        ),
        width=None,
    )
    assert "deploy          passed            12 s  16 resources created" in text
    assert "1 passed, 1 not offered here" in text
    assert "2.0 (1.0 to 9.0) s" in text
    assert "1 resource removed; nothing is left" in text
    assert "7 requests to AWS; cost at most 0.30 USD" in text


def test_what_is_left_is_named_with_the_command():
    text = prove_text(result(left=(Left("queue", "q", "refused", "aws sqs delete-queue"),)), width=80)
    assert "LEFT: queue q: refused\n  aws sqs delete-queue\n" in text
    assert "nothing is left" not in text


def test_what_could_not_be_looked_for_is_not_counted_as_what_could_not_be_removed():
    queue = Left("queue", "q", "refused", "aws sqs delete-queue")
    kinds = [Left(kind, "fifo-prove-*", "denied", "aws", unlisted=True) for kind in ("table", "role")]
    text = prove_text(result(left=(queue, *kinds)), width=80)
    assert "1 resource could not be removed, 2 kinds of resource could not be looked for" in text
    text = prove_text(result(left=tuple(kinds[:1])), width=80)
    assert text.endswith("\n1 kind of resource could not be looked for\n")


def test_what_is_kept_is_not_called_left():
    assert "was kept; `fifo-cli prove --clean` removes it" in prove_text(result(kept=True), width=80)


def test_on_an_emulator_nothing_is_said_of_aws_and_its_prices():
    text = prove_text(
        result(requests={"sqs SendMessage": 3}, endpoint="http://u:pw@127.0.0.1:4566"), width=80
    )
    assert "3 requests to http://" in text
    assert "127.0.0.1:4566, which is not AWS" in text
    assert "pw" not in text
    assert "cost" not in text
