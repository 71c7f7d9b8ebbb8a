"""Text to searchable words, the same way when a text is stored and when it is asked for.

PostgreSQL's own parser takes a run of Chinese for one word and splits codes and addresses in its own fashion, so
words are cut here and handed over ready-made: Latin words folded to lower case without accents, Chinese, Japanese
and Korean as single characters and pairs of neighbours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
_TOKEN = re.compile(rf"(?P<cjk>[{_CJK}]+)|(?P<word>[^\W_{_CJK}]+)")
_IS_CJK = re.compile(rf"[{_CJK}]")
LONGEST = 80
"""Characters of a word that are kept; longer runs are noise, and a lexeme must stay under 2 kB."""
MOST_POSITIONS = 16_383
"""The last position a tsvector can hold."""
STOP_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "from", "has", "have", "in", "is", "it", "its",
    "of", "on", "or", "that", "the", "their", "there", "these", "this", "to", "was", "were", "which", "who", "with",
})  # fmt: skip
"""English words that a question is full of and that tell pictures apart only when nothing else is asked."""


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that was asked for: a word, or the neighbouring pairs of a run of Chinese."""

    lexemes: tuple[str, ...]
    is_cjk: bool = False


def fold(text: str) -> str:
    """Return the text in the form that is compared: compatibility forms unified, lower case, no accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFKC", bare)


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    for match in _TOKEN.finditer(fold(text)):
        yield match.group()[:LONGEST] if match["word"] else match.group(), bool(match["cjk"])


def positions(text: str, start: int = 1) -> tuple[list[tuple[str, int]], int]:
    """Return (lexeme, position) pairs of a text, and the position after the last.

    A run of n CJK characters takes n positions; the pair that starts at a character shares the character's position.
    """
    found: list[tuple[str, int]] = []
    at = start
    for token, is_cjk in _tokens(text):
        if not is_cjk:
            found.append((token, at))
            at += 1
            continue
        for index, character in enumerate(token):
            found.append((character, at))
            if index + 1 < len(token):
                found.append((token[index : index + 2], at))
            at += 1
    return found, at


def terms(text: str) -> list[Term]:
    """Return what a query text asks for, each term once, in order."""
    result: dict[Term, None] = {}
    for token, is_cjk in _tokens(text):
        if is_cjk and len(token) > 1:
            lexemes = tuple(token[i : i + 2] for i in range(len(token) - 1))
        else:
            lexemes = (token,)
        result[Term(lexemes, is_cjk)] = None
    return list(result)


def join_words(words: Sequence[str]) -> str:
    """Join the words of a line with spaces, except between two CJK characters."""
    line = ""
    for word in words:
        if line and not (_IS_CJK.match(line[-1]) and _IS_CJK.match(word[:1])):
            line += " "
        line += word
    return line
