from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from mediasearch import conf
from mediasearch.indexing import generations, indexes, worker
from mediasearch.models import Embedding, Generation, Job, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db(transaction=True)


def said(**options: Any) -> str:
    stream = io.StringIO()
    call_command("mediasearch_prune", stdout=stream, **options)
    return stream.getvalue()


def test_prune__what_is_over_and_nothing_else(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset("red")
    worker.drain(list(Stage))
    others = []
    for number in range(2):
        other = generations.create(conf.Spec("mediasearch.features.fake.FakeEncoder", {"name": f"other-{number}"}))
        generations.owe_all(other)
        worker.drain(list(Stage))
        generations.build_indexes(other)
        generations.activate(other)
        others.append(other)
    first, second, third = active_generation, *others
    generations.build_indexes(first)
    assert "Deleted: 0 jobs" in said()
    assert Generation.objects.count() == 3
    Generation.objects.filter(state="retired").update(retired_at=Now() - timedelta(days=8))
    Generation.objects.filter(pk=second.pk).update(retired_at=Now() - timedelta(days=7, hours=1))
    Job.objects.update(finished_at=Now() - timedelta(days=31))
    before = Job.objects.count()
    dry = said(dry_run=True)
    assert f"Would be deleted: generation {first.pk} (fake/16) with 1 vectors." in dry
    assert f"Would be deleted: {before} jobs" in dry
    assert (Generation.objects.count(), Job.objects.count()) == (3, before)
    told = said()
    assert f"Deleted: generation {first.pk} (fake/16) with 1 vectors." in told
    assert f"Kept: generation {second.pk}" in told
    assert list(Generation.objects.order_by("pk")) == [second, third]
    assert set(Embedding.objects.values_list("generation", flat=True)) == {second.pk, third.pk}
    assert not Job.objects.exists()
    hnsw = {name for name in indexes.found() if "hnsw" in name}
    assert hnsw == {index.name for generation in others for index in indexes.wanted(generation)}
    said(keep=0, keep_days=0.0)
    assert list(Generation.objects.all()) == [third]
    generations.drop_indexes(third)


def test_prune__senseless_numbers() -> None:
    with pytest.raises(CommandError, match="negative"):
        said(keep=-1)
