"""The JSON of every command has the fields and types of ``json_shapes.json``, and that has the contract's."""

from __future__ import annotations

import pytest

from tests.contract.json_shapes import TABLE, shape_problems

# The fields that users and scripts rely on, as they were before results were values.
PROMISED = {
    "init": "path",
    "plan": "changes[].action changes[].type changes[].name changes[].diff[].path changes[].diff[].old"
    " changes[].diff[].new summary.create summary.update summary.delete summary.unchanged",
    "package": "zips[].function zips[].path zips[].bytes zips[].sha256",
    "deploy": "changes[].action summary.unchanged outputs",
    "rollback": "functions[].name functions[].from functions[].to",
    "destroy": "changes[].action summary.delete",
    "status": "pipeline account region resources[] queues.main schedule.enabled schedule.next_runs[] enqueuer"
    " worker",
    "depth": "pipeline queues.main.name queues.main.visible queues.main.in_flight queues.main.delayed"
    " queues.main.oldest_age_seconds queues.dlq.name queues.hold.name",
    "peek": "messages[].message_id messages[].group messages[].dedup_id messages[].sequence_number"
    " messages[].queue messages[].sent_at messages[].first_received_at messages[].receives messages[].body"
    " messages[].attributes.*.type messages[].attributes.*.value truncated",
    "drain": "received delivered parked failed results[].message_id results[].group results[].status"
    " results[].http_status results[].elapsed_ms results[].error remaining",
    "redrive": "engine moved skipped failed remaining",
    "redrive --in-order": "engine moved skipped failed remaining",
    "redrive --dry-run": "messages[].message_id messages[].attributes.*.type",
    "park": "parked[].message_id",
    "replay": "read matched enqueued suppressed failed first_sequence last_sequence expired",
    "dump": "written",
    "load": "loaded already_loaded failed",
    "purge": "purged backup",
    "pause": "enqueuer worker",
    "resume": "enqueuer worker",
    "put": "written",
    "logs (jsonl)": "time function level message",
    "trace": "key stage history[]",
    "audit": "records delivered queued parked waiting moved unknown missing[] duplicated[] possibly_twice"
    " reordered",
    "keys list": "keys[].name keys[].parameter keys[].exists keys[].version keys[].modified_at",
    "local status": "endpoint pid running",
    "prove": "account region pipeline checks[].name checks[].ok checks[].seconds checks[].detail measured"
    " left[]",
}


@pytest.mark.parametrize("name", PROMISED)
def test_what_the_contract_promises_is_there(name: str) -> None:
    fields = TABLE[name]
    assert [path for path in PROMISED[name].split() if path not in fields] == []
    assert [path for path in PROMISED[name].split() if fields[path].startswith("optional ")] == []


def test_times_are_text_and_counts_are_numbers() -> None:
    for name, fields in TABLE.items():
        for path, kinds in fields.items():
            last = path.rpartition(".")[2]
            if last in ("moved", "skipped", "failed", "loaded", "written", "purged", "enqueued"):
                assert kinds == "integer", (name, path)
            if last.endswith("_at") and "attributes" not in path:
                assert set(kinds.removeprefix("optional ").split(" or ")) <= {"string", "null"}, (name, path)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"written": 1}, []),
        ({}, ["written is missing"]),
        ({"written": "1"}, ["written is string, not integer: '1'"]),
        ({"written": None}, ["written is null, not integer: None"]),
        ({"written": 1, "more": 2}, [".more is new: add it to json_shapes.json"]),
        ([], ["the document is array, not object: []"]),
    ],
)
def test_each_difference_is_found(document: object, problem: list[str]) -> None:
    assert shape_problems("put", document) == problem


def test_the_elements_of_a_list_are_looked_at() -> None:
    zips = [{"function": "f", "path": "p", "bytes": 1, "sha256": "s"}]
    assert shape_problems("package", {"zips": zips}) == []
    assert shape_problems("package", {"zips": [{**zips[0], "bytes": "1"}]}) == [
        "zips[].bytes is string, not integer: '1'"
    ]
