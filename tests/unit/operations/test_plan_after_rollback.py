"""plan after a rollback says what deploy would take back."""

from __future__ import annotations

import pytest

from fifo_cli.model.planning import Change, Difference, Plan
from fifo_cli.model.resources import Found, Kind
from fifo_cli.operations.deploy.plan import _rolled_back


def update(kind: Kind, name: str, path: str = "code_sha256") -> Change:
    return Change("update", kind, name, (Difference(path, "a", "b"),))


LIVE = [update("alias", f"orders-{role}:live") for role in ("enqueuer", "worker")]
FOUND = {
    ("alias", f"orders-{role}:live"): Found("alias", f"orders-{role}:live", {}, facts={"version": version})
    for role, version in (("enqueuer", "3"), ("worker", "4"))
}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (LIVE, ["orders-enqueuer:live is at version 3", "orders-worker:live is at version 4"]),
        (LIVE[:1], ["orders-enqueuer:live is at version 3"]),
        ([*LIVE, update("function", "orders-enqueuer")], ["orders-worker:live is at version 4"]),
        ([*LIVE, update("function", "orders-enqueuer", "memory")], ["orders-enqueuer:live is at version 3"]),
    ],
)
def test_an_alias_at_older_code_than_its_function_has_is_named(
    changes: list[Change], named: list[str]
) -> None:
    [text] = _rolled_back(Plan(tuple(changes)), FOUND)  # type: ignore[arg-type]

    assert [one for one in named if one not in text] == []
    assert text.endswith("as after a rollback; deploy moves it to the newest")


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [update("alias", "orders-worker:live", "memory")],
        [update("function", "orders-worker"), LIVE[1]],
        [Change("create", "alias", "orders-worker:live", (Difference("code_sha256", None, "b"),))],
    ],
)
def test_newer_code_or_other_changes_are_no_rollback(changes: list[Change]) -> None:
    assert _rolled_back(Plan(tuple(changes)), FOUND) == []  # type: ignore[arg-type]
