"""What gives out credentials, on loopback: STS, IAM Identity Center, a container's agent, EC2's metadata.

And what takes them: SQS and CloudWatch, which note the access key that signed each request. Answers are as in
the services' API references; times are real, since botocore compares them with the machine's clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from fifo_cli.local.receiver import Answer, Received, Receiver, Reply

QUEUES = ("orders.fifo", "orders-dlq.fifo", "orders-hold.fifo")
_SSO_TOKEN = "sso-token-of-a-sign-in"
_NEW_SSO_TOKEN = "sso-token-refreshed"
_CONTAINER_TOKEN = "container-token"
_METADATA_TOKEN = "metadata-token"
_WEB_TOKEN = "web-identity-token"
_MFA_CODE = "123456"


class SignIn:
    """The services, and what was asked of them."""

    sso_token = _SSO_TOKEN
    new_sso_token = _NEW_SSO_TOKEN
    container_token = _CONTAINER_TOKEN
    web_token = _WEB_TOKEN
    mfa_code = _MFA_CODE

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.signed_by: set[str] = set()
        self.refusals: dict[str, Reply] = {}
        self.receiver = Receiver(answer=self._answer)

    @property
    def url(self) -> str:
        return self.receiver.url

    def refuse(self, operation: str, status: int, body: str) -> None:
        """Answer an operation so from now on."""
        self.refusals[operation] = Reply(status, body.encode())

    def environment(self) -> dict[str, str]:
        """What sends a program here for all services, and for its credentials to nowhere else."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": "eu-west-1"}

    def _answer(self, request: Received) -> Answer:
        operation = _operation(request)
        self.asked.append(operation)
        if operation in self.refusals:
            return self.refusals[operation]
        known: Mapping[str, Callable[[Received], Reply]] = {
            "AssumeRole": self._assume_role,
            "AssumeRoleWithWebIdentity": self._web_identity,
            "GetRoleCredentials": self._role_credentials,
            "CreateToken": self._create_token,
            "container": self._container,
            "metadata token": lambda _: Reply(200, _METADATA_TOKEN.encode()),
            "metadata": self._metadata,
        }
        if operation in known:
            return known[operation](request)
        self.signed_by.add(_access_key(request))
        return Reply(200, json.dumps(self._data(operation, request)).encode())

    def _data(self, operation: str, request: Received) -> dict[str, Any]:
        if operation == "GetQueueUrl":
            return {"QueueUrl": f"{self.url}/123456789012/{json.loads(request.body)['QueueName']}"}
        if operation == "GetQueueAttributes":
            counts = ("", "NotVisible", "Delayed")
            return {"Attributes": {f"ApproximateNumberOfMessages{one}": "3" for one in counts}}
        return {}

    def _assume_role(self, request: Received) -> Reply:
        fields = _form(request)
        if fields.get("SerialNumber") and fields.get("TokenCode") != _MFA_CODE:
            return _sts_error(
                "AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code."
            )
        role = fields["RoleArn"].rpartition("/")[2]
        return _sts_answer("AssumeRole", f"{role}-by-{_access_key(request)}")

    def _web_identity(self, request: Received) -> Reply:
        if _form(request)["WebIdentityToken"] != _WEB_TOKEN:
            return _sts_error("InvalidIdentityToken", "No OpenIDConnect provider found in your account")
        return _sts_answer("AssumeRoleWithWebIdentity", "web-identity")

    def _role_credentials(self, request: Received) -> Reply:
        token = request.headers.get("x-amz-sso_bearer_token")
        if token not in (_SSO_TOKEN, _NEW_SSO_TOKEN):
            message = {"message": "Session token not found or invalid", "__type": "UnauthorizedException"}
            return Reply(401, json.dumps(message).encode(), {"x-amzn-errortype": "UnauthorizedException"})
        keys = {
            "accessKeyId": "sso-refreshed" if token == _NEW_SSO_TOKEN else "sso",
            "secretAccessKey": "secret",
            "sessionToken": "token",
            "expiration": int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1000),
        }
        return Reply(200, json.dumps({"roleCredentials": keys}).encode())

    def _create_token(self, request: Received) -> Reply:
        given = json.loads(request.body)
        if given.get("grantType") != "refresh_token" or given.get("refreshToken") != "refresh-me":
            error = {"error": "invalid_grant", "error_description": "Invalid refresh token provided"}
            return Reply(400, json.dumps(error).encode(), {"x-amzn-errortype": "InvalidGrantException"})
        token = {"accessToken": _NEW_SSO_TOKEN, "expiresIn": 28800, "tokenType": "Bearer"}
        return Reply(200, json.dumps({**token, "refreshToken": "refresh-me-again"}).encode())

    def _container(self, request: Received) -> Reply:
        if request.headers.get("authorization") != _CONTAINER_TOKEN:
            return Reply(403, b"no token")
        return Reply(200, json.dumps(_agents_keys("container")).encode())

    def _metadata(self, request: Received) -> Reply:
        if request.headers.get("x-aws-ec2-metadata-token") != _METADATA_TOKEN:
            return Reply(401, b"")
        if request.path.endswith("/security-credentials/"):
            return Reply(200, b"ops-role")
        keys = {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": _after(hours=-1)}
        return Reply(200, json.dumps(keys | _agents_keys("instance")).encode())


def _operation(request: Received) -> str:
    target = request.headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2]
    path = request.path.partition("?")[0]
    named = {
        "/federation/credentials": "GetRoleCredentials",
        "/token": "CreateToken",
        "/container": "container",
    }
    if path in named:
        return named[path]
    if path.startswith("/latest/"):
        return "metadata token" if path.endswith("/api/token") else "metadata"
    return _form(request).get("Action", path)


def _form(request: Received) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def _access_key(request: Received) -> str:
    found = re.search(r"Credential=([^/]+)/", request.headers.get("authorization", ""))
    return found[1] if found else "nobody"


def _after(**time: float) -> str:
    return (datetime.now(UTC) + timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _agents_keys(key: str) -> dict[str, str]:
    return {"AccessKeyId": key, "SecretAccessKey": "secret", "Token": "token", "Expiration": _after(hours=1)}


def _sts_answer(operation: str, key: str) -> Reply:
    text = (
        f'<{operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{operation}Result>'
        "<AssumedRoleUser><AssumedRoleId>AROA1:s</AssumedRoleId>"
        "<Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser>"
        f"<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>"
        f"<SessionToken>token</SessionToken><Expiration>{_after(hours=1)}</Expiration></Credentials>"
        f"</{operation}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{operation}Response>"
    )
    return Reply(200, text.encode(), {"content-type": "text/xml"})


def _sts_error(code: str, message: str) -> Reply:
    text = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
    return Reply(403, text.encode(), {"content-type": "text/xml"})
