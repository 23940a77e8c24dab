"""Peak memory from a thousand messages to a hundred thousand, on the tests' lean double of SQS."""

from __future__ import annotations

from collections.abc import Callable

from fifo_cli.model.names import QueueRole
from tests.bench.auditing import audit, audited, put_and_log
from tests.bench.bench import Bench
from tests.bench.delivering import CONCURRENCY, delivered, drain
from tests.bench.field import Field, Taken
from tests.bench.filing import dump, dumped, load, write_lines
from tests.bench.moves import HEAD, Cell, cell
from tests.bench.redriving import ours
from tests.bench.replaying import put, replay, replayed
from tests.bench.report import Budget, Section
from tests.bench.service import receiver
from tests.integration.lean_sqs import lean_sqs

_MIB_MAX = 120
# What is hidden is remembered until its time would be over, half a minute: that fills up once, some MiB.
_FLAT_WITHIN = 1.35
_GROUPS = 500
_CPU_MS_MAX = 0.35
# In a shorter run, starting up weighs more than the moving.
_MOVED_MIN = 5_000
# It keeps a line of its result for each message, so its memory is not a budget.
_DRAIN = "drain"
_MOVES = ("redrive", "dump --move", "load")
Check = Callable[[Field, Taken, int], None]
Step = tuple[str, Callable[[Field, int], None], Callable[[Field], Taken], Check]


def measure(bench: Bench) -> list[Section]:
    """Run each command over more and more messages."""
    steps: list[Step] = [
        ("redrive", _fill("dlq"), ours(), _in_order),
        ("dump --move", _fill("dlq"), dump, _no_more(dumped)),
        ("load", lambda field, count: write_lines(field, count, _GROUPS), load, _in_order),
        ("replay", lambda field, count: put(field, count, _GROUPS), replay, _no_more(replayed)),
        (_DRAIN, _fill_main, drain(CONCURRENCY), _no_more(delivered)),
        ("audit", lambda field, count: put_and_log(field, count, _GROUPS), audit, audited),
    ]
    cells: dict[str, list[Cell]] = {name: [] for name, *_ in steps}
    with lean_sqs() as endpoint, bench.stack() as others, receiver() as url:
        for count in bench.size.lean:
            for name, prepare, run, check in steps:
                if name == _DRAIN and count > bench.size.drained:
                    continue
                field = Field.create(bench.folder, endpoint, None, api=url, others=others)
                prepare(field, count)
                taken = run(field)
                check(field, taken, count)
                field.delete()
                cells[name].append(cell(name, "lean double", count, _GROUPS, [taken]))
    note = (
        "one run each; the lean double is a SQS whose calls cost the same however long its queues are;"
        f" drain with --concurrency {CONCURRENCY}"
    )
    rows = [one.row() for each in cells.values() for one in each]
    budgets = [_flat(name, each) for name, each in cells.items() if name != _DRAIN]
    budgets += [_cheap(name, one) for name in _MOVES for one in cells[name] if one.messages >= _MOVED_MIN]
    return [Section("Up to 100,000 messages", note, HEAD, rows, budgets)]


def _fill(role: QueueRole) -> Callable[[Field, int], None]:
    """Make what fills a queue."""
    return lambda field, count: field.fill(role, count, _GROUPS)


def _fill_main(field: Field, count: int) -> None:
    """Fill main, and make the log that a drain writes to."""
    _fill("main")(field, count)
    field.client("logs").create_log_group(logGroupName=field.project.names.log_group("worker"))


def _no_more(check: Callable[[Field, int], None]) -> Check:
    """Make of a check of the queues one that is given what the command said, too."""
    return lambda field, taken, count: check(field, count)


def _in_order(field: Field, taken: Taken, count: int) -> None:
    found = field.audit("main")
    assert (found["Different"], found["Disordered"]) == (count, []), found


def _cheap(name: str, one: Cell) -> Budget:
    """Make a budget of what a message costs the client."""
    what = f"{name}, {one.messages:,} messages over {_GROUPS} groups: ms of CPU a message"
    return Budget(what, f"≤ {_CPU_MS_MAX:g}", f"{one.cpu_ms:.2f}", one.cpu_ms <= _CPU_MS_MAX)


def _flat(name: str, cells: list[Cell]) -> Budget:
    first, last = cells[0], cells[-1]
    found = f"{first.peak_mib:.0f} MiB at {first.messages:,}, {last.peak_mib:.0f} MiB at {last.messages:,}"
    highest = max(one.peak_mib for one in cells)
    met = highest <= _MIB_MAX and highest <= _FLAT_WITHIN * first.peak_mib
    return Budget(f"{name}: peak memory", f"flat, ≤ {_MIB_MAX} MiB", found, met)
