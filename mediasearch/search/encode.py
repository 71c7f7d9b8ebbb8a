"""A question's words and picture as vectors; what can't be computed steps aside."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.utils.translation import gettext

from mediasearch.exceptions import Unavailable
from mediasearch.features import language
from mediasearch.models import Generation
from mediasearch.search import pictures, vectors
from mediasearch.search.pictures import Picture
from mediasearch.search.query import Query
from mediasearch.search.results import Notice
from mediasearch.search.vectors import Vector


@dataclass(frozen=True, slots=True)
class Vectors:
    """The query vectors of a generation's two fields; None where a signal stepped aside, and then why."""

    image: Vector | None = None
    caption: Vector | None = None
    picture: Picture | None = None
    """The picture that was asked with, where there is one: its vector is then `image`."""
    notices: tuple[Notice, ...] = ()


def encode(query: Query, generation: Generation | None) -> Vectors:
    """Return the vectors for a query; a signal that can't be computed steps aside with a notice.

    A picture stands for the image signal, and words that are asked along with it for the others. The caption signal
    does without a picture: asked with one that is in the library, a search must find that one first, and nobody knows
    how well its caption says what it shows. Raises PictureRefused.
    """
    fields = [name for name in ("image", "caption") if query.weights[name] > 0 and query.asks(name)]
    if generation is None:
        reason = gettext("No picture has been encoded yet: an embed worker makes the first generation when it starts.")
        return Vectors(notices=tuple(Notice(name, reason) for name in fields))
    found = Vectors()
    for name in fields:
        try:
            found = _with(found, name, query, generation)
        except Unavailable as error:
            found = replace(found, notices=(*found.notices, Notice(name, str(error))))
    return found


def _with(found: Vectors, name: str, query: Query, generation: Generation) -> Vectors:
    """Return the vectors with one more. Raises PictureRefused, Unavailable."""
    if name == "image" and query.picture is not None:
        picture = pictures.look(query.picture, generation)
        return replace(found, image=picture.vector, picture=picture)
    if reason := _unreadable(query, generation.reads(name)):
        return replace(found, notices=(*found.notices, Notice(name, reason)))
    vector = vectors.of_words(query.text, generation, name)
    return replace(found, image=vector) if name == "image" else replace(found, caption=vector)


def _unreadable(query: Query, languages: frozenset[str] | None) -> str:
    asked = query.language if languages is not None and query.language not in languages else ""
    foreign = asked or language.unread(query.text, languages)
    if not foreign:
        return ""
    known = ", ".join(gettext(language.name(code)) for code in sorted(languages or ()))
    reason = gettext("The encoder reads %(known)s; this question is in %(foreign)s.")
    return reason % {"known": known, "foreign": gettext(language.name(foreign))}
