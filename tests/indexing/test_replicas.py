"""What is read before it is written comes from the database that is written: a replica may lag behind it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

import mediasearch
from mediasearch import conf
from mediasearch import models as tables
from mediasearch.indexing import calibration, generations, lacking, ledger, pruning, upkeep, worker
from mediasearch.models import Asset, Embedding, Generation, Job, Stage
from tests.conftest import MakeAsset, picture
from tests.indexing.test_calibration import fill
from tests.test_shared_rows import XMP

pytestmark = pytest.mark.django_db(transaction=True)
OTHER = conf.Spec("mediasearch.features.fake.FakeEncoder", {"name": "other"})


class NoReplica:
    """Reads that nobody sends elsewhere go to a database that is not there, and fail."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return True


@pytest.fixture
def library(active_generation: Generation, settings: Any) -> Iterator[Generation]:
    """An active generation with vectors, whose jobs are done."""
    fill(active_generation, 20)
    Asset.objects.update(file_version="a-file.png")
    Job.objects.update(state=Job.State.DONE)
    settings.DATABASE_ROUTERS = ["tests.indexing.test_replicas.NoReplica"]
    yield active_generation
    for generation in Generation.objects.using("default"):
        generations.drop_indexes(generation)


def test_indexing__from_an_upload_to_its_deletion(
    active_generation: Generation, settings: Any, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATABASE_ROUTERS = ["tests.indexing.test_replicas.NoReplica"]
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "CAPTIONER": {"BACKEND": "mediasearch.features.fake.FakeCaptioner", "OPTIONS": {}}
    }
    asset, twin, broken = make_asset("red"), make_asset("red"), make_asset(b"nothing", "broken.png")
    stored = Asset.objects.using("default")
    worker.warm(list(Stage))
    assert worker.drain(list(Stage)) is False
    Job.objects.using("default").filter(state="done").update(finished_at=Now() - timedelta(days=31))
    assert pruning.prune_jobs(100) > 0
    asset.title = "New"
    asset.save()
    assert stored.update(category="other") == 3
    Asset.objects.bulk_create([Asset(pk=asset.pk)], update_conflicts=True, unique_fields=["pk"], update_fields=["tags"])
    Asset.objects.bulk_create([Asset(pk=asset.pk), Asset(title="more")], ignore_conflicts=True)
    mediasearch.reindex(Asset.objects.filter(pk=twin.pk))
    assert mediasearch.retry() > 0
    monkeypatch.setitem(tables.STAGE_VERSIONS, Stage.READ, 2)
    assert upkeep.bring_up_to_date() == 4
    ledger.sweep(thoroughly=True)
    assert worker.drain(list(Stage)) is False
    jobs = Job.objects.using("default").filter(asset=asset)
    assert set(jobs.values_list("state", flat=True)) == {"done"}
    broken.delete()
    assert stored.count() == 3


def test_indexing__by_what_the_row_says_now(
    active_generation: Generation, settings: Any, make_asset: MakeAsset
) -> None:
    """A title that a person wrote a moment ago is on no replica yet, and must not be taken for one that is missing."""
    make_asset(picture("red", form="JPEG", xmp=XMP), "boat.jpg")
    settings.DATABASE_ROUTERS = ["tests.indexing.test_replicas.NoReplica"]
    Asset.objects.update(title="By hand")
    worker.drain(list(Stage))
    stored = Asset.objects.using("default").get()
    assert (stored.title, stored.tags) == ("By hand", ["boats"])
    assert "'hand'" in stored.text_vector
    assert "'boats'" in stored.text_vector


def embed(generation: Generation) -> None:
    """Make the vectors that are owed, as a worker would."""
    owed = Job.objects.using("default").filter(generation=generation).unfinished()
    for asset in Asset.objects.using("default").filter(pk__in=owed.values("asset")):
        Embedding.objects.using("default").update_or_create(
            generation=generation, asset=asset, defaults={"image": [*[0.0] * 15, 1.0]}
        )
    owed.update(state=Job.State.DONE)


def test_calibrating(library: Generation) -> None:
    assert calibration.calibrate_where_due() is not None
    assert calibration.calibrate_where_due() is None
    out = io.StringIO()
    call_command("mediasearch_calibrate", stdout=out)
    assert "20 vectors" in out.getvalue()


def test_reindex(library: Generation) -> None:
    spec = '{"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"name": "other"}}'
    call_command("mediasearch_reindex", encoder=spec, no_wait=True, stdout=io.StringIO())
    building = Generation.objects.using("default").get(state="building")
    embed(building)
    call_command("mediasearch_reindex", encoder=spec, stdout=io.StringIO())
    assert Generation.objects.using("default").active() == building
    call_command("mediasearch_prune", stdout=io.StringIO())
    call_command("mediasearch_indexes", stdout=io.StringIO())


def test_vectors_that_are_gone(library: Generation) -> None:
    Embedding.objects.using("default").all().delete()
    assert lacking.owe(library) == 20
    assert lacking.owe_some_everywhere() == 0


def test_generations_come_and_go(library: Generation) -> None:
    building = generations.create(OTHER)
    assert generations.building(OTHER) == building
    generations.owe_all(building)
    generations.activate(building, unfinished=True)
    reopened = generations.reopen(Generation.objects.using("default").get(pk=library.pk))
    generations.cancel(reopened)
    generations.forget(Generation.objects.using("default").get(pk=library.pk))
    assert [one.pk for one in Generation.objects.using("default")] == [building.pk]
