"""Reads text with RapidOCR: models inside the wheel, Chinese and Latin letters, text on photographs and in colour.

Detection finds large letters best in a small picture and small letters in a large one, so each picture is looked at
in two or three sizes. Detection accepts faint boxes: to recognise one is cheap, and tells text from texture.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mediasearch.exceptions import ReaderUnavailable
from mediasearch.features.base import Access, Problem, Reading, TextReader
from mediasearch.features.loading import loaded_property
from mediasearch.features.reading import (
    Line,
    Quad,
    in_reading_order,
    legible,
    padded,
    quad_words,
    resized,
    without_repeats,
)

INSTALL = "pip install rapidocr onnxruntime"
LINE_HEIGHT = 48
"""Pixels; what the recogniser was trained on."""
STRETCH = 1.25
"""Lines are recognised a little wider than they are: "rn" and "m" and the space between two words come apart."""
TALL = 1.5
NOISY = 600_000
"""Pixels; a picture looked at with more is looked at in a middle size, too, where grain troubles detection less."""
BORDER = 32
LOWEST = 6
"""Pixels; nothing can be written in a strip that is lower."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A line with the box it was recognised from, in pixels of the picture."""

    text: str
    confidence: float
    quad: Quad


class RapidOcr(TextReader):
    """Reads words with RapidOCR and the models that its wheel brings; nothing is downloaded.

    `threads` bounds the CPU threads. Lines below `minimum_confidence` (0 to 1) are dropped. Pictures are looked at with
    at most `most_pixels`, and with a longest side of at least `smallest` and once more with `overview` pixels. When
    `seconds` of processor time are spent, lines that are left are not read: a page of a newspaper would take a minute.
    """

    def __init__(
        self,
        threads: int = 1,
        minimum_confidence: float = 0.5,
        most_pixels: int = 1_000_000,
        smallest: int = 640,
        overview: int = 320,
        seconds: float = 12.0,
    ) -> None:
        self.threads = threads
        self.minimum_confidence = minimum_confidence
        self.most_pixels = most_pixels
        self.smallest = smallest
        self.overview = overview
        self.seconds = seconds

    def check(self) -> list[Problem]:
        missing = [name for name in ("rapidocr", "onnxruntime") if find_spec(name) is None]
        if not missing:
            return []
        message = f"The text reader RapidOCR can't run: {' and '.join(missing)} can't be imported."
        return [Problem(message, hint=f"Run: {INSTALL}", name="reader-missing")]

    def access(self) -> Access:
        return Access(modules=("rapidocr", "onnxruntime"))

    def read(self, image: Image.Image) -> Reading:
        if min(image.size) < LOWEST:
            return Reading()
        found: list[_Found] = []
        _ = self._engine  # Loaded before the clock runs.
        end = time.process_time() + self.threads * self.seconds
        for scale in self._scales(*image.size):
            for quad in self._detect(image, scale):
                if time.process_time() > end:
                    break
                if not any(_covers(other.quad, quad) and other.confidence >= 0.9 for other in found):
                    found.append(self._recognise(image, quad))
        lines = [Line(words) for f in found if (words := quad_words(f.text, f.quad, image.size, f.confidence))]
        lines = [line for line in lines if line.letters > 2 or line.confidence > 0.95 or not _fills(line)]
        return in_reading_order(without_repeats(legible(lines, self.minimum_confidence)))

    def _scales(self, width: int, height: int) -> Iterator[float]:
        longest = max(width, height)
        main = min(3.0, max(1.0, self.smallest / longest), (self.most_pixels / (width * height)) ** 0.5)
        main = min(main, self.most_pixels / (2 * BORDER * longest))  # The border of a long strip has pixels, too.
        yield main
        if main**2 * width * height > NOISY:
            yield 0.6 * main
        if self.overview / longest < 0.85 * main:
            yield self.overview / longest

    def _detect(self, image: Image.Image, scale: float) -> list[Quad]:
        picture = padded(resized(image, scale), BORDER, multiple=32)
        result = self._engine(_bgr(picture), use_det=True, use_cls=False, use_rec=False)
        boxes = [] if result.boxes is None else result.boxes
        return [(np.asarray(box, dtype=np.float64) - BORDER) / scale for box in boxes]

    def _recognise(self, image: Image.Image, quad: Quad) -> _Found:
        """Recognise the line in a box, turned where it stands upright or makes no sense as it is."""
        width, height = _size(quad)
        turns = (0, 1, 3) if height >= TALL * width else (0,)
        best = max((self._recognise_upright(image, np.roll(quad, turn, axis=0)) for turn in turns), key=_confidence)
        if best.confidence < self.minimum_confidence:
            best = max(best, self._recognise_upright(image, np.roll(quad, 2, axis=0)), key=_confidence)
        return best

    def _recognise_upright(self, image: Image.Image, quad: Quad) -> _Found:
        result = self._engine(_bgr(_cut(image, quad)), use_det=False, use_cls=False, use_rec=True)
        if not result.txts:
            return _Found("", 0.0, quad)
        return _Found(result.txts[0], float(result.scores[0]), quad)

    @loaded_property
    def _engine(self) -> Any:
        try:
            import rapidocr
        except ImportError as error:
            raise ReaderUnavailable(f"RapidOCR can't be imported ({error}). Run `{INSTALL}`.") from error
        models = Path(rapidocr.__file__).parent / "models"
        detector, recogniser = (next(models.glob(f"*_{task}_*.onnx"), None) for task in ("det", "rec"))
        if detector is None or recogniser is None:
            raise ReaderUnavailable("This version of rapidocr brings no models. Run `pip install 'rapidocr>=3.10'`.")
        threads = min(self.threads, os.cpu_count() or 1)  # RapidOCR takes a number above this for "all".
        return rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.text_score": 0.0,
                "Global.use_preprocess_img": False,
                "Global.use_vertical_padding": False,
                "Det.model_path": str(detector),  # A model that is named is never looked for on the network.
                "Det.limit_type": "max",
                "Det.limit_side_len": 100_000,
                "Det.thresh": 0.2,
                "Det.box_thresh": 0.35,
                "Rec.model_path": str(recogniser),
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )


