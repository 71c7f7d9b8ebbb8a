"""`python -m benchmarks.readers [FOLDER]`: how much of the text in pictures does each reader find, at what cost?

FOLDER holds `catalog.json` and `pictures/` as project/library does (the default). A catalogue's entry with `lines` is
scored word by word in English and by two neighbouring characters in Chinese; what is read in one without them is false.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from mediasearch.exceptions import ReaderTimeout, ReaderUnavailable
from mediasearch.features.base import TextReader
from mediasearch.features.lexemes import lexemes, terms
from mediasearch.features.rapid import RapidOcr
from mediasearch.features.reading import Combined
from mediasearch.features.tesseract import Tesseract

READERS: dict[str, TextReader] = {
    "tesseract, one look": Tesseract(overview=0),
    "tesseract": Tesseract(),
    "rapid": RapidOcr(),
    "combined": Combined(),
}


def pictures(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """The files of a catalogue with their lines, without those of packages that are not installed."""
    catalog = json.loads((folder / "catalog.json").read_text(encoding="utf-8"))
    for entry in catalog if isinstance(catalog, list) else catalog["pictures"]:
        if path := _path(folder, entry):
            yield path, entry.get("lines", [])


def _path(folder: Path, entry: dict[str, Any]) -> Path | None:
    if "file" in entry:
        path = folder / "pictures" / entry["file"]
        return path if path.exists() else None
    package = find_spec(entry["package"])
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / entry["path"]
    return path if path.exists() else None


def questions(lines: list[str]) -> Iterator[tuple[str, str]]:
    """("en", word) and ("zh", pair of characters) that should be found."""
    for term in (term for line in lines for term in terms(line)):
        for lexeme in term.lexemes:
            yield "zh" if term.is_cjk else "en", lexeme


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def score(reader: TextReader, files: list[tuple[Path, list[str]]]) -> Counter[str]:
    """Count what was asked and found in each language, false words, photographs and CPU seconds."""
    count: Counter[str] = Counter()
    reader.read(Image.new("RGB", (64, 64)))  # Loads the models.
    started = cpu_seconds()
    for path, lines in files:
        try:
            with Image.open(path) as image:
                reading = reader.read(image.convert("RGB"))
        except ReaderTimeout:
            count["timeouts"] += 1
            continue
        if not lines:
            count.update(photos=1, false=len(reading.words))
        found = {lexeme.text for lexeme in lexemes(reading.text)}
        for language, lexeme in questions(lines):
            count.update({language: 1, f"{language} found": lexeme in found})
    count["cpu"] = round(1000 * (cpu_seconds() - started))
    return count


def main(folder: Path) -> None:
    files = list(pictures(folder))
    print(f"{len(files)} pictures, {sum(bool(lines) for _, lines in files)} with text")
    print(f"{'reader':22}{'EN words':>10}{'ZH pairs':>10}{'false/photo':>13}{'CPU ms':>8}{'timeouts':>10}")
    for name, reader in READERS.items():
        try:
            count = score(reader, files)
        except ReaderUnavailable as error:
            print(f"{name:22}{error}")
            continue
        recall = [f"{count[f'{key} found'] / count[key]:.2%}" if count[key] else "-" for key in ("en", "zh")]
        false = f"{count['false'] / count['photos']:.2f}" if count["photos"] else "-"
        each = count["cpu"] / max(1, len(files))
        print(f"{name:22}{recall[0]:>10}{recall[1]:>10}{false:>13}{each:>8.0f}{count['timeouts']:>10}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "project/library")
