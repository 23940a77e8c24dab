"""Stores on disk: a full disk is one error, whichever store it meets; nothing is written by half."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.errors import UsageError
from fifo_cli.operations.queues.browse import WholeQueue
from fifo_cli.operations.queues.order_store import OrderStore
from fifo_cli.operations.stream.audit_store import AuditStore, Delivery
from fifo_cli.operations.stream.replay_store import ReplayStore
from fifo_cli.operations.work_db import DigestSet, FileError, WorkDb

TABLE = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, text TEXT)"
LONG = "x" * 2000


def fill(db: WorkDb) -> None:
    """Leave no room for more."""
    with db.transaction() as connection:
        connection.execute("CREATE TABLE fill (t TEXT)")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")


def add_many(store: Any, add: Callable[[Any, int], None]) -> None:
    for number in range(100):
        add(store, number)


@pytest.mark.parametrize(
    ("make", "add"),
    [
        (OrderStore, lambda store, n: store.add_handles([(str(n), LONG)])),
        (AuditStore, lambda store, n: store.add_deliveries([Delivery(LONG + str(n), n, "m", 1)])),
        (ReplayStore, lambda store, n: store.note(**{f"n{n}": LONG})),
        (DigestSet, lambda store, n: store.add(f"{n:02x}" * 2000)),
    ],
    ids=["order", "audit", "replay", "digests"],
)
def test_a_full_disk_is_one_error_that_says_what_to_do(
    make: Callable[[], Any], add: Callable[[Any, int], None]
) -> None:
    with closing(make()) as store:
        fill(store._db)
        with pytest.raises(FileError, match="disk is full") as caught:
            add_many(store, add)
        assert "make room" in caught.value.hint


def test_what_is_little_needs_no_room_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all disks full, Python knows no folder for temporary files."""

    def full() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", full)
    with closing(DigestSet()) as digests:
        assert [digests.add("00c8"), digests.add("00c8")] == [1, 2]


def test_rows_are_written_all_or_none() -> None:
    def rows() -> Any:
        yield (1, "a")
        raise ValueError("the source broke off")

    with closing(WorkDb(TABLE, "rows")) as db:
        with pytest.raises(ValueError, match="broke off"):
            db.write("INSERT INTO t VALUES (?, ?)", rows())
        assert db.one("SELECT count(*) FROM t") == 0
        with pytest.raises(FileError, match="UNIQUE"):
            db.write("INSERT INTO t VALUES (?, ?)", [(1, "a"), (1, "b")])
        assert db.one("SELECT count(*) FROM t") == 0


def test_rows_are_read_some_at_a_time_while_others_write() -> None:
    with closing(WorkDb(TABLE, "rows")) as db:
        db.write("INSERT INTO t VALUES (?, 'old')", ((n,) for n in range(1, 1201)))
        read = []
        for number, _ in db.rows("SELECT n, text FROM t ORDER BY n"):
            read.append(number)
            db.write("UPDATE t SET text = 'new' WHERE n = ?", [(number,)])
        assert read == list(range(1, 1201))
        assert db.one("SELECT count(*) FROM t WHERE text = 'new'") == 1200
        assert db.one("SELECT n FROM t WHERE n = 0") is None


def test_threads_share_a_database() -> None:
    with closing(DigestSet()) as digests:
        threads = [
            threading.Thread(target=lambda: [digests.add(f"{n:04x}") for n in range(200)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert digests.add("0000") == 5
        assert "00c7" in digests
        assert "00c8" not in digests


def test_what_is_kept_is_the_users_alone_and_there_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    for _ in range(2):
        with closing(WorkDb(TABLE, "rows", path=path)) as db:
            db.write("INSERT OR IGNORE INTO t VALUES (?, ?)", [(1, "a")])
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as again:
        assert again.execute("SELECT * FROM t").fetchall() == [(1, "a")]
    path.chmod(0o666)
    with pytest.raises(UsageError, match="others can write to it"):
        WorkDb(TABLE, "rows", path=path)


def test_a_look_through_a_queue_says_when_the_disk_is_full_and_releases_what_it_knows() -> None:
    released: list[str] = []

    class Source:
        def receive(self, **_: Any) -> list[Any]:
            raise AssertionError("nothing is received")

        def change_visibility(self, handles: list[str], *, seconds: int) -> None:
            assert seconds == 0
            released.extend(handles)

    with WholeQueue(Source(), 1) as look:  # type: ignore[arg-type]
        look._db.write(
            "INSERT INTO handles (message_id, handle) VALUES (?, ?)", [(f"m{n}", f"h{n}") for n in range(25)]
        )
        fill(look._db)
        with pytest.raises(FileError, match="disk is full"):
            look._db.write("INSERT INTO handles (message_id, handle) VALUES (?, ?)", [("m", LONG * 10)])
    assert released == [f"h{n}" for n in range(24, -1, -1)]
