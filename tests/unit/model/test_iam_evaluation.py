"""The evaluator that the privilege tests rest on: IAM's rules, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.iam_evaluation import Need, is_allowed

ROLE = "arn:aws:iam::1:role/a"


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {
        "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": "*", **one} for one in statements]
    }


def _asked(*context: tuple[str, str], action: str = "iam:CreateRole", resource: str = ROLE) -> Need:
    return Need(action, resource, context)


KEY = "iam:PermissionsBoundary"


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({}, [], True),
        ({"StringEquals": {KEY: "b"}}, [(KEY, "b")], True),
        ({"StringEquals": {KEY: "b"}}, [("IAM:permissionsboundary", "b")], True),
        ({"StringEquals": {KEY: "b"}}, [(KEY, "B")], False),
        ({"StringEquals": {KEY: "b"}}, [], False),
        ({"StringEquals": {KEY: "b*"}}, [(KEY, "bc")], False),
        ({"StringEquals": {KEY: ["a", "b"]}}, [(KEY, "b")], True),
        ({"StringEquals": {KEY: "b", "x": "y"}}, [(KEY, "b")], False),
        ({"StringEquals": {KEY: "b"}, "StringLike": {"x": "*"}}, [(KEY, "b"), ("x", "y")], True),
        ({"StringEqualsIfExists": {KEY: "b"}}, [], True),
        ({"StringEqualsIfExists": {KEY: "b"}}, [(KEY, "c")], False),
        ({"StringNotEquals": {KEY: ["a", "b"]}}, [(KEY, "b")], False),
        ({"StringNotEquals": {KEY: ["a", "b"]}}, [(KEY, "c")], True),
        ({"StringNotEquals": {KEY: "b"}}, [], True),
        ({"StringLike": {KEY: "b?c*"}}, [(KEY, "bxc")], True),
        ({"StringLike": {KEY: "[b]"}}, [(KEY, "b")], False),
        ({"StringNotLike": {KEY: "b*"}}, [(KEY, "bc")], False),
        ({"ArnLike": {KEY: "arn:aws:iam::*:policy/b*"}}, [(KEY, "arn:aws:iam::1:policy/bc")], True),
        ({"ArnLike": {KEY: "arn:*:policy/b"}}, [(KEY, "arn:aws:iam::1:policy/b")], False),
        ({"ArnEquals": {KEY: "arn:aws:iam::1:policy/b"}}, [(KEY, "arn:aws:iam::2:policy/b")], False),
        ({"ArnNotLike": {KEY: "arn:aws:iam::1:*"}}, [(KEY, "arn:aws:iam::1:policy/b")], False),
        ({"ArnLike": {KEY: "arn:aws:iam::1:policy/b"}}, [], False),
        ({"Null": {KEY: "true"}}, [], True),
        ({"Null": {KEY: "true"}}, [(KEY, "b")], False),
        ({"Null": {KEY: "false"}}, [], False),
        ({"ForAnyValue:StringEquals": {KEY: "b"}}, [(KEY, "a"), (KEY, "b")], True),
        ({"ForAnyValue:StringEquals": {KEY: "b"}}, [], False),
        ({"ForAllValues:StringEquals": {KEY: "b"}}, [(KEY, "a"), (KEY, "b")], False),
        ({"ForAllValues:StringEquals": {KEY: "b"}}, [], True),
    ],
)
def test_a_condition_holds_as_iam_says(condition, context, holds) -> None:
    policy = _policy({"Condition": condition} if condition else {})
    assert is_allowed([policy], _asked(*context)) is holds


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([{"Action": "IAM:createrole"}], True),
        ([{"Action": ["iam:Create*"]}], True),
        ([{"Action": "iam:CreateRol"}], False),
        ([{"Resource": "arn:aws:iam::1:role/?"}], True),
        ([{"Resource": "arn:aws:iam::1:role/A"}], False),
        ([{}, {"Effect": "Deny", "Action": "iam:CreateRole"}], False),
        ([{}, {"Effect": "Deny", "Action": "iam:DeleteRole"}], True),
        ([{}, {"Effect": "Deny", "Condition": {"StringEquals": {KEY: "b"}}}], True),
    ],
)
def test_a_deny_wins_and_what_nothing_allows_is_denied(statements, allowed) -> None:
    assert is_allowed([_policy(*statements)], _asked()) is allowed
    assert is_allowed([_policy(one) for one in statements], _asked()) is allowed


def test_what_it_does_not_know_it_refuses() -> None:
    with pytest.raises(KeyError):
        is_allowed(
            [_policy({"Condition": {"DateLessThan": {"aws:CurrentTime": "2030"}}})], _asked(("x", "y"))
        )
    with pytest.raises(AssertionError):
        is_allowed([_policy({"NotResource": "*"})], _asked())
