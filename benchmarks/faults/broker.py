"""`python -m benchmarks.faults.broker [--seed N] [--short]`: the broker is away while editors upload.

Once it is gone, with all that it knew, so that connections are refused; and once it hangs, so that they are accepted
and nothing answers. The uploads are made through gunicorn and the admin's page, and must neither fail nor wait.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import requests

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import editors, uploads
from benchmarks.faults.site import Site, await_model, patiently, running, until
from benchmarks.site import percentile
from project.services import valkey

UPLOADS, AWAY = 500, 60.0
SHORT_UPLOADS, SHORT_AWAY = 24, 6.0
BUSY_WITH = 40
EDITORS, TAKEN, INDEXED = 4, 2.5, 60.0
SHARE = 0.95
"""Of the time that the broker is away, over which the uploads are spread."""


def run(given: Given, bars: Bars) -> None:
    count, seconds = (SHORT_UPLOADS, SHORT_AWAY) if given.short else (UPLOADS, AWAY)
    # So that time-outs come up in the short form, too.
    impatient = {"CELERY_BROKER_TRANSPORT_OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1}}
    environment = {"FAULTS_SETTINGS": json.dumps(impatient)} if given.short else {}
    with running("web", "worker-read", "worker-embed", "beat", environment=environment) as site:
        address = f"http://127.0.0.1:{site.port}"
        editors.create_account()
        await_model()
        if until(lambda: _answers(address), 60.0) is None:
            raise TimeoutError("The web server does not answer; FAULTS_KEEP=1 keeps its log.")
        ways = {"gone": _gone, "hanging": _hanging}
        order = random.Random(given.seed).sample(sorted(ways), len(ways))
        for turn, name in enumerate(order):
            numbers = range(turn * count, (turn + 1) * count)
            _have_doorbells_wait()
            with ways[name](site):
                until_back = time.monotonic() + seconds
                went = editors.upload_all(address, numbers, SHARE * seconds, EDITORS)
                bars.at_least(
                    f"broker {name}: seconds left of its absence after the last upload",
                    until_back - time.monotonic(),
                    0.0,
                    " s",
                )
                time.sleep(max(0.0, until_back - time.monotonic()))
            _judge(bars, name, went, count, (turn + 1) * (count + BUSY_WITH))


def _have_doorbells_wait() -> None:
    """Give the workers work and ring on: what they fetched and can't do yet is what a broker takes along."""
    from mediasearch.indexing import doorbell
    from mediasearch.models import Asset, Job, Stage

    first = 1_000_000 + Asset.objects.count()
    uploads.store(range(first, first + BUSY_WITH))
    for _ in range(3):
        for queue in doorbell.queues():
            doorbell._publish(queue)
        until(Job.objects.filter(state="running", stage=Stage.READ).exists, 10.0, every=0.01)


def _judge(bars: Bars, name: str, went: list[tuple[bool, float]], count: int, stored: int) -> None:
    """Wait until all is indexed, and hold what was found to the bars."""
    from django.db.models import Max
    from django.utils import timezone

    from benchmarks.faults.counting import effects
    from mediasearch.models import Asset, Embedding, Job

    back: datetime = timezone.now()
    until(lambda: not Job.objects.unfinished().exists(), 3 * INDEXED)
    bars.equal(f"broker {name}: uploads accepted", sum(taken for taken, _ in went), count)
    bars.at_most(f"broker {name}: p95 of an upload", percentile([took for _, took in went], 0.95), TAKEN, " s")
    bars.note(f"broker {name}: the longest upload, s", max(took for _, took in went))
    bars.equal(f"broker {name}: images committed", Asset.objects.count(), stored)
    bars.equal(f"broker {name}: image vectors", Embedding.objects.filter(image__isnull=False).count(), stored)
    bars.equal(f"broker {name}: jobs that are not done", Job.objects.exclude(state="done").count(), 0)
    last = Job.objects.aggregate(last=Max("finished_at"))["last"]
    took = float("inf") if Job.objects.unfinished().exists() else (last - back).total_seconds()
    bars.at_most(f"broker {name}: all indexed after it was back", took, INDEXED, " s")
    bars.equal(f"broker {name}: effects committed more than once", patiently(effects.repeated), [])


@contextmanager
def _gone(site: Site) -> Iterator[None]:
    """End the broker, and start it again at the end."""
    site.supervisor.end("valkey")
    yield
    site.start("valkey")
    until(lambda: valkey.ping(os.environ["REDIS_URL"]), 30.0)


@contextmanager
def _hanging(site: Site) -> Iterator[None]:
    """Halt the broker's process: the system goes on to accept connections for it."""
    until(lambda: site.processes("valkey"), 30.0)  # Just started, it does not count as running yet.
    (process,) = site.processes("valkey")
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5.0).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    experiment(run)
