"""Every way in which botocore finds credentials works with the program, run in a home of its own."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL, CompletedProcess, run
from typing import Any

import pexpect
import pytest

from fifo_cli.cli.app import main
from tests.cli_harness import clean_environment
from tests.integration.sign_in import SignIn

ROLE = "arn:aws:iam::123456789012:role/ops"
START_URL = "https://example.awsapps.com/start"


@dataclass
class Bench:
    """A home with AWS's files, the services, and the program."""

    home: Path
    services: SignIn
    environment: dict[str, str] = field(default_factory=dict)

    def config(self, text: str) -> None:
        """Write ~/.aws/config."""
        self.file(".aws/config", textwrap.dedent(text))

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def token(self, name: str, token: str, *, hours: float, **more: str) -> Path:
        """Write what `aws sso login` keeps of a sign-in; ``name`` is its session's or its start URL."""
        data = {"accessToken": token, "expiresAt": after(hours), "startUrl": START_URL, "region": "eu-west-1"}
        key = hashlib.sha1(name.encode()).hexdigest()
        return self.file(f".aws/sso/cache/{key}.json", json.dumps(data | more))

    def run(self, *words: str, **environment: str) -> Any:
        """Run `depth` for the pipeline orders; there is no terminal."""
        return run(
            [sys.executable, "-m", "fifo_cli", *words, "depth", "-o", "json"],
            cwd=self.home,
            env=self.variables(environment),
            stdin=DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            start_new_session=True,
        )

    def call(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **environment: str) -> Any:
        """Do as ``run`` does in this process, which is ten times as fast; its home counts for most things."""
        for name in set(os.environ) - {"PATH"}:
            patch.delenv(name)
        for name, value in self.variables(environment).items():
            patch.setenv(name, value)
        patch.chdir(self.home)
        code = main(["depth", "-o", "json"])
        said = capsys.readouterr()
        return CompletedProcess([], code, said.out, said.err)

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        return clean_environment(
            {"HOME": str(self.home), **self.services.environment(), **self.environment, **more}
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    services = SignIn()
    (tmp_path / "fifo.toml").write_text(
        '[pipeline]\nname = "orders"\n[table]\nname = "orders"\npartition_key = "id"\n'
        '[schedule]\nexpressions = ["rate(5 minutes)"]\n[[api]]\nurl = "http://127.0.0.1:9/"\n'
    )
    with services.receiver:
        yield Bench(tmp_path, services)


def after(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def signed(bench: Bench, done: Any, key: str) -> None:
    """Check that the program read the depths, and with whose key."""
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["queues"]["main"]["visible"] == 3
    assert bench.services.signed_by == {key}


def failed(done: Any, code: int, *message: str) -> None:
    """Check that the program named what is wrong and what to do."""
    assert done.returncode == code, done.stderr
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "\nnext: " in done.stderr
    for text in message:
        assert text in done.stderr
    assert done.stdout == ""


OLD_SSO = f"""
    [profile dev]
    sso_start_url = {START_URL}
    sso_region = eu-west-1
    sso_account_id = 123456789012
    sso_role_name = ops
"""
NEW_SSO = f"""
    [profile dev]
    sso_session = corp
    sso_account_id = 123456789012
    sso_role_name = ops
    [sso-session corp]
    sso_start_url = {START_URL}
    sso_region = eu-west-1
"""
CLIENT = {"clientId": "client", "clientSecret": "hidden", "refreshToken": "refresh-me"}


def test_an_sso_profile_of_the_old_form_signs_in(bench: Bench) -> None:
    bench.config(OLD_SSO)
    bench.token(START_URL, bench.services.sso_token, hours=1)
    signed(bench, bench.run("--profile", "dev"), "sso")
    assert bench.services.asked.count("GetRoleCredentials") == 1


def test_an_sso_profile_with_a_session_signs_in(bench: Bench) -> None:
    bench.config(NEW_SSO)
    bench.token("corp", bench.services.sso_token, hours=1)
    signed(bench, bench.run(AWS_PROFILE="dev"), "sso")
    assert "CreateToken" not in bench.services.asked


def test_what_an_sso_profile_gave_is_kept_for_the_next_command(bench: Bench) -> None:
    bench.config(NEW_SSO)
    bench.token("corp", bench.services.sso_token, hours=1)
    signed(bench, bench.run("--profile", "dev"), "sso")
    signed(bench, bench.run("--profile", "dev"), "sso")
    assert bench.services.asked.count("GetRoleCredentials") == 1


def test_an_sso_token_that_has_expired_is_refreshed_and_the_new_one_kept(bench: Bench) -> None:
    bench.config(NEW_SSO)
    kept = bench.token("corp", "old", hours=-1, registrationExpiresAt=after(24), **CLIENT)
    signed(bench, bench.run("--profile", "dev"), "sso-refreshed")
    found = json.loads(kept.read_text())
    assert (found["accessToken"], found["refreshToken"]) == (bench.services.new_sso_token, "refresh-me-again")


@pytest.mark.parametrize(
    ("config", "name", "hours", "more"),
    [
        (OLD_SSO, START_URL, -1, {}),
        (OLD_SSO, "another start URL", 1, {}),
        (OLD_SSO, START_URL, 1, {"expiresAt": "next week"}),
        (NEW_SSO, "corp", -1, {}),
        (NEW_SSO, "another session", 1, {}),
        (NEW_SSO, "corp", -1, {**CLIENT, "registrationExpiresAt": after(-1)}),
        (NEW_SSO, "corp", -1, {**CLIENT, "registrationExpiresAt": after(1), "refreshToken": "used up"}),
    ],
    ids=["expired", "none", "no time", "expired session", "no session", "registration over", "refused"],
)
def test_a_sign_in_that_is_over_says_how_to_sign_in_again(
    bench: Bench, config: str, name: str, hours: float, more: dict[str, str]
) -> None:
    bench.config(config)
    bench.token(name, "old", hours=hours, **more)
    failed(
        bench.run("--profile", "dev"), 3, "profile dev", "next: sign in with `aws sso login --profile dev`"
    )


def test_a_token_that_aws_has_forgotten_says_how_to_sign_in_again(bench: Bench) -> None:
    bench.config(OLD_SSO)
    bench.token(START_URL, "forgotten", hours=1)
    failed(bench.run("--profile", "dev"), 3, "`aws sso login --profile dev`")


def test_a_role_of_an_sso_profile_is_assumed(bench: Bench) -> None:
    bench.config(f"{NEW_SSO}\n    [profile ops]\n    role_arn = {ROLE}\n    source_profile = dev\n")
    bench.token("corp", bench.services.sso_token, hours=1)
    signed(bench, bench.run("--profile", "ops"), "ops-by-sso")


STATIC = """
    [profile base]
    aws_access_key_id = static
    aws_secret_access_key = secret
"""


@pytest.mark.parametrize(
    ("more", "environment", "key"),
    [
        ("source_profile = base", {}, "ops-by-static"),
        ("source_profile = base\n    external_id = x1\n    duration_seconds = 900", {}, "ops-by-static"),
        (
            "credential_source = Environment",
            {"AWS_ACCESS_KEY_ID": "env", "AWS_SECRET_ACCESS_KEY": "s"},
            "ops-by-env",
        ),
        (
            "credential_source = EcsContainer",
            {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-token"},
            "ops-by-container",
        ),
        (
            "credential_source = Ec2InstanceMetadata",
            {"AWS_EC2_METADATA_DISABLED": "false"},
            "ops-by-instance",
        ),
    ],
    ids=["profile", "external id", "environment", "container", "instance"],
)
def test_a_role_is_assumed_once_and_kept_where_the_aws_cli_keeps_it(
    bench: Bench, more: str, environment: dict[str, str], key: str
) -> None:
    bench.config(f"{STATIC}\n    [profile ops]\n    role_arn = {ROLE}\n    {more}\n")
    bench.environment = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{bench.services.url}/container",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": bench.services.url,
        "AWS_METADATA_SERVICE_TIMEOUT": "60",  # the default is one second
        **environment,
    }
    signed(bench, bench.run("--profile", "ops"), key)
    signed(bench, bench.run("--profile", "ops"), key)
    assert bench.services.asked.count("AssumeRole") == 1
    (kept,) = (bench.home / ".aws/cli/cache").iterdir()
    assert json.loads(kept.read_text())["Credentials"]["AccessKeyId"] == key
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"Credentials": null}', '{"Credentials": {"Expiration": "soon"}}', "\ufeff{}"]
)
def test_a_kept_file_that_is_damaged_is_replaced(bench: Bench, content: str) -> None:
    bench.config(f"{STATIC}\n    [profile ops]\n    role_arn = {ROLE}\n    source_profile = base\n")
    signed(bench, bench.run("--profile", "ops"), "ops-by-static")
    (kept,) = (bench.home / ".aws/cli/cache").iterdir()
    kept.write_text(content)
    signed(bench, bench.run("--profile", "ops"), "ops-by-static")
    assert "Credentials" in json.loads(kept.read_text())


