"""What a search returns: hits that say why, and how they were found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from mediasearch.models import Asset
    from mediasearch.search.pictures import Picture


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
    generation: int | None = None
    notices: tuple[Notice, ...] = ()
    words: tuple[str, ...] = ()
    """The words and stems that the text signal looked for."""
    uncoded: int = 0
    """Assets of the scope that have no image vector yet, where the plan looked at all of them."""
    picture: Picture | None = None
    """The picture that was asked with, to be asked with again without its file."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of each step."""


class Results:
    """Ranked hits; nothing runs until they are looked at."""

    def __init__(self, run: Callable[[], Outcome]) -> None:
        self._run = run

    @cached_property
    def outcome(self) -> Outcome:
        """How the search went."""
        return self._run()

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.outcome.hits)

    def __len__(self) -> int:
        return len(self.outcome.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.outcome.hits[index]

    @property
    def total(self) -> int:
        """How many assets match, these and those beyond the limit."""
        return self.outcome.total

    @property
    def degraded(self) -> tuple[Notice, ...]:
        """The signals that stepped aside; empty when all that were asked for answered."""
        return self.outcome.notices

    @property
    def picture(self) -> Picture | None:
        """The picture that was asked with; pass it as `image` to ask again without its file."""
        return self.outcome.picture

    @property
    def plan(self) -> str:
        return self.outcome.plan

    @property
    def timings(self) -> Mapping[str, float]:
        return self.outcome.timings

    def __repr__(self) -> str:
        return f"<Results: {len(self)} of {self.total} by {self.plan}>"
