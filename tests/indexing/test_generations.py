from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from mediasearch.exceptions import EncoderUnavailable, MediaSearchError
from mediasearch.features.fake import FakeEncoder
from mediasearch.indexing import generations
from mediasearch.models import Generation, Job
from tests.conftest import MakeAsset

WIDER = {"ENCODER": {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"dimensions": 24}}}


def indexes() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'mediasearch_hnsw%'")
        return dict(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
def test_ensure_active__makes_the_first_generation(make_asset: MakeAsset) -> None:
    asset = make_asset()
    generation = generations.ensure_active()
    assert (generation.state, generation.fingerprint, generation.dimensions) == ("active", "fake/16", 16)
    assert asset.jobs.get(stage="embed_image").priority == Job.BACKFILL
    assert generations.ensure_active() == generation
    assert len(indexes()) == 2
    definition = indexes()[f"mediasearch_hnsw_{generation.pk}_image"]
    assert "((image)::halfvec(16)) halfvec_ip_ops" in definition
    assert "m='16', ef_construction='128'" in definition
    assert f"WHERE (generation_id = {generation.pk})" in definition
    generations.drop_indexes(generation)
    assert indexes() == {}


@pytest.mark.django_db(transaction=True)
def test_build_indexes__replaces_an_invalid_one(active_generation: Generation) -> None:
    generations.build_indexes(active_generation)
    name = f"mediasearch_hnsw_{active_generation.pk}_image"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [name])
    generations.build_indexes(active_generation)
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", [name])
        assert cursor.fetchone() == (True,)
    generations.drop_indexes(active_generation)


def test_build_indexes__not_inside_a_transaction(active_generation: Generation) -> None:
    with pytest.raises(MediaSearchError, match="transaction"):
        generations.build_indexes(active_generation)


@pytest.mark.django_db(transaction=True)
def test_activate__retires_the_one_before(active_generation: Generation, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | WIDER
    second = generations.create()
    assert (second.state, second.dimensions) == ("building", 24)
    generations.activate(second)
    active_generation.refresh_from_db()
    assert (active_generation.state, second.state) == ("retired", "active")
    assert Generation.objects.active() == second
    generations.drop_indexes(second)


def test_encoders__are_those_the_generation_was_made_with(active_generation: Generation, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | WIDER
    assert generations.encoders(active_generation.pk).image.dimensions == 16


def test_encoders__other_weights_are_refused(active_generation: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEncoder, "fingerprint", "other/16")
    with pytest.raises(EncoderUnavailable, match="mediasearch_reindex"):
        generations.encoders(active_generation.pk)


def test_encoders__a_missing_backend_is_one_sentence(active_generation: Generation) -> None:
    Generation.objects.update(encoder={"BACKEND": "no.such.Encoder", "OPTIONS": {}})
    with pytest.raises(EncoderUnavailable, match=r"no\.such\.Encoder can't be imported"):
        generations.encoders(active_generation.pk)
