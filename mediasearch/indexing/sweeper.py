"""The sweep, every few seconds, in a thread of a worker process of any kind."""

from __future__ import annotations

import logging
import threading
import time

from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from mediasearch.indexing import doorbell, ledger, owners

logger = logging.getLogger(__name__)
EVERY, THOROUGHLY_EVERY = 5.0, 60.0
"""Seconds between two sweeps, and between two that also look for assets which were never owed anything."""
LOOK_EVERY = 0.5
"""Seconds between two looks at whether a process of this machine has ended, which calls for a sweep at once."""


class Sweeper(threading.Thread):
    """Sweeps, at once and until it is stopped; a database that is away is no reason to give up."""

    def __init__(self) -> None:
        super().__init__(name="mediasearch-sweep", daemon=True)
        self._stop_asked = threading.Event()

    def run(self) -> None:
        thorough_at = 0.0
        while not self._stop_asked.is_set():
            thoroughly = time.monotonic() >= thorough_at
            try:
                doorbell.ring(ledger.sweep(thoroughly=thoroughly))
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The sweep could not use the database: %s", error)
                connections.close_all()
            except Exception:  # A worker whose sweep had ended would never again take back what was lost.
                logger.exception("The sweep failed; it is tried again.")
            else:
                if thoroughly:
                    thorough_at = time.monotonic() + THOROUGHLY_EVERY
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
