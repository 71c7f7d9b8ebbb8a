"""What every leg does, whichever store it asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import qdrant_edge as qdrant
from django.contrib.auth.models import User
from django.db import connection

import mediasearch
from mediasearch import checks
from mediasearch.conf import Spec
from mediasearch.exceptions import Unavailable
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search import legs
from mediasearch.search.pictures import Picture
from mediasearch.sources import registry

pytestmark = pytest.mark.django_db
COUNT = 120


class Qdrant(legs.Store):
    """A shard of Qdrant's own engine, filled from the table."""

    folder: Path

    def __init__(self, generation: Generation, field: str) -> None:
        super().__init__(generation, field)
        params = qdrant.EdgeVectorParams(size=generation.widths[field], distance=qdrant.Distance.Dot)
        place = self.folder / field
        place.mkdir()
        self._shard = qdrant.EdgeShard.create(str(place), qdrant.EdgeConfig(vectors=params))
        rows = Embedding.objects.filter(generation=generation, **{f"{field}__isnull": False})
        points = [
            qdrant.Point(id=pk, vector=np.asarray(vector, dtype=np.float32).tolist(), payload={})
            for pk, vector in rows.values_list("asset_id", field)
        ]
        self._shard.update(qdrant.UpdateOperation.upsert_points(points))

    def nearest(self, vector: Any, number: int) -> list[tuple[int, float]]:
        query = qdrant.Query.Nearest(np.asarray(vector).tolist())
        found = self._shard.query(qdrant.QueryRequest(limit=number, query=query)) if number else []
        return [(int(point.id), float(point.score)) for point in found]

    def __len__(self) -> int:
        return int(self._shard.count(qdrant.CountRequest(exact=True)))


class Down(legs.Leg):
    def candidates(self, *args: Any) -> list[tuple[int, float]]:
        raise Unavailable("The cluster does not answer.")


@pytest.fixture
def library(active_generation: Generation, tmp_path: Path) -> Iterator[list[Asset]]:
    """Assets with vectors by chance, of which every third is hidden and every fifth has no caption."""
    Qdrant.folder = tmp_path
    chance = np.random.default_rng(3)
    made = Asset.objects.bulk_create(
        [
            Asset(source="library", title=f"IMG_{n}", is_public=n % 3 > 0, category="few" if n < 9 else "")
            for n in range(COUNT)
        ]
    )
    vectors = chance.normal(size=(2, COUNT, 16))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    Embedding.objects.bulk_create(
        Embedding(
            generation=active_generation, asset=asset, image=vectors[0][n], caption=vectors[1][n] if n % 5 else None
        )
        for n, asset in enumerate(made)
    )
    legs._legs.clear()
    yield made
    legs._legs.clear()


@pytest.fixture(params=[legs.Postgres, legs.Memory, Qdrant])
def kind(request: pytest.FixtureRequest) -> type[legs.Leg]:
    found: type[legs.Leg] = request.param
    return found