def test_a_home_in_which_nothing_can_be_kept_is_no_hindrance(bench: Bench) -> None:
    bench.config(f"{STATIC}\n    [profile ops]\n    role_arn = {ROLE}\n    source_profile = base\n")
    bench.file(".aws/cli", "a file where a folder should be")
    signed(bench, bench.run("--profile", "ops"), "ops-by-static")


MFA = f"""{STATIC}
    [profile ops]
    role_arn = {ROLE}
    source_profile = base
    mfa_serial = arn:aws:iam::123456789012:mfa/me
"""


def test_an_mfa_code_is_asked_for_on_the_terminal_once_and_not_at_each_command(bench: Bench) -> None:
    bench.config(MFA)
    # Neither stdin nor stdout is a terminal: the code is read from /dev/tty, the prompt goes to stderr.
    command = f"{sys.executable} -m fifo_cli --profile ops depth -o json < /dev/null > out.json"
    child = pexpect.spawn(
        "bash", ["-c", command], cwd=str(bench.home), env=bench.variables({}), encoding="utf-8", timeout=30
    )
    child.expect("MFA code for arn:aws:iam::123456789012:mfa/me: ")
    child.sendline(bench.services.mfa_code)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert bench.services.mfa_code not in (child.before or "")
    assert json.loads((bench.home / "out.json").read_text())["queues"]["main"]["visible"] == 3
    signed(bench, bench.run("--profile", "ops"), "ops-by-static")
    assert bench.services.asked.count("AssumeRole") == 1


