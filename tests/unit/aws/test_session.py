"""Clients: made once, for the services this program has, and by nothing that would be slow or ask around."""

from __future__ import annotations

import gzip
import json
import shutil
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args, get_type_hints

import certifi
import pytest
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import Loader
from botocore.session import Session

from fifo_cli import __version__
from fifo_cli.aws import session
from fifo_cli.aws.session import CONNECTIONS, Aws, AwsEndpoint
from fifo_cli.cli.commands.queues import drain
from fifo_cli.errors import UsageError
from fifo_cli.local.receiver import Receiver, Reply
from tests.services import SERVICES

_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-west-1"}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _KEYS.items():
        monkeypatch.setenv(name, value)


def test_the_loader_knows_every_service_that_botocore_has_and_no_other(keys):
    ours, whole = Aws(AwsEndpoint())._session.get_component("data_loader"), Loader()
    listed = ours.list_available_services("service-2")
    assert list(listed) == whole.list_available_services("service-2")
    assert all(name in listed for name in ("sso", "sso-oidc", "sts", "signin", "s3") if name in list(listed))
    for name in ("nonsense", "", "sqs2"):
        assert name not in whole.list_available_services("service-2")
        with pytest.raises(UnknownServiceError, match="sqs"):
            ours.load_service_model(name or "none", "service-2")


def test_the_loader_reads_plain_files_and_packed_ones(keys, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    (tmp_path / "made.json").write_text('{"b": {"é": [1, null]}, "a": 2}', encoding="utf-8")
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress((tmp_path / "made.json").read_bytes()))
    ours = Aws(AwsEndpoint())._session.get_component("data_loader")
    for name in ("made", "packed"):
        read = ours.load_data(name)
        assert (read, list(read)) == ({"b": {"é": [1, None]}, "a": 2}, ["b", "a"])
    with pytest.raises(DataNotFoundError):
        ours.load_data("neither")


