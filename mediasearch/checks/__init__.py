"""System checks: what is wrong with the set-up, and what mends it. docs/checks.md lists them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

from celery import current_app
from django.apps import apps
from django.conf import settings as django_settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Warning, register
from django.utils.module_loading import import_string
from kombu.exceptions import KombuError

from mediasearch import conf
from mediasearch.checks import caching, children, database, routing, storage  # noqa: F401
from mediasearch.conf import Spec
from mediasearch.exceptions import ImproperlySet
from mediasearch.features import backends
from mediasearch.features.base import Backend, Captioner, Encoder, Problem, QueryEncoder, Reranker, TextReader
from mediasearch.search import addresses
from mediasearch.search.legs import Leg

_BROKER_SECONDS = 2
_NO_MORE_THAN_ONE = {"worker_prefetch_multiplier": 1}
"""For brokers with which Celery can't wait until a process is free before it fetches a message."""
_KINDS: dict[str, type[Backend]] = {
    "encoder": Encoder,
    "caption_encoder": Encoder,
    "query_encoder": QueryEncoder,
    "reader": TextReader,
    "captioner": Captioner,
    "reranker": Reranker,
}
_IDS = {
    "weights-missing": "mediasearch.E006",
    "tesseract-missing": "mediasearch.W001",
    "tesseract-language": "mediasearch.W002",
    "reader-missing": "mediasearch.W003",
    "demo-model": "mediasearch.W004",
}


