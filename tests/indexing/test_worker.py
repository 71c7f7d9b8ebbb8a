from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.files.storage import storages

from mediasearch import conf
from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features.fake import FakeEncoder
from mediasearch.indexing import discards, ledger, stages, worker
from mediasearch.models import Asset, Embedding, Generation, Job, Pause, Stage
from tests.conftest import MakeAsset, picture
from tests.features.test_metadata import XMP

pytestmark = pytest.mark.django_db
Index = Callable[[], None]


def failures(asset: Asset) -> dict[str, str]:
    return dict(asset.jobs.filter(state="failed").values_list("stage", "error"))


def test_drain__an_upload_gets_all_its_features(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "READER": {"BACKEND": "mediasearch.features.fake.FakeReader", "OPTIONS": {"text": "NO ENTRY"}}
    }
    asset = make_asset("red", caption="all blue")
    index_all()
    asset.refresh_from_db()
    assert (asset.width, asset.height, asset.mime_type, len(asset.content_hash)) == (64, 48, "image/png", 64)
    assert asset.ocr_text == "NO ENTRY"
    assert [word["text"] for word in asset.ocr_words] == ["NO", "ENTRY"]
    with storages["default"].open(asset.thumbnail) as thumbnail:
        assert thumbnail.read(4) == b"RIFF"
    embedding = Embedding.objects.get(asset=asset)
    red, blue = FakeEncoder().encode_texts(["red", "blue"])
    assert embedding.image == pytest.approx(red.tolist(), abs=1e-2)
    assert embedding.caption == pytest.approx(blue.tolist(), abs=1e-2)
    assert set(asset.jobs.values_list("state", flat=True)) == {"done"}


