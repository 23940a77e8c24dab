"""Which tests run when: what tests/tiers.py names is there, and .ci/run runs every tier but the long one."""

from __future__ import annotations

import re

from tests.cli_harness import ROOT
from tests.tiers import SAMPLED, STORIES


def test_every_test_that_is_named_exists() -> None:
    for table in (STORIES, SAMPLED):
        for file, names in table.items():
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            found = set(re.findall(r"^ *def (test_\w+)\(", text, re.MULTILINE))
            assert {name.partition("[")[0] for name in names} <= found, file


def test_ci_runs_what_the_readmes_command_leaves_out() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert 'pytest -n "$workers" -m slow' in script
    assert "last-failed" not in script
