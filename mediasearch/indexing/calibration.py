"""How widely the HNSW indexes must search to find what an exact search finds, and what unrelated pictures score.

Recall at a fixed ef_search falls as a library grows (.98 at 100,000 pictures, .76 at 300,000), and falls most for
words, which lie in another cone of the space than pictures: so both are asked, and the worse of the two counts.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from django.db import router
from django.db.models import QuerySet
from django.utils import timezone
from numpy.typing import NDArray

from mediasearch import conf
from mediasearch.exceptions import CalibrationLost, CalibrationTaken, NotReady, Unavailable
from mediasearch.features import patience
from mediasearch.features.base import RANKS
from mediasearch.indexing import scans, turns
from mediasearch.indexing.phrases import PHRASES
from mediasearch.indexing.turns import Turn
from mediasearch.indexing.watching import Report, Step
from mediasearch.models import Embedding, Generation, Stage, Tally

logger = logging.getLogger(__name__)
SAMPLE, BACKGROUND, AT = 50, 400, scans.AT
"""Questions of each kind, pictures that they are compared with, and at which rank recall is measured."""
WIDTHS = (40, 80, 120, 160, 200, 280, 400, 560, 800, 1_000)
GROWTH, REPLACED = 1.5, 0.1
"""A library that has grown so many times, or of which so large a share is new, is measured again."""
_AT_ONCE, _PATIENCE = 8, 20.0
"""Phrases that are encoded at once, so that a search waits behind few, and how many seconds they are waited for."""
_ALIKE = 0.9999
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured of a generation."""

    recall: float
    """recall@10 at `ef_search`, from 0 to 1, of the worst kind of question."""
    ef_search: int
    """The least that reaches MEDIASEARCH["RECALL_TARGET"]; where none does, the most."""
    rows: int
    """Vectors when it was measured."""
    background: dict[str, tuple[float, float]]
    """Mean and spread of unrelated scores: `image` asked with words, `image_picture`, and `caption`."""

    @property
    def reaches_target(self) -> bool:
        return self.recall >= conf.settings().recall_target


def calibrate(generation: Generation, report: Report | None = None) -> Calibration | None:
    """Measure a generation and store what was found, with its date; None where there are no vectors yet.

    Raises NotReady where those of one that is being built can't be right: all of them point the same way; and
    CalibrationTaken or CalibrationLost where another process is at it.
    """
    with turns.taken(generation) as turn:
        return _measure(generation, turn, report)


def _measure(generation: Generation, turn: Turn, report: Report | None = None) -> Calibration | None:
    count = _vectors(generation).count()
    if not count:
        return None
    turn.keep()
    pictures = _sample(generation, "image", BACKGROUND)
    turn.keep()
    if generation.state == Generation.State.BUILDING:
        _look_at(generation, pictures)
    asked = {"image_picture": pictures[:SAMPLE]}
    words = _words(generation, turn)
    if len(words):
        asked["image"] = words
    captions = _sample(generation, "caption", BACKGROUND)
    background = {kind: _unrelated(questions, pictures) for kind, questions in asked.items()}
    if len(captions) > 1:
        background["caption"] = _unrelated(captions[:SAMPLE], captions)
    recall, ef_search = _width(generation, list(asked.values()), turn, report)
    found = Calibration(recall, ef_search, count, background)
    _store(generation, found, turn)
    return found


def _look_at(generation: Generation, pictures: Vectors) -> None:
    """Raise NotReady where all vectors are alike, though the pictures are not."""
    distinct = _vectors(generation).values("asset__content_hash").distinct()[:2]
    if len(pictures) > 2 and len(distinct) > 1 and (pictures @ pictures[0]).min() > _ALIKE:
        raise NotReady(
            f"All vectors of generation {generation.pk} are alike, so its encoder does not work: look at its weights."
        )


def due(generation: Generation) -> bool:
    """Whether a generation was never measured, or has changed much since it was."""
    known = generation.calibration
    if "ef_search" not in known:
        return True
    count = _vectors(generation).count()
    made = _made() - known.get("made", 0)
    replaced = made - (count - known["rows"])
    return bool(count >= GROWTH * known["rows"] or replaced >= REPLACED * max(count, 1))


def calibrate_where_due() -> Calibration | None:
    """Measure the active generation where that is due, and no other process does so at this moment."""
    generation = Generation.objects.primary().active()
    if generation is None or not due(generation):
        return None
    try:
        with turns.taken(generation) as turn:
            generation.refresh_from_db(using=router.db_for_write(Generation))
            # Another process may have been through with it a moment ago.
            return _measure(generation, turn) if due(generation) else None
    except CalibrationTaken:
        return None
    except CalibrationLost as loss:
        logger.warning("%s", loss)
        return None


