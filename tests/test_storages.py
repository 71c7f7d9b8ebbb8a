from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client
from django.urls import reverse

from mediasearch.models import Asset
from mediasearch.storages import PrivateStorage
from tests.conftest import picture


@pytest.fixture
def private(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateStorage:
    """The library in a private storage, as in the demo and the quick start, beside media that a server serves."""
    entry = {"BACKEND": "mediasearch.storages.PrivateStorage", "OPTIONS": {"location": tmp_path / "private"}}
    settings.STORAGES = settings.STORAGES | {"private": entry}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"STORAGE": "private"}
    settings.MEDIA_URL = "/media/"
    storage = storages["private"]
    assert isinstance(storage, PrivateStorage)
    monkeypatch.setattr(Asset._meta.get_field("file"), "storage", storage)
    return storage


def test_private__has_no_address(private: PrivateStorage) -> None:
    name = private.save("a.png", ContentFile(picture()))
    with pytest.raises(ValueError, match="no address"):
        private.url(name)
    with private.open(name) as stream:
        assert stream.read() == picture()


def test_private__works_in_the_admin(
    private: PrivateStorage, admin_client: Client, active_generation: Any, make_asset: Any, index_all: Any
) -> None:
    asset = make_asset(is_public=False)
    index_all()
    asset.refresh_from_db()
    assert private.exists(asset.file.name)
    assert private.exists(asset.thumbnail)
    for page in (
        reverse("admin:mediasearch_asset_change", args=[asset.pk]),
        reverse("admin:mediasearch_asset_changelist"),
        reverse("admin:mediasearch_asset_delete", args=[asset.pk]),
        reverse("admin:mediasearch_asset_history", args=[asset.pk]),
        reverse("mediasearch:asset", args=[asset.pk]),
        reverse("mediasearch:thumbnail", args=[asset.pk]),
    ):
        assert admin_client.get(page).status_code == 200, page


def test_private__pictures_have_no_address_for_a_visitor(
    private: PrivateStorage, client: Client, active_generation: Any, make_asset: Any, index_all: Any
) -> None:
    asset = make_asset(is_public=False)
    index_all()
    asset.refresh_from_db()
    pages = [reverse(f"mediasearch:{name}", args=[asset.pk]) for name in ("asset", "thumbnail", "original")]
    files = [f"{root}{name}" for root in ("/", "/media/") for name in (asset.file.name, asset.thumbnail)]
    assert [client.get(address).status_code for address in pages + files] == [404] * 7
