"""depth --by group and peek --summary on the embedded stack."""

from __future__ import annotations

from tests.integration.queue_pipeline import Queues


def test_queues_by_group_say_what_they_hide_and_keep_every_message(one: Queues) -> None:
    one.fill("main", 26, 2)
    one.fill("dlq", 3, 3)

    found = one.run("depth", "--by", "group", "-o", "json").ok().json()

    assert set(found["queues"]) == {"main", "dlq", "hold"}
    main, dlq = found["by_group"]["main"], found["by_group"]["dlq"]
    assert (main["counted"], main["seen"], main["hidden"]) == (26, 10, 16)
    assert [(group["group"], group["seen"]) for group in main["groups"]] == [("g0", 5), ("g1", 5)]
    assert [group["group"] for group in dlq["groups"]] == ["g0", "g1", "g2"]
    text = one.run("depth", "--by", "group").ok().out
    assert "16 of 26 could not be seen" in text
    assert "hold" not in found["by_group"]
    refused = one.run("depth", "--by", "group", "--watch")
    assert (refused.code, "leave out one or the other" in refused.err) == (2, True)
    assert (one.total("main"), one.total("dlq")) == (26, 3)

    sums = one.run("peek", "--queue", "dlq", "--summary", "-o", "json").ok().json()
    assert sums["reasons"] == [{"reason": None, "seen": 3, "groups": 3}]
    assert one.run("peek", "--summary", "--count", "1", "-o", "jsonl").ok().json()["seen"] >= 1
    missed = one.run("peek", "--summary", "--group", "nobody")
    assert (missed.code, "no message of group nobody" in missed.err) == (1, True)
