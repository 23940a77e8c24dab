"""What people's policies reach, and whether IAM takes them. That they suffice, the integration tests show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

import pytest

from fifo_cli.model.names import ALARM_ROLES, FUNCTION_ROLES, QUEUE_ROLES, Names, Place
from fifo_cli.model.people_policies import Audience, people_policy
from fifo_cli.model.settings import load

PLACE = Place("123456789012", "eu-central-1")
TOML = """
[pipeline]
name = "orders"
[table]
name = "orders"
[schedule]
expressions = ["rate(5 minutes)"]
timezone = "Europe/Berlin"
[api]
url = "https://api.example.com/orders"
keys = { api_key = "/orders/key" }
headers = { Authorization = "Bearer {api_key}" }
"""
AUDIENCES = get_args(Audience)


@pytest.fixture
def policy(tmp_path: Path):
    def make(audience: Audience) -> dict[str, Any]:
        (tmp_path / "fifo.toml").write_text(TOML)
        return people_policy(load(tmp_path / "fifo.toml").settings, PLACE, audience)

    return make


def _arns(pipeline: str) -> Iterator[str]:
    names = Names(pipeline)
    yield from (PLACE.queue(names.queue(role)) for role in QUEUE_ROLES)
    yield PLACE.queue(names.stream_failures)
    for role in FUNCTION_ROLES:
        yield PLACE.function(names.function(role))
        yield PLACE.function(names.function(role), "live")
        yield PLACE.role(names.function(role))
        yield f"{PLACE.log_group(names.log_group(role))}:*"
    for number in (1, 2, 12):
        yield PLACE.rule(names.schedule(number))
        yield PLACE.schedule(names.schedule(number))
    yield from (PLACE.alarm(names.alarm(role)) for role in ALARM_ROLES)
    yield PLACE.table(pipeline)
    yield PLACE.stream(pipeline, "2026-01-01T00:00:00.000")
    yield PLACE.parameter(f"/{pipeline}/key")


def _patterns(policy: dict[str, Any]) -> set[str]:
    return {one for statement in policy["Statement"] for one in statement["Resource"]} - {"*"}


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("other", ["orders-prod", "order", "orders2", "orders-1"])
def test_no_policy_reaches_another_pipeline_whatever_its_name(policy, audience, other) -> None:
    patterns = _patterns(policy(audience))
    reached = {arn for arn in _arns(other) for pattern in patterns if fnmatchcase(arn, pattern)}
    assert reached == set()


@pytest.mark.parametrize("audience", AUDIENCES)
def test_every_policy_reaches_all_that_its_commands_are_about(policy, audience) -> None:
    patterns = _patterns(policy(audience))
    missed = {arn for arn in _arns("orders") if not any(fnmatchcase(arn, pattern) for pattern in patterns)}
    beyond = {PLACE.parameter("/orders/key"), PLACE.stream("orders", "2026-01-01T00:00:00.000")}
    # Only who sets or uses keys names them, and only who replays reads the stream.
    assert missed <= beyond


def test_what_is_allowed_on_everything_only_lists_and_looks(policy) -> None:
    looks = ("Describe", "Get", "List")
    for audience in AUDIENCES:
        for statement in policy(audience)["Statement"]:
            if statement["Resource"] == ["*"] and "Condition" not in statement:
                assert all(one.partition(":")[2].startswith(looks) for one in statement["Action"])


def test_a_monitor_changes_nothing_and_takes_no_message(policy) -> None:
    actions = {
        one.partition(":")[2] for statement in policy("monitor")["Statement"] for one in statement["Action"]
    }
    assert all(one.startswith(("Describe", "Filter", "Get", "List")) for one in actions)
    assert "ReceiveMessage" not in actions


@pytest.mark.parametrize("audience", AUDIENCES)
def test_statements_have_names_of_their_own(policy, audience) -> None:
    sids = [one["Sid"] for one in policy(audience)["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() for sid in sids)


@pytest.mark.parametrize("audience", AUDIENCES)
def test_a_policy_fits_into_one_managed_policy_of_iam(policy, audience) -> None:
    """IAM User Guide, "IAM and STS quotas": 6,144 characters, white space not counted."""
    text = json.dumps(policy(audience), separators=(",", ":")).replace("orders", "orders-production")
    assert len(text) <= 6144
