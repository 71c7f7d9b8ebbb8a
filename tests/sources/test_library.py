from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mediasearch.models import LIBRARY, Asset
from mediasearch.sources import registry
from mediasearch.sources.base import Source
from tests.conftest import MakeAsset, picture
from tests.sources.behaviour import Make, SourceBehaviour, editor

__all__ = ["editor"]


@pytest.fixture
def data() -> bytes:
    return picture("green")


@pytest.fixture
def source() -> Source:
    return registry.source_of(Asset(source=LIBRARY))


@pytest.fixture
def make(make_asset: MakeAsset) -> Make:
    def made(data: bytes, *, public: bool = True, owner: Any = None, **texts: str) -> Asset:
        return make_asset(data, is_public=public, owner=owner, **texts)

    return made


@pytest.fixture
def lose_file() -> Callable[[Asset], None]:
    return lambda asset: asset.file.storage.delete(asset.file.name)


class TestLibrary(SourceBehaviour):
    pass


def test_thumbnail_url__names_the_content(make_asset: MakeAsset, index_all: Callable[[], None], source: Source) -> None:
    asset = make_asset()
    assert source.thumbnail_url(asset) == ""
    index_all()
    asset.refresh_from_db()
    assert source.thumbnail_url(asset).endswith(f"?v={asset.content_hash[:12]}")
