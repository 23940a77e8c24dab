"""Plans are pure: what is wanted and what was found go in, named changes come out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fifo_cli.errors import UsageError
from fifo_cli.model.names import SWITCH_TAG
from fifo_cli.model.planning import Change, DeployResult, Difference, Outputs, Plan, make_plan
from fifo_cli.model.resources import AtLeast, Found, Resource

TAGS = {"fifo-cli:pipeline": "orders", "team": "payments"}
QUEUE = Resource(
    "queue", "orders.fifo", {"fifo": True, "retention": 345_600, "redrive": {"target": "dlq"}}, TAGS
)


def found(wanted: Resource, **changed: object) -> Found:
    return Found(wanted.kind, wanted.name, {**wanted.properties, **changed}, dict(wanted.tags))


def planned(*wanted: Resource, of: tuple[Found, ...] = (), adopt: bool = False) -> Plan:
    return make_plan(wanted, {one.key: one for one in of}, pipeline="orders", adopt=adopt)


def test_what_is_missing_is_created_with_every_property_named() -> None:
    plan = planned(QUEUE)
    assert plan.document() == {
        "changes": [
            {
                "action": "create",
                "type": "queue",
                "name": "orders.fifo",
                "diff": [
                    {"path": "fifo", "old": None, "new": True},
                    {"path": "retention", "old": None, "new": 345_600},
                    {"path": "redrive", "old": None, "new": {"target": "dlq"}},
                ],
            }
        ],
        "summary": {"create": 1, "update": 0, "delete": 0, "unchanged": 0},
    }
    assert list(plan.rows()) == plan.document()["changes"]


def test_what_is_as_wanted_is_unchanged_whatever_else_it_has() -> None:
    more = replace(found(QUEUE, delay=7), tags={**TAGS, "foreign": "tag", "fifo-cli:version": "0.0.1"})
    assert planned(QUEUE, of=(more,)) == Plan(unchanged=1)


def test_differences_are_named_by_path_with_old_and_new() -> None:
    wrong = replace(
        found(QUEUE, retention=60, redrive={"target": "other", "extra": 1}),
        tags={"fifo-cli:pipeline": "orders"},
    )
    assert planned(QUEUE, of=(wrong,)).changes == (
        Change(
            "update",
            "queue",
            "orders.fifo",
            (
                Difference("retention", 60, 345_600),
                Difference("redrive.target", "other", "dlq"),
                Difference("redrive.extra", 1, None),
                Difference("tags.team", None, "payments"),
            ),
        ),
    )
    assert planned(QUEUE, of=(wrong,)).changes[0].changed == {"retention", "redrive", "tags"}


def test_a_value_that_serves_as_well_is_no_difference() -> None:
    wanted = Resource(
        "function", "f", {"reserved_concurrency": 1}, TAGS, accepts={"reserved_concurrency": (0,)}
    )
    assert planned(wanted, of=(found(wanted, reserved_concurrency=0),)).changes == ()
    assert len(planned(wanted, of=(found(wanted, reserved_concurrency=2),)).changes) == 1


@pytest.mark.parametrize(("reserved", "is_changed"), [(None, 0), (0, 0), (1, 1), (9, 1), (10, 0), (50, 0)])
def test_concurrency_reserved_by_hand_may_be_what_the_queue_starts_or_more(reserved, is_changed) -> None:
    accepts = {"reserved_concurrency": AtLeast(10)}
    wanted = Resource("function", "f", {"reserved_concurrency": None}, TAGS, accepts=accepts)
    assert len(planned(wanted, of=(found(wanted, reserved_concurrency=reserved),)).changes) == is_changed


def test_what_must_run_is_enabled_and_the_mark_of_the_change_is_taken_away() -> None:
    rule = Resource("rule", "orders-1", {"size": 1}, TAGS, must_run=True)
    resting = replace(found(rule), facts={"enabled": False})
    (change,) = planned(rule, of=(resting,)).changes
    assert change.diff == (Difference("enabled", False, True),)
    assert planned(rule, of=(replace(resting, facts={"enabled": True}),)).changes == ()
    queue = Resource("queue", "orders.fifo", {}, TAGS)
    marked = Found("queue", "orders.fifo", {}, {**TAGS, SWITCH_TAG: "2026-01-02T03:04:05Z"})
    (change,) = planned(queue, of=(marked,)).changes
    assert change.diff == (Difference(f"tags.{SWITCH_TAG}", "2026-01-02T03:04:05Z", None),)


def test_a_policy_reordered_by_aws_is_no_difference_and_a_wider_one_is() -> None:
    statement = {"Sid": "Take", "Effect": "Allow", "Action": ["sqs:A", "sqs:B"], "Resource": ["arn"]}
    wanted = Resource("role", "r", {"policy": {"Version": "2012-10-17", "Statement": [statement]}}, TAGS)
    reordered = {
        "Statement": [{**statement, "Action": ["sqs:B", "sqs:A"], "Resource": "arn"}],
        "Version": "x",
    }
    assert planned(wanted, of=(found(wanted, policy=reordered),)).changes == ()
    wider = {"Statement": [statement, {"Sid": "More", "Effect": "Allow", "Action": "*", "Resource": "*"}]}
    more = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    assert planned(wanted, of=(found(wanted, policy=wider),)).changes[0].diff == (
        Difference("policy.More", more, None),
    )
    assert planned(wanted, of=(found(wanted, policy=None),)).changes[0].diff[0].path == "policy"


def test_our_surplus_is_deleted_and_anothers_is_left_alone() -> None:
    ours = Found("rule", "orders-2", {}, {"fifo-cli:pipeline": "orders"})
    theirs = Found("rule", "orders-3", {}, {"fifo-cli:pipeline": "other"})
    nobodys = Found("rule", "orders-4", {})
    assert planned(of=(ours, theirs, nobodys)).changes == (Change("delete", "rule", "orders-2"),)


@pytest.mark.parametrize("adopt", [False, True])
def test_anothers_resource_is_never_taken(adopt: bool) -> None:
    theirs = replace(found(QUEUE), tags={"fifo-cli:pipeline": "other"})
    with pytest.raises(UsageError, match=r"queue orders\.fifo belongs to the pipeline 'other'"):
        planned(QUEUE, of=(theirs,), adopt=adopt)


def test_a_resource_without_our_tag_is_taken_with_adopt_only() -> None:
    nobodys = replace(found(QUEUE), tags={"team": "payments"})
    with pytest.raises(UsageError, match=r"queue orders\.fifo exists already and does not carry the tag"):
        planned(QUEUE, of=(nobodys,))
    assert planned(QUEUE, of=(nobodys,), adopt=True).changes[0].diff == (
        Difference("tags.fifo-cli:pipeline", None, "orders"),
    )


TABLE = Resource("table", "items", {"keys": [["id", "S"]], "stream": "NEW_AND_OLD_IMAGES"}, TAGS)


@pytest.mark.parametrize(
    ("wanted", "property_", "value", "said"),
    [
        (TABLE, "keys", [["pk", "S"]], "the keys of a table cannot be changed"),
        (
            replace(TABLE, tags={}, managed=False),
            "stream",
            "KEYS_ONLY",
            "the view type of a stream cannot be edited",
        ),
        (QUEUE, "fifo", False, "a queue cannot be made FIFO"),
    ],
)
def test_what_aws_cannot_change_is_refused(
    wanted: Resource, property_: str, value: object, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        planned(wanted, of=(found(wanted, **{property_: value}),))


def test_a_stream_that_is_off_is_switched_on_with_a_word_of_warning() -> None:
    plan = planned(TABLE, of=(found(TABLE, stream=None),))
    assert plan.changes[0].diff == (Difference("stream", None, "NEW_AND_OLD_IMAGES"),)
    assert plan.warnings == (
        "items: its stream is switched on; only changes made from then on become messages",
    )


def test_a_stream_of_another_view_is_made_anew_and_its_mapping_with_it() -> None:
    mapping = Resource("event-source-mapping", "orders-enqueuer", {"table": "items"}, TAGS)
    reading = replace(found(mapping), facts={"source": "arn:old"})
    plan = planned(TABLE, mapping, of=(found(TABLE, stream="KEYS_ONLY"), reading))
    assert [(change.name, one.path, one.old) for change in plan.changes for one in change.diff] == [
        ("items", "stream", "KEYS_ONLY"),
        ("items", "replaced", None),
        ("orders-enqueuer", "table", "arn:old"),
        ("orders-enqueuer", "replaced", None),
    ]
    assert plan.losses == plan.warnings
    assert [text.partition(";")[0] for text in plan.losses] == [
        "items: its stream is switched off and on again",
        "orders-enqueuer: it read arn:old",
    ]


def test_a_foreign_table_must_exist_and_needs_no_tag() -> None:
    foreign = replace(TABLE, tags={}, managed=False, accepts={"stream": ("NEW_IMAGE",)})
    with pytest.raises(UsageError, match="table items does not exist, and \\[table\\] says create = false"):
        planned(foreign)
    assert planned(foreign, of=(found(foreign, stream="NEW_IMAGE"),)).changes == ()
    with pytest.raises(UsageError, match="stream is 'OLD_IMAGE', not 'NEW_AND_OLD_IMAGES'"):
        planned(foreign, of=(found(foreign, stream="OLD_IMAGE"),))


def test_all_reasons_to_refuse_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        planned(QUEUE, TABLE, of=(replace(found(QUEUE), tags={}), found(TABLE, keys=[["x", "N"]])))
    assert refused.value.message.splitlines()[1:] == [
        "  queue orders.fifo exists already and does not carry the tag fifo-cli:pipeline",
        "  table items: keys is [['x', 'N']], not [['id', 'S']]: the keys of a table cannot be changed;"
        " correct [table] or name another table",
    ]
    assert refused.value.exit_code == 2


def test_a_mapping_on_another_stream_is_an_update_that_says_it_replaces() -> None:
    mapping = Resource("event-source-mapping", "e", {"table": "items", "bisect": True}, TAGS)
    old = "arn:aws:dynamodb:eu-west-1:1:table/{}/stream/2026"
    plan = planned(mapping, of=(found(mapping, table=old.format("items")),))
    assert [one.path for one in plan.changes[0].diff] == ["table", "replaced"]
    assert plan.changes[0].action == "update"
    assert plan.warnings == (
        f"e: it read {old.format('items')}; what is still unread there will not become messages",
    )
    other = planned(mapping, of=(found(mapping, table=old.format("others")),))
    assert other.warnings[0].endswith("will not become messages; that table stays as it is")


def test_a_shorter_retention_is_warned_of_and_a_longer_one_is_not() -> None:
    assert "it deletes backlog" in planned(QUEUE, of=(found(QUEUE, retention=345_601),)).warnings[0]
    assert planned(QUEUE, of=(found(QUEUE, retention=60),)).warnings == ()


def test_changes_need_a_look_only_when_asked_to_check() -> None:
    changed = Plan((Change("delete", "rule", "orders-2"),))
    assert [one.exit_code for one in (changed, replace(changed, check=True), Plan(check=True))] == [0, 1, 0]
    there = Outputs(
        account="1",
        region="r",
        queues={"main": None},
        functions={},
        versions={},
        table="items",
        stream=None,
        log_groups={},
        schedules=(),
    )
    result = DeployResult(changed, there)
    assert result.document() == {**changed.document(), "outputs": there.document()}
    assert there.document()["queues"] == {"main": None}
    assert result.exit_code == 0


GROUP = Resource("log-group", "/aws/lambda/orders-worker", {"retention_days": 30}, TAGS)


@pytest.mark.parametrize(("days", "kept"), [(90, "for 90 days"), (None, "for ever")])
def test_a_shorter_retention_of_logs_is_a_loss(days: int | None, kept: str) -> None:
    stored = replace(found(GROUP, retention_days=days), facts={"bytes": 17})
    plan = planned(GROUP, of=(stored,))
    assert plan.losses == plan.warnings
    [message] = plan.losses
    assert f"logs were kept {kept}, and are for 30 days from now on" in message


def test_a_longer_retention_of_logs_and_one_of_an_empty_group_cost_nothing() -> None:
    for days, stored in ((7, 17), (None, 0), (90, 0)):
        group = replace(found(GROUP, retention_days=days), facts={"bytes": stored})
        plan = planned(GROUP, of=(group,))
        assert (len(plan.changes), plan.losses) == (1, ())


def test_the_way_out_of_a_refusal_is_reported_only_where_it_is_one() -> None:
    untagged = replace(found(QUEUE), tags={})
    renamed = replace(found(QUEUE), tags={"fifo-cli:pipeline": "old"})
    adopts = "nothing was changed; what carries no tag can be taken over with `fifo-cli deploy --adopt`"
    assert _hint(untagged) == adopts
    assert _hint(renamed) == (
        "nothing was changed; choose other names in [pipeline] and [table]; if this is 'old' renamed,"
        " take back its name and run `fifo-cli destroy` first"
    )
    assert _hint(found(QUEUE, fifo=False)) == "nothing was changed"


def _hint(one: Found) -> str | None:
    with pytest.raises(UsageError) as refused:
        planned(QUEUE, of=(one,))
    return refused.value.hint


def _role(letters: int) -> Resource:
    policy = {"Version": "2012-10-17", "Statement": [{"Sid": "x" * letters, "Effect": "Allow"}]}
    return Resource("role", "orders-worker", {"trust": {}, "policy": policy}, TAGS)


def test_a_role_whose_policy_iam_would_not_take_is_refused_before_anything_is_made() -> None:
    fixed = len(json.dumps(_role(0).properties["policy"], separators=(",", ":")))
    fits, too_long = _role(10_240 - fixed), _role(10_241 - fixed)
    assert [one.action for one in planned(fits).changes] == ["create"]
    for there in ((), (found(fits),)):
        with pytest.raises(UsageError, match="its policy has 10,241 characters, and IAM takes 10,240"):
            planned(too_long, of=there)
