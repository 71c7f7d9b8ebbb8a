"""A text encoder that asks the query process, so that a web process never loads a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features.base import QueryEncoder, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUEUE = "mediasearch.query"
TASK = "mediasearch.encode_texts"


class Remote(QueryEncoder):
    """Sends texts to the queue `mediasearch.query` and waits for their vectors.

    `timeout` is how long a search waits, in seconds; after a failure the next searches don't wait at all for
    `pause` seconds, so that a dead worker slows down one search and not all of them.
    """

    def __init__(self, timeout: float = 3.0, pause: float = 5.0) -> None:
        self.timeout, self.pause = timeout, pause
        self._closed_until = 0.0

    def encode_texts(self, question: Question, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (len(texts), dimensions), float32, made by the query worker.

        Raises EncoderUnavailable when no query worker answers in time.
        """
        import numpy as np
        from celery import current_app
        from celery.exceptions import CeleryError, TimeoutError
        from kombu.exceptions import OperationalError

        if time.monotonic() < self._closed_until:
            raise EncoderUnavailable("The query worker did not answer a moment ago.")
        try:
            result = current_app.send_task(
                TASK,
                args=[question.generation, question.field, list(texts)],
                queue=QUEUE,
                expires=self.timeout,
                retry=False,
            )
            vectors = result.get(timeout=self.timeout, disable_sync_subtasks=False)
            result.forget()
        except (TimeoutError, OperationalError, CeleryError, OSError, NotImplementedError) as error:
            self._closed_until = time.monotonic() + self.pause
            raise EncoderUnavailable(
                "No query worker answers. Start one: `celery worker -Q mediasearch.query`, with a result backend set."
            ) from error
        return np.array(vectors, dtype=np.float32)
