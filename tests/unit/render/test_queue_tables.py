"""What a drain left, as text."""

from __future__ import annotations

import pytest

from fifo_cli.handlers.run_report import Outcome
from fifo_cli.model.queue_counts import Counted
from fifo_cli.operations.queues.drain import DrainResult
from fifo_cli.render.queue_tables import depth_table, drain_left, drain_table


def test_what_a_drain_was_not_given_is_said_with_why_and_what_to_do() -> None:
    why, next_step = drain_left(360, stayed=False, held=True).split("\n")
    assert why == (
        "360 messages left in the queue that SQS did not give out: another consumer holds them or an earlier"
        " message of their group. If it was killed, they are hidden until its visibility timeout ends"
    )
    assert next_step.startswith("next: run it again when the other consumer has ended, or in a minute; ")


def test_what_failed_may_be_before_them() -> None:
    assert drain_left(1, stayed=True, held=True).startswith(
        "1 message more left in the queue that SQS did not give out: behind one that stayed in its group, or"
        " another consumer holds"
    )


def test_where_nothing_is_in_flight_only_what_failed_is_before_them() -> None:
    why, next_step = drain_left(3, stayed=True, held=False).split("\n")
    assert (
        why
        == "3 messages more left in the queue that SQS did not give out: behind one that stayed in its group"
    )
    assert next_step.startswith("next: correct what fails, then run it again")


def test_the_age_of_the_oldest_is_written_as_people_read_it() -> None:
    queues: dict[str, Counted | str] = {
        "main": Counted("q.fifo", 1, 0, 0, 5025),
        "stream_failures": "q-failures",
    }
    lines = depth_table(queues.items(), width=None).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["main", "q.fifo", "1", "0", "0", "1h", "23m"],
        ["stream", "failures", "q-failures", *"----"],
    ]


def drained(*outcomes: tuple[str, str | None]) -> DrainResult:
    results = tuple(
        Outcome(f"id-{number}", "a", status, 200, 5, error)  # type: ignore[arg-type]
        for number, (status, error) in enumerate(outcomes)
    )
    return DrainResult(results, 0)


@pytest.mark.parametrize(
    ("outcomes", "listed"),
    [
        ([("delivered", None)] * 1839, []),
        ([("delivered", None)], []),
        ([("delivered", None), ("failed", "HTTP 503")], ["id-1"]),
        ([("parked", "HTTP 422"), ("delivered", None), ("skipped", "behind")], ["id-0", "id-2"]),
        ([("delivered", "not deleted"), ("delivered", None)], ["id-0"]),
        ([], []),
    ],
)
def test_a_drain_lists_what_was_not_delivered_and_with_v_everything(
    outcomes: list[tuple[str, str | None]], listed: list[str]
) -> None:
    result = drained(*outcomes)
    lines = drain_table(result, width=None, dry_run=False).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == listed
    every = drain_table(result, width=None, dry_run=False, every=True).splitlines()
    assert len(every) == (len(outcomes) + 2 if outcomes else 1)
    assert lines[-1] == every[-1]
    assert lines[-1].startswith(f"{result.count('delivered')} delivered, ")
    assert len(result.document()["results"]) == len(outcomes)


def test_the_sum_of_a_drain_speaks_of_no_run_as_the_queue_may_start_the_worker() -> None:
    lines = drain_table(drained(("skipped", "behind")), width=None, dry_run=False).splitlines()
    assert lines[-1] == "0 delivered, 0 parked, 0 failed, 1 given back; 0 messages in the queue"
