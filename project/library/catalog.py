"""Reads what the sample library's catalogue says about each picture, and where its file is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CATALOGUE = HERE / "catalog.json"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the sample library with everything the demo says about it."""

    key: str
    path: Path
    title: str
    caption: str
    tags: tuple[str, ...]
    category: str
    licence: str
    language: str
    taken: date | None
    lines: tuple[str, ...]


def pictures() -> list[Picture]:
    """Return the pictures in the catalogue's order, without those whose package is not installed or lacks them."""
    entries: list[dict[str, Any]] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    located = ((entry, _path(entry)) for entry in entries)
    return [_picture(entry, path) for entry, path in located if path is not None]


def _picture(entry: dict[str, Any], path: Path) -> Picture:
    title, caption, tags = entry["title"], entry["caption"], entry["tags"]
    return Picture(
        key=entry["key"],
        path=path,
        title=f"{title['en']} / {title['zh']}",
        caption=f"{caption['en']}\n{caption['zh']}",
        tags=(*tags["en"], *tags["zh"]),
        category=entry["category"],
        licence=entry["licence"],
        language="en",
        taken=date.fromisoformat(entry["taken"]) if "taken" in entry else None,
        lines=tuple(entry.get("lines", ())),
    )


def _path(entry: dict[str, Any]) -> Path | None:
    """Return where the picture's file is; a package is found without importing it, which would take seconds."""
    if "file" in entry:
        return HERE.joinpath("pictures", entry["file"])
    package = find_spec(entry["package"])
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent.joinpath(entry["path"])
    return path if path.is_file() else None  # packages move their sample pictures to the network now and then
