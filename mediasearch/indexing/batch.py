"""One batch of claims on its way: opened, computed, settled.

Nothing that goes wrong with pictures, encoders or storages gets out of here: it is told to the ledger. Only the
database's own failures do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError

from mediasearch import conf
from mediasearch.exceptions import Unavailable
from mediasearch.indexing import ledger
from mediasearch.indexing.lanes import patiently
from mediasearch.indexing.ledger import Claim
from mediasearch.indexing.stages import WORKS, Work
from mediasearch.models import Asset, Stage

logger = logging.getLogger(__name__)
SIGN_EVERY = 10.0
"""Seconds after which a batch that goes on renews its lease, which is also what shows that somebody is at it."""


class Batch:
    """Claims of one stage and generation, with what has become of them so far."""

    def __init__(self, work: Work, claims: Sequence[Claim]) -> None:
        found = Asset.objects.in_bulk([claim.asset for claim in claims])
        self.work = work
        self.claims = [claim for claim in claims if claim.asset in found]  # A deleted asset took its jobs along.
        self.assets = [found[claim.asset] for claim in self.claims]
        self.alone = any(claim.suspect for claim in self.claims)
        self._values: list[Any] = []
        self._fault: Exception | None = None
        self._started = self._renewed = time.monotonic()

    def open(self) -> None:
        """Read and decode the files."""
        self._attempt(lambda: self.work.open(self.claims, self.assets, self.keep))

    def compute(self) -> None:
        """Run the model."""
        self.keep()
        self._attempt(lambda: self.work.compute(self.claims, self._values))

    def keep(self) -> None:
        """Extend the lease now and then, long before it is over."""
        if time.monotonic() - self._renewed > min(conf.settings().lease_seconds / 2, SIGN_EVERY):
            ledger.renew(self.claims)
            self._renewed = time.monotonic()

    def release(self) -> None:
        """Give the claims back unused."""
        ledger.release(self.claims, "")

    def settle(self) -> int:
        """Write what was computed, or what went wrong; return how many jobs were done. May be called again."""
        if isinstance(self._fault, Unavailable):
            ledger.release(self.claims, str(self._fault))
            pause([self.work.stage], self._fault)
            return 0
        if self._fault is None:
            try:
                return self._write()
            except (OperationalError, InterfaceError):
                raise  # The database's fault, and not these results'.
            except DatabaseError as error:
                self._fault = error
        ledger.suspect(self.claims, f"{type(self._fault).__name__}: {self._fault}")
        return 0

    def _write(self) -> int:
        done = ledger.settle(self.claims, self._values, self.work.write)
        if not any(isinstance(value, Unavailable) for value in self._values):
            ledger.resume(self.work.stage)
        stage, claimed, seconds = str(self.work.stage), len(self.claims), time.monotonic() - self._started
        fields = {
            "event": "batch", "stage": stage, "generation": self.claims[0].generation if self.claims else None,
            "claimed": claimed, "done": done, "seconds": round(seconds, 3),
        }  # fmt: skip
        logger.info("%s: %d of %d done in %.2f s", stage, done, claimed, seconds, extra=fields)
        return done

    def _attempt(self, step: Callable[[], list[Any]]) -> None:
        if self._fault is not None:
            return
        try:
            self._values = step()
        except (OperationalError, InterfaceError):
            raise
        except Unavailable as fault:
            self._fault = fault
        except Exception as fault:  # An encoder is a plug-in: whatever it raises is met like a crash, one by one.
            logger.exception("%s failed on a batch of %d.", self.work.stage, len(self.claims))
            self._fault = fault


def take(stage: Stage) -> Batch | None:
    """Claim a batch of a stage and open it; None where nothing is due."""
    work = WORKS[stage]
    claims = ledger.claim(stage, work.batch or conf.settings().batch_size)
    if not claims:
        return None
    batch = Batch(work, claims)
    patiently(batch.open)
    return batch


def pause(stages: Sequence[Stage], fault: Unavailable) -> None:
    """Rest stages for a while, and say why in the log."""
    for stage in stages:
        extra = {"event": "paused", "stage": str(stage), "reason": str(fault), "fault": type(fault).__name__}
        logger.error("%s paused: %s", stage, fault, extra=extra)
        ledger.pause(stage, fault)
