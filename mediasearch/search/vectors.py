"""The vector of words, or of an opened picture, from whoever encodes questions."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mediasearch.exceptions import EncoderUnavailable, Unavailable
from mediasearch.features import backends
from mediasearch.features.base import Question
from mediasearch.models import Generation
from mediasearch.search import cache

logger = logging.getLogger(__name__)
Vector = NDArray[np.float32]


def of_words(text: str, generation: Generation, field: str) -> Vector:
    """Return the vector to compare with a generation's `image` or `caption` vectors. Raises EncoderUnavailable."""
    if field == "caption" and generation.caption_encoder is not None:
        question = Question(generation.pk, "caption", generation.caption_encoder)
        fingerprint, dimensions = generation.caption_fingerprint, generation.caption_dimensions
    else:
        question = Question(generation.pk, "image", generation.encoder)
        fingerprint, dimensions = generation.fingerprint, generation.dimensions
    name = cache.key(fingerprint, text)
    if (known := cache.get(name)) is not None:
        return np.frombuffer(known, dtype=np.float32)
    vector = _only(lambda: backends.query_encoder().encode_texts(question, [text]), dimensions)
    cache.keep(name, vector.tobytes())
    return vector


def of_image(image: Image.Image, generation: Generation) -> Vector:
    """Return the vector to compare with a generation's `image` vectors. Raises EncoderUnavailable."""
    question = Question(generation.pk, "image", generation.encoder)
    return _only(lambda: backends.query_encoder().encode_images(question, [image]), generation.dimensions)


def _only(encode: Callable[[], NDArray[np.float32]], dimensions: int) -> Vector:
    """Return the one vector that an encoder makes; whatever goes wrong in there is no visitor's fault."""
    try:
        vectors: Vector = np.asarray(encode(), dtype=np.float32)
    except Unavailable:
        raise
    except Exception as error:
        extra = {"event": "question-failed", "fault": type(error).__name__}
        logger.exception("A question could not be encoded.", extra=extra)
        raise EncoderUnavailable("The encoder failed on this question; the log says why.") from error
    if vectors.shape != (1, dimensions) or not np.isfinite(vectors).all():
        raise EncoderUnavailable(f"The encoder returned no vector of {dimensions} dimensions for this question.")
    vector: Vector = vectors[0]
    return vector
