"""The vectors of words, or of an opened picture, from whoever encodes questions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
from django.db import connections
from numpy.typing import NDArray
from PIL import Image

from mediasearch import conf
from mediasearch.exceptions import EncoderUnavailable, Foreign, Unavailable
from mediasearch.features import backends, patience
from mediasearch.features.base import Question
from mediasearch.features.remote import KIND
from mediasearch.models import Generation, Stray
from mediasearch.search import cache, shares

logger = logging.getLogger(__name__)
Vector = NDArray[np.float32]


_TEXTS_AT_ONCE = 8
"""So a search that waits behind a call for many texts waits for no more than these."""
Keep = Callable[[Vector], None]
"""What puts vectors, one a row, into the cache."""


@dataclass(frozen=True, slots=True)
class _Space:
    """Where the vectors of a field lie: who makes them, and how long they are."""

    question: Question
    dimensions: int

    @classmethod
    def of(cls, generation: Generation, field: str) -> _Space:
        question = generation.question(field)
        own = question.field == "caption"
        return cls(question, generation.caption_dimensions if own else generation.dimensions)

    def name(self, text: str) -> str:
        """The key under which the cache keeps the vector of a text."""
        return cache.key(self.question.fingerprint, text)

    def encode(self, texts: list[str]) -> Vector:
        """Return the vectors of texts, and keep them. Raises EncoderUnavailable."""

        def keep(vectors: Vector) -> None:
            cache.keep_many(
                cache.VECTORS, {self.name(text): one.tobytes() for text, one in zip(texts, vectors, strict=True)}
            )

        encoder, shape = backends.query_encoder(), (len(texts), self.dimensions)
        return _asked(lambda question: encoder.encode_texts(question, texts), self.question, shape, keep)


def of_words(text: str, generation: Generation, field: str) -> Vector:
    """Return the vector to compare with a generation's `image` or `caption` vectors. Raises EncoderUnavailable."""
    space = _Space.of(generation, field)
    if (known := cache.get(cache.VECTORS, space.name(text))) is not None:
        return np.frombuffer(known, dtype=np.float32)
    vector: Vector = space.encode([text])[0]
    return vector


def of_texts(texts: Collection[str], generation: Generation, field: str, seconds: float) -> dict[str, Vector]:
    """Return the same for each of many texts that is known, and for as many others as there is time for, in order.

    Raises EncoderUnavailable.
    """
    space = _Space.of(generation, field)
    names = {text: space.name(text) for text in texts}
    kept = cache.get_many(cache.VECTORS, names.values())
    found = {text: np.frombuffer(kept[name], dtype=np.float32) for text, name in names.items() if name in kept}
    missing = [text for text in names if text not in found]
    end = time.monotonic() + seconds
    for start in range(0, len(missing), _TEXTS_AT_ONCE):
        if time.monotonic() > end:
            break
        some = missing[start : start + _TEXTS_AT_ONCE]
        with patience.shared(seconds):
            found |= dict(zip(some, space.encode(some), strict=True))
    return found


def literal(vector: Vector) -> str:
    """Return a vector as PostgreSQL reads a halfvec: five digits are enough for each half, and are read back as it."""
    return f"[{','.join(['%.5g'] * len(vector))}]" % tuple(vector.astype(np.float16).tolist())


def of_image(image: Image.Image, generation: Generation, keep: Keep) -> Vector:
    """Return the vector to compare with a generation's `image` vectors, and keep it. Raises EncoderUnavailable."""
    question = generation.question("image")
    encoder, shape = backends.query_encoder(), (1, generation.dimensions)
    vector: Vector = _asked(lambda asked: encoder.encode_images(asked, [image]), question, shape, keep)[0]
    return vector


def _asked(encode: Callable[[Question], Vector], question: Question, shape: tuple[int, int], keep: Keep) -> Vector:
    """Return what an encoder makes, and keep it, also where it comes too late."""

    def late(vectors: Vector) -> None:
        try:
            keep(_sound(lambda: vectors, shape))
        finally:
            connections.close_all()  # The cache may be in the database.

    client = shares.current()
    question = replace(question, client=client, rank=shares.rank(client), late=late)
    vectors = _sound(lambda: encode(question), shape)
    keep(vectors)
    return vectors


def _sound(encode: Callable[[], Vector], shape: tuple[int, int]) -> Vector:
    """Return the vectors that an encoder makes; whatever goes wrong in there is no visitor's fault."""
    try:
        vectors: Vector = np.asarray(encode(), dtype=np.float32)
    except Foreign:
        Stray.objects.primary().note(conf.settings().queue(KIND))
        raise
    except Unavailable:
        raise
    except Exception as error:
        extra = {"event": "question-failed", "fault": type(error).__name__}
        logger.exception("A question could not be encoded.", extra=extra)
        raise EncoderUnavailable("The encoder failed on this question; the log says why.") from error
    if vectors.shape != shape or not np.isfinite(vectors).all():
        raise EncoderUnavailable(f"The encoder returned no vector of {shape[1]} dimensions for this question.")
    return vectors
