from __future__ import annotations

import errno
import tempfile
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Permission

import mediasearch
from benchmarks.faults import telltale as samples
from mediasearch.exceptions import FileMissing, StorageUnavailable, Withheld
from mediasearch.features import opener
from mediasearch.models import LIBRARY
from mediasearch.sources import files, library, registry
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
JPEG = samples.jpeg()


def user(name: str, *permissions: str, **fields: Any) -> Any:
    made = get_user_model().objects.create_user(name, **fields)
    made.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return made


def sent(asset: Any, to: Any) -> bytes:
    with mediasearch.open_original(asset, to) as stream:
        return stream.read()


def test_open_original__most_get_a_copy_that_says_nothing_private(make_asset: MakeAsset) -> None:
    asset = make_asset(JPEG, "a.jpg")
    editor = user("editor", "view_asset", "change_asset", "delete_asset", "add_asset", is_staff=True)
    for somebody in (None, AnonymousUser(), user("eve"), editor, user("left", "download_untouched", is_active=False)):
        left = sent(asset, somebody)
        assert [secret for secret in samples.SECRETS if secret in left] == []
        assert samples.BYLINE.encode() in left


def test_open_original__owners_and_the_permitted_get_it_untouched(make_asset: MakeAsset) -> None:
    owner = user("owner")
    asset = make_asset(JPEG, "a.jpg", owner=owner)
    for somebody in (owner, user("archivist", "download_untouched"), user("root", is_superuser=True)):
        assert sent(asset, somebody) == JPEG


def test_open_original__a_source_decides_for_itself(make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = make_asset(JPEG, "a.jpg")
    monkeypatch.setattr(library.Library, "sends_untouched", lambda self, asset, user: user is None)
    assert sent(asset, None) == JPEG
    assert sent(asset, user("root", is_superuser=True)) != JPEG


def test_open_original__what_can_not_be_cleared_is_withheld(make_asset: MakeAsset) -> None:
    owner = user("owner")
    asset = make_asset(b"<svg>52 N</svg>", "a.svg", owner=owner)
    with pytest.raises(Withheld, match="of no format"):
        mediasearch.open_original(asset, None)
    assert sent(asset, owner) == b"<svg>52 N</svg>"


@pytest.mark.parametrize("is_permitted", [False, True])
def test_open_original__storages_fail_in_two_ways(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch, is_permitted: bool
) -> None:
    somebody = user("root", is_superuser=is_permitted)
    asset = make_asset(JPEG, "a.jpg")
    asset.file.storage.delete(asset.file.name)
    with pytest.raises(FileMissing):
        mediasearch.open_original(asset, somebody)

    def fail(*args: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(registry._sources[LIBRARY], "open", fail)
    with pytest.raises(StorageUnavailable):
        mediasearch.open_original(asset, somebody)


def test_open_original__on_a_full_disk(make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    asset = make_asset(JPEG, "a.jpg")
    monkeypatch.setattr(files.tempfile, "SpooledTemporaryFile", Full)
    with pytest.raises(StorageUnavailable, match="No space left"):
        mediasearch.open_original(asset, None)


def test_open_original__does_not_wait_for_a_picture_that_is_decoded(make_asset: MakeAsset) -> None:
    asset = make_asset(JPEG, "a.jpg")
    with opener._opener()._lock:
        assert sent(asset, None)
