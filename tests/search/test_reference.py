"""The engine beside a brute-force reference in NumPy, on questions that Hypothesis makes up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pgvector import HalfVector

import mediasearch
from mediasearch import conf, fulltext
from mediasearch.features.fake import FakeEncoder
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search import fusion
from mediasearch.search.pictures import Picture

WORDS = ("red", "blue", "green", "lamp", "tree", "2.40")
CATEGORIES = ("", "cars", "sea")
COUNT, WINDOW = 60, 15
TOLERANCE = 2e-3
"""Half floats have 11 bits, and DBSF divides by a spread."""


@dataclass(frozen=True)
class Row:
    """One asset as the reference sees it."""

    pk: int
    category: str
    words: frozenset[str]
    quality: Mapping[str, float]
    vectors: Mapping[str, Any]


@pytest.fixture
def rows(active_generation: Generation) -> list[Row]:
    """Assets of which some share their vectors, and some lack one or both."""
    chance = np.random.default_rng(5)
    assets = [
        Asset(
            source="library",
            title=" ".join(chance.choice(WORDS, size=chance.integers(0, 4), replace=False)),
            category=str(chance.choice(CATEGORIES)),
            popularity=int(chance.integers(0, 300)),
        )
        for _ in range(COUNT)
    ]
    made = Asset.objects.bulk_create(assets)
    few = [_unit(chance.normal(size=16)) for _ in range(COUNT // 3)]
    embeddings = []
    for number, asset in enumerate(made):
        image = few[chance.integers(len(few))] if number % 7 else None
        caption = few[chance.integers(len(few))] if number % 3 else None
        if image is not None or caption is not None:
            embeddings.append(Embedding(generation=active_generation, asset=asset, image=image, caption=caption))
    Embedding.objects.bulk_create(embeddings)
    kept = {one.asset_id: one for one in Embedding.objects.all()}
    return [
        Row(
            asset.pk,
            asset.category,
            frozenset(asset.title.split()),
            {},
            {
                name: _floats(getattr(kept[asset.pk], name))
                for name in ("image", "caption")
                if asset.pk in kept and getattr(kept[asset.pk], name) is not None
            },
        )
        for asset in made
    ]


def _unit(vector: Any) -> Any:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _floats(vector: Any) -> Any:
    return np.asarray(vector.to_list() if isinstance(vector, HalfVector) else vector, dtype=np.float64)


def _half(vector: Any) -> Any:
    return np.asarray(vector, dtype=np.float16).astype(np.float64)


def _qualities(words: list[str]) -> dict[int, float]:
    """What ts_rank makes of each asset that has any of the words."""
    query = fulltext.query(" ".join(words), "")
    if query is None:
        return {}
    sql, params = query.any_word
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, (1 + ts_rank('{fulltext.RANK_WEIGHTS}', text_vector, {sql}, 1 | 32)) / 2"
            f" FROM mediasearch_asset WHERE text_vector @@ {sql}",
            [*params, *params],
        )
        return {pk: float(quality) for pk, quality in cursor.fetchall()}


def _coverage(words: list[str], row: Row) -> float:
    """The share of the words that a title has; 2.40 is asked for as itself and its parts."""
    asked = [part for word in words for part in (("2.40", "2", "40") if word == "2.40" else (word,))]
    found = [part in row.words or ("2.40" in row.words and part in ("2", "40")) for part in asked]
    return sum(found) / len(found) if found else 0.0


def reference(
    rows: list[Row], words: list[str], picture: Any, weights: Mapping[str, float], how: str
) -> dict[int, float]:
    """Return the fused score of each match."""
    encoded = _half(FakeEncoder().encode_texts([" ".join(words)])[0]) if words else None
    image = encoded if picture is None else _half(picture)
    if words and picture is not None:
        image = _half(_unit(FakeEncoder().encode_texts([" ".join(words)])[0] + picture))
    asked = {"image": image, "caption": encoded}
    raw: dict[str, dict[int, float]] = {
        name: {
            row.pk: float(row.vectors[name] @ vector)
            for row in rows
            if vector is not None and weights[name] and name in row.vectors
        }
        for name, vector in asked.items()
    }
    qualities = _qualities(words) if weights["text"] else {}
    raw["text"] = {row.pk: _coverage(words, row) ** 2 * qualities[row.pk] for row in rows if row.pk in qualities}
    norms = {name: _norms(name, scores, how, qualities) for name, scores in raw.items()}
    matches = {pk for scores in raw.values() for pk in scores}
    fused = {}
    for pk in matches:
        image_norm, caption_norm = norms["image"].get(pk), norms["caption"].get(pk)
        parts = {
            "image": image_norm if image_norm is not None else caption_norm,
            "caption": caption_norm if caption_norm is not None else image_norm,
            "text": norms["text"].get(pk),
        }
        fused[pk] = sum(weights[name] * (norm or 0.0) for name, norm in parts.items())
    return fused


def _norms(name: str, scores: Mapping[int, float], how: str, qualities: Mapping[int, float]) -> dict[int, float]:
    """Normalise by what the best of a signal are like."""
    best = dict(sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:WINDOW])
    values = list(best.values())
    if not values:
        return {}
    if how == "rrf":
        places = fusion.ReciprocalRank().norms(best)
        return {pk: places.get(pk, 0.0) for pk in scores}
    if how == "arctan":
        return fusion.Arctan().norms(scores, name)
    if how == "dbsf":
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        mean = float(np.mean(values))
        return {pk: (s - mean + 3 * spread) / (6 * spread) if spread > 1e-9 else 0.5 for pk, s in scores.items()}
    high, low = max(values), min(values)
    if name == "text":
        high, low = max(qualities[pk] for pk, score in best.items() if score > high - 1e-9), 0.0
    if math.isclose(high, low, abs_tol=1e-9):
        return dict.fromkeys(scores, 1.0)
    return {pk: max(0.0, (s - low) / (high - low)) for pk, s in scores.items()}


@pytest.mark.django_db
@pytest.mark.parametrize("plan", ["exact", "hnsw"])
def test_search__is_what_brute_force_finds(rows: list[Row], plan: str, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "CANDIDATES": WINDOW,
        "EXACT_SCOPE": 10_000 if plan == "exact" else 1,
        "TEXT_CONFIGS": {},
    }
    _compare(rows, plan)


def _compare(rows: list[Row], plan: str) -> None:
    fingerprint = Generation.objects.get().fingerprint
    weight = st.sampled_from([0.0, 0.5, 1.0, 2.0])

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        words=st.lists(st.sampled_from(WORDS), max_size=3, unique=True),
        seed=st.none() | st.integers(0, 9),
        weights=st.fixed_dictionaries({"image": weight, "caption": weight, "text": weight}),
        how=st.sampled_from(["minmax", "dbsf", "arctan", "rrf"]),
        category=st.sampled_from(CATEGORIES),
        limit=st.integers(1, 70),
        offset=st.integers(0, 20),
    )
    def compare(
        words: list[str],
        seed: int | None,
        weights: dict[str, float],
        how: str,
        category: str,
        limit: int,
        offset: int,
    ) -> None:
        picture = None if seed is None else _unit(np.random.default_rng(seed).normal(size=16))
        if (
            not (words or picture is not None)
            or not any(weights.values())
            or (picture is not None and not weights["image"])
        ):
            return
        results = mediasearch.search(
            " ".join(words),
            image=None if picture is None else Picture(fingerprint, picture),
            weights=weights,
            fusion=how,
            category=category,
            limit=limit,
            offset=offset,
        )
        scope = [row for row in rows if not category or row.category == category]
        expected = reference(scope, words, picture, conf.weights(weights, "weights"), how)
        ordered = sorted(expected.values(), reverse=True)[offset : offset + limit]
        assert [hit.score for hit in results] == pytest.approx(ordered, abs=TOLERANCE)
        for hit in results:
            assert hit.score == pytest.approx(expected[hit.asset.pk], abs=TOLERANCE)
        assert len({hit.asset.pk for hit in results}) == len(results)
        if results.plan == "exact":
            assert results.total == len(expected)
        else:
            assert len(results) <= results.total <= len(expected)

    compare()
