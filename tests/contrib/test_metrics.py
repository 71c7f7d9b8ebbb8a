from __future__ import annotations

import types
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db.models.functions import Now
from django.test import Client
from django.urls import path
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from mediasearch.contrib import metrics
from mediasearch.exceptions import EncoderUnavailable
from mediasearch.indexing import ledger
from mediasearch.models import Generation, Job, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture(autouse=True)
def _routed(settings: Any) -> None:
    routes = types.ModuleType("routes")
    routes.urlpatterns = [path("metrics", metrics.metrics)]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = routes
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"METRICS_TOKEN": TOKEN}


def scrape() -> dict[tuple[str, ...], float]:
    """The samples by name and labels, as Prometheus's own parser reads them."""
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answer.content.decode())
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def test_metrics__counters_and_gauges(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    active_generation.calibration = {"recall": 0.98}
    active_generation.save()
    make_asset("red")
    make_asset(b"a shopping list", name="list.png")
    index_all()
    for _ in range(2):
        make_asset("blue")
    Job.objects.filter(state="pending").update(due_at=Now() - timedelta(seconds=30))
    ledger.claim(Stage.READ, 1)
    ledger.pause(Stage.INSPECT, EncoderUnavailable())
    told = scrape()
    generation = str(active_generation.pk)
    expected = {
        ("mediasearch_jobs_total", "done", "inspect"): 1,
        ("mediasearch_jobs_total", "failed", "inspect"): 1,
        ("mediasearch_jobs_total", "lost", "inspect"): 0,
        ("mediasearch_jobs_pending", "read"): 1,
        ("mediasearch_jobs_due", "read"): 1,
        ("mediasearch_jobs_running", "read"): 1,
        ("mediasearch_jobs_retrying", "read"): 0,
        ("mediasearch_jobs_failed", "read"): 1,
        ("mediasearch_paused", "inspect"): 1,
        ("mediasearch_paused", "read"): 0,
        ("mediasearch_assets",): 4,
        ("mediasearch_coverage_ratio", generation, "active"): 0.25,
        ("mediasearch_recall_ratio", generation, "active"): 0.98,
        ("mediasearch_alarms", "paused"): 1,
        ("mediasearch_alarms", "silent"): 0,
    }
    assert {name: told.get(name) for name in expected} == expected
    assert told["mediasearch_oldest_wait_seconds", "read"] == pytest.approx(30, abs=5)


def test_metrics__what_was_not_measured_is_not_told(active_generation: Generation) -> None:
    assert not {name for name, *_ in scrape()} & {"mediasearch_recall_ratio", "mediasearch_coverage_ratio"}


def test_metrics__registering_the_collector_asks_no_database(django_assert_num_queries: Any) -> None:
    registry = CollectorRegistry(auto_describe=True)
    with django_assert_num_queries(0):
        registry.register(metrics.StatusCollector())
    assert registry.get_sample_value("mediasearch_assets") == 0


@pytest.mark.parametrize("sent", [None, "Bearer ", "Bearer wrong", TOKEN, f"Basic {TOKEN}"])
def test_access__not_for_visitors(sent: str | None) -> None:
    answer = Client().get("/metrics", headers={"Authorization": sent} if sent else {})
    assert answer.status_code == 401
    assert b"mediasearch_" not in answer.content


@pytest.mark.parametrize("sent", ["Bearer ", "Bearer"])
def test_access__an_empty_token_opens_nothing(settings: Any, sent: str) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"METRICS_TOKEN": ""}
    assert Client().get("/metrics", headers={"Authorization": sent}).status_code == 401


@pytest.mark.parametrize(("is_staff", "code"), [(True, 200), (False, 401)])
def test_access__for_staff(client: Client, is_staff: bool, code: int) -> None:
    client.force_login(get_user_model().objects.create_user("someone", is_staff=is_staff))
    assert client.get("/metrics").status_code == code


def test_access__with_the_token_although_all_pages_need_a_login(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert ("mediasearch_assets",) in scrape()


def test_access__only_to_read() -> None:
    assert Client().post("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 405
