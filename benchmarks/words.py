"""A caption encoder that knows nothing of pictures: each word has a place of its own, found by its hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mediasearch.features.base import Encoder

if TYPE_CHECKING:
    from PIL import Image


class Words(Encoder):
    """Sentences are near each other as far as they have words in common."""

    supports_images = False
    dimensions = 320
    fingerprint = "words/320"

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        raise NotImplementedError("Words alone are encoded here.")

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.full((len(texts), self.dimensions), 1e-3, dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) % self.dimensions] += 1
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit
