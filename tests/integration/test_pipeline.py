"""The main job, as users do it: items put in the table reach the API, in order, through real functions."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from fifo_cli.aws.session import Aws
from fifo_cli.aws.sqs import Queue
from fifo_cli.local.receiver import Reply
from tests.cli_harness import Project, Stack, wait_until
from tests.faults import Kill, on
from tests.integration.deployed_pipeline import Pipeline as SharedPipeline
from tests.integration.deployed_pipeline import deployed
from tests.integration.proxy import Proxy, hidden

REPOSITORY = "payload.repository.full_name"


def exact(text: str | bytes) -> Any:
    """Parse JSON with every number exact."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


class Pipeline:
    """A deployed pipeline and its API."""

    def __init__(self, project: Project, aws: Aws, receiver: Any) -> None:
        self.project = project
        self.aws = aws
        self.api = receiver
        self.main = Queue(aws, project.names, "main")
        self.dlq = Queue(aws, project.names, "dlq")

    def put(self, *items: dict[str, Any]) -> None:
        """Put items, and wait until the enqueuer function has sent them on."""
        before = self.waiting()
        lines = "\n".join(json.dumps(item) for item in items)
        assert (
            self.project.local("put", "-", input=lines).ok().out
            == f"{len(items)} item{'s' * (len(items) != 1)} written to {self.project.name}\n"
        )
        wait_until(lambda: self.waiting() == before + len(items))

    def waiting(self) -> int:
        return self.main.counts().total + self.dlq.counts().total

    def bodies(self) -> list[Any]:
        return [exact(one.body) for one in self.api.accepted]

    def ids(self) -> list[str]:
        return [body["id"] for body in self.bodies()]

    def peek(self, queue: str = "main") -> list[dict[str, Any]]:
        return list(
            self.project.local("peek", "--queue", queue, "--count", "100", "-o", "json")
            .ok()
            .json()["messages"]
        )


@pytest.fixture(scope="module")
def plain(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedPipeline]:
    """The pipeline of all tests here that ask for nothing special."""
    with deployed(tmp_path_factory.mktemp("plain"), stack) as made:
        yield made


@pytest.fixture
def line(
    project: Callable[..., Project], clients: Aws, receiver: Any, plain: SharedPipeline
) -> Callable[..., Pipeline]:
    """Return a pipeline: one of its own for a test that has settings for it, else the shared one, emptied."""

    def deploy(**tables: Any) -> Pipeline:
        if not tables:
            plain.reset()
            return Pipeline(plain.project, clients, plain.api)
        made = project(**tables)
        made.local("deploy", "--yes").ok()
        return Pipeline(made, clients, receiver)

    return deploy


def orders(count: int, *groups: str) -> list[dict[str, Any]]:
    return [
        {"id": f"o{n:02}", "grp": groups[n % len(groups)] if groups else "g", "n": n} for n in range(count)
    ]


