"""The sweep, every few seconds, in a thread of a worker process of any kind."""

from __future__ import annotations

import logging
import threading
import time

from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from mediasearch.indexing import calibration, discards, doorbell, ledger, owners, pruning, upkeep
from mediasearch.indexing.background import Background
from mediasearch.models import Discard

logger = logging.getLogger(__name__)
EVERY, THOROUGHLY_EVERY = 5.0, 60.0
"""Seconds between two sweeps, and between two that also look for assets that were never owed anything."""
_SHARE = 20
"""The thorough look reads all assets: it takes no more than one part in so many of the time."""
_PRUNED_AT_ONCE = 5_000
LOOK_EVERY = 0.5
"""Seconds between two looks at whether a process of this machine has ended, which calls for a sweep at once."""

# A large library takes minutes, a remote storage its time, and the sweep can't wait.
CALIBRATION = Background("calibration", lambda: calibration.calibrate_where_due())
UPKEEP = Background("upkeep", lambda: upkeep.bring_up_to_date())
DISCARDS = Background("discards", lambda: discards.delete_due())


class Sweeper(threading.Thread):
    """Sweeps, at once and until it is stopped; a database that is away is no reason to give up."""

    def __init__(self) -> None:
        super().__init__(name="mediasearch-sweep", daemon=True)
        self._stop_asked = threading.Event()

    def run(self) -> None:
        thorough_at = 0.0
        while not self._stop_asked.is_set():
            started = time.monotonic()
            thoroughly = started >= thorough_at
            try:
                doorbell.ring(ledger.sweep(thoroughly=thoroughly))
                UPKEEP.start()
                if Discard.objects.primary().due().exists():
                    DISCARDS.start()
                if thoroughly:
                    pruning.prune_jobs(_PRUNED_AT_ONCE)
                    CALIBRATION.start()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The sweep could not use the database: %s", error)
                connections.close_all()
            except Exception:  # A worker whose sweep had ended would never again take back what was lost.
                logger.exception("The sweep failed; it is tried again.")
            else:
                if thoroughly:
                    took = time.monotonic() - started
                    thorough_at = time.monotonic() + max(THOROUGHLY_EVERY, _SHARE * took)
            finally:
                close_old_connections()
            self._wait()
        connections.close_all()

    def _wait(self) -> None:
        until = time.monotonic() + EVERY
        while not self._stop_asked.wait(min(LOOK_EVERY, EVERY)) and time.monotonic() < until:
            if owners.anybody_ended():
                return

    def stop(self) -> None:
        self._stop_asked.set()
