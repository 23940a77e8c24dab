import json

import pytest

from fifo_cli.model.names import Place
from fifo_cli.model.operator_policies import MANAGED_POLICY_SIZE, prover_policies
from fifo_cli.operations.prove.pipeline import layouts
from tests.iam_evaluation import Need, is_allowed

PLACE = Place("123456789012", "eu-west-1")
POLICIES = prover_policies(layouts(), PLACE)
ALL = {"Version": "2012-10-17", "Statement": [one for each in POLICIES for one in each["Statement"]]}


def test_each_is_small_enough_and_its_statements_have_names_of_their_own() -> None:
    for one in POLICIES:
        assert len(json.dumps(one, separators=(",", ":"))) <= MANAGED_POLICY_SIZE
        names = [statement["Sid"] for statement in one["Statement"]]
        assert len(set(names)) == len(names)
    assert "00000000" not in json.dumps(POLICIES)


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("sqs:CreateQueue", PLACE.queue("fifo-prove-0a1b2c3d.fifo"), True),
        ("sqs:DeleteQueue", PLACE.queue("fifo-prove-orders.fifo"), False),
        ("sqs:ReceiveMessage", PLACE.queue("orders.fifo"), False),
        ("lambda:CreateFunctionUrlConfig", PLACE.function("fifo-prove-0a1b2c3d-receiver"), True),
        ("lambda:CreateFunctionUrlConfig", PLACE.function("fifo-prove-0a1b2c3d-worker"), False),
        ("lambda:PutFunctionConcurrency", PLACE.function("fifo-prove-0a1b2c3d-worker"), True),
        ("lambda:DeleteFunctionConcurrency", PLACE.function("fifo-prove-0a1b2c3d-worker"), True),
        ("ssm:DeleteParameter", PLACE.parameter("/fifo-prove-0a1b2c3d/secret"), True),
        ("ssm:DeleteParameter", PLACE.parameter("/orders/api-key"), False),
        ("iam:CreatePolicy", PLACE.policy("fifo-prove-0a1b2c3d-deployer-0"), True),
        ("iam:CreatePolicy", PLACE.policy("administrators"), False),
    ],
)
def test_it_allows_what_a_run_does_and_nothing_on_another_pipeline(
    action: str, resource: str, allowed: bool
) -> None:
    assert is_allowed([ALL], Need(action, resource)) == allowed
