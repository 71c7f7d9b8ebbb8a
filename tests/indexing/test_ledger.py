from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from mediasearch.exceptions import DecoderCrashed, EncoderUnavailable, NotAnImage
from mediasearch.indexing import doorbell, ledger, losses
from mediasearch.models import Asset, Generation, Job, Pause, Stage, Tally
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db


def job(asset: Asset, stage: Stage = Stage.READ) -> Job:
    return asset.jobs.get(stage=stage)


def expire(asset: Asset, stage: Stage = Stage.READ) -> None:
    asset.jobs.filter(stage=stage).update(lease_until=Now() - timedelta(seconds=1))


def ignore(done: list[Any]) -> None:
    """A stage that stores nothing."""


def test_claim__takes_a_batch_with_one_token(make_asset: MakeAsset) -> None:
    assets = [make_asset() for _ in range(5)]
    claims = ledger.claim(Stage.READ, 3)
    assert [claim.asset for claim in claims] == [asset.pk for asset in assets[:3]]
    assert len({claim.token for claim in claims}) == 1
    assert job(assets[0]).state == "running"
    assert job(assets[0]).attempts == 1
    assert job(assets[3]).state == "pending"


def test_claim__no_more_than_asked_for_whatever_the_plan(make_asset: MakeAsset) -> None:
    for _ in range(5):
        make_asset()
    with connection.cursor() as cursor:
        for kind in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "indexscan", "bitmapscan"):
            cursor.execute(f"SET LOCAL enable_{kind} = off")
    assert len(ledger.claim(Stage.READ, 2)) == 2


def test_claim__uploads_before_back_fill(make_asset: MakeAsset) -> None:
    old, new = make_asset(), make_asset()
    old.jobs.update(priority=Job.BACKFILL)
    assert ledger.claim(Stage.READ, 1)[0].asset == new.pk


def test_claim__not_before_it_is_due(make_asset: MakeAsset) -> None:
    make_asset().jobs.update(due_at=Now() + timedelta(minutes=1))
    assert ledger.claim(Stage.READ, 10) == []


def test_claim__nothing_twice(make_asset: MakeAsset) -> None:
    make_asset()
    assert len(ledger.claim(Stage.READ, 10)) == 1
    assert ledger.claim(Stage.READ, 10) == []


def test_claim__what_was_lost_in_a_crash_is_taken_alone(make_asset: MakeAsset) -> None:
    suspect, *others = [make_asset() for _ in range(4)]
    suspect.jobs.update(suspect=True)
    first, second = ledger.claim(Stage.READ, 10), ledger.claim(Stage.READ, 10)
    assert [claim.asset for claim in first] == [suspect.pk]
    assert [claim.asset for claim in second] == [other.pk for other in others]


def test_settle__done(make_asset: MakeAsset) -> None:
    asset = make_asset()
    written: list[Any] = []
    (claim,) = ledger.claim(Stage.READ, 1)
    assert ledger.settle([claim], ["value"], written.extend).done == 1
    assert written == [(claim, "value")]
    assert (job(asset).state, job(asset).token, job(asset).error) == ("done", None, "")


def test_settle__refused_at_once(make_asset: MakeAsset) -> None:
    asset = make_asset()
    ledger.settle(ledger.claim(Stage.READ, 1), [NotAnImage("This is a shopping list.")], ignore)
    assert (job(asset).state, job(asset).error) == ("failed", "This is a shopping list.")


def test_settle__skipped(make_asset: MakeAsset) -> None:
    asset = make_asset()
    ledger.settle(ledger.claim(Stage.READ, 1), [ledger.Skip("It has a caption.")], ignore)
    assert (job(asset).state, job(asset).error) == ("skipped", "It has a caption.")


def test_settle__crash_is_tried_again_later_and_fails_after_five_claims(make_asset: MakeAsset) -> None:
    asset = make_asset()
    for attempt in range(1, 6):
        asset.jobs.update(due_at=Now() - timedelta(seconds=1))
        ledger.settle(ledger.claim(Stage.READ, 1), [DecoderCrashed()], ignore)
        assert job(asset).attempts == attempt
        assert job(asset).state == ("pending" if attempt < 5 else "failed")
        assert ledger.claim(Stage.READ, 1) == []


