"""`python -m benchmarks.describe FOLDER`: image to text through the whole app, beside plain open_clip.

FOLDER is as for `benchmarks.parity`. The first caption of each picture is stored, or the first two, as caption and alt
text; the others are held out. Each picture is given as the bytes of its file. It is done with one encoder, and again
with a caption encoder of another kind. Exits 1 where R@1, R@5 or R@10 differs at all with one encoder, or by more than
.005 with two, or a score by more than the rounding of half-precision vectors explains.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import site
from benchmarks.parity import ROUNDING, plain_scores

BARS = {"one encoder": 0.0, "another for captions": 0.005}
KEPT = {"caption": ["caption"], "caption and alt text": ["caption", "alt_text"]}


def main(folder: Path) -> int:
    site.set_up()
    from django.core.files.base import ContentFile

    from mediasearch import conf
    from mediasearch.conf import Spec
    from mediasearch.indexing import generations
    from mediasearch.models import Asset

    entries = json.loads((folder / "captions.json").read_text())
    paths = [folder / "images" / entry["file"] for entry in entries]
    generations.ensure_active()
    for path in paths:
        Asset.objects.create(file=ContentFile(path.read_bytes(), name=path.name))
    captions = [entry["captions"] for entry in entries]
    plain = [plain_scores(paths, [photo[number] for photo in captions]) for number in range(2)]

    missed = 0
    for encoders, bar in BARS.items():
        if encoders != "one encoder":
            generation = generations.create(conf.settings().encoder, Spec("benchmarks.words.Words"))
            generations.owe_all(generation)
            index()
            generations.build_indexes(generation)
            generations.activate(generation)
        for kept, fields in KEPT.items():
            for asset, photo in zip(Asset.objects.order_by("pk"), captions, strict=True):
                asset.caption, asset.alt_text = photo[0], photo[1] if "alt_text" in fields else ""
                asset.save()
            index()
            texts = [[photo[number] for photo in captions] for number in range(len(fields))]
            missed += not compare(f"{encoders}, {kept}", bar, paths, texts, plain[: len(fields)])
    return 1 if missed else 0


def index() -> None:
    """Make all vectors that are owed."""
    from mediasearch.indexing import worker
    from mediasearch.models import Job, Stage

    worker.drain([Stage.EMBED_IMAGE, Stage.EMBED_CAPTION], seconds=3_600)
    stages = Job.objects.filter(stage__in=[Stage.EMBED_IMAGE, Stage.EMBED_CAPTION])
    assert not stages.exclude(state=Job.State.DONE).exists()


def compare(
    name: str, bar: float, paths: Sequence[Path], texts: Sequence[Sequence[str]], plain: Sequence[np.ndarray]
) -> bool:
    """Print how often one of a picture's own texts is among the first, and return whether that is so of both."""
    import mediasearch

    every = [text for some in texts for text in some]
    scores = np.concatenate(plain)  # Texts in rows, pictures in columns.
    ranks, plain_ranks, difference = [], [], 0.0
    for column, path in enumerate(paths):
        own = {some[column] for some in texts}
        found = {each.text: each.score for each in mediasearch.describe(path.read_bytes(), limit=200)}
        expected = dict(zip(every, scores[:, column].tolist(), strict=True))
        assert set(found) == set(expected), f"{path.name}: {set(found) ^ set(expected)}"
        difference = max(difference, *(abs(found[text] - expected[text]) for text in found))
        ranks.append(first(list(found), own))
        plain_ranks.append(first(sorted(expected, key=lambda text: -expected[text]), own))
    agree = difference <= ROUNDING
    for k in (1, 5, 10):
        ours, reference = (float(np.mean([rank < k for rank in some])) for some in (ranks, plain_ranks))
        agree &= abs(ours - reference) <= bar
        print(f"{name}: R@{k} mediasearch {ours:.3f}, plain open_clip {reference:.3f}")
    other = sum(ours != reference for ours, reference in zip(ranks, plain_ranks, strict=True))
    print(f"{name}: {len(every)} texts, ranks that differ {other}, greatest difference of a score {difference:.2e}")
    return bool(agree)


def first(ranked: list[str], own: set[str]) -> int:
    """The place of the first of a picture's own texts, from 0."""
    return min(ranked.index(text) for text in own)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m benchmarks.describe FOLDER")
    sys.exit(main(Path(sys.argv[1])))
