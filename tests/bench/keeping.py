"""Tables kept in a folder, so that a long bench goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.report import Budget, Report, Section

_ABOUT = "about.json"


class KeepError(Exception):
    """The folder cannot be used for this run."""


@dataclass(frozen=True)
class Kept:
    """A folder with a file for each part, and one that says of which program and amount they are."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, report: Report) -> Kept:
        """Make or open a folder; raises KeepError if it holds what another program or amount gave."""
        about = folder / _ABOUT
        ours = {"mode": report.mode, "program": report.program}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not about.exists():
                if any(folder.iterdir()):
                    raise KeepError(f"{folder} holds something else; name a new folder")
                about.write_text(json.dumps(ours), encoding="utf-8")
            found = json.loads(about.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise KeepError(f"{folder} cannot be used: {error}") from error
        if found != ours:
            raise KeepError(f"{folder} was measured with {found}, this is {ours}; name a new folder")
        return cls(folder)

    def load(self, part: str) -> list[Section] | None:
        """Return the tables of a part; None if it is not there."""
        try:
            kept = json.loads(self._file(part).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return [
            Section(
                title=one["title"],
                note=one["note"],
                head=tuple(one["head"]),
                rows=[tuple(row) for row in one["rows"]],
                budgets=[Budget(**each) for each in one["budgets"]],
            )
            for one in kept
        ]

    def save(self, part: str, sections: list[Section]) -> None:
        """Keep the tables of a part, whole or not at all."""
        new = self._file(part).with_suffix(".new")
        new.write_text(json.dumps([asdict(one) for one in sections], indent=1), encoding="utf-8")
        new.replace(self._file(part))

    def _file(self, part: str) -> Path:
        return self.folder / f"{part}.json"
