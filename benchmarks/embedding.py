"""`python -m benchmarks.embedding FOLDER [PICTURES] [--pipeline N]`: the embed stage beside the bare loop.

The bare loop opens each file with Pillow, preprocesses it and encodes batches of the same size; the stage does the
same through jobs, the guarded opener and the database. Both in this process, on the same files, in turns of 250.
The pictures are different cuts of the folder's photographs, since the same content is computed only once.
With --pipeline, N of them then go through all stages, OCR included, with real workers.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from benchmarks import site

TURN = 250


def cuts(folder: Path, count: int) -> Iterator[bytes]:
    """Yield different pictures, as large as the folder's but for a few pixels."""
    from PIL import Image

    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    chance = random.Random(7)
    for path in itertools.islice(itertools.cycle(paths), count):
        image = Image.open(path).convert("RGB")
        left, top, right, bottom = (chance.randrange(24) for _ in range(4))
        stream = io.BytesIO()
        image.crop((left, top, image.width - right, image.height - bottom)).save(stream, "JPEG", quality=88)
        yield stream.getvalue()


def main(folder: Path, count: int, pipeline: int) -> int:
    if not pipeline:
        os.environ["BENCH_WITHOUT_READING"] = "1"
    site.set_up()
    from django.core.files.base import ContentFile
    from django.db.models.functions import Now
    from PIL import Image

    from mediasearch import conf
    from mediasearch.indexing import encoders, generations, worker
    from mediasearch.models import Asset, Job, Stage

    generation = generations.ensure_active()
    encoder, batch = encoders.of(generation.pk).image, conf.settings().batch_size
    for number, data in enumerate(cuts(folder, count)):
        Asset.objects.create(file=ContentFile(data, name=f"{number}.jpg"))
    jobs = Job.objects.filter(stage=Stage.EMBED_IMAGE)
    jobs.update(due_at=Now() + timedelta(days=1))
    everything = list(Asset.objects.order_by("pk"))

    def bare(assets: list[Asset]) -> None:
        paths = [asset.file.path for asset in assets]
        for start in range(0, len(paths), batch):
            encoder.encode_images([Image.open(path).convert("RGB") for path in paths[start : start + batch]])

    def stage(assets: list[Asset]) -> None:
        mine = jobs.filter(asset__in=assets)
        mine.update(due_at=Now())
        worker.drain([Stage.EMBED_IMAGE], seconds=3_600)
        assert not mine.exclude(state=Job.State.DONE).exists()

    stage(everything[:batch])
    bare(everything[:batch])
    seconds = {"bare": 0.0, "stage": 0.0}
    runs = {"bare": bare, "stage": stage}
    ratios = []
    for turn, start in enumerate(range(batch, count, TURN)):
        part = everything[start : start + TURN]
        took = {}
        for name in sorted(runs, reverse=bool(turn % 2)):
            started = time.monotonic()
            runs[name](part)
            took[name] = time.monotonic() - started
            seconds[name] += took[name]
        ratios.append(took["bare"] / took["stage"])
        print(f"turn {turn}: bare {took['bare']:.1f} s, stage {took['stage']:.1f} s for {len(part)}", flush=True)
    timed = count - batch
    ratio = seconds["bare"] / seconds["stage"]
    print(f"bare loop: {timed / seconds['bare']:.1f} images/s; embed stage: {timed / seconds['stage']:.1f} images/s")
    print(f"embed stage / bare loop: {ratio:.2f} on {timed} images, turns {min(ratios):.2f} to {max(ratios):.2f}")
    if pipeline:
        _pipeline(pipeline)
    return 0 if ratio >= 0.9 else 1


def _pipeline(count: int) -> None:
    """Send pictures through all stages with the workers of a small site, two processes on this machine."""
    from django.db.models.functions import Now

    from mediasearch.models import Asset, Embedding, Generation, Job

    chosen = list(Asset.objects.order_by("-pk").values_list("pk", flat=True)[:count])
    Asset.objects.exclude(pk__in=chosen).delete()
    Embedding.objects.all().delete()
    Job.objects.update(due_at=Now() + timedelta(days=1))
    with site.workers("mediasearch.read", "mediasearch.embed"):
        Generation.objects.active()
        started = time.monotonic()
        Job.objects.requeue()
        embedded = Job.objects.filter(stage="embed_image").unfinished()
        site.until(lambda: not embedded.exists(), 3_600)
        vectors = time.monotonic() - started
        site.until(lambda: not Job.objects.unfinished().exists(), 3_600)
        everything = time.monotonic() - started
    print(f"whole pipeline, {count} images: vectors {count / vectors:.1f}/s, all with OCR {count / everything:.2f}/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("pictures", type=int, nargs="?", default=2_000)
    parser.add_argument("--pipeline", type=int, default=0)
    given = parser.parse_args()
    sys.exit(main(given.folder, given.pictures, given.pipeline))
