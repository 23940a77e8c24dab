import os
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from fifo_cli.model.settings import load
from fifo_cli.operations.prove.cleaning import OWNER_TAG, RUN_TAKES, may_run, new_name, owner_tags
from fifo_cli.operations.prove.cost import dollars
from fifo_cli.operations.prove.pipeline import CheckFailed, Commands, Done, Layout
from fifo_cli.operations.prove.stage import IDLE_SECONDS, Waits

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
