"""What is written about the assets: invented words, some common and most rare, as in any language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.data import CHUNK, CLUSTERS, TOPICS, Columns, zipf

VOCABULARY, TAGS = 20_000, 500
_CONSONANTS, _VOWELS = "bdfgklmnprtvz", "aeiou"
_SYLLABLES = [c + v for c in _CONSONANTS for v in _VOWELS]
_READ = 0.3
"""How many pictures have text in them."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What is written about one asset, and in it."""

    title: str
    caption: str
    tags: tuple[str, ...]
    ocr_text: str


def word(number: int) -> str:
    """Return the invented word of this number: two syllables and more."""
    base = len(_SYLLABLES)
    found = _SYLLABLES[number % base] + _SYLLABLES[number // base % base]
    return found if number < base**2 else found + _SYLLABLES[number // base**2 % base]


class Writer:
    """Writes the texts of a library, and the words of questions."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        rng = np.random.default_rng([columns.seed, 7])
        # Common words are anywhere; those of a topic are rarer, those of a cluster rarer still.
        self._of_topic = rng.integers(50, 2_000, size=(TOPICS, 40))
        self._of_cluster = rng.integers(200, VOCABULARY, size=(CLUSTERS, 20))
        self._tags_of_cluster = rng.integers(TAGS, size=(CLUSTERS, 4))
        self._words = np.array([word(number) for number in rng.permutation(VOCABULARY)], dtype=object)

    @cached_property
    def tags(self) -> list[str]:
        """All tags, the commonest first."""
        return [f"{self._words[number]}" for number in range(TAGS)]

    def write(self) -> Iterator[Texts]:
        """Return the texts of all assets, in order."""
        for first in range(0, self.columns.number, CHUNK):
            cluster = self.columns.cluster[first : first + CHUNK]
            rng = np.random.default_rng([self.columns.seed, 8, first])
            titles = np.hstack([self._about(cluster, 1, 1, rng), self._common(len(cluster), 1, rng)])
            captions = np.hstack([self._about(cluster, 3, 2, rng), self._common(len(cluster), 5, rng)])
            own = np.take_along_axis(self._tags_of_cluster[cluster], rng.integers(4, size=(len(cluster), 2)), 1)
            tags = np.hstack([own, rng.choice(TAGS, size=(len(cluster), 2), p=zipf(TAGS, 5))])
            read = np.where(rng.random(len(cluster)) < _READ, rng.integers(5, 30, size=len(cluster)), 0)
            written = self._common(len(cluster), 30, rng)
            for place in range(len(cluster)):
                yield Texts(
                    self._said(titles[place]),
                    self._said(captions[place]) if self.columns.captioned[first + place] else "",
                    tuple(dict.fromkeys(self._words[tags[place]])),
                    self._said(written[place, : read[place]]),
                )

    def ask(self, about: NDArray[np.int64]) -> list[str]:
        """Return the words of questions about these assets, no two alike: two of the cluster, one of the topic.

        Every fourth has a common word as well.
        """
        rng = np.random.default_rng([self.columns.seed, 9])
        words = self._about(self.columns.cluster[about], 2, 1, rng)
        common = self._common(len(about), 1, rng)
        asked: dict[str, None] = {}
        for place, (own, other) in enumerate(zip(words, common, strict=True)):
            chosen = dict.fromkeys([*own, *other] if place % 4 == 3 else own)
            while (text := self._said(np.array([*chosen]))) in asked:
                chosen[int(rng.integers(200, VOCABULARY))] = None
            asked[text] = None
        return list(asked)

    def _about(
        self, cluster: NDArray[np.int64], of_cluster: int, of_topic: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        own, wider = self._of_cluster[cluster], self._of_topic[self.columns.world.topic_of[cluster]]
        return np.hstack([
            np.take_along_axis(own, rng.integers(own.shape[1], size=(len(cluster), of_cluster)), 1),
            np.take_along_axis(wider, rng.integers(wider.shape[1], size=(len(cluster), of_topic)), 1),
        ])  # fmt: skip

    def _common(self, rows: int, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Words of any text, the first of the vocabulary most often."""
        return rng.choice(VOCABULARY, size=(rows, number), p=zipf(VOCABULARY, 10))

    def _said(self, numbers: NDArray[np.int64]) -> str:
        return " ".join(self._words[numbers])
