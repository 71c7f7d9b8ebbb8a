"""A question's words and pictures as vectors; what can't be computed steps aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from django.utils.translation import gettext

from mediasearch.exceptions import Crowded, Unavailable
from mediasearch.features import language, patience
from mediasearch.models import Generation
from mediasearch.search import pictures, vectors
from mediasearch.search.pictures import Picture
from mediasearch.search.query import Part, Query
from mediasearch.search.request import VECTORS
from mediasearch.search.results import Notice
from mediasearch.search.vectors import Vector

_UNIT, _NOTHING = 1e-3, 1e-4


@dataclass(frozen=True, slots=True)
class Vectors:
    """The query vectors of a generation's two fields; None where a signal stepped aside, and then why."""

    image: Vector | None = None
    caption: Vector | None = None
    picture: Picture | None = None
    """The first picture that was asked with."""
    notices: tuple[Notice, ...] = ()

    @property
    def found(self) -> dict[str, Vector]:
        """Those that there are, by field."""
        both = {"image": self.image, "caption": self.caption}
        return {name: vector for name, vector in both.items() if vector is not None}


@patience.shared()
def encode(query: Query, generation: Generation | None) -> Vectors:
    """Return the vectors for a query; a signal that can't be computed steps aside with a notice.

    Each field is asked with the weighted sum of its parts' unit vectors, scaled to length 1; a part that can't be
    computed is left out, and a notice says why. All parts together wait for the encoder no longer than one. Pictures
    are not compared with captions: asked with one that is in the library, a search must find that one first, and nobody
    knows how well its caption says what it shows. Raises PictureRefused.
    """
    fields = [name for name in VECTORS if query.weights[name] > 0 and query.asked_of(name)]
    if generation is None:
        reason = gettext("No picture has been encoded yet: an embed worker makes the first generation when it starts.")
        return Vectors(notices=tuple(Notice(name, reason) for name in fields))
    found: dict[str, Vector] = {}
    notices: list[Notice] = []
    seen: list[Picture] = []
    failed: dict[tuple[str, bool], Unavailable] = {}
    for name in fields:
        own = name == "caption" and generation.caption_encoder is not None
        parts: list[Vector] = []
        for part in query.asked_of(name):
            try:
                if fault := failed.get((part.text, own)):  # It was the same question to the same encoder.
                    raise fault
                parts.append(_part(part, name, query, generation, seen))
            except Unavailable as error:
                if part.text:
                    failed[part.text, own] = error
                notices.append(Notice(name, reason_of(error)))
        if parts and (total := _sum(parts)) is not None:
            found[name] = total
        elif parts:
            reason = gettext("The parts of this question cancel each other out. Change their weights.")
            notices.append(Notice(name, reason))
    return Vectors(**found, picture=seen[0] if seen else None, notices=tuple(dict.fromkeys(notices)))


def reason_of(error: Unavailable) -> str:
    """Return the sentence for whoever asked why something could not be encoded."""
    if isinstance(error, Crowded):
        return gettext("Many questions came from you at once, and this one was not encoded. Ask again in a moment.")
    return str(error)


def _part(part: Part, name: str, query: Query, generation: Generation, seen: list[Picture]) -> Vector:
    """Return a part's unit vector times its weight. Raises PictureRefused, Unavailable."""
    if part.image is not None:
        picture = pictures.look(cast(pictures.Asked, part.image), generation)  # A Query has read the files.
        seen.append(picture)
        return picture.vector * np.float32(part.weight)
    if reason := _unreadable(part.text, query.language, generation.reads(name)):
        raise Unavailable(reason)
    return vectors.of_words(part.text.strip(), generation, name) * np.float32(part.weight)


def _sum(parts: Sequence[Vector]) -> Vector | None:
    """Return the sum, scaled to length 1; None where nothing remains of it."""
    total: Vector = parts[0] if len(parts) == 1 else np.sum(parts, axis=0, dtype=np.float32)
    length = float(np.linalg.norm(total))
    if length < _NOTHING * max(float(np.linalg.norm(part)) for part in parts):
        return None
    return total if abs(length - 1) < _UNIT else total / np.float32(length)


def _unreadable(text: str, spoken: str, languages: frozenset[str] | None) -> str:
    asked = spoken if languages is not None and spoken not in languages else ""
    foreign = asked or language.unread(text, languages)
    if not foreign:
        return ""
    known = ", ".join(gettext(language.name(code)) for code in sorted(languages or ()))
    reason = gettext("The encoder reads %(known)s; this question is in %(foreign)s.")
    return reason % {"known": known, "foreign": gettext(language.name(foreign))}
