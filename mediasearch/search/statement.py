"""The one SQL statement that finds, scores and ranks.

Plans differ only in what they look at: `exact` at the whole scope, `hnsw` at the best of each index, `given` at what
another store found. Each says what is near and what the texts say; `ranking` makes a page of that.
Generation ids and dimensions are integers in the text: as parameters they would cost the planner its proof that the
partial index applies. The vectors are bound once, and used as results of a subselect, which the index takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from mediasearch.fulltext import TextQuery
from mediasearch.models import Asset, Embedding
from mediasearch.search import ranking, signals, vectors
from mediasearch.search.request import VECTORS, Request
from mediasearch.search.signals import Sql

ASSETS, EMBEDDINGS = Asset._meta.db_table, Embedding._meta.db_table


def exact(request: Request, bound: int | None) -> Sql:
    """Look at the whole scope; with a `bound`, stop when it has more assets than that, and rank none of them."""
    limit = Sql(" LIMIT %s", (bound + 1,)) if bound is not None else Sql("")
    scope = _cte("scope", Sql(f"{request.scope.text}{limit.text}", (*request.scope.params, *limit.params)))
    size = _cte("size", Sql("SELECT count(*) AS assets FROM scope"))
    small = Sql(" AND (SELECT assets FROM size) <= %s", (bound,)) if bound is not None else Sql("")
    # An array of ids is looked up in one pass over the index, where a join starts from its root for each of them.
    near = _near(request, Sql(f"= ANY (ARRAY(SELECT id FROM scope)){small.text}", small.params))
    texts = _texts(request, Sql(f"IN (SELECT id FROM scope){small.text}", small.params))
    return ranking.ranked(request, [*_asked(request), scope, size, *near, *texts], "(SELECT assets FROM size)")


def hnsw(request: Request) -> Sql:
    """Look at the best of each signal's index. The settings of the scan are the caller's business."""
    legs = [_vector_leg(request, field) for field in request.vectors]
    return _with_texts(request, legs)


def given(request: Request, ids: Sequence[int]) -> Sql:
    """Look at what legs of another store found, as far as it is in the scope, and at the best of the text index."""
    found = f"= ANY (%s::bigint[]) AND asset_id IN ({request.scope.text})"
    leg = _embeddings(request, Sql(found, (list(ids), *request.scope.params)))
    return _with_texts(request, [_cte("given_leg", leg)])


def _with_texts(request: Request, legs: Sequence[Sql]) -> Sql:
    """Look at what was found by vectors and by texts; each leg says how near its assets are in both fields."""
    names = [_name(leg) for leg in legs]
    parts = [*_asked(request), *legs]
    inside = Sql(f"IN ({request.scope.text})", request.scope.params)
    if request.text and request.few:
        parts.append(_cte("few", _read(request.text, request.few.query, inside)))
        parts += _text_leg(request, "few", names)
        parts.append(_cte("texts", _completed(request.text, names)))
    elif request.text:
        parts += [*_texts(request, inside), *_text_leg(request, "texts", names)]
    if legs:
        near = [*names, "text_leg"] if request.text else names
        parts.append(_cte("near", Sql(" UNION ".join(f"SELECT * FROM {name}" for name in near))))
    return ranking.ranked(request, parts, "NULL::bigint")


def _cte(name: str, sql: Sql) -> Sql:
    return Sql(f"{name} AS MATERIALIZED ({sql.text})", sql.params)


def _name(leg: Sql) -> str:
    return leg.text.partition(" ")[0]


def _asked(request: Request) -> list[Sql]:
    """The vectors of the question, bound once however often they are compared with; both are most often the same."""
    known = {vector.tobytes(): vector for vector in request.vectors.values()}
    if not known:
        return []
    places = {key: place for place, key in enumerate(known)}
    columns = [
        f"v{places[vector.tobytes()]}::halfvec({request.dimensions(field)}) AS {field}"
        for field, vector in request.vectors.items()
    ]
    bound = ", ".join(f"%s::halfvec AS v{place}" for place in places.values())
    asked = f"SELECT {', '.join(columns)} FROM (SELECT {bound}) AS bound"
    return [_cte("asked", Sql(asked, tuple(vectors.literal(vector) for vector in known.values())))]


def _distance(request: Request, field: str) -> str:
    return f"{field}::halfvec({int(request.dimensions(field))}) <#> (SELECT {field} FROM asked)"


def _compared(request: Request) -> str:
    """What is read of an embedding: its asset, and how alike it is to the question in both fields."""
    columns = [
        f"-({_distance(request, field)}) AS {field}" if field in request.vectors else f"NULL::float8 AS {field}"
        for field in VECTORS
    ]
    assert request.generation is not None
    where = f"FROM {EMBEDDINGS} WHERE generation_id = {int(request.generation.pk)}"
    return f"SELECT asset_id AS id, {', '.join(columns)} {where}"


def _embeddings(request: Request, ids: Sql) -> Sql:
    """The embeddings of assets that can be compared with the question."""
    present = " OR ".join(f"{field} IS NOT NULL" for field in request.vectors)
    return Sql(f"{_compared(request)} AND ({present}) AND asset_id {ids.text}", ids.params)


def _near(request: Request, ids: Sql) -> list[Sql]:
    if not request.vectors:
        return []
    return [_cte("near", _embeddings(request, ids))]


def _vector_leg(request: Request, field: str) -> Sql:
    inside = f"{field} IS NOT NULL AND asset_id IN ({request.scope.text})"
    nearest = f"{_compared(request)} AND {inside} ORDER BY {_distance(request, field)} LIMIT %s"
    return _cte(f"{field}_leg", Sql(nearest, (*request.scope.params, request.reach)))


def _text_leg(request: Request, texts: str, others: Sequence[str]) -> list[Sql]:
    """The embeddings of the best matches, where there are others to be compared with."""
    if not others:
        return []
    best = Sql(f"= ANY (ARRAY(SELECT id FROM {texts} ORDER BY text DESC, id LIMIT %s))", (request.reach,))
    return [_cte("text_leg", _embeddings(request, best))]


def _texts(request: Request, ids: Sql) -> list[Sql]:
    """What the texts say of all that have a word of the question."""
    if not request.text:
        return []
    return [_cte("texts", _read(request.text, signals.any_word(request.text), ids))]


def _completed(text: TextQuery, legs: Sequence[str]) -> Sql:
    """What the texts say of the few that were looked at, and of all that was found by vectors."""
    if not legs:
        return Sql("SELECT * FROM few")
    found = " UNION ALL ".join(f"SELECT id FROM {leg}" for leg in legs)
    others = _read(text, signals.any_word(text), Sql(f"= ANY (ARRAY({found}))"))
    return Sql(f"SELECT * FROM few UNION {others.text}", others.params)


def _read(text: TextQuery, matching: Sql, ids: Sql) -> Sql:
    """Score matching texts; OFFSET keeps ts_rank from being computed twice."""
    coverage, quality = signals.coverage(text), signals.quality(text)
    return Sql(
        f"SELECT id, coverage ^ 2 * quality AS text, quality FROM (SELECT a.id, {coverage.text} AS coverage,"
        f" {quality.text} AS quality FROM {ASSETS} a WHERE a.text_vector @@ {matching.text} AND a.id {ids.text}"
        " OFFSET 0) AS found",
        (*coverage.params, *quality.params, *matching.params, *ids.params),
    )
