from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

import mediasearch
from mediasearch import models as tables
from mediasearch.features import lexemes
from mediasearch.features.hashing import content_hash
from mediasearch.indexing import twins, upkeep
from mediasearch.indexing.status import status
from mediasearch.models import Asset, Generation, Job, Stage
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db
Index = Callable[[], None]


@pytest.fixture
def indexed(settings: Any, active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> list[Asset]:
    reader = {"BACKEND": "mediasearch.features.fake.FakeReader", "OPTIONS": {"text": "EXIT"}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"READER": reader}
    assets = [make_asset(colour, title=colour) for colour in ("red", "blue")]
    index_all()
    return assets


def pending() -> list[tuple[int, str, int]]:
    return list(Job.objects.filter(state="pending").order_by("pk").values_list("asset", "stage", "priority"))


def blank(asset: Asset, **values: Any) -> None:
    """Write past Django, as a faulty script does."""
    with connection.cursor() as cursor:
        for column, value in values.items():
            cursor.execute(f"UPDATE mediasearch_asset SET {column} = %s WHERE id = %s", [value, asset.pk])


def test_up_to_date__nothing_is_done(indexed: list[Asset]) -> None:
    assert upkeep.bring_up_to_date() == 0
    assert pending() == []


@pytest.mark.parametrize("stage", [Stage.INSPECT, Stage.READ, Stage.EMBED_IMAGE, Stage.EMBED_CAPTION])
def test_version__a_stages_owes_it_to_all_at_back_fill_priority(
    stage: Stage, indexed: list[Asset], index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tables.STAGE_VERSIONS, stage, 2)
    assert upkeep.bring_up_to_date() == 2
    assert pending() == [(asset.pk, stage, Job.BACKFILL) for asset in indexed]
    # Until then they are found as before.
    assert len(mediasearch.search("exit", weights={"text": 1})) == 2
    assert len(mediasearch.search("red", weights={"image": 1})) == 2
    index_all()
    assert (pending(), upkeep.bring_up_to_date(), pending()) == ([], 0, [])


def test_outdated__chunk_by_chunk_each_once(indexed: list[Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "AT_ONCE", 1)
    monkeypatch.setitem(tables.STAGE_VERSIONS, Stage.READ, 2)
    assert upkeep.bring_up_to_date() == 2
    assert len(pending()) == 2
    assert upkeep.bring_up_to_date() == 0


def test_version__of_a_stage_reaches_those_whose_jobs_were_pruned(
    indexed: list[Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    for asset in Asset.objects.all():
        Asset.objects.filter(pk=asset.pk).record(settled={"read": asset.input_key(Stage.READ)})
    Job.objects.filter(stage=Stage.READ).delete()
    assert (upkeep.bring_up_to_date(), pending()) == (0, [])
    monkeypatch.setitem(tables.STAGE_VERSIONS, Stage.READ, 2)
    upkeep.bring_up_to_date()
    assert pending() == [(asset.pk, Stage.READ, Job.BACKFILL) for asset in indexed]


def test_version__what_an_older_one_made_is_not_lent(
    indexed: list[Asset], active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin, digest = make_asset("red"), content_hash(picture("red"))
    assert twins.reading(twin, digest) is not None
    assert twins.image_vector(twin, digest, active_generation.pk) is not None
    monkeypatch.setitem(tables.STAGE_VERSIONS, Stage.READ, 2)
    monkeypatch.setitem(tables.STAGE_VERSIONS, Stage.EMBED_IMAGE, 2)
    assert twins.reading(twin, digest) is None
    assert twins.image_vector(twin, digest, active_generation.pk) is None


def test_version__of_a_captioner_replaces_its_own_captions(
    settings: Any, indexed: list[Asset], index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = {"BACKEND": "mediasearch.features.fake.FakeCaptioner", "OPTIONS": {}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"CAPTIONER": captioner}
    by_hand, by_machine = indexed
    Asset.objects.filter(pk=by_hand.pk).update(caption="By hand")
    Asset.objects.filter(pk=by_machine.pk).record(caption="old", caption_source="captioner")
    monkeypatch.setitem(tables.STAGE_VERSIONS, Stage.DESCRIBE, 2)
    upkeep.bring_up_to_date()
    index_all()
    captions = dict(Asset.objects.values_list("pk", "caption"))
    assert captions[by_hand.pk] == "By hand"
    assert captions[by_machine.pk].startswith("picture ")


def test_version__of_the_folding_makes_text_vectors_again(
    indexed: list[Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = lexemes.fold
    monkeypatch.setattr(lexemes, "fold", lambda text: fold(text).replace("exit", "ausgang"))
    assert upkeep.bring_up_to_date() == 0
    monkeypatch.setattr(lexemes, "VERSION", 2)
    assert upkeep.bring_up_to_date() == 2
    assert all("ausgang" in vector for vector in Asset.objects.values_list("text_vector", flat=True))
    assert pending() == []


def test_blank__what_a_stale_save_undid_is_made_again(indexed: list[Asset], index_all: Index) -> None:
    lost, before = indexed[0], Asset.objects.filter(pk=indexed[0].pk).values().get()
    blank(
        lost, thumbnail="", content_hash="", width=None, height=None, mime_type="", byte_size=None,
        perceptual_hash=None, ocr_text="", ocr_words="[]", text_vector="",
    )  # fmt: skip
    assert upkeep.bring_up_to_date() == 1
    assert pending() == [(lost.pk, "inspect", Job.BACKFILL), (lost.pk, "read", Job.BACKFILL)]
    index_all()
    after = Asset.objects.filter(pk=lost.pk).values().get()
    assert {name for name in before if before[name] != after[name]} == {"modified_at", "thumbnail"}
    assert Asset(thumbnail=after["thumbnail"]).file.storage.exists(after["thumbnail"])
    assert upkeep.bring_up_to_date() == 0


@pytest.mark.parametrize(("column", "value"), [
    *((name, None) for name in ("width", "height", "byte_size", "perceptual_hash", "text_vector")),
    *((name, "") for name in ("mime_type", "content_hash", "thumbnail", "ocr_text")),
])  # fmt: skip
def test_blank__any_single_column(column: str, value: Any, indexed: list[Asset], index_all: Index) -> None:
    ((before,),) = Asset.objects.filter(pk=indexed[0].pk).values_list(column)
    blank(indexed[0], **{column: value})
    upkeep.bring_up_to_date()
    index_all()
    ((after,),) = Asset.objects.filter(pk=indexed[0].pk).values_list(column)
    if column == "thumbnail":  # It is another file, under a name of its own.
        assert after.startswith("mediasearch/thumbnails/")
        assert after != before
    else:
        assert after == before


@pytest.mark.parametrize("state", ["pending", "running", "failed"])
def test_blank__what_is_being_read_again_or_can_not_be_is_left_alone(state: str, indexed: list[Asset]) -> None:
    blank(indexed[0], ocr_text="", ocr_words="[]")
    indexed[0].jobs.filter(stage="read").update(state=state)
    before = list(Job.objects.values_list("pk", "state").order_by("pk"))
    assert upkeep.bring_up_to_date() == 0
    assert list(Job.objects.values_list("pk", "state").order_by("pk")) == before


def test_blank__with_pruned_jobs(indexed: list[Asset]) -> None:
    asset = Asset.objects.get(pk=indexed[0].pk)
    Asset.objects.filter(pk=asset.pk).record(settled={stage: asset.input_key(stage) for stage in ("inspect", "read")})
    asset.jobs.all().delete()
    blank(asset, thumbnail="")
    upkeep.bring_up_to_date()
    assert {stage for pk, stage, _ in pending() if pk == asset.pk} >= {"inspect", "read"}


def test_blank__neither_new_nor_failed_nor_without_words(
    settings: Any, active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    make_asset("red")  # It is read without finding a word.
    make_asset(b"no picture", "broken.png")
    index_all()
    Asset.objects.create(title="without a file")
    make_asset("blue")
    before = pending()
    assert upkeep.bring_up_to_date() == 0
    assert pending() == before


def test_blank__is_found_by_an_index(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        assert "mediasearch_asset_blank" in Asset.objects.blank().order_by("pk").explain()
        assert "mediasearch_asset_derived" in Asset.objects.outdated().order_by().explain()


def test_status__counts_what_is_behind(indexed: list[Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    assert status().outdated == 0
    monkeypatch.setitem(tables.STAGE_VERSIONS, Stage.READ, 2)
    assert status().outdated == 2
    shown = io.StringIO()
    call_command("mediasearch_status", stdout=shown)
    assert "2 images are yet to be brought up to date." in shown.getvalue()
