"""The encoder of the benchmark: it knows the vectors of the questions that are asked, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features.base import QueryEncoder, Question

FILE, FINGERPRINT = "questions.npz", "engine-benchmark"


class Asked(QueryEncoder):
    """Reads the questions of a library from its folder."""

    def __init__(self, folder: str) -> None:
        with np.load(Path(folder) / FILE) as kept:
            self._vectors = dict(zip(kept["words"].tolist(), kept["text"], strict=True))

    def encode_texts(self, question: Question, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of questions that were made with the library."""
        if unknown := [text for text in texts if text not in self._vectors]:
            raise EncoderUnavailable(f"The library was made without the question {unknown[0]!r}.")
        return np.stack([self._vectors[text] for text in texts])
