"""The same attempts as real calls, on a stack that evaluates IAM's policies: each is denied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.escalations import ATTEMPTS, HOLDERS, Attempt, policies_of
from tests.integration.iam_stack import REGION, Guarded, guarded_stack

Client = Callable[[str], Any]
CALLED = [one for one in ATTEMPTS if one.call is not None]
DENIED = {"AccessDenied", "AccessDeniedException"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_stack(tmp_path_factory.mktemp("guarded")) as stack:
        yield stack


@pytest.fixture(scope="module")
def holders(guarded: Guarded, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Client]:
    """Clients of a holder of each policy, and of nothing else."""
    folder = tmp_path_factory.mktemp("policies")
    return {holder: _person(guarded, holder, policies_of(holder, folder)) for holder in HOLDERS}


def _person(guarded: Guarded, name: str, policies: list[dict[str, Any]]) -> Client:
    keys = guarded.person(name, *policies, strictly=True)

    def client(service: str) -> Any:
        make: Any = boto3.client
        return make(
            service,
            endpoint_url=guarded.endpoint,
            region_name=REGION,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )

    return client


def _answer(client: Client, attempt: Attempt) -> str:
    """Return the code of the error that a call ends in, or nothing."""
    assert attempt.call is not None
    service, name, arguments = attempt.call
    try:
        getattr(client(service), name)(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@pytest.mark.parametrize("attempt", CALLED, ids=lambda one: f"{one.holder}: {one.what}")
def test_a_call_for_more_is_denied(holders: dict[str, Client], guarded: Guarded, attempt: Attempt) -> None:
    """The stack does not know iam:PermissionsBoundary: it denies these for any value; see the unit tests."""
    assert _answer(holders[attempt.holder], attempt) in DENIED
    # It is the policy that denies it: who may do everything gets another answer.
    assert _answer(guarded.client, attempt) not in DENIED


def test_twenty_and_more_are_called() -> None:
    assert len(CALLED) >= 20


def test_a_holder_may_still_do_what_the_policy_is_for(holders: dict[str, Client], guarded: Guarded) -> None:
    guarded.client("sqs").create_queue(QueueName="orders.fifo", Attributes={"FifoQueue": "true"})
    for holder in ("monitor", "operator", "deployer"):
        sqs = holders[holder]("sqs")
        sqs.get_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName="orders.fifo")["QueueUrl"])
