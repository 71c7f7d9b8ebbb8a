"""People who search without a pause, and what each answer ought to have been."""

from __future__ import annotations

import io
import json
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.faults import uploads

THREADS, LIMIT, WORDS = 4, 24, 5
_EQUAL = 1e-3
"""Scores are computed from numbers of 16 bits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one search by the image signal returned."""

    text: str
    generation: int | None = None
    plan: str = ""
    scores: Mapping[int, float] = field(default_factory=dict)
    """By the number of the picture."""
    notice: str = ""
    error: str = ""

    @property
    def falls_short(self) -> bool:
        """Is anything missing that was there to be found?"""
        return not self.error and (len(self.scores) < LIMIT or bool(self.notice))

    @property
    def is_faulty(self) -> bool:
        return bool(self.error) or self.falls_short

    def is_of(self, spec: Mapping[str, Any]) -> list[bool]:
        """For each hit: is its score the one that an encoder gives?"""
        return [
            abs(score - _score(self.text, number, json.dumps(spec))) < _EQUAL for number, score in self.scores.items()
        ]


@dataclass
class Searching:
    """Threads that ask one question after another until they are told to stop, and keep every answer."""

    seed: int
    answers: list[Answer] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._run, args=[number], daemon=True) for number in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(30.0)

    def _run(self, number: int) -> None:
        from django.db import connections

        from mediasearch.features.fake import COLOURS

        chance = random.Random(f"{self.seed} {number}")
        while not self.over.is_set():
            self.answers.append(_ask(" ".join(chance.choices(list(COLOURS), k=WORDS))))
        connections.close_all()


def _ask(text: str) -> Answer:
    import mediasearch
    from mediasearch.models import Asset

    try:
        outcome = mediasearch.search(text, scope=Asset.objects.all(), weights={"image": 1.0}, limit=LIMIT).outcome
        scores = {int(hit.asset.title.split()[1]): hit.signals["image"].score for hit in outcome.hits}
    except Exception as error:  # Whatever it is: a visitor would have seen it.
        return Answer(text, error=f"{type(error).__name__}: {error}")
    notice = "; ".join(one.reason for one in outcome.notices)
    return Answer(text, outcome.generation, outcome.plan, scores, notice)


def _score(text: str, number: int, spec: str) -> float:
    return float(_question(text, spec) @ _picture(number, spec))


@lru_cache(100_000)
def _question(text: str, spec: str) -> NDArray[np.float32]:
    return _stored(_encoder(spec).encode_texts([text])[0])


@lru_cache(100_000)
def _picture(number: int, spec: str) -> NDArray[np.float32]:
    return _stored(_encoder(spec).encode_images([Image.open(io.BytesIO(uploads.picture(number)))])[0])


def _stored(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector.astype(np.float16).astype(np.float32)


def _encoder(spec: str) -> Any:
    from mediasearch.features import backends

    return backends.encoder(json.loads(spec))
