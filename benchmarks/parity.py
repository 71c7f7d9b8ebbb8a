"""`python -m benchmarks.parity FOLDER`: text to image through the whole app, beside plain open_clip on the same files.

FOLDER holds `images/` and `captions.json`, a list of {"file": ..., "captions": [...]}; the first caption of each is
asked. The pictures are imported without texts and searched by the image signal alone. Exits 1 where a recall differs
or a rank differs by more than the rounding of half-precision vectors explains.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks import site

ROUNDING = 2e-3


def main(folder: Path) -> int:
    site.set_up()
    from django.core.management import call_command

    import mediasearch
    from mediasearch.features.hashing import content_hash
    from mediasearch.indexing import generations, worker
    from mediasearch.models import Asset, Stage

    entries = json.loads((folder / "captions.json").read_text())
    questions = [entry["captions"][0] for entry in entries]
    call_command("mediasearch_import", str(folder / "images"), verbosity=0)
    generations.ensure_active()
    worker.drain([Stage.INSPECT, Stage.EMBED_IMAGE], seconds=3_600)

    order = [entry["file"] for entry in entries]
    contents = {content_hash((folder / "images" / name).read_bytes()): name for name in order}
    names = {pk: contents[digest] for pk, digest in Asset.objects.values_list("pk", "content_hash")}
    plain = plain_scores([folder / "images" / name for name in order], questions)
    ours = np.full_like(plain, np.nan)
    ranks = []
    for row, question in enumerate(questions):
        hits = list(mediasearch.search(question, weights={"image": 1}, limit=len(order)))
        found = [names[hit.asset.pk] for hit in hits]
        ranks.append(found.index(order[row]))
        for hit, name in zip(hits, found, strict=True):
            ours[row, order.index(name)] = hit.signals["image"].score
    plain_ranks = [int((-plain[row]).argsort(kind="stable").tolist().index(row)) for row in range(len(order))]
    return report(ranks, plain_ranks, ours, plain)


def plain_scores(paths: list[Path], questions: list[str]) -> np.ndarray:
    """Cosines of questions (rows) and pictures (columns), by open_clip's own functions and nothing else."""
    import open_clip
    import torch
    from PIL import Image

    from project.settings import MODEL

    model, _, preprocess = open_clip.create_model_and_transforms(MODEL)
    model.eval()
    tokenizer = open_clip.get_tokenizer(MODEL)
    with torch.inference_mode():
        images = torch.cat(
            [model.encode_image(preprocess(Image.open(p).convert("RGB"))[None], normalize=True) for p in paths]
        )
        texts = torch.cat([model.encode_text(tokenizer([q]), normalize=True) for q in questions])
    return (texts @ images.T).numpy()


def report(ranks: list[int], plain_ranks: list[int], ours: np.ndarray, plain: np.ndarray) -> int:
    """Print both, and return 0 where they agree."""
    agree = True
    for k in (1, 5, 10):
        own, reference = (float(np.mean([rank < k for rank in r])) for r in (ranks, plain_ranks))
        agree &= own == reference
        print(f"R@{k}: mediasearch {own:.3f}, plain open_clip {reference:.3f}")
    difference = float(np.nanmax(np.abs(ours - plain)))
    other = sum(own != reference for own, reference in zip(ranks, plain_ranks, strict=True))
    print(f"questions {len(ranks)}, ranks that differ {other}, greatest difference of a score {difference:.2e}")
    return 0 if agree and not np.isnan(ours).any() and difference <= ROUNDING else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m benchmarks.parity FOLDER")
    sys.exit(main(Path(sys.argv[1])))
