from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.utils import timezone

from mediasearch.exceptions import EncoderUnavailable, NotReady
from mediasearch.features.local import Local
from mediasearch.indexing import calibration, generations
from mediasearch.models import Asset, Embedding, Generation, Tally
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db


def fill(generation: Generation, count: int, seed: int = 1) -> None:
    """Add assets with vectors of their own."""
    chance = np.random.default_rng(seed)
    made = Asset.objects.bulk_create([Asset(source="library", title=f"{seed} {n}") for n in range(count)])
    vectors = chance.normal(size=(count, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    Embedding.objects.bulk_create(
        Embedding(generation=generation, asset=asset, image=vector, caption=vector[::-1])
        for asset, vector in zip(made, vectors, strict=True)
    )


def test_calibrate__stores_what_it_measured(active_generation: Generation) -> None:
    fill(active_generation, 300)
    found = calibration.calibrate(active_generation)
    assert found is not None
    active_generation.refresh_from_db()
    known = active_generation.calibration
    assert (known["rows"], known["recall_at"]) == (300, 10)
    assert (known["recall"], known["ef_search"]) == (found.recall, found.ef_search)
    assert set(known["background"]) == {"image", "image_picture", "caption"}
    # Unit vectors of chance in 16 dimensions: no likeness on average, with a spread of 1 / sqrt(16).
    assert known["background"]["image_picture"] == pytest.approx([0.0, 0.25], abs=0.03)
    assert not calibration.due(active_generation)


@pytest.mark.django_db(transaction=True)
def test_calibrate__finds_the_least_width(settings: Any) -> None:
    generation = generations.ensure_active()
    try:
        fill(generation, 3_000)
        settings.MEDIASEARCH = settings.MEDIASEARCH | {"RECALL_TARGET": 0.5}
        low = calibration.calibrate(generation)
        settings.MEDIASEARCH = settings.MEDIASEARCH | {"RECALL_TARGET": 1.0}
        high = calibration.calibrate(generation)
        assert low is not None
        assert high is not None
        assert low.recall >= 0.5
        assert low.ef_search == calibration.WIDTHS[0]
        assert high.recall >= low.recall
        assert high.ef_search >= low.ef_search
    finally:
        generations.drop_indexes(generation)


def test_calibrate__without_an_encoder_goes_by_descriptions(
    active_generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> None:
        raise EncoderUnavailable

    fill(active_generation, 20)
    monkeypatch.setattr(Local, "encode_texts", down)
    found = calibration.calibrate(active_generation)
    assert found is not None
    assert set(found.background) == {"image", "image_picture", "caption"}


def test_calibrate__of_nothing(active_generation: Generation) -> None:
    assert calibration.calibrate(active_generation) is None


def test_calibrate__vectors_that_are_all_alike_are_no_good(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    for size in range(3):
        make_asset(picture("red", (64 + size, 48)))
    index_all()
    assert calibration.calibrate(active_generation) is not None  # In use, it is nobody's business.
    Generation.objects.update(state=Generation.State.BUILDING)
    with pytest.raises(NotReady, match="All vectors of generation"):
        calibration.calibrate(Generation.objects.get())


def test_calibrate__leaves_no_setting_behind(active_generation: Generation) -> None:
    fill(active_generation, 5)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.ef_search = 77")
        calibration.calibrate(active_generation)
        cursor.execute("SELECT current_setting('hnsw.ef_search'), current_setting('enable_seqscan')")
        assert cursor.fetchone() == ("77", "on")


def test_due__when_it_has_grown_or_changed(active_generation: Generation) -> None:
    assert calibration.due(active_generation)
    fill(active_generation, 100)
    calibration.calibrate(active_generation)
    assert not calibration.due(active_generation)
    tally = Tally.objects.create(stage="embed_image", outcome="done", number=9)
    assert not calibration.due(active_generation)
    Tally.objects.filter(pk=tally.pk).update(number=10)
    assert calibration.due(active_generation)
    Tally.objects.all().delete()
    fill(active_generation, 49, seed=2)
    assert not calibration.due(active_generation)
    fill(active_generation, 1, seed=3)
    assert calibration.due(active_generation)


def test_calibrate_where_due__is_done_by_one_at_a_time(active_generation: Generation) -> None:
    fill(active_generation, 10)
    Generation.objects.update(calibrating_since=timezone.now())
    assert calibration.calibrate_where_due() is None
    Generation.objects.update(calibrating_since=timezone.now() - timedelta(hours=2))  # Whoever it was has died.
    assert calibration.calibrate_where_due() is not None
    assert Generation.objects.get().calibrating_since is None
    assert calibration.calibrate_where_due() is None


def test_calibrate_where_due__no_generation(db: None) -> None:
    assert calibration.calibrate_where_due() is None
