"""Full text in PostgreSQL: what is stored for an asset, and what a query asks for.

Lexemes come ready-made from `features.lexemes`; beside them stand the stems of PostgreSQL's own dictionaries, for
the languages that MEDIASEARCH["TEXT_CONFIGS"] names. An exact word therefore matches twice and ranks above a stem.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db.models.expressions import RawSQL

from mediasearch import conf
from mediasearch.features import lexemes

LONGEST = 100_000
"""Characters of one text that are searched; a tsvector may not pass 1 MB."""
MOST_WORDS = 32
"""Words of a question that are looked for."""
RANK_WEIGHTS = "{0.2, 0.5, 0.8, 1.0}"
"""ts_rank's weights for D, C, B, A: parts of words, words read in the picture, what people wrote, titles."""
PART_WEIGHT = "D"


def vector(parts: Iterable[tuple[str, str]], language: str) -> RawSQL:
    """Return the expression for a `text_vector`, from (text, weight letter A to C) pairs."""
    entries: list[str] = []
    stems: list[str] = []
    params: list[Any] = []
    at = 1
    for text, weight in parts:
        text = text.replace("\x00", "")[:LONGEST]
        for lexeme in lexemes.lexemes(text, at):
            at = lexeme.position + 1
            letter = PART_WEIGHT if lexeme.is_part else weight
            entries.append(f"'{lexeme.text}':{min(lexeme.position, lexemes.MOST_POSITIONS)}{letter}")
        for config in _configs(language) if text else []:
            stems.append(f" || setweight(to_tsvector(%s::regconfig, %s), '{weight}')")
            params += [config, text]
    sql = "%s::tsvector" + "".join(stems)
    return RawSQL(sql, (" ".join(entries), *params), SearchVectorField())  # noqa: S611 (texts are parameters)


@dataclass(frozen=True, slots=True)
class TextQuery:
    """What a question asks the text signal for."""

    sql: str
    """Selects `words`, a tsquery for each word that is matched by the word or its stem, and `query`, any of them."""
    params: tuple[Any, ...]
    words: tuple[str, ...]
    """The words, as they are compared."""


def query(text: str, language: str) -> TextQuery | None:
    """Return a query for each word of a question, stop words only when there is nothing else.

    A run of Chinese counts as its pairs of neighbours. None when the text holds no word at all.
    """
    terms = lexemes.terms(text)
    wanted = [term for term in terms if term.is_cjk or term.lexemes[0] not in lexemes.STOP_WORDS] or terms
    words = [(lexeme, term.is_cjk) for term in wanted for lexeme in term.lexemes][:MOST_WORDS]
    if not words:
        return None
    parts: list[str] = []
    params: list[Any] = []
    for word, is_cjk in words:
        configs = [] if is_cjk else _configs(language)
        parts.append(" || ".join(["%s::tsquery", *("plainto_tsquery(%s::regconfig, %s)" for _ in configs)]))
        params += [f"'{word}'", *(param for config in configs for param in (config, word))]
    choice = " || ".join(f"words[{number}]" for number in range(1, len(parts) + 1))
    sql = f"SELECT words, {choice} AS query FROM (SELECT ARRAY[{', '.join(parts)}] AS words) AS each_word"
    return TextQuery(sql, tuple(params), tuple(word for word, _ in words))


def _configs(language: str) -> list[str]:
    """The dictionaries for a language; for an unknown one, all that are set."""
    configs = conf.settings().text_configs
    if not language:
        return list(dict.fromkeys(configs.values()))
    return [configs[language]] if language in configs else []
