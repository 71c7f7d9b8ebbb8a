from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from django.db import OperationalError
from django.db.models.functions import Now
from PIL import Image
from psycopg import errors

from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features import backends
from mediasearch.features.fake import FakeEncoder
from mediasearch.indexing import batch, lanes, ledger, stages, worker
from mediasearch.models import Asset, Embedding, Generation, Job, Pause, Stage
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


# A model that fails on everything is down


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """Have the encoder raise what is in the list, whatever it is given."""
    errors: list[Exception] = []
    encode = FakeEncoder.encode_images

    def fail(self: FakeEncoder, images: Sequence[Image.Image]) -> Any:
        if errors:
            raise errors[0]
        return encode(self, images)

    monkeypatch.setattr(FakeEncoder, "encode_images", fail)
    yield errors
    batch._down.clear()


def wake() -> None:
    Pause.objects.update(until=Now())
    Job.objects.filter(state="pending").update(due_at=Now())


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), EncoderUnavailable("The GPU is gone.")])
def test_batch__a_model_that_fails_on_everything_burns_nothing(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, failing: list[Exception], error: Exception
) -> None:
    assets = [make_asset(colour) for colour in ("red", "blue", "green")]
    failing.append(error)
    for _ in range(8):
        index_all()
        assert str(error) in Pause.objects.get(stage=Stage.EMBED_IMAGE).reason
        wake()
    assert {(embedding(asset).state, embedding(asset).attempts) for asset in assets} == {("pending", 0)}
    failing.clear()
    index_all()
    assert {(embedding(asset).state, embedding(asset).attempts) for asset in assets} == {("done", 1)}


def test_batch__whatever_was_alone_with_the_model_when_it_went_down_pays_for_it(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a picture that trips an assertion on the GPU: nothing works in that process any more."""
    broken: list[bool] = []
    encode = FakeEncoder.encode_images

    def trip(self: FakeEncoder, images: Sequence[Image.Image]) -> Any:
        if any(image.getpixel((0, 0)) == RED for image in images):
            broken.append(True)
        if broken:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return encode(self, images)

    monkeypatch.setattr(FakeEncoder, "encode_images", trip)
    culprit, other = make_asset("red"), make_asset("blue")
    for _ in range(40):
        wake()
        index_all()
        if broken:  # Somebody starts the worker anew.
            broken.clear()
            batch._down.clear()
    assert (embedding(culprit).state, embedding(culprit).attempts) == ("failed", 5)
    assert (embedding(other).state, embedding(other).attempts) == ("done", 1)


def test_batch__an_encoder_that_can_not_be_loaded_burns_nothing_whatever_it_raises(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: FakeEncoder) -> str:
        raise OSError("model.safetensors: no such file")

    backends._encoder.cache_clear()
    monkeypatch.setattr(FakeEncoder, "fingerprint", property(gone))
    asset = make_asset()
    index_all()
    assert (embedding(asset).state, embedding(asset).attempts) == ("pending", 0)
    assert "no such file" in Pause.objects.get(stage=Stage.EMBED_IMAGE).reason


# A database that is full


@pytest.mark.django_db(transaction=True)
def test_batch__a_full_database_is_said_and_waited_for(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = [make_asset(colour) for colour in ("red", "blue")]
    write, full, said = stages.EmbedImage.write, [True, True], []

    def writing(self: stages.EmbedImage, done: Any) -> None:
        if full:
            full.pop()
            raise OperationalError("could not extend file") from errors.DiskFull("could not extend file")
        said.extend(Pause.objects.values_list("stage", "reason"))
        write(self, done)

    monkeypatch.setattr(stages.EmbedImage, "write", writing)
    monkeypatch.setattr(lanes.time, "sleep", lambda seconds: None)
    assert worker.drain([Stage.EMBED_IMAGE]) is False
    assert said == [("embed_image", "PostgreSQL has no room: could not extend file")]
    assert [(embedding(asset).state, embedding(asset).attempts) for asset in assets] == [("done", 1)] * 2
    assert not Pause.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_batch__a_claim_that_a_full_database_refuses_is_said(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_asset()

    def refuse(*args: Any) -> None:
        raise OperationalError("could not extend file") from errors.DiskFull("could not extend file")

    monkeypatch.setattr(ledger, "claim", refuse)
    with pytest.raises(OperationalError):
        worker.drain([Stage.EMBED_IMAGE])
    assert Pause.objects.get().stage == Stage.EMBED_IMAGE


def test_batch__what_can_not_be_stored_for_any_reason_is_tried_alone(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of PostgreSQL's comes as an error that else means an outage: it must not be waited for."""
    culprit, other = make_asset("red"), make_asset("blue")
    write = stages.EmbedImage.write

    def limited(self: stages.EmbedImage, done: Any) -> None:
        if culprit.pk in {claim.asset for claim, _ in done}:
            raise OperationalError("row is too big") from errors.ProgramLimitExceeded("row is too big")
        write(self, done)

    monkeypatch.setattr(stages.EmbedImage, "write", limited)
    index_all()
    assert embedding(other).state == "done"
    assert (embedding(culprit).state, embedding(culprit).error) == ("pending", "OperationalError: row is too big")