def test_drain__what_the_file_says_fills_what_nobody_wrote(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset(picture(form="JPEG", xmp=XMP), name="boat.jpg", title="My own title")
    index_all()
    asset.refresh_from_db()
    assert (asset.title, asset.caption, asset.caption_source) == ("My own title", "Boats at dawn", "file")
    assert (asset.tags, asset.copyright) == (["boat", "sea"], "CC0")
    assert asset.taken_at == datetime(2020, 5, 6, 5, 8, 9, tzinfo=UTC)
    assert Embedding.objects.get(asset=asset).caption is not None


def test_drain__a_removed_caption_loses_its_vector(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset(caption="blue")
    index_all()
    asset.refresh_from_db()
    asset.caption = ""
    asset.save()
    index_all()
    assert Embedding.objects.get(asset=asset).caption is None


def test_drain__a_caption_the_encoder_can_not_read_has_no_vector(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset(caption="一张红色的图片")
    index_all()
    assert Embedding.objects.get(asset=asset).caption is None
    assert set(asset.jobs.values_list("state", flat=True)) == {"done"}


def test_drain__a_bad_file_fails_with_its_reason_and_holds_no_other_back(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    good, bad = make_asset(), make_asset(b"a shopping list", name="list.png")
    index_all()
    assert set(failures(bad)) == {"inspect", "read", "embed_image"}
    assert "not an image" in failures(bad)["inspect"]
    assert failures(good) == {}


def test_drain__a_missing_file_fails_with_its_reason(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset()
    asset.file.storage.delete(asset.file.name)
    index_all()
    assert "no file" in failures(asset)["inspect"]


def test_drain__one_stage_fails_and_the_picture_is_found_all_the_same(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "READER": {"BACKEND": "tests.features.nasty.Killer"},
        "MAX_CLAIMS": 1,
    }
    asset = make_asset("red")
    index_all()
    assert set(failures(asset)) == {"read"}
    assert Embedding.objects.filter(asset=asset).exists()


def test_drain__an_encoder_that_is_down_pauses_its_stage_and_burns_no_claim(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> None:
        raise EncoderUnavailable("The weights are gone.")

    monkeypatch.setattr(stages.encoders, "of", down)
    asset = make_asset()
    index_all()
    job = asset.jobs.get(stage=Stage.EMBED_IMAGE)
    assert (job.state, job.attempts, job.error) == ("pending", 0, "The weights are gone.")
    assert asset.jobs.get(stage=Stage.INSPECT).state == "done"
    assert Pause.objects.get().reason == "The weights are gone."


def test_drain__a_storage_that_is_down_pauses_what_reads_files(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> None:
        raise OSError("no route to host")

    assets = [make_asset(), make_asset()]
    monkeypatch.setattr(storages["default"], "_open", down)
    index_all()
    assert set(Pause.objects.values_list("stage", flat=True)) == {"inspect", "read", "embed_image"}
    assert not Job.objects.filter(asset__in=assets, attempts__gt=0).exists()


def test_drain__a_deleted_asset_is_no_error(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed, other = make_asset(), make_asset()
    compute = stages.EmbedImage.compute

    def delete_meanwhile(self: stages.EmbedImage, *args: Any) -> list[Any]:
        Asset.objects.filter(pk=doomed.pk).delete()
        return compute(self, *args)

    monkeypatch.setattr(stages.EmbedImage, "compute", delete_meanwhile)
    index_all()
    assert set(Embedding.objects.values_list("asset", flat=True)) == {other.pk}


def test_drain__describes_what_has_no_caption(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"CAPTIONER": {"BACKEND": "mediasearch.features.fake.FakeCaptioner"}}
    bare, told = make_asset("blue"), make_asset("green", caption="Something green")
    index_all()
    bare.refresh_from_db()
    told.refresh_from_db()
    assert bare.caption.startswith("picture ")
    assert bare.caption_source == "captioner"
    assert Embedding.objects.get(asset=bare).caption is not None
    assert told.caption == "Something green"
    assert told.jobs.get(stage=Stage.DESCRIBE).state == "skipped"


def test_drain__stops_when_its_time_is_over(
    active_generation: Generation, make_asset: MakeAsset, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"BATCH_SIZE": 1}
    assert conf.settings().batch_size == 1
    for _ in range(3):
        make_asset()
    assert worker.drain([Stage.EMBED_IMAGE], seconds=0) is True
    assert Embedding.objects.count() == 1


def test_deleting__leaves_no_file(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> None:
    asset, twin = make_asset("red"), make_asset("red")
    index_all()
    asset.refresh_from_db()
    twin.refresh_from_db()
    assert asset.thumbnail != twin.thumbnail
    storage = storages["default"]
    asset.delete()
    discards.delete_due()
    assert not storage.exists(asset.file.name)
    assert not storage.exists(asset.thumbnail)
    assert storage.exists(twin.thumbnail)
    twin.delete()
    discards.delete_due()
    assert not storage.exists(twin.thumbnail)


EMBED = [Stage.EMBED_IMAGE, Stage.EMBED_CAPTION, Stage.DESCRIBE]
CAPTIONER = {"CAPTIONER": {"BACKEND": "mediasearch.features.fake.FakeCaptioner"}}


def taken(turns: worker._Turns, batches: int) -> list[tuple[str, list[int]]]:
    """The stages and the assets of the next batches."""
    found = [turns.next() for _ in range(batches)]
    return [(batch.work.stage, [claim.asset for claim in batch.claims]) for batch in found if batch]


def test_turns__an_upload_waits_for_no_backfill(
    active_generation: Generation, make_asset: MakeAsset, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | CAPTIONER | {"BATCH_SIZE": 2}
    ledger.reindex([make_asset(caption="blue") for _ in range(6)])
    turns = worker._Turns(EMBED)
    assert taken(turns, 1)[0][0] == "embed_image"
    upload = make_asset(caption="red")
    batches = taken(turns, 3)
    assert [stage for stage, _ in batches] == ["embed_image", "embed_caption", "describe"]
    assert all(upload.pk in assets and len(assets) == 2 for _, assets in batches)


def test_turns__a_backfill_goes_round_the_stages(
    active_generation: Generation, make_asset: MakeAsset, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | CAPTIONER | {"BATCH_SIZE": 1}
    ledger.reindex([make_asset(caption="blue") for _ in range(2)])
    stages_taken = [stage for stage, _ in taken(worker._Turns(EMBED), 7)]
    assert stages_taken == ["embed_image", "embed_caption", "describe"] * 2


def test_turns__a_stage_that_rests_is_left_out(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset(caption="blue")
    ledger.pause(Stage.EMBED_IMAGE, EncoderUnavailable("The weights are gone."))
    assert [stage for stage, _ in taken(worker._Turns(EMBED), 2)] == ["embed_caption"]


def test_drain__what_a_backfill_leads_to_is_no_more_urgent_than_it(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, settings: Any
) -> None:
    asset = make_asset()
    index_all()
    settings.MEDIASEARCH = settings.MEDIASEARCH | CAPTIONER
    ledger.reindex([asset], [Stage.DESCRIBE])
    index_all()
    job = asset.jobs.get(stage=Stage.EMBED_CAPTION)
    assert Embedding.objects.get(asset=asset).caption is not None
    assert (job.state, job.priority) == ("done", Job.BACKFILL)
