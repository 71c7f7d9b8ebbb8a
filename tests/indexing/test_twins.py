from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.base import ContentFile

import mediasearch
from mediasearch.features.hashing import content_hash
from mediasearch.indexing import discards, ledger, twins
from mediasearch.indexing.stages import WORKS
from mediasearch.models import Asset, Generation, Stage
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db
Index = Callable[[], None]
BLUE = content_hash(picture("blue"))


def test_twins__lend_what_they_have(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "READER": {"BACKEND": "mediasearch.features.fake.FakeReader", "OPTIONS": {"text": "EXIT"}}
    }
    asset = make_asset("blue")
    index_all()
    twin = make_asset("blue")
    vector = twins.image_vector(twin, BLUE, active_generation.pk)
    assert vector is not None
    assert vector.shape == (16,)
    assert twins.reading(twin, BLUE) is not None
    assert twins.image_vector(asset, BLUE, active_generation.pk) is None  # Nobody is their own twin.
    assert twins.image_vector(twin, BLUE, active_generation.pk + 1) is None
    assert twins.image_vector(twin, content_hash(picture("red")), active_generation.pk) is None


def test_twins__a_replaced_file_lends_nothing_until_it_is_indexed(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    """In between, the vector may be the new file's and the hash still the old one's."""
    asset = make_asset("blue")
    index_all()
    asset.refresh_from_db()
    asset.file = ContentFile(picture("red"), name="new.png")
    asset.save()
    twin = make_asset("blue")
    asset.jobs.filter(stage=Stage.EMBED_IMAGE).update(state="done")
    assert asset.content_hash == BLUE
    assert twins.image_vector(twin, BLUE, active_generation.pk) is None
    assert twins.reading(twin, BLUE) is None


def test_twins__a_picture_that_was_never_read_lends_no_reading(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset("blue")
    index_all()
    asset.jobs.filter(stage=Stage.READ).delete()
    assert twins.reading(make_asset("blue"), BLUE) is None


def test_index_again__reads_again_and_copies_no_twin(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, settings: Any
) -> None:
    asset, twin = make_asset("blue"), make_asset("blue")
    index_all()
    assert set(Asset.objects.values_list("ocr_text", flat=True)) == {""}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "READER": {"BACKEND": "mediasearch.features.fake.FakeReader", "OPTIONS": {"text": "EXIT"}}
    }
    mediasearch.reindex([asset])
    index_all()
    assert dict(Asset.objects.values_list("pk", "ocr_text")) == {asset.pk: "EXIT", twin.pk: ""}
    third = make_asset("blue")
    assert not third.jobs.filter(afresh=True).exists()
    assert not asset.jobs.filter(afresh=True).exists()  # Once it was done, it may borrow again.


def test_thumbnail__outlives_the_twin_that_is_deleted_meanwhile(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    """Between the inspection of the second and its writing, the first is deleted with all its files."""
    first = make_asset("blue")
    index_all()
    second = make_asset("blue")
    claims = ledger.claim(Stage.INSPECT, 1)
    inspected = WORKS[Stage.INSPECT].open(claims, [second], lambda: None)
    first.delete()
    discards.delete_due()
    ledger.settle(claims, inspected, WORKS[Stage.INSPECT].write)
    discards.delete_due()
    second.refresh_from_db()
    assert second.file.storage.exists(second.thumbnail)
