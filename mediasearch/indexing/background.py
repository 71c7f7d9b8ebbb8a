"""Long work that the sweep starts and can't wait for, each kind in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError, connections

logger = logging.getLogger(__name__)


class Background:
    """One kind of work, done by at most one thread of this process at a time."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self._name, self._work = name, work
        self._turn = threading.Lock()

    @property
    def is_at_it(self) -> bool:
        return self._turn.locked()

    def start(self) -> None:
        """Begin, unless this process is still at it; whatever goes wrong, the next call tries it again."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            # A daemon: it ends with the process, and its transaction with it.
            threading.Thread(target=self._run, name=f"mediasearch-{self._name}", daemon=True).start()
        except RuntimeError:  # The system gives no more threads.
            self._turn.release()
            raise

    def _run(self) -> None:
        try:
            self._work()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("%s could not use the database; it is tried again: %s", self._name, error)
        except Exception:  # Nobody waits for it who could say so.
            logger.exception("%s failed; it is tried again.", self._name)
        finally:
            connections.close_all()
            self._turn.release()
