"""All that one statement is made of: what is asked, of whom, and how it is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mediasearch.conf import BOOSTS
from mediasearch.fulltext import TextQuery
from mediasearch.models import Generation
from mediasearch.search.fusion import Fusion
from mediasearch.search.rarity import Few
from mediasearch.search.signals import Boost, Sql
from mediasearch.search.vectors import Vector

VECTORS = ("image", "caption")


@dataclass(frozen=True, slots=True)
class Request:
    """All that the statement depends on."""

    scope: Sql
    """Selects the ids that may be returned."""
    generation: Generation | None
    vectors: Mapping[str, Vector]
    text: TextQuery | None
    weights: Mapping[str, float]
    fusion: Fusion
    boost: Boost
    window: int
    """K: how many of each signal's best set the scale of normalisation, whichever page is asked for."""
    limit: int
    offset: int
    order: str = ""
    """SQL over an asset `a` that the best `deepest` are sorted by; "" for their scores."""
    deepest: int = 1_000
    few: Few | None = None
    """Which matches of the words the `hnsw` plan looks at; None for all."""
    all_scored: bool = False
    """Is every match to be scored, and not only those that are among the best K of a signal?"""

    @property
    def reach(self) -> int:
        """How many of each signal's best the `hnsw` plan looks at."""
        return max(self.window, self.limit + self.offset, self.deepest if self.order else 0)

    @property
    def is_narrow(self) -> bool:
        """Are the best K of each signal enough to rank? They nearly always are, and the statement says where not."""
        boosted = any(self.weights[name] for name in BOOSTS)
        return not (self.all_scored or boosted or self.reach > self.window)

    def dimensions(self, field: str) -> int:
        assert self.generation is not None
        return self.generation.dimensions if field == "image" else self.generation.caption_dimensions
