"""Captions that another encoder reads than pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.db import connection

from mediasearch import conf
from mediasearch.features.fake import FakeEncoder
from mediasearch.indexing import construction, generations, indexes, ledger
from mediasearch.models import Asset, Embedding, Generation, Job, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
Index = Callable[[], None]
FIELDS = ("image", "caption", "image_caption")


def vectors(asset: Asset, generation: Generation) -> dict[str, Any]:
    row = Embedding.objects.filter(asset=asset, generation=generation).values(*FIELDS).get()
    return {field: value if value is None else np.asarray(value, dtype=np.float32) for field, value in row.items()}


def lengths(asset: Asset, generation: Generation) -> list[int | None]:
    return [None if value is None else len(value) for value in vectors(asset, generation).values()]


def test_embed_caption__one_encoder_needs_one_vector(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset("red", caption="blue")
    index_all()
    assert lengths(asset, active_generation) == [16, 16, None]


def test_embed_caption__a_foreign_one_has_the_image_encoder_read_it_too(
    foreign_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset, undescribed = make_asset("red", caption="blue"), make_asset("green")
    index_all()
    assert lengths(asset, foreign_generation) == [16, 24, 16]
    assert lengths(undescribed, foreign_generation) == [16, None, None]
    (expected,) = FakeEncoder().encode_texts(["blue"])
    assert vectors(asset, foreign_generation)["image_caption"] == pytest.approx(expected, abs=1e-3)


def test_embed_caption__follows_the_caption(
    foreign_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset("red", caption="blue")
    index_all()
    before = vectors(asset, foreign_generation)
    asset.caption = "yellow"
    asset.save()
    index_all()
    after = vectors(asset, foreign_generation)
    assert [np.array_equal(before[field], after[field]) for field in FIELDS] == [True, False, False]
    asset.caption = ""
    asset.save()
    index_all()
    assert lengths(asset, foreign_generation) == [16, None, None]


def test_embed_caption__each_encoder_reads_its_languages(
    foreign_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    chinese, both = make_asset("red", caption="红色的汽车"), make_asset("red", alt_text="红色的汽车", caption="red")
    index_all()
    assert lengths(chinese, foreign_generation) == [16, 24, None]
    (expected,) = FakeEncoder().encode_texts(["red"])
    assert vectors(both, foreign_generation)["image_caption"] == pytest.approx(expected, abs=1e-3)


def test_embed_caption__an_image_encoder_that_fails_on_a_caption_charges_that_one(
    foreign_generation: Generation, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = FakeEncoder.encode_texts

    def fail(self: FakeEncoder, texts: Any) -> Any:
        if self.dimensions == 16 and "poison" in texts:
            raise RuntimeError("This caption is too much.")
        return encode(self, texts)

    monkeypatch.setattr(FakeEncoder, "encode_texts", fail)
    good, bad = make_asset("red", caption="red"), make_asset("blue", caption="poison")
    for _ in range(6):
        Job.objects.filter(state="pending").update(due_at="2020-01-01T00:00Z")
        index_all()
    assert lengths(good, foreign_generation) == [16, 24, 16]
    assert bad.jobs.get(stage=Stage.EMBED_CAPTION).state == "failed"
    assert good.jobs.get(stage=Stage.EMBED_CAPTION).state == "done"


def test_embed_caption__new_captions_are_written_for_both_generations(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    old = make_asset("red", caption="red")
    index_all()
    reader = conf.Spec("mediasearch.features.fake.FakeEncoder", {"dimensions": 24})
    building = generations.create(conf.settings().encoder, reader)
    generations.owe_all(building)
    new = make_asset("blue", caption="blue")
    index_all()
    for asset in (old, new):
        assert lengths(asset, active_generation) == [16, 16, None]
        assert lengths(asset, building) == [16, 24, 16]
    generations.activate(building)
    ledger.reindex([old], [Stage.EMBED_CAPTION])
    index_all()
    assert lengths(old, building) == [16, 24, 16]


@pytest.mark.django_db(transaction=True)
def test_indexes__a_foreign_caption_encoder_needs_a_third(foreign_generation: Generation) -> None:
    generations.build_indexes(foreign_generation)
    try:
        names = [index.name for index in indexes.wanted(foreign_generation)]
        assert names == [f"mediasearch_hnsw_{foreign_generation.pk}_{field}" for field in FIELDS]
        assert set(names) < set(indexes.found())
        assert list(indexes.flaws([foreign_generation], indexes.found())) == []
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX {names[2]}")
        (flaw,) = indexes.flaws([foreign_generation], indexes.found())
        assert (flaw.name, "is missing" in flaw.sentence) == (names[2], True)
        construction.build(indexes.wanted(foreign_generation)[2])
        assert list(indexes.flaws([foreign_generation], indexes.found())) == []
    finally:
        generations.drop_indexes(foreign_generation)
    assert not [name for name in indexes.found() if "hnsw" in name]
