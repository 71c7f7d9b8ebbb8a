"""An encoder for searches that asks the query process, so that a web process never loads a model."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features.base import QueryEncoder, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

QUEUE = "mediasearch.query"
TEXTS, IMAGES = "mediasearch.encode_texts", "mediasearch.encode_images"
"""The tasks that it asks for."""
_THREADS = 16


class Remote(QueryEncoder):
    """Sends words and pictures to the queue `mediasearch.query` and waits for their vectors.

    `timeout` is how long a search waits, in seconds; after a failure the next searches of its kind don't wait at all
    for `pause` seconds, so that a dead worker slows down one search and not all of them. Without `pictures`, the query
    worker saves the memory of the model's image half, and nobody can search with a picture.
    """

    def __init__(self, timeout: float = 3.0, pause: float = 5.0, pictures: bool = True) -> None:
        self.timeout, self.pause, self.pictures = timeout, pause, pictures
        self._closed_until: dict[str, float] = {}

    def encode_texts(self, question: Question, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (len(texts), dimensions), float32, made by the query worker.

        Raises EncoderUnavailable when no query worker answers in time.
        """
        return self._ask(TEXTS, question, list(texts))

    def encode_images(self, question: Question, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the same for RGB images; their pixels travel, no file does."""
        from mediasearch.features import wire

        if not self.pictures:
            return super().encode_images(question, images)
        return self._ask(IMAGES, question, [wire.pack(image) for image in images])

    def _ask(self, task: str, question: Question, asked: list[Any]) -> NDArray[np.float32]:
        import numpy as np
        from celery import current_app

        if time.monotonic() < self._closed_until.get(task, 0.0):
            raise EncoderUnavailable("The query worker did not answer a moment ago.")
        app = current_app._get_current_object()
        waiting = _threads().submit(_answer, app, task, [question.generation, question.field, asked], self.timeout)
        try:
            answer = waiting.result(self.timeout)
        except Exception as error:  # Each transport and result backend of Celery's fails in its own way.
            waiting.cancel()
            self._closed_until[task] = time.monotonic() + self.pause
            raise EncoderUnavailable(
                "No query worker answers. Start one: `celery worker -Q mediasearch.query`, with a result backend set."
            ) from error.with_traceback(None)  # It holds on to the result, which asks the broker to be let go.
        if isinstance(answer, Exception):  # The worker is well, and had trouble with this question alone.
            raise answer
        return np.array(answer, dtype=np.float32)


def _answer(app: Any, task: str, arguments: list[Any], timeout: float) -> Any:
    """Send a task and return what it answers, or the exception that it raised."""
    short = f"({len(arguments[-1])} asked)"  # What people search for is no business of a worker's log.
    result = app.send_task(task, args=arguments, argsrepr=short, queue=QUEUE, expires=timeout, retry=False)
    try:
        return result.get(timeout=timeout, propagate=False, disable_sync_subtasks=False)
    finally:
        result.forget()


_pools: dict[int, ThreadPoolExecutor] = {}


def _threads() -> ThreadPoolExecutor:
    """Return this process's threads: a broker that hangs holds one of them up, where it would hold up the visitor."""
    process = os.getpid()  # A thread does not live on in a forked process.
    if process not in _pools:
        _pools[process] = ThreadPoolExecutor(_THREADS, "mediasearch-query")
    return _pools[process]
