"""Each signal as SQL over an asset `a` and its embedding `e`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mediasearch.fulltext import RANK_WEIGHTS, TextQuery, Word

STEM, PART = 0.6, 0.3
"""What a word of the same stem counts, and a part of a longer word; a word by itself counts 1."""


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL text with its parameters, in order."""

    text: str
    params: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Boost:
    """What makes a picture count more whatever is asked."""

    recency_days: float
    """The age at which recency counts half."""
    popular: float
    """The popularity that counts half."""


def params(parts: Iterable[Sql]) -> tuple[Any, ...]:
    """Return the parameters of parts that follow each other."""
    return tuple(param for part in parts for param in part.params)


def any_word(text: TextQuery) -> Sql:
    return Sql(*text.any_word)


def coverage(text: TextQuery) -> Sql:
    """The share of the question's words that match, from 0 to 1; squared and times a quality it is the text score.

    So one word of a long sentence is weak evidence, and all of a short question strong, whatever else there is.
    """
    counted = [_counted(word) for word in text.words]
    return Sql(f"(({' + '.join(part.text for part in counted)}) / {len(counted)}::float8)", params(counted))


def _counted(word: Word, worths: tuple[Any, ...] = (1.0, STEM, PART), nothing: str = "0") -> Sql:
    forms = list(zip((word.exact, word.stem, word.anywhere), worths, strict=True))
    distinct = [form for place, form in enumerate(forms) if form[0] not in [other for other, _ in forms[:place]]]
    cases = " ".join(f"WHEN a.text_vector @@ {sql} THEN {worth}" for (sql, _), worth in distinct)
    return Sql(f"CASE {cases} ELSE {nothing} END", tuple(param for (_, params), _ in distinct for param in params))


def quality(text: TextQuery) -> Sql:
    """How good the match is, from .5 to 1, by ts_rank."""
    anything = any_word(text)
    rank = f"ts_rank('{RANK_WEIGHTS}', a.text_vector, {anything.text}, 1 | 32)"
    return Sql(f"((1 + {rank}) / 2)::float8", anything.params)


def boosts(boost: Boost) -> dict[str, Sql]:
    """From 0 to 1, the same in every search: half at a set age, half at a set popularity."""
    age = "greatest(0, extract(epoch FROM now() - coalesce(a.taken_at, a.created_at)) / 86400)::float8"
    return {
        "recency": Sql(f"(0.5 ^ least(1000, {age} / %s::float8))", (boost.recency_days,)),
        "popularity": Sql("(a.popularity / (a.popularity + %s::float8))", (boost.popular,)),
    }


def matched_words(text: TextQuery) -> Sql:
    """How each word matches, in the question's order: `exact`, `stem`, `part`, or nothing."""
    words = [_counted(word, ("'exact'", "'stem'", "'part'"), "NULL") for word in text.words]
    return Sql(f"ARRAY[{', '.join(word.text for word in words)}]::text[]", params(words))
