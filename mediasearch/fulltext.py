"""Full text in PostgreSQL: what is stored for an asset, and what a query asks for.

Lexemes come ready-made from `features.lexemes`; beside them stand the stems of PostgreSQL's own dictionaries, for
the languages that MEDIASEARCH["TEXT_CONFIGS"] names. An exact word therefore matches twice and ranks above a stem.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeAlias

from django.contrib.postgres.search import SearchVectorField
from django.db.models.expressions import RawSQL

from mediasearch import conf
from mediasearch.features import lexemes

LONGEST = 100_000
"""Characters of one text that are searched."""
LARGEST = 2**20 - 1
"""Bytes that a tsvector may hold: of all its lexemes, and of all that its literal spells out, repeated or not."""
_LONGER_STEM = 2
"""Bytes by which a stem may be longer than its word."""
MOST_WORDS = 32
"""Words of a question that are looked for."""
RANK_WEIGHTS = "{0.2, 0.5, 0.8, 1.0}"
"""ts_rank's weights for D, C, B, A: parts of words, words read in the picture, what people wrote, titles."""
PART_WEIGHT, BY_ITSELF = "D", "ABC"


@dataclass(frozen=True, slots=True)
class Document:
    """The texts of an asset as they are searched, before PostgreSQL has stemmed them."""

    entries: str
    """A tsvector's literal: all words, with places and weights."""
    stemmed: tuple[tuple[str, str], ...]
    """Each text's weight, A to C, and its words that have a stem; the same weights for every asset."""
    configs: tuple[str, ...]
    """The dictionaries that stem them."""

    @property
    def expression(self) -> RawSQL:
        """The `text_vector` as an expression, for one row."""
        sql, params = vector_sql("%s", self.configs, [("%s", weight) for weight, words in self.stemmed if words])
        words = [words for _, words in self.stemmed if words for _ in self.configs]
        values = (self.entries, *(value for pair in zip(params, words, strict=True) for value in pair))
        return RawSQL(sql, values, SearchVectorField())  # noqa: S611 (texts are parameters)


def document(parts: Iterable[tuple[str, str]], language: str) -> Document:
    """Return what is searched of (text, weight letter A to C) pairs, in a language by its ISO code.

    What would not fit into a tsvector is left out, from the first word on for which there is no room.
    """
    configs = tuple(_configs(language))
    room = _Room(1 + len(configs))
    entries: list[str] = []
    stemmed: list[tuple[str, str]] = []
    at = 1
    for text, weight in parts:
        text = text.replace("\x00", "")[:LONGEST]
        found = [*takewhile(room.takes, lexemes.lexemes(text, at))]
        at = found[-1].position + 1 if found else at
        for lexeme in found:
            letter = PART_WEIGHT if lexeme.is_part else weight
            entries.append(f"'{lexeme.text}':{min(lexeme.position, lexemes.MOST_POSITIONS)}{letter}")
        stemmed.append((weight, " ".join(lexeme.text for lexeme in found if lexeme.has_stem)))
    return Document(" ".join(entries), tuple(stemmed), configs)


class _Room:
    """What is left of a tsvector."""

    def __init__(self, forms: int) -> None:
        self._forms = forms
        self._known: set[str] = set()
        self._stored = self._spelled = 0

    def takes(self, lexeme: lexemes.Lexeme) -> bool:
        """Count a lexeme with its stems, each as long as itself; return whether it still fits."""
        length = len(lexeme.text.encode())
        forms = self._forms if lexeme.has_stem else 1
        # As PostgreSQL aligns them: each with 2 bytes for the number of its places, and 2 for each place.
        new = 0 if lexeme.text in self._known else length + length % 2 + 2 + _LONGER_STEM * (forms - 1)
        self._known.add(lexeme.text)
        self._spelled += length
        self._stored += forms * (new + 2)
        return max(self._spelled, self._stored) <= LARGEST


def vector_sql(entries: str, configs: Sequence[str], texts: Sequence[tuple[str, str]]) -> tuple[str, list[str]]:
    """Return the SQL of a `text_vector` over expressions for the entries and for each (text, weight), and its configs.

    The configs are parameters: for each text in turn, one for each dictionary, before the text's own.
    """
    stems = [
        f" || setweight(to_tsvector(%s::regconfig, {text}), '{weight}')" for text, weight in texts for _ in configs
    ]
    return f"{entries}::tsvector{''.join(stems)}", [config for _ in texts for config in configs]


Form: TypeAlias = tuple[str, tuple[str, ...]]
"""A tsquery as SQL, with its parameters."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word that is looked for."""

    text: str
    exact: Form
    """The word by itself,"""
    stem: Form
    """also a word of the same stem,"""
    anywhere: Form
    """and also as a part of a longer word."""


@dataclass(frozen=True, slots=True)
class TextQuery:
    """What a question asks the text signal for."""

    words: tuple[Word, ...]

    @property
    def any_word(self) -> Form:
        """Any of the words, anywhere."""
        forms = [word.anywhere for word in self.words]
        return f"({' || '.join(sql for sql, _ in forms)})", tuple(param for _, params in forms for param in params)


def query(text: str, language: str) -> TextQuery | None:
    """Return a query for each word of a question, stop words only when there is nothing else.

    A run of Chinese counts as its pairs of neighbours, a code as itself and its parts. None when the text holds no
    word at all.
    """
    terms = lexemes.terms(text)
    wanted = [term for term in terms if term.is_cjk or term.lexemes[0] not in lexemes.STOP_WORDS] or terms
    words = [word for term in wanted for word in _words(term, _configs(language))][:MOST_WORDS]
    return TextQuery(tuple(words)) if words else None


def _words(term: lexemes.Term, configs: list[str]) -> list[Word]:
    whole, *parts = term.lexemes
    if term.is_cjk:
        return [Word(lexeme, *(_plain(lexeme),) * 3) for lexeme in term.lexemes]
    by_itself = _plain(whole, f":{BY_ITSELF}")
    stemmed = configs if whole.isalpha() else []
    stems = "".join(" || to_tsquery(%s::regconfig, %s)" for _ in stemmed)
    stem_params = tuple(param for config in stemmed for param in (config, f"{whole}:{BY_ITSELF}"))
    anywhere = _plain(whole)  # Also where it stands by itself; asked for twice, PostgreSQL would expect twice as many.
    whole_word = Word(
        whole,
        by_itself,
        (f"({by_itself[0]}{stems})", (*by_itself[1], *stem_params)),
        (f"({anywhere[0]}{stems})", (*anywhere[1], *stem_params)),
    )
    return [whole_word, *(Word(part, *(_plain(part),) * 3) for part in parts)]


def _plain(lexeme: str, weights: str = "") -> Form:
    return "%s::tsquery", (f"'{lexeme}'{weights}",)


def _configs(language: str) -> list[str]:
    """The dictionaries for a language; for an unknown one, all that are set."""
    configs = conf.settings().text_configs
    if not language:
        return list(dict.fromkeys(configs.values()))
    return [configs[language]] if language in configs else []
