"""`python -m benchmarks.faults.calibrating --workers celery|command [--short]`: killed while it calibrates.

The process that calibrates is killed, alone and with all of its worker. By the database's clock its lease is over in
time, and another process measures. Meanwhile the lease of one that lives holds for longer than it is long. The short
form has leases of six seconds, and workers look for what is due as often.
"""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from typing import Any

import psutil

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import uploads
from benchmarks.faults.site import Site, await_model, running, until
from benchmarks.faults.troubled import CALIBRATES, QUESTIONS, noted, place

WORKERS = {"celery": "worker-embed", "command": "worker"}
PICTURES, LEASE, SHORT_LEASE = 50, 60.0, 10.0
FREE = 120.0


def run(given: Given, bars: Bars) -> None:
    lease = SHORT_LEASE if given.short else LEASE
    worker = WORKERS[given.options.workers]
    settings = {
        "DOORBELL": "celery" if given.options.workers == "celery" else "postgresql",
        "QUERY_ENCODER": {"BACKEND": "benchmarks.faults.troubled.Hesitant"},
    }
    programs = ("worker-read", worker) if worker == "worker-embed" else (worker,)
    with running(*programs, settings=settings, environment={"FAULTS_CALIBRATION": str(lease)}) as site:
        await_model()
        # There are seven batches of phrases: so long it calibrates, and renews its lease between two of them.
        place(QUESTIONS).write_text(str(lease / 4))
        for number in range(PICTURES):
            uploads.upload(number)
        for alone in (True,) if given.short else (True, False):
            _kill(site, bars, worker, lease, alone=alone)


def _kill(site: Site, bars: Bars, worker: str, lease: float, *, alone: bool) -> None:
    what = "the process alone" if alone else "all of its worker"
    place(CALIBRATES).unlink(missing_ok=True)
    _forget()
    if until(lambda: noted(CALIBRATES), FREE) is None:
        raise TimeoutError("Nobody calibrates; FAULTS_KEEP=1 keeps the logs.")
    token = _row().calibration_token
    time.sleep(1.25 * lease)
    bars.equal("one that lives for longer than a lease keeps it", _row().calibration_token == token, True)
    held = _left()
    bars.note("its lease then holds for another, s", held)
    killed = time.monotonic()
    if alone:
        psutil.Process(int(noted(CALIBRATES)[-1])).kill()
    else:
        site.kill(worker)
    place(QUESTIONS).rename(place("as-before"))
    free = until(lambda: _row().calibration_token != token or _left() < 0, 2 * FREE)
    bars.at_most(f"{what}: free again", float("inf") if free is None else free, FREE, " s")
    until(lambda: _row().calibration, 2 * FREE)
    took = time.monotonic() - killed if _row().calibration else float("inf")
    bars.at_most(f"{what}: calibrated by another", took, FREE, " s")
    until(lambda: _row().calibration_token is None, 10.0)
    bars.equal("the lease was given back", _row().calibrating_until, None)
    with suppress(FileNotFoundError):
        place("as-before").rename(place(QUESTIONS))


def _forget() -> None:
    from mediasearch.models import Generation

    Generation.objects.update(calibration={})


def _row() -> Any:
    from mediasearch.models import Generation

    return Generation.objects.get()


def _left() -> float:
    """Return for how many seconds the lease holds, by the database's clock; -1 where nobody has it."""
    from django.db.models import F
    from django.db.models.functions import Now

    from mediasearch.models import Generation

    left = Generation.objects.values_list(F("calibrating_until") - Now(), flat=True).get()
    return -1.0 if left is None else left.total_seconds()


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", choices=sorted(WORKERS), default="celery")


if __name__ == "__main__":
    experiment(run, _options)
