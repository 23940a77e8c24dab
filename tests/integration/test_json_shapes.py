"""What moves, delivers and destroys has the JSON of ``json_shapes.json``, run for real."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli_harness import Stack
from tests.contract.json_shapes import shape_problems
from tests.integration.deployed_pipeline import deployed


def test_commands_that_change_something_have_the_json_they_always_had(tmp_path: Path, stack: Stack) -> None:
    with deployed(tmp_path, stack) as made:
        made.send(3, group="a")
        made.send(2, "dlq")
        runs = [
            ("put", json.dumps({"id": "1", "grp": "g"})),
            ("park", "--group", "a"),
            ("drain", "--count", "1"),
            ("redrive", "--count", "1"),
            ("redrive", "--in-order"),
            ("dump", "all.jsonl", "--queue", "main"),
            ("load", "all.jsonl", "--queue", "dlq"),
            ("purge", "--queue", "dlq"),
            ("replay", "--since", "1h"),
            ("pause", "worker"),
            ("resume", "worker"),
            ("destroy",),
        ]
        for words in runs:
            ran = made.project.local(*words, "--yes", "-o", "json")
            name = "redrive --in-order" if "--in-order" in words else words[0]
            assert ran.code in (0, 1), ran
            assert (words, shape_problems(name, ran.json())) == (words, [])
