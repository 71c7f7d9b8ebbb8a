from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from mediasearch.indexing import generations, lacking, ledger, pruning
from mediasearch.models import Asset, Embedding, Generation, Job
from tests.conftest import MakeAsset
from tests.indexing.test_generations import other

pytestmark = pytest.mark.django_db
Index = Callable[[], None]


def owed() -> set[tuple[int, int, str, int]]:
    rows = Job.objects.unfinished().values_list("generation", "asset", "stage", "priority")
    return set(rows)


def both(generation: Generation, asset: Asset) -> set[tuple[int, int, str, int]]:
    return {(generation.pk, asset.pk, stage, Job.BACKFILL) for stage in ("embed_image", "embed_caption")}


def lose(generation: Generation, asset: Asset) -> None:
    Embedding.objects.filter(generation=generation, asset=asset).delete()


def prune(asset: Asset) -> None:
    asset.jobs.update(finished_at=Now() - timedelta(days=31))
    pruning.prune_jobs(10)
    assert asset.jobs.count() == 0


def test_owe__a_row_that_is_gone(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> None:
    gone, whole = make_asset("red", caption="red"), make_asset("blue", caption="blue")
    index_all()
    assert lacking.owe(active_generation) == 0
    lose(active_generation, gone)
    assert lacking.owe(active_generation) == 1
    assert owed() == both(active_generation, gone)
    index_all()
    row = Embedding.objects.get(asset=gone)
    assert row.image is not None
    assert row.caption is not None
    assert lacking.owe(active_generation) == 0
    assert whole.embeddings.count() == 1


def test_owe__an_image_vector_that_is_gone(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset("red", caption="red")
    index_all()
    Embedding.objects.update(image=None)
    assert lacking.owe(active_generation) == 1
    assert owed() == both(active_generation, asset)


def test_owe__one_whose_jobs_were_pruned(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset("red")
    index_all()
    prune(asset)
    assert lacking.owe(active_generation) == 0
    lose(active_generation, asset)
    assert lacking.owe(active_generation) == 1
    assert owed() == both(active_generation, asset)
    index_all()
    assert Embedding.objects.get().image is not None


def test_owe__a_caption_of_an_asset_without_a_file(active_generation: Generation, index_all: Index) -> None:
    told = Asset.objects.create(source="library", title="A red bicycle")
    Asset.objects.create(source="library")  # Nothing was ever embedded of this one.
    told.jobs.exclude(stage="embed_caption").update(state="done")
    index_all()
    assert Embedding.objects.get().caption is not None
    assert lacking.owe(active_generation) == 0
    lose(active_generation, told)
    assert lacking.owe(active_generation) == 1
    assert owed() == {(active_generation.pk, told.pk, "embed_caption", Job.BACKFILL)}


@pytest.mark.parametrize("state", ["pending", "running", "failed"])
def test_owe__not_what_is_on_its_way_or_failed(
    state: str, active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset()
    index_all()
    lose(active_generation, asset)
    asset.jobs.filter(stage="embed_image").update(state=state)
    assert lacking.owe(active_generation) == 0


def test_owe__an_image_whose_caption_failed(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset()
    index_all()
    lose(active_generation, asset)
    asset.jobs.filter(stage="embed_caption").update(state="failed")
    assert lacking.owe(active_generation) == 1


def test_owe__in_chunks(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    for colour in ("red", "blue", "green"):
        make_asset(colour)
    index_all()
    Embedding.objects.all().delete()
    monkeypatch.setattr(lacking, "CHUNK", 2)
    assert lacking.owe(active_generation) == 3


def test_owe__not_of_a_generation_that_is_retired(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    make_asset()
    index_all()
    Embedding.objects.all().delete()
    Generation.objects.update(state="retired")
    assert lacking.owe(active_generation) == 0


def test_sweep__owes_it_in_every_living_generation(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset("red")
    building = other()
    index_all()
    Embedding.objects.all().delete()
    ledger.sweep()
    assert owed() == set()
    ledger.sweep(thoroughly=True)
    assert owed() == both(active_generation, asset) | both(building, asset)
    index_all()
    assert Embedding.objects.filter(image__isnull=False).count() == 2


def test_assets_lacking__a_row_without_its_image_vector(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    make_asset("red", caption="red")
    building = other()
    index_all()
    assert generations.assets_lacking(building) == 0
    Embedding.objects.filter(generation=building).update(image=None)
    assert generations.assets_lacking(building) == 1
