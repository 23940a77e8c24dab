"""The worker with one group at a time and with many: an API that takes 200 ms, in one warm run."""

from __future__ import annotations

from tests.bench.bench import Bench
from tests.bench.field import Field
from tests.bench.functions import invoked, unpacked
from tests.bench.report import Budget, Section
from tests.bench.service import receiver
from tests.integration.lean_sqs import lean_sqs

API_SECONDS = 0.2
GROUPS = 64
_SPEEDUP_MIN = 25
_CONCURRENCY = (1, 8, 32, 64)
# What a run delivers, so that it takes some seconds; rounds are what a group has.
_MESSAGES_ALONE = 25
_ROUNDS = {"quick": 10, "normal": 30}
_HEAD = ("concurrency", "messages", "messages/s", "of one at a time", "CPU ms a message", "peak MiB")


def measure(bench: Bench) -> list[Section]:
    """Deliver with more and more groups side by side."""
    rates: dict[int, float] = {}
    rows: list[tuple[str, ...]] = []
    rounds = _ROUNDS["quick" if not bench.size.many else "normal"]
    with lean_sqs() as endpoint, receiver(API_SECONDS) as url:
        for concurrency in _CONCURRENCY:
            count = _MESSAGES_ALONE if concurrency == 1 else GROUPS * rounds
            field = Field.create(bench.folder, endpoint, None, api=url, others=endpoint)
            field.fill("main", count + 1, GROUPS)
            sample, text = invoked(field, unpacked(field), "worker", count, GROUPS, concurrency)
            field.delete()
            rates[concurrency] = 1000 / text["record_ms"]
            rows.append(
                (
                    str(concurrency),
                    str(count),
                    f"{rates[concurrency]:.1f}",
                    f"{rates[concurrency] / rates[1]:.1f}",
                    f"{text['record_cpu_ms']:.2f}",
                    f"{sample.peak_mib:.0f}",
                )
            )
    speedup = rates[32] / rates[1]
    note = f"{GROUPS} groups; the API answers after {API_SECONDS * 1000:.0f} ms; SQS is the lean double"
    what = "worker, API of 200 ms: concurrency = 32 beside 1"
    budget = Budget(what, f"at least {_SPEEDUP_MIN} x", f"{speedup:.1f} x", speedup >= _SPEEDUP_MIN)
    return [Section("Groups side by side", note, _HEAD, rows, [budget])]
