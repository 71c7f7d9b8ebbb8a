"""Deterministic stand-ins that need no model, for tests of sites and of mediasearch itself.

The encoder knows colours: a picture that is mostly red lies near the word "red". That is enough to test everything
around a model; it says nothing about how well a real one searches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mediasearch.features.base import Captioner, Encoder, Reading, TextReader, Word

COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "orange": (255, 165, 0),
    "purple": (128, 0, 128),
}


class FakeEncoder(Encoder):
    """Puts pictures and texts into one space by the colours they show or name."""

    def __init__(self, dimensions: int = 16, languages: Sequence[str] | None = ("en",), name: str = "fake") -> None:
        self._dimensions, self.name = dimensions, name
        self.languages = None if languages is None else frozenset(languages)

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def fingerprint(self) -> str:
        return f"{self.name}/{self._dimensions}"

    @property
    def input_size(self) -> int:
        return 32

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return self._unit([self._seen(image) for image in images])

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._unit([self._meant(text) for text in texts])

    def _seen(self, image: Image.Image) -> NDArray[np.float64]:
        pixels = np.asarray(image.convert("RGB").resize((8, 8)), dtype=np.float64).reshape(-1, 1, 3)
        palette = np.array(list(COLOURS.values()), dtype=np.float64)
        nearest = np.argmin(((pixels - palette) ** 2).sum(-1), axis=1)
        return np.bincount(nearest, minlength=len(COLOURS)).astype(np.float64)

    def _meant(self, text: str) -> NDArray[np.float64]:
        words = text.lower().split()
        return np.array([float(words.count(colour)) for colour in COLOURS])

    def _unit(self, colours: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
        vectors = np.full((len(colours), self._dimensions), 1e-3)
        width = min(self._dimensions, len(COLOURS))
        for row, values in zip(vectors, colours, strict=True):
            row[:width] += values[:width]
        unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return unit


class FakeReader(TextReader):
    """Reads the same words in every picture."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def read(self, image: Image.Image) -> Reading:
        words = [(word, index) for index, line in enumerate(self.text.splitlines()) for word in line.split()]
        return Reading(tuple(Word(word, (0.0, 0.0, 1.0, 1.0), 1.0, line) for word, line in words))


class FakeCaptioner(Captioner):
    """Names a picture by a hash of its pixels."""

    def describe(self, images: Sequence[Image.Image]) -> list[str]:
        return [f"picture {hashlib.sha256(image.tobytes()).hexdigest()[:8]}" for image in images]
