"""The one SQL statement that scores and ranks.

Two plans differ only in where candidates come from: `exact` takes the whole scope, `hnsw` the best of each index.
Either way every candidate is then scored on every signal, normalised by min-max over the best K of each signal, and
summed with weights. Generation ids and dimensions are integers in the text: as parameters they would cost the
planner its proof that the partial index applies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgvector import HalfVector

from mediasearch.conf import SIGNALS
from mediasearch.fulltext import RANK_WEIGHTS, TextQuery
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search.encode import Vector

ASSETS, EMBEDDINGS = Asset._meta.db_table, Embedding._meta.db_table


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL text with its parameters, in order."""

    text: str
    params: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """All that the statement depends on."""

    scope: Sql
    """Selects the ids that may be returned."""
    generation: Generation | None
    vectors: Mapping[str, Vector]
    text: TextQuery | None
    weights: Mapping[str, float]
    window: int
    """K: how many of each signal's best are candidates of the `hnsw` plan, and set the scale of normalisation."""
    limit: int
    offset: int

    def dimensions(self, field: str) -> int:
        assert self.generation is not None
        return self.generation.dimensions if field == "image" else self.generation.caption_dimensions


def exact(request: Request, bound: int | None) -> Sql:
    """Score the whole scope; with a `bound`, stop when it has more assets than that, and say so in `scope_size`."""
    limit = Sql(" LIMIT %s", (bound + 1,)) if bound is not None else Sql("")
    scope = Sql(f"scope AS MATERIALIZED ({request.scope.text}{limit.text})", (*request.scope.params, *limit.params))
    enough = Sql(
        "candidates AS (SELECT id FROM scope" + (" WHERE (SELECT count(*) FROM scope) <= %s)" if limit.text else ")"),
        (bound,) if limit.text else (),
    )
    return _ranked(request, [scope, enough], "(SELECT count(*) FROM scope)")


def hnsw(request: Request) -> Sql:
    """Score the best of each signal's index. The settings of the scan are the caller's business."""
    legs = [_vector_leg(request, field) for field in request.vectors]
    names = [f"{field}_leg" for field in request.vectors]
    if request.text:
        legs.append(_text_leg(request, request.text))
        names.append("text_leg")
    union = Sql(f"candidates AS ({' UNION '.join(f'SELECT id FROM {name}' for name in names)})")
    return _ranked(request, [*legs, union], "NULL::bigint")


def _vector_leg(request: Request, field: str) -> Sql:
    assert request.generation is not None
    return Sql(
        f"{field}_leg AS MATERIALIZED (SELECT asset_id AS id FROM {EMBEDDINGS}"
        f" WHERE generation_id = {int(request.generation.pk)} AND asset_id IN ({request.scope.text})"
        f" AND {field} IS NOT NULL ORDER BY {_distance(request, field)} LIMIT %s)",
        (*request.scope.params, _bound(request.vectors[field]), request.window),
    )


def _text_leg(request: Request, text: TextQuery) -> Sql:
    return Sql(
        f"text_leg AS MATERIALIZED (SELECT a.id FROM {ASSETS} a, (SELECT {text.sql} AS query) asked"
        f" WHERE a.text_vector @@ query AND a.id IN ({request.scope.text})"
        f" ORDER BY ts_rank('{RANK_WEIGHTS}', a.text_vector, query, 1) DESC, a.id LIMIT %s)",
        (*text.params, *request.scope.params, request.window),
    )


def _distance(request: Request, field: str) -> str:
    size = int(request.dimensions(field))
    return f"{field}::halfvec({size}) <#> %s::halfvec({size})"


def _bound(vector: Vector) -> str:
    return str(HalfVector(vector).to_text())


def _ranked(request: Request, candidates: Sequence[Sql], scope_size: str) -> Sql:
    parts = [*candidates, *_signals(request), _ranks(), _bounds(request), _scores(request)]
    return Sql(
        f"WITH {', '.join(part.text for part in parts)}"
        " SELECT id, score, image, caption, text, image_norm, caption_norm, text_norm,"
        " image_rank, caption_rank, text_rank,"
        f" count(*) OVER () AS total, count(image) OVER () AS encoded, {scope_size} AS scope_size"
        " FROM scores ORDER BY score DESC, id LIMIT %s OFFSET %s",
        (*(param for part in parts for param in part.params), request.limit, request.offset),
    )


def _signals(request: Request) -> list[Sql]:
    """Every signal of every candidate: cosines, and ts_rank, which is 0 and not unknown where nothing matches."""
    columns: list[str] = []
    params: list[Any] = []
    for field in ("image", "caption"):
        if field in request.vectors:
            columns.append(f"-({_distance(request, f'e.{field}')}) AS {field}".replace("e.e.", "e."))
            params.append(_bound(request.vectors[field]))
        else:
            columns.append(f"NULL::float8 AS {field}")
    asked = ""
    if request.text:
        columns.append(
            "CASE WHEN a.text_vector @@ asked.query"
            f" THEN ts_rank('{RANK_WEIGHTS}', a.text_vector, asked.query, 1)::float8 ELSE 0 END AS text"
        )
        asked = f" CROSS JOIN (SELECT {request.text.sql} AS query) asked"
        params += request.text.params
    else:
        columns.append("NULL::float8 AS text")
    generation = int(request.generation.pk) if request.generation else 0
    return [
        Sql(
            f"signals AS MATERIALIZED (SELECT a.id, {', '.join(columns)} FROM candidates JOIN {ASSETS} a USING (id)"
            f" LEFT JOIN {EMBEDDINGS} e ON e.asset_id = a.id AND e.generation_id = {generation}{asked})",
            tuple(params),
        )
    ]


def _ranks() -> Sql:
    ranks = ", ".join(
        f"CASE WHEN {signal} IS NOT NULL THEN rank() OVER (ORDER BY {signal} DESC NULLS LAST) END AS {signal}_rank"
        for signal in SIGNALS
    )
    return Sql(f"ranks AS MATERIALIZED (SELECT *, {ranks} FROM signals)")


def _bounds(request: Request) -> Sql:
    bounds = ", ".join(
        f"max({signal}) AS {signal}_high, min({signal}) FILTER (WHERE {signal}_rank <= %s) AS {signal}_low"
        for signal in SIGNALS
    )
    return Sql(f"bounds AS (SELECT {bounds} FROM ranks)", (request.window,) * len(SIGNALS))


def _scores(request: Request) -> Sql:
    """final = sum(weight * min-max normalised score), over what has any evidence at all."""
    norms = ", ".join(
        f"CASE WHEN {signal} IS NULL OR {signal}_high = 0 AND '{signal}' = 'text' THEN 0"
        f" WHEN {signal}_high = {signal}_low THEN 1"
        f" ELSE greatest(0, ({signal} - {signal}_low) / ({signal}_high - {signal}_low)) END AS {signal}_norm"
        for signal in SIGNALS
    )
    total = " + ".join(f"%s::float8 * {signal}_norm" for signal in SIGNALS)
    return Sql(
        f"scores AS (SELECT *, {total} AS score FROM (SELECT *, {norms} FROM ranks CROSS JOIN bounds) normalised"
        " WHERE image IS NOT NULL OR caption IS NOT NULL OR text > 0)",
        tuple(request.weights[signal] for signal in SIGNALS),
    )
