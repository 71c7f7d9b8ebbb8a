"""What text readers share, and the reader that asks several engines."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mediasearch.exceptions import ReaderUnavailable
from mediasearch.features.base import Access, Problem, Reading, TextReader, Word
from mediasearch.features.lexemes import fold, join_words, lexemes

Quad = NDArray[np.float64]
"""The corners of a box in pixels, shape (4, 2): top left, top right, bottom right, bottom left of its text."""
Box = tuple[float, float, float, float]
SHORT_LINE, LONE_LETTER = 0.75, 0.93
"""Confidence that a line of two letters needs, and one of a single letter: drawings are often taken for a letter
at .9 or less, while the P, H or 男 of a sign is read at .99, and at .95 where the sign is tiny."""
_ABSENT = {"tesseract-missing", "reader-missing"}
_GLUED_TIME = re.compile(r"(?<=[-/.]\d{4})(?=\d{1,2}:\d\d)|(?<=\d[-/.]\d\d)(?=\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Line:
    """Words that stand in one line of a picture; their own line numbers don't count yet."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        return join_words([word.text for word in self.words])

    @property
    def letters(self) -> int:
        return sum(_letters(word) for word in self.words)

    @property
    def confidence(self) -> float:
        """The mean over letters and digits; 0 where there are none."""
        return sum(_letters(word) * word.confidence for word in self.words) / max(1, self.letters)

    @property
    def box(self) -> Box:
        boxes = np.array([word.box for word in self.words])
        left, top = boxes[:, :2].min(axis=0)
        right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
        return float(left), float(top), float(right - left), float(bottom - top)


def _letters(word: Word) -> int:
    return sum(character.isalnum() for character in word.text)


def legible(lines: Iterable[Line], minimum_confidence: float) -> list[Line]:
    """Return the lines that an engine is sure enough of; a very short one must be surer, for texture looks like it."""
    return [
        line
        for line in lines
        if line.letters
        and line.confidence >= max(minimum_confidence, {1: LONE_LETTER, 2: SHORT_LINE}.get(line.letters, 0.0))
    ]


def word_at(
    text: str, left: float, top: float, right: float, bottom: float, size: tuple[int, int], sure: float
) -> Word:
    """Return a Word from edges in pixels of a picture of this size, clipped to it; its line is 0."""
    width, height = size
    x, y = np.clip((left / width, right / width), 0.0, 1.0), np.clip((top / height, bottom / height), 0.0, 1.0)
    box = (float(x[0]), float(y[0]), float(x[1] - x[0]), float(y[1] - y[0]))
    return Word(unicodedata.normalize("NFC", text.strip()), box, float(np.clip(sure, 0.0, 1.0)), 0)


