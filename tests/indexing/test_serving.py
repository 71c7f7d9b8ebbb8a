from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.db import connection

from mediasearch.indexing import doorbell, serving

pytestmark = pytest.mark.django_db(transaction=True)


def waited(rung: list[str], seconds: float) -> float:
    """How long a worker of the queue `mediasearch.read` listens, when others are rung as soon as it does."""
    ear = serving._Ear(["mediasearch.read"])
    ear.listen(0.01)  # From now on the session hears what is notified.
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [doorbell.CHANNEL, ",".join(rung)])
    other.close()
    started = time.monotonic()
    ear.listen(seconds)
    return time.monotonic() - started


@pytest.fixture(autouse=True)
def _own_session() -> Iterator[None]:
    """Leave no session behind that listens."""
    yield
    connection.close()


def test_listen__hears_its_queue_among_others() -> None:
    assert waited(["mediasearch.embed", "mediasearch.read"], 10.0) < 5.0


def test_listen__not_for_another_queue() -> None:
    assert waited(["mediasearch.embed"], 0.5) >= 0.5
