from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, transaction

from mediasearch.models import Asset, Embedding, Generation, Job, Stage
from mediasearch.querysets import JobQuerySet
from tests.conftest import MakeAsset, picture


def matches(asset: Asset, lexeme: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT text_vector @@ %s::tsquery FROM mediasearch_asset WHERE id = %s", [lexeme, asset.pk])
        return bool(cursor.fetchone()[0])


def test_migrations__are_whole(db: None) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_asset__str(make_asset: MakeAsset) -> None:
    assert str(make_asset(name="cat.png")).startswith("cat")
    assert str(make_asset(title="A cat")) == "A cat"


@pytest.mark.django_db(transaction=True)
def test_asset__is_committed_with_its_jobs(make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*args: Any, **kwargs: Any) -> int:
        raise OperationalError("The process ends here.")

    monkeypatch.setattr(JobQuerySet, "owe", lost)
    with pytest.raises(OperationalError):
        make_asset()
    assert not Asset.objects.exists()


@pytest.mark.parametrize("name", ["图" * 200 + ".png", "x" * 300, "a." + "y" * 300, "é" * 300 + ".jpeg"])
def test_asset__takes_a_file_name_of_any_length(make_asset: MakeAsset, name: str) -> None:
    stored = str(make_asset(name=name).file.name).rpartition("/")[2]
    assert len(stored.encode()) <= 255
    assert stored.startswith(name[:1])
    assert stored.endswith(".png")


def test_text_vector__follows_every_save(make_asset: MakeAsset) -> None:
    asset = make_asset(title="Red bicycles", caption="一辆红色自行车", tags=["street"])
    assert matches(asset, "'bicycles'")
    assert matches(asset, "'bicycl'")  # the stem
    assert matches(asset, "'红色'")
    assert matches(asset, "'street':B")
    asset.title = "Blue"
    asset.save()
    assert not matches(asset, "'bicycles'")


def test_text_vector__follows_update_fields(make_asset: MakeAsset) -> None:
    asset = make_asset(title="Red")
    asset.title = "Blue"
    asset.save(update_fields=["title"])
    assert matches(asset, "'blue':A")


def test_text_vector__follows_queryset_update(make_asset: MakeAsset) -> None:
    asset, other = make_asset(title="Red"), make_asset(title="Green")
    assert Asset.objects.filter(title="Red").update(title="Blue") == 1
    assert matches(asset, "'blue'")
    assert not matches(asset, "'red'")
    assert matches(other, "'green'")


def test_text_vector__other_languages_get_no_english_stems(make_asset: MakeAsset) -> None:
    asset = make_asset(title="Paintings", language="de")
    assert matches(asset, "'paintings'")
    assert not matches(asset, "'paint'")


def test_text_vector__hostile_text(make_asset: MakeAsset) -> None:
    asset = make_asset(title="it's \\ a 'test' :* & | ! <->", caption="x" * 50_000 + " word " * 60_000)
    assert matches(asset, "'test'")


def test_bulk_create__owes_jobs_and_writes_text(active_generation: Generation) -> None:
    assets = Asset.objects.bulk_create(
        [Asset(title=f"number {n}", file=ContentFile(picture(), name=f"{n}.png")) for n in range(3)]
    )
    assert matches(assets[0], "'number'")
    assert Job.objects.filter(stage=Stage.EMBED_IMAGE, state=Job.State.PENDING).count() == 3


def test_generation__one_is_active(active_generation: Generation) -> None:
    active_generation.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        active_generation.save(force_insert=True)


@pytest.mark.parametrize("field", ["image", "caption", "image_caption"])
@pytest.mark.parametrize("vector", [[0.0] * 16, [1.0] * 16, [0.5] + [0.0] * 15])
def test_embedding__only_unit_vectors(
    active_generation: Generation, make_asset: MakeAsset, field: str, vector: list[float]
) -> None:
    with pytest.raises(IntegrityError, match=f'"mediasearch_unit_{field}"'), transaction.atomic():
        Embedding.objects.create(generation=active_generation, asset=make_asset(), **{field: vector})


def test_embedding__once_for_each_generation(active_generation: Generation, make_asset: MakeAsset) -> None:
    asset = make_asset()
    unit = [1.0] + [0.0] * 15
    Embedding.objects.create(generation=active_generation, asset=asset, image=unit)
    with pytest.raises(IntegrityError), transaction.atomic():
        Embedding.objects.create(generation=active_generation, asset=asset, image=unit)


def test_embedding__lies_in_its_row(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, attstorage FROM pg_attribute"
            " WHERE attrelid = 'mediasearch_embedding'::regclass AND attname ~ '(image|caption)$'"
        )
        assert set(cursor.fetchall()) == {("image", "m"), ("caption", "m"), ("image_caption", "m")}
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'mediasearch_embedding'")
        assert cursor.fetchone()[0] == ["toast_tuple_target=8160"]


def test_description__what_was_said_once_each(make_asset: MakeAsset) -> None:
    asset = make_asset(title="red-bicycle.jpg", alt_text="A bicycle at a wall", caption="A bicycle at a wall")
    assert asset.description == "red bicycle\nA bicycle at a wall"
    asset.title, asset.alt_text, asset.caption = "IMG_1234", "", ""
    assert asset.description == ""
