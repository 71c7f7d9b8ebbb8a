"""Fake models in trouble: one is killed by a picture, some can be held, one is down while a file says so."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features.base import Question
from mediasearch.features.fake import FakeEncoder
from mediasearch.features.local import Local

POISON = (255, 0, 255)
"""The colour of a picture that kills whoever encodes it."""


class Poisoned(FakeEncoder):
    """Sends SIGKILL to its own process when it sees a poisonous picture; takes some time for each, as a real model."""

    def __init__(self, seconds: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        for image in images:
            time.sleep(self._seconds)
            if image.getpixel((0, 0)) == image.getpixel((image.width - 1, image.height - 1)) == POISON:
                _note("deaths", os.getpid())
                os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_images(images)


def place(name: str) -> Path:
    """Return the file of this name that all processes of an experiment share."""
    return Path(os.environ["MEDIASEARCH_DATA"], name)


def noted(name: str) -> list[str]:
    """Return what was noted under a name."""
    return place(name).read_text().splitlines() if place(name).exists() else []


def _note(name: str, what: object) -> None:
    with place(name).open("a") as file:
        file.write(f"{what}\n")


NO_WEIGHTS, NO_INFERENCE = "no-weights", "no-inference"


class Failing(FakeEncoder):
    """Can't be loaded while one file is there, and not be used while another is; that one says what it raises."""

    @property
    def fingerprint(self) -> str:
        if place(NO_WEIGHTS).exists():
            raise OSError("model.safetensors: Stale file handle")
        return super().fingerprint

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        flag = place(NO_INFERENCE)
        if flag.exists():
            raise (EncoderUnavailable if flag.read_text() == "unavailable" else RuntimeError)(
                "CUDA error: out of memory"
            )
        return super().encode_images(images)


HOLD, HELD, RELEASED = "hold", "held", "released"


class Holding(FakeEncoder):
    """Whichever process finds the file HOLD takes it away and stays in the midst of encoding until its own is gone."""

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        own = place(f"{HELD}-{os.getpid()}")
        with suppress(FileNotFoundError):
            place(HOLD).rename(own)
            _note(HELD, os.getpid())
            while own.exists():
                time.sleep(0.02)
            _note(RELEASED, os.getpid())
        return super().encode_images(images)


QUESTIONS = "questions"


class Speechless(FakeEncoder):
    """Encodes no question while a file says how: it raises, or hangs so many seconds, with words and pictures alike."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        _falter()
        return super().encode_texts(texts)

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        _falter()
        return super().encode_images(images)


CALIBRATES = "calibrates"


class Hesitant(Local):
    """Encodes questions as late as a file says, and notes who asked: where nobody searches, one that calibrates."""

    def encode_texts(self, question: Question, texts: Sequence[str]) -> NDArray[np.float32]:
        _note(CALIBRATES, os.getpid())
        _falter()
        return super().encode_texts(question, texts)


def _falter() -> None:
    how = noted(QUESTIONS)
    if how == ["raise"]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if how:
        time.sleep(float(how[0]))
