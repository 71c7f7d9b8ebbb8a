"""`python -m benchmarks.faults.chaos --workers celery|command [--seed N] [--short]`: kill -9 of everything, at random.

Uploads go on while workers, broker (which keeps nothing) and PostgreSQL are killed at random moments, each while
enough jobs are due; the workers, their supervisor and the lease are as the documentation has them. In the end each
upload must be indexed, and nothing must have been done twice.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from contextlib import suppress

import psutil

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults.site import Site, patiently, running, until
from benchmarks.faults.uploads import Uploading

STAGES = ("inspect", "read", "embed_image")
PROGRAMS = {"celery": ("worker-read", "worker-embed", "beat"), "command": ("worker",)}
UPLOADS, KILLS, DUE, SETTLED = 10_000, {"worker": 20, "valkey": 5, "postgres": 5}, 1_000, 180.0
SHORT = {"UPLOADS": 400, "KILLS": {"worker": 4, "valkey": 1, "postgres": 1}, "DUE": 50, "LEASE_SECONDS": 10}
PER_SECOND, LONGEST_WAIT, PATIENCE = 120.0, 300.0, 120.0


def run(given: Given, bars: Bars) -> None:
    uploads, kills, due = (SHORT["UPLOADS"], SHORT["KILLS"], SHORT["DUE"]) if given.short else (UPLOADS, KILLS, DUE)
    settings = {"DOORBELL": "celery" if given.options.workers == "celery" else "postgresql"}
    if given.short:
        settings["LEASE_SECONDS"] = SHORT["LEASE_SECONDS"]
    programs = PROGRAMS[given.options.workers]
    with running(*programs, settings=settings) as site:
        _go(given, bars, site, programs, uploads, kills, due)


def _go(
    given: Given, bars: Bars, site: Site, programs: tuple[str, ...], uploads: int, kills: dict[str, int], due: int
) -> None:
    from benchmarks.faults.counting import effects
    from mediasearch.models import Asset, Embedding, Job

    chance = random.Random(given.seed)
    planned = [what for what, times in kills.items() for _ in range(times)]
    chance.shuffle(planned)
    uploading = Uploading(uploads, PER_SECOND, may=_Backlog(2 * due))
    started = time.monotonic()
    uploading.start()
    killed: Counter[str] = Counter()
    for what, moment in zip(planned, sorted(chance.uniform(0.05, 0.98) for _ in planned), strict=True):
        met = until(lambda m=moment: uploading.stored >= m * uploads and Job.objects.due().count() >= due, LONGEST_WAIT)
        if met is None:
            bars.at_least(f"jobs due at {moment:.0%} of the uploads", patiently(Job.objects.due().count), due)
            return
        killed[what] += _kill(site, what, programs, chance)
    faults_over = time.monotonic()
    uploading.join(LONGEST_WAIT)
    uploaded = time.monotonic()
    until(lambda: not Job.objects.unfinished().exists(), 3 * SETTLED, every=0.5)
    settled = time.monotonic()
    bars.equal("kills", dict(killed), kills)
    bars.note("seconds with faults", faults_over - started)
    bars.note("seconds from the last fault to the last upload", uploaded - faults_over)
    states = patiently(Job.objects.progress)
    done = [states.get(stage, {}).get("done", 0) for stage in STAGES]
    bars.equal("images committed", patiently(Asset.objects.count), uploads)
    bars.equal(f"done, {', '.join(STAGES)}", done, [uploads] * len(STAGES))
    bars.equal("failed", patiently(Job.objects.filter(state="failed").count), 0)
    bars.equal("image vectors", patiently(Embedding.objects.filter(image__isnull=False).count), uploads)
    bars.equal("effects committed more than once", patiently(effects.repeated), [])
    counted = patiently(effects.counted)
    wanted = {(what, stage): uploads for what in ("job", "write") for stage in STAGES}
    bars.equal("effects, each by what and stage", dict(counted), wanted)
    bars.at_most("from the last fault until all is done", settled - faults_over, SETTLED, " s")
    bars.at_most("doorbells for each upload", site.doorbells() / uploads, 1.5)


class _Backlog:
    """Answers whether uploads may go on: while fewer jobs than so many are due."""

    def __init__(self, most: int) -> None:
        self._most, self._looked, self._answer = most, 0.0, True

    def __call__(self) -> bool:
        from mediasearch.models import Job

        if time.monotonic() - self._looked > 0.2:
            self._answer = patiently(Job.objects.due().count) < self._most
            self._looked = time.monotonic()
        return self._answer


def _kill(site: Site, what: str, programs: tuple[str, ...], chance: random.Random) -> bool:
    """Kill one thing; of the workers one by chance, and sometimes its pool process alone."""
    if what != "worker":
        return until(lambda: site.kill(what), PATIENCE) is not None
    name = chance.choice([program for program in programs if program.startswith("worker")])
    alone = chance.random() < 0.3

    def strike() -> bool:
        processes = site.processes(name)
        if len(processes) < 2:
            return False  # Just started, or about to end by itself.
        for process in [chance.choice(processes[1:])] if alone else processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return True

    return until(strike, PATIENCE) is not None


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", choices=sorted(PROGRAMS), default="celery")


if __name__ == "__main__":
    experiment(run, _options)