def resized(image: Image.Image, scale: float) -> Image.Image:
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def padded(image: Image.Image, border: int, multiple: int = 1) -> Image.Image:
    """Put a border of the edge's colour around an RGB picture; its sides become multiples of a number."""
    pixels = np.asarray(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    size = tuple(-(-(side + 2 * border) // multiple) * multiple for side in image.size)
    canvas = Image.new("RGB", (size[0], size[1]), tuple(int(value) for value in np.median(edge, axis=0)))
    canvas.paste(image, (border, border))
    return canvas


def split_line(text: str) -> list[str]:
    """Cut a line at its spaces, and between a date and the time that an engine glued to it."""
    return _GLUED_TIME.sub(" ", text).split()


def quad_words(text: str, quad: Quad, size: tuple[int, int], confidence: float) -> tuple[Word, ...]:
    """Share a line's box (pixels) among its words by the widths of their characters; a Chinese one is two wide."""
    words = split_line(text)
    widths = [sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in word) for word in words]
    whole = sum(widths) + len(words) - 1
    found, at = [], 0
    for word, width in zip(words, widths, strict=True):
        ends = np.array([at, at + width]) / whole
        corners = np.concatenate([_between(quad[0], quad[1], ends), _between(quad[3], quad[2], ends)])
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        found.append(word_at(word, left, top, right, bottom, size, confidence))
        at += width + 1
    return tuple(found)


def _between(start: NDArray[np.float64], end: NDArray[np.float64], parts: NDArray[np.float64]) -> NDArray[np.float64]:
    points: NDArray[np.float64] = start + (end - start) * parts[:, None]
    return points


def without_repeats(lines: Sequence[Line]) -> list[Line]:
    """Drop each line whose text is in that of an overlapping line, spaces aside."""
    kept: list[Line] = []
    for line in sorted(lines, key=lambda line: (-len(_unspaced(line)), -line.confidence)):
        if not any(_unspaced(line) in _unspaced(other) and overlap(line.box, other.box) for other in kept):
            kept.append(line)
    return kept


def overlap(one: Box, other: Box) -> bool:
    """Does the middle of either box lie inside the other?"""
    return _middle_inside(one, other) or _middle_inside(other, one)


def _middle_inside(inner: Box, outer: Box) -> bool:
    x, y = inner[0] + inner[2] / 2, inner[1] + inner[3] / 2
    return outer[0] <= x <= outer[0] + outer[2] and outer[1] <= y <= outer[1] + outer[3]


def _unspaced(line: Line) -> str:
    return "".join(fold(line.text).split())


def in_reading_order(lines: Iterable[Line]) -> Reading:
    """Number the lines from top to bottom; lines side by side from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=_middle):
        if rows and _middle(line) - _middle(rows[-1][0]) < min(line.box[3], rows[-1][0].box[3]) / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    ordered = [line for row in rows for line in sorted(row, key=lambda line: line.box[0])]
    return Reading(tuple(replace(word, line=number) for number, line in enumerate(ordered) for word in line.words))


def _middle(line: Line) -> float:
    return line.box[1] + line.box[3] / 2


def added(words: Sequence[Word], more: Sequence[Word]) -> list[Word]:
    """Return `words`, and as lines after them those of `more` that hold a lexeme no overlapping word has."""
    result = list(words)
    known = [(word.box, _lexemes(word)) for word in words]
    after = max((word.line for word in words), default=-1) + 1
    numbers: dict[int, int] = {}
    for word in more:
        there = set().union(*(lexemes for box, lexemes in known if overlap(box, word.box)))
        if _lexemes(word) - there:
            result.append(replace(word, line=numbers.setdefault(word.line, after + len(numbers))))
    return result


def _lexemes(word: Word) -> set[str]:
    return {lexeme.text for lexeme in lexemes(word.text)}


class Combined(TextReader):
    """Asks several readers and adds up their words: what one overlooks, another often sees.

    `readers` are dotted paths, {"BACKEND": ..., "OPTIONS": {...}} mappings, or readers; the first ones should be the
    best, for the others' words come after theirs. The default is RapidOCR and tesseract. A reader that is not installed
    is left out, as is one that fails on a picture, in whichever way; where that leaves none, `read` raises
    ReaderUnavailable, or what speaks of this picture, such as ReaderTimeout.
    """

    def __init__(self, readers: Sequence[str | Mapping[str, Any] | TextReader] | None = None) -> None:
        self.readers = _usual_readers() if readers is None else [_made(reader) for reader in readers]

    def check(self) -> list[Problem]:
        problems = [reader.check() for reader in self.readers]
        if all(any(problem.name in _ABSENT for problem in found) for found in problems):
            hints = " Or: ".join(problem.hint for found in problems for problem in found)
            return [Problem("No text reader can run, so text in pictures is not found.", hints, "reader-missing")]
        return [problem for found in problems for problem in found]

    def access(self) -> Access:
        return reduce(Access.__or__, (reader.access() for reader in self.readers), Access())

    def read(self, image: Image.Image) -> Reading:
        words: list[Word] = []
        failures: list[Exception] = []
        for reader in self.readers:
            try:
                words = added(words, reader.read(image).words)
            except Exception as failure:  # Engines fail in their own ways; another one may yet read this picture.
                failures.append(failure)
        if len(failures) == len(self.readers):
            of_this_picture = (failure for failure in failures if not isinstance(failure, ReaderUnavailable))
            raise next(of_this_picture, None) or ReaderUnavailable(" ".join(map(str, failures)) or None)
        return Reading(tuple(words))


def _usual_readers() -> list[TextReader]:
    from mediasearch.features.rapid import RapidOcr
    from mediasearch.features.tesseract import Tesseract

    rapid = RapidOcr()
    # Large and coloured letters, for which tesseract looks a second time, are what RapidOCR reads best.
    return [rapid, Tesseract() if rapid.check() else Tesseract(overview=0)]


def _made(reader: str | Mapping[str, Any] | TextReader) -> TextReader:
    if isinstance(reader, TextReader):
        return reader
    path, options = (reader, {}) if isinstance(reader, str) else (reader["BACKEND"], reader.get("OPTIONS", {}))
    module, _, name = path.rpartition(".")
    made: TextReader = getattr(import_module(module), name)(**options)
    return made
