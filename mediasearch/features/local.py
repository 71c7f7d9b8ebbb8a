"""An encoder for searches that runs in the asking process itself: for scripts, tests and very small sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mediasearch.features import backends
from mediasearch.features.base import QueryEncoder, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


class Local(QueryEncoder):
    """Loads the model where it is asked; a web process that uses it imports torch."""

    pictures = True

    def encode_texts(self, question: Question, texts: Sequence[str]) -> NDArray[np.float32]:
        return backends.encoder(question.spec).encode_texts(texts)

    def encode_images(self, question: Question, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return backends.encoder(question.spec).encode_images(images)
