"""How the scores of several signals become one: final = sum of weight * normalised score.

Each method is one formula, given twice: for lists, as other engines fuse them, with or without gaps; and as SQL over
one signal's column, its rank, and what the best K of it are like. On equal lists min-max equals Weaviate's relative
score fusion, DBSF Qdrant's, arctan Milvus's WeightedRanker for inner products and BM25, and RRF Qdrant's and Milvus's
(Qdrant counts places from 0, so its k is one more; its weights stretch ranks where these multiply the score).
"""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from typing import ClassVar, TypeVar

from mediasearch.exceptions import QueryError

Key = TypeVar("Key", bound=Hashable)
K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009)."""


class Fusion(ABC):
    """One way to normalise a signal's scores."""

    by_rank = False
    """Does it look at ranks, and not at scores?"""
    statistics: ClassVar[tuple[str, ...]] = ()
    """What its SQL needs of the best K scores: the ends `high` and `low`, their `mean`, their sample `spread`."""

    @property
    def counts_all(self) -> bool:
        """Does a score depend on how many others there are, and on what the worse of them are like?"""
        return self.by_rank or "mean" in self.statistics

    @abstractmethod
    def norms(self, scores: Mapping[Key, float], signal: str = "image") -> dict[Key, float]:
        """Return the normalised scores of one list; what is not in it contributes nothing."""

    @abstractmethod
    def sql(self, signal: str) -> str:
        """Return the same as SQL over `{signal}`, `{signal}_rank` and `{signal}_high`, `_low`, `_mean`, `_spread`."""

    def fuse(self, lists: Mapping[str, Mapping[Key, float]], weights: Mapping[str, float]) -> dict[Key, float]:
        """Return the fused scores of lists by signal."""
        fused: dict[Key, float] = {}
        for signal, scores in lists.items():
            for key, norm in self.norms(scores, signal).items():
                fused[key] = fused.get(key, 0.0) + weights[signal] * norm
        return fused


class MinMax(Fusion):
    """(s - low) / (high - low): the worst of the best K is 0, the best is 1; where all are equal, 1."""

    statistics = ("high", "low")

    def norms(self, scores: Mapping[Key, float], signal: str = "image") -> dict[Key, float]:
        low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
        return {key: 1.0 if high == low else (score - low) / (high - low) for key, score in scores.items()}

    def sql(self, signal: str) -> str:
        return (
            f"CASE WHEN {signal}_high = {signal}_low THEN 1"
            f" ELSE greatest(0, ({signal} - {signal}_low) / ({signal}_high - {signal}_low)) END"
        )


class DistributionBased(Fusion):
    """(s - (mean - 3 spread)) / (6 spread), not clamped; where all are equal, 0.5."""

    statistics = ("mean", "spread")

    def norms(self, scores: Mapping[Key, float], signal: str = "image") -> dict[Key, float]:
        values = list(scores.values())
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        mean = statistics.fmean(values) if values else 0.0
        return {key: 0.5 if not spread else (s - mean + 3 * spread) / (6 * spread) for key, s in scores.items()}

    def sql(self, signal: str) -> str:
        return (
            f"CASE WHEN coalesce({signal}_spread, 0) = 0 THEN 0.5"
            f" ELSE ({signal} - {signal}_mean + 3 * {signal}_spread) / (6 * {signal}_spread) END"
        )


class Arctan(Fusion):
    """1/2 + atan(s) / pi for vectors, 2 atan(s) / pi for text: the same in every search, whatever else is found."""

    def norms(self, scores: Mapping[Key, float], signal: str = "image") -> dict[Key, float]:
        if signal == "text":
            return {key: 2 * math.atan(score) / math.pi for key, score in scores.items()}
        return {key: 0.5 + math.atan(score) / math.pi for key, score in scores.items()}

    def sql(self, signal: str) -> str:
        return f"2 * atan({signal}) / pi()" if signal == "text" else f"0.5 + atan({signal}) / pi()"


class ReciprocalRank(Fusion):
    """1 / (60 + rank) for the best K, ranks counted from 1; equal scores share a rank."""

    by_rank = True

    def norms(self, scores: Mapping[Key, float], signal: str = "image") -> dict[Key, float]:
        ordered = sorted(scores.values(), reverse=True)
        ranks: dict[float, int] = {}
        for place, score in enumerate(ordered, start=1):
            ranks.setdefault(score, place)
        return {key: 1.0 / (K + ranks[score]) for key, score in scores.items()}

    def sql(self, signal: str) -> str:
        return f"coalesce(1.0::float8 / ({K} + {signal}_rank), 0)"


class Calibrated(Fusion):
    """(s - mean) / (6 spread), no less than 0, of what unrelated pictures get from questions of this kind.

    So scores can be compared between questions and models. `background` has a mean and a spread for each signal; one
    that was not calibrated is taken as it is.
    """

    def __init__(self, background: Mapping[str, tuple[float, float]]) -> None:
        self.background = background

    def norms(self, scores: Mapping[Key, float], signal: str = "image") -> dict[Key, float]:
        mean, spread = self.background.get(signal, (0.0, 1 / 6))
        return {key: max(0.0, (score - mean) / (6 * spread)) for key, score in scores.items()}

    def sql(self, signal: str) -> str:
        mean, spread = self.background.get(signal, (0.0, 1 / 6))
        return f"greatest(0, ({signal} - {float(mean)!r}::float8) / {6 * float(spread)!r}::float8)"


_PLAIN: dict[str, type[Fusion]] = {
    "minmax": MinMax,
    "dbsf": DistributionBased,
    "arctan": Arctan,
    "rrf": ReciprocalRank,
}
NAMES = (*_PLAIN, "calibrated")


def named(name: str, background: Mapping[str, tuple[float, float]]) -> Fusion:
    """Return a method by its name. Raises QueryError."""
    if name == "calibrated":
        return Calibrated(background)
    if name not in _PLAIN:
        raise QueryError(f"There is no fusion {name!r}; choose one of {', '.join(NAMES)}.")
    return _PLAIN[name]()
