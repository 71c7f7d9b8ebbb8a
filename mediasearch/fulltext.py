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
RANK_WEIGHTS = "{0.4, 0.6, 0.8, 1.0}"
"""ts_rank's weights for D, C, B, A: read in the picture, caption, tags and alt text, title."""


def vector(parts: Iterable[tuple[str, str]], language: str) -> RawSQL:
    """Return the expression for a `text_vector`, from (text, weight letter A to D) pairs."""
    entries: list[str] = []
    stems: list[str] = []
    params: list[Any] = []
    at = 1
    for text, weight in parts:
        text = text.replace("\x00", "")[:LONGEST]
        found, at = lexemes.positions(text, at)
        entries += [f"'{lexeme}':{min(position, lexemes.MOST_POSITIONS)}{weight}" for lexeme, position in found]
        for config in _configs(language) if text else []:
            stems.append(f" || setweight(to_tsvector(%s::regconfig, %s), '{weight}')")
            params += [config, text]
    sql = "%s::tsvector" + "".join(stems)
    return RawSQL(sql, (" ".join(entries), *params), SearchVectorField())  # noqa: S611 (texts are parameters)


@dataclass(frozen=True, slots=True)
class TextQuery:
    """A tsquery as SQL with parameters, and the words it looks for."""

    sql: str
    params: tuple[Any, ...]
    words: tuple[str, ...]


def query(text: str, language: str) -> TextQuery | None:
    """Return the tsquery for a question: any of its words, stop words only when there is nothing else.

    None when the text holds no word at all.
    """
    terms = lexemes.terms(text)
    wanted = [term for term in terms if term.is_cjk or term.lexemes[0] not in lexemes.STOP_WORDS] or terms
    if not wanted:
        return None
    clauses: list[str] = []
    params: list[Any] = []
    for term in wanted:
        for lexeme in term.lexemes:
            clauses.append("%s::tsquery")
            params.append(f"'{lexeme}'")
        if not term.is_cjk:
            for config in _configs(language):
                clauses.append("plainto_tsquery(%s::regconfig, %s)")
                params += [config, term.lexemes[0]]
    return TextQuery(f"({' || '.join(clauses)})", tuple(params), tuple(x for term in wanted for x in term.lexemes))


def _configs(language: str) -> list[str]:
    """The dictionaries for a language; for an unknown one, all that are set."""
    configs = conf.settings().text_configs
    if not language:
        return list(dict.fromkeys(configs.values()))
    return [configs[language]] if language in configs else []
