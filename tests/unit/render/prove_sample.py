"""A run of ``prove`` as its report has it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fifo_cli.model.prove_result import Check, CheckVerdict, Left, Measurement, ProveResult, Resource

START = datetime(2026, 11, 29, 10, 0, tzinfo=UTC)
_STEPS = (
    ("identity", 0.4, "arn:aws:sts::123456789012:assumed-role/prove/me, by the profile sandbox"),
    ("policies", 2.1, "deployer, operator and monitor are accepted by IAM and allow what they name"),
    ("the API", 14.0, "a request without the secret is answered 403"),
    ("deploy", 48.2, "21 resources"),
    ("plan and second deploy", 63.0, "nothing to change at once and after 60 s; a second deploy did nothing"),
    ("delivery by schedule", 72.0, "200 items over 20 groups arrived once and in order"),
    ("delivery by queue", 9.5, "200 items over 20 groups arrived once and in order, 0.9 s after the put"),
    ("outage and recovery", 31.0, "503 for 20 s: nothing was parked, lost or reordered"),
    ("poison and redrive", 22.0, "3 of 40 parked with 422, redriven, delivered"),
    ("redrive by SQS", 4.0, "StartMessageMoveTask moved 12 messages"),
    ("key rotation", 12.0, "401 for one call, then the new key"),
    ("pause and resume", 123.0, "nothing started in 120 s"),
    ("audit with all logs", 310.0, "640 records: 640 delivered, 0 missing, 0 duplicated, 0 reordered"),
    ("destroy", 21.0, "21 resources"),
    ("nothing left", 3.0, "by tag and by name"),
)  # fmt: skip


def sample(**changes: Any) -> ProveResult:
    """Return a run in which all went well."""
    checks, at = [], START + timedelta(seconds=2)
    for name, took, detail in _STEPS:
        checks.append(Check(name, CheckVerdict.PASSED, took, detail, at))
        at += timedelta(seconds=took + 0.5)
    name, chance = "fifo-prove-7f3a9c2e", random.Random(1)
    made = (
        *(
            Resource("queue", f"{name}{end}")
            for end in (".fifo", "-dlq.fifo", "-hold.fifo", "-stream-failures")
        ),
        *(
            Resource(kind, f"{name}-{role}")
            for kind in ("role", "function")
            for role in ("enqueuer", "worker")
        ),
        *(Resource("alias", f"{name}-{role}:live") for role in ("enqueuer", "worker")),
        *(Resource("log-group", f"/aws/lambda/{name}-{role}") for role in ("enqueuer", "worker")),
        Resource("table", name),
        Resource("rule", f"{name}-1"),
        *(Resource(kind, f"{name}-receiver") for kind in ("function", "role", "table")),
        Resource("log-group", f"/aws/lambda/{name}-receiver"),
    )
    fast = tuple(round(chance.lognormvariate(-0.3, 0.4), 3) for _ in range(200))
    later = tuple(one + 0.3 for one in fast)
    slow = tuple(round(chance.uniform(20, 240), 1) for _ in range(12))
    result = ProveResult(
        account="123456789012",
        region="eu-west-1",
        pipeline=name,
        checks=tuple(checks),
        measured={
            "put_to_queue": Measurement("from the answer to a put until its message is in main", "s", fast),
            "put_to_api": Measurement("from the answer to a put until the API has it", "s", later),
            "logs": Measurement("from the end of a run to its last log line", "s", slow),
            "quiet": Measurement("from pause to the last call of the API", "s", (0.8,)),
        },
        left=(),
        identity="arn:aws:sts::123456789012:assumed-role/prove/me",
        credentials="the profile sandbox of ~/.aws/config, by sso",
        api="a function of its own",
        started=START,
        ended=at,
        created=made,
        removed=made,
        requests={"sqs ReceiveMessage": 1842, "sqs SendMessageBatch": 214, "lambda GetFunction": 63},
        versions={"fifo-cli": "0.9.0", "python": "3.13.1", "runtime of the functions": "python3.13"},
        cost="at most 0.40 USD (twice the prices of us-east-1 of 2026-11, no free tier)",
    )  # fmt: skip
    return replace(result, **changes)


def in_trouble() -> ProveResult:
    """Return a run with every verdict, something left, and an emulator."""
    result = sample()
    checks = list(result.checks)
    checks[5] = replace(
        checks[5],
        verdict=CheckVerdict.FAILED,
        detail="2 of 200 items did not arrive within 300 s: g07-3, g07-4\nthe group waits",
    )
    checks[9] = replace(
        checks[9], verdict=CheckVerdict.NOT_OFFERED, detail="the service has no StartMessageMoveTask"
    )
    checks[12] = replace(
        checks[12], verdict=CheckVerdict.NOT_RUN, detail="needs: deploy", started=None, seconds=0
    )
    role = f"{result.pipeline}-worker"
    left = Left(
        "role",
        role,
        "DeleteRole: permission denied (explicit deny)",
        f"`aws iam delete-role --role-name {role}`",
    )
    removed = tuple(one for one in result.removed if (one.type, one.name) != ("role", role))
    return replace(
        result, checks=tuple(checks), left=(left,), removed=removed, endpoint="http://127.0.0.1:4566"
    )
