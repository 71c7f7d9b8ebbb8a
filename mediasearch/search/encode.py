"""A question's words as vectors, from the cache where they were asked before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from django.core.cache import caches
from django.utils.translation import gettext
from numpy.typing import NDArray

from mediasearch import conf
from mediasearch.exceptions import Unavailable
from mediasearch.features import language
from mediasearch.features.base import QueryEncoder, Question
from mediasearch.models import Generation
from mediasearch.search.query import Query
from mediasearch.search.results import Notice

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Vectors:
    """The query vectors of a generation's two fields; None where a signal stepped aside, and then why."""

    image: Vector | None = None
    caption: Vector | None = None
    notices: tuple[Notice, ...] = ()


_kept: dict[str, QueryEncoder] = {}


def encode(query: Query, generation: Generation | None) -> Vectors:
    """Return the vectors for a query; a signal that can't be computed steps aside with a notice."""
    fields = [name for name in ("image", "caption") if query.weights[name] > 0]
    if generation is None:
        reason = gettext("No picture has been encoded yet: an embed worker makes the first generation when it starts.")
        return Vectors(notices=tuple(Notice(name, reason) for name in fields))
    found = Vectors()
    for name in fields:
        if reason := _unreadable(query, generation.reads(name)):
            found = replace(found, notices=(*found.notices, Notice(name, reason)))
            continue
        try:
            vector = _vector(query.text, generation, name)
        except Unavailable as error:
            found = replace(found, notices=(*found.notices, Notice(name, str(error))))
        else:
            found = replace(found, image=vector) if name == "image" else replace(found, caption=vector)
    return found


def _unreadable(query: Query, languages: frozenset[str] | None) -> str:
    asked = query.language if languages is not None and query.language not in languages else ""
    foreign = asked or language.unread(query.text, languages)
    if not foreign:
        return ""
    known = ", ".join(gettext(language.name(code)) for code in sorted(languages or ()))
    reason = gettext("The encoder reads %(known)s; this question is in %(foreign)s.")
    return reason % {"known": known, "foreign": gettext(language.name(foreign))}


def _vector(text: str, generation: Generation, field: str) -> Vector:
    if field == "caption" and generation.caption_encoder is not None:
        question = Question(generation.pk, "caption", generation.caption_encoder)
        fingerprint = generation.caption_fingerprint
    else:
        question = Question(generation.pk, "image", generation.encoder)
        fingerprint = generation.fingerprint
    settings = conf.settings()
    cache = caches[settings.cache]
    key = "mediasearch:" + hashlib.sha256(f"{fingerprint}\0{text}".encode()).hexdigest()
    if (known := cache.get(key)) is not None:
        return np.frombuffer(known, dtype=np.float32)
    vector: Vector = _encoder().encode_texts(question, [text])[0]
    cache.set(key, vector.astype(np.float32).tobytes(), settings.cache_seconds)
    return vector


def _encoder() -> QueryEncoder:
    spec = conf.settings().query_encoder
    key = repr(spec)
    if key not in _kept:
        _kept[key] = spec.load()
    return _kept[key]
