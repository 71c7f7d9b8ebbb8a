"""Reads text with the tesseract program: small print on plain paper, in any language whose data is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mediasearch.exceptions import ReaderFailed, ReaderTimeout, ReaderUnavailable
from mediasearch.features.base import Access, Problem, Reading, TextReader, Word
from mediasearch.features.lexemes import join_words
from mediasearch.features.reading import Line, added, in_reading_order, legible, padded, resized, word_at

SPARSE = 11
"""Page segmentation mode that finds text anywhere: the usual one takes a poster for a photograph and skips it."""
FAINT = 30
"""Of 100: what is read with less confidence is dropped even from a line that is read well."""
BORDER = 24
_ANSWERS_IN = 10.0
_LANGUAGE = re.compile(r"[\w/+-]+")


class Tesseract(TextReader):
    """Reads words with pytesseract; the program must be installed, with the data of `languages`.

    `languages` are tesseract's names; those without data are left out. `timeout` is in seconds for one picture. Lines
    below `minimum_confidence` (0 to 1) are dropped. Each picture is looked at as it is, with at most `most_pixels`, and
    once more in grey with a longest side of `overview` pixels, where large and coloured letters are read best; 0 saves
    that second look. `command` is the program's name or path; where it is a script, `programs` are those that it runs.
    """

    def __init__(
        self,
        languages: Sequence[str] = ("eng", "chi_sim"),
        timeout: float = 20.0,
        minimum_confidence: float = 0.55,
        most_pixels: int = 4_000_000,
        overview: int = 400,
        command: str = "tesseract",
        programs: Sequence[str] = (),
    ) -> None:
        self.languages = tuple(languages)
        self.timeout = timeout
        self.minimum_confidence = minimum_confidence
        self.most_pixels = most_pixels
        self.overview = overview
        self.command = command
        self.programs = tuple(programs)
        self._usable: tuple[str, ...] | None = None

    def check(self) -> list[Problem]:
        if shutil.which(self.command) is None:
            message = f"The program {self.command} is not found, so it reads no text in pictures."
            return [Problem(message, hint=f"Install it. {_how_to_install(self.languages)}", name="tesseract-missing")]
        try:
            missing = [name for name in self.languages if name not in self._installed()]
        except ReaderUnavailable as error:
            return [Problem(str(error), hint=_how_to_install(self.languages), name="tesseract-missing")]
        if not missing:
            return []
        message = f"tesseract has no data for {', '.join(missing)}, so it misreads text in that language."
        return [Problem(message, hint=f"Install it. {_how_to_install(missing)}", name="tesseract-language")]

    def access(self) -> Access:
        return Access(
            folders=tuple(filter(None, [os.environ.get("TESSDATA_PREFIX")])),
            programs=(self.command, *self.programs),
            modules=("pytesseract",),
        )

    def read(self, image: Image.Image) -> Reading:
        deadline = time.monotonic() + self.timeout
        scale = min(1.0, (self.most_pixels / (image.width * image.height)) ** 0.5)
        words = self._words(resized(image, scale), scale, 0, image.size, deadline)
        if self.overview:
            scale = min(3.0, self.overview / max(image.size))
            small = _dark_on_light(padded(resized(image, scale), BORDER))
            words = added(words, self._words(small, scale, BORDER, image.size, deadline))
        return Reading(tuple(words))

    def _words(
        self, picture: Image.Image, scale: float, border: int, size: tuple[int, int], deadline: float
    ) -> Sequence[Word]:
        lines = self._lines(picture, scale, border, size, deadline)
        return in_reading_order(legible(lines, self.minimum_confidence)).words

    def _lines(
        self, picture: Image.Image, scale: float, border: int, size: tuple[int, int], deadline: float
    ) -> Iterator[Line]:
        """Read a picture that was resized by `scale` and given a border; the words lie in the original, of `size`."""
        rows = [row for row in self._rows(picture, deadline) if row["conf"] >= FAINT]
        for _, line in groupby(rows, key=lambda row: (row["block_num"], row["par_num"], row["line_num"])):
            words = []
            for row in line:
                left, top = (row["left"] - border) / scale, (row["top"] - border) / scale
                right, bottom = left + row["width"] / scale, top + row["height"] / scale
                words.append(word_at(row["text"], left, top, right, bottom, size, row["conf"] / 100))
            yield Line(tuple(_joined(words)))

    def _rows(self, picture: Image.Image, deadline: float) -> list[dict[str, Any]]:
        """Run the program once and return its words as dicts of its own column names."""
        pytesseract = self._pytesseract()
        languages = "+".join(self._languages())
        seconds = deadline - time.monotonic()
        picture = picture.copy()
        picture.format = "PPM"  # How pytesseract hands it over; its usual PNG takes as long to write as to read.
        try:
            if seconds <= 0:
                raise RuntimeError("Tesseract process timeout")
            columns = pytesseract.image_to_data(
                picture, lang=languages, config=f"--psm {SPARSE} --dpi 300", output_type="dict", timeout=seconds
            )
        except pytesseract.TesseractNotFoundError as error:
            raise self._not_found() from error
        except SystemExit as error:  # pytesseract ends the process for a version that it can't make out.
            raise ReaderUnavailable(f"The program {self.command} is no tesseract of use: {error}.") from error
        except pytesseract.TesseractError as error:
            if "load any languages" in error.message:
                raise ReaderUnavailable(f"tesseract's data for {languages} is damaged: install it again.") from error
            raise ReaderFailed(f"tesseract failed on this picture: {error.message or error.status}") from error
        except RuntimeError as error:
            raise self._too_slow() from error
        except OSError as error:
            if time.monotonic() >= deadline:  # Before Linux 6.12 only the warden can kill it: see `confinement`.
                raise self._too_slow() from error
            raise ReaderUnavailable(f"tesseract's temporary files can't be written: {error}.") from error
        rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        return [row for row in rows if str(row["text"]).strip()]

    def _languages(self) -> tuple[str, ...]:
        """Return the wanted languages that are installed. Raises ReaderUnavailable."""
        if self._usable is None:
            installed = self._installed()
            usable = tuple(name for name in self.languages if name in installed)
            if not usable:
                raise ReaderUnavailable(
                    f"tesseract has no data for {', '.join(self.languages)}. {_how_to_install(self.languages)}"
                )
            self._usable = usable
        return self._usable

    def _installed(self) -> list[str]:
        """Return the languages that have data; pytesseract would wait for ever. Raises ReaderUnavailable."""
        try:
            asked = subprocess.run([self.command, "--list-langs"], capture_output=True, text=True, timeout=_ANSWERS_IN)
        except subprocess.TimeoutExpired as error:
            raise ReaderUnavailable(f"The program {self.command} hangs when asked for its languages.") from error
        except OSError as error:
            raise self._not_found() from error
        said = (line.strip() for line in (asked.stdout + asked.stderr).splitlines())
        return [line for line in said if _LANGUAGE.fullmatch(line)]

    def _pytesseract(self) -> Any:
        try:
            import pytesseract
        except ImportError as error:
            raise ReaderUnavailable("pytesseract is not installed. Run `pip install pytesseract`.") from error
        # One thread: more take three times as long for the same words.
        os.environ.setdefault("OMP_THREAD_LIMIT", "1")
        pytesseract.pytesseract.tesseract_cmd = self.command
        return pytesseract

    def _too_slow(self) -> ReaderTimeout:
        return ReaderTimeout(f"tesseract took more than {self.timeout:g} s over this picture.")

    def _not_found(self) -> ReaderUnavailable:
        return ReaderUnavailable(f"The program {self.command} can't be run. {_how_to_install(self.languages)}")


def _how_to_install(languages: Sequence[str]) -> str:
    packages = " ".join(f"tesseract-ocr-{name.replace('_', '-')}" for name in languages)
    return f"Debian and Ubuntu: apt-get install tesseract-ocr {packages}; macOS: brew install tesseract tesseract-lang."


def _dark_on_light(image: Image.Image) -> Image.Image:
    """Return the channel with the strongest contrast, stretched, and inverted where most of it is dark."""
    low, high = np.percentile(np.asarray(image).reshape(-1, 3), (2, 98), axis=0)
    grey = ImageOps.autocontrast(image.getchannel(int(np.argmax(high - low))), cutoff=1)
    return ImageOps.invert(grey) if np.median(np.asarray(grey)) < 128 else grey


def _joined(words: Sequence[Word]) -> list[Word]:
    """Make one word of neighbouring Chinese characters, which tesseract often spaces apart."""
    result: list[Word] = []
    for word in words:
        last = result[-1] if result else None
        if last and " " not in join_words([last.text, word.text]) and _gap(last, word) < max(last.box[3], word.box[3]):
            result[-1] = _merged(last, word)
        else:
            result.append(word)
    return result


def _gap(left: Word, right: Word) -> float:
    return right.box[0] - left.box[0] - left.box[2]


def _merged(one: Word, other: Word) -> Word:
    left, top, width, height = Line((one, other)).box
    return Word(one.text + other.text, (left, top, width, height), min(one.confidence, other.confidence), one.line)