def test_certificates_are_read_once_for_all_clients(keys, monkeypatch, tmp_path):
    bundle = shutil.copy(certifi.where(), tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
    read: list[object] = []
    real = ssl.create_default_context

    def noted(**where: Any) -> ssl.SSLContext:
        read.append(where)
        return real(**where)

    monkeypatch.setattr(ssl, "create_default_context", noted)
    aws = Aws(AwsEndpoint())
    for service in SERVICES:
        aws.client(service)
    assert read == [{"cafile": bundle}]


def test_to_make_a_client_the_folders_of_400_services_are_not_read(keys, monkeypatch):
    def refuse(loader: Loader, type_name: str) -> list[str]:
        raise AssertionError(type_name)

    monkeypatch.setattr(Loader, "list_available_services", refuse)
    assert Aws(AwsEndpoint()).client("sqs")


def test_what_is_left_out_for_speed_changes_nothing_that_sqs_is_sent(keys):
    """SQS's client checks no parameters and has a user agent of its own; all else is as botocore has it."""
    with Receiver(answer=lambda _: Reply(200, b"{}")) as service:
        Aws(AwsEndpoint(endpoint_url=service.url)).client("sqs").send_message(
            QueueUrl=f"{service.url}/1/q.fifo", MessageBody="b", MessageGroupId="g"
        )
        plain_client: Any = Session().create_client("sqs", endpoint_url=service.url)
        plain_client.send_message(QueueUrl=f"{service.url}/1/q.fifo", MessageBody="b", MessageGroupId="g")
        ours, plain = service.requests
    changing = {"user-agent", "amz-sdk-invocation-id", "amz-sdk-request", "authorization", "x-amz-date"}
    assert (ours.method, ours.path, ours.body) == (plain.method, plain.path, plain.body)
    assert {name: ours.headers[name] for name in ours.headers.keys() - changing} == {
        name: plain.headers[name] for name in plain.headers.keys() - changing
    }


def test_every_service_has_a_client(keys):
    aws = Aws(AwsEndpoint())
    found = {service: aws.client(service).meta.service_model.service_name for service in SERVICES}
    assert found == {service: service for service in SERVICES}


def test_a_client_is_made_once_whoever_asks_for_it(keys):
    aws = Aws(AwsEndpoint())
    with ThreadPoolExecutor(8) as pool:
        clients = {id(client) for client in pool.map(lambda _: aws.client("sqs"), range(64))}
    assert len(clients) == 1


def test_a_client_has_connections_for_as_many_threads_as_a_command_has(keys):
    config = Aws(AwsEndpoint()).client("sqs").meta.config
    assert config.max_pool_connections == CONNECTIONS  # type: ignore[attr-defined]
    assert most_threads_of_drain() <= CONNECTIONS


def test_a_client_keeps_its_connections_alive_and_retries_as_all_sdks_do(keys):
    config = Aws(AwsEndpoint()).client("sqs").meta.config
    assert config.tcp_keepalive is True  # type: ignore[attr-defined]
    assert config.retries == {"mode": "standard", "total_max_attempts": session.ATTEMPTS}  # type: ignore[attr-defined]


def test_every_request_says_which_program_makes_it_and_for_whom(keys, monkeypatch):
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", "ops-team")
    with Receiver(answer=lambda _: Reply(200, b"{}")) as service:
        aws = Aws(AwsEndpoint(endpoint_url=service.url))
        aws.client("sqs").list_queues()
        aws.client("dynamodb").list_tables()
        agents = [request.headers["user-agent"] for request in service.requests]
    assert len(agents) == 2
    for agent in agents:
        assert f"fifo-cli/{__version__}" in agent
        assert "app/ops-team" in agent
        assert "Botocore/" in agent


def test_with_credentials_at_hand_nobody_asks_the_machine_for_any(keys, monkeypatch):
    with Receiver() as metadata, Receiver(answer=lambda _: Reply(200, b"{}")) as service:
        ask_there(monkeypatch, metadata)
        Aws(AwsEndpoint(endpoint_url=service.url)).client("sqs").list_queues()
        assert (len(service.requests), len(metadata.requests)) == (1, 0)


def test_without_credentials_the_machine_is_asked_as_it_must_be_on_ec2(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with Receiver() as metadata:
        ask_there(monkeypatch, metadata)
        Aws(AwsEndpoint()).client("sqs")
        assert metadata.requests


def test_the_local_stack_is_never_asked_with_the_users_credentials_or_region(monkeypatch, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = eu-west-3\naws_access_key_id = mine\naws_secret_access_key = mine\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "prod")
    with Receiver(answer=lambda _: Reply(200, b"{}")) as service:
        aws = Aws(AwsEndpoint(endpoint_url=service.url, local=True))
        aws.client("sqs").list_queues()
        signed = service.requests[0].headers["authorization"]
    assert aws.region == "us-east-1"
    assert "Credential=test/" in signed


def test_a_profile_gives_its_own_region_and_keys(monkeypatch, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        "[profile prod]\nregion = eu-west-3\naws_access_key_id = mine\naws_secret_access_key = mine\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with Receiver(answer=lambda _: Reply(200, b"{}")) as service:
        aws = Aws(AwsEndpoint(profile="prod", endpoint_url=service.url))
        aws.client("sqs").list_queues()
        assert "Credential=mine/" in service.requests[0].headers["authorization"]
    assert aws.region == "eu-west-3"


def test_how_the_credentials_were_found_is_said_in_words(keys):
    assert Aws(AwsEndpoint(region="eu-west-1")).credentials_source == "the environment's variables"
    stack = AwsEndpoint(endpoint_url="http://127.0.0.1:4566", local=True)
    assert Aws(stack).credentials_source == "the embedded stack's own key"


def test_a_profile_that_does_not_exist_is_a_usage_error():
    with pytest.raises(UsageError, match="nobody"):
        Aws(AwsEndpoint(profile="nobody")).client("sqs")


def test_no_region_is_a_usage_error(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(UsageError, match="no AWS region"):
        _ = Aws(AwsEndpoint()).region


@pytest.mark.parametrize(
    ("target", "environment", "region"),
    [
        (AwsEndpoint(region="eu-west-1"), {"AWS_REGION": "eu-west-2"}, "eu-west-1"),
        (AwsEndpoint(), {"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-2"),
        (AwsEndpoint(), {"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
    ],
    ids=["option", "AWS_REGION", "AWS_DEFAULT_REGION"],
)
def test_the_region_is_the_options_then_the_environments(monkeypatch, target, environment, region):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Aws(target).region == region


def test_the_users_own_data_path_is_still_looked_into(keys, monkeypatch, tmp_path):
    own = tmp_path / "sqs" / "2012-11-05"
    own.mkdir(parents=True)
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    model = {**Loader().load_service_model("sqs", "service-2"), "documentation": "the user's own"}
    (own / "service-2.json").write_text(json.dumps(model))
    shown = Aws(AwsEndpoint()).client("sqs").meta.service_model
    assert shown.documentation == "the user's own"


def ask_there(monkeypatch: pytest.MonkeyPatch, metadata: Receiver) -> None:
    """Put the machine's metadata service at the receiver."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
    monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "60")  # the default is one second


def most_threads_of_drain() -> int:
    """Return the upper bound of ``drain --concurrency``."""
    body = get_type_hints(drain.body, include_extras=True)
    return int(get_args(body["concurrency"])[1].max)


def test_the_environment_may_say_how_often_a_call_is_tried(keys, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    aws = Aws(AwsEndpoint())
    assert aws.client("sqs").meta.config.retries["total_max_attempts"] == 2  # type: ignore[attr-defined]
    assert aws.client("lambda", attempts=1).meta.config.retries["total_max_attempts"] == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", ["x", "-1"])
def test_a_number_of_attempts_that_is_none_is_refused(keys, monkeypatch, value):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", value)
    with pytest.raises(UsageError, match="AWS_MAX_ATTEMPTS"):
        Aws(AwsEndpoint()).client("sqs")
