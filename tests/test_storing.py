"""How uploads come into the storage, by every way that Django has."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from mediasearch.features.hashing import content_hash
from mediasearch.indexing import discards
from mediasearch.models import Asset, Discard, Generation, Job
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db
Store = Callable[[str, bytes], None]
JPEG = picture(form="JPEG", comment=b"<html><script>alert(1)</script></html>")
ACTIVE = (
    "evil.html", "evil.htm", "evil.svg", "evil.xhtml", "evil.shtml", "evil.js", "evil.php", ".htaccess", "a.jpg.html",
    "a.html.", "a.html ", "evil\u202elmth.jpg.html", "a.HTML", "CON.html", "web.config", "a.jpg;.html",
    "x" * 300 + ".html",
)  # fmt: skip


def by_admin_form(name: str, data: bytes) -> None:
    post(reverse("admin:mediasearch_asset_add"), file=SimpleUploadedFile(name, data))


def by_multiple_upload(name: str, data: bytes) -> None:
    post(reverse("admin:mediasearch_asset_upload"), pictures=SimpleUploadedFile(name, data))


def post(address: str, **files: Any) -> None:
    client = Client()
    client.force_login(User.objects.get_or_create(username="editor", is_staff=True, is_superuser=True)[0])
    assert client.post(address, {"is_public": "on", **files}).status_code == 302


def by_save(name: str, data: bytes) -> None:
    Asset(file=ContentFile(data, name=name)).save()


def by_bulk_create(name: str, data: bytes) -> None:
    Asset.objects.bulk_create([Asset(file=ContentFile(data, name=name))])


def by_upsert(name: str, data: bytes) -> None:
    asset = Asset.objects.create()
    asset.file = ContentFile(data, name=name)
    Asset.objects.bulk_create([asset], update_conflicts=True, unique_fields=["pk"], update_fields=["file"])


def by_bulk_update(name: str, data: bytes) -> None:
    asset = Asset.objects.create()
    asset.file = ContentFile(data, name=name)
    Asset.objects.bulk_update([asset], ["file"])


def by_file_api(name: str, data: bytes) -> None:
    Asset.objects.create().file.save(name, ContentFile(data))


WAYS = (
    by_admin_form, by_multiple_upload, by_save, by_bulk_create, by_upsert, by_bulk_update, by_file_api,
)  # fmt: skip


def stored() -> set[str]:
    """The files that lie in the storage."""
    root = Path(storages["default"].location)  # type: ignore[attr-defined]
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("store", WAYS)
@pytest.mark.parametrize("name", ACTIVE)
def test_store__no_name_of_an_active_type_is_kept(name: str, store: Store) -> None:
    store(name, JPEG)
    (asset,) = Asset.objects.all()
    assert stored() == {asset.file.name}
    assert str(asset.file.name).endswith(".jpg")
    assert "." not in Path(str(asset.file.name)).stem
    assert asset.file_version.startswith(content_hash(JPEG))


@pytest.mark.parametrize("store", [by_save, by_bulk_create, by_bulk_update, by_file_api])
@pytest.mark.parametrize("data", [b"<html></html>", b"<svg/>", b"<?php", b"#!/bin/sh"])
def test_store__what_is_no_picture_is_inert(store: Store, data: bytes) -> None:
    store("a.html", data)
    assert [Path(name).suffix for name in stored()] == [".bin"]


def test_store__by_the_import(tmp_path: Path) -> None:
    (tmp_path / "evil.html").write_bytes(JPEG)
    call_command("mediasearch_import", str(tmp_path), verbosity=0, stdout=io.StringIO())
    (asset,) = Asset.objects.all()
    assert str(asset.file.name).endswith(".jpg")


def test_store__a_stream_that_is_read_only_once() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: Any) -> int:
            raise io.UnsupportedOperation("seek")

    asset = Asset.objects.create(file=File(Pipe(JPEG), "a.jpg"))
    with asset.file.storage.open(str(asset.file.name)) as stream:
        assert stream.read() == JPEG


def test_store__half_a_file_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    save = FileSystemStorage._save

    def full(storage: FileSystemStorage, name: str, content: Any) -> str:
        save(storage, name, ContentFile(b"half"))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSystemStorage, "_save", full)
    with pytest.raises(OSError, match="No space"):
        Asset.objects.create(file=ContentFile(JPEG, name="a.jpg"))
    assert stored() == set()


@pytest.mark.django_db(transaction=True)
def test_store__a_file_whose_row_never_came_goes_in_a_day() -> None:
    with pytest.raises(IntegrityError):
        Asset.objects.create(file=ContentFile(JPEG, name="a.jpg"), owner_id=12_345)
    assert len(stored()) == 1
    discards.delete_due()
    assert len(stored()) == 1  # Somebody may try to save the object again.
    Discard.objects.hasten(stored())
    discards.delete_due()
    assert stored() == set()


def test_store__the_row_keeps_the_promise(make_asset: MakeAsset) -> None:
    make_asset()
    assert not Discard.objects.exists()


# What changes when the file does


class Overwriting(FileSystemStorage):
    """One file for each stem, as a site might have it that overwrites."""

    def __init__(self) -> None:
        super().__init__(allow_overwrite=True)

    def generate_filename(self, filename: str) -> str:
        return "always-the-same.png"


def keys(asset: Asset) -> list[str]:
    return list(asset.jobs.order_by("stage").exclude(stage="embed_caption").values_list("input_key", flat=True))


def test_version__of_a_storage_that_overwrites(
    active_generation: Generation,
    make_asset: MakeAsset,
    index_all: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Asset._meta.get_field("file"), "storage", Overwriting())
    asset = make_asset("red")
    index_all()
    asset.refresh_from_db()
    before, digest = keys(asset), asset.content_hash
    asset.file = ContentFile(picture("blue"), name="picture.png")
    asset.save()
    assert asset.file.name == "always-the-same.png"
    assert not {*before} & {*keys(asset)}
    index_all()
    asset.refresh_from_db()
    assert asset.content_hash == content_hash(picture("blue")) != digest
    assert Path(asset.file.storage.path("always-the-same.png")).exists()


def test_version__the_same_name_and_content_owe_nothing(make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asset._meta.get_field("file"), "storage", Overwriting())
    asset = make_asset("red")
    before = keys(asset)
    asset.file = ContentFile(picture("red"), name="picture.png")
    asset.save()
    assert keys(asset) == before


def test_version__rows_of_older_versions_owe_nothing(active_generation: Generation, make_asset: MakeAsset) -> None:
    """Their version was the name. Neither a save nor the upkeep takes them for new."""
    asset = make_asset("red")
    Asset.objects.filter(pk=asset.pk).update(file_version=asset.file.name)
    Job.objects.all().delete()
    old = Asset.objects.get()
    assert old.file_version == old.inputs.version == old.file.name
    Job.objects.owe([old])
    Job.objects.update(state="done")
    old.title = "New"
    old.save()
    Asset.objects.filter(pk=old.pk).update(category="new")
    assert not Job.objects.exclude(stage="embed_caption").exclude(state="done").exists()
    assert Asset.objects.get().file_version == old.file.name


@pytest.mark.parametrize("write", ["save", "update", "bulk_update"])
def test_version__of_another_file_by_its_name(make_asset: MakeAsset, write: str) -> None:
    asset = make_asset("red")
    before = keys(asset)
    name = storages["default"].save("other.png", ContentFile(picture("blue")))
    if write == "update":
        Asset.objects.update(file=name)
    else:
        asset.file.name = name
        asset.save() if write == "save" else Asset.objects.bulk_update([asset], ["file"])
    assert Asset.objects.get().file_version == name
    assert not {*before} & {*keys(asset)}


def test_version__an_object_that_never_read_it(make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    before, version = keys(asset), asset.file_version
    Asset(pk=asset.pk, file=asset.file.name, title="New").save()
    assert (keys(asset), Asset.objects.get().file_version) == (before, version)


@pytest.mark.parametrize("write", ["save", "bulk_create"])
def test_version__of_a_row_that_comes_with_its_key(write: str) -> None:
    asset = Asset(pk=77, file="a.png")
    asset.save() if write == "save" else Asset.objects.bulk_create([asset])
    assert keys(asset) == [Asset.objects.get().input_key("inspect")] * 2


def test_version__an_object_read_before_the_file_was_replaced(make_asset: MakeAsset) -> None:
    """Saving something else does not bring the old file back, which is deleted by then."""
    asset = make_asset("red")
    stale = Asset.objects.get()
    asset.file = ContentFile(picture("blue"), name="blue.png")
    asset.save()
    discards.delete_due()
    stale.title = "New"
    stale.save()
    discards.delete_due()
    stored_row = Asset.objects.get()
    assert (stored_row.title, stored_row.file.name, stored_row.file_version) == (
        "New", asset.file.name, asset.file_version,
    )  # fmt: skip
    assert stored() == {asset.file.name}


@pytest.mark.django_db(transaction=True)
def test_version__the_object_that_the_upload_was_made_with(make_asset: MakeAsset) -> None:
    stale = make_asset("red")
    Asset.objects.get().file.save("blue.png", ContentFile(picture("blue")))
    stale.title = "New"
    stale.save()
    discards.delete_due()
    assert stored() == {Asset.objects.get().file.name}


def test_save__of_other_fields_leaves_an_upload_for_later(make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    asset.file, asset.title = ContentFile(picture("blue"), name="blue.png"), "New"
    asset.save(update_fields=["title"])
    assert len(stored()) == 1
    asset.save()
    discards.delete_due()
    assert stored() == {Asset.objects.get().file.name}
    assert Asset.objects.get().file_version.startswith(content_hash(picture("blue")))
