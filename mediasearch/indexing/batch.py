"""One batch of claims on its way: opened, computed, settled.

Nothing that goes wrong with pictures, encoders or storages gets out of here: it is told to the ledger. Only the
database's own failures do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error

from mediasearch import conf
from mediasearch.exceptions import DatabaseFull, Unavailable
from mediasearch.indexing import ledger, outage, owners, sessions
from mediasearch.indexing.lanes import patiently
from mediasearch.indexing.ledger import Claim
from mediasearch.indexing.stages import WORKS, Work
from mediasearch.models import Asset, Stage

logger = logging.getLogger(__name__)
SIGN_EVERY = 10.0
"""Seconds after which a batch that goes on renews its lease, which is also what shows that somebody is at it."""

FIRST_WAIT, LAST_WAIT = 0.05, 0.4
"""Seconds before a row that another transaction holds is tried again, twice as many each time."""
LOCKED_SECONDS = 15.0
"""After how many seconds a job whose row was still held comes again."""

_down: set[Stage] = set()
"""Stages whose model failed on a picture of our own when it was last asked in this process."""


class Batch:
    """Claims of one stage and generation, with what has become of them so far."""

    def __init__(self, work: Work, claims: Sequence[Claim]) -> None:
        found = Asset.objects.primary().defer("text_vector", "ocr_words").in_bulk([claim.asset for claim in claims])
        self.work = work
        self.claims = [claim for claim in claims if claim.asset in found]  # A deleted asset took its jobs along.
        self.assets = [found[claim.asset] for claim in self.claims]
        self.alone = any(claim.suspect for claim in self.claims)
        self._values: list[Any] = []
        self._fault: Exception | None = None
        self._down: Unavailable | None = None
        self._started = self._renewed = time.monotonic()

    def open(self) -> None:
        """Read and decode the files."""
        self._attempt(lambda: self.work.open(self.claims, self.assets, self.keep))

    def compute(self) -> None:
        """Run the model."""
        if self._fault is None:
            self.keep()
            with owners.computing(self.claims[0].token if self.claims else None):
                self._attempt(lambda: self.work.compute(self.claims, self._values))
                self._look_at_the_model()

    def keep(self) -> None:
        """Extend the lease now and then, long before it is over."""
        if time.monotonic() - self._renewed > min(conf.settings().lease_seconds / 2, SIGN_EVERY):
            ledger.renew(self.claims)
            self._renewed = time.monotonic()

    def release(self) -> None:
        """Give the claims back unused."""
        ledger.release(self.claims, "")
        self.work.drop(self._values)

    def settle(self) -> int:
        """Write what was computed, or what went wrong; return how many jobs were done. May be called again."""
        done = self._settle()
        self.work.drop(self._values)
        return done

    def _settle(self) -> int:
        if self._fault is None:
            try:
                with telling_of_full(self.work.stage):
                    return self._write()
            except Exception as error:
                if isinstance(error, Error) and outage.is_locked(error):
                    self._postpone(self.claims)
                    return 0
                if isinstance(error, Error) and outage.passes(error):
                    raise  # The database's fault, and not these results'.
                logger.exception("What %s came to can't be stored.", self.work.stage)
                self._fault = error
        if isinstance(self._fault, Unavailable):
            ledger.release(self.claims, str(self._fault), suspect=self._down is not None)
        else:
            ledger.suspect(self.claims, f"{type(self._fault).__name__}: {self._fault}")
        if down := self._fault if isinstance(self._fault, Unavailable) else self._down:
            pause([self.work.stage], down)
        return 0

    def _write(self) -> int:
        values = dict(zip(self.claims, self._values, strict=True))
        done, left, wait = 0, tuple(self.claims), FIRST_WAIT
        while left:
            settled = ledger.settle(left, [values[claim] for claim in left], self.work.write)
            done, left = done + settled.done, settled.locked
            if left and wait > LAST_WAIT:
                break
            if left:  # Most transactions of a site are over in a moment.
                sessions.give_back()
                time.sleep(wait)
                wait *= 2
        if not any(isinstance(value, Unavailable) for value in self._values):
            ledger.resume(self.work.stage)
        self._log(done)
        self._postpone(left)
        return done

    def _postpone(self, claims: Sequence[Claim]) -> None:
        """Return for these later: nobody knows how long another transaction holds their rows."""
        if claims:
            ledger.release(claims, "Another transaction holds this image's row.", wait=LOCKED_SECONDS)
            stage, count = str(self.work.stage), len(claims)
            extra = {"event": "locked", "stage": stage, "locked": count}
            logger.info("%s: %d results wait for rows that are locked", stage, count, extra=extra)

    def _log(self, done: int) -> None:
        stage, claimed, seconds = str(self.work.stage), len(self.claims), time.monotonic() - self._started
        fields = {
            "event": "batch", "stage": stage, "generation": self.claims[0].generation if self.claims else None,
            "claimed": claimed, "done": done, "seconds": round(seconds, 3),
        }  # fmt: skip
        logger.info("%s: %d of %d done in %.2f s", stage, done, claimed, seconds, extra=fields)

    def _attempt(self, step: Callable[[], list[Any]]) -> None:
        if self._fault is not None:
            return
        try:
            self._values = step()
        except Unavailable as fault:
            self._fault = fault
        except Exception as fault:  # An encoder is a plug-in: whatever it raises is met like a crash, one by one.
            if isinstance(fault, Error) and outage.passes(fault):
                raise
            logger.exception("%s failed on a batch of %d.", self.work.stage, len(self.claims))
            self._fault = fault

    def _look_at_the_model(self) -> None:
        """Find out whether a model that failed does so on a picture of our own, too: then it is down.

        Whoever was alone with it when it went down has done that, and pays for it; all others come again alone.
        """
        stage = self.work.stage
        if self._fault is None:
            _down.discard(stage)
        if self._fault is None or isinstance(self._fault, Unavailable):
            return
        try:
            self.work.probe(self.claims)
            _down.discard(stage)
        except Exception as error:
            if isinstance(error, Error) and outage.passes(error):
                raise
            self._down = Unavailable(f"The model fails on whatever it is given: {type(error).__name__}: {error}")
            if not self.alone or stage in _down:
                self._fault = self._down
            _down.add(stage)


def take(stage: Stage) -> Batch | None:
    """Claim a batch of a stage and open it; None where nothing is due."""
    work = WORKS[stage]
    with telling_of_full(stage):
        claims = ledger.claim(stage, work.batch or conf.settings().batch_size)
    if not claims:
        return None
    batch = patiently(lambda: Batch(work, claims))
    patiently(batch.open)
    return batch


@contextmanager
def telling_of_full(stage: Stage) -> Iterator[None]:
    """Pause a stage while the database is full, if there is still room for saying so."""
    try:
        yield
    except Error as error:
        if outage.is_full(error):
            with suppress(Error):
                pause([stage], DatabaseFull(f"PostgreSQL has no room: {error}".strip()))
        raise


def pause(stages: Sequence[Stage], fault: Unavailable) -> None:
    """Rest stages for a while, and say why in the log."""
    for stage in stages:
        extra = {"event": "paused", "stage": str(stage), "reason": str(fault), "fault": type(fault).__name__}
        logger.error("%s paused: %s", stage, fault, extra=extra)
        ledger.pause(stage, fault)
