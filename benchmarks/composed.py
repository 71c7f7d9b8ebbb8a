"""`python -m benchmarks.composed FOLDER`: how much words weigh that are asked together with a picture.

FOLDER is as for `benchmarks.parity`. Each photograph A, as its left three fifths, is asked together with the second
caption of each of ten others, B: both should be among the first. Then the second caption of the photograph most like A
is subtracted from A: that one should fall, A and the others like it should stay. Words have the weight 1, and the one
that makes up for their scores spreading less than those of pictures do, as calibrating found; with default weights of
the signals, where no photograph, each second, or all of them have their first caption.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import site
from benchmarks.splits import describe

LEFT = (0.0, 0.0, 0.6, 1.0)
OTHERS, NEAR = 10, 5
DESCRIBED = {"none": lambda number: False, "each second": lambda number: number % 2 == 0, "all": lambda number: True}


def main(folder: Path) -> None:
    site.set_up()
    from django.core.files.base import ContentFile

    import mediasearch
    from mediasearch.indexing import calibration, generations
    from mediasearch.models import Asset

    generation = generations.ensure_active()
    entries = json.loads((folder / "captions.json").read_text())
    assets = []
    for entry in entries:
        data = (folder / "images" / entry["file"]).read_bytes()
        assets.append(Asset.objects.create(file=ContentFile(data, name=entry["file"])))
    describe(assets, [""] * len(assets))
    found = calibration.calibrate(generation)
    assert found is not None
    balanced = found.background["image_picture"][1] / found.background["image"][1]
    pictures = {asset.pk: mediasearch.search(image=mediasearch.Crop(asset, LEFT)).picture for asset in assets}
    words = {asset.pk: entry["captions"][1] for asset, entry in zip(assets, entries, strict=True)}
    like = {own: [pk for pk in ask(picture) if pk != own] for own, picture in pictures.items()}
    for name, has_caption in DESCRIBED.items():
        describe(assets, [entry["captions"][0] if has_caption(n) else "" for n, entry in enumerate(entries)])
        for weight in (1.0, balanced):
            print(f"described: {name}; words weigh {weight:.2f}")
            added(pictures, words, weight)
            subtracted(pictures, words, weight, like)


def added(pictures: Mapping[int, Any], words: Mapping[int, str], weight: float) -> None:
    """Print where A and B come."""
    chance = np.random.default_rng(1)
    places = []
    for own, picture in pictures.items():
        others = [pk for pk in pictures if pk != own]
        for other in chance.choice(others, OTHERS, replace=False).tolist():
            order = ask(picture, words[other], weight)
            places.append((order.index(own) + 1, order.index(other) + 1))
    worse = np.max(places, axis=1)
    (first, second), (two, five) = np.mean(places, axis=0), [np.mean(worse <= k) for k in (2, 5)]
    print(f"  A + words about B, {len(places)} questions: both among the first 2 {two:.3f}, 5 {five:.3f}")
    print(f"    mean place of A {first:.2f}, of B {second:.2f}, of the worse of them {worse.mean():.2f}")


def subtracted(
    pictures: Mapping[int, Any], words: Mapping[int, str], weight: float, like: Mapping[int, list[int]]
) -> None:
    """Print where A comes, and the one most like it, when words about that one are subtracted from A."""
    found = []
    for own, picture in pictures.items():
        most, *others = like[own][: NEAR + 1]
        order = ask(picture, words[most], -weight)
        kept = np.mean([order.index(pk) < 2 * NEAR for pk in others])
        found.append((order.index(own) + 1, order.index(most) + 1, kept))
    first, most, kept = np.mean(found, axis=0)
    print(f"  A - words about the one most like it: mean place of A {first:.2f}, of that one {most:.2f}")
    print(f"    of the {NEAR} next like A among the first {2 * NEAR} {kept:.3f}")


def ask(picture: Any, words: str = "", weight: float = 1.0) -> list[int]:
    """Return the assets in the order in which they are found."""
    import mediasearch

    parts = [mediasearch.Part(words, weight=weight)] if words else []
    return [hit.asset.pk for hit in mediasearch.search(parts, image=picture, limit=100)]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m benchmarks.composed FOLDER")
    main(Path(sys.argv[1]))
