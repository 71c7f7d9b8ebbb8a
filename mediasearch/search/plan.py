"""Which plan answers: the whole scope scored exactly, or the best of each HNSW index.

Where a small scope is expected, the exact statement runs, guarded: it gives up where there are more assets than the
bound. Where a large one is, that is looked at first.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from mediasearch import conf
from mediasearch.exceptions import Unavailable
from mediasearch.models import Asset, Generation
from mediasearch.search import legs, rarity, size, statement
from mediasearch.search.request import Request
from mediasearch.search.scan import scanning
from mediasearch.search.signals import Sql

logger = logging.getLogger(__name__)
_PLACE = re.compile("%[%s]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement found, and how."""

    plan: str
    """`exact`, `hnsw`, or `legs` of another store."""
    rows: list[dict[str, Any]]
    """The hits of the page that was asked for."""
    total: int
    """Matches: all of the scope's where the plan is exact, else those among the candidates."""
    encoded: int
    """Those of them that have an image vector."""
    scope_size: int | None
    """Assets of the scope, where the plan looked at all of them."""
    is_active: bool
    """Was the generation still the active one?"""
    is_whole: bool = True
    """Was all scored that could be on the page?"""
    retried: bool = False
    """Did the indexes fall short, so that the whole scope was scored after all?"""


def execute(request: Request, scope: QuerySet[Asset]) -> Answer:
    """Score the scope where it is small; else ask the indexes, and where those fall short, the scope after all."""
    using, bound = scope.db, conf.settings().exact_scope
    estimate = size.estimated(request.scope, using)
    if estimate <= bound or size.is_small(request.scope, using, estimate):
        answer = _whole(request, lambda asked: _run(statement.exact(asked, bound), using, "exact"))
        if answer.scope_size is not None and answer.scope_size <= bound:
            return answer
    narrowed = request
    if request.text and request.is_narrow and not request.fusion.counts_all:
        narrowed = replace(request, few=rarity.few(request.text, using))
    answer = _by_index(narrowed, scope, estimate)
    if len(answer.rows) < request.limit:
        every = replace(request, all_scored=True)
        return replace(_run(statement.exact(every, None), using, "exact"), retried=True)
    return answer


def _whole(request: Request, run: Callable[[Request], Answer]) -> Answer:
    """Return an answer for which all was scored that could be on the page: if need be, everything."""
    answer = run(request)
    return answer if answer.is_whole else run(replace(request, few=None, all_scored=True))


def _by_index(request: Request, scope: QuerySet[Asset], estimate: float) -> Answer:
    ids = _found_elsewhere(request, scope)
    if ids is not None:
        return _whole(request, lambda asked: _run(statement.given(asked, ids), scope.db, "legs"))
    with scanning(_ef_search(request, estimate), scope.db):
        return _whole(request, lambda asked: _run(statement.hnsw(asked), scope.db, "hnsw"))


def _found_elsewhere(request: Request, scope: QuerySet[Asset]) -> list[int] | None:
    """Return what the legs of another store found; None where there are none, or they do not answer."""
    spec, generation = conf.settings().leg, request.generation
    if spec is None or generation is None or not request.vectors:
        return None
    ids: dict[int, None] = {}
    try:
        for field, vector in request.vectors.items():
            found = legs.of(spec, generation, field).candidates(vector, scope, request.reach)
            ids |= dict.fromkeys(pk for pk, _ in found)
    except Unavailable as fault:
        extra = {"event": "leg-down", "leg": spec.backend, "fault": type(fault).__name__}
        logger.warning("%s does not answer, so PostgreSQL's own indexes do: %s", spec.backend, fault, extra=extra)
        return None
    return list(ids)


def _run(sql: Sql, using: str, plan: str) -> Answer:
    with connections[using].cursor() as cursor:
        cursor.execute(*_bound_once(sql))
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    first = rows[0]
    found = rows if first["id"] is not None else []
    facts = [first[name] for name in ("total", "encoded", "scope_size", "is_active", "is_whole")]
    return Answer(plan, found, *facts)


def _bound_once(sql: Sql) -> tuple[str, dict[str, Any]]:
    """Return the statement with its parameters by name, so that what is used often is written down only once."""
    names: dict[tuple[Any, Any], str] = {}
    values: dict[str, Any] = {}
    given = iter(sql.params)

    def name(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%%"
        value = next(given)
        key = (type(value), value if isinstance(value, str | int | float | bool) else id(value))
        if key not in names:
            names[key] = f"p{len(names)}"
            values[names[key]] = value
        return f"%({names[key]})s"

    return _PLACE.sub(name, sql.text), values


def _ef_search(request: Request, estimate: float) -> int:
    """How many candidates the scan keeps: as calibrated, and more where a filter hides most of what it meets."""
    generation = request.generation
    known: dict[str, Any] = generation.calibration if generation else {}
    wanted = max(known.get("ef_search") or conf.settings().ef_search, request.reach)
    share = min(1.0, estimate / known["rows"]) if known.get("rows") else 1.0
    return round(wanted / math.sqrt(max(share, 0.01)))


def background(generation: Generation | None, *, with_picture: bool) -> dict[str, tuple[float, float]]:
    """Return what unrelated pictures get, mean and spread by signal, from words or a picture; empty if not known."""
    known = generation.calibration.get("background", {}) if generation else {}
    kinds = {"image": "image_picture" if with_picture else "image", "caption": "caption"}
    return {signal: (float(known[kind][0]), float(known[kind][1])) for signal, kind in kinds.items() if kind in known}
