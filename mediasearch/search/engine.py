"""Run a search: encode, plan, score, fetch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet

from mediasearch import conf, fulltext
from mediasearch.exceptions import QueryError
from mediasearch.models import Asset, Generation
from mediasearch.search import fusion as fusions
from mediasearch.search import pictures, plan, statement
from mediasearch.search.encode import Vectors, encode
from mediasearch.search.query import Filters, Part, Query
from mediasearch.search.results import Evidence, Hit, Outcome, Results
from mediasearch.sources import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

_TRIES = 3
"""How often a search starts again because the model was changed meanwhile."""


def search(
    text: str | Part | Sequence[str | Part] = "",
    *,
    image: pictures.Given | None = None,
    user: AbstractBaseUser | AnonymousUser | None = None,
    scope: QuerySet[Asset] | None = None,
    category: str = "",
    tags: Iterable[str] = (),
    after: date | None = None,
    before: date | None = None,
    language: str = "",
    weights: Mapping[str, float] | None = None,
    fusion: str | None = None,
    limit: int = 24,
    offset: int = 0,
) -> Results:
    """Find pictures by what they show and by what is written about and in them.

    Without `scope`, a search sees what `user` may see, and without `user` what a visitor may see who is not logged
    in. A `scope` is taken as it is: a queryset of assets without slices. `weights` replaces
    MEDIASEARCH["WEIGHTS"]; signals it does not name are off. `fusion` replaces MEDIASEARCH["FUSION"]. With nothing
    asked the newest pictures come first.

    `text` may be several: words, and `Part`s, which are words or a picture with a weight, added to the question or,
    below 0, subtracted from it. `image` is one more: a picture to find others like it, as its bytes, a binary file, an
    asset (which is then not among the hits), or the `picture` of earlier results.

    Returns lazy Results. Raises QueryError for a question that can't be asked, and PictureRefused, when the results
    are first looked at, for a picture that can't be opened.
    """
    query = Query(
        parts=_parts(text, image),
        language=language,
        filters=Filters(category, tuple(tags), after, before),
        weights=conf.settings().weights if weights is None else conf.weights(weights, "weights"),
        fusion=conf.settings().fusion if fusion is None else fusion,
        limit=limit,
        offset=offset,
    )
    visible = registry.visible_to(user) if scope is None else scope
    for part in query.pictures:
        if isinstance(part.image, Asset):
            visible = _without(part.image, visible, scope)
    return Results(lambda: run(query, visible))


def _parts(text: str | Part | Sequence[str | Part], image: pictures.Given | None) -> tuple[Part, ...]:
    """Return the parts of a question, empty words left out, files read into memory. Raises QueryError."""
    if not isinstance(text, str | Part | list | tuple):
        raise QueryError(f"A question is a str, a Part or a list of these, not {type(text).__name__}.")
    asked = [text] if isinstance(text, str | Part) else [*text]
    parts: list[Part] = []
    for one in [*asked, *([] if image is None else [Part(image=image)])]:
        if isinstance(one, str):
            words = one.replace("\x00", "").strip()
            parts += [Part(words)] if words else []
        elif isinstance(one, Part):
            parts.append(one if one.image is None else replace(one, image=pictures.take(one.image)))
        else:
            raise QueryError(f"A part of a question is a str or a Part, not {type(one).__name__}.")
    return tuple(parts)


def _without(asset: Asset, visible: QuerySet[Asset], scope: QuerySet[Asset] | None) -> QuerySet[Asset]:
    """Return what a search like an asset looks through. Whoever passes a scope has seen to what may be seen."""
    if scope is None and not visible.filter(pk=asset.pk).exists():
        raise QueryError("This user may not see the picture that the search is to be like.")
    return visible.exclude(pk=asset.pk)


def run(query: Query, scope: QuerySet[Asset]) -> Outcome:
    """Answer a query over a scope, from one generation: one that was active until its vectors were read."""
    clock = _Clock()
    narrowed = query.filters.apply(scope).order_by()
    if not query.parts:
        return _newest(query, narrowed, clock)
    for _ in range(_TRIES):
        generation = Generation.objects.active()
        outcome, rows = _answer(query, narrowed, generation, clock)
        if _was_active(generation, rows):
            break
    return outcome


def _was_active(generation: Generation | None, rows: list[dict[str, Any]]) -> bool:
    """Whether a generation was still active when a search had read its vectors; one that is not may be deleted."""
    if generation is None:
        return True
    return bool(rows[0]["is_active"]) if rows else Generation.objects.active() == generation


def _answer(
    query: Query, narrowed: QuerySet[Asset], generation: Generation | None, clock: _Clock
) -> tuple[Outcome, list[dict[str, Any]]]:
    """Return an answer from one generation, with the rows that it rests on."""
    vectors = encode(query, generation)
    clock.stop("encode")
    text = fulltext.query(query.text, query.language) if query.weights["text"] else None
    try:
        request = _request(query, narrowed, generation, vectors, text)
    except EmptyResultSet:
        return Outcome(notices=vectors.notices, picture=vectors.picture, timings=clock.times), []
    if not request.vectors and text is None:
        return Outcome(notices=vectors.notices, picture=vectors.picture, timings=clock.times), []
    answer = plan.execute(request, narrowed.db)
    clock.stop("rank")
    rows = answer.rows
    hits = _hits(rows, query.weights, narrowed)
    clock.stop("fetch")
    first = rows[0] if rows else {"total": 0, "encoded": 0}
    is_exact = answer.plan == "exact"
    outcome = Outcome(
        hits=hits,
        total=first["total"],
        total_is_exact=is_exact,
        plan=answer.plan,
        generation=generation.pk if generation else None,
        notices=vectors.notices,
        words=tuple(word.text for word in text.words) if text else (),
        uncoded=first["scope_size"] - first["encoded"] if is_exact and rows and vectors.image is not None else 0,
        picture=vectors.picture,
        timings=clock.times,
    )
    return outcome, rows


def _request(
    query: Query,
    scope: QuerySet[Asset],
    generation: Generation | None,
    vectors: Vectors,
    text: fulltext.TextQuery | None,
) -> statement.Request:
    sql, params = scope.values("pk").query.get_compiler(scope.db).as_sql()
    settings = conf.settings()
    return statement.Request(
        scope=statement.Sql(f"SELECT pk AS id FROM ({sql}) AS visible (pk)", tuple(params)),
        generation=generation,
        vectors=vectors.found,
        text=text,
        weights=query.weights,
        fusion=fusions.named(query.fusion, plan.background(generation)),
        boost=statement.Boost(settings.recency_days, settings.popular),
        window=max(settings.candidates, query.limit + query.offset),
        limit=query.limit,
        offset=query.offset,
    )


def _hits(rows: list[dict[str, Any]], weights: Mapping[str, float], scope: QuerySet[Asset]) -> tuple[Hit, ...]:
    assets = scope.defer("text_vector").in_bulk([row["id"] for row in rows])
    return tuple(Hit(assets[row["id"]], row["score"], _evidence(row, weights)) for row in rows if row["id"] in assets)


def _evidence(row: dict[str, Any], weights: Mapping[str, float]) -> dict[str, Evidence]:
    """What each signal says; a vector that stood in for the other has that one's share as well."""
    present = [signal for signal in conf.SIGNALS if row[signal] is not None and (signal != "text" or row[signal] > 0)]
    carried = {signal: weights[signal] for signal in present}
    for absent, other in (("caption", "image"), ("image", "caption")):
        if absent not in carried and other in carried:
            carried[other] += weights[absent]
    said = {signal: (row[signal], row[f"{signal}_rank"]) for signal in present}
    for boost in conf.BOOSTS:
        if row[f"{boost}_norm"] is not None:
            said[boost], carried[boost] = (row[f"{boost}_norm"], None), weights[boost]
    whole = sum(carried[name] * row[f"{name}_norm"] for name in said)
    return {
        name: Evidence(score, row[f"{name}_norm"], rank, carried[name] * row[f"{name}_norm"] / whole if whole else 0.0)
        for name, (score, rank) in said.items()
    }


def _newest(query: Query, scope: QuerySet[Asset], clock: _Clock) -> Outcome:
    found = scope.defer("text_vector").order_by("-created_at", "-pk")
    hits = tuple(Hit(asset, 0.0) for asset in found[query.offset : query.offset + query.limit])
    total = found.count()
    clock.stop("fetch")
    return Outcome(hits=hits, total=total, plan="newest", timings=clock.times)


class _Clock:
    """Times the steps of one search, in milliseconds."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._since = time.perf_counter()

    def stop(self, step: str) -> None:
        now = time.perf_counter()
        self.times[step] = (now - self._since) * 1_000
        self._since = now
