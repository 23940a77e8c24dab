"""A plan as people read it, in 80 columns."""

from __future__ import annotations

from fifo_cli.model.planning import Change, Difference, Plan
from fifo_cli.render.plan import WIDTH, plan_table

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:orders-with-a-long-name-worker:live"


def test_a_plan_shows_a_change_a_line_updates_in_detail_and_the_sum() -> None:
    plan = Plan(
        (
            Change("create", "queue", "orders.fifo", (Difference("fifo", None, True),)),
            Change(
                "update",
                "function",
                "orders-worker",
                (
                    Difference("memory", 512, 256),
                    Difference("environment", ["KEY"], []),
                    Difference("tags.team", None, "payments"),
                ),
            ),
            Change(
                "update", "event-source-mapping", "orders-enqueuer", (Difference("function", ARN, f"{ARN}2"),)
            ),
            Change("delete", "rule", "orders-2"),
        ),
        unchanged=11,
        warnings=("what was reported when the plan was made",),
    )
    assert plan_table(plan).splitlines() == [
        "+ create queue orders.fifo",
        "~ update function orders-worker",
        "    memory: 512 -> 256",
        '    environment: ["KEY"] -> []',
        "    tags.team: (none) -> payments",
        "~ update event-source-mapping orders-enqueuer",
        "    function:",
        f"      {ARN[:34]}…{ARN[-39:]}",
        f"      -> {ARN[:31]}…{ARN[-38:]}2",
        "- delete rule orders-2",
        "",
        "1 to create, 2 to update, 1 to delete, 11 unchanged",
    ]
    assert max(map(len, plan_table(plan).splitlines())) <= WIDTH
    done = "1 created, 2 updated, 1 deleted, 11 unchanged"
    assert plan_table(plan, done=True).splitlines() == [*plan_table(plan).splitlines()[:-1], done]


def test_of_a_list_that_fits_on_no_line_what_is_added_and_what_goes_is_shown() -> None:
    kept = [f"sqs:Action{number}" for number in range(8)]
    diff = (
        Difference("policy.Take.Action", [*kept, "sqs:Old"], ["sqs:New", *kept]),
        Difference("policy.Put.Action", "sqs:Action0", kept[:7]),
        Difference("policy.None", None, [*kept, "x" * 90]),
    )
    lines = plan_table(Plan((Change("update", "role", "orders-worker", diff),))).splitlines()
    assert lines[1:11] == [
        "    policy.Take.Action:",
        "      + sqs:New",
        "      - sqs:Old",
        "    policy.Put.Action:",
        *(f"      + sqs:Action{number}" for number in range(1, 7)),
    ]
    assert lines[11:13] == ["    policy.None:", "      (none)"]
    assert lines[13].startswith('      -> ["sqs:Action0", ')


def test_a_replacement_says_so() -> None:
    diff = (
        Difference("table", "arn:old", "items"),
        Difference("replaced", None, "deleted and created again"),
    )
    lines = plan_table(Plan((Change("update", "event-source-mapping", "e", diff),))).splitlines()
    assert lines[1:3] == ["    table: arn:old -> items", "    deleted and created again"]


def test_an_empty_plan_says_that_all_is_as_wanted() -> None:
    assert plan_table(Plan(unchanged=15)) == "Nothing to change: 15 resources are as wanted."


def test_what_changes_in_the_code_is_shown_once_and_its_hash_not_at_all() -> None:
    code = (
        Difference("code_sha256", "a" * 44, "b" * 44),
        Difference("settings.api.permanent", ["400"], ["400", "404"]),
        Difference("files.a.py", "3 bytes (1)", "3 bytes (2)", ("-a\x1b", "+b" * 60, "(7 more lines)")),
    )
    plan = Plan(
        (
            Change("update", "function", "orders-enqueuer", (Difference("memory", 1, 2), *code)),
            Change("update", "function", "orders-worker", code),
            Change("update", "alias", "orders-worker:live", code[:1]),
        )
    )
    assert plan_table(plan).splitlines() == [
        "~ update function orders-enqueuer",
        "    memory: 1 -> 2",
        '    settings.api.permanent: ["400"] -> ["400", "404"]',
        "    files.a.py: 3 bytes (1) -> 3 bytes (2)",
        "      -a\\x1b",
        f"      {'+b' * 36}+…",
        "      (7 more lines)",
        "~ update function orders-worker",
        "    code: the same changes as in orders-enqueuer",
        "~ update alias orders-worker:live",
        "    code: changed (hash aaaaaaaa -> bbbbbbbb)",
        "",
        "`fifo-cli plan --diff` shows all of what changes in your files.",
        "",
        "0 to create, 3 to update, 0 to delete, 0 unchanged",
    ]
    assert "+b" * 60 in plan_table(plan, whole=True)
    assert "+b" not in plan_table(plan, done=True)


def test_code_that_cannot_be_read_is_named_in_words_with_the_beginning_of_its_hash() -> None:
    old, new = "p" * 43 + "=", "q" * 43 + "="
    live = Change("update", "alias", "orders-worker:live", (Difference("code_sha256", old, new),))
    built = Change("update", "function", "orders-worker", (Difference("code_sha256", old, "needs a build"),))

    lines = plan_table(Plan((live, built))).splitlines()
    assert lines[1] == "    code: changed (hash pppppppp -> qqqqqqqq)"
    assert "needs a build" in "".join(lines[3:])
