from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

import mediasearch
from mediasearch.indexing import generations, worker
from mediasearch.management.commands import mediasearch_reindex
from mediasearch.models import Generation, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wider(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings that name another encoder; while the command waits, a worker works."""
    encoder = {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"dimensions": 24}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"ENCODER": encoder}
    monkeypatch.setattr(mediasearch_reindex.time, "sleep", lambda seconds: worker.drain(list(Stage)))
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
