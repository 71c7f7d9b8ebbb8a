"""What runs found, kept for each size of library, so that sizes can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Figures:
    """The figures of one size, written as they come."""

    folder: Path
    number: int
    found: dict[str, float] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / f"figures-{self.number}.json"

    def keep(self, name: str, value: float) -> float:
        """Write a figure down; what this run does not measure stays as an earlier one left it."""
        before = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.found[name] = value
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps({**before, **self.found}, indent=1, sort_keys=True))
        return value

    def others(self) -> Iterator[tuple[int, dict[str, float]]]:
        """The figures of other sizes, the smallest first."""
        for file in sorted(self.folder.glob("figures-*.json"), key=lambda file: int(file.stem.partition("-")[2])):
            number = int(file.stem.partition("-")[2])
            if number != self.number:
                yield number, json.loads(file.read_text())
