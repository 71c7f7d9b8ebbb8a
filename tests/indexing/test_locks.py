"""Rows that a site's transactions hold: workers wait for none of them, and nobody deadlocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction

import mediasearch
from mediasearch.indexing import batch, ledger, upkeep, worker
from mediasearch.models import Asset, Generation, Job, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db(transaction=True)
SOON = 10.0
"""Seconds after which a test fails that would otherwise wait for ever."""


@contextmanager
def held(take: Callable[[], object]) -> Iterator[None]:
    """Have another session hold what `take` locks, for as long as the `with` lasts."""
    taken, over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                take()
                taken.set()
                over.wait(60)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        assert taken.wait(SOON) or holding.result()
        try:
            yield
        finally:
            over.set()


def within(seconds: float, task: Callable[[], Any]) -> Any:
    """Return what a task returns; fail where it takes longer, which PostgreSQL then ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [f"{seconds:.0f}s"])
        try:
            return task()
        finally:
            cursor.execute("RESET statement_timeout")


def states(asset: Asset) -> set[str]:
    return set(asset.jobs.values_list("state", flat=True))


@pytest.fixture
def assets(active_generation: Generation, make_asset: MakeAsset) -> list[Asset]:
    return [make_asset(colour) for colour in ("red", "green", "blue")]


HOLDS = {
    "updated": lambda pk: Asset.objects.filter(pk=pk).update(popularity=1),
    "saved": lambda pk: Asset.objects.get(pk=pk).save(),
    "selected for update": lambda pk: list(Asset.objects.select_for_update().filter(pk=pk)),
    "its jobs": lambda pk: list(Job.objects.select_for_update().filter(asset=pk)),
    "deleted": lambda pk: Asset.objects.filter(pk=pk).delete(),
}


@pytest.mark.parametrize("hold", list(HOLDS))
def test_drain__a_held_row_holds_up_no_other(hold: str, assets: list[Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "LOCKED_SECONDS", 0.5)
    first, second, third = assets
    started = time.monotonic()
    with held(lambda: HOLDS[hold](second.pk)):
        within(SOON, lambda: worker.drain(list(Stage), seconds=4.0))
        assert time.monotonic() - started < SOON
        assert (states(first), states(third)) == ({"done"}, {"done"})
        assert "done" not in set(second.jobs.exclude(stage="embed_caption").values_list("state", flat=True))
    time.sleep(0.6)
    worker.drain(list(Stage))
    remaining = Asset.objects.filter(pk=second.pk)
    assert all(states(asset) == {"done"} for asset in remaining)
    assert max(Job.objects.values_list("attempts", flat=True)) == 1  # It was nobody's fault.


def test_settle__a_row_that_is_held_for_a_moment_is_waited_for(assets: list[Asset]) -> None:
    (pk,) = [asset.pk for asset in assets[:1]]
    claims = ledger.claim(Stage.INSPECT, 3)
    with held(lambda: HOLDS["updated"](pk)):
        settled = ledger.settle(claims, ["value"] * 3, lambda done: None)
        assert (settled.done, [claim.asset for claim in settled.locked]) == (2, [pk])
    assert ledger.settle(settled.locked, ["value"], lambda done: None).done == 1


def test_settle__does_not_wait_long_for_what_its_writing_meets(
    assets: list[Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a row of vectors that a site's own transaction holds."""
    monkeypatch.setattr(ledger, "LOCK_SECONDS", 1)
    worker.drain(list(Stage))
    mediasearch.reindex(assets, [Stage.EMBED_IMAGE])
    with held(lambda: assets[0].embeddings.select_for_update().get()):
        within(SOON, lambda: worker.drain([Stage.EMBED_IMAGE], seconds=2.0))
        assert Job.objects.filter(stage="embed_image", state="pending", attempts=0).exists()
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone()[0] == "0"


def test_renew__skips_what_is_held(assets: list[Asset]) -> None:
    claims = ledger.claim(Stage.INSPECT, 3)
    with held(lambda: list(Job.objects.select_for_update().filter(pk=claims[0].job))):
        before = dict(Job.objects.values_list("pk", "lease_until"))
        within(SOON, lambda: ledger.renew(claims))
        after = dict(Job.objects.values_list("pk", "lease_until"))
    assert after[claims[0].job] == before[claims[0].job]
    assert after[claims[1].job] > before[claims[1].job]


def test_release__skips_what_is_held(assets: list[Asset]) -> None:
    claims = ledger.claim(Stage.INSPECT, 3)
    with held(lambda: list(Job.objects.select_for_update().filter(pk=claims[0].job))):
        within(SOON, lambda: ledger.release(claims, ""))
    assert dict(Job.objects.filter(stage="inspect").values_list("pk", "state"))[claims[0].job] == "running"
    assert Job.objects.filter(stage="inspect", state="pending").count() == 2


def test_sweep__owes_what_is_free(assets: list[Asset]) -> None:
    Job.objects.all().delete()
    with held(lambda: HOLDS["selected for update"](assets[0].pk)):
        within(SOON, lambda: ledger.sweep(thoroughly=True))
        assert set(Job.objects.values_list("asset", flat=True)) == {assets[1].pk, assets[2].pk}
    ledger.sweep(thoroughly=True)
    assert set(Job.objects.values_list("asset", flat=True)) == {asset.pk for asset in assets}


def test_upkeep__does_what_is_free(assets: list[Asset]) -> None:
    Asset.objects.all().record(derived_version=0)
    with held(lambda: HOLDS["updated"](assets[0].pk)):
        assert within(SOON, upkeep.bring_up_to_date) == 2
    assert upkeep.bring_up_to_date() == 1


def test_owe__what_stays_as_it_is_is_not_locked(assets: list[Asset]) -> None:
    """So a save of a title waits for no worker that closes jobs of the same asset."""
    worker.drain(list(Stage))
    with held(lambda: list(Job.objects.select_for_update().exclude(stage="embed_caption"))):
        within(SOON, lambda: Asset.objects.filter(pk=assets[0].pk).update(title="New"))


@pytest.mark.parametrize("others", [
    lambda pks: mediasearch.reindex([Asset(pk=pk) for pk in reversed(pks)]),
    lambda pks: mediasearch.retry(),
    lambda pks: Asset.objects.order_by("-pk").update(is_public=True),
    lambda pks: Asset.objects.order_by("-pk").update(title="Other"),
], ids=["reindex", "retry", "update", "update of a text"])  # fmt: skip
def test_order__of_locks_is_that_of_the_keys(others: Callable[[list[int]], Any], assets: list[Asset]) -> None:
    """A site's transaction that saves two pictures in order, and others over both, end without a deadlock."""
    Job.objects.update(state="failed")
    pks = [asset.pk for asset in assets]
    begun = threading.Event()

    def beside() -> None:
        try:
            begun.wait(SOON)
            others(pks)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(beside)
        with transaction.atomic():
            Asset.objects.filter(pk=pks[0]).update(title="One")
            begun.set()
            time.sleep(0.5)
            for pk in pks[1:]:
                Asset.objects.filter(pk=pk).update(title="More")
        ended.result(SOON)