def test_a_wrong_mfa_code_is_refused_in_words(bench: Bench) -> None:
    bench.config(MFA)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "fifo_cli", "--profile", "ops", "depth"],
        cwd=str(bench.home),
        env=bench.variables({}),
        encoding="utf-8",
        timeout=30,
    )
    child.expect("MFA code for .*: ")
    child.sendline("654321")
    child.expect("invalid MFA one time pass code")
    child.expect("next: run it again with the code that the device shows now")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 3


def test_without_a_terminal_an_mfa_code_is_not_waited_for(bench: Bench) -> None:
    bench.config(MFA)
    done = bench.run("--profile", "ops")
    failed(done, 2, "profile ops", "it cannot be asked for without a terminal", "next: run it in a terminal")
    assert bench.services.asked == []


@pytest.mark.parametrize("place", ["environment", "profile"])
def test_a_web_identity_is_exchanged(bench: Bench, place: str) -> None:
    token = bench.file("token", bench.services.web_token)
    if place == "environment":
        bench.environment = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ROLE}
        signed(bench, bench.run(), "web-identity")
    else:
        bench.config(f"[profile web]\nrole_arn = {ROLE}\nweb_identity_token_file = {token}\n")
        signed(bench, bench.run("--profile", "web"), "web-identity")


@pytest.mark.parametrize("place", ["variable", "file"])
def test_a_container_s_role_is_used(bench: Bench, place: str) -> None:
    token = bench.file("container-token", bench.services.container_token)
    bench.environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{bench.services.url}/container"}
    if place == "file":
        bench.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(token)
    else:
        bench.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = bench.services.container_token
    signed(bench, bench.run(), "container")


