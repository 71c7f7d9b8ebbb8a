"""`python -m benchmarks.splits FOLDER`: do the signals together find more than the best of them alone?

FOLDER is as for `benchmarks.parity`. The first caption of each photograph is stored and the others are asked, through
`mediasearch.search`: with each signal alone, with the defaults, with a grid of weights, and with each fusion. The
photographs are split into halves 20 times: weights are chosen on one half (by R@1, ties by MRR) and measured on the
other, beside the defaults and the signal that is best there. The library is always all of them; only the questions are
split. The same is done with the captions of a random half of the photographs taken away, five times. Intervals are
95 %, by bootstrap over photographs. Exits 1 where the defaults find less than the best signal.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import site

SPLITS, HALVES, SAMPLES, DEEPEST = 20, 5, 10_000, 10
ALONE = {signal: {"weights": {signal: 1.0}} for signal in ("image", "caption", "text")}
GRID = {
    f"1, {caption:g}, {text:g}": {"weights": {"image": 1.0, "caption": caption, "text": text}}
    for caption, text in product((0.25, 0.5, 0.75, 1.0, 1.5), (1.0, 2.0, 3.0))
}
FUSIONS = {name: {"fusion": name} for name in ("dbsf", "arctan", "calibrated", "rrf")}
ASKED: dict[str, dict[str, Any]] = {**ALONE, "default": {}, **GRID, **FUSIONS}
Ranks = NDArray[np.float64]
"""The place of the right photograph from 1, infinite where it is not among the first; photographs x questions."""
Found = dict[str, Ranks]
"""Ranks by how it was asked."""


def main(folder: Path) -> int:
    site.set_up()
    from django.core.files.base import ContentFile

    from mediasearch.indexing import calibration, generations
    from mediasearch.models import Asset

    generation = generations.ensure_active()
    entries = json.loads((folder / "captions.json").read_text())
    captions = [entry["captions"] for entry in entries]
    assets = []
    for entry in entries:
        data = (folder / "images" / entry["file"]).read_bytes()
        assets.append(Asset.objects.create(file=ContentFile(data, name=entry["file"])))

    describe(assets, [photo[0] for photo in captions])
    calibration.calibrate(generation)
    good = report("all captions", [ask_all(assets, captions)])
    halves = []
    for seed in range(HALVES):
        bare = set(np.random.default_rng(seed).permutation(len(assets))[: len(assets) // 2].tolist())
        describe(assets, ["" if number in bare else photo[0] for number, photo in enumerate(captions)])
        halves.append(ask_all(assets, captions))
    return 0 if report(f"captions on a random half, {HALVES} times", halves) and good else 1


def describe(assets: Iterable[Any], captions: Iterable[str]) -> None:
    """Store captions, and make the vectors that are owed."""
    from mediasearch.indexing import worker
    from mediasearch.models import Stage

    for asset, caption in zip(assets, captions, strict=True):
        asset.caption = caption
        asset.save()
    worker.drain([Stage.EMBED_IMAGE, Stage.EMBED_CAPTION], seconds=3_600)


def ask_all(assets: list[Any], captions: list[list[str]]) -> Found:
    found: Found = {}
    for name, asked in ASKED.items():
        photos = zip(assets, captions, strict=True)
        found[name] = np.array([[rank(asset.pk, words, asked) for words in photo[1:]] for asset, photo in photos])
    return found


def rank(wanted: int, words: str, asked: Mapping[str, Any]) -> float:
    import mediasearch

    found = [hit.asset.pk for hit in mediasearch.search(words, limit=DEEPEST, **asked)]
    return found.index(wanted) + 1 if wanted in found else np.inf


def report(name: str, found: list[Found]) -> bool:
    """Print how the splits of one or several libraries went; return whether the default is as good as one signal."""
    photos = len(found[0]["default"])
    print(f"{name}: {found[0]['default'].size} questions about {photos} photographs")
    for asked in ASKED:
        first, mrr = np.mean([quality(each[asked], slice(None)) for each in found], axis=0)
        print(f"  {asked}: R@1 {first:.3f}, MRR {mrr:.3f}")

    against: dict[str, list[Ranks]] = {"default": [], "chosen": []}
    measured: dict[str, list[float]] = {"default": [], "chosen": [], "best signal": []}
    chosen: Counter[str] = Counter()
    for split, each in product(range(SPLITS), found):
        order = np.random.default_rng(split).permutation(photos)
        here, there = order[: photos // 2], order[photos // 2 :]
        weights = max(GRID, key=lambda weights: quality(each[weights], here))
        chosen[weights] += 1
        alone = max(ALONE, key=lambda signal: quality(each[signal], there))
        measured["best signal"].append(quality(each[alone], there)[0])
        for what, those in (("default", "default"), ("chosen", weights)):
            measured[what].append(quality(each[those], there)[0])
            gains = np.full(photos, np.nan)
            gains[there] = ((each[those] <= 1).mean(axis=1) - (each[alone] <= 1).mean(axis=1))[there]
            against[what].append(gains)
    print(
        f"  {SPLITS} splits, R@1 on the other half: " + ", ".join(f"{k} {np.mean(v):.3f}" for k, v in measured.items())
    )
    for what, gains in against.items():
        low, high = interval(np.nanmean(gains, axis=0))
        less = sum(ours < best for ours, best in zip(measured[what], measured["best signal"], strict=True))
        difference = np.mean(measured[what]) - np.mean(measured["best signal"])
        print(f"  {what} - best signal: {difference:+.3f} ({low:+.3f} to {high:+.3f}), less in {less} of {len(gains)}")
    print("  chosen: " + ", ".join(f"{weights} ({times})" for weights, times in chosen.most_common()))
    return bool(np.mean(measured["default"]) >= np.mean(measured["best signal"]))


def quality(ranks: Ranks, photos: Any) -> tuple[float, float]:
    """R@1 and MRR of the questions about some photographs."""
    return float((ranks[photos] <= 1).mean()), float((1 / ranks[photos]).mean())


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % of the means that other photographs of this kind would have."""
    drawn = np.random.default_rng(0).integers(len(values), size=(SAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m benchmarks.splits FOLDER")
    sys.exit(main(Path(sys.argv[1])))
