"""The one SQL statement that scores and ranks.

Two plans differ only in where candidates come from: `exact` takes the whole scope, `hnsw` the best of each index.
Either way every candidate is then scored on every signal, normalised over the best K of each, and summed with weights.
Generation ids and dimensions are integers in the text: as parameters they would cost the planner its proof that the
partial index applies. The vectors are bound once, and used as results of a subselect, which the index takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgvector import HalfVector

from mediasearch.conf import BOOSTS, SIGNALS
from mediasearch.fulltext import TextQuery
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search import signals
from mediasearch.search.fusion import STATISTICS, Fusion, K
from mediasearch.search.signals import Boost, Sql, params
from mediasearch.search.vectors import Vector

ASSETS, EMBEDDINGS = Asset._meta.db_table, Embedding._meta.db_table
VECTORS = ("image", "caption")
_BEST_FIRST = "score DESC, raw DESC, id"
"""Beyond the best K all normalised scores may be 0: the weighted sum of those that were measured goes on from there."""


@dataclass(frozen=True, slots=True)
class Request:
    """All that the statement depends on."""

    scope: Sql
    """Selects the ids that may be returned."""
    generation: Generation | None
    vectors: Mapping[str, Vector]
    text: TextQuery | None
    weights: Mapping[str, float]
    fusion: Fusion
    boost: Boost
    window: int
    """K: how many of each signal's best set the scale of normalisation, whichever page is asked for."""
    limit: int
    offset: int
    order: str = ""
    """SQL over an asset `a` that the best `deepest` are sorted by; "" for their scores."""
    deepest: int = 1_000

    @property
    def reach(self) -> int:
        """How many of each signal's best are candidates of the `hnsw` plan."""
        return max(self.window, self.limit + self.offset, self.deepest if self.order else 0)

    def dimensions(self, field: str) -> int:
        assert self.generation is not None
        return self.generation.dimensions if field == "image" else self.generation.caption_dimensions


def exact(request: Request, bound: int | None) -> Sql:
    """Score the whole scope; with a `bound`, stop when it has more assets than that, and rank none of them."""
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


def given(request: Request, ids: Sequence[int]) -> Sql:
    """Score what legs of another store found, as far as it is in the scope, and the best of the text index."""
    legs = [Sql("given_leg AS MATERIALIZED (SELECT unnest(%s::bigint[]) AS id)", (list(ids),))]
    names = [f"given_leg WHERE id IN ({request.scope.text})"]
    if request.text:
        legs.append(_text_leg(request, request.text))
        names.append("text_leg")
    union = Sql(f"candidates AS ({' UNION '.join(f'SELECT id FROM {name}' for name in names)})", request.scope.params)
    return _ranked(request, [*legs, union], "NULL::bigint")


def _asked(request: Request) -> list[Sql]:
    """The vectors of the question, bound once however often they are compared with."""
    if not request.vectors:
        return []
    columns = ", ".join(f"%s::halfvec({request.dimensions(field)}) AS {field}" for field in request.vectors)
    bound = tuple(str(HalfVector(vector).to_text()) for vector in request.vectors.values())
    return [Sql(f"asked AS MATERIALIZED (SELECT {columns})", bound)]


def _distance(request: Request, field: str, table: str = "") -> str:
    return f"{table}{field}::halfvec({int(request.dimensions(field))}) <#> (SELECT {field} FROM asked)"


def _vector_leg(request: Request, field: str) -> Sql:
    assert request.generation is not None
    return Sql(
        f"{field}_leg AS MATERIALIZED (SELECT asset_id AS id FROM {EMBEDDINGS}"
        f" WHERE generation_id = {int(request.generation.pk)} AND asset_id IN ({request.scope.text})"
        f" AND {field} IS NOT NULL ORDER BY {_distance(request, field)} LIMIT %s)",
        (*request.scope.params, request.reach),
    )


