"""`python -m benchmarks.faults.versions [--seed N] [--short]`: a later release makes something better, under searches.

A library is indexed, and then the version of one stage after another is raised, and at last that of the folding of
texts: the workers are started anew with it, and so is the site. All must be made again behind the uploads of the day,
while nobody who searches misses anything that could be found before.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import described, uploads
from benchmarks.faults.asking import QUESTIONS, SCOPE, Asking
from benchmarks.faults.counting import versions
from benchmarks.faults.site import ROOT, Site, await_model, running, until
from project.supervision import Program

RAISED = ("read", "embed_image", "inspect", "embed_caption", "folding")
"""In this order, each added to those before."""
ASSETS, SHORT_ASSETS, CHUNK = 10_000, 120, 500
LONGEST, SOON, GAP = 900.0, 10.0, 1.0
FOLDING = "folding"


def run(given: Given, bars: Bars) -> None:
    count = SHORT_ASSETS if given.short else ASSETS
    settings = {"READER": described.READER, "DOORBELL": "postgresql"}
    with running("worker", settings=settings, more=[_raised(number) for number in range(len(RAISED))]) as site:
        if missing := versions.declared():
            bars.equal("versions that are declared", missing, "all")
            return
        await_model()
        ids = _fill(count)
        asking = Asking(given.seed, ids)
        missing = {signal: asking.ask(signal, ids[:SCOPE]) for signal in QUESTIONS}
        bars.equal("hits that questions lack before anything is raised", missing, dict.fromkeys(QUESTIONS, 0))
        asking.start()
        name = "worker"
        for number, what in enumerate(RAISED):
            site.supervisor.end(name)
            name = _name(number)
            _raise(bars, site, number, what, ids)
        asking.stop()
        bars.note("questions", dict(asking.asked))
        bars.equal("questions that lost a hit", dict(+asking.lost), {})
        bars.equal("errors", dict(asking.errors.most_common(3)), {})
        _judge(bars, ids)


def _raise(bars: Bars, site: Site, number: int, what: str, ids: list[int]) -> None:
    """Start workers and site with a raised version, and wait until all is made again, with an upload now and then."""
    marker, started = _marker(), time.monotonic()
    versions.raise_to(*_versions(number))
    site.start(_name(number))
    until(lambda: _made(what, marker, ids), LONGEST / 4)
    bars.note(f"{what}: seconds until the first is made again", time.monotonic() - started)
    waits, end = [], time.monotonic() + LONGEST
    while not waits or (_made(what, marker, ids) < len(ids) and time.monotonic() < end):
        waits.append(_await_upload(20_000_000 + 10_000 * number + len(waits)))
        time.sleep(GAP)
    bars.equal(f"{what}: made again", _made(what, marker, ids), len(ids))
    bars.note(f"{what}: seconds until all are", time.monotonic() - started)
    bars.at_most(f"{what}: longest wait of {len(waits)} uploads meanwhile", max(waits), SOON, " s")
    until(lambda: not _unfinished(), LONGEST / 4)
    done = _done(marker, ids)
    bars.equal(f"{what}: jobs done for it, by stage", dict(done), {} if what == FOLDING else {what: len(ids)})


def _judge(bars: Bars, ids: list[int]) -> None:
    from benchmarks.faults.counting import effects
    from mediasearch.models import Asset, Job, Stage

    owed = Job.objects.filter(asset__in=ids, stage__in=[what for what in RAISED if what != FOLDING])
    bars.equal("jobs that did not stand behind uploads", owed.exclude(priority=Job.BACKFILL).count(), 0)
    bars.equal("failed", Job.objects.filter(state="failed").count(), 0)
    bars.equal("effects committed more than once", effects.repeated(), [])
    some = Asset.objects.in_bulk(ids[:200])
    jobs = Job.objects.filter(asset__in=some)
    stale = sum(job.input_key != some[job.asset_id].input_key(Stage(job.stage)) for job in jobs)
    bars.equal("jobs whose key is not that of the raised stage", stale, 0)


def _fill(count: int) -> list[int]:
    """Index so many pictures that have something for each question."""
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset, Job

    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        files = [ContentFile(uploads.picture(n), name=f"{n}.png") for n in numbers]
        Asset.objects.bulk_create([Asset(title="red picture", file=file) for file in files])
    if until(lambda: Asset.objects.exclude(content_hash="").count() == count and not _unfinished(), LONGEST) is None:
        raise TimeoutError(f"The library was not indexed within {LONGEST:g} s: {Job.objects.progress()}.")
    return list(Asset.objects.order_by("pk").values_list("pk", flat=True))


def _await_upload(number: int) -> float:
    from mediasearch.models import Job

    started = time.monotonic()
    asset = uploads.upload(number)
    jobs = Job.objects.unfinished().filter(asset=asset)
    until(lambda: not jobs.exists(), LONGEST / 4, every=0.05)
    return time.monotonic() - started


def _made(what: str, marker: int, ids: list[int]) -> int:
    """How many of the library are made again."""
    if what == FOLDING:
        return len(ids) - described.unfound(ids, versions.FOLDED)
    return _done(marker, ids)[what]


def _done(marker: int, ids: list[int]) -> Counter[str]:
    """How many of the library's assets had a job done since, by stage."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stage, count(DISTINCT asset) FROM faults_effect WHERE what = 'job' AND id > %s"
            " AND asset BETWEEN %s AND %s GROUP BY 1",
            [marker, ids[0], ids[-1]],
        )
        return Counter(dict(cursor.fetchall()))


def _marker() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM faults_effect")
        return int(cursor.fetchone()[0])


def _unfinished() -> bool:
    from mediasearch.models import Job

    return Job.objects.unfinished().exists()


def _versions(number: int) -> tuple[str, str]:
    """What is raised by then, as `versions.raise_to` takes it."""
    raised = RAISED[: number + 1]
    return ",".join(f"{what}=2" for what in raised if what != FOLDING), "2" * (FOLDING in raised)


def _name(number: int) -> str:
    return f"worker-raised-{number}"


def _raised(number: int) -> Program:
    stages, folding = _versions(number)
    told = (f"FAULTS_STAGE_VERSIONS={stages}", f"FAULTS_FOLDING={folding}")
    return Program(_name(number), ("env", *told, sys.executable, os.fspath(ROOT / "manage.py"), "mediasearch_worker"))


if __name__ == "__main__":
    experiment(run)
