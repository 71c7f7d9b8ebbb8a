"""Calibrating where it is due, in a thread of its own: a large library takes minutes, and the sweep can't wait."""

from __future__ import annotations

import logging
import threading

from django.db import DatabaseError, InterfaceError, connections

from mediasearch.indexing import calibration

logger = logging.getLogger(__name__)
_turn = threading.Lock()


def start_where_due() -> None:
    """Begin, unless this process is still at it; whatever goes wrong, the next call tries it again."""
    if not _turn.acquire(blocking=False):
        return
    try:
        # A daemon: it ends with the process, and its transaction with it.
        threading.Thread(target=_run, name="mediasearch-calibration", daemon=True).start()
    except RuntimeError:  # The system gives no more threads.
        _turn.release()
        raise


def _run() -> None:
    try:
        calibration.calibrate_where_due()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Calibrating could not use the database; it is tried again: %s", error)
    except Exception:  # Nobody waits for it who could say so.
        logger.exception("Calibrating failed; it is tried again.")
    finally:
        connections.close_all()
        _turn.release()
