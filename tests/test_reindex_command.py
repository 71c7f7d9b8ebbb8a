from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from PIL import Image

import mediasearch
from mediasearch import conf
from mediasearch.exceptions import ImproperlySet
from mediasearch.features.fake import FakeEncoder
from mediasearch.indexing import generations, turns, worker
from mediasearch.management import waiting
from mediasearch.management.commands import mediasearch_reindex
from mediasearch.models import Asset, Generation, Job, Stage
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
def test_reindex__a_vector_that_is_gone_is_made_again(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the way to another generation and back, as on the way to one that is half made."""
    red, blue = make_asset("red"), make_asset("blue")
    worker.drain(list(Stage))
    call_command("mediasearch_reindex", no_wait=True, stdout=io.StringIO())
    worker.drain(list(Stage))
    building = Generation.objects.get(state="building")
    building.embeddings.get(asset=red).delete()
    call_command("mediasearch_reindex", stdout=io.StringIO())
    assert Generation.objects.active() == building
    assert building.embeddings.filter(image__isnull=False).count() == 2
    active_generation.embeddings.get(asset=blue).delete()
    active_generation.embeddings.update(image=None)
    call_command("mediasearch_reindex", activate=active_generation.pk, stdout=io.StringIO())
    assert Generation.objects.active() == active_generation
    assert active_generation.embeddings.filter(image__isnull=False).count() == 2


@pytest.mark.usefixtures("wider")
def test_reindex__a_vector_that_goes_while_the_indexes_are_built(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_asset("red")
    worker.drain(list(Stage))
    build, lost = generations.build_indexes, []

    def build_and_lose(generation: Generation, *args: Any) -> None:
        build(generation, *args)
        lost.append(generation.embeddings.all().delete())

    monkeypatch.setattr(generations, "build_indexes", build_and_lose)
    call_command("mediasearch_reindex", stdout=io.StringIO())
    assert len(lost) == 1
    assert Generation.objects.active() != active_generation
    assert Generation.objects.active().embeddings.count() == 1


@pytest.mark.usefixtures("wider")
def test_reindex__vectors_that_are_deleted_each_time_end_it_in_words(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = [make_asset(colour) for colour in ("red", "blue")]
    worker.drain(list(Stage))

    def work(seconds: float) -> None:
        worker.drain(list(Stage))
        Generation.objects.latest("pk").embeddings.all().delete()

    monkeypatch.setattr(mediasearch_reindex, "rest", work)
    with pytest.raises(CommandError) as ended:
        call_command("mediasearch_reindex", stdout=io.StringIO())
    told = str(ended.value)
    assert (
        f"lacks the vectors of 2 images, though nothing is left to do for them: {assets[0].pk}, {assets[1].pk}." in told
    )
    assert f"--activate {active_generation.pk + 1} --now" in told
    assert Generation.objects.active() == active_generation


@pytest.mark.usefixtures("wider")
def test_reindex__where_nobody_does_the_work_it_says_so(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_asset("red")
    worker.drain(list(Stage))
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        Job.objects.unfinished().update(due_at=Now() - timedelta(seconds=60))
        Job.objects.exclude(finished_at=None).update(finished_at=Now() - timedelta(hours=1))
        if len(waited) > 3:
            worker.drain(list(Stage))

    monkeypatch.setattr(mediasearch_reindex, "rest", wait)
    monkeypatch.setattr(waiting, "STANDSTILL", 0.0)
    said = io.StringIO()
    call_command("mediasearch_reindex", stdout=io.StringIO(), stderr=said)
    assert said.getvalue().count("Waiting: No worker is at work on stage embed_image") == 1
    assert "Start `celery -A yoursite worker -Q mediasearch.embed`" in said.getvalue()


@pytest.mark.usefixtures("wider")
def test_reindex__what_is_tried_again_later_is_told(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_asset("red")
    worker.drain(list(Stage))
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        jobs = Job.objects.unfinished()
        if len(waited) < 3:
            jobs.update(attempts=3, error="The disk is slow.", due_at=Now() + timedelta(seconds=90))
        else:
            jobs.update(due_at=Now())
            worker.drain(list(Stage))

    monkeypatch.setattr(mediasearch_reindex, "rest", wait)
    monkeypatch.setattr(waiting, "STANDSTILL", 0.0)
    said = io.StringIO()
    call_command("mediasearch_reindex", stdout=io.StringIO(), stderr=said)
    assert "jobs failed and are tried again, the next in " in said.getvalue()
    assert "The disk is slow." in said.getvalue()


@pytest.mark.usefixtures("wider")
def test_reindex__waits_in_words_while_another_process_calibrates(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_asset("red")
    worker.drain(list(Stage))
    call_command("mediasearch_reindex", no_wait=True, stdout=io.StringIO())
    worker.drain(list(Stage))
    building = Generation.objects.get(state="building")
    said = io.StringIO()
    with turns.taken(building) as turn:
        killed = {"calibration_token": turn.token, "calibrating_until": Now() - timedelta(seconds=1)}
        monkeypatch.setattr(mediasearch_reindex, "rest", lambda seconds: Generation.objects.update(**killed))
        call_command("mediasearch_reindex", stdout=io.StringIO(), stderr=said)
    assert f"another process is calibrating generation {building.pk}. This goes on" in said.getvalue()
    assert Generation.objects.active() == building
    assert building.calibration == {}
    assert Generation.objects.active().calibration["rows"] == 1


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
