"""`python -m benchmarks.faults.deaths --workers celery|command [--seed N] [--short]`: dead between commit and doorbell.

Each upload is made by a process of its own, which the first hook after its commit ends, before the app's own hook can
ring. Without Celery the doorbell is still the broker's: PostgreSQL's would go out with the commit, and can't be lost.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections import Counter

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import uploads
from benchmarks.faults.site import await_model, patiently, running, until

PROGRAMS = {"celery": ("worker-read", "worker-embed", "beat"), "command": ("worker",)}
UPLOADS, SHORT, LONGEST_GAP = 200, 12, 0.5
INDEXED = 15.0
DIED = 17


def run(given: Given, bars: Bars) -> None:
    count = SHORT if given.short else UPLOADS
    with running(*PROGRAMS[given.options.workers]):
        from benchmarks.faults.counting import effects
        from mediasearch.models import Asset, Embedding, Job

        await_model()
        chance, ended = random.Random(given.seed), Counter[int]()
        for number in range(count):
            ended[_upload_and_die(number)] += 1
            time.sleep(chance.uniform(0.0, LONGEST_GAP))
        until(lambda: not Job.objects.unfinished().exists(), 4 * INDEXED)
        took = patiently(uploads.waits)
        bars.equal("processes that ended between commit and doorbell", ended[DIED], count)
        bars.equal("images committed", patiently(Asset.objects.count), count)
        bars.equal("image vectors", patiently(Embedding.objects.filter(image__isnull=False).count), count)
        bars.equal("effects committed more than once", patiently(effects.repeated), [])
        bars.at_most("longest from commit to indexed", max(took), INDEXED, " s")
        bars.note("half of them within, s", sorted(took)[len(took) // 2])


def _upload_and_die(number: int) -> int:
    """Upload in a forked process that ends right after its commit; return its exit status."""
    from django.db import connections, transaction

    connections.close_all()  # A connection must not be shared over the fork.
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        with transaction.atomic():
            transaction.on_commit(lambda: os._exit(DIED))
            uploads.upload(number)
    finally:
        os._exit(1)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", choices=sorted(PROGRAMS), default="celery")


if __name__ == "__main__":
    experiment(run, _options)
