from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from mediasearch import conf
from mediasearch.exceptions import DecoderCrashed, EncoderUnavailable
from mediasearch.indexing import clock, ledger
from mediasearch.models import Asset, Generation, Job, Pause, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def set_back(by: timedelta = HOUR) -> None:
    """Have all that is written in the ledger lie ahead, as when the clock is set back."""
    Job.objects.update(due_at=F("due_at") + by, lease_until=F("lease_until") + by, finished_at=F("finished_at") + by)
    Pause.objects.update(until=F("until") + by, since=F("since") + by)


def ahead(asset: Asset, field: str, stage: Stage = Stage.READ) -> float:
    """After how many seconds a job's time comes."""
    return asset.jobs.filter(stage=stage).values_list(F(field) - Now(), flat=True).get().total_seconds()


def test_mend__what_was_never_tried_is_due_at_once(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    set_back()
    assert ledger.claim(Stage.READ, 1) == []
    assert set(ledger.sweep()) == {"mediasearch.embed", "mediasearch.read"}
    assert len(ledger.claim(Stage.READ, 1)) == 1


def test_mend__a_wait_is_no_longer_than_its_claims_explain(make_asset: MakeAsset) -> None:
    waiting, thrown = make_asset(), make_asset()
    for asset in (waiting, thrown):
        asset.jobs.filter(stage=Stage.READ).update(attempts=3)
    waiting.jobs.update(due_at=Now() + timedelta(seconds=47))
    thrown.jobs.update(due_at=Now() + timedelta(seconds=50))
    clock.mend("default")
    assert ahead(waiting, "due_at") == pytest.approx(47, abs=2)
    assert ahead(thrown, "due_at") <= 0


@pytest.mark.parametrize("attempts", range(1, 10))
def test_mend__leaves_every_wait_that_the_ledger_makes(make_asset: MakeAsset, attempts: int) -> None:
    asset = make_asset()
    asset.jobs.update(attempts=attempts - 1)
    ledger.settle(ledger.claim(Stage.READ, 1), [DecoderCrashed()], lambda done: None)
    job = asset.jobs.get(stage=Stage.READ)
    assert clock.mend("default").isdisjoint({"read"})
    assert job.due_at == asset.jobs.get(stage=Stage.READ).due_at


def test_mend__a_lease_is_cut_to_its_length(make_asset: MakeAsset) -> None:
    asset = make_asset()
    (claim,) = ledger.claim(Stage.READ, 1)
    set_back()
    ledger.sweep()
    assert ahead(asset, "lease_until") == pytest.approx(conf.settings().lease_seconds, abs=2)
    assert ledger.settle([claim], ["value"], lambda done: None).done == 1


def test_mend__a_pause_is_cut_to_its_length(make_asset: MakeAsset) -> None:
    ledger.pause(Stage.READ, EncoderUnavailable())
    set_back()
    clock.mend("default")
    (rest, since) = Pause.objects.values_list(F("until") - Now(), F("since") - Now()).get()
    assert rest.total_seconds() == pytest.approx(clock.REST.total_seconds(), abs=2)
    assert since.total_seconds() <= 0


def test_mend__says_so_in_the_log(make_asset: MakeAsset, caplog: pytest.LogCaptureFixture) -> None:
    make_asset()
    with caplog.at_level(logging.WARNING, "mediasearch"):
        clock.mend("default")
        assert caplog.records == []
        set_back()
        clock.mend("default")
    assert [record.__dict__["event"] for record in caplog.records] == ["clock"]


def test_forward__leases_end_early_and_the_holder_writes_nothing(make_asset: MakeAsset) -> None:
    asset = make_asset()
    (stale,) = ledger.claim(Stage.READ, 1)
    set_back(-HOUR)  # As when the clock is set forward.
    ledger.sweep()
    (fresh,) = ledger.claim(Stage.READ, 1)
    written: list[object] = []
    ledger.renew([stale])
    assert ledger.settle([stale], ["stale"], written.extend).done == 0
    assert ledger.settle([fresh], ["fresh"], written.extend).done == 1
    assert written == [(fresh, "fresh")]
    assert asset.jobs.get(stage=Stage.READ).state == "done"