@pytest.fixture(params=[10_000, 1], ids=["small", "large"], autouse=True)
def _bound(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": request.param}


def asked(seed: int = 0) -> Any:
    vector = np.random.default_rng(seed).normal(size=16)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def brute_force(generation: Generation, field: str, scope: Any, vector: Any) -> list[tuple[int, float]]:
    rows = Embedding.objects.filter(generation=generation, asset__in=scope, **{f"{field}__isnull": False})
    scores = [
        (pk, float(np.asarray(kept, dtype=np.float32) @ vector)) for pk, kept in rows.values_list("asset_id", field)
    ]
    return sorted(scores, key=lambda one: -one[1])


@pytest.mark.parametrize("field", ["image", "caption"])
@pytest.mark.parametrize("number", [1, 10, COUNT, 2 * COUNT])
def test_candidates__are_the_nearest(
    library: list[Asset], active_generation: Generation, kind: type[legs.Leg], field: str, number: int
) -> None:
    leg, scope = kind(active_generation, field), Asset.objects.all()
    found = leg.candidates(asked(), scope, number)
    expected = brute_force(active_generation, field, scope, asked())[:number]
    assert [pk for pk, _ in found] == [pk for pk, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=2e-3)


def test_candidates__are_what_may_be_seen(
    library: list[Asset], active_generation: Generation, kind: type[legs.Leg]
) -> None:
    leg = kind(active_generation, "image")
    hidden = {asset.pk for asset in library if not asset.is_public}
    nobody, somebody = User.objects.create_user("nobody"), User.objects.create_superuser("somebody")
    for seed in range(10):
        for user, all_of_them in ((None, False), (nobody, False), (somebody, True)):
            scope = registry.visible_to(user)
            found = {pk for pk, _ in leg.candidates(asked(seed), scope, COUNT)}
            assert bool(found & hidden) == all_of_them
            assert len(found) == (COUNT if all_of_them else COUNT - len(hidden))


def test_candidates__as_many_as_there_are_of_a_rare_filter(
    library: list[Asset], active_generation: Generation, kind: type[legs.Leg]
) -> None:
    leg = kind(active_generation, "image")
    assert len(leg.candidates(asked(), Asset.objects.filter(category="few"), 5)) == 5
    assert len(leg.candidates(asked(), Asset.objects.filter(category="few"), 50)) == 9
    assert leg.candidates(asked(), Asset.objects.filter(category="nowhere"), 5) == []
    assert leg.candidates(asked(), Asset.objects.none(), 5) == []


def test_candidates__of_an_empty_store(active_generation: Generation, kind: type[legs.Leg], tmp_path: Path) -> None:
    Qdrant.folder = tmp_path
    assert kind(active_generation, "image").candidates(asked(), Asset.objects.all(), 5) == []


@pytest.mark.parametrize(
    "path", ["mediasearch.search.legs.Postgres", "mediasearch.search.legs.Memory", f"{__name__}.Qdrant"]
)
def test_search__is_the_same_whichever_leg_finds_the_candidates(
    library: list[Asset], active_generation: Generation, settings: Any, path: str
) -> None:
    picture = Picture(active_generation.fingerprint, asked())
    expected = [(hit.asset.pk, hit.score) for hit in mediasearch.search("IMG_7 red", image=picture)]
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"LEG": {"BACKEND": path}}
    results = mediasearch.search("IMG_7 red", image=picture)
    assert [(hit.asset.pk, hit.score) for hit in results] == expected
    assert results.plan == ("legs" if settings.MEDIASEARCH["EXACT_SCOPE"] == 1 else "exact")


def test_search__does_without_a_leg_that_is_down(
    library: list[Asset], active_generation: Generation, settings: Any
) -> None:
    picture = Picture(active_generation.fingerprint, asked())
    expected = list(mediasearch.search(image=picture))
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"LEG": {"BACKEND": f"{__name__}.Down"}}
    assert list(mediasearch.search(image=picture)) == expected


@pytest.mark.parametrize(
    ("path", "said"),
    [("nowhere.Leg", "can't be imported"), ("mediasearch.conf.Spec", "no Leg"), ("mediasearch.search.legs.Memory", "")],
)
def test_check__a_leg_that_is_none(settings: Any, path: str, said: str) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"LEG": {"BACKEND": path}}
    found = [message.msg for message in checks.check_settings(None) if message.id == "mediasearch.E002"]
    assert (said in found[0]) if said else found == []


# Searches in several threads


class Slow(legs.Memory):
    """Takes a moment to make, which is counted."""

    made: ClassVar[list[str]] = []

    def __init__(self, generation: Generation, field: str) -> None:
        self.made.append(field)
        time.sleep(0.1)
        super().__init__(generation, field)


def test_of__a_leg_is_made_once_for_all_threads(active_generation: Generation) -> None:
    spec, Slow.made[:] = Spec(f"{__name__}.Slow"), []
    legs._legs.clear()
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda field: legs.of(spec, active_generation, field), ["image", "caption"] * 2))
    assert sorted(Slow.made) == ["caption", "image"]
    assert made[0] is made[2] is not made[1]
    later = Generation(pk=active_generation.pk + 1)
    assert legs.of(spec, later, "image").generation == later
    assert [key[2] for key in legs._legs] == [later.pk]


@pytest.mark.django_db(transaction=True)
def test_memory__is_filled_once_for_all_threads(library: list[Asset], active_generation: Generation) -> None:
    leg, statements, start = legs.Memory(active_generation, "image"), [], threading.Barrier(4)

    def slowly(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        time.sleep(0.1)
        return execute(sql, *rest)

    def ask(seed: int) -> list[tuple[int, float]]:
        start.wait(5)
        try:
            with connection.execute_wrapper(slowly):
                return leg.nearest(asked(seed), 5)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, range(4)))
    assert len(statements) == 1
