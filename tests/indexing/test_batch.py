from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from django.db.models.functions import Now
from PIL import Image

from mediasearch.features.fake import FakeEncoder
from mediasearch.models import Asset, Embedding, Generation, Job, Stage
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db
Index = Callable[[], None]
RED = (255, 0, 0)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the encoder choke on batches with a red picture, and keep the sizes of its batches."""
    sizes: list[int] = []
    encode = FakeEncoder.encode_images

    def choke(self: FakeEncoder, images: Sequence[Image.Image]) -> Any:
        sizes.append(len(images))
        if any(image.getpixel((0, 0)) == RED for image in images):
            raise RuntimeError("CUDA error: device-side assert triggered")
        return encode(self, images)

    monkeypatch.setattr(FakeEncoder, "encode_images", choke)
    return sizes


def embedding(asset: Asset) -> Job:
    return asset.jobs.get(stage=Stage.EMBED_IMAGE)


def test_batch__what_chokes_the_encoder_fails_alone(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, encoder: list[int]
) -> None:
    culprit, *others = [make_asset(colour) for colour in ("red", "blue", "green", "yellow")]
    for _ in range(5):
        index_all()
        culprit.jobs.filter(state="pending").update(due_at=Now())
    assert set(encoder[1:]) == {1}
    assert [embedding(asset).state for asset in others] == ["done"] * 3
    assert (embedding(culprit).state, embedding(culprit).attempts) == ("failed", 5)
    assert embedding(culprit).error == "RuntimeError: CUDA error: device-side assert triggered"


def test_batch__a_vector_that_the_database_refuses_is_its_own_pictures_fault(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = FakeEncoder.encode_images

    def sometimes_zero(self: FakeEncoder, images: Sequence[Image.Image]) -> Any:
        vectors = encode(self, images)
        return np.where([[image.getpixel((0, 0)) == RED] for image in images], 0.0, vectors)

    monkeypatch.setattr(FakeEncoder, "encode_images", sometimes_zero)
    culprit, other = make_asset("red"), make_asset("blue")
    index_all()
    assert embedding(other).state == "done"
    assert (embedding(culprit).state, embedding(culprit).suspect) == ("pending", True)
    assert "mediasearch_unit_image" in embedding(culprit).error


def test_batch__the_same_content_is_computed_once(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    images: list[int] = []
    encode = FakeEncoder.encode_images

    def count(self: FakeEncoder, given: Sequence[Image.Image]) -> Any:
        images.append(len(given))
        return encode(self, given)

    monkeypatch.setattr(FakeEncoder, "encode_images", count)
    for _ in range(3):
        make_asset(picture("blue"))
    index_all()
    make_asset(picture("blue"))
    index_all()
    assert images == [1]
    vectors = {tuple(vector) for vector in Embedding.objects.values_list("image", flat=True)}
    assert (Embedding.objects.count(), len(vectors)) == (4, 1)
