"""Time several ways of answering side by side: shuffled, in turns, in one run, for a bounded time."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ran:
    """One answer: the places that were found, best first, and what it took."""

    places: tuple[int, ...]
    ms: float
    plan: str = ""
    whole: float = 0.0
    """Milliseconds with all that is around the statement, where there is more than the statement."""


Way = Callable[[int], Ran]
"""Answers the question of a number."""


@dataclass
class Times:
    """What one way took, and found."""

    runs: dict[int, list[Ran]] = field(default_factory=dict)

    @property
    def p50(self) -> float:
        return statistics.median(run.ms for runs in self.runs.values() for run in runs)

    @property
    def whole(self) -> float:
        return statistics.median(run.whole or run.ms for runs in self.runs.values() for run in runs)

    @property
    def plans(self) -> set[str]:
        return {run.plan for runs in self.runs.values() for run in runs}

    def answers(self) -> Iterable[tuple[int, Ran]]:
        """Each question with one answer to it."""
        return ((question, runs[-1]) for question, runs in self.runs.items())


def clocked(answer: Callable[[], Sequence[int]]) -> Ran:
    started = time.perf_counter()
    places = tuple(answer())
    return Ran(places, (time.perf_counter() - started) * 1e3)


def compare(
    ways: Mapping[str, Way], questions: Sequence[int], *, rounds: int = 3, seconds: float = 60.0, seed: int = 1
) -> dict[str, Times]:
    """Answer each question in each way, in every round in another order; what is done in time counts.

    The first question warms up every way. Each question that counts was answered in all ways.
    """
    chance = random.Random(seed)
    times = {name: Times() for name in ways}
    for way in ways.values():
        way(questions[0])
    end = time.monotonic() + seconds
    for turn in range(rounds):
        order = [*questions]
        chance.shuffle(order)
        for place, question in enumerate(order):
            if time.monotonic() > end and (turn or place):
                return times
            names = [*ways]
            chance.shuffle(names)
            for name in names:
                times[name].runs.setdefault(question, []).append(ways[name](question))
    return times


def ratio(one: Times, other: Times) -> float:
    """How many times as long one takes as the other, at the median."""
    return one.p50 / other.p50