def test_settle__one_failure_holds_no_other_back(make_asset: MakeAsset) -> None:
    bad, good = make_asset(), make_asset()
    assert ledger.settle(ledger.claim(Stage.READ, 2), [NotAnImage(), "value"], ignore).done == 1
    assert (job(bad).state, job(good).state) == ("failed", "done")


def test_settle__a_stale_write_is_dropped(make_asset: MakeAsset) -> None:
    asset = make_asset()
    (stale,) = ledger.claim(Stage.READ, 1)
    expire(asset)
    ledger.sweep()
    (fresh,) = ledger.claim(Stage.READ, 1)
    written: list[Any] = []
    assert ledger.settle([stale], ["old"], written.extend).done == 0
    assert ledger.settle([fresh], ["new"], written.extend).done == 1
    assert written == [(fresh, "new")]


def test_settle__nothing_is_closed_when_writing_fails(make_asset: MakeAsset) -> None:
    asset = make_asset()

    def fail(done: list[Any]) -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        ledger.settle(ledger.claim(Stage.READ, 1), ["value"], fail)
    assert job(asset).state == "running"


def test_release__burns_no_claim(make_asset: MakeAsset) -> None:
    asset = make_asset()
    ledger.release(ledger.claim(Stage.READ, 1), "The storage is down.")
    assert (job(asset).state, job(asset).attempts, job(asset).error) == ("pending", 0, "The storage is down.")


def test_pause__holds_the_stage_alone(make_asset: MakeAsset) -> None:
    make_asset()
    ledger.pause(Stage.READ, EncoderUnavailable("No weights."))
    assert ledger.claim(Stage.READ, 1) == []
    assert len(ledger.claim(Stage.INSPECT, 1)) == 1
    assert Pause.objects.current().get().reason == "No weights."
    ledger.resume(Stage.READ)
    assert len(ledger.claim(Stage.READ, 1)) == 1


def test_pause__ends_by_itself(make_asset: MakeAsset) -> None:
    make_asset()
    ledger.pause(Stage.READ, EncoderUnavailable())
    Pause.objects.update(until=Now() - timedelta(seconds=1))
    assert len(ledger.claim(Stage.READ, 1)) == 1


def test_renew__extends_the_lease(make_asset: MakeAsset) -> None:
    asset = make_asset()
    claims = ledger.claim(Stage.READ, 1)
    expire(asset)
    ledger.renew(claims)
    ledger.sweep()
    assert job(asset).state == "running"


def test_sweep__takes_back_what_was_lost(make_asset: MakeAsset) -> None:
    asset = make_asset()
    ledger.claim(Stage.READ, 1)
    expire(asset)
    ledger.sweep()
    assert (job(asset).state, job(asset).suspect) == ("pending", True)
    assert "lost" in job(asset).error


def test_sweep__gives_up_after_five_claims(make_asset: MakeAsset) -> None:
    asset = make_asset()
    for attempt in range(1, 6):
        (claim,) = ledger.claim(Stage.READ, 1)
        assert claim.attempts == attempt
        expire(asset)
        ledger.sweep()
    assert job(asset).state == "failed"
    assert "worker was lost" in job(asset).error


def test_sweep__names_the_queues_that_wait(active_generation: Generation, make_asset: MakeAsset) -> None:
    asset = make_asset()
    assert ledger.sweep() == []  # Just owed: its own doorbell is on the way.
    asset.jobs.filter(stage=Stage.READ).update(due_at=Now() - timedelta(seconds=5))
    assert ledger.sweep() == ["mediasearch.read"]
    ledger.pause(Stage.READ, EncoderUnavailable())
    assert ledger.sweep() == []


def test_sweep__rings_for_the_first_generation(db: None) -> None:
    assert ledger.sweep() == ["mediasearch.embed"]


