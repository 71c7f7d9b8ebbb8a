"""Fake models that tell what became of them: some write down their calls, one makes vectors like no other's."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.faults.counting import notes
from mediasearch.features.fake import FakeCaptioner, FakeEncoder


class Recording(FakeEncoder):
    """Writes down each call when it is over: when it began, and which pictures it was for. Takes its time, if told."""

    def __init__(self, seconds: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        with _written_down(self._seconds, pictures=[digest(image) for image in images]):
            return super().encode_images(images)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with _written_down(self._seconds, texts=len(texts)):
            return super().encode_texts(texts)


class RecordingCaptioner(FakeCaptioner):
    """The same for captions."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def describe(self, images: Sequence[Image.Image]) -> list[str]:
        with _written_down(self._seconds, described=len(images)):
            return super().describe(images)


@contextmanager
def _written_down(seconds: float, **what: Any) -> Iterator[None]:
    began = time.time()
    time.sleep(seconds)
    yield
    notes.write(notes.ENCODED, began=began, **what)


def digest(image: Image.Image) -> str:
    """Return a name for what a picture shows."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()[:16]


class Skewed(FakeEncoder):
    """As many dimensions as its neighbour and other vectors: colours trade places, and weigh less one after another.

    So within it every score differs from the plain encoder's, and a score across the two is like neither's.
    """

    def _unit(self, colours: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
        weights = np.linspace(1.0, 0.2, len(colours[0]))
        return super()._unit([np.roll(values * weights, 3) for values in colours])


class Deliberate(FakeEncoder):
    """Takes so many seconds for each text, as CLIP's text tower does without a GPU, and none of the processor's."""

    def __init__(self, seconds: float = 0.17, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(self._seconds * len(texts))
        return super().encode_texts(texts)
