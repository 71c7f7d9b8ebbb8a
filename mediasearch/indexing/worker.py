"""Do what is due: claim a batch, compute, settle, until nothing is left."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from itertools import groupby

from django.db import InterfaceError, OperationalError, close_old_connections, connections

from mediasearch import conf
from mediasearch.exceptions import Unavailable
from mediasearch.indexing import doorbell, generations, ledger
from mediasearch.indexing.stages import NEEDS_ENCODER, WORKS, Tick, Work
from mediasearch.models import Asset, Stage

logger = logging.getLogger(__name__)
SWEEP_EVERY = 5.0
THOROUGH_EVERY = 60.0


def drain(stages: Sequence[Stage], seconds: float = 10.0) -> bool:
    """Do the due jobs of these stages, batch by batch, each stage in its turn.

    Returns whether work may be left when the time is over.
    """
    end = time.monotonic() + seconds
    while sum(_batch(WORKS[stage]) for stage in stages):
        if time.monotonic() > end:
            return True
    return False


def warm(stages: Sequence[Stage]) -> None:
    """Load what these stages need, before the first picture waits for it."""
    if NEEDS_ENCODER & set(stages):
        try:
            generations.ensure_active()
        except Unavailable as fault:
            _pause(list(NEEDS_ENCODER), fault)


def _batch(work: Work) -> int:
    """Do one batch of a stage; return how many jobs were settled."""
    claims = ledger.claim(work.stage, work.batch or conf.settings().batch_size)
    settled = 0
    for _, group in groupby(sorted(claims, key=lambda c: (c.generation or 0, c.job)), key=lambda c: c.generation):
        settled += _settle(work, list(group))
    return settled


def _settle(work: Work, claims: list[ledger.Claim]) -> int:
    found = Asset.objects.in_bulk([claim.asset for claim in claims])
    claims = [claim for claim in claims if claim.asset in found]  # An asset that was just deleted took its jobs along.
    if not claims:
        return 0
    started = time.monotonic()
    try:
        results = work.compute(claims, [found[claim.asset] for claim in claims], _keeper(claims))
    except Unavailable as fault:
        ledger.release(claims, str(fault))
        _pause([work.stage], fault)
        return 0
    done = ledger.settle(claims, results, work.write)
    ledger.resume(work.stage)
    logger.info(
        "%s: %d of %d done in %.2f s", work.stage, done, len(claims), time.monotonic() - started,
        extra={"stage": str(work.stage), "claimed": len(claims), "done": done},
    )  # fmt: skip
    return len(claims)


def _keeper(claims: Sequence[ledger.Claim]) -> Tick:
    """Return a function that renews the lease when half of it is over."""
    half = conf.settings().lease_seconds / 2
    renewed = time.monotonic()

    def tick() -> None:
        nonlocal renewed
        if time.monotonic() - renewed > half:
            ledger.renew(claims)
            renewed = time.monotonic()

    return tick


def _pause(stages: Sequence[Stage], fault: Unavailable) -> None:
    logger.error("%s paused: %s", ", ".join(stages), fault)
    for stage in stages:
        ledger.pause(stage, fault)


class Sweeper(threading.Thread):
    """Sweeps every few seconds, in a worker process of any kind."""

    def __init__(self) -> None:
        super().__init__(name="mediasearch-sweep", daemon=True)
        self._stop_asked = threading.Event()

    def run(self) -> None:
        thorough_at = 0.0
        while not self._stop_asked.wait(SWEEP_EVERY):
            thoroughly = time.monotonic() >= thorough_at
            try:
                doorbell.ring(ledger.sweep(thoroughly=thoroughly))
            except (OperationalError, InterfaceError) as error:
                logger.warning("The sweep could not reach the database: %s", error)
            finally:
                close_old_connections()
            if thoroughly:
                thorough_at = time.monotonic() + THOROUGH_EVERY
        connections.close_all()

    def stop(self) -> None:
        self._stop_asked.set()