def test_sweep__finds_what_was_never_owed(active_generation: Generation, make_asset: MakeAsset) -> None:
    asset = make_asset()
    asset.jobs.all().delete()
    ledger.sweep()
    assert not asset.jobs.exists()
    ledger.sweep(thoroughly=True)
    assert asset.jobs.filter(state="pending").count() == 3


def test_reindex__owes_all_again(
    make_asset: MakeAsset, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(doorbell, "ring", rung.extend)
    make_asset().jobs.update(state="done")
    connection.run_on_commit.clear()  # As if that had been another transaction.
    with django_capture_on_commit_callbacks(execute=True):
        assert ledger.reindex(Asset.objects.all()) == 2
    assert set(rung) == set(doorbell.queues())


def test_tally__counts_each_way_a_job_can_end(make_asset: MakeAsset) -> None:
    for _ in range(4):
        make_asset()
    claims = ledger.claim(Stage.READ, 4)
    results = ["value", NotAnImage("A list."), DecoderCrashed("It died."), ledger.Skip("Nothing to do.")]
    ledger.settle(claims, results, ignore)
    counted = dict(Tally.objects.filter(stage=Stage.READ).values_list("outcome", "number"))
    assert counted == {"done": 1, "failed": 1, "retried": 1, "skipped": 1}


def test_tally__counts_what_was_lost(make_asset: MakeAsset) -> None:
    assets = [make_asset(), make_asset()]
    ledger.claim(Stage.READ, 2)
    assets[0].jobs.filter(stage=Stage.READ).update(attempts=5)
    for asset in assets:
        expire(asset)
    ledger.sweep()
    counted = dict(Tally.objects.filter(stage=Stage.READ).values_list("outcome", "number"))
    assert counted == {"lost": 2, "failed": 1}


def test_sweep__waits_after_the_database_has_restarted(make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever held the lease may still be there, with results to write."""
    monkeypatch.setattr(losses, "GRACE", timedelta(days=1_000))
    asset = make_asset()
    ledger.claim(Stage.READ, 1)
    expire(asset)
    ledger.sweep()
    assert job(asset).state == "running"


def test_claim__one_generation_at_a_time(make_asset: MakeAsset, active_generation: Generation) -> None:
    other = Generation.objects.create(encoder={}, fingerprint="other", dimensions=8, caption_dimensions=8)
    assets = [make_asset(), make_asset()]
    first, second = ledger.claim(Stage.EMBED_IMAGE, 10), ledger.claim(Stage.EMBED_IMAGE, 10)
    assert {claim.generation for claim in first} == {active_generation.pk}
    assert {claim.generation for claim in second} == {other.pk}
    assert len(first) == len(second) == len(assets)


def test_suspect__the_first_time_at_once_and_alone(make_asset: MakeAsset) -> None:
    assets = [make_asset() for _ in range(3)]
    ledger.suspect(ledger.claim(Stage.READ, 3), "It raised.")
    assert [(job(a).state, job(a).suspect, job(a).error) for a in assets] == [("pending", True, "It raised.")] * 3
    (claim,) = ledger.claim(Stage.READ, 3)
    assert (claim.asset, claim.suspect) == (assets[0].pk, True)


def test_suspect__alone_it_waits_longer_and_fails_at_last(make_asset: MakeAsset) -> None:
    asset = make_asset()
    for attempt in range(1, 6):
        (claim,) = ledger.claim(Stage.READ, 1)
        assert claim.attempts == attempt
        ledger.suspect([claim], "It raised.")
        if 1 < attempt < 5:
            assert ledger.claim(Stage.READ, 1) == []
            asset.jobs.update(due_at=Now())
    assert (job(asset).state, job(asset).error) == ("failed", "It raised.")


def test_retry__failed_jobs_are_due_again(make_asset: MakeAsset) -> None:
    asset, other = make_asset(), make_asset()
    Job.objects.filter(stage=Stage.READ).update(state="failed", attempts=5, suspect=True, error="It died.")
    assert ledger.retry(asset.jobs.all()) == 1
    assert (job(asset).state, job(asset).attempts, job(asset).suspect) == ("pending", 0, False)
    assert job(other).state == "failed"
    assert ledger.retry() == 1
    assert ledger.retry() == 0
