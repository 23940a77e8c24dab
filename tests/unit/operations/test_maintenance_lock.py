"""One maintenance operation at a time: the marker in the main queue's tags."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fifo_cli.aws.consistency import AT_ONCE
from fifo_cli.errors import AwsError, BusyError, ExitCode
from fifo_cli.events import Event, Warned
from fifo_cli.model.unfinished_operations import LOCK_LIFETIME
from fifo_cli.operations.maintenance_lock import (
    MAINTENANCE_TAG,
    RESTORE_TAG,
    Lease,
    MaintenanceLock,
    maintenance,
    refuse_beside,
    refuse_while_unfinished,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OTHERS = Lease("load", "eve@ops-1", NOW, NOW + LOCK_LIFETIME, "0123abcd", 4711, "ff00")


class Seen:
    def __init__(self, tags: dict[str, str], at: datetime) -> None:
        self.tags = tags
        self.at = at


class NamedQueue:
    name = "orders.fifo"


class Tags:
    """The tags of a queue in memory; ``now`` is the service's clock."""

    queue = NamedQueue()
    settles = AT_ONCE.tag

    def __init__(self, **tags: str) -> None:
        self.tags = tags
        self.now = NOW
        self.down = False

    def read(self) -> Seen:
        if self.down:
            raise AwsError("orders.fifo cannot be reached")
        return Seen(dict(self.tags), self.now)

    def write(self, tag: str, value: str) -> None:
        self.tags[tag] = value

    def remove(self, tag: str) -> None:
        del self.tags[tag]


class Bench:
    """Tags, what was heard, and somebody else who may act while we wait for the marker to settle."""

    def __init__(self) -> None:
        self.tags = Tags()
        self.heard: list[Event] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.meanwhile()

    def lock(self, what: str = "redrive", *, force: bool = False) -> MaintenanceLock:
        tags: Any = self.tags
        return MaintenanceLock(tags, what, force=force, listener=self.heard.append, sleep=self.sleep)

    def take(
        self, what: str = "redrive", *, force: bool = False, finishes_restore: bool = False
    ) -> MaintenanceLock:
        lock = self.lock(what, force=force)
        lock.acquire(finishes_restore=finishes_restore)
        lock.confirm()
        return lock

    @property
    def claim(self) -> Lease | None:
        return Lease.parse(self.tags.tags.get(MAINTENANCE_TAG, ""))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_lock_says_who_what_since_when_and_until_when_and_goes_at_the_end(bench: Bench) -> None:
    lock = bench.take("redrive --in-order")
    assert bench.claim is not None
    assert (bench.claim.what, bench.claim.pid) == ("redrive---in-order", os.getpid())
    assert (bench.claim.since, bench.claim.until) == (NOW, NOW + LOCK_LIFETIME)
    assert bench.slept == [AT_ONCE.tag]
    lock.release()
    assert bench.tags.tags == {}


def test_a_lock_s_text_is_legal_in_a_tag_and_reads_back() -> None:
    text = OTHERS.text()
    assert Lease.parse(text) == OTHERS
    assert len(text) <= 256
    assert all(letter.isalnum() or letter in " _.:/=+@-" for letter in text)


def test_a_second_operation_is_refused_with_75_and_reported_who_holds_the_pipeline(bench: Bench) -> None:
    bench.tags.tags[MAINTENANCE_TAG] = OTHERS.text()
    with pytest.raises(BusyError) as refused:
        bench.take()
    assert refused.value.exit_code is ExitCode.BUSY
    assert refused.value.message == (
        "another maintenance operation holds orders.fifo: load by eve@ops-1 since 2026-01-02T03:04:05.000Z"
    )
    assert bench.claim == OTHERS


def test_with_force_it_goes_on_and_says_so(bench: Bench) -> None:
    bench.tags.tags[MAINTENANCE_TAG] = OTHERS.text()
    bench.take(force=True)
    assert bench.claim is not None
    assert bench.claim.pid == os.getpid()
    (warning,) = bench.heard
    assert isinstance(warning, Warned)
    assert warning.text.endswith("; going on because of --force")


def test_a_lock_that_was_not_renewed_for_a_minute_of_the_service_s_time_holds_nobody(
    bench: Bench,
) -> None:
    bench.tags.tags[MAINTENANCE_TAG] = OTHERS.text()
    bench.tags.now = OTHERS.until
    with pytest.raises(BusyError):
        bench.take()
    bench.tags.now = OTHERS.until + timedelta(seconds=1)
    bench.take()


