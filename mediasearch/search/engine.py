"""Run a search: encode, plan, score, fetch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import EmptyResultSet
from django.db.models import BigIntegerField, BooleanField, F, Func, QuerySet, Value
from django.db.models.functions import Coalesce, Lower

from mediasearch import conf, fulltext
from mediasearch.exceptions import QueryError
from mediasearch.features.base import Inquiry
from mediasearch.models import Asset, Generation
from mediasearch.search import facets, hits, pictures, plan, rerank, statement, walk
from mediasearch.search import fusion as fusions
from mediasearch.search.encode import Vectors, encode
from mediasearch.search.facets import Facets
from mediasearch.search.query import SORTS, Filters, Part, Query, several
from mediasearch.search.results import DEEPEST, Hit, Outcome, Results
from mediasearch.search.signals import Boost, Sql
from mediasearch.search.walk import Window
from mediasearch.sources import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

_KEPT = ("total", "total_is_exact", "plan", "generation", "words", "reranked")
"""What the pages that follow the first say of the whole search."""
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
    sort: str = "relevance",
    limit: int = 24,
    offset: int = 0,
    cursor: str | None = None,
) -> Results:
    """Find pictures by what they show and by what is written about and in them.

    Without `scope`, a search sees what `user` may see, and without `user` what a visitor may see who is not logged
    in. A `scope` is taken as it is: a queryset of assets without slices. `weights` replaces
    MEDIASEARCH["WEIGHTS"]; signals it does not name are off. `fusion` replaces MEDIASEARCH["FUSION"]. With nothing
    asked the newest pictures come first.

    `text` may be several: words, and `Part`s, which are words or a picture with a weight, added to the question or,
    below 0, subtracted from it. `image` is one more: a picture to find others like it, as its bytes, a binary file, an
    asset (which is then not among the hits), a `Crop` of one of these, an `Address` where those are fetched, or the
    `picture` of earlier results.

    `sort` is `relevance`, `date`, `title` or `size`, with a `-` for the last first: of a question's hits the best
    thousand are sorted. `offset` reaches the first thousand hits; `cursor` all of them, each once: begin with "", and
    go on with the `cursor` of the results until it is None.

    Returns lazy Results. Raises QueryError for a question that can't be asked, and PictureRefused, when the results
    are first looked at, for a picture that can't be opened.
    """
    visible = registry.visible_to(user) if scope is None else scope
    query = Query(
        parts=_parts(text, image, visible if scope is None else Asset.objects.all()),
        language=language,
        filters=Filters(category, several(tags), after, before),
        weights=conf.settings().weights if weights is None else conf.weights(weights, "weights"),
        fusion=conf.settings().fusion if fusion is None else fusion,
        sort=sort,
        limit=limit,
        offset=offset,
    )
    if cursor is not None and offset:
        raise QueryError("A cursor says itself where to go on: leave out the offset.")
    for part in query.pictures:
        if isinstance(part.image, Asset):
            visible = _without(part.image, visible, scope)
    return Results(Search(query, visible, cursor), limit, offset)


async def asearch(*args: Any, **kwargs: Any) -> Results:
    """Search as `search` does, for coroutines: the results have run when they are returned."""

    def run() -> Results:
        results = search(*args, **kwargs)
        _ = results.outcome
        return results

    return await sync_to_async(run)()


def _parts(
    text: str | Part | Sequence[str | Part], image: pictures.Given | None, visible: QuerySet[Asset]
) -> tuple[Part, ...]:
    """Return the parts of a question, empty words left out, files read into memory. Raises QueryError.

    Parts of assets that are not `visible` are never looked at; whoever passes a scope has seen to that.
    """
    if not isinstance(text, str | Part | list | tuple):
        raise QueryError(f"A question is a str, a Part or a list of these, not {type(text).__name__}.")
    asked = [text] if isinstance(text, str | Part) else [*text]
    parts: list[Part] = []
    for one in [*asked, *([] if image is None else [Part(image=image)])]:
        if isinstance(one, str):
            words = one.replace("\x00", "").strip()
            parts += [Part(words)] if words else []
        elif isinstance(one, Part):
            parts.append(one if one.image is None else replace(one, image=pictures.take(one.image, visible)))
        else:
            raise QueryError(f"A part of a question is a str or a Part, not {type(one).__name__}.")
    return tuple(parts)


def _without(asset: Asset, visible: QuerySet[Asset], scope: QuerySet[Asset] | None) -> QuerySet[Asset]:
    """Return what a search like an asset looks through. Whoever passes a scope has seen to what may be seen."""
    if scope is None and not visible.filter(pk=asset.pk).exists():
        raise QueryError("This user may not see the picture that the search is to be like.")
    return visible.exclude(pk=asset.pk)


class Search:
    """A question over a scope. Each answer is of one generation: one that was active until its vectors were read."""

    def __init__(self, query: Query, scope: QuerySet[Asset], cursor: str | None = None) -> None:
        self._query, self._cursor = query, cursor
        self._scope = query.filters.apply(scope).order_by()

    def run(self, limit: int, offset: int) -> Outcome:
        """Answer for one page. Raises QueryError, PictureRefused."""
        query = replace(self._query, limit=limit, offset=offset)
        clock = _Clock()
        if self._cursor is None:
            return self._first(query, clock)
        return self._walk(query, clock)

    def facets(self) -> Facets:
        """Count what there is among all matches. Raises QueryError, PictureRefused."""
        generation = Generation.objects.active()
        request = self._request(self._query, self._scope, generation, encode(self._query, generation))
        if request is None:
            return facets.nothing()
        using = self._scope.db
        return facets.of(request, using, plan.estimated(request.scope, using), conf.settings().exact_scope)

    def _first(self, query: Query, clock: _Clock) -> Outcome:
        top = self._judged(query)
        wide = replace(query, limit=max(query.limit + query.offset, top), offset=0) if top > query.offset else query
        outcome, rows = self._ranked(wide, self._scope, clock)
        if wide is not query:
            outcome, rows = self._reranked(outcome, rows, top, clock)
            rows = rows[query.offset : query.offset + query.limit]
        found = hits.of(rows, outcome.words, query.weights, self._scope)
        clock.stop("fetch")
        return replace(outcome, hits=found, timings=clock.times)

    def _walk(self, query: Query, clock: _Clock) -> Outcome:
        def rank(window: Window) -> Window:
            _, rows = self._ranked(wide, self._unseen(window.ids), clock)
            return Window(query.key, rows, window.ids, window.facts)

        def fetch(rows: Sequence[Mapping[str, Any]]) -> tuple[Hit, ...]:
            return hits.of(rows, words, query.weights, self._scope)

        wide = replace(query, limit=walk.WINDOW, offset=0)
        if self._cursor:
            key: str | None
            key, window, place = walk.recall(self._cursor, query.key)
            outcome = Outcome(**{**window.facts, "words": tuple(window.facts["words"])})
        else:
            outcome, rows = self._ranked(wide, self._scope, clock)
            if top := self._judged(query):
                outcome, rows = self._reranked(outcome, rows, top, clock)
            facts = {name: getattr(outcome, name) for name in _KEPT}
            window, place = Window(query.key, rows, (), facts), 0
            key = walk.keep(window) if len(rows) > query.limit else None
        words = outcome.words
        found, following = walk.page(key, window, place, query.limit, fetch, rank)
        clock.stop("fetch")
        return replace(outcome, hits=tuple(found), cursor=following, timings=clock.times)

    @staticmethod
    def _judged(query: Query) -> int:
        """How many of the best are judged once more."""
        settings = conf.settings()
        return settings.rerank_top if settings.reranker and query.text and query.sort == "relevance" else 0

    def _reranked(
        self, outcome: Outcome, rows: list[dict[str, Any]], top: int, clock: _Clock
    ) -> tuple[Outcome, list[dict[str, Any]]]:
        """Put the first rows in the reranker's order, if it gives one in time."""
        query = self._query
        best = hits.of(rows[:top], outcome.words, query.weights, self._scope)
        judged = rerank.rerank(best, Inquiry(query.text, query.language, has_picture=bool(query.pictures)))
        clock.stop("rerank")
        known = {row["id"]: row for row in rows}
        given = dict(zip((hit.asset.pk for hit in judged.hits), judged.scores, strict=False))
        ordered = [known[hit.asset.pk] | {"rerank": given.get(hit.asset.pk)} for hit in judged.hits]
        notices = outcome.notices if judged.notice is None else (*outcome.notices, judged.notice)
        return replace(outcome, reranked=judged.reranked, notices=notices), [*ordered, *rows[top:]]

    def _unseen(self, seen: Sequence[int]) -> QuerySet[Asset]:
        ids = Value(list(seen), output_field=ArrayField(BigIntegerField()))
        other = Func(F("pk"), ids, template="(%(expressions)s))", arg_joiner=" <> ALL (", output_field=BooleanField())
        return self._scope.filter(other)

    def _ranked(self, query: Query, scope: QuerySet[Asset], clock: _Clock) -> tuple[Outcome, list[dict[str, Any]]]:
        """Return how a search went, without its hits, and their rows."""
        if not query.parts:
            return _newest(query, scope)
        for _ in range(_TRIES):
            generation = Generation.objects.active()
            vectors = encode(query, generation)
            clock.stop("encode")
            request = self._request(query, scope, generation, vectors)
            if request is None:
                return Outcome(notices=vectors.notices, picture=vectors.picture), []
            answer = plan.execute(request, scope)
            clock.stop("rank")
            outcome = _outcome(answer, request, vectors)
            if answer.is_active:  # Else what it answered from may be half deleted.
                break
        return outcome, answer.rows

    def _request(
        self, query: Query, scope: QuerySet[Asset], generation: Generation | None, vectors: Vectors
    ) -> statement.Request | None:
        """Return what the statement depends on; None where there is nothing to look through, or to look for."""
        settings = conf.settings()
        text = fulltext.query(query.text, query.language) if query.weights["text"] else None
        if query.parts and not vectors.found and text is None:
            return None
        try:
            sql, params = scope.values("pk").query.get_compiler(scope.db).as_sql()
        except EmptyResultSet:
            return None
        return statement.Request(
            scope=Sql(f"SELECT pk AS id FROM ({sql}) AS visible (pk)", tuple(params)),
            generation=generation,
            vectors=vectors.found,
            text=text,
            weights=query.weights,
            fusion=fusions.named(query.fusion, plan.background(generation, with_picture=bool(query.pictures))),
            boost=Boost(settings.recency_days, settings.popular),
            window=settings.candidates,
            limit=query.limit,
            offset=query.offset,
            order=SORTS[query.sort],
            deepest=DEEPEST,
        )


