"""The engine as a way of answering: through `mediasearch.search`, with what each step took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.test import override_settings

import mediasearch
from benchmarks.engine.asked import FINGERPRINT
from benchmarks.engine.library import Library
from benchmarks.engine.rounds import Ran
from benchmarks.engine.truth import TOP
from mediasearch.models import Asset
from mediasearch.search.pictures import Picture

EXACT, HNSW = 10**9, 1
"""What EXACT_SCOPE must be for one plan and for the other."""


@dataclass(frozen=True)
class Question:
    """How the engine is asked, all but the words."""

    library: Library
    scope: QuerySet[Asset]
    weights: Mapping[str, float] | None = None
    limit: int = TOP
    bound: int | None = None
    """EXACT_SCOPE, where it is not to be what the settings say."""
    by_picture: bool = False

    def ask(self, number: int) -> Ran:
        """Search, and return what was found and what it took: planning and ranking; with fetching, the whole."""
        asked = self.library.asked
        given: dict[str, Any] = {"scope": self.scope, "weights": self.weights, "limit": self.limit}
        if self.by_picture:
            given["image"] = Picture(FINGERPRINT, asked["picture"][number])
        words = "" if self.by_picture else str(asked["words"][number])
        with bounded(self.bound):
            started = time.perf_counter()
            outcome = mediasearch.search(words, **given).outcome
            whole = (time.perf_counter() - started) * 1e3
        if outcome.notices:
            raise SystemExit(f"A signal stepped aside: {outcome.notices[0].reason}")
        times = outcome.timings
        ms = sum(took for step, took in times.items() if step not in ("encode", "fetch"))
        places = tuple(hit.asset.pk - 1 for hit in outcome.hits)
        return Ran(places, ms, outcome.plan, whole - times.get("encode", 0.0))


@contextmanager
def bounded(bound: int | None) -> Iterator[None]:
    """Have scopes of at most so many assets answered exactly; None leaves it to the settings."""
    if bound is None:
        yield
        return
    with override_settings(MEDIASEARCH={**settings.MEDIASEARCH, "EXACT_SCOPE": bound}):
        yield
