"""Which matches of a question's words are worth looking at where there are many.

Every match costs: its text is read, and ranked. One common word brings nearly all of them, and they are the worst ones:
a picture that has but one word of three gets a ninth of the text score. So where many are expected, those are looked at
that have a rare word or two of the others, and the most that any other can score is known.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from mediasearch.fulltext import Form, TextQuery, Word
from mediasearch.models import Asset
from mediasearch.search import size
from mediasearch.search.signals import Sql, params

MANY = 4_000
"""Matches that are looked at without a second thought."""
_PAIRED = 4
"""Words of which any two are looked for."""
_KNOWN_FOR = 600.0
"""Seconds for which it is remembered how common a word is."""


@dataclass(frozen=True, slots=True)
class Few:
    """Some of the matches."""

    query: Sql
    """Finds them, as a tsquery."""
    missed: float
    """The most of the text score, from 0 to 1, that a match can get which is not among them."""


def few(text: TextQuery, using: str) -> Few | None:
    """Return what finds the better matches; None where all are to be looked at."""
    if len(text.words) < 2:
        return None
    expected = sorted(zip(_expected(text, using), range(len(text.words)), strict=True))
    if sum(number for number, _ in expected) <= MANY:
        return None
    return _chosen([(number, text.words[place]) for number, place in expected])


def _chosen(words: Sequence[tuple[float, Word]]) -> Few | None:
    """Choose from words with their numbers of matches, the rarest first."""
    total, rare = 0.0, 0
    while total + words[rare][0] <= MANY:
        total += words[rare][0]
        rare += 1
    common = [Sql(*word.anywhere) for _, word in words[rare:]]
    forms = [Sql(*word.anywhere) for _, word in words[:rare]]
    forms += [
        Sql(f"({one.text} && {other.text})", (*one.params, *other.params))
        for one, other in combinations(common[:_PAIRED], 2)
    ]
    missed = (1 + max(0, len(common) - _PAIRED)) / len(words)
    return Few(Sql(f"({' || '.join(form.text for form in forms)})", params(forms)), missed**2)


def _expected(text: TextQuery, using: str) -> list[float]:
    """How many matches PostgreSQL expects of each word: a tenth of a millisecond for each that was not asked lately."""
    period = int(time.monotonic() // _KNOWN_FOR)
    return [_expected_of(word.anywhere, using, period) for word in text.words]


@lru_cache(maxsize=20_000)
def _expected_of(form: Form, using: str, _period: int) -> float:
    sql, given = form
    return size.estimated(Sql(f"SELECT FROM {Asset._meta.db_table} WHERE text_vector @@ {sql}", given), using)