def _text_leg(request: Request, text: TextQuery) -> Sql:
    any_word, score = signals.any_word(text), signals.text_score(text)
    return Sql(
        f"text_leg AS MATERIALIZED (SELECT a.id FROM {ASSETS} a"
        f" WHERE a.text_vector @@ {any_word.text} AND a.id IN ({request.scope.text})"
        f" ORDER BY {score.text} DESC, a.id LIMIT %s)",
        (*any_word.params, *request.scope.params, *score.params, request.reach),
    )


def _ranked(request: Request, candidates: Sequence[Sql], scope_size: str) -> Sql:
    """Rank candidates. The first row tells of all of them; where there are no hits, it is the only one."""
    parts = [*_asked(request), *candidates, _signals(request), *_best(request), _bounds(), _scores(request)]
    parts += [_page(request), Sql("summary AS (SELECT count(*) AS total, count(image) AS encoded FROM scores)")]
    shown = ", ".join(f"page.{name}" for name in (*SIGNALS, *(f"{name}_norm" for name in (*SIGNALS, *BOOSTS))))
    ranks = ", ".join(f"{signal}_best.place AS {signal}_rank" for signal in SIGNALS)
    joins = "".join(f" LEFT JOIN {signal}_best ON {signal}_best.id = page.id" for signal in SIGNALS)
    words = signals.matched_words(request.text) if request.text else Sql("NULL::text[]")
    return Sql(
        f"WITH {', '.join(part.text for part in parts)} SELECT total, encoded, {scope_size} AS scope_size,"
        f" {_is_active(request.generation)} AS is_active, page.id, page.score, {shown}, {ranks},"
        f" {words.text} AS words FROM summary LEFT JOIN page ON true{joins} LEFT JOIN {ASSETS} a ON a.id = page.id"
        " ORDER BY page.place",
        (*params(parts), *words.params),
    )


def _is_active(generation: Generation | None) -> str:
    """Is the generation still the active one, in the same snapshot as its vectors? Else they may be being deleted."""
    if generation is None:
        return "true"
    table = Generation._meta.db_table
    return f"EXISTS (SELECT FROM {table} WHERE id = {int(generation.pk)} AND state = '{Generation.State.ACTIVE}')"


def _signals(request: Request) -> Sql:
    """Every signal of every candidate; text is 0 and not unknown where nothing matches."""
    columns: list[str] = []
    given: list[Any] = []
    for field in VECTORS:
        asks = field in request.vectors
        columns.append(f"-({_distance(request, field, 'e.')}) AS {field}" if asks else f"NULL::float8 AS {field}")
    if request.text:
        any_word, score = signals.any_word(request.text), signals.text_score(request.text)
        quality = signals.quality(request.text)
        matches = f"CASE WHEN a.text_vector @@ {any_word.text} THEN"
        columns.append(f"{matches} {score.text} ELSE 0 END AS text, {matches} {quality.text} END AS quality")
        given += [*any_word.params, *score.params, *any_word.params, *quality.params]
    else:
        columns.append("NULL::float8 AS text, NULL::float8 AS quality")
    scale = f" / {K + 1}" if request.fusion.by_rank else ""  # As much as a first place.
    for name, sql in signals.boosts(request.boost).items():
        asks = request.weights[name] > 0
        columns.append(f"{sql.text + scale if asks else 'NULL::float8'} AS {name}_norm")
        given += sql.params if asks else ()
    generation = int(request.generation.pk) if request.generation else 0
    return Sql(
        f"signals AS MATERIALIZED (SELECT a.id, {', '.join(columns)} FROM candidates JOIN {ASSETS} a USING (id)"
        f" LEFT JOIN {EMBEDDINGS} e ON e.asset_id = a.id AND e.generation_id = {generation})",
        tuple(given),
    )


def _best(request: Request) -> list[Sql]:
    """The best K of each signal, with their places: what sets the scale, and what RRF counts."""
    return [
        _best_of("image", "IS NOT NULL", request.window),
        _best_of("caption", "IS NOT NULL", request.window),
        _best_of("text", "> 0", request.window, ", quality"),
    ]


