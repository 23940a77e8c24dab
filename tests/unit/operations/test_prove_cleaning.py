import os
import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta

import pytest

from fifo_cli.aws import account_resources
from fifo_cli.model.names import Place
from fifo_cli.model.resources import wanted_resources
from fifo_cli.model.settings import load
from fifo_cli.operations.prove.check_context import IDLE_SECONDS, Waits
from fifo_cli.operations.prove.cost import dollars
from fifo_cli.operations.prove.pipeline import CheckFailed, Commands, Done, Layout, layouts
from fifo_cli.operations.prove.run_folder import OWNER_FILE, remove_left_folders, run_folder
from fifo_cli.operations.prove.run_resources import (
    OWNER_TAG,
    RUN_TAKES,
    may_run,
    new_name,
    owner_tags,
    run_of,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def owner(now: datetime = NOW) -> str:
    return owner_tags(now, idle_seconds=0)[OWNER_TAG]


def test_a_run_whose_process_lives_may_be_at_work_until_its_time_is_over():
    assert may_run(owner(), NOW)
    assert not may_run(owner(), NOW + RUN_TAKES + timedelta(seconds=1))


def test_a_run_of_this_host_whose_process_is_gone_is_not_at_work():
    gone = owner().replace(f"/{os.getpid()}/", "/4194304/")  # above the highest pid there is
    assert not may_run(gone, NOW)


def test_a_run_of_another_host_may_be_at_work():
    elsewhere = "elsewhere/4194304/" + owner().rpartition("/")[2]
    assert may_run(elsewhere, NOW)
    assert not may_run(elsewhere, NOW + timedelta(days=1))


@pytest.mark.parametrize("text", ["", "x", "a/b", "a/b/c", "h/x/2026-01-02T03:00:00Z"])
def test_a_tag_that_is_none_of_ours_is_no_run(text):
    assert not may_run(text, NOW) or text.startswith("h/")


def test_names_are_random_and_tags_are_ones_that_aws_takes():
    assert re.fullmatch("fifo-prove-[0-9a-f]{8}", new_name())
    assert new_name() != new_name()
    assert re.fullmatch(r"[A-Za-z0-9 _.:/=+@-]{1,256}", owner())


@pytest.mark.parametrize("more", [{}, {"by_queue": True}, {"where": "batch == 'seen'"}])
def test_the_fifo_toml_of_a_run_is_valid_and_holds_no_secret(tmp_path, more):
    path = tmp_path / "fifo.toml"
    path.write_text(Layout(new_name(), "https://example.com", {"prove-run": owner()}, **more).toml())
    settings = load(path).settings
    assert settings.worker.by_queue == more.get("by_queue", False)
    assert settings.message.where == more.get("where")
    assert set(settings.parameters) == {"secret", "api_key"}


def test_the_bound_of_the_cost_is_small_and_grows_with_idle_hours():
    assert 0 < dollars(Waits()) < 1
    assert dollars(Waits()) <= dollars(Waits(idle=IDLE_SECONDS)) < 2


def test_what_a_command_came_to_is_in_the_error():
    done = Done("`fifo-cli deploy`", 3, "", "waiting\nerror: AWS refused\ntry again\n")
    assert done.expect(0, 3) is done
    with pytest.raises(CheckFailed, match=r"`fifo-cli deploy` exited 3: error: AWS refused"):
        done.expect(0)
    with pytest.raises(CheckFailed, match="printed no JSON"):
        done.json()


# In place of the program: its first word is what it does.
_COMMANDS = """#!/bin/sh
case $3 in
  echo) cat ;;
  wait) echo $$ > pid; exec sleep 60 ;;
  fail) until test -s pid; do sleep 0.05; done; exit 3 ;;
esac
"""


def test_a_command_that_fails_ends_those_that_run_beside_it(tmp_path, monkeypatch):
    program = tmp_path / "program"
    program.write_text(_COMMANDS)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    commands = Commands(tmp_path, [])
    done = commands.run_side_by_side(("echo",), ("echo",), stdin=("one", "two"))
    assert [one.out for one in done] == ["one", "two"]
    with pytest.raises(CheckFailed, match="`fifo-cli fail` exited 3"):
        commands.run_side_by_side(("fail",), ("wait",))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


RUN = "fifo-prove-0badcafe"


def test_every_name_that_a_run_gives_is_known_as_the_runs():
    place = Place("123456789012", "us-east-1")
    found = set()
    for settings in layouts():
        for one in wanted_resources(
            settings, place, {"enqueuer": "", "worker": ""}, reserve_concurrency=False
        ):
            if one.kind in account_resources.LISTERS:
                name = f"{one.name} 0a-1b" if one.kind == "event-source-mapping" else one.name
                assert run_of(one.kind, name) == settings.pipeline.name, one.kind
                found.add(one.kind)
    assert found >= {"event-source-mapping", "rule", "function", "role", "queue", "table", "log-group"}
    for kind in ("function", "role"):
        assert run_of(kind, f"{RUN}-receiver") == RUN
    assert run_of("log-group", f"/aws/lambda/{RUN}-receiver") == RUN
    assert run_of("log-group", f"/fifo-cli/{RUN}") == RUN
    assert run_of("parameter", f"/{RUN}/api-key") == RUN
    assert run_of("policy", f"{RUN}-operator-1") == RUN


@pytest.mark.parametrize("kind", account_resources.LISTERS)
@pytest.mark.parametrize(
    "name",
    [
        *(
            f"{RUN}{end}"
            for end in ("0", "0.fifo", "-x.fifo", "-prod", "-mine", "-role", "-worker-x", "0-worker")
        ),
        *(f"{RUN}{end}" for end in (".fifo\n", "-1\n", "-", "-100", "-operator", "0-operator-0", "/secret")),
        *("fifo-prove-0BADCAFE", "fifo-prove-orders", "fifo-prove-0badcaf", f"x{RUN}", f"/{RUN}/key"),
        *(f"/{RUN}0/secret", f"/x/{RUN}/secret", f"/aws/lambda/{RUN}0-worker", f"/aws/lambda/{RUN}"),
        *(f"/fifo-cli/{RUN}-x", f"/aws/lambda/{RUN}-worker-x", f"{RUN}-worker 0g"),
    ],
)
def test_no_other_name_is_a_runs(kind, name):
    assert run_of(kind, name) is None


def test_the_folder_of_a_run_that_was_killed_is_removed_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = owner(datetime.now(UTC)).replace(f"/{os.getpid()}/", "/4194304/")
    for name, text in (
        ("fifo-prove-killed", gone),
        ("fifo-prove-at-work", owner(datetime.now(UTC))),
        ("fifo-prove-being-made", ""),
        ("fifo-prove-orders", None),
        ("elsewhere", gone),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "calls").write_text("sqs SendMessage")
        if text is not None:
            (tmp_path / name / OWNER_FILE).write_text(text)
    (tmp_path / "fifo-prove-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "fifo-prove-killed" / ".fifo").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "fifo-prove-file").write_text("")
    (tmp_path / "fifo-prove-empty").mkdir()
    before = {one.name for one in tmp_path.iterdir()}
    remove_left_folders()
    assert before - {one.name for one in tmp_path.iterdir()} == {"fifo-prove-killed"}
    assert (tmp_path / "elsewhere" / "calls").exists()
    with run_folder() as folder:
        assert folder.is_relative_to(tmp_path)
        remove_left_folders()
        assert folder.exists()
    assert not folder.exists()
