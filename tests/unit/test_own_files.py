"""A file that others could change, or make lead elsewhere, is refused, and nothing is done to it."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from fifo_cli.cli.commands.check import write_whole
from fifo_cli.errors import FifoError, UsageError
from fifo_cli.local.process import Files
from fifo_cli.operations.deploy.init import init
from fifo_cli.operations.queues.load_progress import check_checkpoint, open_checkpoint, peek_checkpoint
from fifo_cli.operations.transfer.message_files import check_dump, check_new_file, new_file, open_dump
from fifo_cli.own_files import NotOwnError, check_folder, check_own_folder, open_own

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


def _symlink(path: Path) -> None:
    path.with_name("elsewhere").touch(mode=0o600)
    path.symlink_to(path.with_name("elsewhere"))


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("not-there"))


def _others_may_write(path: Path) -> None:
    path.touch()
    path.chmod(0o646)


def _group_may_write(path: Path) -> None:
    path.touch()
    path.chmod(0o664)


def _anothers(path: Path) -> None:
    path.touch()
    os.chown(path, 12345, -1)


def _second_name(path: Path) -> None:
    path.touch()
    os.link(path, path.with_name("second"))


TRAPS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a symbolic link": (_symlink, "symbolic link"),
    "a link that leads nowhere": (_dangling, "symbolic link"),
    "writable by others": (_others_may_write, "others can write"),
    "writable by the group": (_group_may_write, "others can write"),
    "another's": (_anothers, "another user's"),
    "a hard link": (_second_name, "second name"),
}


def _dump(path: Path) -> None:
    with open_dump(path):
        pass


def _load_note(path: Path) -> None:
    with peek_checkpoint(path.with_name(path.name.removesuffix(".loaded"))):
        pass


USES: dict[str, Callable[[Path], None]] = {
    "dump --move, purge --backup": _dump,
    "load's note": _load_note,
    "dump --move --dry-run, purge --backup --dry-run": check_dump,
    "load --dry-run": lambda path: check_checkpoint(path.with_name(path.name.removesuffix(".loaded"))),
    "check --textfile": lambda path: write_whole(path, "text\n"),
    "open_own": lambda path: os.close(open_own(path, os.O_RDWR)),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_refused_with_the_reason_and_left_as_it_was(tmp_path: Path, use: str, trap: str) -> None:
    if trap == "another's" and os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    path = tmp_path / "file.jsonl.loaded"
    set_up, reason = TRAPS[trap]
    set_up(path)
    before = sorted((one.name, one.lstat().st_mode, one.lstat().st_size) for one in tmp_path.iterdir())

    with pytest.raises(NotOwnError, match=reason) as caught:
        USES[use](path)

    assert caught.value.hint
    assert caught.value.exit_code == 2
    assert "nothing was touched" in caught.value.message
    assert (
        sorted((one.name, one.lstat().st_mode, one.lstat().st_size) for one in tmp_path.iterdir()) == before
    )


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o400 | 0o200])
def test_a_file_of_ones_own_is_continued(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "dump.jsonl"
    path.touch()
    path.chmod(mode)
    _dump(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_is_the_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        _dump(tmp_path / "dump.jsonl")
        with new_file(tmp_path / "copy.jsonl") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "use",
    [
        lambda folder: _dump(folder / "d.jsonl"),
        lambda folder: write_whole(folder / "a.prom", ""),
        lambda folder: init(folder, name="orders"),
        lambda folder: new_file(folder / "c.jsonl").__enter__(),
    ],
    ids=["dump", "textfile", "init", "dump without --move"],
)
def test_a_folder_where_everybody_may_replace_files_is_refused(
    tmp_path: Path, use: Callable[[Path], None]
) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(UsageError, match="every user can replace"):
        use(tmp_path)
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o1777)  # as /tmp is
    use(tmp_path)


@AS_ROOT
@pytest.mark.parametrize("kind", ["another's", "writable by others", "a link to another's"])
def test_the_folder_of_the_stack_is_the_users_own(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / ".fifo"
    real = tmp_path / "real" if kind == "a link to another's" else folder
    real.mkdir()
    if kind == "writable by others":
        real.chmod(0o777)
    else:
        os.chown(real, 12345, -1)
    if real != folder:
        folder.symlink_to(real)

    with pytest.raises(NotOwnError):
        check_own_folder(folder)
    with pytest.raises(NotOwnError):
        Files(tmp_path).prepare()

    assert list(real.iterdir()) == []


class Group:
    """A group of this system, as grp has it."""

    def __init__(self, *members: str) -> None:
        self.gr_name = "team"
        self.gr_mem = list(members)


@pytest.mark.parametrize(
    ("mode", "members", "why"),
    [
        (0o700, ["eve"], ""),
        (0o755, ["eve"], ""),
        (0o775, [], ""),
        (0o775, ["eve"], "the group team can replace"),
        (0o2775, ["eve"], "the group team can replace"),
        (0o1775, ["eve"], ""),
        (0o757, [], "every user can replace"),
        (0o1777, [], ""),
    ],
)
@pytest.mark.parametrize("above", [0, 1, 2], ids=["the folder", "the one above", "two above"])
def test_a_folder_that_others_can_change_is_refused_wherever_it_is_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, members: list[str], why: str, above: int
) -> None:
    monkeypatch.setattr(grp, "getgrgid", lambda gid: Group(*members))
    monkeypatch.setattr(pwd, "getpwall", lambda: [])
    shared = tmp_path / "shared"
    folder = shared.joinpath(*["deep"] * above)
    folder.mkdir(parents=True)
    shared.chmod(mode)
    if not why:
        check_folder(folder)
        return
    with pytest.raises(NotOwnError, match=rf"shared is not used: {why}"):
        check_folder(folder)


def test_a_link_is_as_safe_as_the_folder_that_holds_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "open").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "open" / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "open").chmod(0o777)
    check_folder(tmp_path / "link")
    with pytest.raises(NotOwnError, match="open is not used: every user can replace"):
        check_folder(tmp_path / "open" / "link")


@AS_ROOT
def test_another_users_folder_is_refused_unless_we_are_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, -1)
    check_folder(tmp_path / "theirs")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(NotOwnError, match="theirs is not used: it is another user's folder"):
        check_folder(tmp_path / "theirs")


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR], ids=["read", "write", "both"])
def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path, flags: int) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(NotOwnError, match="it is not a regular file"):
        open_own(tmp_path / "pipe", flags)


def _fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.touch(0o600)
        path.write_text(text)

    return write


def _in_use(path: Path) -> None:
    path.touch(0o600)
    held = path.open("rb")
    fcntl.flock(held, fcntl.LOCK_EX)
    HELD.append(held)


def _open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


HELD: list[BinaryIO] = []
# What may be in the place of the file; the same refusals, or none, of the dry run and of the real one.
PLACES: dict[str, Callable[[Path], None]] = {
    **{name: set_up for name, (set_up, _) in TRAPS.items()},
    "nothing": lambda path: None,
    "an empty file": _text(""),
    "a whole line": _text('{"group": "g", "body": "b"}\n'),
    "a line without an end": _text('{"group": "g", "body": "b"}'),
    "a torn line": _text('{"group": "g", "body": "b"}\n{"gro'),
    "a text": _text("a letter\n"),
    "a note of load": _text("fifo-cli load 1 0123456789abcdef\nended\n"),
    "a folder": lambda path: path.mkdir(),
    "a FIFO": _fifo,
    "a file in use": _in_use,
    "an open folder around it": _open_folder,
    "no folder around it": lambda path: path.parent.rmdir(),
}


def _outcome(use: Callable[[Path], object], path: Path) -> str:
    try:
        opened = use(path)
        if isinstance(opened, AbstractContextManager):
            with opened:
                pass
    except FifoError as error:
        return f"{type(error).__name__}: {error.message}"
    return ""


def _found(folder: Path) -> list[tuple[str, int, int, int]]:
    return sorted(
        (str(one), one.lstat().st_mode, one.lstat().st_size, one.lstat().st_mtime_ns)
        for one in folder.rglob("*")
    )


@pytest.fixture
def released() -> Iterator[None]:
    yield
    while HELD:
        HELD.pop().close()


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("dry", "real"),
    [
        pytest.param(check_dump, open_dump, id="dump --move, purge --backup"),
        pytest.param(check_new_file, new_file, id="dump"),
        pytest.param(check_checkpoint, open_checkpoint, id="load"),
    ],
)
def test_a_dry_run_refuses_what_the_real_run_would_and_touches_nothing(
    tmp_path: Path, dry: Callable[[Path], object], real: Callable[[Path], object], place: str
) -> None:
    if place == "another's" and os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    path = tmp_path / "here" / "file.jsonl.loaded"
    path.parent.mkdir()
    PLACES[place](path)
    named = path.with_name("file.jsonl") if dry is check_checkpoint else path
    before = _found(tmp_path)

    refused = _outcome(dry, named)

    assert _found(tmp_path) == before
    if dry is check_checkpoint and not refused:
        # What the note says is read beforehand, by the dry run as well.
        refused = _outcome(peek_checkpoint, named)
        assert _found(tmp_path) == before
    assert refused == _outcome(real, named)