def test_an_instance_s_role_is_used_by_the_second_version_of_its_service(bench: Bench) -> None:
    bench.environment = {
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": bench.services.url,
        "AWS_METADATA_SERVICE_TIMEOUT": "60",  # the default is one second
    }
    signed(bench, bench.run(), "instance")
    assert bench.services.asked[0] == "metadata token"


def process(bench: Bench, script: str, *, sourced: bool = False) -> None:
    """Make a credential_process of a shell script, of the profile itself or of the one it starts from."""
    path = bench.file("process.sh", f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    bench.config(f"[profile own]\ncredential_process = {path}\n")
    if sourced:
        bench.config(
            f"[profile base]\ncredential_process = {path}\n"
            f"[profile own]\nrole_arn = {ROLE}\nsource_profile = base\n"
        )


GOOD = '{"Version": 1, "AccessKeyId": "process", "SecretAccessKey": "s", "SessionToken": "t"}'


@pytest.mark.parametrize(("sourced", "key"), [(False, "process"), (True, "ops-by-process")])
def test_a_credential_process_is_run(bench: Bench, sourced: bool, key: str) -> None:
    process(bench, f"echo '{GOOD}'", sourced=sourced)
    signed(bench, bench.run("--profile", "own"), key)


@pytest.mark.parametrize("sourced", [False, True], ids=["", "sourced"])
@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ("echo no json, my-secret", 2, "what it printed is not JSON"),
        ("true", 2, "it printed nothing"),
        ("printf '\\377my-secret'", 2, "what it printed is not JSON"),
        ("echo '[]'", 2, "what it printed is not a JSON object"),
        ("echo '{\"Version\": 2}'", 2, 'has no "Version": 1'),
        ('echo \'{"Version": 1, "AccessKeyId": "my-secret"}\'', 2, "has no SecretAccessKey"),
        ('echo \'{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": 7}\'', 2, "has no SecretAccessKey"),
        ("echo the vault is locked >&2; exit 4", 3, "exit code 4: the vault is locked"),
        ("kill -9 $$", 3, "exit code -9"),
        ("printf '\\377' >&2; exit 1", 3, "exit code 1"),
    ],
)  # fmt: skip
def test_a_credential_process_of_no_use_is_named_with_the_reason(
    bench: Bench, script: str, code: int, message: str, sourced: bool
) -> None:
    process(bench, script, sourced=sourced)
    done = bench.run("--profile", "own")
    failed(done, code, "profile own", "process.sh", message)
    assert "my-secret" not in done.stderr


def test_the_embedded_stack_s_session_reads_nothing_of_all_this(bench: Bench) -> None:
    process(bench, "touch ran")
    done = bench.run("--local", AWS_PROFILE="own", AWS_MAX_ATTEMPTS="x", AWS_DEFAULTS_MODE="nonsense")
    failed(done, 3, "fifo-cli local up")
    assert not (bench.home / "ran").exists()
    assert bench.services.asked == []


