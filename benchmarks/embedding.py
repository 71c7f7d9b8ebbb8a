"""`python -m benchmarks.embedding FOLDER [ROUNDS]`: the embed stage beside the bare encoder loop.

The bare loop opens each file with Pillow, preprocesses it and encodes batches of the same size; the stage does the
same through jobs, the guarded opener and the database. Both in this process, on the same files, in turns.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks import site


def main(folder: Path, rounds: int) -> int:
    site.set_up()
    from django.core.files.base import ContentFile
    from PIL import Image

    from mediasearch import conf
    from mediasearch.indexing import encoders, generations, worker
    from mediasearch.models import Asset, Job, Stage

    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    generation = generations.ensure_active()
    encoder, batch = encoders.of(generation.pk).image, conf.settings().batch_size
    assets = [Asset(file=ContentFile(path.read_bytes(), name=path.name)) for path in paths]
    for start in range(0, len(assets), 100):
        Asset.objects.bulk_create(assets[start : start + 100])
    jobs = Job.objects.filter(stage=Stage.EMBED_IMAGE)

    def bare() -> None:
        for start in range(0, len(paths), batch):
            encoder.encode_images([Image.open(path).convert("RGB") for path in paths[start : start + batch]])

    def stage() -> None:
        jobs.requeue()
        worker.drain([Stage.EMBED_IMAGE], seconds=3_600)
        assert not jobs.exclude(state=Job.State.DONE).exists()

    stage()
    rates: dict[str, list[float]] = {"bare loop": [], "embed stage": []}
    for _ in range(rounds):
        for name, run in (("bare loop", bare), ("embed stage", stage)):
            started = time.monotonic()
            run()
            rates[name].append(len(paths) / (time.monotonic() - started))
    for name, values in rates.items():
        middle = site.percentile(values, 0.5)
        print(f"{name}: {middle:.1f} images/s ({rounds} rounds, {min(values):.1f} to {max(values):.1f})")
    ratios = [own / reference for own, reference in zip(rates["embed stage"], rates["bare loop"], strict=True)]
    print(f"embed stage / bare loop: {site.percentile(ratios, 0.5):.2f} on {len(paths)} images in batches of {batch}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("Usage: python -m benchmarks.embedding FOLDER [ROUNDS]")
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5))
