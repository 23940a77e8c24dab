"""Sixteen incidents, each lived through by typing only what the program or docs/runbook.md printed.

Each ends with status at OK and a clean audit, after four commands at most. ``scripts/make_runbook.py`` makes
the runbook's blocks of them.
"""

from __future__ import annotations

import json
import os
import signal
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fifo_cli.aws.sqs import Queue
from fifo_cli.local import process
from fifo_cli.local import stack as embedded
from fifo_cli.local.process import Files
from fifo_cli.local.receiver import Answer, Received, Reply
from fifo_cli.local.stack import endpoint_of
from fifo_cli.operations.maintenance_lock import RESTORE_TAG, maintenance
from tests.cli_harness import Stack, give_known_key, wait_until
from tests.integration.incident_desk import Shop, opened_shop

CODE = """
import time

import httpx

URL = {url!r}

def to_message(item):
    return None if item["status"] == "test" else item

def to_request(body, attributes, keys):
    return httpx.Request("POST", URL, json=body, headers={{"Authorization": "Bearer " + keys["api_key"]}})
"""


class Shops:
    """One shop for all incidents that can share it; a new one after an incident that did not end well."""

    def __init__(self, folder: Path, stack: Stack, code: bool, **tables: Any) -> None:
        self.folder, self.stack, self.code, self.tables = folder, stack, code, tables
        self._open = ExitStack()
        self._shop: Shop | None = None
        self._made = 0

    def take(self) -> Shop:
        if self._shop is None or not self._shop.well:
            self.close()
            self._made += 1
            name, code = ("shipping", CODE) if self.code else ("orders", "")
            if self.tables:
                name = "parcels"
            shop = opened_shop(self.folder / str(self._made), self.stack, name=name, code=code, **self.tables)
            self._shop = self._open.enter_context(shop)
        self._shop.well = False
        return self._shop

    def close(self) -> None:
        self._open.close()


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Shops]:
    made = Shops(tmp_path_factory.mktemp("shops"), stack, code=False)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shops_with_code(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Shops]:
    made = Shops(tmp_path_factory.mktemp("code"), stack, code=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shops_by_queue(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Shops]:
    worker = {"trigger": "queue", "retry": ["20s", "20s"], "breaker": 3}
    made = Shops(tmp_path_factory.mktemp("queue"), stack, code=False, worker=worker)
    yield made
    made.close()


@pytest.fixture
def shop(shops: Shops) -> Shop:
    return shops.take()


@pytest.fixture
def polled(shops_by_queue: Shops) -> Shop:
    return shops_by_queue.take()


@pytest.fixture
def code(shops_with_code: Shops) -> Shop:
    return shops_with_code.take()


def test_one_of_two_apis_is_down(shop: Shop) -> None:
    with shop.incident("one-api-down") as on_call:
        shop.order(6, "ada", "bob", "zoë")
        shop.mail.fail(503)
        shop.tick()

        on_call.type("fifo-cli status", exits=1, advises="wait, or have mail fixed: each run tries again")
        on_call.meanwhile("mail is back, and the worker runs", shop.mail.recover, shop.tick)
        on_call.type("fifo-cli status")


def test_all_apis_are_down(shop: Shop) -> None:
    with shop.incident("all-apis-down") as on_call:
        shop.order(6, "ada", "bob", "zoë")
        shop.payments.fail(503)
        shop.mail.fail(503)
        shop.tick()

        on_call.type("fifo-cli status", exits=1, advises="wait, or have payments fixed: each run tries again")
        on_call.meanwhile("the APIs are back", shop.payments.recover, shop.mail.recover)
        on_call.type("fifo-cli drain --count 1")
        on_call.type("fifo-cli status", exits=1, advises="fifo-cli drain --all")
        on_call.type("fifo-cli drain --all")
        on_call.type("fifo-cli status")


def status_of(shop: Shop) -> Any:
    return shop.project.local("status", "-o", "json").json()


def test_all_apis_are_down_where_the_queue_starts_the_worker(polled: Shop) -> None:
    with polled.incident("queue-api-down") as on_call:
        polled.payments.fail(503)
        polled.order(6, "ada", "bob", "zoë")
        wait_until(lambda: status_of(polled)["worker"]["breaker"] is not None)

        on_call.type(
            "fifo-cli status",
            exits=1,
            advises="wait, or have payments fixed: each group is tried again within",
            says="the breaker is open",
        )
        on_call.type(
            "fifo-cli drain --all",
            exits=1,
            says="6 messages left in the queue that SQS did not give out, hidden, as their groups are",
            advises="wait: the functions try again by themselves",
        )
        on_call.meanwhile(
            "payments is back; within the longest pause all is delivered",
            polled.payments.recover,
            lambda: wait_until(lambda: polled.total("main") == 0),
        )
        on_call.type("fifo-cli status")


def refuse(status: int, *ids: str, body: bytes = b'{"error": "no such product"}'):
    def answer(received: Received) -> Answer | None:
        return Reply(status, body) if json.loads(received.body)["id"] in ids else None

    return answer


def test_one_message_is_poison(shop: Shop) -> None:
    with shop.incident("poison") as on_call:
        ids = shop.order(6, "ada", "bob", "zoë")
        shop.payments.answer = refuse(422, ids[4])
        shop.tick()

        on_call.type("fifo-cli status", exits=1, advises="fifo-cli peek --queue dlq")
        on_call.type("fifo-cli peek --queue dlq", says="no such product")
        on_call.meanwhile("the API knows the product now", shop.healed)
        on_call.type("fifo-cli redrive")
        on_call.meanwhile("the worker's next run", shop.tick)
        on_call.type("fifo-cli status")


def test_500_for_ever_for_one_group(shop: Shop) -> None:
    with shop.incident("one-group-fails") as on_call:
        ids = shop.order(6, "ada", "bob", "zoë")
        shop.payments.answer = refuse(500, ids[1], body=b"NullPointerException")
        shop.tick()
        # In a run of its own, as no order between groups is given.
        shop.order(2, "ada", "zoë")
        shop.tick()

        on_call.type("fifo-cli status", exits=1, advises="fifo-cli park --group bob")
        on_call.type("fifo-cli park --group bob")
        on_call.meanwhile("the API is fixed", shop.healed)
        on_call.type("fifo-cli redrive --in-order")
        on_call.meanwhile("the worker's next run", shop.tick)
        on_call.type("fifo-cli status")


def test_the_key_was_rotated(shop: Shop) -> None:
    with shop.incident("rotated-key") as on_call:
        shop.order(6, "ada", "bob", "zoë")
        shop.payments.key = "new-sesame-2086"
        shop.tick()

        on_call.type("fifo-cli status", exits=1, advises="fifo-cli keys set api_key")
        on_call.type("fifo-cli keys set api_key", enter="new-sesame-2086")
        on_call.type("fifo-cli drain --count 1")
        on_call.meanwhile("the worker's next run", shop.tick)
        on_call.type("fifo-cli status")


def test_the_credentials_have_expired(shop: Shop, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        textwrap.dedent("""\
        [profile ops]
        region = us-east-1
        sso_session = company
        sso_account_id = 123456789012
        sso_role_name = operator
        [sso-session company]
        sso_region = us-east-1
        sso_start_url = https://example.awsapps.com/start
        """)
    )

    def aws(*words: str) -> None:
        assert words == ("sso", "login", "--profile", "ops")
        config.write_text(
            "[profile ops]\nregion = us-east-1\naws_access_key_id = test\naws_secret_access_key = test\n"
        )

    env = {"AWS_PROFILE": "ops", "AWS_CONFIG_FILE": str(config), "AWS_ENDPOINT_URL": shop.stack.endpoint}
    with shop.incident("credentials-expired", env=env, aws=aws) as on_call:
        shop.order(3, "ada")
        shop.tick()

        on_call.type("fifo-cli status", exits=3, advises="aws sso login --profile ops")
        on_call.type("aws sso login --profile ops")
        on_call.type("fifo-cli status")


def test_the_enqueuer_is_paused(shop: Shop) -> None:
    with shop.incident("enqueuer-paused") as on_call:
        shop.project.local("pause", "enqueuer", "--wait").ok()
        shop.order(3, "ada", sends=0)

        on_call.type("fifo-cli status", exits=1, advises="fifo-cli resume enqueuer")
        on_call.type("fifo-cli resume enqueuer")
        on_call.meanwhile(
            "the worker's next run", lambda: wait_until(lambda: shop.total("main") == 3), shop.tick
        )
        on_call.type("fifo-cli status")


def test_where_is_wrong(shop: Shop) -> None:
    with shop.incident("wrong-where") as on_call:
        shop.configure(message={"events": ["INSERT"], "group": "customer", "where": "status == 'Paid'"})
        shop.project.local("deploy", "--yes").ok()
        (item, *_) = shop.order(3, "ada", sends=0)
        wait_until(lambda: "skipped" in shop.project.local("logs", "enqueuer", "--since", "1m").out)

        on_call.type("fifo-cli status")
        on_call.type(
            f"fifo-cli trace {item}",
            says="filtered",
            advises="if it should be sent: correct [message] where in fifo.toml, then `fifo-cli deploy`",
        )
        on_call.meanwhile("where is corrected in fifo.toml", shop.configure)
        on_call.type("fifo-cli deploy")
        on_call.type("fifo-cli replay --missing")
        on_call.meanwhile("the worker's next run", shop.tick)
        on_call.type("fifo-cli status")


def test_a_syntax_error_in_the_code_here(code: Shop) -> None:
    with code.incident("syntax-error") as on_call:
        code.order(6, "ada", "bob", "zoë")
        code.payments.fail(503)
        code.tick()
        code.write_code("def to_request(body, attributes, keys)\n    return None\n")

        on_call.type("fifo-cli status", exits=1, advises="wait, or have payments fixed: each run tries again")
        on_call.meanwhile("the API is back", code.payments.recover)
        on_call.type("fifo-cli drain --count 1", exits=2, advises="fifo-cli drain --count 1 --via lambda")
        on_call.type("fifo-cli drain --count 1 --via lambda")
        on_call.meanwhile("the worker's next run; the code is as it was", code.tick, code.correct)
        on_call.type("fifo-cli status")


def test_an_import_that_is_missing_here(code: Shop) -> None:
    with code.incident("missing-import") as on_call:
        ids = code.order(6, "ada", "bob", "zoë")
        code.payments.answer = refuse(422, ids[4])
        code.tick()
        code.write_code(f"import no_such_module\n{code.code}")

        on_call.type("fifo-cli status", exits=1, advises="fifo-cli peek --queue dlq")
        on_call.type(
            f"fifo-cli trace {ids[4]}",
            exits=1,
            says="no_such_module",
            advises="fifo-cli peek --queue dlq --group bob",
        )
        on_call.meanwhile("the API knows the product now; the module is installed", code.healed, code.correct)
        on_call.type("fifo-cli redrive")
        on_call.meanwhile("the worker's next run", code.tick)
        on_call.type("fifo-cli status")


def test_an_endless_loop_in_the_code(code: Shop) -> None:
    with code.incident("endless-loop") as on_call:
        loop = "    while body['total'] == 0:\n        time.sleep(0.1)\n    return"
        code.write_code(code.code.replace("    return httpx", f"{loop} httpx"))
        code.project.local("deploy", "--yes").ok()
        code.order(1, "bob", total=0)
        code.order(2, "ada", "bob")
        while not code.total("dlq"):
            code.tick()

        on_call.type("fifo-cli status", exits=1, advises="fifo-cli peek --queue dlq")
        on_call.type("fifo-cli peek --queue dlq", says="did not return")
        on_call.meanwhile("the loop is corrected", code.correct)
        on_call.type("fifo-cli deploy")
        on_call.type("fifo-cli redrive --in-order")
        on_call.meanwhile("the worker's next run", code.tick)
        on_call.type("fifo-cli status")


def test_two_operators(shop: Shop) -> None:
    with shop.incident("two-operators") as on_call:
        ids = shop.order(6, "ada", "bob", "zoë")
        shop.payments.answer = refuse(422, ids[4])
        shop.tick()
        shop.healed()
        with maintenance(Queue(shop.aws, shop.project.names, "main").tags, "redrive"):
            on_call.type("fifo-cli status", exits=1, advises="wait for it to finish")
            on_call.type("fifo-cli redrive", exits=75, advises="wait until it is done")
        on_call.meanwhile(
            "the other one's redrive ends", lambda: shop.project.local("redrive", "--yes").ok(), shop.tick
        )
        on_call.type("fifo-cli status")


def test_one_customers_part_of_a_big_dlq(shop: Shop) -> None:
    with shop.incident("big-dlq") as on_call:
        shop.order(40, *(f"cust-{n:02}" for n in range(1, 9)))
        shop.payments.fail(422)
        shop.tick()
        shop.payments.recover()

        on_call.type("fifo-cli status", exits=1, advises="fifo-cli peek --queue dlq")
        on_call.type("fifo-cli peek --queue dlq --summary", says="cust-07")
        on_call.type("fifo-cli redrive --group cust-07")
        on_call.meanwhile("the worker's next run; nobody wants the other orders any more", shop.tick)
        on_call.type("fifo-cli purge --queue dlq --backup gone.jsonl")
        on_call.type("fifo-cli status")


def test_a_redrive_was_killed(shop: Shop) -> None:
    with shop.incident("killed-redrive") as on_call:
        ids = shop.order(12, "ada", "bob", "zoë")
        shop.payments.answer = refuse(422, *ids[6:])
        shop.tick()
        shop.healed()
        shop.order(12, "ada", "bob", "zoë")
        tags = Queue(shop.aws, shop.project.names, "main").tags
        redrive = shop.project.start("redrive", "--in-order", "--yes")
        wait_until(lambda: RESTORE_TAG in tags.read().tags)
        redrive.interrupt(signal.SIGKILL)
        redrive.wait()

        on_call.type("fifo-cli status", exits=1, advises="fifo-cli redrive --in-order")
        on_call.type("fifo-cli redrive --in-order")
        on_call.meanwhile("the worker's next run", shop.tick)
        on_call.type("fifo-cli status")


def test_the_stack_is_gone(tmp_path: Path) -> None:
    give_known_key(tmp_path)
    with (
        started(tmp_path) as stack,
        opened_shop(tmp_path, stack) as shop,
        shop.incident("stack-gone") as on_call,
    ):
        shop.order(3, "ada")
        on_call.meanwhile("this machine was started again", lambda: end_stack(tmp_path))

        on_call.type("fifo-cli status", exits=3, advises="fifo-cli local up")
        on_call.type("fifo-cli local up")
        shop.stack = Stack(tmp_path, endpoint_of(tmp_path))
        on_call.meanwhile("the worker's next run", shop.tick)
        on_call.type("fifo-cli status")


@contextmanager
def started(folder: Path) -> Iterator[Stack]:
    """Start a stack of its own."""
    embedded.up(folder, port=0)
    try:
        yield Stack(folder, endpoint_of(folder))
    finally:
        embedded.down(folder)


def end_stack(folder: Path) -> None:
    """End a stack as a machine that shuts down does."""
    running = process.find(Files(folder))
    assert running is not None
    os.kill(running.pid, signal.SIGTERM)
    wait_until(lambda: process.find(Files(folder)) is None)


def test_the_wrong_environment(shop: Shop) -> None:
    with shop.incident("wrong-environment") as on_call:
        names = {
            "pipeline": {"name": f"{shop.name}-test"},
            "table": {"name": f"{shop.name}-test", "create": True, "partition_key": "id"},
        }
        shop.configure(**names)
        with shop.project.config.open("a") as file:
            file.write(f'[env.prod.pipeline]\nname = "{shop.name}"\n[env.prod.table]\nname = "{shop.name}"\n')
        shop.project.local("pause", "worker", "--env", "prod").ok()
        shop.order(3, "ada")

        on_call.type("fifo-cli status", exits=3, advises="fifo-cli status --env prod")
        on_call.type("fifo-cli status --env prod", exits=1, advises="fifo-cli resume worker --env prod")
        on_call.type("fifo-cli resume worker --env prod")
        on_call.meanwhile("the worker's next run", shop.tick)
        on_call.type("fifo-cli status --env prod")
        on_call.type("fifo-cli audit --env prod")
