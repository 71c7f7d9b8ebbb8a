"""`python -m benchmarks.faults.missing [--seed N] [--short]`: vectors vanish whose jobs are done; the model changes.

Rows of vectors are deleted, or emptied, in the generation that `mediasearch_reindex` is on its way to: a new one that
is half made, and one that was active before, whose jobs were pruned too. The command must end in time, and what it
changes over to must be whole. Then they vanish from the generation that searches use, and the workers must see to it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from datetime import timedelta

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import uploads
from benchmarks.faults.site import ROOT, await_model, running, until
from benchmarks.faults.swap import PLAIN, SKEWED

PICTURES, SHORT = 500, 20
MOST, MENDED, LONGEST = 60.0, 120.0, 300.0


def run(given: Given, bars: Bars) -> None:
    pictures = SHORT if given.short else PICTURES
    chance = random.Random(given.seed)
    with running("worker", settings={"ENCODER": PLAIN, "DOORBELL": "postgresql"}):
        from mediasearch.models import Generation

        await_model()
        for number in range(pictures):
            uploads.upload(number)
        until(_idle, LONGEST)
        first = Generation.objects.active()
        _reindex("--encoder", json.dumps(SKEWED), "--no-wait")
        until(_idle, LONGEST)
        building = Generation.objects.get(state="building")
        _lose(building, chance)
        took = _reindex("--encoder", json.dumps(SKEWED))
        bars.at_most("to a new generation that had lost vectors", took, MOST, " s")
        _hold_whole(bars, building, pictures)
        _forget_jobs(first)
        _lose(first, chance)
        took = _reindex("--activate", str(first.pk))
        bars.at_most("back to one that had lost vectors, its jobs pruned", took, MOST, " s")
        _hold_whole(bars, first, pictures)
        _lose(first, chance)
        mended = until(lambda: _vectors(first) == pictures, LONGEST)
        bars.at_most("vectors lost in use: made again", float("inf") if mended is None else mended, MENDED, " s")


def _lose(generation: object, chance: random.Random) -> None:
    """Delete two rows of vectors, as somebody might by hand, and empty one more."""
    from mediasearch.models import Embedding

    ids = chance.sample(list(Embedding.objects.filter(generation=generation).values_list("pk", flat=True)), 3)
    Embedding.objects.filter(pk__in=ids[:2]).delete()
    Embedding.objects.filter(pk=ids[2]).update(image=None)


def _forget_jobs(generation: object) -> None:
    """Have the jobs of a generation pruned."""
    from django.db.models.functions import Now

    from mediasearch.indexing import pruning
    from mediasearch.models import Job

    Job.objects.filter(generation=generation).update(finished_at=Now() - timedelta(days=100))
    pruning.prune_jobs(1_000_000)
    assert not Job.objects.filter(generation=generation).exists()


def _reindex(*options: str) -> float:
    """Run `mediasearch_reindex`; return after how many seconds it had changed over, inf where it had not."""
    began = time.monotonic()
    command = [sys.executable, str(ROOT / "manage.py"), "mediasearch_reindex", "--verbosity", "0", *options]
    try:
        ended = subprocess.run(command, cwd=ROOT, timeout=LONGEST, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return float("inf")
    if ended.returncode:
        print(ended.stderr[-2_000:], flush=True)
    return float("inf") if ended.returncode else time.monotonic() - began


def _hold_whole(bars: Bars, generation: object, pictures: int) -> None:
    from mediasearch.models import Generation

    bars.equal("searches use it", Generation.objects.active() == generation, True)
    bars.equal("its vectors", _vectors(generation), pictures)


def _vectors(generation: object) -> int:
    from mediasearch.models import Embedding

    return Embedding.objects.filter(generation=generation, image__isnull=False).count()


def _idle() -> bool:
    from mediasearch.models import Job

    return not Job.objects.unfinished().exists()


if __name__ == "__main__":
    experiment(run)