def _confidence(found: _Found) -> float:
    return found.confidence


def _bgr(image: Image.Image) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def _size(quad: Quad) -> tuple[float, float]:
    """Width and height of a box whose corners go round from the top left."""
    sides = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    return max(1.0, sides[0], sides[2]), max(1.0, sides[1], sides[3])


def _cut(image: Image.Image, quad: Quad) -> Image.Image:
    """Return the box as a picture of its own, level, LINE_HEIGHT high."""
    width, height = _size(quad)
    fine = max(1.0, LINE_HEIGHT / height)
    corners = [float(value) for corner in quad[[0, 3, 2, 1]] for value in corner]
    level = image.transform(
        (max(1, round(width * fine)), max(1, round(height * fine))),
        Image.Transform.QUAD,
        corners,
        Image.Resampling.BICUBIC,
    )
    target = max(1, round(width / height * LINE_HEIGHT * STRETCH))
    return level.resize((target, LINE_HEIGHT), Image.Resampling.LANCZOS)


def _fills(line: Line) -> bool:
    """Is the line as large as the picture? Textures and discs are then easily taken for a letter."""
    return line.box[2] * line.box[3] > 0.9


def _covers(box: Quad, other: Quad) -> bool:
    """Is the second box nearly all inside the first, and not much smaller?"""
    low = np.maximum(box.min(axis=0), other.min(axis=0))
    high = np.minimum(box.max(axis=0), other.max(axis=0))
    shared = np.prod(np.maximum(0.0, high - low))
    area, other_area = (np.prod(np.maximum(1.0, quad.max(axis=0) - quad.min(axis=0))) for quad in (box, other))
    return bool(shared > 0.88 * other_area and other_area > 0.5 * area)
