"""Which languages a text can be in, judged by its script alone.

Latin letters could be any of a hundred languages, so they count as readable by every encoder; what is caught is
the case that ruins results: Chinese given to an English model.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_LANGUAGES = {
    "CJK": {"zh", "ja"},
    "HIRAGANA": {"ja"},
    "KATAKANA": {"ja"},
    "HANGUL": {"ko"},
    "CYRILLIC": {"ru", "uk", "bg", "sr", "mk", "be", "kk", "mn"},
    "GREEK": {"el"},
    "ARABIC": {"ar", "fa", "ur", "ps"},
    "HEBREW": {"he", "yi"},
    "DEVANAGARI": {"hi", "mr", "ne"},
    "BENGALI": {"bn"},
    "TAMIL": {"ta"},
    "TELUGU": {"te"},
    "THAI": {"th"},
    "GEORGIAN": {"ka"},
    "ARMENIAN": {"hy"},
}


def _(text: str) -> str:
    """Mark a text for translation, which whoever shows it does."""
    return text


NAMES = {
    "en": _("English"),
    "zh": _("Chinese"),
    "ja": _("Japanese"),
    "ko": _("Korean"),
    "ru": _("Russian"),
    "de": _("German"),
    "fr": _("French"),
    "es": _("Spanish"),
    "it": _("Italian"),
    "pt": _("Portuguese"),
    "ar": _("Arabic"),
    "el": _("Greek"),
    "he": _("Hebrew"),
    "hi": _("Hindi"),
    "th": _("Thai"),
}


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    return unicodedata.name(character, "UNKNOWN").split(" ", 1)[0].split("-", 1)[0]


def unread(text: str, languages: frozenset[str] | None) -> str | None:
    """Return a language of the text that is not among `languages` (ISO 639-1 codes; None means any), or None."""
    if languages is None:
        return None
    for character in text:
        if character.isascii() or not character.isalpha():
            continue
        candidates = _LANGUAGES.get(_script(character))
        if candidates and not candidates & languages:
            return "zh" if "zh" in candidates else min(candidates)
    return None


def readable(text: str, languages: frozenset[str] | None) -> str:
    """Return the lines of a text that an encoder of these languages can read."""
    return "\n".join(line for line in text.splitlines() if line.strip() and unread(line, languages) is None)


def name(code: str) -> str:
    """Return the English name of a language code, for messages."""
    return NAMES.get(code, code)
