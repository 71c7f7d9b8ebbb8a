"""An encoder for searches that asks the query process, so that a web process never loads a model.

A search waits for an answer for a moment. Then text answers alone, and the vectors that come too late are handed on to
be kept: whoever asks again has them. Until something is answered, further questions are not waited for at all; now and
then one of them is asked all the same, so that what was mended is noticed.

The worker is shared by all who search. A process sends one question of each client at a time, and the broker hands
those of clients that asked little before those of clients that asked much: however much one asks, another waits for
no more of it than the question at hand.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from mediasearch import conf
from mediasearch.exceptions import Crowded, EncoderUnavailable, Foreign
from mediasearch.features import patience
from mediasearch.features.base import RANKS, QueryEncoder, Question
from mediasearch.features.crew import Crew
from mediasearch.features.lines import Lines, Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

KIND = "query"
"""The kind of the queue that it asks."""
HEADER = "mediasearch_site"
"""The header in which a message bears the mark of the site that sent it."""
TEXTS, IMAGES = "mediasearch.encode_texts", "mediasearch.encode_images"
"""The tasks that it asks for."""
_WORTH = 10.0
"""Seconds for which an answer is worth having; a worker drops questions that are older."""
_THREADS = 16
_PRIORITIES = range(0, 3 * RANKS, 3)
"""Of messages, by rank: 0, 3, 6 and 9 are what Celery's Redis transport tells apart."""
_Kind = tuple[str, int]
"""A task and a rank: questions that wait behind others say nothing to those that don't."""


class Remote(QueryEncoder):
    """Sends words and pictures to the site's queue of the kind `query` and waits for their vectors.

    `timeout` is how long a search waits for the vectors of its words, and `picture_timeout` how long one with a picture
    does, in seconds. After it waited in vain the next ones of its kind don't wait, and one in `pause` seconds is asked
    only to see whether it is answered. Without `pictures`, the query worker saves the memory of the model's image half,
    and nobody can search with a picture.
    """

    def __init__(
        self, timeout: float = 0.5, picture_timeout: float = 2.0, pause: float = 2.0, pictures: bool = True
    ) -> None:
        self.timeout, self.picture_timeout, self.pause, self.pictures = timeout, picture_timeout, pause, pictures
        self._try_at: dict[_Kind, float] = {}
        """When something is asked again of a kind that is not answered; one that is is not in here."""
        self._tries: dict[_Kind, Future[Any]] = {}
        self._lines = Lines()

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

        left, late, kind = patience.current(), threading.Event(), (task, question.rank)
        seconds = left.left(usual)
        app = current_app._get_current_object()
        answering = partial(self._answering, app, kind, question, asked, max(seconds, _WORTH), late)
        if closed := self._closed(kind):
            late.set()
            self._try(closed, answering)
            raise EncoderUnavailable(_SILENT)
        place = self._lines.join(question.client, seconds)
        if stood := not place.turn.done():
            self._stand(place, kind, left, usual)
        if not left.left(usual):
            late.set()
        try:
            answer = _crew().submit(answering)
        except RuntimeError:  # The system gives no more threads.
            self._lines.leave(place, in_vain=True)
            raise
        answer.add_done_callback(lambda _: self._lines.leave(place))
        if late.is_set():
            raise EncoderUnavailable("The query worker had no time left for this part of the question.")
        if left.wait(answer, usual):
            return answer.result()
        late.set()
        answer.cancel()
        if stood:  # Its own client's questions had taken its time: that says nothing of the worker.
            raise Crowded
        self._rest(kind)
        raise EncoderUnavailable(_nobody(f" within {seconds:.2g} s"))

    def _stand(self, place: Place, kind: _Kind, left: patience.Patience, usual: float) -> None:
        """Wait for a question's turn. Raises Crowded, or EncoderUnavailable where the worker fell silent meanwhile."""
        in_time = left.wait(place.turn, usual)
        closed = self._closed(kind)
        if in_time and not closed:
            return
        self._lines.leave(place, in_vain=True)
        raise EncoderUnavailable(_SILENT) if closed else Crowded

    def _answering(
        self,
        app: Any,
        kind: _Kind,
        question: Question,
        asked: Callable[[], list[Any]],
        seconds: float,
        late: threading.Event,
    ) -> NDArray[np.float32]:
        """Return the vectors, in a thread that is not waited for any more once it is `late`. Raises what they do."""
        import numpy as np

        task, rank = kind
        arguments = [question.generation, question.field, asked(), question.fingerprint]
        try:
            answer = _answer(app, task, arguments, seconds, question.site, rank)
        except Exception as error:  # Each transport and result backend of Celery's fails in its own way.
            if not late.is_set():
                self._rest(kind)
            # It holds on to the result, which asks the broker to be let go.
            raise EncoderUnavailable(_nobody()) from error.with_traceback(None)
        for rank in range(RANKS):
            self._try_at.pop((task, rank), None)
        if isinstance(answer, Exception):  # The worker is well, and had trouble with this question alone.
            raise answer
        if not isinstance(answer, dict) or answer.get("fingerprint") != question.fingerprint:
            raise Foreign  # It may be of an older version, which does not look at what is asked of it.
        vectors = np.array(answer["vectors"], dtype=np.float32)
        if late.is_set() and question.late is not None:
            question.late(vectors)
        return vectors

    def _closed(self, kind: _Kind) -> _Kind | None:
        """Return the kind that is not answered, this one or one that goes before it; None where each is."""
        task, rank = kind
        return next((before for r in range(rank + 1) if (before := (task, r)) in self._try_at), None)

    def _rest(self, kind: _Kind) -> None:
        self._try_at[kind] = time.monotonic() + self.pause

    def _try(self, kind: _Kind, answering: Callable[[], Any]) -> None:
        """Ask without waiting, if it is time and the last such question is through."""
        last = self._tries.get(kind)
        if time.monotonic() >= self._try_at.get(kind, 0.0) and (last is None or last.done()):
            self._rest(kind)
            self._tries[kind] = _crew().submit(answering)


_SILENT = "The query worker did not answer a moment ago."


def _nobody(within: str = "") -> str:
    queue = conf.settings().queue(KIND)
    return f"No query worker answers{within}. Start one: `celery worker -Q {queue}`, with a result backend set."


def _answer(app: Any, task: str, arguments: list[Any], seconds: float, site: str, rank: int) -> Any:
    """Send a task and return what it answers, or the exception that it raised."""
    short = f"({len(arguments[2])} asked)"  # What people search for is no business of a worker's log.
    result = app.send_task(
        task,
        args=arguments,
        argsrepr=short,
        queue=conf.settings().queue(KIND),
        priority=_priority(app, rank),
        headers={HEADER: site},
        expires=seconds,
        retry=False,
    )
    try:
        return result.get(timeout=seconds, propagate=False, disable_sync_subtasks=False)
    finally:
        result.forget()


def _priority(app: Any, rank: int) -> int:
    """Return a message's priority as the broker counts: with AMQP, where queues have any, the highest goes first."""
    return _PRIORITIES[-1 - rank] if _is_amqp(app) else _PRIORITIES[rank]


@cache
def _is_amqp(app: Any) -> bool:
    with app.connection_for_write() as connection:  # It connects to nothing.
        return bool(connection.transport.driver_type == "amqp")


_crews: dict[int, Crew] = {}


def _crew() -> Crew:
    """Return this process's threads: a broker that hangs holds one of them up, where it would hold up the visitor."""
    process = os.getpid()  # A thread does not live on in a forked process.
    return _crews.get(process) or _crews.setdefault(process, Crew(_THREADS, "mediasearch-query"))
