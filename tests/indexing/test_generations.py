from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from mediasearch import conf
from mediasearch.exceptions import EncoderUnavailable, MediaSearchError, NotReady
from mediasearch.features.fake import FakeEncoder
from mediasearch.indexing import encoders, generations
from mediasearch.models import Asset, Generation, Job
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
    assert encoders.of(active_generation.pk).image.dimensions == 16


def test_encoders__other_weights_are_refused(active_generation: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEncoder, "fingerprint", "other/16")
    with pytest.raises(EncoderUnavailable, match="mediasearch_reindex"):
        encoders.of(active_generation.pk)


def test_encoders__a_missing_backend_is_one_sentence(active_generation: Generation) -> None:
    Generation.objects.update(encoder={"BACKEND": "no.such.Encoder", "OPTIONS": {}})
    with pytest.raises(EncoderUnavailable, match=r"no\.such\.Encoder can't be imported"):
        encoders.of(active_generation.pk)


def other(name: str = "other") -> Generation:
    spec = conf.Spec("mediasearch.features.fake.FakeEncoder", {"name": name})
    generation = generations.create(spec)
    generations.owe_all(generation)
    return generation


@pytest.mark.django_db
def test_create__new_uploads_are_written_to_both(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    generation = other()
    asset = make_asset()
    index_all()
    assert set(asset.embeddings.values_list("generation", flat=True)) == {active_generation.pk, generation.pk}


@pytest.mark.django_db
def test_activate__not_before_it_is_whole(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    make_asset()
    index_all()
    generation = other()
    with pytest.raises(NotReady, match="lacks the vectors of 1 pictures"):
        generations.activate(generation)
    assert Generation.objects.active() == active_generation
    make_asset()  # An upload that neither has yet is no reason to wait.
    generation.jobs.filter(asset=Asset.objects.earliest("pk")).update(state="done")
    with pytest.raises(NotReady):  # Done, but without a vector: somebody deleted it.
        generations.activate(generation)
    generation.jobs.update(state="pending")
    index_all()
    generations.activate(generation)
    assert Generation.objects.active() == generation
    active_generation.refresh_from_db()
    assert active_generation.state == "retired"
    assert active_generation.retired_at is not None


@pytest.mark.django_db
def test_activate__a_failed_picture_holds_nothing_up(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    asset = make_asset()
    index_all()
    generation = other()
    generation.jobs.filter(asset=asset, stage="embed_image").update(state="failed", error="The file is gone.")
    generation.jobs.filter(asset=asset, stage="embed_caption").update(state="done")
    assert generations.activate(generation).state == "active"


@pytest.mark.django_db
def test_reopen__owes_what_changed_since(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    make_asset("red")
    generation = other()
    index_all()
    generations.activate(generation)
    newer = make_asset("blue")
    index_all()
    assert set(newer.embeddings.values_list("generation", flat=True)) == {generation.pk}
    generations.reopen(active_generation)
    assert list(active_generation.jobs.unfinished().values_list("asset", "stage")) == [(newer.pk, "embed_image")]
    index_all()
    assert generations.activate(active_generation).retired_at is None


@pytest.mark.django_db(transaction=True)
def test_cancel__leaves_nothing(active_generation: Generation, make_asset: MakeAsset) -> None:
    asset = make_asset()
    generation = other()
    generations.build_indexes(generation)
    generations.cancel(generation)
    assert indexes() == {}
    assert list(Generation.objects.all()) == [active_generation]
    assert set(asset.jobs.values_list("generation", flat=True)) == {None, active_generation.pk}
    with pytest.raises(MediaSearchError, match="only a building one"):
        generations.cancel(active_generation)


@pytest.mark.django_db
def test_cancel__one_that_was_active_before_is_kept(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    make_asset()
    index_all()
    generation = other()
    index_all()
    generations.activate(generation)
    generations.cancel(generations.reopen(active_generation))
    active_generation.refresh_from_db()
    assert active_generation.state == "retired"
    assert active_generation.embeddings.count() == 1


@pytest.mark.django_db(transaction=True)
def test_forget__not_the_active_one(active_generation: Generation) -> None:
    with pytest.raises(MediaSearchError, match="is active"):
        generations.forget(active_generation)


@pytest.mark.django_db(transaction=True)
def test_forget__not_one_that_was_activated_meanwhile(active_generation: Generation) -> None:
    listed = other()
    generations.activate(Generation.objects.get(pk=listed.pk))
    assert listed.state == "building"
    with pytest.raises(MediaSearchError, match="is active"):
        generations.forget(listed)
    assert Generation.objects.active() == listed


@pytest.mark.django_db(transaction=True)
def test_forget__an_upload_at_the_same_moment_goes_through(
    active_generation: Generation, make_asset: MakeAsset
) -> None:
    generation, owed = other(), threading.Event()

    def upload() -> None:
        with transaction.atomic():
            make_asset(title="late")
            owed.set()
            time.sleep(0.5)
        connection.close()

    uploading = threading.Thread(target=upload)
    uploading.start()
    assert owed.wait(10)
    generations.forget(generation)
    uploading.join()
    assert list(Generation.objects.all()) == [active_generation]
    assert set(Asset.objects.get(title="late").jobs.values_list("generation", flat=True)) == {
        None,
        active_generation.pk,
    }


def test_encoders__a_generation_that_was_deleted(active_generation: Generation) -> None:
    gone = active_generation.pk
    active_generation.delete()
    with pytest.raises(EncoderUnavailable, match="was deleted"):
        encoders.of(gone)
