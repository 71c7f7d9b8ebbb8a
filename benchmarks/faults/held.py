"""`python -m benchmarks.faults.held --by update|select [--seed N] [--short]`: somebody holds a row and goes home.

Uploads come in steadily. After a period in which nobody disturbs them, a transaction locks one asset and is left idle
for ten minutes, while jobs of that asset are due. All others must be indexed as quickly as before, and the one soon
after it is let go.
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime

import psycopg

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import described, uploads
from benchmarks.faults.site import await_model, running, until

HOW = {
    "update": "UPDATE mediasearch_asset SET popularity = popularity + 1 WHERE id = %s",
    "select": "SELECT id FROM mediasearch_asset WHERE id = %s FOR UPDATE",
}
PROGRAMS = {"celery": ("worker-read", "worker-embed", "beat"), "command": ("worker",)}
FORM, SHORT_FORM = (120.0, 600.0, 150, 10.0), (15.0, 20.0, 20, 4.0)
"""Seconds undisturbed, seconds held, seconds of a lease, and uploads a second: fewer than workers can take."""
SHARE, AT_FIRST, LONGEST = 0.9, 40, 60.0


def run(given: Given, bars: Bars) -> None:
    control, held, lease, per_second = SHORT_FORM if given.short else FORM
    workers = given.options.workers
    settings = {
        "READER": described.READER,
        "LEASE_SECONDS": lease,
        "DOORBELL": "celery" if workers == "celery" else "postgresql",
    }
    with running(*PROGRAMS[workers], settings=settings):
        await_model()
        asset = uploads.upload(10_000_000)
        until(lambda: not _left(asset), LONGEST)
        uploading = uploads.Uploading(int((control + held + LONGEST) * per_second) + AT_FIRST, per_second)
        uploading.start()
        until(lambda: uploading.stored >= AT_FIRST, LONGEST)
        until(lambda: _oldest(asset) < 1.0, LONGEST)  # What was stored while workers started is done.
        undisturbed = _per_second(control, asset)
        with psycopg.connect(**_address()) as connection:
            connection.execute(HOW[given.options.by], [asset])
            _owe(asset)
            disturbed = _per_second(held, asset)
            left = _left(asset)
            oldest = _oldest(asset)
        released = time.monotonic()
        until(lambda: not _left(asset), 2 * lease)
        took = time.monotonic() - released
        _judge(bars, undisturbed, disturbed)
        bars.at_least("jobs of the held asset that waited for its release", left, 1)
        bars.note("age of the oldest job of another asset at its release", oldest)
        bars.at_most("from its release until it was done", took if not _left(asset) else float("inf"), lease, " s")


def _judge(bars: Bars, undisturbed: float, disturbed: float) -> None:
    from mediasearch.models import Job

    bars.note("jobs per second of others, undisturbed", undisturbed)
    bars.note("the same while one row is held", disturbed)
    bars.at_least("share of the rate that is left", disturbed / undisturbed, SHARE)
    bars.equal("failed", Job.objects.filter(state="failed").count(), 0)


def _per_second(seconds: float, but: int) -> float:
    """Return how many jobs of other assets are done in a second, over the seconds to come."""
    from mediasearch.models import Job

    first, started = _now(), time.monotonic()
    time.sleep(seconds)
    done = Job.objects.filter(state="done", finished_at__gt=first, finished_at__lte=_now()).exclude(asset=but)
    return done.count() / (time.monotonic() - started)


def _owe(asset: int) -> None:
    """Have the asset's jobs fall due while its row is held, as those do that were owed before: nobody reads the row."""
    from django.db.models.functions import Now

    from mediasearch.indexing import doorbell
    from mediasearch.models import Job

    jobs = Job.objects.filter(asset=asset).exclude(input_key="")
    jobs.update(state="pending", attempts=0, due_at=Now(), token=None, lease_until=None, finished_at=None)
    doorbell.ring(doorbell.queues())


def _left(asset: int) -> int:
    from mediasearch.models import Job

    return Job.objects.unfinished().filter(asset=asset).count()


def _oldest(but: int) -> float:
    """Return for how many seconds the oldest job of another asset has waited."""
    from mediasearch.models import Job

    created = Job.objects.unfinished().exclude(asset=but).order_by("created_at").values_list("created_at", flat=True)
    return max(0.0, (_now() - created[0]).total_seconds()) if created else 0.0


def _now() -> datetime:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def _address() -> dict[str, object]:
    """How a connection of its own is made to the database."""
    from django.db import connection

    known = connection.get_connection_params()
    return {name: known[name] for name in ("dbname", "user", "password", "host", "port") if known.get(name)}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", choices=sorted(HOW), default="update")
    parser.add_argument("--workers", choices=sorted(PROGRAMS), default="celery")


if __name__ == "__main__":
    experiment(run, _options)
