"""Rows of the statement as hits that say why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import QuerySet

from mediasearch import conf
from mediasearch.models import Asset
from mediasearch.search.results import Evidence, Hit


def of(
    rows: Sequence[Mapping[str, Any]], words: Sequence[str], weights: Mapping[str, float], scope: QuerySet[Asset]
) -> tuple[Hit, ...]:
    """Return the hits of rows, in their order; what has left the scope meanwhile is left out."""
    assets = scope.defer("text_vector").in_bulk([row["id"] for row in rows])
    return tuple(
        Hit(assets[row["id"]], row["score"], _evidence(row, weights), _matched(row, words), row.get("rerank"))
        for row in rows
        if row["id"] in assets
    )


def _matched(row: Mapping[str, Any], words: Sequence[str]) -> dict[str, str]:
    return {word: how for word, how in zip(words, row["words"] or (), strict=False) if how}


def _evidence(row: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, Evidence]:
    """What each signal says; a vector that stood in for the other has that one's share as well."""
    if "image" not in row:  # Nothing was asked.
        return {}
    present = [signal for signal in conf.SIGNALS if row[signal] is not None and (signal != "text" or row[signal] > 0)]
    carried = {signal: weights[signal] for signal in present}
    for absent, other in (("caption", "image"), ("image", "caption")):
        if absent not in carried and other in carried:
            carried[other] += weights[absent]
    said = {signal: (row[signal], row[f"{signal}_rank"]) for signal in present}
    for boost in conf.BOOSTS:
        if row[f"{boost}_norm"] is not None:
            said[boost], carried[boost] = (row[f"{boost}_norm"], None), weights[boost]
    whole = sum(carried[name] * row[f"{name}_norm"] for name in said)
    return {
        name: Evidence(score, row[f"{name}_norm"], rank, carried[name] * row[f"{name}_norm"] / whole if whole else 0.0)
        for name, (score, rank) in said.items()
    }