def _best_of(signal: str, present: str, number: int, also: str = "") -> Sql:
    return Sql(
        f"{signal}_best AS MATERIALIZED (SELECT *, rank() OVER (ORDER BY {signal} DESC) AS place"
        f" FROM (SELECT id, {signal}{also} FROM signals WHERE {signal} {present}"
        f" ORDER BY {signal} DESC, id LIMIT %s) AS best)",
        (number,),
    )


def _bounds() -> Sql:
    """What the best K are like. Of text the low end is nothing and the high end a whole match: its scale is fixed."""
    sql = {"high": "max", "low": "min", "mean": "avg", "spread": "stddev_samp"}
    columns = [
        f"(SELECT {sql[name]}({signal}) FROM {signal}_best) AS {signal}_{name}"
        for signal in SIGNALS
        for name in STATISTICS
        if signal != "text" or name in ("mean", "spread")
    ]
    return Sql(
        f"bounds AS MATERIALIZED (SELECT {', '.join(columns)},"
        " (SELECT max(quality) FROM text_best) AS text_high, 0::float8 AS text_low)"
    )


def _scores(request: Request) -> Sql:
    """final = sum(weight * normalised score), over what has any evidence at all.

    Where a picture lacks one of the two vectors, most often because nobody wrote a caption, the other stands in for
    it. Counted as 0 instead, the lack would put every undescribed picture behind every described one: on 51 photos of
    which half had captions, R@1 of the others fell from .65 to .00 (benchmarks/RESULTS.md).
    """
    norms = ", ".join(
        f"CASE WHEN {signal} {'> 0' if signal == 'text' else 'IS NOT NULL'}"
        f" THEN {request.fusion.sql(signal)} {'ELSE 0 ' if signal == 'text' else ''}END AS {signal}_norm"
        for signal in SIGNALS
    )
    source = "signals"
    if request.fusion.by_rank:
        places = ", ".join(f"{signal}_best.place AS {signal}_rank" for signal in SIGNALS)
        joins = "".join(f" LEFT JOIN {signal}_best ON {signal}_best.id = signals.id" for signal in SIGNALS)
        source = f"(SELECT signals.*, {places} FROM signals{joins}) AS placed"
    standing_in = {
        "image": "coalesce(image_norm, caption_norm, 0)",
        "caption": "coalesce(caption_norm, image_norm, 0)",
        "text": "coalesce(text_norm, 0)",
        **{name: f"coalesce({name}_norm, 0)" for name in BOOSTS},
    }
    total = " + ".join(f"%s::float8 * {standing_in[name]}" for name in (*SIGNALS, *BOOSTS))
    raw = " + ".join(f"%s::float8 * {standing_in[name].replace('_norm', '')}" for name in SIGNALS)
    return Sql(
        f"scores AS (SELECT *, {total} AS score, {raw} AS raw"
        f" FROM (SELECT *, {norms} FROM {source} CROSS JOIN bounds) AS normalised"
        " WHERE image IS NOT NULL OR caption IS NOT NULL OR text > 0)",
        tuple(request.weights[name] for name in (*SIGNALS, *BOOSTS, *SIGNALS)),
    )


def _page(request: Request) -> Sql:
    """The hits of one page, in their order; sorted otherwise than by relevance, the best `deepest` are."""
    if not request.order:
        return Sql(
            f"page AS MATERIALIZED (SELECT *, row_number() OVER (ORDER BY {_BEST_FIRST}) AS place"
            f" FROM (SELECT * FROM scores ORDER BY {_BEST_FIRST} LIMIT %s OFFSET %s) AS hits)",
            (request.limit, request.offset),
        )
    return Sql(
        f"page AS MATERIALIZED (SELECT best.*, row_number() OVER (ORDER BY {request.order}, best.id) AS place"
        f" FROM (SELECT * FROM scores ORDER BY {_BEST_FIRST} LIMIT %s) AS best"
        f" JOIN {ASSETS} a USING (id) ORDER BY {request.order}, best.id LIMIT %s OFFSET %s)",
        (request.deepest, request.limit, request.offset),
    )