BASE = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
NO_KEYS = {"AWS_ACCESS_KEY_ID": ""}
HTTPS = {"AWS_ENDPOINT_URL": "https://127.0.0.1:9"}
ELSEWHERE = {"AWS_ENDPOINT_URL": "https://aws.invalid"}
PROFILE = {**NO_KEYS, "AWS_PROFILE": "p"}
AGENT = {**NO_KEYS, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"}
FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
METADATA = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
WEB = "AWS_WEB_IDENTITY_TOKEN_FILE"
FAULTS: list[tuple[str, dict[str, str], int, str]] = [
    ("", {"AWS_ENDPOINT_URL": "http://[::1"}, 2, "$AWS_ENDPOINT_URL"),
    ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:port/"}, 2, "$AWS_ENDPOINT_URL"),
    ("", {"AWS_ENDPOINT_URL": "127.0.0.1:4566"}, 2, "$AWS_ENDPOINT_URL"),
    ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:99999/"}, 2, "$AWS_ENDPOINT_URL"),
    ("", {"AWS_ENDPOINT_URL": "ftp://127.0.0.1/"}, 2, "$AWS_ENDPOINT_URL"),
    ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1 /"}, 2, "$AWS_ENDPOINT_URL"),
    ("", {"AWS_ENDPOINT_URL_SQS": "http://[::1"}, 2, "$AWS_ENDPOINT_URL_SQS"),
    ("", {"AWS_ENDPOINT_URL_SQS": "http://"}, 2, "$AWS_ENDPOINT_URL_SQS"),
    ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 3, "could not be reached"),
    ("", {"AWS_PROFILE": "nobody"}, 2, "nobody"),
    ("", {"AWS_DEFAULT_REGION": "eu west 1"}, 2, "eu west 1"),
    ("", {"AWS_DEFAULT_REGION": "eu-west-1\n"}, 2, "$AWS_DEFAULT_REGION"),
    ("", {"AWS_REGION": "eu-west-1 "}, 2, "$AWS_REGION"),
    ("", {"AWS_MAX_ATTEMPTS": "many"}, 2, "$AWS_MAX_ATTEMPTS"),
    ("", {"AWS_METADATA_SERVICE_TIMEOUT": "soon"}, 2, "$AWS_METADATA_SERVICE_TIMEOUT"),
    ("", {"AWS_METADATA_SERVICE_NUM_ATTEMPTS": "1.5"}, 2, "$AWS_METADATA_SERVICE_NUM_ATTEMPTS"),
    ("", {"AWS_CSM_ENABLED": "true", "AWS_CSM_PORT": "x"}, 2, "$AWS_CSM_PORT"),
    ("", {"AWS_DEFAULTS_MODE": "fast"}, 2, "$AWS_DEFAULTS_MODE"),
    ("", {"AWS_STS_REGIONAL_ENDPOINTS": "nonsense"}, 2, "$AWS_STS_REGIONAL_ENDPOINTS"),
    ("", {"AWS_REQUEST_CHECKSUM_CALCULATION": "never"}, 2, "request_checksum_calculation"),
    ("", {"AWS_CA_BUNDLE": "/nonexistent.pem", **HTTPS}, 2, "$AWS_CA_BUNDLE"),
    ("", {"AWS_CA_BUNDLE": "/dev/null", **HTTPS}, 2, "$AWS_CA_BUNDLE"),
    ("", {"REQUESTS_CA_BUNDLE": "/none", **HTTPS}, 2, "$REQUESTS_CA_BUNDLE"),
    ("", {"HTTPS_PROXY": "http://[::1", **ELSEWHERE}, 2, "$HTTPS_PROXY"),
    ("", {"HTTPS_PROXY": "http://u:my-secret@h:port", **ELSEWHERE}, 2, "$HTTPS_PROXY"),
    ("", {"https_proxy": "socks5://h:1080", **ELSEWHERE}, 2, "$https_proxy"),
    ("", {"AWS_ACCESS_KEY_ID": "key\nX-Other: 1"}, 2, "$AWS_ACCESS_KEY_ID"),
    ("", {"AWS_SESSION_TOKEN": "tok\u2013en"}, 2, "$AWS_SESSION_TOKEN"),
    ("", {"AWS_SECRET_ACCESS_KEY": ""}, 2, "AWS_SECRET_ACCESS_KEY"),
    ("[default\nregion = eu-west-1\n", {}, 2, ".aws/config"),
    ("region = my-secret\n", {}, 2, "line 1"),
    ("\ufeff[default]\nregion = eu-west-1\n", {}, 2, "byte order mark"),
    ("[default]\na = 1\n[default]\nb = 1\n", {}, 2, "line 3"),
    ("[default]\ns3 =\n  my-secret\n", {}, 2, "indented block"),
    ("[default]\nendpoint_url = http://[::1\n", {"AWS_ENDPOINT_URL": ""}, 2, "endpoint_url in the profile"),
    ("[profile p]\nrole_arn = r\n", PROFILE, 2, "profile p"),
    ("[profile p]\nsso_account_id = 1\n", PROFILE, 2, "sso_start_url"),
    ("[profile p]\nrole_arn = r\nsource_profile = q\n", PROFILE, 2, '"q"'),
    ("[profile p]\ncredential_process = /none/x\n", PROFILE, 2, "/none/x"),
    ("[profile p]\ncredential_process = \"x\n", PROFILE, 2, "profile p"),
    ("", {**NO_KEYS, WEB: "/none", "AWS_ROLE_ARN": ROLE}, 2, f"${WEB}"),
    ("", {**NO_KEYS, WEB: "/none"}, 2, "AWS_ROLE_ARN"),
    ("", {**NO_KEYS, FULL_URI: "http://example.com/"}, 2, f"${FULL_URI}"),
    ("", {**NO_KEYS, FULL_URI: "http://[::1"}, 2, f"${FULL_URI}"),
    ("", {**AGENT, TOKEN: "a\nb"}, 2, f"${TOKEN}"),
    ("", {**AGENT, f"{TOKEN}_FILE": "/none"}, 2, f"${TOKEN}_FILE"),
    ("", {**NO_KEYS, "AWS_EC2_METADATA_DISABLED": "false", METADATA: "http://[::1"}, 2, f"${METADATA}"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "environment", "code", "message"), FAULTS)
