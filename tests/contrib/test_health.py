from __future__ import annotations

import types
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.urls import clear_url_caches, path
from health_check.views import HealthCheckView

from mediasearch.contrib import health
from mediasearch.exceptions import EncoderUnavailable, NotAnImage
from mediasearch.indexing import ledger, status
from mediasearch.models import Generation, Job, Pause, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db(transaction=True)
CHECK = "mediasearch.contrib.health.Indexing"


@pytest.fixture
def ask(settings: Any) -> Callable[..., tuple[int, str]]:
    """Ask the real view at a URL; return its code and what it says of the check."""
    routes = types.ModuleType("routes")
    settings.ROOT_URLCONF = routes

    def get(**options: Any) -> tuple[int, str]:
        routes.urlpatterns = [path("health/", HealthCheckView.as_view(checks=[(CHECK, options)]))]  # type: ignore[attr-defined]
        clear_url_caches()
        answer = Client().get("/health/?format=json")
        (said,) = answer.json().values()
        return answer.status_code, said

    return get


def test_health__well(active_generation: Generation, make_asset: MakeAsset, ask: Any) -> None:
    make_asset()
    assert ask() == (200, "OK")


def test_health__work_that_nobody_does(active_generation: Generation, make_asset: MakeAsset, ask: Any) -> None:
    make_asset()
    Job.objects.update(due_at=Now() - timedelta(minutes=2))
    code, said = ask()
    assert code == 500
    assert said.startswith("Unavailable: No worker is at work on stage embed_image")
    assert ask(alarms=["paused"]) == (200, "OK")


def test_health__a_pause_without_what_a_public_page_must_not_show(active_generation: Generation, ask: Any) -> None:
    ledger.pause(Stage.READ, EncoderUnavailable("No route to files.example.org."))
    code, said = ask()
    assert code == 500
    assert "Stage read is paused since" in said
    assert Pause.objects.get().reason not in said


def test_health__one_bad_file_is_no_reason_unless_asked_for(
    active_generation: Generation, make_asset: MakeAsset, ask: Any
) -> None:
    make_asset()
    ledger.settle(ledger.claim(Stage.READ, 1), [NotAnImage()], lambda done: None)
    assert ask() == (200, "OK")
    assert ask(alarms=["failed"])[0] == 500


def test_health__the_database_is_away(settings: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status.Job._meta, "db_table", "gone")
    assert ask() == (500, "Unavailable: The database could not be asked.")


def test_health__knows_its_kinds() -> None:
    with pytest.raises(ValueError, match="no alarm tired"):
        health.Indexing(alarms=["tired"])
