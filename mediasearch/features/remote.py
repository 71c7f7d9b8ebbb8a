"""An encoder for searches that asks the query process, so that a web process never loads a model.

A search waits for an answer for a moment. Then text answers alone, and the vectors that come too late are handed on to
be kept: whoever asks again has them. Until something is answered, further questions are not waited for at all; now and
then one of them is asked all the same, so that what was mended is noticed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features import patience
from mediasearch.features.base import QueryEncoder, Question
from mediasearch.features.crew import Crew

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

QUEUE = "mediasearch.query"
TEXTS, IMAGES = "mediasearch.encode_texts", "mediasearch.encode_images"
"""The tasks that it asks for."""
_WORTH = 10.0
"""Seconds for which an answer is worth having; a worker drops questions that are older."""
_THREADS = 16


class Remote(QueryEncoder):
    """Sends words and pictures to the queue `mediasearch.query` and waits for their vectors.

    `timeout` is how long a search waits for the vectors of its words, and `picture_timeout` how long one with a picture
    does, in seconds. After it waited in vain the next ones of its kind don't wait, and one in `pause` seconds is asked
    only to see whether it is answered. Without `pictures`, the query worker saves the memory of the model's image half,
    and nobody can search with a picture.
    """

    def __init__(
        self, timeout: float = 0.5, picture_timeout: float = 2.0, pause: float = 2.0, pictures: bool = True
    ) -> None:
        self.timeout, self.picture_timeout, self.pause, self.pictures = timeout, picture_timeout, pause, pictures
        self._try_at: dict[str, float] = {}
        """When something is asked again of a task that does not answer; a task that does is not in here."""
        self._tries: dict[str, Future[Any]] = {}

    def encode_texts(self, question: Question, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (len(texts), dimensions), float32, made by the query worker.

        Raises EncoderUnavailable when no query worker answers in time.
        """
        return self._ask(TEXTS, question, lambda: list(texts), self.timeout)

    def encode_images(self, question: Question, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the same for RGB images; their pixels travel, no file does."""
        from mediasearch.features import wire

        if not self.pictures:
            return super().encode_images(question, images)
        return self._ask(IMAGES, question, lambda: [wire.pack(image) for image in images], self.picture_timeout)

    def _ask(self, task: str, question: Question, asked: Callable[[], list[Any]], usual: float) -> NDArray[np.float32]:
        from celery import current_app

        left, late = patience.current(), threading.Event()
        seconds = left.left(usual)
        app = current_app._get_current_object()
        answering = partial(self._answering, app, task, question, asked, max(seconds, _WORTH), late)
        if task in self._try_at:
            late.set()
            self._try(task, answering)
            raise EncoderUnavailable("The query worker did not answer a moment ago.")
        if not seconds:
            late.set()
            _crew().submit(answering)
            raise EncoderUnavailable("The query worker had no time left for this part of the question.")
        answer = _crew().submit(answering)
        if left.wait(answer, usual):
            return answer.result()
        late.set()
        answer.cancel()
        self._rest(task)
        raise EncoderUnavailable(_nobody(f" within {seconds:.2g} s"))

    def _answering(
        self,
        app: Any,
        task: str,
        question: Question,
        asked: Callable[[], list[Any]],
        seconds: float,
        late: threading.Event,
    ) -> NDArray[np.float32]:
        """Return the vectors, in a thread that is not waited for any more once it is `late`. Raises what they do."""
        import numpy as np

        arguments = [question.generation, question.field, asked()]
        try:
            answer = _answer(app, task, arguments, seconds)
        except Exception as error:  # Each transport and result backend of Celery's fails in its own way.
            if not late.is_set():
                self._rest(task)
            # It holds on to the result, which asks the broker to be let go.
            raise EncoderUnavailable(_nobody()) from error.with_traceback(None)
        self._try_at.pop(task, None)
        if isinstance(answer, Exception):  # The worker is well, and had trouble with this question alone.
            raise answer
        vectors = np.array(answer, dtype=np.float32)
        if late.is_set() and question.late is not None:
            question.late(vectors)
        return vectors

    def _rest(self, task: str) -> None:
        self._try_at[task] = time.monotonic() + self.pause

    def _try(self, task: str, answering: Callable[[], Any]) -> None:
        """Ask without waiting, if it is time and the last such question is through."""
        last = self._tries.get(task)
        if time.monotonic() >= self._try_at.get(task, 0.0) and (last is None or last.done()):
            self._rest(task)
            self._tries[task] = _crew().submit(answering)


def _nobody(within: str = "") -> str:
    return f"No query worker answers{within}. Start one: `celery worker -Q {QUEUE}`, with a result backend set."


def _answer(app: Any, task: str, arguments: list[Any], seconds: float) -> Any:
    """Send a task and return what it answers, or the exception that it raised."""
    short = f"({len(arguments[-1])} asked)"  # What people search for is no business of a worker's log.
    result = app.send_task(task, args=arguments, argsrepr=short, queue=QUEUE, expires=seconds, retry=False)
    try:
        return result.get(timeout=seconds, propagate=False, disable_sync_subtasks=False)
    finally:
        result.forget()


_crews: dict[int, Crew] = {}


def _crew() -> Crew:
    """Return this process's threads: a broker that hangs holds one of them up, where it would hold up the visitor."""
    process = os.getpid()  # A thread does not live on in a forked process.
    return _crews.get(process) or _crews.setdefault(process, Crew(_THREADS, "mediasearch-query"))