def test_a_lock_of_a_process_of_this_machine_that_died_holds_nobody(bench: Bench) -> None:
    bench.take()
    mine = bench.claim
    assert mine is not None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    bench.tags.tags[MAINTENANCE_TAG] = mine.text()
    with pytest.raises(BusyError):
        bench.take()
    bench.tags.tags[MAINTENANCE_TAG] = replace(mine, pid=ended.pid).text()
    bench.take()
    # On another machine the same number says nothing.
    bench.tags.tags[MAINTENANCE_TAG] = replace(mine, pid=ended.pid, machine="0123abcd").text()
    with pytest.raises(BusyError):
        bench.take()


def test_of_two_that_take_it_at_once_only_the_last_to_write_goes_on(bench: Bench) -> None:
    other = bench.lock("load")
    bench.meanwhile = lambda: other._write(NOW, since=NOW)
    with pytest.raises(BusyError, match="load by"):
        bench.take()


def test_a_tag_that_is_not_ours_is_respected(bench: Bench) -> None:
    bench.tags.tags[MAINTENANCE_TAG] = "hands off, Bob"
    with pytest.raises(BusyError, match="hands off, Bob"):
        bench.take()


def test_a_refresh_pushes_the_expiry_on_but_not_another_s(bench: Bench) -> None:
    lock = bench.take()
    bench.tags.now = NOW + timedelta(seconds=20)
    lock.renew()
    assert bench.claim is not None
    assert (bench.claim.since, bench.claim.until) == (NOW, bench.tags.now + LOCK_LIFETIME)
    bench.tags.tags[MAINTENANCE_TAG] = OTHERS.text()
    lock.renew()
    lock.renew()
    assert bench.claim == OTHERS
    assert bench.heard == [Warned("the maintenance marker of orders.fifo is another's now")]
    lock.release()
    assert bench.claim == OTHERS


def test_a_service_that_is_down_neither_stops_the_work_nor_its_end(bench: Bench) -> None:
    lock = bench.take()
    bench.tags.down = True
    lock.renew()
    lock.release()
    assert [type(event) for event in bench.heard] == [Warned, Warned]


def test_an_restore_warning_stops_every_other_operation_but_the_one_that_finishes_it(bench: Bench) -> None:
    bench.tags.tags[RESTORE_TAG] = "merge since 2026-01-02T03:00:00.000Z"
    with pytest.raises(BusyError, match="in-order redrive is unfinished") as refused:
        bench.take()
    assert "redrive --in-order" in refused.value.hint
    with pytest.raises(BusyError):
        refuse_while_unfinished(bench.tags)  # type: ignore[arg-type]
    assert MAINTENANCE_TAG not in bench.tags.tags
    bench.take(finishes_restore=True)
    assert bench.claim is not None


def test_where_nothing_is_unfinished_nothing_is_refused_because_of_it(bench: Bench) -> None:
    bench.tags.tags[MAINTENANCE_TAG] = OTHERS.text()
    refuse_while_unfinished(bench.tags)  # type: ignore[arg-type]


def test_a_block_that_raises_releases_the_lock(bench: Bench) -> None:
    def fail() -> None:
        with maintenance(bench.tags, "redrive", sleep=bench.sleep):  # type: ignore[arg-type]
            assert bench.claim is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert bench.tags.tags == {}


def test_what_has_no_option_to_go_on_does_not_offer_it(bench: Bench) -> None:
    bench.tags.tags[MAINTENANCE_TAG] = OTHERS.text()
    for force, offered in ((False, True), (None, False)):
        tags: Any = bench.tags
        with pytest.raises(BusyError) as refused:
            MaintenanceLock(tags, "deploy", force=force).acquire()
        assert ("--force" in str(refused.value.hint)) is offered


@pytest.mark.parametrize(
    ("what", "seconds", "refused"), [("deploy", 0, True), ("load", 0, False), ("deploy", 61, False)]
)
def test_only_beside_the_named_command_it_is_refused_and_while_its_lease_lasts(
    bench: Bench, what: str, seconds: int, refused: bool
) -> None:
    tags: Any = bench.tags
    refuse_beside(tags, "deploy")
    tags.tags[MAINTENANCE_TAG] = replace(OTHERS, what=what).text()
    tags.now = NOW + timedelta(seconds=seconds)
    with pytest.raises(BusyError) if refused else nullcontext():
        refuse_beside(tags, "deploy")
