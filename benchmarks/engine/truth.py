"""What every search should return: the engine's formula over all assets of a scope, in plain NumPy.

Only the text scores are read from the database, by a statement that looks at every match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from django.db import connection
from django.db.models import QuerySet
from numpy.typing import NDArray

from benchmarks.engine import data
from benchmarks.engine.library import Library
from mediasearch.models import Asset

TOP = 10
"""Recall is counted over so many hits."""
_TIED = 1e-5
"""Scores as near as this are one: halves are added up in another order in the database."""
_TEXT = """
    SELECT id, coverage ^ 2 * quality, quality FROM (
        SELECT id, ({coverage}) / {number}::float8 AS coverage,
               ((1 + ts_rank('{{0.2, 0.5, 0.8, 1.0}}', text_vector, {any_word}, 1 | 32)) / 2)::float8 AS quality
        FROM mediasearch_asset WHERE text_vector @@ {any_word}) AS found
"""
Row = NDArray[np.float32]


@dataclass(frozen=True)
class Best:
    """The best places of a scope, and those that are as good as the last of them."""

    places: tuple[int, ...]
    accepted: frozenset[int]

    def recall(self, found: Sequence[int]) -> float:
        """The part of the best that is among places that were found; of an empty scope, all."""
        return len(self.accepted & {*found[: len(self.places)]}) / len(self.places) if self.places else 1.0


@dataclass(frozen=True)
class Texts:
    """The assets that a question's words match: their places, scores, and qualities."""

    places: NDArray[np.int64]
    scores: NDArray[np.float64]
    qualities: NDArray[np.float64]


class Truth:
    """The exact answers to a library's questions."""

    def __init__(self, library: Library, number: int) -> None:
        self.library, self.number = library, number
        self.words = [str(text) for text in library.asked["words"][:number]]
        self._texts: dict[int, Texts] = {}
        self._masks: dict[str, NDArray[np.bool_]] = {}

    @cached_property
    def image(self) -> Row:
        """How alike each question is to each picture: one row for each question."""
        return _alike(self.library.asked["text"][: self.number], self.library.image)

    @cached_property
    def caption(self) -> Row:
        alike = _alike(self.library.asked["text"][: self.number], self.library.caption)
        alike[:, ~self.library.columns.captioned] = np.nan
        return alike

    @cached_property
    def pictures(self) -> Row:
        """The same as `image`, for the pictures that are asked with."""
        return _alike(self.library.asked["picture"][: self.number], self.library.image)

    def mask(self, name: str, scope: QuerySet[Asset]) -> NDArray[np.bool_]:
        """Which places a scope holds; remembered under a name."""
        if name not in self._masks:
            mask = np.zeros(self.library.number, dtype=bool)
            mask[np.fromiter(scope.order_by().values_list("pk", flat=True).iterator(), dtype=np.int64) - 1] = True
            self._masks[name] = mask
        return self._masks[name]

    def texts(self, question: int) -> Texts:
        if question not in self._texts:
            self._texts[question] = _texts(self.words[question])
        return self._texts[question]

    def fused(self, question: int, mask: NDArray[np.bool_], weights: Mapping[str, float], window: int) -> Best:
        """The weighted sum of min-max normalised signals; one vector stands in for a missing other."""
        norms = {
            name: _normalised(getattr(self, name)[question], mask, window) if weights.get(name) else None
            for name in ("image", "caption")
        }
        score = np.zeros(self.library.number)
        for name, other in (("image", "caption"), ("caption", "image")):
            if (norm := norms[name]) is not None:
                filled = norm if norms[other] is None else np.where(np.isnan(norm), norms[other], norm)
                score += weights[name] * np.nan_to_num(filled)
        known = mask & np.any([~np.isnan(norm) for norm in norms.values() if norm is not None] or [~mask], axis=0)
        if weights.get("text"):
            texts = self.texts(question)
            inside = mask[texts.places]
            places, scores = texts.places[inside], texts.scores[inside]
            if len(places):
                whole = texts.qualities[inside][scores >= scores.max() - _TIED].max()
                score[places] += weights["text"] * scores / whole
                known[places[scores > 0]] = True
        return best(np.where(known, score, -np.inf))

    def alone(self, question: int, mask: NDArray[np.bool_], field: str) -> Best:
        """The nearest by one vector field."""
        alike = getattr(self, field)[question]
        return best(np.where(mask & ~np.isnan(alike), alike, -np.inf).astype(np.float64))

    def by_rank(self, lists: Sequence[NDArray[np.int64]], constant: int = 60) -> Best:
        """Reciprocal rank fusion of lists of places, best first."""
        score = np.full(self.library.number, -np.inf)
        for places in lists:
            before = np.where(np.isneginf(score[places]), 0.0, score[places])
            score[places] = before + 1.0 / (constant + 1 + np.arange(len(places)))
        return best(score, tied=1e-9)

    def nearest(self, question: int, mask: NDArray[np.bool_], field: str, number: int) -> NDArray[np.int64]:
        """So many places that are nearest by one field, best first."""
        alike = getattr(self, field)[question]
        score = np.where(mask & ~np.isnan(alike), alike, -np.inf)
        return _top(score, number)


