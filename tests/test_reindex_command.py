from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from PIL import Image

import mediasearch
from mediasearch import conf
from mediasearch.exceptions import ImproperlySet
from mediasearch.features.fake import FakeEncoder
from mediasearch.indexing import generations, worker
from mediasearch.management.commands import mediasearch_reindex
from mediasearch.models import Asset, Generation, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wider(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings that name another encoder; while the command waits, a worker works."""
    encoder = {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"dimensions": 24}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"ENCODER": encoder}
    monkeypatch.setattr(mediasearch_reindex, "rest", lambda seconds: worker.drain(list(Stage)))
    yield
    for generation in Generation.objects.all():
        generations.drop_indexes(generation)


@pytest.mark.usefixtures("wider")
def test_reindex__changes_over(active_generation: Generation, make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    worker.drain(list(Stage))
    call_command("mediasearch_reindex", stdout=io.StringIO())
    active = Generation.objects.active()
    assert active is not None
    assert active.dimensions == 24
    results = mediasearch.search("red")
    assert results[0].asset == asset
    assert results.outcome.generation == active.pk


@pytest.mark.usefixtures("wider")
def test_reindex__waits_for_no_upload_that_has_just_come(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where uploads keep coming, one is always on its way; none of them is found yet, and so none is lost."""
    make_asset("red")
    worker.drain(list(Stage))
    uploads: list[Asset] = []

    def work(seconds: float) -> None:
        assert len(uploads) < 5
        worker.drain(list(Stage))
        uploads.append(make_asset("blue"))

    monkeypatch.setattr(mediasearch_reindex, "rest", work)
    call_command("mediasearch_reindex", stdout=io.StringIO())
    active = Generation.objects.active()
    assert active != active_generation
    assert uploads[-1].jobs.get(stage="embed_image", generation=active).state == "pending"


@pytest.mark.usefixtures("wider")
def test_reindex__goes_on_where_it_was(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset("red")
    said = io.StringIO()
    call_command("mediasearch_reindex", no_wait=True, stdout=said)
    assert "Run this again" in said.getvalue()
    assert Generation.objects.active() == active_generation
    worker.drain(list(Stage))
    call_command("mediasearch_reindex", no_wait=True, stdout=said)
    assert Generation.objects.count() == 2
    assert Generation.objects.active() != active_generation


def test_reindex__weights_that_are_not_there(active_generation: Generation, settings: Any) -> None:
    encoder = {"BACKEND": "mediasearch.features.openclip.OpenClip", "OPTIONS": {"model": "local-dir:/nowhere"}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"ENCODER": encoder}
    with pytest.raises(CommandError, match="no open_clip model in /nowhere"):
        call_command("mediasearch_reindex", skip_checks=True)


@pytest.mark.usefixtures("wider")
def test_reindex__to_a_named_encoder_and_back(active_generation: Generation, make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    worker.drain(list(Stage))
    said = io.StringIO()
    spec = '{"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"dimensions": 12}}'
    call_command("mediasearch_reindex", encoder=spec, stdout=said)
    active = Generation.objects.active()
    assert active is not None
    assert active.dimensions == 12
    assert active.calibration["recall"] == 1.0
    assert "Set MEDIASEARCH" in said.getvalue()
    later = make_asset("blue")
    worker.drain(list(Stage))
    assert not active_generation.embeddings.filter(asset=later).exists()
    call_command("mediasearch_reindex", activate=active_generation.pk, stdout=said)
    assert Generation.objects.active() == active_generation
    assert active_generation.embeddings.filter(asset=later).exists()
    assert mediasearch.search("red")[0].asset == asset


@pytest.mark.usefixtures("wider")
def test_reindex__cancelled(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset("red")
    said = io.StringIO()
    call_command("mediasearch_reindex", no_wait=True, stdout=said)
    call_command("mediasearch_reindex", cancel=True, stdout=said)
    call_command("mediasearch_reindex", cancel=True, stdout=said)
    assert said.getvalue().splitlines()[-2:] == [
        f"Generation {active_generation.pk + 1} was given up.",
        "No generation is being built.",
    ]
    assert list(Generation.objects.all()) == [active_generation]


@pytest.mark.usefixtures("wider")
def test_reindex__weights_that_do_not_work_are_noticed(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, same = FakeEncoder.encode_images, Image.new("RGB", (8, 8), "red")
    monkeypatch.setattr(FakeEncoder, "encode_images", lambda self, images: encode(self, [same] * len(images)))
    for colour in ("red", "blue", "green"):
        make_asset(colour)
    with pytest.raises(CommandError, match="are alike"):
        call_command("mediasearch_reindex", stdout=io.StringIO())
    assert Generation.objects.active() == active_generation


def test_reindex__a_generation_that_is_not_there(active_generation: Generation) -> None:
    with pytest.raises(CommandError, match="no generation 999"):
        call_command("mediasearch_reindex", activate=999)
    with pytest.raises(CommandError, match="active one already"):
        call_command("mediasearch_reindex", activate=active_generation.pk)


@pytest.mark.parametrize(
    ("typed", "spec"),
    [
        ("ViT-B-32:laion2b", {"model": "ViT-B-32", "pretrained": "laion2b", "threads": 3}),
        ("local-dir:/models/mine", {"model": "local-dir:/models/mine", "threads": 3}),
    ],
)
def test_named__an_open_clip_model(typed: str, spec: dict[str, Any]) -> None:
    options = {"model": "RN50", "pretrained": "openai", "languages": ["en"], "threads": 3}
    like = conf.Spec("mediasearch.features.openclip.OpenClip", options)
    assert conf.Spec.named(typed, like).as_dict() == {"BACKEND": like.backend, "OPTIONS": spec}


def test_named__a_path_or_json() -> None:
    like = conf.Spec("a.B", {"x": 1})
    assert conf.Spec.named("some.module.Encoder", like) == conf.Spec("some.module.Encoder")
    with pytest.raises(ImproperlySet, match="no JSON"):
        conf.Spec.named("{oops", like)
