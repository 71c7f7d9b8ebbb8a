"""`python -m benchmarks.captions FOLDER`: what a caption is worth, and what its absence costs.

FOLDER is as for `benchmarks.parity`. Every second picture gets its second caption; the first captions of all are
asked. Each row of weights is ranked twice: with the image vector standing in for a missing caption, as searches do,
and with the missing caption counted as 0.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks import site

WEIGHTS = [(1, 0, 0), (1, 0.75, 0), (1, 0.75, 1), (1, 0.5, 2), (1, 0.75, 2), (1, 1, 2.5)]


def main(folder: Path) -> None:
    site.set_up()
    from django.core.files.base import ContentFile

    import mediasearch
    from mediasearch.indexing import generations, worker
    from mediasearch.models import Asset, Stage

    generations.ensure_active()
    entries = json.loads((folder / "captions.json").read_text())
    assets = []
    for number, entry in enumerate(entries):
        data = (folder / "images" / entry["file"]).read_bytes()
        caption = entry["captions"][1] if number % 2 else ""
        assets.append(Asset.objects.create(file=ContentFile(data, name=entry["file"]), caption=caption))
    worker.drain([Stage.EMBED_IMAGE, Stage.EMBED_CAPTION], seconds=3_600)
    described = np.array([bool(asset.caption) for asset in assets])

    for weights in WEIGHTS:
        named = dict(zip(("image", "caption", "text"), weights, strict=True))
        searched, counted_zero = [], []
        for asset, entry in zip(assets, entries, strict=True):
            hits = list(mediasearch.search(entry["captions"][0], weights=named, limit=len(assets)))
            searched.append([hit.asset.pk for hit in hits].index(asset.pk))
            plain = {h.asset.pk: sum(named[s] * e.normalized for s, e in h.signals.items()) for h in hits}
            counted_zero.append(sorted(plain, key=lambda pk: -plain[pk]).index(asset.pk))
        for name, ranks in (("stands in", searched), ("counts as 0", counted_zero)):
            print(f"image, caption, text = {weights}; missing caption {name}: {summary(np.array(ranks), described)}")


def summary(ranks: np.ndarray, described: np.ndarray) -> str:
    """R@1 over all pictures, over those with a caption, and over those without."""
    groups = {"all": ranks, "described": ranks[described], "undescribed": ranks[~described]}
    return "R@1 " + ", ".join(f"{name} {np.mean(group < 1):.3f}" for name, group in groups.items())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m benchmarks.captions FOLDER")
    main(Path(sys.argv[1]))