@register()
def check_settings(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E001: MEDIASEARCH has an unknown key or a value of the wrong kind; E002: a backend can't be used."""
    try:
        settings = conf.settings()
    except ImproperlySet as error:
        return [Error(str(error), hint="Correct it; docs/settings.md lists every key.", id="mediasearch.E001")]
    if settings.cache not in django_settings.CACHES:
        hint = f"Name one of {', '.join(sorted(django_settings.CACHES))}, or add it."
        return [
            Error(f'CACHES has no "{settings.cache}", which MEDIASEARCH["CACHE"] names.', hint, id="mediasearch.E001")
        ]
    if settings.leg is not None and (wrong := _check_leg(settings.leg)):
        return [wrong]
    specs = {name: getattr(settings, name) for name in _KINDS}
    return [message for name, spec in specs.items() if spec for message in _check_backend(name, spec)]


def _check_backend(name: str, spec: Spec) -> Iterable[CheckMessage]:
    try:
        backend = spec.load()
    except ImproperlySet as error:
        yield Error(str(error), hint=f'Correct MEDIASEARCH["{name.upper()}"].', id="mediasearch.E002")
        return
    if not isinstance(backend, _KINDS[name]):
        yield Error(
            f'MEDIASEARCH["{name.upper()}"] names {spec.backend}, which is no {_KINDS[name].__name__}.',
            hint=f"Name a class that extends mediasearch.features.base.{_KINDS[name].__name__}.",
            id="mediasearch.E002",
        )
        return
    yield from (_message(problem) for problem in backend.check() if not _excused(problem))


def _check_leg(spec: Spec) -> CheckMessage | None:
    """A leg is made for each generation and field: here it is only looked for."""
    hint = "Name a class that extends mediasearch.search.legs.Leg."
    try:
        found = import_string(spec.backend)
    except ImportError as error:
        return Error(f'MEDIASEARCH["LEG"] can\'t be imported: {error}.', hint=hint, id="mediasearch.E002")
    if isinstance(found, type) and issubclass(found, Leg):
        return None
    return Error(f'MEDIASEARCH["LEG"] names {spec.backend}, which is no Leg.', hint=hint, id="mediasearch.E002")


def _excused(problem: Problem) -> bool:
    return problem.name == "demo-model" and django_settings.DEBUG


def _message(problem: Problem) -> CheckMessage:
    identifier = _IDS[problem.name]
    kind = Error if ".E" in identifier else Warning
    return kind(problem.message, hint=problem.hint, id=identifier)


@register()
def check_apps(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E003: django.contrib.postgres is not installed."""
    if apps.is_installed("django.contrib.postgres"):
        return []
    hint = 'Add "django.contrib.postgres" to INSTALLED_APPS.'
    return [Error("mediasearch needs Django's own PostgreSQL app.", hint=hint, id="mediasearch.E003")]


@register()
def check_celery(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W006: searches ask a query worker, but Celery has nowhere to put its answer."""
    try:
        asks = conf.settings().query_encoder.backend == "mediasearch.features.remote.Remote"
    except ImproperlySet:
        return []
    if not asks or current_app.conf.result_backend or current_app.conf.task_always_eager:
        return []
    return [
        Warning(
            "Searches ask a query worker for vectors, but Celery has no result backend to answer through.",
            hint='Set CELERY_RESULT_BACKEND, or MEDIASEARCH["QUERY_ENCODER"] to mediasearch.features.local.Local.',
            id="mediasearch.W006",
        )
    ]


@register()
def check_addresses(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W011: pictures are to be fetched from addresses, and what fetches them is not installed."""
    try:
        fetches = conf.settings().fetch_addresses
    except ImproperlySet:
        return []
    if not fetches or all(map(find_spec, addresses.NEEDS)):
        return []
    return [
        Warning(
            'MEDIASEARCH["FETCH_ADDRESSES"] is on, but what fetches pictures is not installed.',
            hint='Run `pip install "mediasearch[addresses]"`, or switch it off.',
            id="mediasearch.W011",
        )
    ]


@register(deploy=True)
def check_prefetch(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W012: workers fetch more messages than they have processes for, or stop fetching when a broker hung."""
    try:
        rings = conf.settings().doorbell == "celery"
    except ImproperlySet:
        return []
    known = current_app.conf
    if not rings or known.task_always_eager:
        return []
    with current_app.connection_for_read() as connection:  # It connects to nothing.
        by_demand = connection.transport.driver_type == "redis"
    wanted = {"worker_prefetch_multiplier": 0, "worker_disable_prefetch": True} if by_demand else _NO_MORE_THAN_ONE
    wrong = [f"CELERY_{name.upper()} = {value}" for name, value in wanted.items() if known.get(name) != value]
    if not wrong:
        return []
    return [
        Warning(
            "Celery's workers fetch messages ahead, which other workers could do, or count one for ever that a hanging"
            " broker did not take back.",
            hint=f"Set {' and '.join(wrong)}; docs/deployment.md says why.",
            id="mediasearch.W012",
        )
    ]


@register(deploy=True)
def check_broker(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W007: the broker can't be reached; uploads wait for the sweep, and searches find text alone."""
    try:
        with current_app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_BROKER_SECONDS)
    except (KombuError, OSError) as error:
        hint = "Start it, or correct CELERY_BROKER_URL."
        return [Warning(f"Celery's broker can't be reached: {error}.", hint=hint, id="mediasearch.W007")]
    return []


@register(deploy=True)
def check_cache(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W008: each web process has a cache to itself, so that only one of them knows the picture of a search."""
    try:
        settings = conf.settings()
        shares = not isinstance(caches[settings.cache], LocMemCache | DummyCache)
    except (ImproperlySet, InvalidCacheBackendError):
        return []  # Another check says so.
    if shares or not backends.query_encoder().pictures:
        return []
    return [
        Warning(
            "Pictures that people search with are kept in a cache that web processes don't share: a further page of"
            " such a search finds its picture only in the process that was asked first.",
            hint='Set CACHES to Redis, Memcached or the database, or name such a cache in MEDIASEARCH["CACHE"].',
            id="mediasearch.W008",
        )
    ]


@register()
def check_sources(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """What the registered sources say about themselves."""
    from mediasearch.sources import registry

    return [message for source in registry.all_sources() for message in source.check()]
