"""`python -m benchmarks.faults.outages --of storage|encoder|disk [--short]`: what all pictures need is down.

Each outage begins while pictures are being indexed, and more are uploaded in the midst of it. Meanwhile the status must
say why nothing gets done; no claim may be burned; and soon after the end all must be done. The short form has the first
outage of each kind, and makes it short.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import disks
from benchmarks.faults.site import Site, await_model, patiently, running, until
from benchmarks.faults.storages import DOWN, FLAG, FLAKY
from benchmarks.faults.troubled import NO_INFERENCE, NO_WEIGHTS, place
from benchmarks.faults.uploads import at_once, picture
from project.services import postgres

PROGRAMS = ("worker-read", "worker-embed", "beat")
KNOWN, UPLOADS, LASTS, BACK, SAID = 20, 300, 120.0, 60.0, 30.0
SHORT_UPLOADS, SHORT_LASTS = 60, 6.0
THUMBNAILS, TABLES = "media/mediasearch/thumbnails", "tables"
DISKS = {"postgres": 256, THUMBNAILS: 16, TABLES: 32}
"""Folders that are file systems of their own where disks are to be full, with their megabytes."""
_numbers = count()


@dataclass(frozen=True, slots=True)
class Outage:
    """Something that is down for as long as `lasts` does."""

    name: str
    lasts: Callable[[Site], AbstractContextManager[None]]
    stages: frozenset[str] = frozenset()
    """Which the status must call paused."""
    reason: str = ""
    """What it says; empty where it can say nothing."""
    sure: bool = True
    """Must it be said, or only if there is still room for saying so?"""
    uploads: bool = True
    """Can pictures be uploaded meanwhile?"""


def run(given: Given, bars: Bars) -> None:
    settings = {"ENCODER": {"BACKEND": "benchmarks.faults.troubled.Failing"}}
    of = given.options.of
    try:
        with running(*PROGRAMS, settings=settings, small=DISKS if of == "disk" else None) as site:
            await_model()
            at_once([picture(next(_numbers)) for _ in range(KNOWN)])
            until(_all_done, BACK)
            for outage in OUTAGES[of][:1] if given.short else OUTAGES[of]:
                _one(given, bars, site, outage)
    except disks.NoMount as reason:
        bars.note("skipped, for nothing can be mounted here", reason)


def _one(given: Given, bars: Bars, site: Site, outage: Outage) -> None:
    from mediasearch.models import Job

    count = SHORT_UPLOADS if given.short else UPLOADS
    files = [picture(next(_numbers)) for _ in range(count)]
    before = count // 2 if outage.uploads else count
    new = at_once(files[:before])
    left = Job.objects.unfinished().count()
    with outage.lasts(site):
        begun = time.monotonic()
        if outage.uploads:
            new += at_once(files[before:])
        said, silent = _watch(outage, begun, given.options.lasts or (SHORT_LASTS if given.short else LASTS))
    took = until(_all_done, 5 * BACK, every=0.25)
    bars.at_least(f"{outage.name}: jobs that it met", left, 1)
    if not outage.sure:
        bars.note(f"{outage.name}: seconds until the status said why", said)
    elif outage.reason:
        bars.at_most(f"{outage.name}: seconds until the status said why", said, SAID, " s")
        bars.equal(f"{outage.name}: looks at the status after that which did not find it", silent, 0)
    jobs = Job.objects.filter(asset__in=new).exclude(stage="embed_caption")
    fates = Counter(jobs.values_list("state", "attempts"))
    bars.equal(f"{outage.name}: jobs by state and claims", dict(fates), {("done", 1): 3 * len(new)})
    bars.equal(f"{outage.name}: failed", Job.objects.filter(state="failed").count(), 0)
    bars.at_most(f"{outage.name}: all done after its end", float("inf") if took is None else took, BACK, " s")


def _watch(outage: Outage, begun: float, seconds: float) -> tuple[float, int]:
    """Look at the status until the time is over; return when it first said why nothing gets done, and how often it did
    not after that."""
    first, silent = float("inf"), 0
    while time.monotonic() < begun + (max(seconds, SAID) if outage.reason and first == float("inf") else seconds):
        time.sleep(0.5)
        if outage.reason:
            told = _paused(outage)
            first = min(first, time.monotonic() - begun if told else first)
            silent += first < float("inf") and not told
    return first, silent


def _paused(outage: Outage) -> bool:
    from mediasearch.indexing.status import status

    paused = {s.stage: s.paused.reason for s in patiently(status).stages if s.paused}
    told = (outage.reason in paused.get(stage, "") for stage in outage.stages)
    return all(told) if outage.sure else any(told)


def _all_done() -> bool:
    from mediasearch.models import Job

    return not Job.objects.exclude(state="done").exists()


# Outages


@contextmanager
def _flag(name: str, text: str, site: Site) -> Iterator[None]:
    place(name).write_text(text)
    try:
        yield
    finally:
        place(name).unlink()


@contextmanager
def _without_weights(site: Site) -> Iterator[None]:
    """The weights are gone, as the workers find when they are started again."""
    with _flag(NO_WEIGHTS, "", site):
        site.supervisor.end("worker-embed")
        site.start("worker-embed")
        yield


@contextmanager
def _not_mounted(site: Site) -> Iterator[None]:
    """Where the pictures were, there is an empty folder."""
    with disks.mounted(site.folder / "media", 1):
        yield


@contextmanager
def _full(folder: str, site: Site) -> Iterator[None]:
    with disks.full(site.folder / folder):
        yield


@contextmanager
def _full_tables(site: Site) -> Iterator[None]:
    """PostgreSQL answers, but nothing can grow."""
    from django.db import connection

    folder = site.folder / TABLES
    if os.geteuid() == 0:
        shutil.chown(folder, postgres.ACCOUNT)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        for what in ("TABLE", "INDEX"):
            cursor.execute(f"ALTER {what} ALL IN TABLESPACE pg_default SET TABLESPACE small")
    with disks.full(folder):
        yield


@contextmanager
def _full_server(site: Site) -> Iterator[None]:
    """PostgreSQL can write nothing, its log of changes included: it ends, and does not start."""
    from django.db import Error, connection

    with disks.full(site.folder / "postgres"):
        with suppress(Error), connection.cursor() as cursor:
            for _ in range(10):
                cursor.execute("SELECT pg_switch_wal(), pg_logical_emit_message(false, '', 'something')")
        yield


READ_FILES = frozenset({"inspect", "read", "embed_image"})
OUTAGES = {
    "storage": [
        Outage("storage down", partial(_flag, FLAG, DOWN), READ_FILES, "No route to host"),
        Outage("storage answers every second time", partial(_flag, FLAG, FLAKY)),
    ],
    "encoder": [
        Outage("weights gone", _without_weights, frozenset({"embed_image"}), "Stale file handle"),
        Outage("GPU gone", partial(_flag, NO_INFERENCE, "unavailable"), frozenset({"embed_image"}), "out of memory"),
        Outage("encoder raises anything", partial(_flag, NO_INFERENCE, "any"), frozenset({"embed_image"}), "of memory"),
    ],
    "disk": [
        Outage(
            "full disk of thumbnails", partial(_full, THUMBNAILS), frozenset({"inspect"}), "No space left on device"
        ),
        Outage("pictures not mounted", _not_mounted, READ_FILES, "none of several files", uploads=False),
        Outage(
            "full disk of PostgreSQL's tables", _full_tables, READ_FILES, "PostgreSQL has no room", False, uploads=False
        ),
        Outage("full disk of PostgreSQL", _full_server, uploads=False),
    ],
}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--of", choices=sorted(OUTAGES), default="storage")
    parser.add_argument("--lasts", type=float, help=f"seconds; {LASTS:g} by default, {SHORT_LASTS:g} in the short form")


if __name__ == "__main__":
    experiment(run, _options)
