"""What is asked: words, a picture, filters, weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time

from django.db.models import Q, QuerySet
from django.utils import timezone

from mediasearch import conf
from mediasearch.exceptions import QueryError
from mediasearch.models import Asset
from mediasearch.search.pictures import Asked

LONGEST = 2_000
"""Characters of a question; no encoder reads further."""
DEEPEST = 1_000
"""Hits that can be reached by paging."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which assets are asked about; an empty value filters nothing."""

    category: str = ""
    tags: tuple[str, ...] = ()
    """All of these must be there."""
    after: date | None = None
    """The first day or moment, by the date a picture was taken, or else added."""
    before: date | None = None
    """The last day, included; a datetime is a moment, and included too."""

    def apply(self, assets: QuerySet[Asset]) -> QuerySet[Asset]:
        """Narrow a queryset."""
        if self.category:
            assets = assets.filter(category=self.category)
        if self.tags:
            assets = assets.filter(tags__contains=list(self.tags))
        if self.after:
            since = _moment(self.after)
            assets = assets.filter(Q(taken_at__gte=since) | Q(taken_at=None, created_at__gte=since))
        if self.before:
            last = _moment(self.before, time.max)
            assets = assets.filter(Q(taken_at__lte=last) | Q(taken_at=None, created_at__lte=last))
        return assets


@dataclass(frozen=True, slots=True)
class Query:
    """A question, checked."""

    text: str = ""
    picture: Asked | None = field(default=None, repr=False)
    language: str = ""
    """ISO 639-1 code; "" where it is not known."""
    filters: Filters = field(default_factory=Filters)
    weights: Mapping[str, float] = field(default_factory=lambda: conf.settings().weights)
    limit: int = 24
    offset: int = 0

    def __post_init__(self) -> None:
        if len(self.text) > LONGEST:
            raise QueryError(f"This question has {len(self.text)} characters; at most {LONGEST} can be asked.")
        if self.picture is not None and not self.weights["image"]:
            raise QueryError("A picture is compared by the image signal: give it a weight above 0.")
        if self.limit < 1 or self.offset < 0 or self.limit + self.offset > DEEPEST:
            raise QueryError(f"A search returns from 1 to {DEEPEST} hits: change limit or offset.")

    def asks(self, field: str) -> bool:
        """Whether there is anything to compare with the `image` or `caption` vectors."""
        return bool(self.text) or (field == "image" and self.picture is not None)


def _moment(day: date, clock: time = time.min) -> datetime:
    if not isinstance(day, datetime):
        day = datetime.combine(day, clock)
    return day if timezone.is_aware(day) else timezone.make_aware(day)
