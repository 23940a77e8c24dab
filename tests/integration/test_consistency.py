"""Waits for what AWS shows late: they cost nothing on this machine, and an interrupt ends them at once.

To the program 0.0.0.0 is somebody else's address, so it waits there as it does for AWS.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from fifo_cli.aws.consistency import AT_ONCE, LATE
from fifo_cli.aws.session import Aws
from fifo_cli.model.names import DELETED_TAG
from fifo_cli.model.settings import load
from fifo_cli.model.times import iso
from fifo_cli.operations.deploy.deploy import deploy
from fifo_cli.operations.deploy.destroy import destroy
from fifo_cli.operations.deploy.pause import pause
from tests.cli_harness import Background, Project, Ran
from tests.integration.proxy import Proxy

DIRECT = {"NO_PROXY": "0.0.0.0", "no_proxy": "0.0.0.0"}
WITHIN = 20.0  # seconds: far less than it would wait, and enough on a busy machine


@pytest.fixture
def deployed(project: Callable[..., Project]) -> Project:
    made = project()
    made.local("deploy", "--yes").ok()
    return made


@pytest.fixture
def elsewhere(proxy: Proxy) -> str:
    return proxy.endpoint.replace("127.0.0.1", "0.0.0.0")


def interrupted(run: Background, said: str) -> tuple[Ran, str]:
    """Interrupt a run once it has said something; return what it left, and all of its stderr."""
    assert run.process.stderr is not None
    before = ""
    for line in run.process.stderr:
        before += line
        if said in line:
            break
    began = time.monotonic()
    run.interrupt()
    ran = run.wait()
    assert time.monotonic() - began < WITHIN, ran.err
    return ran, before + ran.err


def test_on_this_machine_nothing_is_waited_for_that_aws_shows_late(deployed, clients: Aws):
    loaded, slept = load(deployed.config), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        time.sleep(seconds)

    assert clients.delays == AT_ONCE
    assert pause(clients, loaded.settings, wait=True, sleep=sleep).idle
    config = deployed.config.read_text()
    deployed.config.write_text(f'{config}\n[tags]\nteam = "payments"\n')
    deploy(clients, load(deployed.config), sleep=sleep)
    destroy(clients, loaded.settings, sleep=sleep)
    assert deploy(clients, loaded, sleep=sleep).plan.summary["create"] > 0
    assert sum(slept) < min(LATE.deleted_queue, LATE.queue_attributes, LATE.queue_counts) / 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["pause", "--wait"], "interrupted: what was paused stays so"),
        (["pause", "worker", "--wait"], "interrupted: what was paused stays so"),
        (["redrive", "--in-order", "--yes"], "is unfinished"),
    ],
)
def test_an_interrupt_ends_the_wait_for_the_last_run(deployed, elsewhere, line, says):
    ran, err = interrupted(deployed.start(*line, endpoint=elsewhere, env=DIRECT), "waiting for")
    assert ran.code == 130, err
    assert says in err
    assert deployed.local("status", "-o", "json").json()["schedule"]["enabled"] is False


def test_an_interrupt_ends_the_wait_for_attributes_and_all_changes_are_made(deployed, elsewhere):
    deployed.config.write_text(deployed.config.read_text().replace('"4d"', '"5d"'))
    run = deployed.start("deploy", "--yes", endpoint=elsewhere, env=DIRECT)
    ran, err = interrupted(run, "known to all of SQS, 60 s")
    assert ran.code == 130, err
    assert "changes were made" in err
    assert deployed.local("plan", "--check").code == 0


def test_an_interrupt_ends_the_wait_for_a_deleted_queue_and_nothing_is_left_to_mend(
    deployed, elsewhere, clients: Aws
):
    sqs = clients.client("sqs")
    url = sqs.get_queue_url(QueueName=deployed.names.hold)["QueueUrl"]
    sqs.tag_queue(QueueUrl=url, Tags={DELETED_TAG: iso(datetime.now(UTC))})
    run = deployed.start("deploy", "--yes", endpoint=elsewhere, env=DIRECT)
    ran, err = interrupted(run, "SQS may still answer for it")
    assert ran.code == 130, err
    assert "0 of 1 changes were made" in err
    deployed.local("deploy", "--yes").ok()
    assert DELETED_TAG not in sqs.list_queue_tags(QueueUrl=url)["Tags"]
