"""The embedded stack with IAM switched on: a call that no policy allows is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from fifo_cli.local.ports import HOST, free_port

REGION = "us-east-1"
ROOT_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
# What the stack (1.5.33) asks for instead of an action that is another to IAM.
_MISTAKES = {
    "lambda:GetAlias": "lambda:ListAliases",
    "lambda:UpdateAlias": "lambda:ListAliases",
    "lambda:DeleteAlias": "lambda:ListAliases",
    "lambda:GetFunctionConcurrency": "lambda:PutFunctionConcurrency",
    "sqs:SendMessage": "sqs:SendMessageBatch",
    "sqs:DeleteMessage": "sqs:DeleteMessageBatch",
    "sqs:ChangeMessageVisibility": "sqs:ChangeMessageVisibilityBatch",
}
# Of these the stack knows the action, yet not the resource; ``iam_calls`` looks at that.
_VAGUE_SERVICES = frozenset({"cloudwatch", "events", "scheduler", "ssm"})
_VAGUE = frozenset(
    {
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
        "dynamodb:ListTagsOfResource",
        "dynamodb:TagResource",
        "iam:PassRole",
        "lambda:CreateEventSourceMapping",
        "lambda:CreateFunction",
        "lambda:DeleteEventSourceMapping",
        "lambda:InvokeFunction",
        "lambda:UpdateEventSourceMapping",
        "logs:CreateLogStream",
        "logs:FilterLogEvents",
        "logs:PutLogEvents",
        # Of a secret that does not exist the stack does not know that its ARN would end in six characters.
        "secretsmanager:CreateSecret",
        "secretsmanager:DescribeSecret",
        "sqs:CancelMessageMoveTask",
        "sqs:ListMessageMoveTasks",
        "sqs:StartMessageMoveTask",
    }
)


@dataclass(frozen=True)
class Guarded:
    """A stack whose root user is ``test``."""

    endpoint: str

    def client(self, service: str) -> Any:
        """Return a client of the root user, who may do everything."""
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def person(self, name: str, *policies: Mapping[str, Any], strictly: bool = False) -> dict[str, str]:
        """Make a user who may do what policies say and nothing else, and return the environment to be it.

        Unless ``strictly``, the user gets what the stack wrongly asks for besides.
        """
        iam = self.client("iam")
        iam.create_user(UserName=name)
        given = {f"only-{number}": policy for number, policy in enumerate(policies)}
        if not strictly:
            given |= {f"mistakes-{number}": _leniency(policy) for number, policy in enumerate(policies)}
        for title, policy in given.items():
            iam.put_user_policy(UserName=name, PolicyName=title, PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        return {**ROOT_KEYS, **keys}

    def help_role(self, name: str) -> None:
        """Give a role what the stack wrongly asks for besides its own policy."""
        iam = self.client("iam")
        policy = iam.get_role_policy(RoleName=name, PolicyName="fifo-cli")["PolicyDocument"]
        iam.put_role_policy(
            RoleName=name, PolicyName="mistakes", PolicyDocument=json.dumps(_leniency(policy))
        )


def _leniency(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else the stack must allow to somebody who may do what a policy says."""
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    vague = {one for one in actions if one in _VAGUE or one.partition(":")[0] in _VAGUE_SERVICES}
    mistaken = {wrong for right, wrong in _MISTAKES.items() if right in actions}
    anywhere = {
        "Effect": "Allow",
        "Action": sorted({*vague, *mistaken, "sts:GetCallerIdentity"}),
        "Resource": "*",
    }
    return {"Version": "2012-10-17", "Statement": [anywhere]}


@contextmanager
def guarded_stack(folder: Path) -> Iterator[Guarded]:
    """Run the stack with its state in a folder, until the block ends."""
    port = free_port()
    env = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ},
        "AUTH": "true",
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "TMPDIR": str(folder),
        "PERSIST_STATE": "0",
    }
    with (folder / "stack.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], cwd=folder, env=env, stdout=log, stderr=log
        )
    try:
        endpoint = f"http://{HOST}:{port}"
        _wait_until_ready(endpoint, process)
        yield Guarded(endpoint)
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the stack ended; see its stack.log"
        try:
            with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError("the stack was not ready within 30 s")
