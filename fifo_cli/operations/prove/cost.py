"""A bound for what a run costs: what it uses at most, at AWS's prices.

The prices are those of AWS's public price list for us-east-1, without any free tier; a region may be dearer,
so twice that is the bound. What is free is left out: IAM, rules of EventBridge, standard parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fifo_cli.operations.prove.check_context import Waits

PRICES_OF: Final = "2026-11"
_DEARER_REGION: Final = 2.0


@dataclass(frozen=True, slots=True)
class Use:
    """What a run uses of one thing at most; ``hourly`` is what comes with each hour that it idles."""

    what: str
    amount: float
    hourly: float
    dollars: float  # for one


USES: Final = (
    Use("requests to SQS FIFO queues", 60_000, 20_000, 0.50 / 1e6),
    Use("invocations of functions", 5_000, 500, 0.20 / 1e6),
    Use("GB-seconds of functions", 2_500, 300, 0.0000166667),
    Use("write request units of DynamoDB", 20_000, 0, 0.625 / 1e6),
    Use("read request units of DynamoDB", 20_000, 0, 0.125 / 1e6),
    Use("reads of DynamoDB streams", 20_000, 0, 0.02 / 1e5),
    Use("GB written to CloudWatch Logs", 0.05, 0.01, 0.50),
    Use("metrics asked of CloudWatch", 1_000, 0, 0.01 / 1e3),
    Use("decryptions by KMS", 1_000, 100, 0.03 / 1e4),
)


def dollars(waits: Waits) -> float:
    """Return the bound in US dollars, rounded up to a tenth."""
    hours = waits.idle / 3600
    total = sum((use.amount + hours * use.hourly) * use.dollars for use in USES) * _DEARER_REGION
    return (int(total * 10) + 1) / 10


def bound(waits: Waits) -> str:
    """Return the bound as a phrase."""
    return f"at most {dollars(waits):.2f} USD (twice the prices of us-east-1 of {PRICES_OF}, no free tier)"
