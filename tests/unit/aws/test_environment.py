"""Variables, URLs and files that are of no use: each is named with the reason, and no password is shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fifo_cli.aws.session import Aws, AwsEndpoint
from fifo_cli.cli.app import main
from fifo_cli.cli.options import profile_names
from fifo_cli.errors import FifoError, UsageError

PORT = "a port is a number from 1 to 65535"
ENDPOINTS = {
    "http://user:hunter2@aws.example:port/": ("http://***@aws.example:port/", PORT),
    "http://user:hunter2@aws.example:0": ("http://***@aws.example:0", PORT),
    "http://user:hunter2@aws.example:65536": ("http://***@aws.example:65536", PORT),
    "http://user:x/hunter2#@aws.example:x": ("http://***@aws.example:x", PORT),
    "http://user:hunter2/@aws.example": ("http://***@aws.example", PORT),
    "http://us er:hunter2@aws.example": ("http://***@aws.example", "a space"),
    "http://user:hünter2@hunter2@aws.example": ("http://***@aws.example", "not ASCII"),
    "http://user:hunter2\n@aws.example": ("http://***@aws.example", "a line break"),
    "http://user:[hunter2]@aws.example": ("http://***@aws.example", "not an IPv6 address"),
    "http://user:hunter2@[::1": ("http://***@[::1", "not an IPv6 address"),
    "ftp://user:hunter2@aws.example": ("ftp://***@aws.example", "does not begin with http://"),
    "user:hunter2@aws.example": ("***@aws.example", "does not begin with http://"),
    "http://user:hunter2@": ("http://***@", "names no host"),
    "http://user:hunter2@socks5://aws.example": ("http://***@socks5://aws.example", "a second ://"),
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "eu-west-1")):
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.mark.parametrize("way", ["--endpoint-url", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "profile"])
@pytest.mark.parametrize("url", [*ENDPOINTS])
def test_an_endpoint_that_is_refused_is_shown_without_its_user_and_password(
    url: str, way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, reason = ENDPOINTS[url]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fifo.toml").write_text(
        '[pipeline]\nname = "orders"\n[table]\nname = "orders"\ncreate = true\npartition_key = "id"\n'
        '[schedule]\nexpressions = ["rate(5 minutes)"]\n[[api]]\nurl = "http://127.0.0.1:9/"\n'
    )
    if way.startswith("AWS_"):
        monkeypatch.setenv(way, url)
    elif way == "profile":
        (tmp_path / "config").write_text(f"[default]\nendpoint_url = {url}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    code = main(["depth", "-vv", *(["--endpoint-url", url] if way == "--endpoint-url" else [])])
    err = capsys.readouterr().err
    assert code == 2
    assert "hunter2" not in err
    if not (way == "profile" and "\n" in url):  # the profile's value ends there, and cannot be read
        assert shown in err.partition("Traceback")[0]
        assert reason in err
        assert {"profile": "in the profile default"}.get(way, way) in err


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (lambda path: path.mkdir(), "a folder, not a file"),
    "not readable": (lambda path: path.symlink_to("/proc/self/mem"), "cannot be read: Input/output error"),
    "a pipe": (os.mkfifo, "not a file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a file"),
}


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
@pytest.mark.parametrize("kind", [*FILES])
@pytest.mark.parametrize("profile", [None, "prod"])
def test_a_file_of_profiles_that_cannot_be_read_is_refused_with_its_variable(
    kind: str, variable: str, profile: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, (make, reason) = tmp_path / "aws", FILES[kind]
    make(path)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(UsageError) as caught:
        Aws(AwsEndpoint(profile=profile))
    assert caught.value.message == f"${variable}: {path}: {reason}"
    assert "can be read" in caught.value.hint


@pytest.mark.parametrize("kind", [*FILES])
def test_the_completion_of_profiles_neither_fails_nor_waits_for_such_a_file(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FILES[kind][0](tmp_path / "aws")
    (tmp_path / "credentials").write_text("[prod]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    assert profile_names() == ["prod"]


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF\x02\xff\xfe", "it is not UTF-8 text (byte 6)"),
        (b"aws_secret_access_key = hunter2\n", "line 1: no [section] before it"),
        (b"[default]\nhunter2\n", "not `name = value`: line 2"),
        (b"[default]\n[default]\n", "line 2: a second section [default]"),
    ],
)
def test_a_file_that_is_none_of_profiles_is_named_with_the_reason_and_nothing_of_it(
    variable: str, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "aws"
    path.write_bytes(content)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(UsageError) as caught:
        Aws(AwsEndpoint(profile="prod")).client("sqs")
    assert caught.value.message == f"the AWS configuration file {path} cannot be read: {reason}"
    assert f"${variable}" in caught.value.hint
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("/nonexistent/config", "/nonexistent/config (of {}, does not exist)"),
        ("", "no file (of {}, does not exist)"),
        ("/dev/null", "/dev/null (of {})"),
    ],
)
def test_what_does_not_exist_holds_no_profile_and_is_named_where_one_is_missing(
    variable: str, path: str, state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, path)
    assert Aws(AwsEndpoint()).client("sqs")
    with pytest.raises(UsageError, match="profile") as caught:
        Aws(AwsEndpoint(profile="prod")).client("sqs")
    assert state.format(f"${variable}") in caught.value.message
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(FifoError, match="credentials") as missing:
        _ = Aws(AwsEndpoint(endpoint_url="http://127.0.0.1:9")).place
    assert state.format(f"${variable}") in missing.value.message
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(UsageError, match="no AWS region") as region:
        Aws(AwsEndpoint()).client("sqs")
    assert state.format(f"${variable}") in region.value.message
