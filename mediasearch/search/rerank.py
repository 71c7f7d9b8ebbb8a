"""A second judgement of the best hits, by MEDIASEARCH["RERANKER"], for as long as a search can wait.

The reranker works in a thread, one in each process. A call whose time is over is left to itself: until it ends,
searches do without it and don't wait, so that one that hangs costs one search its patience and the process one thread.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from django.db import connections
from django.utils.translation import gettext
from PIL import Image

from mediasearch import conf
from mediasearch.exceptions import FileMissing, Unavailable
from mediasearch.features import backends, opener
from mediasearch.features.base import Candidate, Inquiry, Word
from mediasearch.models import Asset
from mediasearch.search.results import Hit, Notice
from mediasearch.sources import registry

logger = logging.getLogger(__name__)
SIGNAL = "rerank"
"""What notices about this step go by."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """Hits after the second judgement, or as they were, and then why."""

    hits: tuple[Hit, ...]
    reranked: bool = False
    scores: tuple[float, ...] = ()
    """The reranker's score of each of the first hits; no more than it was shown, and none where it did not judge."""
    notice: Notice | None = None


def rerank(hits: Sequence[Hit], inquiry: Inquiry) -> Reranked:
    """Put the first MEDIASEARCH["RERANK_TOP"] hits in the reranker's order, if it gives one in time."""
    settings = conf.settings()
    first = tuple(hits)
    if settings.reranker is None or len(first) < 2:
        return Reranked(first)
    top, rest = first[: settings.rerank_top], first[settings.rerank_top :]
    judge = partial(_judge, settings.reranker, inquiry, [_candidate(hit) for hit in top])
    try:
        scores = _worker().run(judge, settings.rerank_seconds)
    except Unavailable as reason:
        return Reranked(first, notice=Notice(SIGNAL, str(reason)))
    order = sorted(range(len(top)), key=lambda number: -scores[number])  # Equal scores stay in order.
    return Reranked((*(top[number] for number in order), *rest), True, tuple(scores[number] for number in order))


def _judge(spec: conf.Spec, inquiry: Inquiry, candidates: Sequence[Candidate]) -> list[float]:
    """Return the reranker's scores. Raises Unavailable where they are none, and whatever the reranker does."""
    scores = [float(score) for score in backends.reranker(spec.as_dict()).rerank(inquiry, candidates)]
    if len(scores) != len(candidates) or not all(math.isfinite(score) for score in scores):
        raise Unavailable(gettext("The reranker did not return one number for each picture."))
    return scores


def _candidate(hit: Hit) -> Candidate:
    asset = hit.asset
    return Candidate(
        title=asset.title,
        alt_text=asset.alt_text,
        caption=asset.caption,
        category=asset.category,
        tags=tuple(asset.tags),
        words=tuple(Word(w["text"], tuple(w["box"]), w["confidence"], w["line"]) for w in asset.ocr_words),
        width=asset.width or 0,
        height=asset.height or 0,
        score=hit.score,
        signals={name: evidence.normalized for name, evidence in hit.signals.items()},
        opener=partial(_open, asset),
    )


def _open(asset: Asset, input_size: int) -> Image.Image:
    try:
        with registry.source_of(asset).open(asset) as stream:
            data = opener.load(stream)
    except FileNotFoundError as error:
        raise FileMissing(f"The storage has no file for this image ({error}).") from error
    return opener.for_model(data, input_size)


@dataclass(slots=True)
class _Call:
    """One call of the reranker, and how it ended."""

    judge: Callable[[], list[float]]
    scores: list[float] | None = None
    error: BaseException | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    ended_at: float = 0.0
    is_late: bool = False
    """Did the search go on without it?"""


class _Worker:
    """Runs one call at a time in a thread that nobody has to wait for: not a search, and not the process at its end."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._latest: _Call | None = None

    def run(self, judge: Callable[[], list[float]], seconds: float) -> list[float]:
        """Return what a call returns within so many seconds, the wait for its turn included. Raises Unavailable."""
        until = time.monotonic() + seconds
        if self._is_held_up() or not self._turn.acquire(timeout=seconds):
            raise Unavailable(gettext("The reranker is still busy with an earlier search."))
        call = self._latest = _Call(judge)
        self._start(call)
        if not call.ended.wait(max(until - time.monotonic(), 0)) or call.ended_at > until:
            call.is_late = True
            extra = {"event": "rerank-late", "seconds": seconds}
            logger.warning("The reranker took more than %g s.", seconds, extra=extra)
            reason = gettext("The reranker did not answer within %(seconds)s seconds.")
            raise Unavailable(reason % {"seconds": f"{seconds:g}"})
        if call.scores is not None:
            return call.scores
        raise _reason(call.error)

    def _is_held_up(self) -> bool:
        latest = self._latest
        return latest is not None and latest.is_late and not latest.ended.is_set()

    def _start(self, call: _Call) -> None:
        try:
            threading.Thread(target=self._work, args=(call,), name="mediasearch-rerank", daemon=True).start()
        except RuntimeError as error:  # The system gives no more threads.
            self._turn.release()
            raise Unavailable(gettext("The reranker failed on this search; the log says why.")) from error

    def _work(self, call: _Call) -> None:
        try:
            call.scores = call.judge()
        except BaseException as error:  # Each reranker fails in its own way, and above this there is nobody to tell.
            call.error = error
        finally:
            connections.close_all()  # A source may have asked the database where a file is.
            call.ended_at = time.monotonic()
            self._turn.release()
            call.ended.set()


def _reason(error: BaseException | None) -> Unavailable:
    if isinstance(error, Unavailable):
        return error
    logger.error(
        "The reranker failed.", exc_info=error, extra={"event": "rerank-failed", "fault": type(error).__name__}
    )
    return Unavailable(gettext("The reranker failed on this search; the log says why."))


_workers: dict[int, _Worker] = {}


def _worker() -> _Worker:
    """Return this process's worker: a thread does not live on in a forked process, nor does anybody open its locks."""
    return _workers.setdefault(os.getpid(), _Worker())
