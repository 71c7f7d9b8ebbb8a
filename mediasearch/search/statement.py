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
from mediasearch.search.vectors import Vector

ASSETS, EMBEDDINGS = Asset._meta.db_table, Embedding._meta.db_table
VECTORS = ("image", "caption")
# A word by itself counts whole, one of the same stem .6, a part of a longer word .3.
_COVERAGE = (
    "(SELECT avg(CASE WHEN a.text_vector @@ exact THEN 1 WHEN a.text_vector @@ stem THEN 0.6"
    " WHEN a.text_vector @@ anywhere THEN 0.3 ELSE 0 END)::float8"
    " FROM unnest(asked.exact, asked.stems, asked.anywhere) AS word (exact, stem, anywhere))"
)
_QUALITY = f"((1 + ts_rank('{RANK_WEIGHTS}', a.text_vector, asked.query, 1 | 32)) / 2)::float8"


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
        f"text_leg AS MATERIALIZED (SELECT a.id FROM {ASSETS} a, ({text.sql}) asked"
        f" WHERE a.text_vector @@ asked.query AND a.id IN ({request.scope.text})"
        f" ORDER BY {_COVERAGE} ^ 2 * {_QUALITY} DESC, a.id LIMIT %s)",
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
        f" count(*) OVER () AS total, count(image) OVER () AS encoded, {scope_size} AS scope_size,"
        f" {_is_active(request.generation)} AS is_active"
        " FROM scores ORDER BY score DESC, id LIMIT %s OFFSET %s",
        (*(param for part in parts for param in part.params), request.limit, request.offset),
    )


def _is_active(generation: Generation | None) -> str:
    """Is the generation still the active one, in the same snapshot as its vectors? Else they may be being deleted."""
    if generation is None:
        return "true"
    table = Generation._meta.db_table
    return f"EXISTS (SELECT FROM {table} WHERE id = {int(generation.pk)} AND state = '{Generation.State.ACTIVE}')"


def _signals(request: Request) -> list[Sql]:
    """Every signal of every candidate; text is 0 and not unknown where nothing matches.

    The text score is the share of the question's words that match, squared, times a quality from ts_rank. So one word
    of a long sentence is weak evidence, and all of a short question strong, whatever else there is to compare with.
    """
    columns: list[str] = []
    params: list[Any] = []
    for field in VECTORS:
        if field in request.vectors:
            columns.append(f"-({_distance(request, f'e.{field}')}) AS {field}".replace("e.e.", "e."))
            params.append(_bound(request.vectors[field]))
        else:
            columns.append(f"NULL::float8 AS {field}")
    asked = ""
    if request.text:
        matches = "CASE WHEN a.text_vector @@ asked.query THEN"
        columns.append(
            f"{matches} {_COVERAGE} ^ 2 * {_QUALITY} ELSE 0 END AS text, {matches} {_QUALITY} END AS quality"
        )
        asked = f" CROSS JOIN ({request.text.sql}) asked"
        params += request.text.params
    else:
        columns.append("NULL::float8 AS text, NULL::float8 AS quality")
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
    """What 0 and 1 are: for vectors the worst and the best of the best K, for text nothing and a whole match."""
    bounds = ", ".join(
        f"max({field}) AS {field}_high, min({field}) FILTER (WHERE {field}_rank <= %s) AS {field}_low"
        for field in VECTORS
    )
    text = "max(quality) AS text_high, 0::float8 AS text_low"
    return Sql(f"bounds AS (SELECT {bounds}, {text} FROM ranks)", (request.window,) * len(VECTORS))


def _scores(request: Request) -> Sql:
    """final = sum(weight * min-max normalised score), over what has any evidence at all.

    Where a picture lacks one of the two vectors, most often because nobody wrote a caption, the other stands in for
    it. Counted as 0 instead, the lack would put every undescribed picture behind every described one: on 51 photos of
    which half had captions, R@1 of the others fell from .65 to .00 (benchmarks/RESULTS.md).
    """
    norms = ", ".join(
        f"CASE WHEN {signal} IS NULL OR {signal}_high IS NULL THEN NULL WHEN {signal}_high = {signal}_low THEN 1"
        f" ELSE greatest(0, ({signal} - {signal}_low) / ({signal}_high - {signal}_low)) END AS {signal}_norm"
        for signal in SIGNALS
    )
    standing_in = {
        "image": "coalesce(image_norm, caption_norm, 0)",
        "caption": "coalesce(caption_norm, image_norm, 0)",
        "text": "coalesce(text_norm, 0)",
    }
    total = " + ".join(f"%s::float8 * {standing_in[signal]}" for signal in SIGNALS)
    return Sql(
        f"scores AS (SELECT *, {total} AS score FROM (SELECT *, {norms} FROM ranks CROSS JOIN bounds) normalised"
        " WHERE image IS NOT NULL OR caption IS NOT NULL OR text > 0)",
        tuple(request.weights[signal] for signal in SIGNALS),
    )
