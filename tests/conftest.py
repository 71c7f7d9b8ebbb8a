"""Fixtures: pictures, an indexed library, and real services."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.utils import translation
from PIL import Image

from mediasearch.indexing import doorbell, losses, worker
from mediasearch.models import Asset, Generation, Stage
from mediasearch.querysets import AssetQuerySet

MakeAsset = Callable[..., Asset]
PUBLISH = doorbell._publish


def picture(
    colour: str = "red", size: tuple[int, int] = (64, 48), form: str = "PNG", mode: str = "RGB", **options: Any
) -> bytes:
    """A file of one colour."""
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _apart(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test its own media, cache and language, and no broker; tests about the doorbell bring one."""
    settings.MEDIA_ROOT = tmp_path / "media"
    monkeypatch.setattr(doorbell, "_publish", lambda queue: None)
    monkeypatch.setattr(losses, "GRACE", timedelta(0))  # The tests' server has only just started.
    cache.clear()
    # After a test with STORAGES of its own Django makes a new one, which is not that of the model's field.
    storages._storages["default"] = Asset._meta.get_field("file").storage  # type: ignore[attr-defined, union-attr]
    with translation.override("en"):  # A test client's request leaves its language behind.
        yield
    cache.clear()


def workers_write(assets: AssetQuerySet, **found: Any) -> None:
    """Store what workers would have found out, in columns that only they write, with what follows from it."""
    ids = list(assets.values_list("pk", flat=True))
    assets.record(**found)
    Asset.objects.follow(ids)


@pytest.fixture
def active_generation(db: None) -> Generation:
    """An active generation of the fake encoder, without its HNSW indexes: those can't be made in a transaction."""
    encoder = {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {}}
    return Generation.objects.create(
        state=Generation.State.ACTIVE,
        encoder=encoder,
        fingerprint="fake/16",
        dimensions=16,
        languages=["en"],
        caption_fingerprint="fake/16",
        caption_dimensions=16,
        caption_languages=["en"],
    )


@pytest.fixture
def foreign_generation(active_generation: Generation) -> Generation:
    """The same, whose captions are read by an encoder of their own: with vectors of another length, in any language."""
    encoder = {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"dimensions": 24, "languages": None}}
    Generation.objects.update(
        caption_encoder=encoder, caption_fingerprint="fake/24", caption_dimensions=24, caption_languages=None
    )
    active_generation.refresh_from_db()
    return active_generation


@pytest.fixture
def make_asset(db: None) -> MakeAsset:
    """Make an asset of the library from a colour or from the bytes of a file."""

    def make(content: str | bytes = "red", name: str = "picture.png", **fields: Any) -> Asset:
        data = picture(content) if isinstance(content, str) else content
        return Asset.objects.create(file=ContentFile(data, name=name), **fields)

    return make


@pytest.fixture
def index_all(db: None) -> Callable[[], None]:
    """Do all that is owed, in this process."""

    def index() -> None:
        assert worker.drain(list(Stage)) is False

    return index


@pytest.fixture(scope="session", autouse=True)
def _no_children_left() -> Iterator[None]:
    """End the children that open files, so that the session leaves no process."""
    from mediasearch.features import opener

    yield
    opener.close()
