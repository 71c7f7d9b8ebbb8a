from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import connection

from mediasearch.exceptions import CalibrationTaken, EncoderUnavailable, NotReady
from mediasearch.features.local import Local
from mediasearch.indexing import calibration, clock, generations, scans, turns
from mediasearch.models import Asset, Embedding, Generation, Tally
from tests.conftest import MakeAsset, picture
from tests.live import ROOT, environment, until

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
    with turns.taken(active_generation):
        assert calibration.calibrate_where_due() is None
        with pytest.raises(CalibrationTaken, match="its last sign of life came 0 s ago"):
            calibration.calibrate(active_generation)
    assert Generation.objects.get().calibration == {}
    assert calibration.calibrate_where_due() is not None
    assert Generation.objects.get().calibrating_until is None
    assert calibration.calibrate_where_due() is None


def test_calibrate_where_due__not_what_another_process_has_just_measured(
    active_generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is through between our look at what is due and our taking the lease."""
    fill(active_generation, 10)
    due, measured = calibration.due, []

    def measured_meanwhile(generation: Generation) -> bool:
        answer = due(generation)
        if not measured:
            measured.append(calibration.calibrate(Generation.objects.get()))
        return answer

    monkeypatch.setattr(calibration, "due", measured_meanwhile)
    assert calibration.calibrate_where_due() is None
    assert len(measured) == 1


def test_calibrate_where_due__whoever_lost_the_lease_writes_nothing(
    active_generation: Generation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(active_generation, 10)
    stranger = uuid.uuid4()
    until = datetime(2026, 3, 1, tzinfo=UTC)

    def taken_over(*args: Any) -> list[float]:
        Generation.objects.update(calibration_token=stranger, calibrating_until=until)
        return [1.0]

    monkeypatch.setattr(scans, "nearest", taken_over)
    assert calibration.calibrate_where_due() is None
    assert "was given up: another process took over" in caplog.text
    row = Generation.objects.get()
    assert (row.calibration, row.calibration_token, row.calibrating_until) == ({}, stranger, until)


def test_calibrate__renews_its_lease_outside_its_transactions(
    active_generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(active_generation, 10)
    monkeypatch.setattr(turns, "RENEW_EVERY", 0.0)
    keep, depths = turns.Turn.keep, []

    def noted(turn: turns.Turn) -> None:
        depths.append(len(connection.savepoint_ids))
        keep(turn)

    monkeypatch.setattr(turns.Turn, "keep", noted)
    outside = len(connection.savepoint_ids)
    calibration.calibrate(active_generation)
    assert set(depths) == {outside}
    # Between the phrases, and before each of the questions with words and pictures: exact, and by the index.
    assert len(depths) >= 7 + 2 * (calibration.SAMPLE + 10)


KILLED = """
import time
from datetime import timedelta
import django
django.setup()
from mediasearch.indexing import calibration, clock, scans, turns
clock.CALIBRATION, turns.RENEW_EVERY = timedelta(seconds=2), 0.2
scans.nearest = lambda *args: time.sleep(0.05) or [1.0]
calibration.WIDTHS = [40] * 10_000
calibration._share = lambda *args: 0.0
calibration.calibrate_where_due()
"""


@pytest.mark.django_db(transaction=True)
def test_calibrate_where_due__one_that_was_killed_is_followed_by_another(
    active_generation: Generation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(active_generation, 20)
    monkeypatch.setattr(clock, "CALIBRATION", timedelta(seconds=2))
    other = subprocess.Popen([sys.executable, "-c", KILLED], env=environment(tmp_path), cwd=ROOT)
    try:
        until(lambda: Generation.objects.get().calibration_token, "it did not begin")
        began = time.monotonic()
        while time.monotonic() < began + 5:  # It lives, so its lease holds for longer than it is long.
            assert calibration.calibrate_where_due() is None
            time.sleep(0.1)
    finally:
        other.kill()
        other.wait()
    killed = time.monotonic()
    until(lambda: calibration.calibrate_where_due() is not None, "it is still taken", 20)
    assert time.monotonic() - killed < 10
    assert Generation.objects.get().calibration["rows"] == 20


def test_calibrate_where_due__no_generation(db: None) -> None:
    assert calibration.calibrate_where_due() is None
