"""One question over a scope, answered: encode, plan, score, judge, fetch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import EmptyResultSet
from django.db.models import BigIntegerField, BooleanField, F, Func, QuerySet, Value
from django.db.models.functions import Coalesce, Lower
from django.utils.translation import gettext

from mediasearch import conf, fulltext
from mediasearch.features.base import Inquiry
from mediasearch.models import Asset, Generation
from mediasearch.search import facets, hits, plan, rerank, shares, size, walk
from mediasearch.search import fusion as fusions
from mediasearch.search.encode import Vectors, encode
from mediasearch.search.facets import Facets
from mediasearch.search.query import SORTS, Query
from mediasearch.search.request import Request
from mediasearch.search.results import DEEPEST, Hit, Notice, Outcome
from mediasearch.search.signals import Boost, Sql
from mediasearch.search.walk import Window

_KEPT = ("total", "total_is_exact", "plan", "generation", "words", "reranked")
"""What the pages that follow the first say of the whole search."""
_MANY = 0.1
"""The share of the scope without image vectors from which on a search is said to lack them."""
_TRIES = 3
"""How often a search starts again because the model was changed meanwhile."""


class Search:
    """A question over a scope. Each answer is of one generation: one that was active until its vectors were read."""

    def __init__(
        self, query: Query, scope: QuerySet[Asset], cursor: str | None = None, user: str = "", client: str = ""
    ) -> None:
        self._query, self._cursor, self._user, self._client = query, cursor, user, client
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
        request = self._request(self._query, self._scope, generation, self._encoded(self._query, generation))
        if request is None:
            return facets.nothing()
        using = self._scope.db
        return facets.of(request, using, size.estimated(request.scope, using), conf.settings().exact_scope)

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
            return Window(query.key, self._user, rows, window.ids, window.facts)

        def fetch(rows: Sequence[Mapping[str, Any]]) -> tuple[Hit, ...]:
            return hits.of(rows, words, query.weights, self._scope)

        wide = replace(query, limit=walk.WINDOW, offset=0)
        if self._cursor:
            key: str | None
            key, window, place = walk.recall(self._cursor, query.key, self._user)
            outcome = Outcome(**{**window.facts, "words": tuple(window.facts["words"])})
        else:
            outcome, rows = self._ranked(wide, self._scope, clock)
            if top := self._judged(query):
                outcome, rows = self._reranked(outcome, rows, top, clock)
            facts = {name: getattr(outcome, name) for name in _KEPT}
            window, place = Window(query.key, self._user, rows, (), facts), 0
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
        for tries_left in reversed(range(_TRIES)):
            generation = Generation.objects.active()
            vectors = self._encoded(query, generation)
            clock.stop("encode")
            if tries_left and vectors.notices and generation != Generation.objects.active():
                continue  # Perhaps nobody could encode for it because it was being deleted.
            request = self._request(query, scope, generation, vectors)
            if request is None:
                return Outcome(notices=vectors.notices, picture=vectors.picture), []
            answer = plan.execute(request, scope)
            clock.stop("rank")
            outcome = _outcome(answer, request, vectors)
            if answer.is_active:  # Else what it answered from may be half deleted.
                break
        return outcome, answer.rows

    def _encoded(self, query: Query, generation: Generation | None) -> Vectors:
        with shares.asking(self._client):
            return encode(query, generation)

    def _request(
        self, query: Query, scope: QuerySet[Asset], generation: Generation | None, vectors: Vectors
    ) -> Request | None:
        """Return what the statement depends on; None where there is nothing to look through, or to look for."""
        settings = conf.settings()
        text = fulltext.query(query.text, query.language) if query.weights["text"] else None
        if query.parts and not vectors.found and text is None:
            return None
        try:
            sql, params = scope.values("pk").query.get_compiler(scope.db).as_sql()
        except EmptyResultSet:
            return None
        return Request(
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


def _outcome(answer: plan.Answer, request: Request, vectors: Vectors) -> Outcome:
    size, notices = answer.scope_size or 0, vectors.notices
    uncoded = answer.scope_size - answer.encoded if answer.scope_size is not None and "image" in vectors.found else 0
    if uncoded and uncoded >= _MANY * size:
        reason = gettext("%(number)s of %(all)s pictures are not indexed: only their words find them.")
        notices += tuple(Notice(name, reason % {"number": uncoded, "all": size}) for name in vectors.found)
    return Outcome(
        total=answer.total,
        total_is_exact=answer.plan == "exact",
        plan=answer.plan,
        retried=answer.retried,
        generation=request.generation.pk if request.generation else None,
        notices=notices,
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
