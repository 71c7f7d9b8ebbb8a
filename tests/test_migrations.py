"""What migrations do to the rows of before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module

import pytest
from django.db import connection
from django.db.models.functions import Now

from mediasearch.indexing import generations, pruning
from mediasearch.models import Asset, Embedding, Generation, Job, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
Index = Callable[[], None]


@pytest.fixture
def captions(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> list[Asset]:
    """Two pictures with captions and one without; the jobs of the first were pruned."""
    assets = [make_asset("red", caption="red"), make_asset("blue", caption="blue"), make_asset("green")]
    index_all()
    assets[0].jobs.update(finished_at=Now() - timedelta(days=31))
    pruning.prune_jobs(10)
    assert assets[0].jobs.count() == 0
    return assets


def migrate() -> None:
    (*_, owe) = import_module("mediasearch.migrations.0005_image_caption").Migration.operations
    with connection.cursor() as cursor:
        cursor.execute(owe.sql)


def read_by_another(generation: Generation) -> None:
    """Have its captions read by an encoder of their own, as if without vectors that pictures can be compared with."""
    spec = {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"dimensions": 24}}
    known = Generation.objects.filter(pk=generation.pk)
    known.update(caption_encoder=spec, caption_fingerprint="fake/24", caption_dimensions=24)
    generation.refresh_from_db()


def comparable() -> set[int]:
    return set(Embedding.objects.filter(image_caption__isnull=False).values_list("asset", flat=True))


def test_0005__one_encoder_owes_nothing(captions: list[Asset]) -> None:
    migrate()
    assert not Job.objects.unfinished().exists()


def test_0005__captions_that_another_encoder_reads_are_owed_once_more(
    captions: list[Asset], active_generation: Generation, index_all: Index
) -> None:
    read_by_another(active_generation)
    migrate()
    owed = Job.objects.unfinished().values_list("asset", "stage", "priority")
    assert set(owed) == {(asset.pk, Stage.EMBED_CAPTION, Job.BACKFILL) for asset in captions[:2]}
    index_all()
    assert comparable() == {asset.pk for asset in captions[:2]}


def test_0005__a_retired_generation_makes_them_when_it_is_gone_back_to(
    captions: list[Asset], active_generation: Generation, index_all: Index
) -> None:
    read_by_another(active_generation)
    Generation.objects.update(state="retired", retired_at=Now())
    migrate()
    assert not Job.objects.unfinished().exists()
    generations.reopen(active_generation)
    index_all()
    assert comparable() == {asset.pk for asset in captions[:2]}
