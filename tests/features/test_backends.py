"""Backends are made once in a process, however many threads ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from mediasearch.features import backends
from mediasearch.features.base import Inquiry, Reranker
from mediasearch.features.fake import FakeCaptioner, FakeEncoder
from mediasearch.features.local import Local

SECONDS = 5.0
made: list[type] = []


class Slow:
    """Takes a moment to make, which is counted."""

    def __init__(self, **options: Any) -> None:
        made.append(type(self))
        time.sleep(0.1)
        super().__init__(**options)


class SlowEncoder(Slow, FakeEncoder):
    pass


class SlowCaptioner(Slow, FakeCaptioner):
    pass


class SlowQueryEncoder(Slow, Local):
    pass


class SlowReranker(Slow, Reranker):
    def rerank(self, inquiry: Inquiry, candidates: Any) -> list[float]:
        return [0.0 for _ in candidates]


class LoadedTogether(FakeEncoder):
    """Loads its weights while another one does."""

    both: ClassVar[threading.Barrier]

    @property
    def fingerprint(self) -> str:
        self.both.wait(SECONDS)
        return super().fingerprint


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    kept = (backends._encoder, backends._captioner, backends._query_encoder, backends._reranker)
    for shelf in kept:
        shelf.cache_clear()
    made.clear()
    yield
    for shelf in kept:
        shelf.cache_clear()


def spec(kind: type, **options: Any) -> dict[str, Any]:
    return {"BACKEND": f"{__name__}.{kind.__name__}", "OPTIONS": options}


@pytest.mark.parametrize(
    ("load", "kind"),
    [
        (backends.encoder, SlowEncoder),
        (backends.captioner, SlowCaptioner),
        (backends.reranker, SlowReranker),
        (lambda _: backends.query_encoder(), SlowQueryEncoder),
    ],
)
def test_backends__are_made_once_for_all_threads(load: Callable[[Any], object], kind: type, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUERY_ENCODER": spec(SlowQueryEncoder)}
    with ThreadPoolExecutor(4) as threads:
        backend, *others = threads.map(load, [spec(kind)] * 4)
    assert made == [kind]
    assert all(other is backend for other in others)


def test_encoder__two_are_loaded_at_the_same_time() -> None:
    LoadedTogether.both = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(backends.encoder, [spec(LoadedTogether, name=name) for name in ("one", "other")])
    assert one is not other
