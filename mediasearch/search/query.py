"""What is asked: words and pictures, filters, weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time

from django.db.models import Q, QuerySet
from django.utils import timezone

from mediasearch import conf
from mediasearch.exceptions import QueryError
from mediasearch.features import hashing
from mediasearch.models import Asset
from mediasearch.search import fusion as fusions
from mediasearch.search.crops import Crop
from mediasearch.search.pictures import Given, Picture
from mediasearch.search.results import DEEPEST

LONGEST = 2_000
"""Characters of a question; no encoder reads further."""
MOST_PARTS = 8
"""Parts of a question that can be encoded together."""
SORTS = {
    "relevance": "",
    "date": "coalesce(a.taken_at, a.created_at)",
    "-date": "coalesce(a.taken_at, a.created_at) DESC",
    "title": "lower(a.title)",
    "-title": "lower(a.title) DESC",
    "size": "a.byte_size NULLS LAST",
    "-size": "a.byte_size DESC NULLS LAST",
}
"""What results can be sorted by, as SQL over an asset `a`. A question's best thousand are sorted, and no more."""
_FIRST_YEAR, _LAST_YEAR = 2, 9998
"""What a datetime holds in any time zone; no picture is older or younger."""
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL or UTF-8 has no place for."""


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

    def __post_init__(self) -> None:
        for what, value in (("category", self.category), *(("tag", tag) for tag in self.tags)):
            _check_words(f"A {what}", value)
        for what, day in (("after", self.after), ("before", self.before)):
            if day is not None and not isinstance(day, date):
                raise QueryError(f"`{what}` is a date or a datetime, not {type(day).__name__}.")

    def apply(self, assets: QuerySet[Asset]) -> QuerySet[Asset]:
        """Narrow a queryset."""
        if self.category:
            assets = assets.filter(category=self.category)
        if self.tags:
            assets = assets.filter(tags__contains=list(self.tags))
        if (self.after and self.after.year > _LAST_YEAR) or (self.before and self.before.year < _FIRST_YEAR):
            return assets.none()
        if self.after and self.after.year >= _FIRST_YEAR:
            since = _moment(self.after)
            assets = assets.filter(Q(taken_at__gte=since) | Q(taken_at=None, created_at__gte=since))
        if self.before and self.before.year <= _LAST_YEAR:
            last = _moment(self.before, time.max)
            assets = assets.filter(Q(taken_at__lte=last) | Q(taken_at=None, created_at__lte=last))
        return assets


@dataclass(frozen=True, slots=True)
class Part:
    """Words or a picture, added to a question with a weight, or subtracted with one below 0."""

    text: str = ""
    image: Given | None = field(default=None, repr=False)
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_words("A question", self.text)
        if bool(self.text.strip()) == (self.image is not None):
            raise QueryError("A part of a question is either words or a picture: give it one of the two.")
        if not conf.is_number(self.weight) or not conf.LIGHTEST <= abs(self.weight) <= conf.HEAVIEST:
            shown = isinstance(self.weight, float) or self.weight == 0  # Of an int with endless digits, its type.
            raise QueryError(
                f"A part's weight is a number from {conf.LIGHTEST:f} to {conf.HEAVIEST:,.0f}, or one below 0,"
                f" not {self.weight if shown else type(self.weight).__name__}."
            )


@dataclass(frozen=True, slots=True)
class Query:
    """A question, checked."""

    parts: tuple[Part, ...] = ()
    language: str = ""
    """ISO 639-1 code; "" where it is not known."""
    filters: Filters = field(default_factory=Filters)
    weights: Mapping[str, float] = field(default_factory=lambda: conf.settings().weights)
    fusion: str = field(default_factory=lambda: conf.settings().fusion)
    sort: str = "relevance"
    limit: int = 24
    offset: int = 0

    def __post_init__(self) -> None:
        for what, value in (("language", self.language), ("fusion", self.fusion), ("sort", self.sort)):
            _check_words(f"`{what}`", value)
        for what, number in (("limit", self.limit), ("offset", self.offset)):
            if not isinstance(number, int) or isinstance(number, bool):
                raise QueryError(f"`{what}` is an int, not {type(number).__name__}.")
        fusions.named(self.fusion, {})
        if len(self.parts) > MOST_PARTS:
            raise QueryError(f"This question has {len(self.parts)} parts; at most {MOST_PARTS} can be asked together.")
        if (length := sum(len(part.text) for part in self.parts)) > LONGEST:
            raise QueryError(f"This question has {length} characters; at most {LONGEST} can be asked.")
        if self.pictures and not self.weights["image"]:
            raise QueryError("A picture is compared by the image signal: give it a weight above 0.")
        if self.sort not in SORTS:
            raise QueryError(f"Results can be sorted by {', '.join(SORTS)}, not by {self.sort!r}.")
        if self.limit < 1 or self.offset < 0 or self.limit + self.offset > DEEPEST:
            raise QueryError(f"A search returns from 1 to {DEEPEST} hits: change limit or offset.")

    @property
    def text(self) -> str:
        """The words that are wanted, which full text looks for; those that are subtracted are not."""
        return " ".join(part.text for part in self.parts if part.text and part.weight > 0)

    @property
    def pictures(self) -> tuple[Part, ...]:
        """The parts that are pictures."""
        return tuple(part for part in self.parts if part.image is not None)

    @property
    def key(self) -> str:
        """What tells this question from another, whichever page of it is looked at."""
        said = [(part.text, part.weight, _content(part.image)) for part in self.parts]
        asked = (said, self.language, self.filters, sorted(self.weights.items()), self.fusion, self.sort)
        return hashlib.sha256(repr(asked).encode()).hexdigest()

    def asked_of(self, field: str) -> tuple[Part, ...]:
        """The parts that are compared with the `image` or `caption` vectors: pictures with the former only."""
        return self.parts if field == "image" else tuple(part for part in self.parts if part.text)


def _content(image: Given | None) -> str:
    if isinstance(image, Crop):
        return f"{image.box} of {_content(image.image)}"
    if isinstance(image, bytes):
        return hashing.content_hash(image)
    if isinstance(image, Asset):
        return f"asset {image.pk}"
    return image.vector.tobytes().hex() if isinstance(image, Picture) else repr(image)


def several(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags in a row. Raises QueryError."""
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise QueryError(f"`tags` are a list of str, not {type(tags).__name__}.")
    return tuple(tags)


def _check_words(what: str, words: object) -> None:
    """Return if these are words that a database can be asked for. Raises QueryError."""
    if not isinstance(words, str):
        raise QueryError(f"{what} is a str, not {type(words).__name__}.")
    if len(words) > LONGEST:
        raise QueryError(f"{what} has {len(words)} characters; at most {LONGEST} can be asked.")
    if _NO_TEXT.search(words):
        raise QueryError(f"{what} has something that is no text: take out NUL characters and surrogates.")


def _moment(day: date, clock: time = time.min) -> datetime:
    if not isinstance(day, datetime):
        day = datetime.combine(day, clock)
    return day if timezone.is_aware(day) else timezone.make_aware(day)
