"""Qdrant's own engine, in this process, over the same vectors: two legs fused by reciprocal rank."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import qdrant_edge as qdrant
from numpy.typing import NDArray

from benchmarks.engine import data
from benchmarks.engine.library import Library, step
from benchmarks.engine.rounds import Ran, Way, clocked
from benchmarks.engine.truth import TOP, Best, Truth
from mediasearch.indexing.indexes import EF_CONSTRUCTION, M

LISTED = 50
CONSTANT = 61
"""Qdrant counts places from 0: its 61 is everybody else's 60."""
_FIELD, _LOT = "added", 2_000
_FULL_SCAN = 10_000
"""Kilobytes of vectors below which it scans instead of walking the graph: its own default."""


class Rival:
    """A shard with both vectors and one filter, made as PostgreSQL's indexes: same M and ef_construction, halves."""

    def __init__(self, library: Library) -> None:
        self.library, folder = library, library.place / "qdrant"
        done = folder / "made"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            with step("Qdrant's shard"):
                self.shard = self._make(folder / "shard")
            done.touch()
        else:
            self.shard = qdrant.EdgeShard.load(str(folder / "shard"))

    def way(self, ef: int, below: int | None = None) -> Way:
        """Two legs fused, with so large an ef; `below` narrows to assets whose place by date is lower."""
        condition = qdrant.FieldCondition(key=_FIELD, range=qdrant.RangeFloat(lt=float(below or 0)))
        narrowed = None if below is None else qdrant.Filter(must=[condition])
        params = qdrant.SearchParams(hnsw_ef=ef)

        def way(number: int) -> Ran:
            vector = self.library.asked["text"][number].tolist()

            def answer() -> list[int]:
                legs = [
                    qdrant.Prefetch(
                        limit=LISTED,
                        query=qdrant.Query.Nearest(vector, using=field),
                        params=params,
                        filter=narrowed,
                    )
                    for field in ("image", "caption")
                ]
                request = qdrant.QueryRequest(limit=TOP, query=qdrant.Fusion.Rrf(k=CONSTANT), prefetches=legs)
                return [int(point.id) for point in self.shard.query(request)]

            return clocked(answer)

        return way

    def best(self, truth: Truth, question: int, mask: NDArray[np.bool_]) -> Best:
        """What it should return: the same formula with both legs exact."""
        return truth.by_rank([truth.nearest(question, mask, field, LISTED) for field in ("image", "caption")])

    def _make(self, folder: Path) -> qdrant.EdgeShard:
        folder.mkdir()
        graph = qdrant.HnswIndexConfig(m=M, ef_construct=EF_CONSTRUCTION, full_scan_threshold=_FULL_SCAN)
        vectors = {
            name: qdrant.EdgeVectorParams(
                size=data.DIMENSIONS,
                distance=qdrant.Distance.Dot,
                datatype=qdrant.VectorStorageDatatype.Float16,
                hnsw_config=graph,
            )
            for name in ("image", "caption")
        }
        optimizers = qdrant.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1_000)
        shard = qdrant.EdgeShard.create(
            str(folder), qdrant.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=optimizers)
        )
        shard.update(qdrant.UpdateOperation.create_field_index(_FIELD, qdrant.PayloadSchemaType.Integer))
        for first in range(0, self.library.number, _LOT):
            shard.update(qdrant.UpdateOperation.upsert_points(self._points(first)))
        while shard.optimize():
            time.sleep(0)
        shard.flush()
        return shard

    def _points(self, first: int) -> list[qdrant.Point]:
        columns = self.library.columns
        image, caption = (v[first : first + _LOT].astype("f4") for v in (self.library.image, self.library.caption))
        points = []
        for at in range(len(image)):
            vector = {"image": image[at].tolist()}
            if columns.captioned[first + at]:
                vector["caption"] = caption[at].tolist()
            points.append(qdrant.Point(first + at, vector, {_FIELD: int(columns.added[first + at])}))
        return points
