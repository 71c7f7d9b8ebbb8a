"""Files leave with the last row that has them: by every way, after the commit, and whoever else writes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import serializers
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django.db import connection, connections, transaction
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from mediasearch.indexing import discards, ledger, upkeep
from mediasearch.indexing.batch import Batch, take
from mediasearch.indexing.stages import WORKS
from mediasearch.models import Asset, Discard, Generation, Job, Stage
from tests.conftest import MakeAsset, picture

Index = Callable[[], None]
pytestmark = pytest.mark.django_db


def stored() -> set[str]:
    """The files that lie in the storage."""
    root = Path(storages["default"].location)  # type: ignore[attr-defined]
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def files_of_rows() -> set[str]:
    return {name for names in Asset.objects.values_list("file", "thumbnail") for name in names if name}


@pytest.fixture
def indexed(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> Asset:
    asset = make_asset("red")
    index_all()
    asset.refresh_from_db()
    return asset


def copied(asset: Asset) -> Asset:
    twin = copy.copy(Asset.objects.get(pk=asset.pk))
    twin.pk, twin._state.adding = None, True
    twin.save()
    return twin


def blue() -> ContentFile[bytes]:
    return ContentFile(picture("blue"), name="blue.png")


def by_delete(asset: Asset) -> None:
    asset.delete()


def by_queryset_delete(asset: Asset) -> None:
    Asset.objects.filter(pk=asset.pk).delete()


def by_raw_delete(asset: Asset) -> None:
    Job.objects.filter(asset=asset).delete()
    asset.embeddings.all().delete()
    queryset = Asset.objects.filter(pk=asset.pk)
    queryset._raw_delete(queryset.db)


def by_admin_action(asset: Asset) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("editor"))
    data = {"action": "delete_selected", "_selected_action": [asset.pk], "post": "yes"}
    assert client.post(reverse("admin:mediasearch_asset_changelist"), data).status_code == 302


DELETE = (by_delete, by_queryset_delete, by_raw_delete, by_admin_action)


def by_save(asset: Asset) -> None:
    asset.file = blue()
    asset.save()


def by_file_api(asset: Asset) -> None:
    asset.file.save("blue.png", blue())


def by_update(asset: Asset) -> None:
    Asset.objects.filter(pk=asset.pk).update(file=storages["default"].save("blue.png", blue()))


def by_bulk_update(asset: Asset) -> None:
    asset.file = blue()
    Asset.objects.bulk_update([asset], ["file"])


def by_upsert(asset: Asset) -> None:
    asset.file = blue()
    Asset.objects.bulk_create([asset], update_conflicts=True, unique_fields=["pk"], update_fields=["file"])


def by_update_or_create(asset: Asset) -> None:
    Asset.objects.update_or_create(pk=asset.pk, defaults={"file": blue()})


def by_a_fixture(asset: Asset) -> None:
    asset.file = storages["default"].save("blue.png", blue())
    for deserialized in serializers.deserialize("json", serializers.serialize("json", [asset])):
        deserialized.save()


def by_raw_sql(asset: Asset) -> None:
    name = storages["default"].save("blue.png", blue())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE mediasearch_asset SET file = %s, derived_version = 0 WHERE id = %s", [name, asset.pk])


def by_the_form(asset: Asset) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("editor"))
    address = reverse("admin:mediasearch_asset_change", args=[asset.pk])
    assert client.post(address, {"file": blue(), "is_public": "on"}).status_code == 302


REPLACE = (
    by_save, by_file_api, by_update, by_bulk_update, by_upsert, by_update_or_create, by_a_fixture, by_raw_sql,
    by_the_form,
)  # fmt: skip


@pytest.mark.parametrize("delete", DELETE)
def test_deleted__nothing_is_left(delete: Callable[[Asset], None], indexed: Asset) -> None:
    assert len(stored()) == 2
    delete(indexed)
    assert len(stored()) == 2
    assert discards.delete_due() == 2
    assert stored() == set()
    assert not Discard.objects.exists()


@pytest.mark.parametrize("delete", DELETE)
def test_deleted__what_a_copy_has_stays(delete: Callable[[Asset], None], indexed: Asset, index_all: Index) -> None:
    twin = copied(indexed)
    delete(indexed)
    assert discards.delete_due() == 0
    assert stored() == files_of_rows()
    index_all()
    discards.delete_due()
    assert stored() == files_of_rows()
    twin.delete()
    discards.delete_due()
    assert stored() == set()


@pytest.mark.parametrize("replace", REPLACE)
def test_replaced__file_and_thumbnail_go(replace: Callable[[Asset], None], indexed: Asset, index_all: Index) -> None:
    before = stored()
    replace(indexed)
    discards.delete_due()
    upkeep.bring_up_to_date()  # What went past Django's own save() is followed by the workers.
    index_all()
    discards.delete_due()
    assert stored() == files_of_rows()
    assert len(stored()) == 2
    assert not before & stored()
    assert not Discard.objects.exists()


@pytest.mark.parametrize("replace", REPLACE)
def test_replaced__what_a_copy_has_stays(replace: Callable[[Asset], None], indexed: Asset, index_all: Index) -> None:
    copied(indexed)
    replace(indexed)
    discards.delete_due()
    upkeep.bring_up_to_date()  # What went past Django's own save() is followed by the workers.
    index_all()
    discards.delete_due()
    assert stored() == files_of_rows()
    assert len(stored()) == 4


@pytest.mark.parametrize("write", [by_delete, by_queryset_delete, by_save, by_update])
def test_rollback__keeps_the_files(write: Callable[[Asset], None], indexed: Asset) -> None:
    before = files_of_rows()
    with transaction.atomic():
        write(Asset.objects.get())
        transaction.set_rollback(True)
    discards.delete_due()
    assert before <= stored()


def test_file_delete__leaves_what_another_row_has(indexed: Asset) -> None:
    twin = copied(indexed)
    indexed.file.delete()
    discards.delete_due()
    assert Asset.objects.get(pk=indexed.pk).file.name == ""
    assert twin.file.name in stored()
    twin.file.delete()
    discards.delete_due()
    assert twin.file.name not in stored()


def test_deleted__files_of_other_sources_are_theirs() -> None:
    name = storages["default"].save("shop.png", blue())
    Asset.objects.create(source="shop", object_id=1, file=name, file_version="1").delete()
    assert discards.delete_due() == 0
    assert stored() == {name}


def test_storage__that_does_not_delete_is_asked_again(indexed: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(storage: Any, name: str) -> None:
        raise ConnectionError("no route")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "delete", down)
        indexed.delete()
        assert discards.delete_due() == 0
    assert len(stored()) == 2
    assert discards.delete_due() == 0
    Discard.objects.update(due_at=Now() - timedelta(seconds=1))
    assert discards.delete_due() == 2


def test_having__looks_into_indexes(indexed: Asset) -> None:
    Asset.objects.bulk_create(Asset(source="shop", object_id=n, thumbnail=f"{n}.webp") for n in range(3_000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE mediasearch_asset")
    plan = Asset.objects.having(str(indexed.file.name)).order_by().explain()
    assert "mediasearch_asset_file" in plan
    assert "mediasearch_asset_thumbnail" in plan
    assert "Seq Scan" not in plan


# Beside workers


def test_worker__a_file_that_is_replaced_while_it_is_read(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    """The claim on the old file is superseded: no job fails by it, and its thumbnail is not left."""
    asset = make_asset("red")
    batch = take(Stage.INSPECT)
    assert batch is not None
    late = Batch(WORKS[Stage.EMBED_IMAGE], ledger.claim(Stage.EMBED_IMAGE, 10))
    by_save(asset)
    discards.delete_due()
    late.open()
    late.compute()
    assert (batch.settle(), late.settle()) == (0, 0)
    assert not Job.objects.exclude(state="pending").exclude(stage="embed_caption").exists()
    discards.delete_due()
    assert stored() == files_of_rows()
    index_all()
    discards.delete_due()
    assert stored() == files_of_rows()
    assert not Job.objects.exclude(state="done").exists()


def test_worker__that_gives_its_batch_back_leaves_no_thumbnail(
    active_generation: Generation, make_asset: MakeAsset
) -> None:
    make_asset("red")
    batch = take(Stage.INSPECT)
    assert batch is not None
    batch.release()
    discards.delete_due()
    assert stored() == files_of_rows()


# Beside other transactions


@contextmanager
def elsewhere(task: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Run a task in a transaction of another connection, which stays open until the call."""
    ready, go = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with transaction.atomic():
                task()
                ready.set()
                go.wait(10)
        except BaseException as error:
            errors.append(error)
        finally:
            ready.set()
            connections.close_all()

    def commit() -> None:
        go.set()
        thread.join()
        assert not errors, errors

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    yield commit
    commit()


