"""Text to searchable words, the same way when a text is stored and when it is asked for.

PostgreSQL's own parser takes a run of Chinese for one word and splits codes and addresses in its own fashion, so
words are cut here and handed over ready-made: Latin words folded to lower case without accents, Chinese, Japanese
and Korean as single characters and pairs of neighbours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
)
_WORD = rf"[^\W_{_CJK}]+"
_TOKEN = re.compile(rf"(?P<cjk>[{_CJK}]+)|{_WORD}(?:[-.,:;/_@&+'’–]{_WORD})*")
_PART = re.compile(r"[0-9]+|[^\W\d_]+|[^\W_]+")
_IS_CJK = re.compile(rf"[{_CJK}]")
VERSION = 1
"""Raise it when texts fold to other words: the rows that are stored are then folded again, some at a time."""
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
    """One thing that was asked for: a word and its parts, or the neighbouring pairs of a run of Chinese."""

    lexemes: tuple[str, ...]
    is_cjk: bool = False


def fold(text: str) -> str:
    """Return the text in the form that is compared: compatibility forms unified, lower case, no accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFKC", bare)


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A searchable form, and where it stands in the text."""

    text: str
    position: int
    is_part: bool = False
    """Is it a part of a longer word: the 40 of 2.40, the 1312 of A-1312/B?"""

    @property
    def has_stem(self) -> bool:
        """Is it a word that a dictionary may shorten, and no number, code or Chinese?"""
        return not self.is_part and self.text.isalpha() and not _IS_CJK.match(self.text)


def is_cjk(text: str) -> bool:
    """Does a text begin with a Chinese, Japanese or Korean character?"""
    return _IS_CJK.match(text) is not None


def lexemes(text: str, start: int = 1) -> list[Lexeme]:
    """Return the searchable forms of a text, with positions from `start`.

    A word of several parts, such as A-1312/B, 2.40, 10:00 or 5km, is there as a whole, as its parts, and as each pair
    of neighbouring parts; which signs divide the parts makes no difference. A run of n CJK characters takes n
    positions; the pair that starts at a character shares the character's position.
    """
    found: list[Lexeme] = []
    at = start
    for match in _TOKEN.finditer(fold(text)):
        if match["cjk"]:
            run = match["cjk"]
            for index in range(len(run)):
                found += [
                    Lexeme(run[index : index + length], at + index) for length in (1, 2) if index + length <= len(run)
                ]
            at += len(run)
            continue
        parts = _parts(match.group())
        found.append(Lexeme(_joined(parts), at))
        if len(parts) > 1:
            found += [Lexeme(part, at + index, is_part=True) for index, part in enumerate(parts)]
            pairs = pairwise(parts) if len(parts) > 2 else ()
            found += [Lexeme(_joined(pair), at + index, is_part=True) for index, pair in enumerate(pairs)]
        at += len(parts)
    return found


def terms(text: str) -> list[Term]:
    """Return what a query text asks for, each term once, in order."""
    result: dict[Term, None] = {}
    for match in _TOKEN.finditer(fold(text)):
        if run := match["cjk"]:
            pairs = tuple(run[i : i + 2] for i in range(len(run) - 1))
            result[Term(pairs or (run,), is_cjk=True)] = None
        else:
            parts = _parts(match.group())
            result[Term((_joined(parts), *parts) if len(parts) > 1 else (parts[0],))] = None
    return list(result)


def _parts(word: str) -> list[str]:
    return [part[:LONGEST] for part in _PART.findall(word)]


def _joined(parts: Sequence[str]) -> str:
    return "-".join(parts)[:LONGEST]


def join_words(words: Sequence[str]) -> str:
    """Join the words of a line with spaces, except between two CJK characters."""
    line = ""
    for word in words:
        if line and not (_IS_CJK.match(line[-1]) and _IS_CJK.match(word[:1])):
            line += " "
        line += word
    return line
