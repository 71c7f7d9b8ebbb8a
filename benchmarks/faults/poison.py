"""`python -m benchmarks.faults.poison --workers celery|command [--short]`: pictures that kill whoever encodes them.

First one in a full batch; then three among a thousand, in turns with a thousand that are well: the others must hardly
notice. The lease is the default one. The encoder takes for each picture about what the demo's own does on two cores.
"""

from __future__ import annotations

import argparse
import io
import random
from dataclasses import dataclass
from datetime import datetime

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults.site import await_model, running, until
from benchmarks.faults.troubled import POISON, noted
from benchmarks.faults.uploads import at_once, picture

PROGRAMS = {"celery": ("worker-read", "worker-embed", "beat"), "command": ("worker",)}
BATCH, CLAIMS, LEAST_RATE = 32, 5, 0.8
BLOCKS = ((500, 0), (499, 1), (498, 2), (500, 0))
"""Pictures that are uploaded at once, and how many of them kill."""
SECONDS_EACH, SHORT_SECONDS_EACH, LONGEST = 0.1, 0.02, 300.0


@dataclass(frozen=True, slots=True)
class Block:
    """Pictures that were uploaded at once."""

    well: list[int]
    ill: list[int]
    at: datetime


def run(given: Given, bars: Bars) -> None:
    seconds = SHORT_SECONDS_EACH if given.short else SECONDS_EACH
    settings = {
        "DOORBELL": "celery" if given.options.workers == "celery" else "postgresql",
        "ENCODER": {"BACKEND": "benchmarks.faults.troubled.Poisoned", "OPTIONS": {"seconds": seconds}},
    }
    chance = random.Random(given.seed)
    with running(*PROGRAMS[given.options.workers], settings=settings):
        await_model()
        first = _in_a_batch(given, bars, chance)
        if not given.short:  # A rate needs many.
            _among_many(given, bars, chance, first)


def _in_a_batch(given: Given, bars: Bars, chance: random.Random) -> Block:
    block = _upload(BATCH - 1, 1, chance)
    bars.at_most("in a full batch: its neighbours done", _await_well(block), 30.0, " s")
    _await_ill(given, [block])
    bars.equal("in a full batch: processes that it killed", len(noted("deaths")), CLAIMS)
    bars.at_most("in a full batch: claims of a neighbour", max(claims for _, claims in _fates(block.well)), 2)
    _judge(bars, [block])
    return block


def _among_many(given: Given, bars: Bars, chance: random.Random, first: Block) -> None:
    blocks: list[Block] = []
    counts, seconds = {True: 0, False: 0}, {True: 0.0, False: 0.0}
    for well, ill in BLOCKS:
        if not ill:
            _await_ill(given, blocks)  # Nothing of theirs may slow down what is well.
        blocks.append(_upload(well, ill, chance))
        took = _await_well(blocks[-1])
        bars.note(f"{well} pictures, with {ill} more that kill: seconds", took)
        counts[bool(ill)] += well
        seconds[bool(ill)] += took
    _await_ill(given, blocks)
    _judge(bars, [first, *blocks])
    dear = seconds[True] - counts[True] * seconds[False] / counts[False]
    bars.note("seconds that each of them costs the others", dear / sum(len(block.ill) for block in blocks))
    kept = (counts[True] / seconds[True]) / (counts[False] / seconds[False])
    bars.at_least("share of their rate that the others keep", kept, LEAST_RATE, " x")


def _judge(bars: Bars, blocks: list[Block]) -> None:
    """Has each picture that kills failed after its claims, and nothing else at all?"""
    from mediasearch.models import Job

    ill = [pk for block in blocks for pk in block.ill]
    bars.equal(f"{len(ill)} that kill: state and claims", _fates(ill), [("failed", CLAIMS)] * len(ill))
    others = Job.objects.exclude(asset__in=ill, stage="embed_image").exclude(state="done")
    bars.equal("other jobs that are not done", others.count(), 0)


def _upload(well: int, ill: int, chance: random.Random) -> Block:
    """Store pictures in one transaction, those that kill at random places among the others."""
    from django.db.models.functions import Now

    from mediasearch.models import Asset

    first = Asset.objects.count()
    places = set(chance.sample(range(well + ill), ill))
    ids = at_once([_poison(first + at) if at in places else picture(first + at) for at in range(well + ill)])
    now = Asset.objects.filter(pk=ids[0]).values_list(Now(), flat=True).get()
    return Block([pk for at, pk in enumerate(ids) if at not in places], [ids[at] for at in sorted(places)], now)


def _poison(number: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (40 + number % 60, 30 + number // 60), POISON).save(stream, "PNG")
    return stream.getvalue()


def _await_well(block: Block) -> float:
    """Wait until the pictures of a block that are well have their vectors; return how long that took them."""
    from django.db.models import Max

    from mediasearch.models import Job

    jobs = Job.objects.filter(asset__in=block.well, stage="embed_image")
    if until(lambda: not jobs.exclude(state="done").exists(), LONGEST) is None:
        return float("inf")
    last: datetime = jobs.aggregate(last=Max("finished_at"))["last"]
    return (last - block.at).total_seconds()


def _await_ill(given: Given, blocks: list[Block]) -> None:
    """Wait until nothing more is tried; the short form waits for no back-off."""
    from django.db.models.functions import Now

    from mediasearch.indexing import doorbell
    from mediasearch.models import Job

    ill = [pk for block in blocks for pk in block.ill]

    def settled() -> bool:
        if given.short and Job.objects.filter(state="pending", asset__in=ill, due_at__gt=Now()).update(due_at=Now()):
            doorbell.ring(["mediasearch.embed"])
        return not Job.objects.filter(asset__in=ill).unfinished().exists()

    until(settled, LONGEST)


def _fates(assets: list[int]) -> list[tuple[str, int]]:
    from mediasearch.models import Job

    jobs = Job.objects.filter(asset__in=assets, stage="embed_image")
    return list(jobs.order_by("asset").values_list("state", "attempts"))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", choices=sorted(PROGRAMS), default="celery")


if __name__ == "__main__":
    experiment(run, _options)
