"""`python -m benchmarks.signs [FOLDER]`: does any one word of a rendered sign find it first?

FOLDER holds `catalog.json` and `pictures/` as project/library does (the default). Title and caption stay empty, so
that the words can come from nowhere but the picture. English words are asked one by one, Chinese two neighbouring
characters of a line at a time. Where several signs bear a word, any of them may be first. Exits 1 on a miss.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

from benchmarks import site

_HAN = "\u4e00-\u9fff"


def asked(line: str) -> set[str]:
    """The questions that a line of text must answer."""
    words = {word for word in re.split(rf"[\s{_HAN}]+", line) if re.search(r"\w", word)}
    runs = re.findall(rf"[{_HAN}]{{2,}}", line)
    return words | {run[i : i + 2] for run in runs for i in range(len(run) - 1)}


def compared(question: str) -> str:
    """A question without case and outer punctuation: two signs that differ in those alone bear the same word."""
    return re.sub(r"^\W+|\W+$", "", unicodedata.normalize("NFKC", question).casefold())


def main(folder: Path) -> int:
    site.set_up()
    from django.core.files.base import ContentFile

    import mediasearch
    from mediasearch.indexing import generations, worker
    from mediasearch.models import Asset, Stage

    catalog = json.loads((folder / "catalog.json").read_text())
    entries = catalog if isinstance(catalog, list) else catalog["pictures"]
    signs = [entry for entry in entries if entry.get("lines") and entry.get("file")]
    key_of: dict[int, str] = {}
    for entry in signs:
        data = (folder / "pictures" / entry["file"]).read_bytes()
        asset = Asset.objects.create(file=ContentFile(data, name=f"upload{Path(entry['file']).suffix}"))
        key_of[asset.pk] = entry["key"]
    generations.ensure_active()
    worker.drain(list(Stage), seconds=3_600)

    bearers: dict[str, set[str]] = defaultdict(set)
    questions: set[str] = set()
    for entry in signs:
        for line in entry["lines"]:
            for question in asked(line):
                bearers[compared(question)].add(entry["key"])
                questions.add(question)
    misses = []
    for question in sorted(questions):
        keys = bearers[compared(question)]
        hits = mediasearch.search(question, limit=1)
        first = key_of[hits[0].asset.pk] if len(hits) else "nothing"
        if first not in keys:
            misses.append((question, sorted(keys), first))
    print(f"{len(signs)} signs, {len(questions)} questions, {len(misses)} missed")
    for question, keys, first in misses:
        print(f"  {question}: of {', '.join(keys)}, but {first} came first")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "project/library"))
