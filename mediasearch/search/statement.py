"""The one SQL statement that scores and ranks.

Two plans differ only in where candidates come from: `exact` takes the whole scope, `hnsw` the best of each index.
Either way every candidate is then scored on every signal, normalised over the best K of each, and summed with weights.
Generation ids and dimensions are integers in the text: as parameters they would cost the planner its proof that the
partial index applies. The vectors are bound once, and used as results of a subselect, which the index takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgvector import HalfVector

from mediasearch.conf import BOOSTS, SIGNALS
from mediasearch.fulltext import RANK_WEIGHTS, TextQuery, Word
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search.fusion import STATISTICS, Fusion, K
from mediasearch.search.vectors import Vector

ASSETS, EMBEDDINGS = Asset._meta.db_table, Embedding._meta.db_table
VECTORS = ("image", "caption")
STEM, PART = 0.6, 0.3
"""What a word of the same stem counts, and a part of a longer word; a word by itself counts 1."""


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL text with its parameters, in order."""

    text: str
    params: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Boost:
    """What makes a picture count more whatever is asked."""

    recency_days: float
    """The age at which recency counts half."""
    popular: float
    """The popularity that counts half."""


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
    """K: how many of each signal's best are candidates of the `hnsw` plan, and set the scale of normalisation."""
    limit: int
    offset: int

    def dimensions(self, field: str) -> int:
        assert self.generation is not None
        return self.generation.dimensions if field == "image" else self.generation.caption_dimensions


def exact(request: Request, bound: int | None) -> Sql:
    """Score the whole scope; with a `bound`, stop when it has more assets than that, and return nothing."""
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
        (*request.scope.params, request.window),
    )


def _text_leg(request: Request, text: TextQuery) -> Sql:
    any_word, score = _any_word(text), _text_score(text)
    return Sql(
        f"text_leg AS MATERIALIZED (SELECT a.id FROM {ASSETS} a"
        f" WHERE a.text_vector @@ {any_word.text} AND a.id IN ({request.scope.text})"
        f" ORDER BY {score.text} DESC, a.id LIMIT %s)",
        (*any_word.params, *request.scope.params, *score.params, request.window),
    )


def _any_word(text: TextQuery) -> Sql:
    return Sql(*text.any_word)


def _text_score(text: TextQuery) -> Sql:
    """The share of the question's words that match, squared, times a quality from ts_rank.

    So one word of a long sentence is weak evidence, and all of a short question strong, whatever else there is.
    """
    counted = [_counted(word) for word in text.words]
    quality = _quality(text)
    return Sql(
        f"(({' + '.join(part.text for part in counted)}) / {len(counted)}::float8) ^ 2 * {quality.text}",
        (*_params(counted), *quality.params),
    )


def _counted(word: Word) -> Sql:
    forms = [(word.exact, 1.0), (word.stem, STEM), (word.anywhere, PART)]
    distinct = [form for place, form in enumerate(forms) if form[0] not in [other for other, _ in forms[:place]]]
    cases = " ".join(f"WHEN a.text_vector @@ {sql} THEN {worth}" for (sql, _), worth in distinct)
    return Sql(f"CASE {cases} ELSE 0 END", tuple(param for (_, params), _ in distinct for param in params))


def _quality(text: TextQuery) -> Sql:
    any_word = _any_word(text)
    rank = f"ts_rank('{RANK_WEIGHTS}', a.text_vector, {any_word.text}, 1 | 32)"
    return Sql(f"((1 + {rank}) / 2)::float8", any_word.params)


def _ranked(request: Request, candidates: Sequence[Sql], scope_size: str) -> Sql:
    parts = [*_asked(request), *candidates, _signals(request), *_best(request), _bounds(), _scores(request), _page()]
    shown = ", ".join([*SIGNALS, *(f"{name}_norm" for name in (*SIGNALS, *BOOSTS))])
    ranks = ", ".join(f"{signal}_best.place AS {signal}_rank" for signal in SIGNALS)
    joins = "".join(f" LEFT JOIN {signal}_best ON {signal}_best.id = page.id" for signal in SIGNALS)
    return Sql(
        f"WITH {', '.join(part.text for part in parts)}"
        f" SELECT page.id, score, {', '.join(f'page.{name.strip()}' for name in shown.split(','))}, {ranks},"
        f" total, encoded, {scope_size} AS scope_size, {_is_active(request.generation)} AS is_active"
        f" FROM page{joins} ORDER BY score DESC, page.id",
        (*_params(parts), request.limit, request.offset),
    )


