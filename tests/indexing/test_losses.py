from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import F
from django.db.models.functions import Now

from mediasearch.indexing import ledger, owners
from mediasearch.models import Asset, Job, Stage, Tally
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(owners, "_current", None)
    yield
    die()


def die(computing: ledger.Claim | None = None) -> None:
    """End as a process that is killed, perhaps with a batch in the model: the kernel lets go of its file."""
    if owners._current is not None and owners._current.file is not None:
        if computing:
            os.pwrite(owners._current.file, computing.token.bytes, 0)
        os.close(owners._current.file)
    owners._current = None


def job(asset: Asset) -> Job:
    return asset.jobs.get(stage=Stage.READ)


def waits(asset: Asset) -> float:
    return asset.jobs.filter(stage=Stage.READ).values_list(F("due_at") - Now(), flat=True).get().total_seconds()


def test_take_back__at_once_where_the_owner_is_gone(make_asset: MakeAsset) -> None:
    assets = [make_asset() for _ in range(3)]
    ledger.claim(Stage.READ, 2)
    ledger.sweep()
    assert [job(asset).state for asset in assets] == ["running", "running", "pending"]
    die()
    assert ledger.sweep() == ["mediasearch.embed", "mediasearch.read"]
    assert [(job(a).state, job(a).suspect, job(a).attempts) for a in assets] == [
        ("pending", True, 1), ("pending", True, 1), ("pending", False, 0)
    ]  # fmt: skip
    assert dict(Tally.objects.values_list("outcome", "number")) == {"lost": 2}


def test_take_back__only_what_was_in_the_model_is_suspect(make_asset: MakeAsset) -> None:
    first, second = make_asset(), make_asset()
    (computed,), _ahead = ledger.claim(Stage.READ, 1), ledger.claim(Stage.READ, 1)
    die(computed)
    ledger.sweep()
    assert [(job(a).state, job(a).suspect) for a in (first, second)] == [("pending", True), ("pending", False)]


def test_take_back__lost_again_it_is_suspect_whatever_was_in_the_model(make_asset: MakeAsset) -> None:
    """It may be opening it that kills the process."""
    others = [make_asset() for _ in range(2)]
    culprit = make_asset()
    for computed in others:
        for other in others:
            other.jobs.filter(stage=Stage.READ).update(state="done")
        computed.jobs.filter(stage=Stage.READ).update(state="pending", due_at=Now() - timedelta(hours=1))
        (claim,), _ = ledger.claim(Stage.READ, 1), ledger.claim(Stage.READ, 1)
        die(claim)
        ledger.sweep()
    assert (job(culprit).suspect, job(culprit).attempts) == (True, 2)


def test_take_back__alone_it_waits_longer_each_time_and_fails_after_five_claims(make_asset: MakeAsset) -> None:
    asset = make_asset()
    for attempt, wait in enumerate((0, 20, 40, 80), start=1):
        (claim,) = ledger.claim(Stage.READ, 1)
        assert claim.attempts == attempt
        die(claim)
        ledger.sweep()
        assert 0.8 * wait - 1 <= waits(asset) <= 1.2 * wait
        asset.jobs.update(due_at=Now())
    die(ledger.claim(Stage.READ, 1)[0])
    ledger.sweep()
    assert (job(asset).state, job(asset).attempts) == ("failed", 5)
    assert "worker was lost each time" in job(asset).error


def test_take_back__what_the_dead_had_finished_is_left_alone(make_asset: MakeAsset) -> None:
    asset = make_asset()
    ledger.settle(ledger.claim(Stage.READ, 1), ["value"], lambda done: None)
    die()
    ledger.sweep()
    assert job(asset).state == "done"


def test_take_back__another_machines_worker_is_missed_by_its_lease(
    make_asset: MakeAsset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = make_asset()
    ledger.claim(Stage.READ, 1)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
        die()
        ledger.sweep()
        assert job(asset).state == "running"
        asset.jobs.update(lease_until=Now() - timedelta(seconds=1))
        ledger.sweep()
        assert (job(asset).state, job(asset).suspect) == ("pending", True)
