"""Rows that people and workers write: whoever saves an object read long ago undoes nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import serializers
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import transaction

import mediasearch
from mediasearch.exceptions import WrittenByWorkers
from mediasearch.indexing import discards, upkeep
from mediasearch.models import Asset, Generation, Job
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db
Index = Callable[[], None]
Write = Callable[[Asset], object]
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt>'
    b'<rdf:li xml:lang="x-default">Harbour</rdf:li></rdf:Alt></dc:title><dc:subject><rdf:Bag><rdf:li>boats</rdf:li>'
    b"</rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.fixture(autouse=True)
def _reader(settings: Any, active_generation: Generation) -> None:
    reader = {"BACKEND": "mediasearch.features.fake.FakeReader", "OPTIONS": {"text": "EXIT"}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"READER": reader}


def row(pk: int) -> dict[str, Any]:
    """All columns as they are stored."""
    return Asset.objects.filter(pk=pk).values().get()


def by_save(asset: Asset) -> None:
    asset.category = "new"
    asset.save()


def by_update_fields(asset: Asset) -> None:
    asset.category = "new"
    asset.save(update_fields=["category", "ocr_text", "title", "thumbnail"])


def by_bulk_update(asset: Asset) -> None:
    asset.category = "new"
    Asset.objects.bulk_update([asset], ["category"])


def by_update_or_create(asset: Asset) -> None:
    Asset.objects.update_or_create(pk=asset.pk, defaults={"category": "new"})


def by_update(asset: Asset) -> None:
    Asset.objects.filter(pk=asset.pk).update(category="new")


def by_a_new_object(asset: Asset) -> None:
    Asset(pk=asset.pk, file=asset.file.name, file_version=asset.file_version, category="new").save()


def by_an_upsert(asset: Asset) -> None:
    one = Asset(pk=asset.pk, category="new")
    Asset.objects.bulk_create([one], update_conflicts=True, unique_fields=["pk"], update_fields=["category"])


def by_a_deferred_object(asset: Asset) -> None:
    one = Asset.objects.only("category").get(pk=asset.pk)
    one.category = "new"
    one.save()


def by_a_fixture(asset: Asset) -> None:
    asset.category = "new"
    for deserialized in serializers.deserialize("json", serializers.serialize("json", [asset])):
        deserialized.save()


WAYS = [
    by_save, by_update_fields, by_bulk_update, by_update_or_create, by_update, by_a_new_object, by_an_upsert,
    by_a_deferred_object, by_a_fixture,
]  # fmt: skip


@pytest.mark.parametrize("write", WAYS)
def test_writing__an_object_read_before_indexing(write: Write, make_asset: MakeAsset, index_all: Index) -> None:
    """Whatever workers measured, read and adopted since then stays, and the new word is found beside the old ones."""
    stale = make_asset(picture("red", form="JPEG", xmp=XMP), "boat.jpg")
    index_all()
    before = row(stale.pk)
    assert (before["title"], before["tags"], before["ocr_text"]) == ("Harbour", ["boats"], "EXIT")
    write(stale)
    upkeep.bring_up_to_date()
    after = row(stale.pk)
    changed = {name for name in before if before[name] != after[name]}
    dates = {"modified_at", "created_at"}  # A new object has its own, and a fixture only milliseconds.
    assert changed - dates == {"category", "text_vector"}
    assert not Job.objects.exclude(state="done").exists()
    for word in ("exit", "new", "harbour", "boats"):
        assert [hit.asset.pk for hit in mediasearch.search(word, weights={"text": 1})] == [stale.pk], word


def test_save__what_its_holder_changed_is_stored(make_asset: MakeAsset, index_all: Index) -> None:
    asset = make_asset(picture("red", form="JPEG", xmp=XMP), "boat.jpg")
    stale = Asset.objects.get()
    index_all()
    stale.title = "My own"
    stale.tags.append("mine")
    stale.save()
    assert (row(asset.pk)["title"], row(asset.pk)["tags"]) == ("My own", ["mine"])
    stale.title = ""
    stale.tags.clear()
    stale.save()
    assert (row(asset.pk)["title"], row(asset.pk)["tags"]) == ("", [])


def test_save__clears_what_it_was_made_with(make_asset: MakeAsset) -> None:
    asset = make_asset(title="Old")
    asset.title = ""
    asset.save()
    assert row(asset.pk)["title"] == ""


def test_save__again_after_a_rollback(make_asset: MakeAsset) -> None:
    asset = make_asset()
    asset.title = "Mine"
    with transaction.atomic():
        asset.save()
        transaction.set_rollback(True)
    asset.save()
    assert row(asset.pk)["title"] == "Mine"


def test_save__after_refreshing(make_asset: MakeAsset, index_all: Index) -> None:
    asset = make_asset(picture("red", form="JPEG", xmp=XMP), "boat.jpg")
    index_all()
    asset.refresh_from_db()
    asset.title = ""
    asset.save()
    assert row(asset.pk)["title"] == ""


def test_save__a_caption_by_hand_is_no_captioners(settings: Any, make_asset: MakeAsset, index_all: Index) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "CAPTIONER": {"BACKEND": "mediasearch.features.fake.FakeCaptioner", "OPTIONS": {}}
    }
    asset = make_asset()
    index_all()
    assert row(asset.pk)["caption_source"] == "captioner"
    asset.refresh_from_db()
    asset.caption = "By hand"
    asset.save()
    assert row(asset.pk)["caption_source"] == ""
    Asset.objects.update(caption="By another hand")
    mediasearch.reindex([asset])
    index_all()
    assert (row(asset.pk)["caption"], row(asset.pk)["caption_source"]) == ("By another hand", "")


def test_save__of_an_object_without_its_caption_leaves_whose_it_is(make_asset: MakeAsset) -> None:
    asset = make_asset()
    Asset.objects.filter(pk=asset.pk).record(caption="A boat", caption_source="captioner")
    bare = Asset.objects.defer("caption").get()
    bare.category = "new"
    bare.save()
    assert (row(asset.pk)["caption"], row(asset.pk)["caption_source"]) == ("A boat", "captioner")


@pytest.mark.parametrize("name", sorted(Asset.WORKERS))
def test_update__of_a_column_of_the_workers_is_refused(name: str, make_asset: MakeAsset) -> None:
    asset = make_asset()
    with pytest.raises(WrittenByWorkers, match=name):
        Asset.objects.update(**{name: None})
    with pytest.raises(WrittenByWorkers, match=name):
        Asset.objects.bulk_update([asset], [name])
    with pytest.raises(WrittenByWorkers, match=name):
        Asset.objects.bulk_create([asset], update_conflicts=True, unique_fields=["pk"], update_fields=[name])


def test_fixture__restores_a_row_that_is_gone(make_asset: MakeAsset, index_all: Index, tmp_path: Path) -> None:
    asset = make_asset(title="Red")
    index_all()
    before, fixture = row(asset.pk), tmp_path / "fixture.json"
    fixture.write_text(serializers.serialize("json", Asset.objects.all()))
    Asset.objects.all().delete()
    call_command("loaddata", str(fixture), verbosity=0)
    dates = {"modified_at", "created_at"}  # JSON has only milliseconds.
    assert {name for name, value in row(asset.pk).items() if value != before[name]} <= dates


def test_fixture__written_by_hand_is_found(make_asset: MakeAsset, tmp_path: Path) -> None:
    """Neither its text vector nor its jobs are in it."""
    fixture = tmp_path / "fixture.json"
    fields = {"title": "Handmade", "created_at": "2026-01-01T00:00Z", "modified_at": "2026-01-01T00:00Z"}
    fixture.write_text(json.dumps([{"model": "mediasearch.asset", "pk": 77, "fields": fields | {"file": "a.png"}}]))
    call_command("loaddata", str(fixture), verbosity=0)
    upkeep.bring_up_to_date()
    assert [hit.asset.pk for hit in mediasearch.search("handmade", weights={"text": 1})] == [77]
    assert Job.objects.filter(asset=77, state="pending").count() == 4


def test_fixture__over_a_row_with_a_new_title(make_asset: MakeAsset, index_all: Index, tmp_path: Path) -> None:
    asset, fixture = make_asset(title="Old"), tmp_path / "fixture.json"
    index_all()
    dumped = json.loads(serializers.serialize("json", Asset.objects.all()))
    dumped[0]["fields"] |= {"title": "New", "ocr_text": "", "width": None, "text_vector": ""}
    fixture.write_text(json.dumps(dumped))
    call_command("loaddata", str(fixture), verbosity=0)
    upkeep.bring_up_to_date()
    assert (row(asset.pk)["title"], row(asset.pk)["ocr_text"], row(asset.pk)["width"]) == ("New", "EXIT", 64)
    assert [hit.asset.pk for hit in mediasearch.search("new exit", weights={"text": 1})] == [asset.pk]
    assert [job.stage for job in Job.objects.filter(state="pending")] == ["embed_caption"]


def test_copy__of_a_row_is_indexed_by_itself(make_asset: MakeAsset, index_all: Index) -> None:
    """It takes the columns along, and must not be taken for one whose work is done."""
    asset = make_asset(title="Red")
    index_all()
    Asset.objects.filter(pk=asset.pk).record(settled={"inspect": asset.input_key("inspect")})
    twin = copy.copy(Asset.objects.get())
    twin.pk, twin._state.adding = None, True
    twin.file = ContentFile(picture("blue"), name="b.png")
    twin.save()
    assert set(Job.objects.filter(asset=twin, state="pending").values_list("stage", flat=True)) == {
        "inspect", "read", "embed_image", "embed_caption",
    }  # fmt: skip


def test_deleting__by_an_object_read_before_indexing(make_asset: MakeAsset, index_all: Index) -> None:
    stale = make_asset()
    index_all()
    thumbnail = row(stale.pk)["thumbnail"]
    assert stale.file.storage.exists(thumbnail)
    stale.delete()
    discards.delete_due()
    assert not stale.file.storage.exists(thumbnail)
