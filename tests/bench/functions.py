"""The enqueuer and the worker as Lambda runs them: from their zips, cold and warm, few groups and many."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path

import boto3

from tests.bench.bench import LATENCY, Bench
from tests.bench.field import Field
from tests.bench.measure import Sample, run
from tests.bench.moves import AS_IS, DELAYED
from tests.bench.relay import relay
from tests.bench.report import Section
from tests.bench.service import receiver
from tests.cli_harness import ROOT, clean_environment

_HEAD = (
    "function",
    "service",
    "groups",
    "import ms",
    "first call ms",
    "ms a record",
    "CPU ms a record",
    "requests a record",
    "peak MiB",
)
_GROUPS = (1, 100)
_INVOKE = Path(__file__).with_name("invoke.py")


def measure(bench: Bench) -> list[Section]:
    """Invoke both functions in environments of their own."""
    rows: list[tuple[str, ...]] = []
    with bench.stack() as endpoint, relay(endpoint) as through, receiver() as url:
        for service, latency in ((AS_IS, 0.0), (DELAYED, LATENCY)):
            through.delay(latency)
            for groups in _GROUPS:
                field = Field.create(bench.folder, endpoint, through, api=url)
                folder = unpacked(field)
                for function in ("enqueuer", "worker"):
                    rows.append(
                        (function, service, str(groups), *_invoked(field, folder, function, bench, groups))
                    )
                field.delete()
    note = (
        f"an environment's first call has one record, then {bench.size.records} records in batches of 100;"
        " the worker delivers what the enqueuer sent, to an API that answers at once; all requests go through"
        " the relay"
    )
    return [Section("The functions", note, _HEAD, rows)]


def unpacked(field: Field) -> Path:
    """Build the zips and unpack one: the code of both functions is the same."""
    out = field.project.folder / "zips"
    field.run("package", "--out", str(out), "-o", "json")
    folder = field.project.folder / "code"
    with zipfile.ZipFile(next(out.glob("*.zip"))) as packed:
        packed.extractall(folder)
    return folder


def _invoked(field: Field, folder: Path, function: str, bench: Bench, groups: int) -> tuple[str, ...]:
    assert field.relay is not None
    field.relay.clear()
    sample, text = invoked(field, folder, function, bench.size.records, groups)
    requests = field.relay.counts.total() / (bench.size.records + 1)
    return (
        f"{text['import_ms']:.0f}",
        f"{text['first_ms']:.0f}",
        f"{text['record_ms']:.1f}",
        f"{text['record_cpu_ms']:.2f}",
        f"{requests:.2f}",
        f"{sample.peak_mib:.0f}",
    )


def invoked(
    field: Field, folder: Path, function: str, count: int, groups: int, *concurrency: int
) -> tuple[Sample, dict[str, float]]:
    """Run one environment of a function; return what it took, and what it says itself."""
    # boto3 is Lambda's own, so it comes from here, and so do the doubles; all else comes from the zip.
    path = os.pathsep.join([str(folder), str(Path(boto3.__file__).parent.parent), str(ROOT)])
    numbers = map(str, (count, groups, *concurrency))
    command = [sys.executable, "-P", str(_INVOKE), function, *numbers]
    sample = run(command, {**clean_environment(field.env), "PYTHONPATH": path}, field.project.folder)
    return sample, json.loads(sample.err.splitlines()[-1])
