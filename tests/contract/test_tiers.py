"""Which tests run when: what conftest names is there, and .ci/run runs every tier but the long one."""

from __future__ import annotations

import re

from tests.cli_harness import ROOT
from tests.integration.conftest import STORIES


def test_every_story_is_a_test_that_exists() -> None:
    for file, names in STORIES.items():
        text = (ROOT / "tests" / "integration" / file).read_text(encoding="utf-8")
        assert names <= set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)), file


def test_ci_runs_what_the_readmes_command_leaves_out() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert 'pytest -n "$workers" -m slow' in script
    assert "last-failed" not in script
