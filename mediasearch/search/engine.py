"""Run a search: encode, plan, score, fetch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db import connections, transaction
from django.db.models import QuerySet

from mediasearch import conf, fulltext
from mediasearch.exceptions import QueryError
from mediasearch.models import Asset, Generation
from mediasearch.search import pictures, statement
from mediasearch.search.encode import Vectors, encode
from mediasearch.search.query import Filters, Query
from mediasearch.search.results import Evidence, Hit, Outcome, Results
from mediasearch.sources import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

_MOST_EF = 1_000
_TRIES = 3
"""How often a search starts again because the model was changed meanwhile."""


def search(
    text: str = "",
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
    limit: int = 24,
    offset: int = 0,
) -> Results:
    """Find pictures by what they show and by what is written about and in them.

    Without `scope`, a search sees what `user` may see, and without `user` what a visitor may see who is not logged
    in. A `scope` is taken as it is: a queryset of assets without slices. `weights` replaces
    MEDIASEARCH["WEIGHTS"]; signals it does not name are off. With nothing asked the newest pictures come first.

    `image` is a picture to find others like it: its bytes, a binary file, an asset (which is then not among the hits),
    or the `picture` of earlier results. It replaces the words for the image signal; the others go by the words alone.

    Returns lazy Results. Raises QueryError for a question that can't be asked, and PictureRefused, when the results
    are first looked at, for a picture that can't be opened.
    """
    query = Query(
        text=text.replace("\x00", "").strip(),
        picture=None if image is None else pictures.take(image),
        language=language,
        filters=Filters(category, tuple(tags), after, before),
        weights=conf.settings().weights if weights is None else conf.weights(weights, "weights"),
        limit=limit,
        offset=offset,
    )
    visible = registry.visible_to(user) if scope is None else scope
    return Results(lambda: run(query, _without(image, visible, scope) if isinstance(image, Asset) else visible))


def _without(asset: Asset, visible: QuerySet[Asset], scope: QuerySet[Asset] | None) -> QuerySet[Asset]:
    """Return what a search like an asset looks through. Whoever passes a scope has seen to what may be seen."""
    if scope is None and not visible.filter(pk=asset.pk).exists():
        raise QueryError("This user may not see the picture that the search is to be like.")
    return visible.exclude(pk=asset.pk)


def run(query: Query, scope: QuerySet[Asset]) -> Outcome:
    """Answer a query over a scope, from one generation: one that was active until its vectors were read."""
    clock = _Clock()
    narrowed = query.filters.apply(scope).order_by()
    if not query.text and query.picture is None:
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
    plan, rows = _execute(request, narrowed.db)
    clock.stop("rank")
    hits = _hits(rows, query.weights, narrowed)
    clock.stop("fetch")
    first = rows[0] if rows else {"total": 0, "encoded": 0}
    outcome = Outcome(
        hits=hits,
        total=first["total"],
        total_is_exact=plan == "exact",
        plan=plan,
        generation=generation.pk if generation else None,
        notices=vectors.notices,
        words=text.words if text else (),
        uncoded=first["scope_size"] - first["encoded"] if plan == "exact" and rows and vectors.image is not None else 0,
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
    found = {"image": vectors.image, "caption": vectors.caption}
    return statement.Request(
        scope=statement.Sql(f"SELECT pk AS id FROM ({sql}) AS visible (pk)", tuple(params)),
        generation=generation,
        vectors={name: vector for name, vector in found.items() if vector is not None},
        text=text,
        weights=query.weights,
        window=max(conf.settings().candidates, query.limit + query.offset),
        limit=query.limit,
        offset=query.offset,
    )


def _execute(request: statement.Request, using: str) -> tuple[str, list[dict[str, Any]]]:
    """Score the scope where it is small; else ask the indexes, and where those fall short, the scope after all."""
    bound = conf.settings().exact_scope
    rows = _rows(statement.exact(request, bound), using)
    if rows or _is_within(request, bound, using):
        return "exact", rows
    with _scan_settings(request, using):
        rows = _rows(statement.hnsw(request), using)
    if len(rows) < request.limit:
        return "exact", _rows(statement.exact(request, None), using)
    return "hnsw", rows


def _is_within(request: statement.Request, bound: int, using: str) -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM ({request.scope.text} LIMIT %s) AS counted", (*request.scope.params, bound + 1)
        )
        return int(cursor.fetchone()[0]) <= bound


def _rows(sql: statement.Sql, using: str) -> list[dict[str, Any]]:
    with connections[using].cursor() as cursor:
        cursor.execute(sql.text, sql.params)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def _scan_settings(request: statement.Request, using: str) -> Iterator[None]:
    """Set what an HNSW scan needs and take it back: in a host's transaction, a local setting would live on."""
    ef_search = min(max(conf.settings().ef_search, request.window), _MOST_EF)
    wanted = {"hnsw.ef_search": (str(ef_search), "40"), "hnsw.iterative_scan": ("relaxed_order", "off")}
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        before = {}
        for name, (value, default) in wanted.items():
            cursor.execute("SELECT coalesce(current_setting(%s, true), %s)", [name, default])
            before[name] = cursor.fetchone()[0]
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
        yield
        for name, value in before.items():
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])


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
    return {
        signal: Evidence(
            score=row[signal],
            normalized=row[f"{signal}_norm"],
            rank=row[f"{signal}_rank"],
            share=carried[signal] * row[f"{signal}_norm"] / row["score"] if row["score"] else 0.0,
        )
        for signal in present
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
