"""What Celery runs: shells around `indexing.worker`, and the encoder for searches."""

from __future__ import annotations

import logging
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
from celery import Task, shared_task, signals
from celery.concurrency import prefork
from celery.worker import WorkController
from django.db import InterfaceError, OperationalError, router
from numpy.typing import NDArray

from mediasearch import identity
from mediasearch.exceptions import EncoderUnavailable, Foreign
from mediasearch.features import backends, remote, wire
from mediasearch.features.base import Encoder
from mediasearch.indexing import doorbell, encoders, ledger, worker
from mediasearch.indexing.sweeper import LOOK_EVERY, Sweeper
from mediasearch.models import Job, Stray

logger = logging.getLogger(__name__)
_HELD_QUEUES: set[str] = set()
_stopping = mmap.mmap(-1, 1)
"""Set by the main process when it is told to stop; its pool processes share this memory over the fork."""
_sweeper: Sweeper | None = None
_EVENTLET = "celery.concurrency.eventlet"
_LAST_SWEEP = 2.0
"""Seconds that the end of a worker waits for the sweep at hand."""


@shared_task(name=doorbell.DRAIN, bind=True, ignore_result=True)
def drain(self: Task, queue: str) -> None:
    """Do what is due in a queue; ring again where the time did not suffice, so that others get their turn.

    What is due for another site is not in our database: its own sweep rings again.
    """
    try:
        stages = doorbell.queues().get(queue)
        if stages is None or _is_foreign(self):
            Stray.objects.primary().note(queue)
            return
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


@shared_task(name=remote.TEXTS, bind=True)
def encode_texts(
    self: Task, generation: int, field: str, texts: Sequence[str], fingerprint: str = ""
) -> dict[str, Any]:
    """Return the vectors of texts, made by the encoder of a generation's field, `image` or `caption`.

    Beside them the encoder's fingerprint, as the asker takes no other's. Raises Foreign, EncoderUnavailable.
    """
    encoder = _encoder(self, generation, field, fingerprint)
    return _answer(encoder, encoder.encode_texts(texts))


@shared_task(name=remote.IMAGES, bind=True)
def encode_images(
    self: Task, generation: int, field: str, parcels: Sequence[dict[str, Any]], fingerprint: str = ""
) -> dict[str, Any]:
    """Return the same of pictures, which come as `wire.pack` made them."""
    encoder = _encoder(self, generation, field, fingerprint)
    return _answer(encoder, encoder.encode_images(wire.unpack(parcels, encoder.input_size)))


def _encoder(task: Task, generation: int, field: str, fingerprint: str) -> Encoder:
    """Return the encoder that a question must be answered by. Raises Foreign, EncoderUnavailable."""
    if _is_foreign(task):
        Stray.objects.primary().note(doorbell.query_queue())
        raise Foreign
    encoder: Encoder = getattr(encoders.of(generation), field)
    if not fingerprint:
        raise EncoderUnavailable("This question names no encoder: restart the processes of an older version.")
    if encoder.fingerprint != fingerprint:
        Stray.objects.primary().note(doorbell.query_queue())
        raise Foreign
    return encoder


def _answer(encoder: Encoder, vectors: NDArray[np.float32]) -> dict[str, Any]:
    return {"fingerprint": encoder.fingerprint, "vectors": vectors.tolist()}


def _is_foreign(task: Task) -> bool:
    mark = (task.request.headers or {}).get(remote.HEADER)
    return identity.is_foreign(mark, router.db_for_write(Job))


@signals.celeryd_after_setup.connect
def note_queues(instance: WorkController, **_: Any) -> None:
    """Remember which queues this worker serves; its pool processes inherit it.

    With eventlet it serves none of ours: psycopg works with gevent's threads, and with eventlet's waits for ever.
    """
    _HELD_QUEUES.update(instance.app.amqp.queues.consume_from)
    usual = {f"mediasearch.{kind}" for kind in (*doorbell.STAGES, remote.KIND)}
    unserved = sorted(_HELD_QUEUES & usual - doorbell.every_queue())
    if unserved:
        logger.warning(
            'With MEDIASEARCH["QUEUE_PREFIX"] the queues of this site are %s: nothing of it comes to %s.',
            ", ".join(sorted(doorbell.every_queue())),
            ", ".join(unserved),
        )
    served = sorted(_HELD_QUEUES & doorbell.every_queue())
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
    doorbell.ring(_HELD_QUEUES & doorbell.every_queue())


@signals.worker_ready.connect
def look_after_pool(sender: Any, **_: Any) -> None:
    """Have a pool process that was killed replaced soon: Celery may look too early, and then only every 5 seconds."""
    if sender.hub is not None:  # Some pools have no event loop, and no processes.
        sender.hub.call_repeatedly(LOOK_EVERY, sender.pool.maintain_pool)


@shared_task(name=doorbell.WARM, bind=True, ignore_result=True)
def warm_query(self: Task) -> None:
    """Load the encoders of the active generation; of one that only answers words, the text tower."""
    queue = doorbell.query_queue()
    if _is_foreign(self):
        Stray.objects.primary().note(queue)
        return
    encoders.warm_active(texts_only={queue} == _HELD_QUEUES and not backends.query_encoder().pictures)


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
    if _HELD_QUEUES & set(doorbell.queues()) and not (_sweeper is not None and _sweeper.is_alive()):
        _sweeper = Sweeper()
        _sweeper.start()