def _params(parts: Iterable[Sql]) -> tuple[Any, ...]:
    return tuple(param for part in parts for param in part.params)


def _is_active(generation: Generation | None) -> str:
    """Is the generation still the active one, in the same snapshot as its vectors? Else they may be being deleted."""
    if generation is None:
        return "true"
    table = Generation._meta.db_table
    return f"EXISTS (SELECT FROM {table} WHERE id = {int(generation.pk)} AND state = '{Generation.State.ACTIVE}')"


def _signals(request: Request) -> Sql:
    """Every signal of every candidate; text is 0 and not unknown where nothing matches."""
    columns: list[str] = []
    params: list[Any] = []
    for field in VECTORS:
        asks = field in request.vectors
        columns.append(f"-({_distance(request, field, 'e.')}) AS {field}" if asks else f"NULL::float8 AS {field}")
    if request.text:
        any_word, score, quality = _any_word(request.text), _text_score(request.text), _quality(request.text)
        matches = f"CASE WHEN a.text_vector @@ {any_word.text} THEN"
        columns.append(f"{matches} {score.text} ELSE 0 END AS text, {matches} {quality.text} END AS quality")
        params += [*any_word.params, *score.params, *any_word.params, *quality.params]
    else:
        columns.append("NULL::float8 AS text, NULL::float8 AS quality")
    scale = f" / {K + 1}" if request.fusion.by_rank else ""  # As much as a first place.
    for name, sql in _boosts(request.boost).items():
        asks = request.weights[name] > 0
        columns.append(f"{sql.text + scale if asks else 'NULL::float8'} AS {name}_norm")
        params += sql.params if asks else ()
    generation = int(request.generation.pk) if request.generation else 0
    return Sql(
        f"signals AS MATERIALIZED (SELECT a.id, {', '.join(columns)} FROM candidates JOIN {ASSETS} a USING (id)"
        f" LEFT JOIN {EMBEDDINGS} e ON e.asset_id = a.id AND e.generation_id = {generation})",
        tuple(params),
    )


def _boosts(boost: Boost) -> dict[str, Sql]:
    """From 0 to 1, the same in every search: half at a set age, half at a set popularity."""
    age = "greatest(0, extract(epoch FROM now() - coalesce(a.taken_at, a.created_at)) / 86400)::float8"
    return {
        "recency": Sql(f"(0.5 ^ least(1000, {age} / %s::float8))", (boost.recency_days,)),
        "popularity": Sql("(a.popularity / (a.popularity + %s::float8))", (boost.popular,)),
    }


def _best(request: Request) -> list[Sql]:
    """The best K of each signal, with their places: what sets the scale, and what RRF counts."""
    return [
        Sql(
            f"{signal}_best AS MATERIALIZED (SELECT *, rank() OVER (ORDER BY {signal} DESC) AS place"
            f" FROM (SELECT id, {signal} FROM signals WHERE {signal} {'> 0' if signal == 'text' else 'IS NOT NULL'}"
            f" ORDER BY {signal} DESC, id LIMIT %s) AS best)",
            (request.window,),
        )
        for signal in SIGNALS
    ]


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
        " (SELECT max(quality) FROM signals) AS text_high, 0::float8 AS text_low)"
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
    return Sql(
        f"scores AS (SELECT *, {total} AS score FROM (SELECT *, {norms} FROM {source} CROSS JOIN bounds) AS normalised"
        " WHERE image IS NOT NULL OR caption IS NOT NULL OR text > 0)",
        tuple(request.weights[name] for name in (*SIGNALS, *BOOSTS)),
    )


def _page() -> Sql:
    """The hits of one page. The limit and the offset are the statement's last parameters."""
    return Sql(
        "page AS MATERIALIZED (SELECT *, count(*) OVER () AS total, count(image) OVER () AS encoded"
        " FROM scores ORDER BY score DESC, id LIMIT %s OFFSET %s)"
    )
