"""What is pruned is not done again, and not missed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.db.models.functions import Now

import mediasearch
from mediasearch import conf
from mediasearch.exceptions import MediaSearchError, NotReady
from mediasearch.features.hashing import content_hash
from mediasearch.indexing import generations, ledger, pruning, sweeper, twins
from mediasearch.indexing.status import status
from mediasearch.models import Asset, Embedding, Generation, Job, Stage
from tests.conftest import MakeAsset, picture
from tests.live import until

pytestmark = pytest.mark.django_db
Index = Callable[[], None]


@pytest.fixture
def pruned(active_generation: Generation, make_asset: MakeAsset, index_all: Index, settings: Any) -> Asset:
    """An asset that was indexed long ago, whose jobs are gone."""
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "READER": {"BACKEND": "mediasearch.features.fake.FakeReader", "OPTIONS": {"text": "EXIT"}}
    }
    asset = make_asset("blue", caption="blue")
    index_all()
    age()
    assert pruning.prune_jobs(100) == 4
    asset.refresh_from_db()
    return asset


def age(days: float = 31) -> None:
    Job.objects.exclude(finished_at=None).update(finished_at=Now() - timedelta(days=days))


def owed(asset: Asset) -> set[str]:
    return set(asset.jobs.unfinished().values_list("stage", flat=True))


def test_prune_jobs__the_asset_remembers(pruned: Asset, active_generation: Generation) -> None:
    assert not Job.objects.exists()
    assert pruned.settled == {
        "inspect": pruned.input_key(Stage.INSPECT),
        "read": pruned.input_key(Stage.READ),
        f"embed_image:{active_generation.pk}": pruned.input_key(Stage.EMBED_IMAGE),
        f"embed_caption:{active_generation.pk}": pruned.input_key(Stage.EMBED_CAPTION),
    }


def test_prune_jobs__the_same_input_is_not_owed_again(pruned: Asset) -> None:
    pruned.category = "Another category"
    pruned.save()
    assert Job.objects.owe([pruned]) == 0
    assert not Asset.objects.lacking_jobs().exists()
    ledger.sweep(thoroughly=True)
    assert not Job.objects.exists()


def test_prune_jobs__another_input_is(pruned: Asset, index_all: Index) -> None:
    pruned.caption = "red"
    pruned.save()
    assert owed(pruned) == {"embed_caption"}
    pruned.caption = "blue"  # As before, but by now the job is there and has the last word.
    pruned.save()
    assert owed(pruned) == {"embed_caption"}
    index_all()
    before = pruned.file
    pruned.file = ContentFile(picture("red"), name="red.png")
    pruned.save()
    assert owed(pruned) == {"inspect", "read", "embed_image"}
    index_all()
    age()
    pruning.prune_jobs(100)
    pruned.file = before
    pruned.save()
    assert owed(pruned) == {"inspect", "read", "embed_image"}


def test_prune_jobs__a_caption_that_was_taken_away_takes_its_vector_along(pruned: Asset, index_all: Index) -> None:
    assert Embedding.objects.filter(asset=pruned, caption__isnull=False).exists()
    pruned.caption = ""
    pruned.save()
    assert owed(pruned) == {"embed_caption"}
    index_all()
    assert not Embedding.objects.filter(asset=pruned, caption__isnull=False).exists()


def test_prune_jobs__those_with_nothing_to_do_as_well(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset("red")
    assert asset.jobs.get(stage=Stage.EMBED_CAPTION).finished_at is not None
    assert next(s for s in status().stages if s.stage == Stage.EMBED_CAPTION).rate == 0
    index_all()
    age()
    assert pruning.prune_jobs(100) == 4
    assert Job.objects.owe([asset]) == 0
    assert not Job.objects.exists()
    asset.caption = "red"
    asset.save()
    assert owed(asset) == {"embed_caption"}


def test_prune_jobs__again_by_hand(pruned: Asset, index_all: Index) -> None:
    assert ledger.reindex([pruned]) == 4
    index_all()
    assert set(pruned.jobs.values_list("state", flat=True)) == {"done"}


def test_prune_jobs__neither_young_nor_failed_nor_waiting_ones(make_asset: MakeAsset, index_all: Index) -> None:
    make_asset(b"a shopping list", name="list.png")
    index_all()
    make_asset()
    age(365)
    assert pruning.prune_jobs(100) == 0
    make_asset("red")
    index_all()
    age(29)
    assert pruning.prune_jobs(100) == 0
    age()
    assert pruning.prune_jobs(100) > 0
    assert set(Job.objects.values_list("state", flat=True)) == {"failed"}


def test_prune_jobs__twins_still_lend(pruned: Asset, active_generation: Generation, make_asset: MakeAsset) -> None:
    digest, twin = content_hash(picture("blue")), make_asset("blue")
    assert twins.image_vector(twin, digest, active_generation.pk) is not None
    assert twins.reading(twin, digest) == ("EXIT", pruned.ocr_words)


def test_prune_jobs__status_and_coverage_stay(pruned: Asset, active_generation: Generation) -> None:
    told = status()
    assert told.active is not None
    assert (told.active.images, told.active.coverage, told.alarms) == (1, 1.0, [])
    assert {s.stage: (s.pending, s.done) for s in told.stages} == dict.fromkeys(
        ["inspect", "read", "embed_image", "embed_caption"], (0, 1)
    )
    assert generations.assets_lacking(active_generation) == 0


def test_prune_jobs__a_generation_is_gone_back_to_without_work(
    pruned: Asset, active_generation: Generation, index_all: Index
) -> None:
    spec = conf.Spec("mediasearch.features.fake.FakeEncoder", {"name": "other"})
    other = generations.create(spec)
    generations.owe_all(other)
    assert owed(pruned) == {"embed_image", "embed_caption"}
    index_all()
    generations.activate(other)
    age()
    pruning.prune_jobs(100)
    generations.reopen(active_generation)
    assert owed(pruned) == set()
    assert generations.activate(active_generation).state == "active"


def test_prune_jobs__keys_of_generations_that_are_gone_are_forgotten(
    pruned: Asset, active_generation: Generation
) -> None:
    Asset.objects.filter(pk=pruned.pk).record(settled=pruned.settled | {"embed_image:999": "x"})
    ledger.reindex([pruned], [Stage.READ])
    Job.objects.update(state="done", finished_at=Now() - timedelta(days=31))
    assert pruning.prune_jobs(100) == 1
    before = pruned.settled
    pruned.refresh_from_db()
    assert pruned.settled == before


def test_settled__is_not_written_back_by_whoever_saves_a_row_read_long_ago(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    stale = make_asset("red")
    index_all()
    age()
    pruning.prune_jobs(100)
    assert stale.settled == {}
    stale.category = "New"
    stale.save()
    assert owed(stale) == set()
    stale.refresh_from_db()
    assert set(stale.settled) >= {"inspect", "read"}


@pytest.mark.django_db(transaction=True)
def test_prune_jobs__waits_for_nobody(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> None:
    busy, free = make_asset("red"), make_asset("blue")
    index_all()
    age()
    with transaction.atomic():
        Asset.objects.select_for_update().get(pk=busy.pk)
        counted: list[int] = []

        def prune() -> None:
            counted.append(pruning.prune_jobs(100))
            connection.close()

        thread = threading.Thread(target=prune)
        thread.start()
        thread.join(10)
        assert counted == [4]
    assert not free.jobs.exists()
    assert busy.jobs.count() == 4


@pytest.mark.django_db(transaction=True)
def test_sweeper__prunes_by_itself(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_asset("red")
    index_all()
    age()
    monkeypatch.setattr(sweeper, "EVERY", 0.05)
    thread = sweeper.Sweeper()
    thread.start()
    try:
        until(lambda: not Job.objects.exists(), "nothing was pruned")
    finally:
        thread.stop()
        thread.join()


# Generations


def retired(days: float, **fields: Any) -> Generation:
    made = {"encoder": {}, "fingerprint": "old", "dimensions": 8, "caption_dimensions": 8} | fields
    generation = Generation.objects.create(state="retired", **made)
    Generation.objects.filter(pk=generation.pk).update(retired_at=Now() - timedelta(days=days))
    return generation


def test_outdated_generations__some_are_kept_to_go_back_to() -> None:
    oldest, middle, newest = retired(90), retired(60), retired(30)
    assert pruning.outdated_generations(0, 0) == [oldest, middle, newest]
    assert pruning.outdated_generations(1, 7) == [oldest, middle]
    assert pruning.outdated_generations(2, 0) == [oldest]
    assert pruning.outdated_generations(1, 70) == [oldest]
    Generation.objects.filter(pk=middle.pk).update(state="building")
    assert pruning.outdated_generations(0, 0) == [oldest, newest]


def test_outdated_generations__never_one_that_a_search_may_still_use() -> None:
    retired(5 / 60 / 24)
    assert pruning.outdated_generations(0, 0) == []
    old = retired(15 / 60 / 24)
    assert pruning.outdated_generations(0, 0) == [old]


@pytest.mark.django_db(transaction=True)
def test_forget__broken_off_it_is_not_gone_back_to_and_goes_on(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = retired(60)
    Embedding.objects.create(generation=generation, asset=make_asset())

    def break_off(generation: Generation) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generations, "drop_indexes", break_off)
        with pytest.raises(KeyboardInterrupt):
            generations.forget(generation)
    with pytest.raises(MediaSearchError, match="is being deleted"):
        generations.reopen(generation)
    assert pruning.outdated_generations(5, 1_000) == [generation]
    generations.forget(Generation.objects.get(pk=generation.pk))
    assert list(Generation.objects.all()) == [active_generation]
    assert Embedding.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_forget__waits_for_those_who_may_still_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    generation = retired(60)
    ready, over = threading.Event(), threading.Event()

    def search() -> None:
        with transaction.atomic():
            Generation.objects.count()
            ready.set()
            over.wait(10)
        connection.close()

    thread = threading.Thread(target=search)
    thread.start()
    assert ready.wait(10)
    monkeypatch.setattr(generations, "PATIENCE", 0.2)
    with pytest.raises(NotReady, match="may still use generation"):
        generations.forget(generation)
    monkeypatch.setattr(generations, "PATIENCE", 10.0)
    threading.Timer(0.2, over.set).start()
    generations.forget(Generation.objects.get(pk=generation.pk))
    thread.join()
    assert not Generation.objects.exists()


def test_search__finds_what_was_pruned(pruned: Asset) -> None:
    assert [hit.asset for hit in mediasearch.search("blue")] == [pruned]
    assert [hit.asset for hit in mediasearch.search("EXIT", weights={"text": 1})] == [pruned]
