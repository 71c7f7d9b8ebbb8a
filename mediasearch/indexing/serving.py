"""A worker without a broker: listens to PostgreSQL, and looks for itself where nothing is heard."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence

from django.db import InterfaceError, OperationalError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import Error

from mediasearch.indexing import doorbell, sessions, worker
from mediasearch.indexing.sweeper import Sweeper
from mediasearch.models import Job

logger = logging.getLogger(__name__)
POLL = 1.0
"""Seconds after which a worker looks for work that nobody announced."""


def serve(queues: Sequence[str], stopping: Callable[[], bool], *, until_done: bool = False, poll: float = POLL) -> None:
    """Do what is due in some queues until `stopping` answers True, or with `until_done` until nothing is due.

    A database that is away is waited for.
    """
    stages = [stage for queue in queues for stage in doorbell.queues()[queue]]
    ear, sweeper = _Ear(queues), Sweeper()
    sweeper.start()
    lost = False
    try:
        while not stopping():
            try:
                worker.warm(stages)
                left = worker.drain(stages, stopping=stopping)
                if lost:
                    logger.warning("The database is back.")
                    lost = False
                if not left:
                    if until_done:
                        return
                    ear.listen(poll)
            except (OperationalError, InterfaceError, Error) as error:
                if until_done:
                    raise
                if not lost:
                    logger.warning("The database can't be asked for work (%s); trying again.", error)
                lost = True
                ear.close()
                connections.close_all()
                time.sleep(poll)
    finally:
        sweeper.stop()
        sweeper.join()
        ear.close()
        connections.close_all()


class _Ear:
    """What hears the doorbell: this thread's own connection, or one beside the pool that it is lent from."""

    def __init__(self, queues: Collection[str]) -> None:
        self._queues = queues
        self._beside: BaseDatabaseWrapper | None = None

    def listen(self, seconds: float) -> None:
        """Wait until a queue is rung, but no longer than so many seconds; behind a pooler nothing is heard."""
        connection = self._connection()
        connection.ensure_connection()
        session = connection.connection
        if not hasattr(session, "mediasearch_listens"):
            session.mediasearch_listens = not sessions.is_pooled(connection)
            if session.mediasearch_listens:
                session.execute(f"LISTEN {doorbell.CHANNEL}")
        for notify in session.notifies(timeout=seconds):
            if doorbell.concerns(notify.payload, self._queues):
                return

    def _connection(self) -> BaseDatabaseWrapper:
        using = router.db_for_write(Job)
        if not sessions.has_pool(connections[using]):
            return connections[using]
        sessions.give_back()
        if self._beside is None:
            self._beside = sessions.beside_pool(using)
        return self._beside

    def close(self) -> None:
        if self._beside is not None:
            self._beside.close()