def best(score: NDArray[np.float64], tied: float = _TIED) -> Best:
    """The ten best places by a score, of which minus infinity means that a place is none."""
    top = _top(score, TOP)
    if not len(top):
        return Best((), frozenset())
    accepted = np.flatnonzero(score >= score[top[-1]] - tied)
    return Best(tuple(top.tolist()), frozenset(accepted.tolist()))


def _top(score: NDArray[np.floating], number: int) -> NDArray[np.int64]:
    number = min(number, int(np.isfinite(score).sum()))
    if not number:
        return np.array([], dtype=np.int64)
    chosen = np.argpartition(-score, number - 1)[:number]
    return chosen[np.lexsort((chosen, -score[chosen]))]


def _normalised(alike: Row, mask: NDArray[np.bool_], window: int) -> NDArray[np.float64]:
    """Scores from 0, for the last of the best `window` and all behind it, to 1; NaN outside the scope."""
    score = np.where(mask, alike, np.nan).astype(np.float64)
    known = score[~np.isnan(score)]
    if not len(known):
        return score
    high, low = known.max(), np.partition(known, -min(window, len(known)))[-min(window, len(known))]
    return np.where(np.isnan(score), np.nan, 1.0) if high == low else np.maximum(0.0, (score - low) / (high - low))


def _alike(asked: NDArray[np.float32], vectors: NDArray[np.float16]) -> Row:
    """Inner products, of halves as they are stored and compared."""
    halves = asked.astype(np.float16).astype(np.float32)
    found = np.empty((len(halves), len(vectors)), dtype=np.float32)
    for first in range(0, len(vectors), data.CHUNK):
        lot = vectors[first : first + data.CHUNK].astype(np.float32)
        found[:, first : first + len(lot)] = halves @ lot.T
    return found


def _texts(text: str) -> Texts:
    """Score every match: a word by itself counts 1, one of its stem .6; squared, times a quality from ts_rank."""
    words = list(dict.fromkeys(text.split()))
    stemmed = [f"('''{word}'':ABC'::tsquery || to_tsquery('english', '{word}:ABC'))" for word in words]
    anywhere = " || ".join(f"({stem} || '''{word}'''::tsquery)" for word, stem in zip(words, stemmed, strict=True))
    coverage = " + ".join(
        f"CASE WHEN text_vector @@ '''{word}'':ABC'::tsquery THEN 1 WHEN text_vector @@ {stem} THEN 0.6 ELSE 0 END"
        for word, stem in zip(words, stemmed, strict=True)
    )
    with connection.cursor() as cursor:
        cursor.execute(_TEXT.format(coverage=coverage, number=len(words), any_word=f"({anywhere})"))
        rows = cursor.fetchall()
    places, scores, qualities = zip(*rows, strict=True) if rows else ((), (), ())
    return Texts(np.array(places, dtype=np.int64) - 1, np.array(scores, dtype=float), np.array(qualities, dtype=float))
