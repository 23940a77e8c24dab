"""What a policy's holder tries beyond what docs/security.md says is denied; what comes nearest is not."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.escalations import ATTEMPTS, BOUNDARY, HOLDERS, PLACE, Attempt, policies_of
from tests.iam_evaluation import Need, is_allowed


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda one: f"{one.holder}: {one.what}")
def test_an_attempt_to_get_more_is_denied(tmp_path, attempt: Attempt) -> None:
    policies = policies_of(attempt.holder, tmp_path)
    assert not is_allowed(policies, attempt.need)
    # What is denied is what the attempt says, and not all that is like it.
    assert attempt.twin is None or is_allowed(policies, attempt.twin)


def test_twenty_and_more_are_tried_and_by_every_holder() -> None:
    counts = Counter(one.holder for one in ATTEMPTS)
    assert set(counts) == set(HOLDERS)
    assert counts["deployer"] >= 20
    assert counts["operator"] >= 20
    assert len({(one.holder, one.what) for one in ATTEMPTS}) == len(ATTEMPTS)


@pytest.mark.parametrize("role", ["orders-worker", "orders-enqueuer"])
def test_no_policy_of_a_deployer_allows_a_role_more_than_the_boundary(tmp_path, role) -> None:
    """Whatever is allowed on a role and could give it more, is allowed on one with the boundary alone."""
    policies = policies_of("deployer", tmp_path)
    for action in ("CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary", "AttachRolePolicy"):
        for boundary in ((), (("iam:PermissionsBoundary", f"{BOUNDARY}2"),)):
            assert not is_allowed(policies, Need(f"iam:{action}", PLACE.role(role), boundary))


SUBNETS = 'subnets = ["subnet-1"]\nsecurity_groups = ["sg-1"]'


@pytest.mark.parametrize("role", ["enqueuer", "worker"])
def test_a_network_is_lambdas_to_use_and_not_the_code_s(tmp_path, role) -> None:
    policies = policies_of(role, tmp_path, more=SUBNETS)
    by_code = (("lambda:SourceFunctionArn", PLACE.function(f"orders-{role}")),)
    for action in ("CreateNetworkInterface", "DeleteNetworkInterface", "AssignPrivateIpAddresses"):
        assert is_allowed(policies, Need(f"ec2:{action}", "*"))
        assert not is_allowed(policies, Need(f"ec2:{action}", "*", by_code))


@pytest.mark.parametrize(
    ("subnets", "timezone", "reaches"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_an_operator_reaches_the_network_by_a_schedule_with_timezone_and_subnets_only(
    tmp_path, subnets: bool, timezone: bool, reaches: bool
) -> None:
    """docs/security.md says so: IAM knows no condition that parts Scheduler's calls from Lambda's."""
    zone = 'timezone = "Europe/Berlin"\n'
    operator, worker = (
        policies_of(holder, tmp_path, more=SUBNETS if subnets else "", without="" if timezone else zone)
        for holder in ("operator", "worker")
    )
    passed = (("iam:PassedToService", "scheduler.amazonaws.com"),)
    ways = (
        is_allowed(operator, Need("scheduler:UpdateSchedule", PLACE.schedule("orders-1"))),
        is_allowed(operator, Need("iam:PassRole", PLACE.role("orders-worker"), passed)),
        is_allowed(worker, Need("ec2:DeleteNetworkInterface", "*")),
    )
    assert all(ways) is reaches
