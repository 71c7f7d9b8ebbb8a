"""The status for Prometheus, in its text format 0.0.4.

path("metrics", mediasearch.contrib.metrics.metrics)
"""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mediasearch import conf
from mediasearch.indexing.figures import ALARMS, Status
from mediasearch.indexing.status import status

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@never_cache
@require_safe
@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer staff, and whoever bears MEDIASEARCH["METRICS_TOKEN"]; nobody else."""
    if not (_bears_token(request) or _is_staff(request)):
        return HttpResponse(
            "Bear the METRICS_TOKEN, or log in as staff.\n", "text/plain", 401, headers={"WWW-Authenticate": "Bearer"}
        )
    registry = CollectorRegistry()
    registry.register(StatusCollector())
    return HttpResponse(generate_latest(registry), _CONTENT_TYPE)


class StatusCollector(Collector):
    """Asks the database at each scrape. A site that has a registry of its own can register it there."""

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        told = status()
        yield from _of_stages(told)
        yield from _of_generations(told)
        yield GaugeMetricFamily("mediasearch_assets", "Images that mediasearch knows.", told.assets)
        alarms = GaugeMetricFamily("mediasearch_alarms", "Alarms by kind; above 0 is one.", labels=["kind"])
        for kind in ALARMS:
            alarms.add_metric([kind], sum(alarm.kind == kind for alarm in told.alarms))
        yield alarms


_GAUGES = {
    "pending": "Jobs that wait, due or not.",
    "due": "Jobs that wait and could be done now.",
    "retrying": "Jobs that wait for the time of their next try.",
    "running": "Jobs that workers are at.",
    "failed": "Jobs that have failed for good, and were not tried again since.",
}


def _of_stages(told: Status) -> Iterator[Metric]:
    ended = CounterMetricFamily("mediasearch_jobs", "Jobs by the way they ended, ever.", labels=["stage", "outcome"])
    for stage in told.stages:
        for outcome in ("done", "skipped", "failed", "retried", "lost"):
            ended.add_metric([stage.stage, outcome], stage.outcomes.get(outcome, 0))
    yield ended
    for name, meaning in _GAUGES.items():
        gauge = GaugeMetricFamily(f"mediasearch_jobs_{name}", meaning, labels=["stage"])
        for stage in told.stages:
            gauge.add_metric([stage.stage], getattr(stage, name))
        yield gauge
    wait = GaugeMetricFamily("mediasearch_oldest_wait_seconds", "Age of the oldest due job.", labels=["stage"])
    paused = GaugeMetricFamily("mediasearch_paused", "1 while a stage is paused.", labels=["stage"])
    for stage in told.stages:
        wait.add_metric([stage.stage], stage.oldest_wait or 0.0)
        paused.add_metric([stage.stage], stage.paused is not None)
    yield from (wait, paused)


def _of_generations(told: Status) -> Iterator[Metric]:
    names = ["generation", "state"]
    coverage = GaugeMetricFamily("mediasearch_coverage_ratio", "Images with a vector, of all images.", labels=names)
    recall = GaugeMetricFamily("mediasearch_recall_ratio", "Recall of the index as last measured.", labels=names)
    for generation in told.generations:
        labels = [str(generation.id), generation.state]
        if generation.coverage is not None:
            coverage.add_metric(labels, generation.coverage)
        if generation.recall is not None:
            recall.add_metric(labels, generation.recall)
    yield from (coverage, recall)


def _bears_token(request: HttpRequest) -> bool:
    token = conf.settings().metrics_token
    return bool(token) and constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {token}")


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)  # Absent without Django's AuthenticationMiddleware.
    return user is not None and user.is_active and user.is_staff