def _store(generation: Generation, found: Calibration, turn: Turn) -> None:
    generation.calibration = {
        "recall": round(found.recall, 4),
        "recall_at": AT,
        "ef_search": found.ef_search,
        "rows": found.rows,
        "made": _made(),
        "background": {name: [round(mean, 6), round(spread, 6)] for name, (mean, spread) in found.background.items()},
        "measured_at": timezone.now().isoformat(timespec="seconds"),
    }
    turn.write(calibration=generation.calibration)
    level = logging.INFO if found.reaches_target else logging.WARNING
    extra = {"event": "calibrated", "generation": generation.pk, "recall": found.recall, "ef_search": found.ef_search}
    logger.log(level, "recall@%d is %.3f at ef_search %d.", AT, found.recall, found.ef_search, extra=extra)


def _made() -> int:
    """How many image vectors were ever written."""
    tallies = Tally.objects.primary()
    tally = tallies.filter(stage=Stage.EMBED_IMAGE, outcome="done").values_list("number", flat=True)
    return int(tally.first() or 0)


def _sample(generation: Generation, field: str, number: int) -> Vectors:
    """Return unit vectors of a field, chosen by chance; shape (at most number, dimensions)."""
    rows = _vectors(generation, field).order_by("?")
    found = [np.asarray(vector, dtype=np.float32) for vector in rows.values_list(field, flat=True)[:number]]
    if not found:
        return np.zeros((0, 1), dtype=np.float32)
    vectors: Vectors = np.stack(found)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _vectors(generation: Generation, field: str = "image") -> QuerySet[Embedding]:
    """The rows that have a vector in a field, as the database has them that is written."""
    rows = Embedding.objects.primary().filter(generation=generation)
    return rows.filter(**{f"{field}__isnull": False})


def _words(generation: Generation, turn: Turn) -> Vectors:
    """Return what words look like to the image encoder: of phrases that fit any library, where somebody encodes them.

    Else of the library's own descriptions, where the same encoder made their vectors.
    """
    try:
        question = replace(generation.question("image"), rank=RANKS - 1)
        encoder = conf.settings().query_encoder.load()
        encoded = []
        for start in range(0, SAMPLE, _AT_ONCE):
            turn.keep()
            with patience.shared(_PATIENCE):
                encoded.append(encoder.encode_texts(question, list(PHRASES[start : min(start + _AT_ONCE, SAMPLE)])))
        vectors: Vectors = np.concatenate(encoded, dtype=np.float32)
        return vectors
    except Unavailable as fault:
        logger.warning("Recall is measured without phrases of our own: %s", fault)
    if generation.caption_encoder is None:
        return _sample(generation, "caption", SAMPLE)
    return np.zeros((0, 1), dtype=np.float32)


def _unrelated(questions: Vectors, others: Vectors) -> tuple[float, float]:
    """Return mean and sample standard deviation of the scores of all pairs, but for those of a vector with itself."""
    scores = questions @ others.T
    scores = scores[scores < _ALIKE]
    if scores.size < 2:
        return 0.0, 1.0
    return float(scores.mean()), max(float(scores.std(ddof=1)), 1e-6)


def _width(
    generation: Generation, kinds: Sequence[Vectors], turn: Turn, report: Report | None = None
) -> tuple[float, int]:
    """Return recall@10 of the worst kind of question, and the least width with which it reaches the target."""

    def nearest(width: int | None) -> list[list[list[float]]]:
        """The scores of what each question of each kind finds: by the index, or exactly without a width."""
        label = "Looking at all vectors" if width is None else f"Searching the index with ef_search {width}"
        return [[ask(vector, width, label) for vector in questions] for questions in kinds]

    def ask(vector: NDArray[np.float32], width: int | None, label: str) -> list[float]:
        turn.keep()
        scores = scans.nearest(generation, vector, width)
        counted[label] += 1
        if report:
            report(Step(label, counted[label], sum(map(len, kinds))))
        return scores

    counted: Counter[str] = Counter()
    exact = nearest(None)
    recall, target = 0.0, conf.settings().recall_target
    for width in WIDTHS:
        recall = min(_mean(map(_share, *both)) for both in zip(nearest(width), exact, strict=True))
        if recall >= target:
            break
    return recall, width


def _mean(values: Iterable[float]) -> float:
    return float(np.mean([*values]))


def _share(found: Sequence[float], exact: Sequence[float]) -> float:
    # By score and not by id: pictures that are equally near may stand in for each other.
    return sum(score >= exact[-1] - 1e-4 for score in found) / len(exact)