def by_group(items: list[dict[str, Any]], group: Callable[[dict[str, Any]], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for item in items:
        found[group(item)].append(item["id"])
    return found


def repository(item: dict[str, Any]) -> str:
    return ((item["payload"] or {}).get("repository") or {}).get("full_name") or "all"


@pytest.mark.parametrize("via", ["local", "lambda"])
def test_real_payloads_arrive_unchanged_and_in_order_within_their_group(line, webhooks, via):
    flow = line(message={"group": REPOSITORY})
    flow.put(*webhooks)
    report = (
        flow.project.local("drain", "--all", "--via", via, "--concurrency", "6", "-o", "json").ok().json()
    )
    assert (report["delivered"], report["remaining"]) == (100, 0)
    sent = [exact(json.dumps(item)) for item in webhooks]
    arrived = flow.bodies()
    assert sorted(arrived, key=lambda item: item["id"]) == sorted(sent, key=lambda item: item["id"])
    assert by_group(arrived, repository) == by_group(sent, repository)
    assert len({one.idempotency_key for one in flow.api.accepted}) == 100


def test_numbers_keep_every_digit_on_the_whole_way(line):
    flow = line()
    numbers = {"a": f"0.{'1234567890' * 3}12345678", "b": "9" * 38, "c": "-1.5e-100", "d": "0"}
    text = '{"id":"n","grp":"g",' + ",".join(f'"{name}":{number}' for name, number in numbers.items()) + "}"
    flow.project.local("put", text).ok()
    wait_until(lambda: flow.waiting() == 1)
    flow.project.local("drain", "--count", "1").ok()
    assert flow.bodies() == [exact(text)]


def test_an_outage_parks_nothing_reorders_nothing_and_loses_nothing(line):
    flow = line()
    flow.put(*orders(12, "a", "b", "c"))
    flow.api.fail(503)
    for via in ("local", "lambda"):
        report = flow.project.local("drain", "--all", "--via", via, "-o", "json")
        assert report.code == 1
        assert {row["status"] for row in report.json()["results"]} <= {"failed", "skipped"}
        assert {row["http_status"] for row in report.json()["results"]} <= {503, None}
    assert (flow.main.counts().visible, flow.dlq.counts().total) == (12, 0)
    flow.api.recover()
    flow.project.local("drain", "--all").ok()
    assert by_group(flow.bodies(), lambda o: o["grp"]) == by_group(
        orders(12, "a", "b", "c"), lambda o: o["grp"]
    )
    assert len(flow.ids()) == 12


@pytest.mark.parametrize("via", ["local", "lambda"])
def test_a_poison_item_is_parked_with_status_and_reason_and_its_group_goes_on(line, via):
    flow = line()
    flow.put(*orders(4))
    flow.api.answer = lambda received: (
        Reply(422, b'{"error":"no such product"}') if b'"o01"' in received.body else None
    )
    report = flow.project.local("drain", "--all", "--via", via, "-o", "json")
    assert report.code == 1
    assert [row["status"] for row in report.json()["results"]] == [
        "delivered",
        "parked",
        "delivered",
        "delivered",
    ]
    assert flow.ids() == ["o00", "o02", "o03"]
    (parked,) = flow.peek("dlq")
    assert json.loads(parked["body"])["id"] == "o01"
    attributes = {name: value["value"] for name, value in parked["attributes"].items()}
    assert attributes["park_status"] == "422"
    assert attributes["park_reason"] == 'HTTP 422 from 127.0.0.1: {"error":"no such product"}'
    assert attributes["park_from"] == "worker"
    assert json.loads(attributes["item_key"]) == {"id": "o01"}


class TestKeys:
    OLD = "old-Sesame-9417"
    NEW = "new-Sesame-2086"

    @pytest.fixture
    def flow(self, line, receiver):
        receiver.key = self.OLD
        name = f"/t/{time.monotonic_ns()}"
        flow = line(api={"headers": {"Authorization": "Bearer {api_key}"}, "keys": {"api_key": name}})
        flow.project.local("keys", "set", "api_key", input=self.OLD + "\n").ok()
        return flow

    @pytest.mark.parametrize("via", ["local", "lambda"])
    def test_a_rotation_heals_itself(self, flow, via):
        flow.put(*orders(3))
        flow.project.local("drain", "--count", "1", "--via", "lambda").ok()
        flow.api.key = self.NEW
        refused = flow.project.local("drain", "--count", "1", "--via", via, "-o", "json")
        assert (refused.code, refused.json()["results"][0]["http_status"]) == (1, 401)
        flow.project.local("keys", "set", "api_key", input=self.NEW).ok()
        flow.project.local("drain", "--all", "--via", via).ok()
        assert flow.ids() == ["o00", "o01", "o02"]
        assert flow.dlq.counts().total == 0

    @pytest.mark.parametrize("via", ["local", "lambda"])
    def test_a_secret_that_is_rotated_or_broken_parks_nothing(self, line, receiver, via):
        name = f"t/{time.monotonic_ns()}"
        source = f"secretsmanager:{name}#key"
        headers = {"Authorization": "Bearer {api_key}", "X-Client": "{client}"}
        keys = {"api_key": source, "client": f"secretsmanager:{name}#client"}
        flow = line(api={"headers": headers, "keys": keys})
        secrets, receiver.key = flow.aws.client("secretsmanager"), self.OLD
        flow.put(*orders(6))

        def drain(count: int = 1) -> Any:
            return flow.project.local("drain", "--count", str(count), "--via", via)

        def unusable(words: str) -> None:
            refused = drain()
            assert (refused.code, words in refused.err) == (2, True), refused.err
            assert "esame" not in refused.out + refused.err

        unusable(f"secretsmanager:{name}: no such secret")
        flow.project.local("keys", "set", "client", input="client-17").ok()
        unusable(f"key api_key (secret {name}, field key): the JSON of the secret has no such field")
        for text, words in (("Sesame", "not a JSON object"), ('{"key": 17, "client": "c"}', "is a number")):
            secrets.put_secret_value(SecretId=name, SecretString=text)
            unusable(words)
        secrets.put_secret_value(
            SecretId=name, SecretString=f'{{"key": "{self.OLD}", "client": "client-17"}}'
        )
        drain().ok()
        # A rotation: the new value is tried out, then valid at the API, and then the current one.
        pending = secrets.put_secret_value(
            SecretId=name,
            SecretString=f'{{"key": "{self.NEW}", "client": "client-17"}}',
            VersionStages=["AWSPENDING"],
        )["VersionId"]
        drain().ok()
        flow.api.key = self.NEW
        assert drain().code == 1
        stages = secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
        (current,) = [version for version, names in stages.items() if "AWSCURRENT" in names]
        secrets.update_secret_version_stage(
            SecretId=name,
            VersionStage="AWSCURRENT",
            MoveToVersionId=pending,
            RemoveFromVersionId=current,
        )
        drain().ok()
        secrets.delete_secret(SecretId=name)
        if via == "local":  # the function has the values in memory
            unusable("scheduled for deletion")
        secrets.restore_secret(SecretId=name)
        drain(9).ok()
        assert flow.ids() == [f"o{number:02}" for number in range(6)]
        assert flow.dlq.counts().total == 0

    def test_a_missing_key_is_named_and_nothing_is_lost(self, line):
        flow = line(api={"headers": {"Authorization": "Bearer {api_key}"}, "keys": {"api_key": "/t/none"}})
        flow.put(*orders(2))
        for via in ("local", "lambda"):
            refused = flow.project.local("drain", "--all", "--via", via)
            assert refused.code == 2
            assert "/t/none" in refused.err
            assert "Traceback" not in refused.err
        assert flow.main.counts().visible == 2

    @pytest.mark.parametrize("value", ["\ufeffold-Sesame", "old\u2013Sesame", "old-Sesame\n"])
    def test_a_value_that_cannot_be_a_header_parks_nothing_and_is_named(self, flow, value):
        parameter = flow.project.local("keys", "list", "-o", "json").ok().json()["keys"][0]["parameter"]
        ssm = flow.aws.client("ssm")
        ssm.put_parameter(Name=parameter, Value=value, Type="SecureString", Overwrite=True)
        flow.put(*orders(3, "a", "b"))
        for via in ("local", "lambda"):
            refused = flow.project.local("drain", "--all", "--via", via)
            assert refused.code == 2
            assert f"key api_key (SSM parameter {parameter})" in refused.err
            assert "Sesame" not in refused.out + refused.err
        assert (flow.main.counts().visible, flow.dlq.counts().total) == (3, 0)
        flow.project.local("keys", "set", "api_key", input=self.OLD + "\n").ok()
        flow.project.local("drain", "--all").ok()
        ids = flow.ids()
        assert sorted(ids) == ["o00", "o01", "o02"]
        assert ids.index("o00") < ids.index("o02"), "both are of one group; o01 is of another"

    def test_the_value_appears_nowhere(self, flow, tmp_path):
        """Not in output, logs, zips, the functions' environment, .fifo/ or ps, though the API echoes it."""
        flow.api.answer = lambda received: Reply(422, received.headers["authorization"].encode())
        flow.put(*orders(2))
        seen = []
        for args in (
            ("drain", "--count", "1", "-vv", "-o", "json"),
            ("drain", "--count", "1", "--via", "lambda", "-vv"),
            ("peek", "--queue", "dlq", "-o", "json"),
            ("keys", "list", "-o", "json"),
            ("deploy", "--yes", "-vv", "-o", "json"),
            ("package", "--out", str(tmp_path / "zips")),
            ("logs", "-o", "jsonl"),
            ("logs", "-v"),
        ):
            background = flow.project.start(*args, forked=False)  # ps shows its words and variables
            listing = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
            ran = background.wait()
            seen += [ran.out, ran.err, listing]
        assert flow.dlq.counts().total == 2
        for function in ("enqueuer", "worker"):
            client = flow.aws.client("lambda")
            seen.append(
                str(client.get_function_configuration(FunctionName=flow.project.names.function(function)))
            )
        assert "***" in "".join(seen)
        assert not [text for text in seen if self.OLD in text]
        unpacked = tmp_path / "unpacked"
        for zipped in (tmp_path / "zips").glob("*.zip"):
            subprocess.run([sys.executable, "-m", "zipfile", "-e", str(zipped), str(unpacked)], check=True)
        for path in [*unpacked.rglob("*"), *flow.project.folder.rglob("*")]:
            if path.is_file():
                assert self.OLD.encode() not in path.read_bytes(), path


def test_drain_one_prints_one_result_and_takes_one_message(line):
    flow = line()
    flow.put(*orders(3))
    ran = flow.project.local("drain", "--count", "1", "-o", "jsonl").ok()
    (row,) = ran.jsonl()
    assert row | {"message_id": "", "elapsed_ms": 0} == {
        "message_id": "",
        "group": "g",
        "status": "delivered",
        "http_status": 200,
        "elapsed_ms": 0,
        "error": None,
        "api": None,
    }
    assert (flow.ids(), flow.main.counts().total) == (["o00"], 2)


def test_killed_between_answer_and_delete_the_message_comes_again_with_the_same_key(line, proxy: Proxy):
    flow = line()
    flow.put(*orders(2))
    proxy.edit = hidden(3)
    proxy.rule = on("DeleteMessage", do=Kill())
    killed = flow.project.start("drain", "--count", "1", endpoint=proxy.endpoint).wait()
    assert killed.code == -signal.SIGKILL
    assert flow.main.counts().total == 2
    wait_until(lambda: flow.main.counts().visible == 2, timeout=90)
    flow.project.local("drain", "--all").ok()
    assert flow.ids() == ["o00", "o00", "o01"]
    first, again, other = (one.idempotency_key for one in flow.api.accepted)
    assert first == again != other


def test_killed_between_parking_and_delete_there_is_one_copy_in_the_dlq(line, proxy: Proxy):
    flow = line()
    flow.put(*orders(2))
    flow.api.answer = lambda received: Reply(422) if b'"o00"' in received.body else None
    proxy.edit = hidden(3)
    proxy.rule = on("DeleteMessage", do=Kill())
    assert flow.project.start("drain", "--count", "1", endpoint=proxy.endpoint).wait().code == -signal.SIGKILL
    wait_until(lambda: flow.main.counts().visible == 2, timeout=90)
    assert flow.project.local("drain", "--all").code == 1
    assert [json.loads(message["body"])["id"] for message in flow.peek("dlq")] == ["o00"]
    assert (flow.ids(), flow.main.counts().total) == (["o01"], 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_the_message_in_hand_is_finished_and_the_rest_given_back(line, number, code):
    flow = line()
    flow.put(*orders(3))
    flow.api.delay = 1
    running = flow.project.start("drain", "--all", "-o", "json")
    wait_until(lambda: flow.api.requests)
    running.interrupt(number)
    ran = running.wait()
    assert ran.code == code
    assert [row["status"] for row in ran.json()["results"]] == ["delivered", "skipped", "skipped"]
    assert (flow.ids(), flow.main.counts().visible) == (["o00"], 2)


@pytest.mark.parametrize("via", ["local", "lambda"])
def test_a_stuck_group_takes_one_turn_of_a_run_and_the_others_go_on(line, via):
    flow = line()
    flow.put(*orders(14, "stuck"), *({"id": f"free{n}", "grp": f"free{n}", "total": n} for n in range(3)))
    flow.api.answer = lambda received: Reply(503) if b'"stuck"' in received.body else None
    ran = flow.project.local("drain", "--count", "3", "--via", via, "-o", "json")
    assert ran.code == 1
    assert (ran.json()["failed"], ran.json()["delivered"], ran.json()["remaining"]) == (1, 2, 15)
    assert flow.main.counts().visible == 15


def test_drain_says_when_a_consumer_holds_the_line(line):
    flow = line()
    flow.put(*orders(2))
    flow.main.receive(count=1, visibility=60, wait=0)
    ran = flow.project.local("drain", "--all", "-o", "json").ok()
    assert (ran.json()["received"], ran.json()["remaining"]) == (0, 2)
    assert "2 messages left in the queue that SQS did not give out: another consumer holds" in ran.err
    assert "next: run it again when the other consumer has ended" in ran.err


def test_drain_delivers_what_it_is_given_and_says_what_a_consumer_holds(line):
    flow = line()
    flow.put(*orders(9, "a", "b", "c"))
    flow.main.receive(count=1, visibility=60, wait=0)
    enough = flow.project.local("drain", "--count", "1", "-o", "json").ok()
    assert "left in the queue" not in enough.err
    flow.api.answer = lambda received: Reply(503) if b'"c"' in received.body else None
    ran = flow.project.local("drain", "--all", "-o", "json")
    assert ran.code == 1
    report = ran.json()
    stayed = report["received"] - report["delivered"]
    assert (report["delivered"], report["remaining"] - stayed > 0) == (2, True)
    assert f"{report['remaining'] - stayed} messages more left in the queue" in ran.err
    assert "behind one that stayed in its group, or another consumer holds them" in ran.err
    flow.api.answer = lambda received: None
    rest = flow.project.local("drain", "--all", "-o", "json").ok()
    assert (rest.json()["delivered"], rest.json()["remaining"]) == (3, 3)
    assert "3 messages left in the queue that SQS did not give out: another consumer holds" in rest.err


def test_two_drains_at_once_deliver_each_message_once_and_in_order(line):
    flow = line()
    flow.put(*orders(40, "a", "b", "c", "d"))
    runs = [flow.project.start("drain", "--all", "--concurrency", "2") for _ in range(2)]
    assert [run.wait().code for run in runs] == [0, 0]
    flow.project.local("drain", "--all").ok()
    assert by_group(flow.bodies(), lambda o: o["grp"]) == by_group(
        orders(40, "a", "b", "c", "d"), lambda o: o["grp"]
    )


def test_peek_shows_the_line_and_changes_nothing(line):
    flow = line()
    flow.put(*orders(4, "a", "b"))
    first, second = flow.peek(), flow.peek()
    assert [json.loads(message["body"])["n"] for message in first] == [0, 1, 2, 3]
    assert [message["message_id"] for message in first] == [message["message_id"] for message in second]
    assert flow.main.counts().visible == 4
    assert first[0]["queue"] == "main"
    assert (first[0]["receives"], first[0]["first_received_at"]) == (0, None)
    assert set(first[0]["attributes"]) == {
        "event_id",
        "stream_sequence",
        "event_name",
        "item_key",
        "created_at",
    }
    shown = flow.project.local("peek", "--group", "b", "--filter", "body.n > `1`", "-o", "json").ok().json()
    assert [json.loads(message["body"])["n"] for message in shown["messages"]] == [3]
    some = flow.project.local("peek", "--count", "1", "-o", "json").ok().json()
    assert (len(some["messages"]), some["truncated"]) == (1, True)


def test_peek_says_when_a_consumer_holds_the_line(line):
    flow = line()
    flow.put(*orders(3))
    flow.main.receive(count=1, visibility=60, wait=0)
    ran = flow.project.local("peek", "-o", "json").ok()
    assert ran.json() == {"messages": [], "truncated": True}
    assert "a consumer holds" in ran.err


def test_peek_refuses_where_looking_could_dead_letter(line):
    flow = line(queue={"max_receives": 3})
    flow.put(*orders(1))
    refused = flow.project.local("peek")
    assert (refused.code, refused.out) == (2, "")
    assert "--force" in refused.err
    assert len(flow.project.local("peek", "--force", "-o", "json").ok().json()["messages"]) == 1


def test_depth_counts_what_waits(line):
    flow = line()
    flow.put(*orders(3))
    flow.main.receive(count=1, visibility=60, wait=0)
    queues = flow.project.local("depth", "-o", "json").ok().json()["queues"]
    name = flow.project.name
    assert queues == {
        "main": {
            "name": f"{name}.fifo",
            "visible": 2,
            "in_flight": 1,
            "delayed": 0,
            "oldest_age_seconds": None,
        },
        "dlq": {
            "name": f"{name}-dlq.fifo",
            "visible": 0,
            "in_flight": 0,
            "delayed": 0,
            "oldest_age_seconds": None,
        },
        "hold": {
            "name": f"{name}-hold.fifo",
            "visible": 0,
            "in_flight": 0,
            "delayed": 0,
            "oldest_age_seconds": None,
        },
    }


def test_depth_only_reads(line, proxy: Proxy):
    flow = line()
    proxy.clear()
    flow.project.at(proxy.endpoint, "depth").ok()
    assert set(proxy.counts) <= {"GetQueueUrl", "GetQueueAttributes"}


def test_a_dry_run_delivers_nothing(line):
    flow = line()
    flow.put(*orders(3))
    report = flow.project.local("drain", "--count", "2", "--dry-run", "-o", "json").ok().json()
    assert [row["status"] for row in report["results"]] == ["skipped", "skipped"]
    assert (flow.ids(), flow.main.counts().visible, report["remaining"]) == ([], 3, 3)


def test_only_what_is_wanted_is_enqueued_and_shaped_as_asked(line):
    flow = line(message={"where": "n > `0`", "body": "{order: id, number: n}", "group": "grp"})
    flow.project.local("put", "-", input="\n".join(json.dumps(order) for order in orders(3))).ok()
    wait_until(lambda: flow.waiting() == 2)
    flow.project.local("drain", "--all").ok()
    assert flow.bodies() == [{"order": "o01", "number": 1}, {"order": "o02", "number": 2}]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NO_PROXY", "localhost,127.0.0.1,[::1]"),
        ("ALL_PROXY", "socks5://127.0.0.1:1080"),
        ("SSL_CERT_FILE", "/dev/null/ca.pem"),
    ],
)
def test_a_variable_that_cannot_be_used_parks_nothing_and_is_named(line, variable, value):
    flow = line()
    flow.put(*orders(3, "a", "b"))
    refused = flow.project.local("drain", "--all", env={variable: value})
    assert refused.code == 2
    assert variable in refused.err
    assert "Traceback" not in refused.err
    assert (flow.main.counts().visible, flow.dlq.counts().total) == (3, 0)
    flow.project.local("drain", "--all").ok()
    assert len(flow.ids()) == 3


class TestUserCode:
    CODE = """
import httpx
from vendored_names import title

def to_message(item):
    print("noise on stdout")
    if item["id"] == "o03":
        raise ValueError("this one never")
    return {"name": title(item["id"])} if item["n"] else None

def to_request(body, attributes, keys):
    if body["name"] == "O02":
        raise KeyError("no address")
    print("more noise")
    return httpx.Request("PUT", URL, json=body, headers={"X-Event": attributes["event_id"]})
"""

    @pytest.fixture
    def flow(self, project, clients, receiver):
        made = project(
            handlers={"source": "code/", "message": "mine:to_message", "request": "mine:to_request"}
        )
        (made.folder / "code").mkdir()
        (made.folder / "code" / "mine.py").write_text(f"URL = {receiver.url!r}\n{self.CODE}")
        (made.folder / "code" / "vendored_names.py").write_text("title = str.title\n")
        made.local("deploy", "--yes").ok()
        return Pipeline(made, clients, receiver)

    @pytest.mark.parametrize("via", ["local", "lambda"])
    def test_makes_the_message_and_the_request_in_both_functions(self, flow, via):
        flow.project.local("put", "-", input="\n".join(json.dumps(order) for order in orders(5))).ok()
        wait_until(lambda: flow.waiting() == 4)
        report = flow.project.local("drain", "--all", "--via", via, "-o", "json")
        assert [row["status"] for row in report.json()["results"]] == ["delivered", "parked", "delivered"]
        assert [(one.method, json.loads(one.body)["name"]) for one in flow.api.accepted] == [
            ("PUT", "O01"),
            ("PUT", "O04"),
        ]
        assert [one.headers["x-event"] for one in flow.api.accepted] == [
            one.idempotency_key for one in flow.api.accepted
        ]
        reasons = {m["attributes"]["park_reason"]["value"] for m in flow.peek("dlq")}
        assert reasons == {
            "mine:to_message raised ValueError: this one never",
            "mine:to_request raised KeyError: 'no address'",
        }

    def test_that_cannot_be_imported_is_a_configuration_error(self, flow):
        (flow.project.folder / "code" / "mine.py").write_text(
            "import nothing_like_this\n\nto_message = to_request = print\n"
        )
        ran = flow.project.local("drain", "--count", "1")
        assert (ran.code, ran.out) == (2, "")
        assert "nothing_like_this" in ran.err
        assert "Traceback" not in ran.err


def test_the_worker_runs_on_its_schedule(line):
    """The one test that waits for a tick: a rate of one minute is the shortest there is."""
    flow = line(schedule={"expressions": ["rate(1 minute)"], "messages_per_run": 2})
    flow.put(*orders(3))
    wait_until(lambda: len(flow.api.accepted) >= 2, timeout=100)
    assert flow.ids()[:2] == ["o00", "o01"]


def test_several_apis_are_all_called_before_the_message_is_deleted(line, receiver):
    apis = [{"url": f"{receiver.url}/{name}", "timeout": "2s"} for name in ("first", "second")]
    flow = line(api=apis)
    flow.put(*orders(1))
    receiver.answer = lambda received: Reply(500) if received.path == "/second" else None
    assert flow.project.local("drain", "--count", "1").code == 1
    assert flow.main.counts().visible == 1
    receiver.answer = lambda received: None
    flow.project.local("drain", "--count", "1").ok()
    assert [one.path for one in receiver.requests] == ["/first", "/second", "/first", "/second"]
    assert len({one.idempotency_key for one in receiver.requests}) == 1


def test_logs_tell_every_messages_fate(line):
    flow = line(tags={"logs": "its own"})
    flow.put(*orders(2))
    flow.project.local("drain", "--all", "--via", "lambda").ok()
    rows = flow.project.local("logs", "-o", "jsonl").ok().jsonl()
    words = [(row["function"], row["message"]) for row in rows if row.get("event_id")]
    assert sorted(words) == [("enqueuer", "enqueued")] * 2 + [("worker", "delivered")] * 2
    assert all({"time", "function", "level", "message"} <= set(row) for row in rows)
