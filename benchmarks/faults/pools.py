"""`python -m benchmarks.faults.pools --pool NAME [--seed N] [--short]`: a worker does what nobody rang for.

Some pictures were indexed long ago and their vectors never measured, when the worker starts: it is to prune and to
calibrate. Then forty pictures are stored unheard, which its sweep must find. In the long form all of that comes once
more, when the worker has run for a while; and it is told to end in the middle of its work.
"""

from __future__ import annotations

import argparse
import sys
import time
from unittest import mock

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import uploads
from benchmarks.faults.site import Site, running, until
from project.supervision import Program

QUEUES = "mediasearch.embed,mediasearch.read"
PROCESSES = {"solo": 1, "threads": 4, "gevent": 4, "prefork": 2}
KINDS = (*PROCESSES, "command")
OLD, UNRUNG, MORE = 12, 40, 400
SWEPT, LOOKED_AFTER, ENDED = 20.0, 120.0, 20.0
"""Seconds from storing to indexed; until pruned and calibrated, which is looked for each minute; and to end."""
_LONGEST = 150.0


def run(given: Given, bars: Bars) -> None:
    kind = given.options.pool
    name = "worker" if kind == "command" else "pool"
    with running(more=[_worker(kind)]) as site:
        from mediasearch.indexing import generations, worker
        from mediasearch.models import Stage

        _store(0, OLD)
        generations.ensure_active()
        worker.drain(list(Stage))
        rounds = 1 if given.short else 2
        for number in range(rounds):
            _age()
            if number == 0:
                site.start(name)
            bars.at_most(f"done jobs pruned, round {number + 1}", _until_pruned(), LOOKED_AFTER, " s")
            bars.at_most(f"calibrated, round {number + 1}", _until_calibrated(), LOOKED_AFTER, " s")
            _sweep(bars, OLD + number * UNRUNG)
        _end(site, name, bars, OLD + rounds * UNRUNG)


def _store(first: int, count: int) -> None:
    from mediasearch.indexing import doorbell

    with mock.patch.object(doorbell, "ring"):
        uploads.store(range(first, first + count))


def _age() -> None:
    """Have all that is done be done long ago, and the active generation never measured."""
    from mediasearch.models import Generation, Job

    Job.objects.update(finished_at="2020-01-01T00:00Z")
    Generation.objects.update(calibration={})


def _until_pruned() -> float:
    from mediasearch.models import Job

    took = until(lambda: not Job.objects.filter(finished_at__year=2020).exists(), _LONGEST)
    return float("inf") if took is None else took


def _until_calibrated() -> float:
    from mediasearch.models import Generation

    took = until(lambda: "ef_search" in Generation.objects.active().calibration, _LONGEST)
    return float("inf") if took is None else took


def _sweep(bars: Bars, first: int) -> None:
    from mediasearch.models import Asset, Embedding, Job

    stored = time.monotonic()
    _store(first, UNRUNG)
    until(lambda: not Job.objects.unfinished().exists(), 3 * SWEPT)
    took = time.monotonic() - stored
    new = Asset.objects.order_by("-pk")[:UNRUNG].values("pk")
    bars.equal("unrung pictures with a vector", Embedding.objects.filter(asset__in=new).count(), UNRUNG)
    bars.equal("jobs that still wait", Job.objects.unfinished().count(), 0)
    bars.at_most("from stored to indexed, the last of them", took, SWEPT, " s")


def _end(site: Site, name: str, bars: Bars, first: int) -> None:
    """Ask the worker to end in the middle of its work."""
    from mediasearch.models import Embedding, Job

    _store(first, MORE)
    until(lambda: Embedding.objects.filter(image__isnull=False).count() > first, SWEPT, every=0.02)
    started = time.monotonic()
    site.supervisor.end(name)
    bars.at_most("ended after the batches at hand", time.monotonic() - started, ENDED, " s")
    bars.equal("jobs that it left as running", Job.objects.filter(state="running").count(), 0)
    bars.at_least("jobs that it left for others", Job.objects.unfinished().count(), 1)


def _worker(kind: str) -> Program:
    command = (sys.executable, "-m", "celery", "--app", "project", "worker", "--queues", QUEUES)
    command += ("--pool", kind, "--concurrency", str(PROCESSES.get(kind, 1)), "--hostname", "pool@demo")
    return Program("pool", (*command, "--without-gossip", "--without-mingle"))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", choices=KINDS, default="prefork")


if __name__ == "__main__":
    experiment(run, _options)
