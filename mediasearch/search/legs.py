"""Where the candidates of a large scope come from: the seam for stores beyond one machine.

A leg finds assets by one field of vectors. What may be seen stays PostgreSQL's business: a leg returns nothing that is
not in the scope, and the engine scores what it returns on every signal, again within the scope.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from django.db.models import QuerySet
from numpy.typing import NDArray

from mediasearch.conf import Spec
from mediasearch.features.loading import Loads, loaded_property
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search.nearest import Found, nearest
from mediasearch.search.vectors import Vector

_FIRST, _TIMES = 4, 4
"""How many times as many as are wanted a store is asked for at first, and how many times as many each time after."""


class Leg(ABC):
    """Finds assets by a generation's `image` or `caption` vectors."""

    def __init__(self, generation: Generation, field: str) -> None:
        self.generation, self.field = generation, field

    @abstractmethod
    def candidates(self, vector: Vector, scope: QuerySet[Asset], number: int) -> list[Found]:
        """Return ids and cosines of the nearest assets of a scope, the nearest first; fewer only where there are fewer.

        `vector` has unit norm, shape (dimensions,), float32. Raises Unavailable where the store does not answer.
        """


class Postgres(Leg):
    """The site's own database: a small scope exactly, a large one through the HNSW index."""

    def candidates(self, vector: Vector, scope: QuerySet[Asset], number: int) -> list[Found]:
        (found,) = nearest(vector, [self.field], self.generation, scope, number)
        return found


class Store(Leg):
    """A store that knows vectors and ids, and nothing of who may see what: it is asked for more until enough are left.

    Subclasses say what is nearest in it, and how many vectors it holds.
    """

    @abstractmethod
    def nearest(self, vector: Vector, number: int) -> list[Found]:
        """Return ids and cosines of the nearest vectors, the nearest first. Raises Unavailable."""

    @abstractmethod
    def __len__(self) -> int: ...

    def candidates(self, vector: Vector, scope: QuerySet[Asset], number: int) -> list[Found]:
        asked, kept, judged = _FIRST * number, [], 0
        while True:
            found = self.nearest(vector, min(asked, len(self)))
            kept += self._visible(found[judged:], scope)
            judged = len(found)
            if len(kept) >= number or asked >= len(self):
                return kept[:number]
            asked *= _TIMES

    @staticmethod
    def _visible(found: list[Found], scope: QuerySet[Asset]) -> list[Found]:
        ids = set(scope.order_by().filter(pk__in=[pk for pk, _ in found]).values_list("pk", flat=True))
        return [(pk, score) for pk, score in found if pk in ids]


class Memory(Store):
    """All vectors in this process's memory, compared one by one: exact, and for small libraries and tests.

    It has what was there when it was first asked.
    """

    @loaded_property
    def _held(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows = Embedding.objects.filter(generation=self.generation, **{f"{self.field}__isnull": False})
        pairs: list[Any] = list(rows.order_by("asset_id").values_list("asset_id", self.field))
        ids = np.array([pk for pk, _ in pairs], dtype=np.int64)
        vectors = np.array([np.asarray(vector, dtype=np.float32) for _, vector in pairs], dtype=np.float32)
        return ids, vectors

    def nearest(self, vector: Vector, number: int) -> list[Found]:
        ids, vectors = self._held
        if not number:
            return []
        scores = vectors @ vector
        best = np.lexsort((ids, -scores))[:number]
        return [(int(ids[place]), float(scores[place])) for place in best]

    def __len__(self) -> int:
        return len(self._held[0])


def of(spec: Spec, generation: Generation, field: str) -> Leg:
    """Return the leg of a field, which may hold connections or much memory: one in a process. Raises ImproperlySet."""
    key = (spec.backend, repr(sorted(spec.options.items())), generation.pk, field)

    def load() -> Leg:
        if (leg := _legs.get(key)) is None:
            for other in [other for other in list(_legs) if other[2] != generation.pk]:
                _legs.pop(other, None)
            leg = _legs[key] = spec.load(generation, field)
        return leg

    leg = _legs.get(key)  # One that holds nothing is false.
    return _loads.share(key, load) if leg is None else leg


_legs: dict[tuple[str, str, int, str], Leg] = {}
_loads: Loads[Leg] = Loads()