@pytest.mark.django_db(transaction=True)
def test_race__two_rows_with_one_file_are_deleted_at_once(make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    twin = copied(asset)
    with elsewhere(lambda: Asset.objects.get(pk=twin.pk).delete()) as commit:
        asset.delete()
        assert discards.delete_due() == 0  # The other deletion may yet be rolled back.
        assert len(stored()) == 1
        commit()
    discards.delete_due()
    assert stored() == set()


@pytest.mark.django_db(transaction=True)
def test_race__a_copy_that_is_not_committed_yet_keeps_the_file(make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    with elsewhere(lambda: copied(asset)) as commit:
        asset.delete()
        assert discards.delete_due() == 0
        commit()
    assert discards.delete_due() == 0
    assert stored() == files_of_rows() != set()


@pytest.mark.django_db(transaction=True)
def test_race__a_copy_that_was_rolled_back_does_not(make_asset: MakeAsset) -> None:
    asset = make_asset("red")

    def copy_in_vain() -> None:
        copied(asset)
        transaction.set_rollback(True)

    with elsewhere(copy_in_vain) as commit:
        asset.delete()
        assert discards.delete_due() == 0
        commit()
    assert discards.delete_due() == 1
    assert stored() == set()


def locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s", [discards.LOCK])
        return int(cursor.fetchone()[0])


def test_lock__an_upload_takes_none_and_a_copy_does(make_asset: MakeAsset, index_all: Index) -> None:
    """So that a storage which is slow to delete holds up nobody's upload, and no worker."""
    asset = make_asset("red")
    index_all()
    assert locks() == 0
    copied(asset)
    assert 1 <= locks() <= 2


@pytest.mark.django_db(transaction=True)
def test_race__two_processes_delete_each_file_once(make_asset: MakeAsset) -> None:
    for _ in range(8):
        make_asset("red")
    Asset.objects.all().delete()
    counts: list[int] = []

    def work() -> None:
        counts.append(discards.delete_due())
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    discards.delete_due()
    assert stored() == set()
    assert not Discard.objects.exists()
    assert sum(counts) <= 8
