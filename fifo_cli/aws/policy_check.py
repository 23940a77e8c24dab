"""IAM's own opinion on a policy: whether it takes it, and what the policy would allow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from fifo_cli.aws.errors import DENIED, calling, error_codes
from fifo_cli.aws.resources.gateway import tag_list
from fifo_cli.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fifo_cli.aws.session import Aws


# A policy of which it is known what it allows.
_KNOWN: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::ours/*"}],
}


class NotPermittedError(AwsError):
    """The caller may not ask this."""


class NotSimulatedError(AwsError):
    """The service does not say what policies allow, or says it in a way of its own, as emulators do."""


def create_and_delete(aws: Aws, name: str, policy: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Create a managed policy and delete it; raises AwsError if IAM does not take it."""
    iam = aws.client("iam")
    with asking(f"policy {name}"):
        made = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy), Tags=tag_list(tags))
        iam.delete_policy(PolicyArn=made["Policy"]["Arn"])


def allowed(
    aws: Aws, policies: Sequence[Mapping[str, Any]], actions: Sequence[str], resource: str
) -> set[str]:
    """Return the actions that the policies together allow on a resource (SimulateCustomPolicy)."""
    with asking("the policies"):
        answer = aws.client("iam").simulate_custom_policy(
            PolicyInputList=[json.dumps(one) for one in policies],
            ActionNames=list(actions),
            ResourceArns=[resource],
        )
    return {one["EvalActionName"] for one in answer["EvaluationResults"] if one["EvalDecision"] == "allowed"}


def check_simulation(aws: Aws) -> None:
    """Raise NotSimulatedError unless the service says of a known policy what it allows."""
    asked = ("s3:GetObject", "s3:PutObject")
    try:
        found = [allowed(aws, [_KNOWN], asked, f"arn:aws:s3:::{bucket}/x") for bucket in ("ours", "others")]
    except NotPermittedError:
        raise
    except AwsError as error:
        raise NotSimulatedError(f"the service simulates no policies: {error.message}") from error
    if found != [{"s3:GetObject"}, set()]:
        raise NotSimulatedError("the service does not simulate policies as IAM does")


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Make errors ours; raise NotPermittedError where the caller may not ask."""
    with calling(what):
        try:
            yield
        except ClientError as error:
            if error_codes(error) & DENIED:
                raise NotPermittedError(f"{what}: {error.operation_name} is not permitted") from error
            raise
