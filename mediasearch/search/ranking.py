"""The part of the statement that ranks what was found: `near`, with vectors, and `texts`.

Every match is scored on every signal, normalised over the best K of each, and summed with weights. Most matches are not
among the best K of any signal, and can't come in: then only those that are get a score, and the statement says whether
that was enough (the threshold algorithm of Fagin, Lotem and Naor, 2003).
"""

from __future__ import annotations

from collections.abc import Sequence

from mediasearch.conf import BOOSTS, SIGNALS
from mediasearch.models import Asset, Generation
from mediasearch.search import signals
from mediasearch.search.fusion import K
from mediasearch.search.request import Request
from mediasearch.search.signals import Sql, params

_ASSETS = Asset._meta.db_table
_BEST_FIRST = "score DESC, raw DESC, id"
"""Beyond the best K all normalised scores may be 0: the weighted sum of those that were measured goes on from there."""
_STANDING_IN = {
    "image": "coalesce(image{0}, caption{0}, 0)",
    "caption": "coalesce(caption{0}, image{0}, 0)",
    "text": "coalesce(text{0}, 0)",
}
"""Where a picture lacks one of the two vectors, most often because nobody wrote a caption, the other stands in for it.

Counted as 0 instead, the lack would put every undescribed picture behind every described one: on 51 photos of which
half had captions, R@1 of the others fell from .65 to .00 (benchmarks/RESULTS.md).
"""


def ranked(request: Request, found: Sequence[Sql], scope_size: str) -> Sql:
    """Rank what was found. The first row tells of all of it; where there are no hits, it is the only one."""
    asked = _asked(request)
    parts = [*found, _signals(request), *(_best(signal, request.window) for signal in asked)]
    parts += [_bounds(request, asked), _scores(request, asked), _page(request), _summary(request, asked)]
    norms = [f"page.{name}_norm" for name in SIGNALS]
    boosts = [f"page.{name}_norm" if request.weights[name] else f"NULL::float8 AS {name}_norm" for name in BOOSTS]
    ranks = [
        f"(SELECT place FROM {signal}_best WHERE id = page.id) AS {signal}_rank"
        if signal in asked
        else f"NULL AS {signal}_rank"
        for signal in SIGNALS
    ]
    words = _words(request)
    shown = ", ".join([*(f"page.{signal}" for signal in SIGNALS), *norms, *boosts, *ranks])
    return Sql(
        f"WITH {', '.join(part.text for part in parts)} SELECT summary.*, {scope_size} AS scope_size,"
        f" {_is_active(request.generation)} AS is_active, page.id, page.score, {shown}, {words.text} AS words"
        " FROM summary LEFT JOIN page ON true ORDER BY page.place",
        (*params(parts), *words.params),
    )


def _words(request: Request) -> Sql:
    if request.text is None:
        return Sql("NULL::text[]")
    words = signals.matched_words(request.text)
    return Sql(f"(SELECT {words.text} FROM {_ASSETS} a WHERE a.id = page.id)", words.params)


def _asked(request: Request) -> tuple[str, ...]:
    return (*request.vectors, *(("text",) if request.text else ()))


def _is_active(generation: Generation | None) -> str:
    """Is the generation still the active one, in the same snapshot as its vectors? Else they may be being deleted."""
    if generation is None:
        return "true"
    table = Generation._meta.db_table
    return f"EXISTS (SELECT FROM {table} WHERE id = {int(generation.pk)} AND state = '{Generation.State.ACTIVE}')"


def _signals(request: Request) -> Sql:
    """Every signal of every match; NULL where it says nothing. A full join is never a nested loop."""
    if request.vectors and request.text:
        source = "SELECT id, image, caption, text, quality FROM near FULL JOIN texts USING (id)"
    elif request.vectors:
        source = "SELECT id, image, caption, NULL::float8 AS text, NULL::float8 AS quality FROM near"
    else:
        source = "SELECT id, NULL::float8 AS image, NULL::float8 AS caption, text, quality FROM texts"
    return Sql(f"signals AS MATERIALIZED ({source})")


def _best(signal: str, number: int) -> Sql:
    """The best K of a signal, with their places: what sets the scale, and what RRF counts."""
    every = "id, text, quality FROM texts" if signal == "text" else f"id, {signal} FROM near WHERE {signal} IS NOT NULL"
    return Sql(
        f"{signal}_best AS MATERIALIZED (SELECT *, rank() OVER (ORDER BY {signal} DESC) AS place"
        f" FROM (SELECT {every} ORDER BY {signal} DESC, id LIMIT %s) AS best)",
        (number,),
    )