def test_no_fault_of_the_surroundings_is_a_defect_of_the_program(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: str,
    environment: dict[str, str],
    code: int,
    message: str,
) -> None:
    if config:
        bench.config(config)
    variables = {
        name: value for name, value in {**BASE, **environment}.items() if value or name in environment
    }
    if environment.get("AWS_ACCESS_KEY_ID") == "":
        variables = {name: value for name, value in variables.items() if name not in BASE}
    if environment.get("AWS_ENDPOINT_URL") == "":
        variables["AWS_ENDPOINT_URL"] = ""
    done = bench.call(monkeypatch, capsys, **variables)
    failed(done, code, message)
    assert "my-secret" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_RETRY_MODE": "nonsense"},
        {"AWS_USE_FIPS_ENDPOINT": "maybe"},
        {"AWS_CA_BUNDLE": "/nonexistent.pem"},
        {"HTTPS_PROXY": "http://[::1", "ALL_PROXY": "socks5://h"},
        {"NO_PROXY": "127.0.0.1,[::1],*."},
        {"AWS_SDK_UA_APP_ID": "line\nbreak \u2013 and more"},
        {"AWS_CONFIG_FILE": "/nonexistent/config"},
        {"AWS_DATA_PATH": "/nonexistent"},
        {"HOME": "/nonexistent"},
        {"HOME": ""},
    ],
    ids=str,
)
def test_what_is_of_no_matter_to_the_calls_is_no_hindrance(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
) -> None:
    signed(bench, bench.call(monkeypatch, capsys, **{**BASE, **environment}), "a")


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "InvalidSignatureException"])
def test_a_clock_that_is_wrong_is_named(bench: Bench, code: str) -> None:
    error = {
        "__type": code,
        "message": "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z",
    }
    bench.services.refuse("GetQueueUrl", 403, json.dumps(error))
    failed(bench.run(**BASE), 3, "Signature expired", "next: check this machine's clock")


def test_a_profiles_file_that_cannot_be_read_is_named(bench: Bench) -> None:
    bench.config("[profile p]\nregion = eu-west-1\n")
    os.rename(bench.home / ".aws/config", bench.home / ".aws/elsewhere")
    done = bench.run(AWS_PROFILE="p")
    failed(done, 2, f"{bench.home}/.aws/config (does not exist)", "aws configure list-profiles")


def test_a_role_that_is_not_ours_to_assume_is_not_taken_for_a_missing_resource(bench: Bench) -> None:
    bench.config(f"{STATIC}\n    [profile ops]\n    role_arn = {ROLE}\n    source_profile = base\n")
    bench.services.refuse(
        "AssumeRole",
        400,
        "<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>gone</Message></Error></ErrorResponse>",
    )
    failed(bench.run("--profile", "ops"), 3, "profile ops", "AssumeRole was refused: gone", "role_arn")
