"""`python -m benchmarks.reranking [FOLDER]`: what a second judgement is worth where the first order goes wrong.

The pictures of `benchmarks.lookalikes` are drawn, read by the real readers (what they read is kept in .bench, by the
picture's hash), encoded by mini-clip, and asked for with the default weights. FOLDER, as for `benchmarks.parity`, is a
set that is not made to go wrong: each picture with its first caption, all of them and every second one, and the others
as questions. Exits 1 where R@1 rises by less than .10 on the former or falls on the latter, or where a reranker that
is out of time changes anything.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import lookalikes, site

RISE = 0.10
RERANKER = {"BACKEND": "mediasearch.features.reranking.Features"}
Asked = list[tuple[str, str, int]]
"""What is asked, of which group it is, and the asset that must come first."""


def main(folder: Path | None) -> int:
    site.set_up()
    logging.getLogger("mediasearch.search.rerank").setLevel(logging.ERROR)  # It is made to be late, often.
    from mediasearch.indexing import generations

    generations.ensure_active()
    asked = _lookalikes()
    before, after, late = _measure("lookalikes", asked)
    good = after - before >= RISE and not late
    for every in (1, 2) if folder else ():
        before, after, late = _measure(f"photographs, captions on 1 of {every}", _photographs(folder, every))
        good = good and after >= before and not late
    return 0 if good else 1


def _lookalikes() -> Asked:
    from django.core.files.base import ContentFile

    from mediasearch.indexing import worker
    from mediasearch.models import Asset, Stage

    asked: Asked = []
    for family in lookalikes.FAMILIES:
        for picture in family.pictures:
            data = lookalikes.draw(family, picture)
            text, words = _read(data)
            asset = Asset.objects.create(
                file=ContentFile(data, name="upload.png"),
                title=picture.title,
                caption=picture.caption,
                tags=list(picture.tags),
                ocr_text=text,
                ocr_words=words,
            )
            asked += [(question, family.differ_in, asset.pk) for question in picture.questions]
    worker.drain([Stage.EMBED_IMAGE, Stage.EMBED_CAPTION], seconds=3_600)
    return asked


def _read(data: bytes) -> tuple[str, list[Any]]:
    from mediasearch.features import hashing, opener

    kept = site.ROOT / ".bench" / "readings" / f"{hashing.content_hash(data)}.json"
    if not kept.exists():
        reading = opener.read(data)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps([reading.text, [asdict(word) for word in reading.words]]))
    text, words = json.loads(kept.read_text())
    return text, words


def _photographs(folder: Path, every: int) -> Asked:
    from django.core.files.base import ContentFile

    from mediasearch.indexing import worker
    from mediasearch.models import Asset, Stage

    Asset.objects.all().delete()
    asked: Asked = []
    for number, entry in enumerate(json.loads((folder / "captions.json").read_text())):
        data = (folder / "images" / entry["file"]).read_bytes()
        first, *others = entry["captions"]
        caption = "" if number % every else first
        asset = Asset.objects.create(file=ContentFile(data, name=entry["file"]), caption=caption)
        asked += [(other, "described" if caption else "undescribed", asset.pk) for other in others]
    worker.drain([Stage.EMBED_IMAGE, Stage.EMBED_CAPTION], seconds=3_600)
    return asked


def _measure(name: str, asked: Asked) -> tuple[float, float, int]:
    """Return R@1 before and after, and how often a reranker without time changed something."""
    from django.conf import settings
    from django.test import override_settings

    import mediasearch
    from mediasearch.features.base import Inquiry
    from mediasearch.search.rerank import rerank

    found: list[tuple[str, bool, bool]] = []
    seconds, late = [], 0
    print(f"{name}: {len(asked)} questions")
    for question, group, wanted in asked:
        with override_settings(MEDIASEARCH=settings.MEDIASEARCH | {"RERANKER": None}):
            hits = mediasearch.search(question, limit=50).outcome.hits
        with override_settings(MEDIASEARCH=settings.MEDIASEARCH | {"RERANKER": RERANKER, "RERANK_SECONDS": 30.0}):
            start = perf_counter()
            judged = rerank(hits, Inquiry(question))
            seconds.append(perf_counter() - start)
        with override_settings(MEDIASEARCH=settings.MEDIASEARCH | {"RERANKER": RERANKER, "RERANK_SECONDS": 1e-9}):
            hurried = rerank(hits, Inquiry(question))
            late += hurried.reranked or hurried.hits != hits
        was, became = hits[0].asset.pk == wanted, judged.hits[0].asset.pk == wanted
        found.append((group, was, became))
        if was > became:
            print(f"  lost: {question}")
        elif became > was:
            print(f"  gained: {question}")
    for group in dict.fromkeys(group for group, _, _ in found):
        before, after = _shares([(was, became) for its, was, became in found if its == group])
        print(f"  {group}: R@1 {before:.3f} -> {after:.3f}")
    before, after = _shares([(was, became) for _, was, became in found])
    print(f"  all: R@1 {before:.3f} -> {after:.3f}")
    p50, p95 = (site.percentile(seconds, share) * 1e3 for share in (0.5, 0.95))
    print(f"  {p50:.1f} ms at p50, {p95:.1f} ms at p95; out of time, {late} were reranked all the same")
    return before, after, late


def _shares(found: list[tuple[bool, bool]]) -> tuple[float, float]:
    return sum(was for was, _ in found) / len(found), sum(became for _, became in found) / len(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
