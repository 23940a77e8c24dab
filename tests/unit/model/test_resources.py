"""The wanted resources, and the policies of the two roles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from fifo_cli import __version__
from fifo_cli.handlers import runtime
from fifo_cli.model import names
from fifo_cli.model.names import FUNCTION_ROLES, PIPELINE_TAG, SCHEDULER_TAG, Place
from fifo_cli.model.resources import (
    Found,
    Key,
    Kind,
    Resource,
    may_have_schedules,
    normalised,
    stamped,
    wanted_resources,
    with_more_permissions,
    with_scheduler_tag,
)
from fifo_cli.model.role_policies import role_policy, role_trust
from fifo_cli.model.settings import Settings, load

PLACE = Place("123456789012", "eu-west-1")
BASE = """
[pipeline]
name = "orders"
[table]
name = "items"
sort_key = "created:N"
%s
[api]
url = "https://api.example.com/orders"
timeout = "10s"
keys = { api_key = "/orders/key" }
headers = { Authorization = "Bearer {api_key}" }
"""


@pytest.fixture
def settings(tmp_path: Path):
    def make(more: str = "", base: str = BASE) -> Settings:
        (tmp_path / "fifo.toml").write_text(base % more)
        return load(tmp_path / "fifo.toml").settings

    return make


def wanted(settings: Settings, *, reserve: bool = True) -> dict[tuple[str, str], Resource]:
    zips = dict.fromkeys(FUNCTION_ROLES, "c2hh")
    return {one.key: one for one in wanted_resources(settings, PLACE, zips, reserve_concurrency=reserve)}


def test_every_resource_of_the_contract_is_wanted_and_tagged(settings) -> None:
    found = wanted(settings('[tags]\nteam = "payments"'))
    assert list(found) == [
        ("table", "items"),
        ("queue", "orders.fifo"),
        ("queue", "orders-dlq.fifo"),
        ("queue", "orders-hold.fifo"),
        ("queue", "orders-stream-failures"),
        ("log-group", "/aws/lambda/orders-enqueuer"),
        ("log-group", "/aws/lambda/orders-worker"),
        ("log-group", "/fifo-cli/orders"),
        ("role", "orders-enqueuer"),
        ("role", "orders-worker"),
        ("function", "orders-enqueuer"),
        ("function", "orders-worker"),
        ("alias", "orders-enqueuer:live"),
        ("alias", "orders-worker:live"),
        ("event-source-mapping", "orders-enqueuer"),
        ("rule", "orders-1"),
    ]
    tags = {"fifo-cli:pipeline": "orders", "team": "payments"}
    # A role's name is its account's, whatever the region, so a role carries the region too.
    regional = {**tags, "fifo-cli:region": "eu-west-1"}
    for one in found.values():
        if one.kind != "alias":
            assert one.tags == (regional if one.kind == "role" else tags)
    assert stamped(tags) == {**tags, "fifo-cli:version": __version__}
    with_zone = wanted(settings('[schedule]\ntimezone = "Europe/Berlin"'))
    watched = wanted(settings("[alarms]"))
    assert {one.kind for one in (*found.values(), *with_zone.values(), *watched.values())} == set(
        get_args(Kind)
    )


def test_what_a_resource_needs_is_wanted_too(settings) -> None:
    found = wanted(settings('[schedule]\ntimezone = "Europe/Berlin"'))
    assert [(one.key, need) for one in found.values() for need in one.needs if need not in found] == []


@pytest.mark.parametrize(
    ("tables", "main", "admitted"),
    [
        ("", None, ["orders-hold.fifo"]),
        ("[queue]\nmax_receives = 0", None, ["orders-hold.fifo"]),
        ("[queue]\nmax_receives = 1", 1, ["orders-hold.fifo", "orders.fifo"]),
        ("[queue]\nmax_receives = 1000", 1000, ["orders-hold.fifo", "orders.fifo"]),
    ],
)
def test_main_has_a_redrive_policy_only_where_max_receives_asks_for_one(
    settings, tables: str, main: int | None, admitted: list[str]
) -> None:
    found = wanted(settings(tables))
    arn = "arn:aws:sqs:eu-west-1:123456789012:"
    policies = {
        name: found["queue", name].properties["redrive"] for name in ("orders.fifo", "orders-hold.fifo")
    }

    assert policies == {
        "orders.fifo": main and {"target": f"{arn}orders-dlq.fifo", "max_receives": main},
        "orders-hold.fifo": {"target": f"{arn}orders-dlq.fifo", "max_receives": 1000},
    }
    allowed = found["queue", "orders-dlq.fifo"].properties["redrive_allow"]
    assert allowed == {"permission": "byQueue", "sources": [f"{arn}{name}" for name in admitted]}
    # The DLQ admits a queue before that names it, and main gives up its policy after hold has one.
    assert found["queue", "orders-hold.fifo"].needs == (("queue", "orders-dlq.fifo"),)
    assert set(found["queue", "orders.fifo"].needs) == {
        ("queue", "orders-dlq.fifo"),
        ("queue", "orders-hold.fifo"),
    }


def test_the_queues_are_strict_fifo_and_the_dlq_admits_ours_only(settings) -> None:
    found = wanted(settings('[queue]\nretention = "2d"\nmax_receives = 7'))
    common = {
        "max_message_bytes": 1_048_576,
        "visibility_timeout": 45,  # the API's 10 s, 5 s to finish, 30 s of margin
        "delay": 0,
        "encryption": "sqs",
        "fifo": True,
        "content_based_deduplication": False,
        "deduplication_scope": "queue",
        "throughput_limit": "perQueue",
    }
    dlq = "arn:aws:sqs:eu-west-1:123456789012:orders-dlq.fifo"
    assert found["queue", "orders.fifo"].properties == {
        **common,
        "retention": 172_800,
        "redrive": {"target": dlq, "max_receives": 7},
    }
    assert found["queue", "orders-dlq.fifo"].properties == {
        **common,
        "retention": 1_209_600,
        "redrive": None,
        "redrive_allow": {
            "permission": "byQueue",
            "sources": [
                "arn:aws:sqs:eu-west-1:123456789012:orders-hold.fifo",
                "arn:aws:sqs:eu-west-1:123456789012:orders.fifo",
            ],
        },
    }
    assert found["queue", "orders-hold.fifo"].properties == {
        **common,
        "retention": 1_209_600,
        "redrive": {"target": dlq, "max_receives": 1000},
    }
    failures = found["queue", "orders-stream-failures"].properties
    assert failures == {**dict(list(common.items())[:4]), "fifo": False, "retention": 1_209_600}


@pytest.mark.parametrize(
    ("age", "milliseconds"), [("1h", 3_600_000), ("12h", 43_200_000), ("23h", 43_200_000), ("7d", 43_200_000)]
)
def test_alarms_watch_what_counts_moved_messages_and_ring_long_before_the_stream_forgets(
    settings, age: str, milliseconds: int
) -> None:
    """What SQS itself moves to the DLQ is in no NumberOfMessagesSent; a stream keeps records for 24 hours."""
    found = wanted(settings(f'[alarms]\n[check]\nage = ["5m", "{age}"]'))
    dlq = found["alarm", "orders-dlq"].properties
    assert (dlq["metric"], dlq["dimensions"]) == (
        "ApproximateNumberOfMessagesVisible",
        {"QueueName": "orders-dlq.fifo"},
    )
    iterator = found["alarm", "orders-iterator-age"].properties
    assert (iterator["metric"], iterator["threshold"]) == ("IteratorAge", milliseconds)


def test_high_throughput_sets_both_attributes_that_make_it(settings) -> None:
    queue = wanted(settings("[queue]\nhigh_throughput = true"))["queue", "orders.fifo"].properties
    assert (queue["deduplication_scope"], queue["throughput_limit"]) == ("messageGroup", "perMessageGroupId")


def test_the_mapping_retries_within_a_bound_and_shows_of_what_it_gave_up(settings) -> None:
    mapping = wanted(settings('[message]\nevents = ["REMOVE", "INSERT"]'))[
        "event-source-mapping", "orders-enqueuer"
    ]
    assert mapping.properties == {
        "table": "items",
        "function": "arn:aws:lambda:eu-west-1:123456789012:function:orders-enqueuer:live",
        "filters": [{"eventName": ["INSERT", "REMOVE"]}],
        "batch_size": 100,
        "batching_window": 0,
        "response_types": ["ReportBatchItemFailures"],
        "bisect": True,
        "retries": 10_000,
        "record_age": 75_600,
        "parallelization": 1,
        "on_failure": "arn:aws:sqs:eu-west-1:123456789012:orders-stream-failures",
        "others": [],
    }


def test_the_worker_runs_once_at_a_time_and_never_late(settings) -> None:
    found = wanted(settings())
    assert found["function", "orders-worker"].properties["reserved_concurrency"] == 1
    assert "reserved_concurrency" not in found["function", "orders-enqueuer"].properties
    alias = found["alias", "orders-worker:live"].properties
    assert (alias["async_retries"], alias["async_age"]) == (0, 60)
    assert "async_retries" not in found["alias", "orders-enqueuer:live"].properties
    assert (
        "reserved_concurrency"
        not in wanted(settings(), reserve=False)["function", "orders-worker"].properties
    )


def test_a_time_zone_makes_schedules_that_start_the_worker_with_its_role(settings) -> None:
    found = wanted(settings('[schedule]\nexpressions = ["rate(1 hour)"]\ntimezone = "Europe/Berlin"'))
    live = "arn:aws:lambda:eu-west-1:123456789012:function:orders-worker:live"
    assert found["schedule", "orders-1"].properties == {
        "expression": "rate(1 hour)",
        "timezone": "Europe/Berlin",
        "target": {"arn": live, "retries": 0, "age": 60},
        "role": "arn:aws:iam::123456789012:role/orders-worker",
        "flexible_window": "OFF",
        "dates": [],
    }
    assert not [key for key in found if key[0] == "rule"]


@pytest.mark.parametrize(("events", "accepted"), [('"INSERT"', ("NEW_IMAGE",)), ('"INSERT", "REMOVE"', ())])
def test_a_foreign_table_may_keep_a_stream_of_new_images_unless_removals_count(
    settings, events, accepted
) -> None:
    base = BASE.replace('name = "items"', 'name = "items"\ncreate = false')
    table = wanted(settings(f"[message]\nevents = [{events}]", base))["table", "items"]
    assert (table.managed, table.tags, table.accepts) == (False, {}, {"stream": accepted})
    assert table.properties == {"keys": [["id", "S"], ["created", "N"]], "stream": "NEW_AND_OLD_IMAGES"}


def statements(document: dict[str, Any]) -> dict[str, Any]:
    return {
        one["Sid"]: (one["Action"], one["Resource"], one.get("Condition")) for one in document["Statement"]
    }


def test_the_enqueuer_may_read_the_stream_send_and_log(settings) -> None:
    sqs = "arn:aws:sqs:eu-west-1:123456789012:orders"
    logs = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/orders-enqueuer:*"
    assert statements(role_policy(settings(), PLACE, "enqueuer")) == {
        "Log": (["logs:CreateLogStream", "logs:PutLogEvents"], [logs], None),
        "ReadStream": (
            [
                "dynamodb:DescribeStream",
                "dynamodb:GetRecords",
                "dynamodb:GetShardIterator",
                "dynamodb:ListStreams",
            ],
            ["arn:aws:dynamodb:eu-west-1:123456789012:table/items/stream/*"],
            None,
        ),
        "Send": (["sqs:GetQueueUrl", "sqs:SendMessage"], [f"{sqs}.fifo", f"{sqs}-dlq.fifo"], None),
        "ReportFailedBatches": (["sqs:SendMessage"], [f"{sqs}-stream-failures"], None),
    }


def test_the_worker_may_take_park_log_and_read_its_keys(settings) -> None:
    sqs = "arn:aws:sqs:eu-west-1:123456789012:orders"
    logs = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/orders-worker:*"
    take = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
    parameter = "arn:aws:ssm:eu-west-1:123456789012:parameter/orders/key"
    via_ssm = {"StringEquals": {"kms:ViaService": "ssm.eu-west-1.amazonaws.com"}}
    assert statements(role_policy(settings(), PLACE, "worker")) == {
        "Log": (["logs:CreateLogStream", "logs:PutLogEvents"], [logs], None),
        "Take": (take, [f"{sqs}.fifo"], None),
        "Park": (["sqs:GetQueueUrl", "sqs:SendMessage"], [f"{sqs}-dlq.fifo"], None),
        "ReadKeys": (["ssm:GetParameters"], [parameter], None),
        "DecryptKeys": (["kms:Decrypt"], ["arn:aws:kms:eu-west-1:123456789012:key/*"], via_ssm),
    }
    trust = role_trust(settings(), PLACE, "worker")
    assert [one["Principal"] for one in trust["Statement"]] == [{"Service": "lambda.amazonaws.com"}]


def test_the_worker_may_read_the_secrets_that_hold_keys_and_no_other(settings) -> None:
    ours, theirs = (
        f"arn:aws:secretsmanager:eu-west-1:{account}:secret:" for account in ("123456789012", "999999999999")
    )
    keys = (
        'a = "secretsmanager:orders/api#id", b = "secretsmanager:orders/api#secret",'
        ' c = "secretsmanager:plain",'
        f' d = "secretsmanager:{theirs}shared-AbCdEf", e = "secretsmanager:{ours}part"'
    )
    of_secrets = settings(base=BASE.replace('api_key = "/orders/key"', f'api_key = "/orders/key", {keys}'))
    found = statements(role_policy(of_secrets, PLACE, "worker"))
    via = {"StringEquals": {"kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com"}}
    arns = [
        f"{ours}orders/api-??????",
        f"{ours}part-??????",
        f"{ours}plain-??????",
        f"{theirs}shared-AbCdEf",
        # A name that ends so may be all that is known of the ARN.
        f"{theirs}shared-AbCdEf-??????",
    ]
    of_kms = [f"arn:aws:kms:eu-west-1:{account}:key/*" for account in ("123456789012", "999999999999")]
    assert found["ReadKeys"][1] == ["arn:aws:ssm:eu-west-1:123456789012:parameter/orders/key"]
    assert found["ReadSecrets"] == (["secretsmanager:GetSecretValue"], arns, None)
    assert found["DecryptSecrets"] == (["kms:Decrypt"], of_kms, via)
    enqueuer = statements(role_policy(of_secrets, PLACE, "enqueuer"))
    assert not [
        one for actions, _, _ in enqueuer.values() for one in actions if "secret" in one or "kms" in one
    ]


def test_without_a_parameter_the_worker_may_read_none(settings) -> None:
    only = settings(base=BASE.replace("/orders/key", "secretsmanager:orders"))
    assert {"ReadKeys", "DecryptKeys"}.isdisjoint(statements(role_policy(only, PLACE, "worker")))


def test_a_time_zone_lets_scheduler_of_this_account_start_the_worker_and_nothing_else(settings) -> None:
    zoned = settings('[schedule]\ntimezone = "Europe/Berlin"')
    start = statements(role_policy(zoned, PLACE, "worker"))["Start"]
    live = "arn:aws:lambda:eu-west-1:123456789012:function:orders-worker:live"
    assert start == (["lambda:InvokeFunction"], [live], None)
    scheduler = role_trust(zoned, PLACE, "worker")["Statement"][1]
    assert scheduler["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert scheduler["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert "Start" not in statements(role_policy(zoned, PLACE, "enqueuer"))
    assert len(role_trust(zoned, PLACE, "enqueuer")["Statement"]) == 1


@pytest.mark.parametrize(
    ("key", "resource", "alias"),
    [
        ("alias/mine", "arn:aws:kms:eu-west-1:123456789012:key/*", "alias/mine"),
        ("arn:aws:kms:eu-west-1:1:alias/mine", "arn:aws:kms:eu-west-1:123456789012:key/*", "alias/mine"),
        ("11-22", "arn:aws:kms:eu-west-1:123456789012:key/11-22", None),
        ("arn:aws:kms:eu-west-1:1:key/11-22", "arn:aws:kms:eu-west-1:1:key/11-22", None),
    ],
)
@pytest.mark.parametrize("role", FUNCTION_ROLES)
def test_a_key_of_ones_own_is_granted_by_arn_and_an_alias_by_condition(
    settings, key, resource, alias, role
) -> None:
    use = statements(role_policy(settings(f'[queue]\nkms_key = "{key}"'), PLACE, role))["UseKey"]
    condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}} if alias else None
    assert use == (["kms:Decrypt", "kms:GenerateDataKey"], [resource], condition)


def test_network_permissions_come_with_subnets_only(settings) -> None:
    inside = settings('[functions]\nsubnets = ["subnet-1"]\nsecurity_groups = ["sg-1"]')
    for role in FUNCTION_ROLES:
        assert "Network" in statements(role_policy(inside, PLACE, role))
        wild = [sid for sid, one in statements(role_policy(settings(), PLACE, role)).items() if "*" in one[1]]
        assert wild == []


def test_policies_are_compared_by_statement_whatever_their_order_and_form() -> None:
    one = {"Version": "2012-10-17", "Statement": [{"Sid": "A", "Action": ["x", "y"], "Resource": ["r"]}]}
    other = {"Statement": {"Resource": "r", "Action": ["y", "x"], "Sid": "A"}, "Version": "2012-10-17"}
    assert normalised(one) == normalised(other) == {"A": {"Action": ["x", "y"], "Resource": "r"}}
    assert normalised({"Statement": [{"Sid": "A", "Action": "x"}]}) != normalised(one)


def test_a_statement_does_not_hide_another_of_the_same_name() -> None:
    for sids in ({"Sid": "A"}, {"Sid": "A"}), ({"Sid": "2"}, {}):
        statements = [{**sid, "Action": action} for sid, action in zip(sids, ("s3:*", "x"), strict=True)]
        assert sorted(one["Action"] for one in normalised({"Statement": statements}).values()) == [
            "s3:*",
            "x",
        ]


def test_the_enqueuer_reads_its_start_where_deploy_writes_it():
    assert names.START_VARIABLE == runtime.START_VARIABLE


@pytest.mark.parametrize(
    ("facts", "has"),
    [
        ({"kms_key": "arn:aws:kms:eu-west-1:1:key/k"}, True),
        ({"kms_key": None}, False),
        ({}, False),
        (None, False),
    ],
)
def test_the_enqueuer_may_use_the_key_of_its_table_and_nobody_else_may(settings, facts, has) -> None:
    before = tuple(wanted(settings()).values())
    table = Found("table", "items", {}, {}, facts or {})
    after = with_more_permissions(settings(), before, {} if facts is None else {table.key: table})
    keyed = [one.name for one in after if "UseTableKey" in str(one.properties.get("policy"))]
    assert keyed == (["orders-enqueuer"] if has else [])
    (role,) = [one for one in after if one.name == "orders-enqueuer" and one.kind == "role"]
    statements = role.properties["policy"]["Statement"]
    if has:
        assert statements[-1] == {
            "Sid": "UseTableKey",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:DescribeKey"],
            "Resource": ["arn:aws:kms:eu-west-1:1:key/k"],
        }
    assert [one for one in after if one not in before] == ([role] if has else [])


def _signs(tags: Mapping[str, str] | None, trust: Any) -> dict[Key, Found]:
    found: list[Found] = []
    if tags is not None:
        found.append(Found("queue", "orders.fifo", {}, tags))
    if trust is not None:
        found.append(Found("role", "orders-worker", {"trust": trust}))
    return {one.key: one for one in found}


LAMBDA_TRUST = {"Statement": [{"Principal": {"Service": "lambda.amazonaws.com"}}]}
BOTH_TRUST = {"Statement": [{"Principal": {"Service": ["lambda.amazonaws.com", "scheduler.amazonaws.com"]}}]}


@pytest.mark.parametrize(
    ("timezone", "tags", "trust", "may"),
    [
        (None, None, None, False),  # nothing is deployed
        (None, {PIPELINE_TAG: "orders"}, LAMBDA_TRUST, False),
        (None, {}, {}, False),
        ("Europe/Berlin", None, None, True),
        (None, {SCHEDULER_TAG: "used"}, LAMBDA_TRUST, True),
        (None, {SCHEDULER_TAG: ""}, None, True),
        (None, {}, BOTH_TRUST, True),
        (None, None, BOTH_TRUST, True),
        (None, {}, {"Statement": {"Principal": {"Service": "scheduler.amazonaws.com"}}}, True),
    ],
)
def test_scheduler_may_hold_schedules_of_a_pipeline_that_uses_it_or_did(
    settings, timezone, tags, trust, may
) -> None:
    zone = f'\ntimezone = "{timezone}"' if timezone else ""
    given = settings(f'[schedule]\nexpressions = ["rate(1 day)"]{zone}')
    assert may_have_schedules(given, _signs(tags, trust)) is may


def test_main_gets_the_tag_of_scheduler_before_the_role_loses_its_trust(settings) -> None:
    before = tuple(wanted(settings()).values())
    schedule = Found("schedule", "orders-1", {}, {PIPELINE_TAG: "orders"})
    found = {schedule.key: schedule}
    after = {one.key: one for one in with_scheduler_tag(settings(), before, found)}
    assert after["queue", "orders.fifo"].tags[SCHEDULER_TAG] == "used"
    assert ("queue", "orders.fifo") in after["role", "orders-worker"].needs
    other = Found("schedule", "orders-1", {}, {PIPELINE_TAG: "other"})
    for nothing in ({}, {other.key: other}):
        assert with_scheduler_tag(settings(), before, nothing) == before
