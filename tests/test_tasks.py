"""What Celery runs, where it decides anything."""

from __future__ import annotations

from typing import Any

import pytest

from mediasearch import tasks
from mediasearch.features import remote
from mediasearch.indexing import encoders

REMOTE = "mediasearch.features.remote.Remote"


@pytest.mark.parametrize(
    ("held", "pictures", "texts_only"),
    [
        ({remote.QUEUE}, True, False),
        ({remote.QUEUE}, False, True),
        ({remote.QUEUE, "mediasearch.embed"}, False, False),
    ],
)
def test_warm_query__keeps_the_image_tower_where_it_is_needed(
    settings: Any, monkeypatch: pytest.MonkeyPatch, held: set[str], pictures: bool, texts_only: bool
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "QUERY_ENCODER": {"BACKEND": REMOTE, "OPTIONS": {"pictures": pictures}}
    }
    asked: list[bool] = []
    monkeypatch.setattr(tasks, "_HELD_QUEUES", held)
    monkeypatch.setattr(encoders, "warm_active", lambda *, texts_only: asked.append(texts_only))
    tasks.warm_query()
    assert asked == [texts_only]
