"""Tell the workers that there is something to do: best effort, never waited for.

PostgreSQL holds the queue; what is lost here is found by the sweep. With Celery, a thread of its own publishes, so that
a broker that is gone, or behind a network that swallows packets, costs an upload nothing. Without, PostgreSQL's NOTIFY
goes out with the transaction itself.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterable

from celery import current_app
from django.db import connections, router, transaction

from mediasearch import conf, identity
from mediasearch.features import remote
from mediasearch.models import Job, Stage

logger = logging.getLogger(__name__)

STAGES: dict[str, tuple[Stage, ...]] = {
    "embed": (Stage.EMBED_IMAGE, Stage.EMBED_CAPTION, Stage.DESCRIBE),
    "read": (Stage.INSPECT, Stage.READ),
}
"""Which kind of queue's workers do which stages."""
DRAIN, WARM = "mediasearch.drain", "mediasearch.warm_query"
"""The tasks that do what is due, and that have a worker load what the active generation's questions need."""
EXPIRES = 60.0
"""Seconds after which a doorbell that nobody heard is dropped; the sweep rings again."""
GAP = 0.1
"""Seconds between two messages of one process for one queue: what is asked for in between is one ring."""
CHANNEL = "mediasearch"
"""On which PostgreSQL notifies; the payload names the queues, separated by commas: one notification rings all."""
_LAST_MOMENT = 2.0


def queues() -> dict[str, tuple[Stage, ...]]:
    """Return this site's queues of work, each with the stages that its workers do."""
    return {conf.settings().queue(kind): stages for kind, stages in STAGES.items()}


def query_queue() -> str:
    """Return the queue that answers searches."""
    return conf.settings().queue(remote.KIND)


def every_queue() -> frozenset[str]:
    """Return all queues of this site."""
    return frozenset({*queues(), query_queue()})


def ring_on_commit(to: Iterable[str] | None = None) -> None:
    """Ring queues when the current transaction commits, those of work by default; once, however often it is asked."""
    using, rung = router.db_for_write(Job), queues() if to is None else to
    if conf.settings().doorbell == "postgresql":
        _notify(rung)  # Delivered when the transaction commits, and once.
        return
    wanted = tuple(sorted(rung))
    already = {getattr(entry[1], "queues", None) for entry in transaction.get_connection(using).run_on_commit}
    if wanted in already:
        return

    def ring_now() -> None:
        ring(wanted)

    ring_now.queues = wanted  # type: ignore[attr-defined]
    transaction.on_commit(ring_now, using=using, robust=True)


def ring(to: Iterable[str]) -> None:
    """Ring now, without waiting for the broker; where Celery is set to be eager, do the work at once instead."""
    if conf.settings().doorbell == "postgresql":
        _notify(to)
        return
    if not current_app.conf.task_always_eager:
        _ringer().ring(to)
        return
    current_app.loader.import_default_modules()
    for queue in set(to) & set(queues()):
        current_app.tasks[DRAIN].apply(args=[queue], throw=True)


def concerns(payload: str, queues: Iterable[str]) -> bool:
    """Does a notification ring for one of these queues?"""
    return not set(queues).isdisjoint(payload.split(","))


def _notify(queues: Iterable[str]) -> None:
    if payload := ",".join(sorted(set(queues))):
        with connections[router.db_for_write(Job)].cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])


class _Ringer:
    """A thread that publishes; requests that come in while it does are answered by one message a queue."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._busy = False
        threading.Thread(target=self._run, name="mediasearch-doorbell", daemon=True).start()
        atexit.register(self.flush)

    def ring(self, queues: Iterable[str]) -> None:
        with self._changed:
            self._wanted.update(queues)
            self._changed.notify_all()

    def flush(self, timeout: float = _LAST_MOMENT) -> None:
        """Wait until all is published, or the time is over."""
        if self.process == os.getpid():
            with self._changed:
                self._changed.wait_for(lambda: not self._wanted and not self._busy, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._wanted)
                queues, self._wanted, self._busy = self._wanted, set(), True
            for queue in sorted(queues):
                _publish(queue)
            connections.close_all()  # Seldom asked: which site this is.
            time.sleep(GAP)


_current: _Ringer | None = None
_starting = threading.Lock()


def _ringer() -> _Ringer:
    global _current
    with _starting:
        if _current is None or _current.process != os.getpid():  # A thread does not live on in a forked process.
            _current = _Ringer()
        return _current


def _publish(queue: str) -> None:
    try:
        task, arguments = (WARM, []) if queue == query_queue() else (DRAIN, [queue])
        current_app.send_task(
            task,
            arguments,
            queue=queue,
            headers={remote.HEADER: identity.of_database(router.db_for_write(Job))},
            expires=EXPIRES,
            retry=False,
            ignore_result=True,
        )
    except Exception as error:  # Whatever a broker's client raises: a thread that ended would never ring again.
        logger.warning(
            "The broker did not take a doorbell for %s (%s); the sweep will ring again. Is CELERY_BROKER_URL right?",
            queue,
            error,
        )