def _bounds(request: Request, asked: Sequence[str]) -> Sql:
    """What the best K of each signal are like, and the least that it takes to be among them.

    Of text the low end is nothing, and the high end a whole match of the best one's quality.
    """
    sql = {"high": "max({0})", "low": "min({0})", "mean": "avg({0})", "spread": "stddev_samp({0})"}
    fixed = {"high": "max(quality) FILTER (WHERE place = 1)", "low": "0::float8"}
    sources = []
    for signal in asked:
        known = sql | fixed if signal == "text" else sql
        columns = [f"{known[name].format(signal)} AS {signal}_{name}" for name in request.fusion.statistics]
        least = "CASE WHEN count(*) < %s THEN 0 ELSE min(text) END" if signal == "text" else f"min({signal})"
        sources.append(
            f"(SELECT {', '.join([*columns, f'{least} AS {signal}_least'])} FROM {signal}_best) AS of_{signal}"
        )
    windows = (request.window,) if "text" in asked else ()
    return Sql(f"bounds AS MATERIALIZED (SELECT * FROM {' CROSS JOIN '.join(sources)})", windows)


def _norms(request: Request, asked: Sequence[str]) -> str:
    return ", ".join(
        f"CASE WHEN {signal} IS NOT NULL THEN {request.fusion.sql(signal)} END AS {signal}_norm"
        if signal in asked
        else f"NULL::float8 AS {signal}_norm"
        for signal in SIGNALS
    )


def _scores(request: Request, asked: Sequence[str]) -> Sql:
    """final = sum(weight * normalised score)."""
    total = [f"{_weight(request, name)} * {_STANDING_IN[name].format('_norm')}" for name in SIGNALS]
    raw = [f"{_weight(request, name)} * {_STANDING_IN[name].format('')}" for name in SIGNALS]
    source, given, columns = "signals", (), "signals.*, bounds.*"
    if request.fusion.by_rank:
        columns += "".join(f", {signal}_best.place AS {signal}_rank" for signal in asked)
        source += "".join(f" LEFT JOIN {signal}_best USING (id)" for signal in asked)
    boosted = [name for name in BOOSTS if request.weights[name]]
    if boosted:
        scale = f" / {K + 1}" if request.fusion.by_rank else ""  # As much as a first place.
        sql = signals.boosts(request.boost)
        columns += "".join(f", {sql[name].text}{scale} AS {name}_norm" for name in boosted)
        given = params(sql[name] for name in boosted)
        source += f" JOIN {_ASSETS} a ON a.id = signals.id"
        total += [f"{_weight(request, name)} * {name}_norm" for name in boosted]
    narrow = " OR ".join(f"{signal} >= {signal}_least" for signal in asked) if request.is_narrow else "true"
    return Sql(
        f"scores AS (SELECT *, {' + '.join(total)} AS score, {' + '.join(raw)} AS raw"
        f" FROM (SELECT *, {_norms(request, asked)} FROM (SELECT {columns} FROM {source} CROSS JOIN bounds) AS known"
        f" WHERE {narrow}) AS normalised)",
        given,
    )


def _weight(request: Request, name: str) -> str:
    return f"{float(request.weights[name])!r}::float8"


def _ceiling(request: Request, asked: Sequence[str]) -> str:
    """The most that a match can get which is among the best K of no signal."""
    least = [f"{signal}_least AS {signal}" for signal in asked if signal != "text"]
    if request.text:
        least.append(f"greatest(text_least, {request.few.missed if request.few else 0.0!r}::float8) AS text")
    places = [f"NULL::bigint AS {signal}_rank" for signal in asked if request.fusion.by_rank]
    source = f"(SELECT bounds.*, {', '.join([*least, *places])} FROM bounds) AS at_least"
    vectors = request.weights["image"] + request.weights["caption"]
    return (
        f"(SELECT {float(vectors)!r}::float8 * coalesce(greatest(image_norm, caption_norm), 0)"
        f" + {_weight(request, 'text')} * coalesce(text_norm, 0) FROM (SELECT {_norms(request, asked)}"
        f" FROM {source}) AS n)"
    )


def _summary(request: Request, asked: Sequence[str]) -> Sql:
    """How much was found, and whether all that belongs on the page was scored."""
    counted = "(SELECT count(*) AS total, count(image) AS encoded FROM signals) AS counted"
    if not request.is_narrow:
        return Sql(f"summary AS (SELECT total, encoded, true AS is_whole FROM {counted})")
    proven = f"count(*) FILTER (WHERE score > {_ceiling(request, asked)}) >= %s"
    scored = f"(SELECT count(*) AS number, {proven} AS is_proven FROM scores) AS scored"
    whole = "is_proven" if request.few else "is_proven OR number = total"
    return Sql(
        f"summary AS (SELECT total, encoded, {whole} AS is_whole FROM {counted} CROSS JOIN {scored})",
        (request.limit + request.offset,),
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
        f" JOIN {_ASSETS} a USING (id) ORDER BY {request.order}, best.id LIMIT %s OFFSET %s)",
        (request.deepest, request.limit, request.offset),
    )
