"""A library with its truths, its recipes and its bars: what every row is measured with."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bars import Bars
from benchmarks.engine.asking import HNSW, Question
from benchmarks.engine.figures import Figures
from benchmarks.engine.filters import Filter
from benchmarks.engine.library import Library
from benchmarks.engine.recipes import Recipes
from benchmarks.engine.rounds import Times, Way, compare
from benchmarks.engine.truth import TOP, Best, Truth
from mediasearch import conf

QUESTIONS, FEW = 100, 4
"""How many questions recall is counted over, and in the short form."""


@dataclass(frozen=True)
class Bench:
    """A library, what it should answer, and where figures go."""

    library: Library
    truth: Truth
    recipes: Recipes
    bars: Bars
    figures: Figures
    short: bool

    @classmethod
    def over(cls, library: Library, bars: Bars, figures: Figures, *, short: bool) -> Bench:
        truth = Truth(library, FEW if short else QUESTIONS)
        return cls(library, truth, Recipes(library, truth), bars, figures, short)

    def some(self, number: int) -> list[int]:
        """The first questions, so many or, in the short form, a few."""
        return list(range(min(number, self.truth.number)))

    def of(self, values: Sequence[int]) -> Sequence[int]:
        """All values or, in the short form, every other one."""
        return values[::2] if self.short else values

    def compare(
        self, ways: Mapping[str, Way], number: int, *, rounds: int = 3, seconds: float = 60.0
    ) -> dict[str, Times]:
        """Answer the first questions in several ways, in turns; the short form only looks at what is found."""
        return compare(ways, self.some(number), rounds=1 if self.short else rounds, seconds=seconds)

    def best(self, question: int, narrowed: Filter, weights: Mapping[str, float] | None = None) -> Best:
        mask = self.truth.mask(narrowed.name, narrowed.scope)
        chosen = conf.settings().weights if weights is None else weights
        return self.truth.fused(question, mask, chosen, max(conf.settings().candidates, TOP))

    def ask(self, narrowed: Filter, weights: Mapping[str, float] | None = None, **how: Any) -> Question:
        return Question(self.library, narrowed.scope, weights, **how)

    def recall(self, times: Times, best: Callable[[int], Best]) -> float:
        return statistics.fmean(best(question).recall(ran.places) for question, ran in times.answers())

    def everywhere(self, narrowed: Filter, weights: Mapping[str, float] | None = None, **how: Any) -> Question:
        """A question for the indexes, also where the library is so small that the engine would look at all of it."""
        small = self.library.number <= conf.settings().exact_scope
        return self.ask(narrowed, weights, bound=HNSW if small else None, **how)

    def keep(self, name: str, value: float) -> float:
        return self.figures.keep(name, value)
