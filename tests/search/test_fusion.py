"""The fusion formulas beside the engines that they are named after: the real one of Qdrant, the others by formula."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import qdrant_edge as qdrant

from mediasearch.exceptions import QueryError
from mediasearch.search import fusion

Lists = dict[str, dict[int, float]]
SIGNALS = ("image", "caption")
EQUAL = {"image": 1.0, "caption": 1.0}


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[qdrant.EdgeShard]:
    """A real shard, in which a point's score is what its vector says."""
    vectors = {name: qdrant.EdgeVectorParams(size=2, distance=qdrant.Distance.Dot) for name in SIGNALS}
    made = qdrant.EdgeShard.create(str(tmp_path), qdrant.EdgeConfig(vectors=vectors))
    yield made
    made.close()


def lists(seed: int, count: int = 40) -> Lists:
    """Scores by signal, of which some are not there."""
    chance = random.Random(seed)
    wide = {"image": (0.1, 0.4), "caption": (-0.5, 2.0)}
    return {
        name: {key: chance.uniform(*wide[name]) for key in range(count) if chance.random() < 0.7} for name in SIGNALS
    }


def fused_there(shard: qdrant.EdgeShard, given: Lists, how: qdrant.Fusion, limit: int) -> dict[int, float]:
    points = []
    for key in sorted({key for scores in given.values() for key in scores}):
        vector = {name: [given[name][key], 1.0] for name in SIGNALS if key in given[name]}
        points.append(qdrant.Point(id=key, vector=vector, payload={}))
    shard.update(qdrant.UpdateOperation.upsert_points(points))
    prefetches = [qdrant.Prefetch(limit=limit, query=qdrant.Query.Nearest([1.0, 0.0], using=name)) for name in SIGNALS]
    found = shard.query(qdrant.QueryRequest(limit=200, prefetches=prefetches, query=how))
    return {int(point.id): float(point.score) for point in found}


def best(given: Lists, limit: int) -> Lists:
    return {name: dict(sorted(scores.items(), key=lambda one: -one[1])[:limit]) for name, scores in given.items()}


@pytest.mark.parametrize("limit", [10, 100], ids=["cut lists", "whole lists"])
@pytest.mark.parametrize("seed", range(5))
def test_fuse__ranks_as_qdrant_does(shard: qdrant.EdgeShard, seed: int, limit: int) -> None:
    given = lists(seed)
    there = fused_there(shard, given, qdrant.Fusion.Rrf(k=fusion.K + 1), limit)
    here = fusion.ReciprocalRank().fuse(best(given, limit), EQUAL)
    assert here == pytest.approx(there, abs=1e-6)
    assert len(here) > limit or limit == 100


@pytest.mark.parametrize("limit", [10, 100], ids=["cut lists", "whole lists"])
@pytest.mark.parametrize("seed", range(5))
def test_fuse__by_distribution_as_qdrant_does(shard: qdrant.EdgeShard, seed: int, limit: int) -> None:
    given = lists(seed)
    there = fused_there(shard, given, qdrant.Fusion.Dbsf(), limit)
    here = fusion.DistributionBased().fuse(best(given, limit), EQUAL)
    assert here == pytest.approx(there, abs=1e-6)


@pytest.mark.parametrize(
    "given", [{"image": {1: 0.5}, "caption": {}}, {"image": {1: 0.5, 2: 0.5}, "caption": {2: 1.0}}]
)
def test_fuse__by_distribution_where_nothing_spreads(shard: qdrant.EdgeShard, given: Lists) -> None:
    there = fused_there(shard, given, qdrant.Fusion.Dbsf(), 10)
    assert fusion.DistributionBased().fuse(given, EQUAL) == pytest.approx(there, abs=1e-6)


def test_fuse__min_max_is_weaviates_relative_score() -> None:
    given, weights = lists(7), {"image": 0.75, "caption": 0.25}
    expected: dict[int, float] = {}
    for name, scores in given.items():
        low, high = min(scores.values()), max(scores.values())
        for key, score in scores.items():
            expected[key] = expected.get(key, 0.0) + weights[name] * (score - low) / (high - low)
    assert fusion.MinMax().fuse(given, weights) == pytest.approx(expected, abs=1e-6)
    assert fusion.MinMax().fuse({"image": {1: 0.3, 2: 0.3}}, weights) == {1: 0.75, 2: 0.75}  # All equal: the weight.


def test_fuse__arctan_is_milvuss_weighted_ranker() -> None:
    given, weights = {"image": {1: 0.3, 2: -0.2}, "text": {2: 1.5, 3: 0.0}}, {"image": 0.4, "text": 2.0}
    expected = {
        1: 0.4 * (0.5 + math.atan(0.3) / math.pi),
        2: 0.4 * (0.5 + math.atan(-0.2) / math.pi) + 2.0 * (2 * math.atan(1.5) / math.pi),
        3: 0.0,
    }
    assert fusion.Arctan().fuse(given, weights) == pytest.approx(expected, abs=1e-6)


def test_fuse__ranks_as_milvus_and_weaviate_do() -> None:
    given = {"image": {1: 0.3, 2: 0.2, 3: 0.1}, "caption": {3: 5.0}}
    milvus = {1: 1 / 61, 2: 1 / 62, 3: 1 / 63 + 1 / 61}
    assert fusion.ReciprocalRank().fuse(given, EQUAL) == pytest.approx(milvus)


def test_fuse__equal_scores_share_a_rank() -> None:
    assert fusion.ReciprocalRank().norms({1: 0.2, 2: 0.2, 3: 0.1}) == {1: 1 / 61, 2: 1 / 61, 3: 1 / 63}


def test_fuse__calibrated_counts_from_what_unrelated_pictures_get() -> None:
    method = fusion.Calibrated({"image": (0.1, 0.02)})
    assert method.norms({1: 0.22, 2: 0.05}) == pytest.approx({1: 1.0, 2: 0.0})


def test_named__knows_each_method_and_no_other() -> None:
    assert {type(fusion.named(name, {})) for name in fusion.NAMES} == set(fusion.Fusion.__subclasses__())
    with pytest.raises(QueryError, match="There is no fusion 'borda'; choose one of minmax"):
        fusion.named("borda", {})
