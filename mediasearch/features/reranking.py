"""A reranker that reads: what is written about a picture and in it, against the words of the question.

A model of pictures takes a red bus beside a blue house for a blue bus beside a red one, and hardly reads numbers. Words
tell them apart: which of them are rare among the candidates, which stand beside one another, and which contradict.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from types import MappingProxyType

import snowballstemmer

from mediasearch.exceptions import ImproperlySet
from mediasearch.features import passages
from mediasearch.features.base import Candidate, Inquiry, Reranker
from mediasearch.features.claims import claims, contradicted, is_denied
from mediasearch.features.passages import Passage, Place
from mediasearch.features.vocabulary import is_filling, value

ENGLISH = MappingProxyType({"en": "english"})
MOST_TERMS = 32
"""Words of a question that are looked for."""
_STEM, _OTHER_WORD = 0.8, 0.9
"""What another word of the same stem counts, and another word for the same colour or number."""
_TELLING = 2.0
"""How many times as much a colour, a number and the like count as other words."""
_BACKWARDS = 0.4
"""What two neighbours count that stand the other way round."""
_FARTHEST = 6
"""Two words that are farther apart are no neighbours."""
_PREFIX = 3
"""Letters that words of the same stem begin with alike."""


class Features(Reranker):
    """Blends the first order's score with what the words of question and candidate say.

    `strength` is how much words weigh that speak for a candidate, where the best one's first score weighs 1;
    contradictions weigh 1, too: what says that it is another is not what was asked for. `stemmers` names a Snowball
    stemmer for each language code, as MEDIASEARCH["TEXT_CONFIGS"] does for PostgreSQL.
    """

    def __init__(self, strength: float = 0.2, stemmers: Mapping[str, str] = ENGLISH) -> None:
        if unknown := set(stemmers.values()) - set(snowballstemmer.algorithms()):
            known = ", ".join(sorted(snowballstemmer.algorithms()))
            raise ImproperlySet(f"There is no Snowball stemmer {', '.join(sorted(unknown))}; there are {known}.")
        if not strength > 0:
            raise ImproperlySet(f"The strength of Features must be above 0, not {strength!r}.")
        self.strength, self.stemmers = strength, dict(stemmers)

    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> list[float]:
        """Return the blended scores; without evidence, those of the first order."""
        best = max((candidate.score for candidate in candidates), default=0.0)
        first = [candidate.score / best if best > 0 else 0.0 for candidate in candidates]
        question = passages.of_question(inquiry.words)
        reading = _Reading(question, self._algorithms(inquiry.language))
        pages = [passages.of_candidate(candidate) for candidate in candidates]
        support, opposition = _supported(reading.support(pages), pages), reading.opposition(pages)
        return [
            score + self.strength * said - denied
            for score, said, denied in zip(first, support, opposition, strict=True)
        ]

    def _algorithms(self, language: str) -> tuple[str, ...]:
        """The stemmers of a language; of an unknown one, all that are set."""
        if not language:
            return tuple(dict.fromkeys(self.stemmers.values()))
        return (self.stemmers[language],) if language in self.stemmers else ()


class _Reading:
    """A question, and how far each of the candidates' texts is what it asks for."""

    def __init__(self, question: Passage, algorithms: tuple[str, ...]) -> None:
        self.algorithms = algorithms
        terms = question.terms[:MOST_TERMS]
        content = [term for term in terms if not is_filling(term[1])] or terms
        self.words = list(dict.fromkeys(form for _, form in content))
        self.pairs = [
            (one, other, there - here)
            for (here, one), (there, other) in pairwise(terms)
            if not (is_filling(one) and is_filling(other))
        ]
        self.claims = claims(question)
        self.denied = {form for at, form in terms if is_denied(question, at)}

    def support(self, pages: Sequence[Passage]) -> list[float]:
        """Return, from 0 to 1, how much of the question each text holds: its words, and its neighbours together."""
        forms = {*self.words, *(form for one, other, _ in self.pairs for form in (one, other))}
        places = [{form: self._find(form, page) for form in forms} for page in pages]
        rows = [
            ([max((place.strength for place in found[word]), default=0.0) for found in places], self._weight(word))
            for word in self.words
        ]
        rows += [
            (
                [_closeness(found[one], found[other], gap) for found in places],
                (self._weight(one) + self._weight(other)) / 2,
            )
            for one, other, gap in self.pairs
        ]
        weighed = [(row, weight * _rarity(row)) for row, weight in rows]
        total = sum(weight for _, weight in weighed)
        if not total:
            return [0.0] * len(pages)
        return [sum(row[n] * weight for row, weight in weighed) / total for n in range(len(pages))]

    def opposition(self, pages: Sequence[Passage]) -> list[float]:
        """Return, from 0 to 1, how much of what the question claims each text contradicts."""
        return [self._contradicted(page) / max(len(self.claims), 1) for page in pages]

    def _contradicted(self, page: Passage) -> float:
        return sum(contradicted(claim, page, partial(self._any, page=page)) for claim in self.claims)

    def _weight(self, word: str) -> float:
        if is_filling(word):
            return 0.5
        return _TELLING if value(word) else 1.0

    def _find(self, form: str, page: Passage) -> list[Place]:
        """Where a text has a word; not where it says that there is no such thing, unless the question does."""
        found = self._any(form, page)
        return found if form in self.denied else [place for place in found if not is_denied(page, place.at)]

    def _any(self, form: str, page: Passage) -> list[Place]:
        found = list(page.places.get(form, ()))
        if meant := value(form):
            found += [Place(place.at, _OTHER_WORD * place.strength) for place in page.values.get(meant, ())]
        elif not found and form.isalpha() and form.isascii():
            stems = _stems(form, self.algorithms)
            alike = (word for word in page.places if word[:_PREFIX] == form[:_PREFIX])
            others = [word for word in alike if stems & _stems(word, self.algorithms)]
            found = [Place(place.at, _STEM * place.strength) for word in others for place in page.places[word]]
        return sorted(found, key=lambda place: place.at)


def _supported(shares: Sequence[float], pages: Sequence[Passage]) -> list[float]:
    """Return how much words speak for each candidate: squared, as a few words of a long question say little.

    A picture without words has the benefit of the doubt: they tell the others apart, and put none of them before it.
    """
    best = max(shares, default=0.0)
    return [share**2 if page.heads else best**2 for share, page in zip(shares, pages, strict=True)]


def _rarity(row: Sequence[float]) -> float:
    """How much it says that a candidate has something: nothing where all have it. As BM25 counts it."""
    having = sum(row)
    return math.log(1 + (len(row) - having + 0.5) / (having + 0.5))


def _closeness(ones: Sequence[Place], others: Sequence[Place], gap: int) -> float:
    """Return, from 0 to 1, how near two words come to standing as they do in the question."""
    best = 0.0
    positions = [place.at for place in others]
    for one in ones:
        following = bisect_left(positions, one.at + 1)
        for other in others[max(following - 1, 0) : following + 1]:
            distance = other.at - one.at
            if 0 < abs(distance) <= _FARTHEST:
                near = 1 / (1 + abs(distance - gap)) if distance > 0 else _BACKWARDS / -distance
                best = max(best, near * min(one.strength, other.strength))
    return best


@lru_cache(4096)
def _stems(word: str, algorithms: tuple[str, ...]) -> frozenset[str]:
    return frozenset(snowballstemmer.stemmer(name).stemWord(word) for name in algorithms)