def _outcome(answer: plan.Answer, request: statement.Request, vectors: Vectors) -> Outcome:
    uncoded = answer.scope_size - answer.encoded if answer.scope_size is not None and "image" in vectors.found else 0
    return Outcome(
        total=answer.total,
        total_is_exact=answer.plan == "exact",
        plan=answer.plan,
        retried=answer.retried,
        generation=request.generation.pk if request.generation else None,
        notices=vectors.notices,
        words=tuple(word.text for word in request.text.words) if request.text else (),
        uncoded=uncoded,
        picture=vectors.picture,
    )


def _newest(query: Query, scope: QuerySet[Asset]) -> tuple[Outcome, list[dict[str, Any]]]:
    """Return what a search without a question finds: everything, the newest first unless it is sorted otherwise."""
    moment = Coalesce("taken_at", "created_at")
    order: dict[str, Any] = {
        "relevance": F("created_at").desc(),
        "date": moment.asc(),
        "-date": moment.desc(),
        "title": Lower("title").asc(),
        "-title": Lower("title").desc(),
        "size": F("byte_size").asc(nulls_last=True),
        "-size": F("byte_size").desc(nulls_last=True),
    }
    ids = scope.order_by(order[query.sort], "-pk").values_list("pk", flat=True)[
        query.offset : query.offset + query.limit
    ]
    blank = {"score": 0.0, "words": None}
    rows = [{"id": pk, **blank} for pk in ids]
    return Outcome(total=scope.count(), plan="newest"), rows


class _Clock:
    """Times the steps of one search, in milliseconds."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._since = time.perf_counter()

    def stop(self, step: str) -> None:
        now = time.perf_counter()
        self.times[step] = (now - self._since) * 1_000
        self._since = now
