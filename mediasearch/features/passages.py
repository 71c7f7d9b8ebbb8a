"""A text as words that stand at places, so that what stands beside what can be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from mediasearch.features.base import Candidate, Word
from mediasearch.features.lexemes import is_cjk, join_words, lexemes
from mediasearch.features.vocabulary import Value, value

LONGEST = 2_000
"""Characters of each text that are looked at."""
_NEXT_LINE, _NEXT_TEXT = 2, 20
"""How far apart the last word of a line or a text and the first of the next are; neighbours are 1 apart."""
_PART = 0.6
"""What a part of a longer word counts, where the word counts 1."""
_SMALL_PRINT = 0.6
"""What the smallest letters of a picture count, where the largest count 1."""

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a word stands, and how much it counts there."""

    at: int
    strength: float


@dataclass(frozen=True, slots=True)
class Passage:
    """Texts, one behind the other."""

    heads: Mapping[int, str]
    """The word, or the Chinese character, that begins at a place."""
    places: Mapping[str, tuple[Place, ...]]
    """Where each searchable form stands."""
    values: Mapping[Value, tuple[Place, ...]]
    """Where each of the things stands that exclude one another, in whichever words."""

    @classmethod
    def of(cls, texts: Iterable[tuple[str, float, int]]) -> Passage:
        """Make one of (text, strength, distance from the text before)."""
        heads: dict[int, str] = {}
        places: dict[str, list[Place]] = defaultdict(list)
        values: dict[Value, list[Place]] = defaultdict(list)
        end = 0
        for text, strength, distance in texts:
            for lexeme in lexemes(text[:LONGEST], end + distance):
                place = Place(lexeme.position, strength * (_PART if lexeme.is_part else 1))
                places[lexeme.text].append(place)
                if not lexeme.is_part:
                    heads.setdefault(lexeme.position, lexeme.text)
                    if (meant := value(lexeme.text)) is not None:
                        values[meant].append(place)
                end = max(end, lexeme.position)
        return cls(heads, _fixed(places), _fixed(values))

    @property
    def terms(self) -> list[tuple[int, str]]:
        """The words in order, each with its place, and of a run of Chinese the pairs of neighbours."""
        return list(self._terms())

    def _terms(self) -> Iterator[tuple[int, str]]:
        pairs = {place.at: form for form, places in self.places.items() if _is_pair(form) for place in places}
        for at, head in sorted(self.heads.items()):
            if not is_cjk(head):
                yield at, head
            elif at in pairs:
                yield at, pairs[at]
            elif at - 1 not in pairs:
                yield at, head


def of_question(words: str) -> Passage:
    """Return a question as a passage."""
    return Passage.of([(words, 1.0, 1)])


def of_candidate(candidate: Candidate) -> Passage:
    """Return all that is written about a candidate, and what is written in it."""
    written = (candidate.title, candidate.alt_text, candidate.caption, candidate.category, *candidate.tags)
    about = [(text, 1.0, _NEXT_TEXT) for text in written if text]
    lines = [(text, strength, _NEXT_LINE if n else _NEXT_TEXT) for n, (text, strength) in enumerate(_read(candidate))]
    return Passage.of([*about, *lines])


def _read(candidate: Candidate) -> Iterator[tuple[str, float]]:
    """The lines that were read in a picture; large letters say what it is about, small print says more."""
    lines: dict[int, list[Word]] = defaultdict(list)
    for word in candidate.words:
        lines[word.line].append(word)
    largest = max((_size(words) for words in lines.values()), default=0.0)
    length = 0
    for words in lines.values():
        if length > LONGEST:
            return
        text = join_words([word.text for word in words])
        length += len(text)
        relative = _size(words) / largest if largest else 1.0
        sure = sum(word.confidence for word in words) / len(words)
        yield text, sure * (_SMALL_PRINT + (1 - _SMALL_PRINT) * relative)


def _size(words: list[Word]) -> float:
    return max(word.box[3] for word in words)


def _is_pair(form: str) -> bool:
    return len(form) == 2 and is_cjk(form)


def _fixed(found: Mapping[_Key, list[Place]]) -> dict[_Key, tuple[Place, ...]]:
    return {key: tuple(places) for key, places in found.items()}
