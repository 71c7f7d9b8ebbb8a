"""What a search returns: hits that say why, and how they were found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, overload

from django.utils.functional import cached_property

from mediasearch.features import lexemes

if TYPE_CHECKING:
    from mediasearch.models import Asset
    from mediasearch.search.facets import Facets
    from mediasearch.search.pictures import Picture

Box = tuple[float, float, float, float]
DEEPEST = 1_000
"""Hits that can be reached by offsets; cursors go on."""
_SHORTEST_START, _LONGEST_ENDING = 3, 3
"""Letters."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one signal says about a hit."""

    score: float
    """As the signal measures it: a cosine for vectors; for text, from 0 to 1, how much of the question matches."""
    normalized: float
    """From 0 to 1, over the best candidates of this search."""
    rank: int | None
    """1 is best; equal scores share a rank. None beyond the best that set the scale, and for boosts."""
    share: float
    """Its part of the hit's score, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One asset that was found."""

    asset: Asset
    score: float
    """The weighted sum of the normalised scores; where a picture has but one vector, it stands for both."""
    signals: Mapping[str, Evidence] = field(default_factory=dict)
    """By `image`, `caption`, `text`, `recency` and `popularity`; a signal without evidence is left out."""
    words: Mapping[str, str] = field(default_factory=dict)
    """The question's words that match, and how: `exact`, `stem`, or `part` of a longer word."""
    rerank: float | None = None
    """What the reranker gave it, where it judged this hit."""

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Where these words stand in the picture: left, top, width and height as fractions of it.

        Of a word that is there in another form only, where words stand that begin as it does.
        """
        read = [(tuple(word["box"]), _forms(word["text"])) for word in self.asset.ocr_words]
        found: list[Box] = []
        for word in self.words:
            boxes = [box for box, forms in read if word in forms]
            start = word[: max(_SHORTEST_START, len(word) - _LONGEST_ENDING)]
            found += boxes or [box for box, forms in read if any(form.startswith(start) for form in forms)]
        return tuple(dict.fromkeys(found))


def _forms(text: str) -> set[str]:
    return {lexeme.text for lexeme in lexemes.lexemes(text)}


@dataclass(frozen=True, slots=True)
class Notice:
    """A signal that stepped aside, and why; the others answered."""

    signal: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A search that has run."""

    hits: tuple[Hit, ...] = ()
    total: int = 0
    total_is_exact: bool = True
    plan: str = "none"
    """`exact`, `hnsw`, `newest` (nothing was asked) or `none` (an empty scope)."""
    retried: bool = False
    """Did the indexes return too few, so that the whole scope was scored after all?"""
    reranked: bool | None = None
    """Are the best in the reranker's order? None where none is set, or none was asked."""
    generation: int | None = None
    notices: tuple[Notice, ...] = ()
    words: tuple[str, ...] = ()
    """The words and stems that the text signal looked for."""
    uncoded: int = 0
    """Assets of the scope that have no image vector yet, where the plan looked at all of them."""
    picture: Picture | None = None
    """The picture that was asked with, to be asked with again without its file."""
    cursor: str | None = None
    """What asks for the hits that follow, where a search was begun with a cursor; None after the last."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of each step."""


class Asked(Protocol):
    """A question over a scope, which can be answered for any page of it."""

    def run(self, limit: int, offset: int) -> Outcome: ...
    def facets(self) -> Facets: ...


class Results:
    """Ranked hits; nothing runs until they are looked at.

    A slice beyond the limit that was asked for runs another statement, so Django's Paginator can page through them.
    Two threads that share one and look at the same moment run it twice: each search belongs to one thread.
    """

    def __init__(self, asked: Asked, limit: int, offset: int = 0) -> None:
        self._asked, self._limit, self._offset = asked, limit, offset

    # Django's: functools' would have all searches of a process wait for each other up to Python 3.11.
    @cached_property
    def outcome(self) -> Outcome:
        """How the search went."""
        return self._asked.run(self._limit, self._offset)

    @cached_property
    def facets(self) -> Facets:
        """What there is among the matches, to narrow the search by."""
        return self._asked.facets()

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.outcome.hits)

    def __len__(self) -> int:
        return len(self.outcome.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return self.outcome.hits[index]
        start, stop = index.start or 0, index.stop
        if stop is None or stop <= self._limit or min(start, stop) < 0 or index.step not in (None, 1):
            return self.outcome.hits[index]
        return self._asked.run(stop - start, self._offset + start).hits if stop > start else ()

    def count(self) -> int:
        """Return how many hits can be reached by slicing."""
        return min(self.total, DEEPEST)

    @property
    def total(self) -> int:
        """How many assets match, these and those beyond the limit; at least so many, where `total_is_exact` is not."""
        return self.outcome.total

    @property
    def total_is_exact(self) -> bool:
        return self.outcome.total_is_exact

    @property
    def degraded(self) -> tuple[Notice, ...]:
        """The signals that stepped aside, or that many pictures lack; empty when all that were asked for answered."""
        return self.outcome.notices

    @property
    def reranked(self) -> bool | None:
        """Are the best in the reranker's order? False where it did not answer in time; None where none was asked."""
        return self.outcome.reranked

    @property
    def picture(self) -> Picture | None:
        """The picture that was asked with; pass it as `image` to ask again without its file."""
        return self.outcome.picture

    @property
    def cursor(self) -> str | None:
        """What asks for the hits that follow: pass it as `cursor`. None after the last, and where none was begun."""
        return self.outcome.cursor

    @property
    def plan(self) -> str:
        return self.outcome.plan

    @property
    def timings(self) -> Mapping[str, float]:
        return self.outcome.timings

    def __repr__(self) -> str:
        return f"<Results: {len(self)} of {self.total} by {self.plan}>"
