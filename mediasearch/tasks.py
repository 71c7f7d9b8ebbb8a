"""What Celery runs: shells around `indexing.worker`, and the encoder for searches."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Sequence
from typing import Any

from celery import shared_task, signals
from celery.concurrency import prefork
from celery.worker import WorkController
from django.db import InterfaceError, OperationalError

from mediasearch.features import backends, remote, wire
from mediasearch.indexing import doorbell, encoders, ledger, worker
from mediasearch.indexing.sweeper import LOOK_EVERY, Sweeper

logger = logging.getLogger(__name__)
_HELD_QUEUES: set[str] = set()
_stopping = mmap.mmap(-1, 1)
"""Set by the main process when it is told to stop; its pool processes share this memory over the fork."""
_sweeper: Sweeper | None = None
_EVENTLET = "celery.concurrency.eventlet"
_LAST_SWEEP = 2.0
"""Seconds that the end of a worker waits for the sweep at hand."""


@shared_task(name=doorbell.DRAIN, ignore_result=True)
def drain(queue: str) -> None:
    """Do what is due in a queue; ring again where the time did not suffice, so that others get their turn."""
    stages = doorbell.QUEUES[queue]
    try:
        worker.warm(stages)
        left = worker.drain(stages, stopping=_is_stopping)
    except (OperationalError, InterfaceError) as error:
        logger.warning("The database can't be asked for work (%s); the sweep will ring again.", error)
        return
    if left and not _is_stopping():
        doorbell.ring([queue])


def _is_stopping() -> bool:
    return bool(_stopping[0])


@shared_task(name="mediasearch.sweep", ignore_result=True)
def sweep() -> None:
    """Find what was lost and ring for it. Beat runs it; each worker also does, and now and then more thoroughly."""
    doorbell.ring(ledger.sweep())


@shared_task(name=remote.TEXTS)
def encode_texts(generation: int, field: str, texts: Sequence[str]) -> list[list[float]]:
    """Return the vectors of texts, made by the encoder of a generation's field, `image` or `caption`."""
    pair = encoders.of(generation)
    vectors: list[list[float]] = getattr(pair, field).encode_texts(texts).tolist()
    return vectors


@shared_task(name=remote.IMAGES)
def encode_images(generation: int, field: str, parcels: Sequence[dict[str, Any]]) -> list[list[float]]:
    """Return the vectors of pictures, which come as `wire.pack` made them."""
    encoder = getattr(encoders.of(generation), field)
    vectors: list[list[float]] = encoder.encode_images(wire.unpack(parcels, encoder.input_size)).tolist()
    return vectors


@signals.celeryd_after_setup.connect
def note_queues(instance: WorkController, **_: Any) -> None:
    """Remember which queues this worker serves; its pool processes inherit it.

    With eventlet it serves none of ours: psycopg works with gevent's threads, and with eventlet's waits for ever.
    """
    _HELD_QUEUES.update(instance.app.amqp.queues.consume_from)
    served = sorted(_HELD_QUEUES & {doorbell.QUERY, *doorbell.QUEUES})
    if served and instance.pool_cls.__module__ == _EVENTLET:
        logger.critical(
            "A worker of %s can't use the pool eventlet, with which it would soon stand still: start it with --pool"
            " prefork, threads, solo or gevent.",
            ", ".join(served),
        )
        raise SystemExit(1)


@signals.worker_shutting_down.connect
def finish_batches(**_: Any) -> None:
    """Have the pool's processes end after the batch that they are at."""
    _stopping[0] = 1


@signals.worker_ready.connect
def ring_own_bell(**_: Any) -> None:
    """Have the model loaded, and what waited done, before anybody rings."""
    doorbell.ring(_HELD_QUEUES & {doorbell.QUERY, *doorbell.QUEUES})


@signals.worker_ready.connect
def look_after_pool(sender: Any, **_: Any) -> None:
    """Have a pool process that was killed replaced soon: Celery may look too early, and then only every 5 seconds."""
    if sender.hub is not None:  # Some pools have no event loop, and no processes.
        sender.hub.call_repeatedly(LOOK_EVERY, sender.pool.maintain_pool)


@shared_task(name=doorbell.WARM, ignore_result=True)
def warm_query() -> None:
    """Load the encoders of the active generation; of one that only answers words, the text tower."""
    encoders.warm_active(texts_only={remote.QUEUE} == _HELD_QUEUES and not backends.query_encoder().pictures)


@signals.worker_process_init.connect
def sweep_in_process(**_: Any) -> None:
    """Sweep from within the pool process, where a thread outlives no fork."""
    _start_sweeper()


@signals.worker_ready.connect
def sweep_in_main_process(sender: Any, **_: Any) -> None:
    """Sweep from the main process where its pool has no others: solo, threads, gevent."""
    if not isinstance(sender.pool, prefork.TaskPool):
        _start_sweeper()


@signals.worker_shutdown.connect
def stop_sweeper(**_: Any) -> None:
    """End the main process's sweep before the interpreter does, so that it gives its connection back."""
    if _sweeper is not None:
        _sweeper.stop()
        _sweeper.join(_LAST_SWEEP)


def _start_sweeper() -> None:
    """Start this process's one sweeper, where the worker serves a queue of indexing."""
    global _sweeper
    # Celery's solo pool says that its process begins before the queues are known, and may yet say so later.
    if _HELD_QUEUES & set(doorbell.QUEUES) and not (_sweeper is not None and _sweeper.is_alive()):
        _sweeper = Sweeper()
        _sweeper.start()
