"""Is a generation fit for searches? Looked at before it is activated."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connections, router, transaction
from django.utils import timezone
from pgvector import HalfVector

from mediasearch import conf
from mediasearch.exceptions import NotReady, Unavailable
from mediasearch.features.base import Question
from mediasearch.models import Embedding, Generation

logger = logging.getLogger(__name__)
SAMPLE, AT = 50, 10
_ALIKE = 0.9999
_QUERY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Recall:
    """How much of the exact answer the HNSW index returns."""

    value: float
    """recall@`at`, from 0 to 1: the mean share of the exact nearest that the index found."""
    at: int
    sample: int
    """How many vectors were asked with."""


def examine(generation: Generation) -> Recall | None:
    """Measure recall@10 of the image index and store it with its date; None where there are no vectors yet.

    Raises NotReady where the vectors can't be right: all of them point the same way.
    """
    rows = Embedding.objects.filter(generation=generation, image__isnull=False)
    sample = list(rows.order_by("?").values_list("image", flat=True)[:SAMPLE])
    if not sample:
        return None
    vectors = np.asarray(sample, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    distinct = rows.values("asset__content_hash").distinct()[:2]
    if len(vectors) > 2 and len(distinct) > 1 and (vectors @ vectors[0]).min() > _ALIKE:
        raise NotReady(
            f"All vectors of generation {generation.pk} are alike, so its encoder does not work: look at its weights."
        )
    found = [_recall(generation, vector) for vector in vectors]
    recall = Recall(float(np.mean(found)), AT, len(found))
    calibration = generation.calibration | {
        "recall": round(recall.value, 4),
        "recall_at": AT,
        "measured_at": timezone.now().isoformat(timespec="seconds"),
    }
    Generation.objects.filter(pk=generation.pk).update(calibration=calibration)
    return recall


def _recall(generation: Generation, vector: Any) -> float:
    exact, found = (_nearest(generation, vector, with_index=with_index) for with_index in (False, True))
    # By score and not by id: pictures that are equally near may stand in for each other.
    return sum(score >= exact[-1] - 1e-4 for score in found) / len(exact)


def _nearest(generation: Generation, vector: Any, *, with_index: bool) -> list[float]:
    """Return the inner products of the nearest image vectors, best first."""
    using = router.db_for_read(Embedding)
    table, dimensions, literal = Embedding._meta.db_table, int(generation.dimensions), HalfVector(vector).to_text()
    settings = {
        "enable_indexscan": "on" if with_index else "off",
        "enable_seqscan": "off" if with_index else "on",
        "hnsw.ef_search": str(max(conf.settings().ef_search, AT)),
    }
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        before = {}
        for name, value in settings.items():
            cursor.execute("SELECT current_setting(%s, true)", [name])
            before[name] = cursor.fetchone()[0]
            cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
        distance = f"image::halfvec({dimensions}) <#> %s::halfvec({dimensions})"
        cursor.execute(
            f"SELECT -({distance}) FROM {table} WHERE generation_id = {int(generation.pk)} AND image IS NOT NULL"
            f" ORDER BY {distance} LIMIT {AT}",
            [literal, literal],
        )
        scores = [float(score) for (score,) in cursor.fetchall()]
        for name, value in before.items():  # In a caller's transaction a local setting would live on.
            if value:
                cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
    return scores


def warm_queries(generation: Generation, seconds: float = _QUERY_SECONDS) -> bool:
    """Have whoever encodes questions load a generation's model before searches need it; return whether it answered."""
    encoder = conf.settings().query_encoder.load()
    questions = [Question(generation.pk, "image", generation.encoder)]
    if generation.caption_encoder is not None:
        questions.append(Question(generation.pk, "caption", generation.caption_encoder))
    end = time.monotonic() + seconds
    while questions:
        try:
            encoder.encode_texts(questions[0], ["a picture"])
            questions.pop(0)
        except Unavailable as fault:
            if time.monotonic() > end:
                logger.warning("Nobody encodes questions for generation %s: %s", generation.pk, fault)
                return False
            time.sleep(1.0)
    return True
