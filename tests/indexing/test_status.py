from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries

from mediasearch import conf
from mediasearch.exceptions import EncoderUnavailable, NotAnImage
from mediasearch.indexing import ledger
from mediasearch.indexing.figures import ALARMS, GenerationStatus, StageStatus, Status
from mediasearch.indexing.status import status
from mediasearch.models import Asset, Embedding, Generation, Job, Pause, Stage, Stray, Tally
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
Index = Callable[[], None]


def of(stage: Stage) -> StageStatus:
    return next(s for s in status().stages if s.stage == stage)


def active() -> GenerationStatus:
    found = status().active
    assert found is not None
    return found


def alarms(told: Status | None = None) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for alarm in (told or status()).alarms:
        assert alarm.kind in ALARMS
        found.setdefault(alarm.kind, []).append(alarm.stage)
    return found


def due_since(seconds: float) -> None:
    Job.objects.filter(state="pending").update(due_at=Now() - timedelta(seconds=seconds))


# Stages


def test_stages__of_an_empty_site() -> None:
    told = status()
    assert [s.stage for s in told.stages] == ["inspect", "read", "embed_image", "embed_caption"]
    assert {(s.pending, s.due, s.running, s.failed, s.done, s.rate, s.eta) for s in told.stages} == {(0,) * 7}
    assert {(s.oldest_wait, s.last_sign, s.paused) for s in told.stages} == {(None, None, None)}
    assert (told.assets, told.generations, told.failures, told.alarms) == (0, [], [], [])


def test_stages__waiting_running_and_trying_again(make_asset: MakeAsset) -> None:
    assets = [make_asset() for _ in range(5)]
    due_since(30)
    ledger.claim(Stage.READ, 2)
    assets[4].jobs.filter(stage=Stage.READ).update(due_at=Now() + timedelta(minutes=1))
    read = of(Stage.READ)
    assert (read.pending, read.due, read.retrying, read.running) == (3, 2, 1, 2)
    assert read.oldest_wait == pytest.approx(30, abs=5)
    assert read.last_sign == pytest.approx(0, abs=5)
    assert (read.rate, read.eta) == (0, None)


def test_stages__nothing_waits_that_is_not_due(make_asset: MakeAsset) -> None:
    make_asset().jobs.update(due_at=Now() + timedelta(minutes=1))
    assert of(Stage.READ).oldest_wait is None


def test_stages__nothing_that_lies_ahead_is_a_sign_of_life(make_asset: MakeAsset) -> None:
    """The clock was set back by an hour, and since then nobody is at work."""
    for _ in range(3):
        make_asset()
    due_since(120)
    done, _held = ledger.claim(Stage.READ, 1), ledger.claim(Stage.READ, 1)
    ledger.settle(done, ["value"], lambda done: None)
    Job.objects.filter(state="done").update(finished_at=Now() + timedelta(hours=1))
    Job.objects.filter(state="running").update(lease_until=Now() + timedelta(hours=1))
    read = of(Stage.READ)
    assert (read.last_sign, read.rate) == (None, 0)
    assert alarms()["silent"] == [Stage.INSPECT, Stage.READ]


def test_stages__a_sign_of_life_is_a_claim_or_its_renewal(make_asset: MakeAsset) -> None:
    make_asset()
    claims = ledger.claim(Stage.READ, 1)
    lease = timedelta(seconds=conf.settings().lease_seconds)
    Job.objects.filter(state="running").update(lease_until=Now() + lease - timedelta(seconds=40))
    assert of(Stage.READ).last_sign == pytest.approx(40, abs=5)
    ledger.renew(claims)
    assert of(Stage.READ).last_sign == pytest.approx(0, abs=5)


def test_stages__what_ended_is_counted_for_ever(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    make_asset("red")
    make_asset(b"a shopping list", name="list.png")
    index_all()
    inspect = of(Stage.INSPECT)
    assert (inspect.done, inspect.failed, inspect.outcomes) == (1, 1, {"done": 1, "failed": 1})
    Job.objects.all().delete()
    inspect = of(Stage.INSPECT)
    assert (inspect.done, inspect.failed, inspect.outcomes) == (1, 0, {"done": 1, "failed": 1})


def test_stages__rate_and_time_left(make_asset: MakeAsset) -> None:
    for _ in range(6):
        make_asset()
    ledger.settle(ledger.claim(Stage.READ, 4), ["value"] * 4, lambda done: None)
    Job.objects.filter(state="done").update(finished_at=Now() - timedelta(seconds=20))
    read = of(Stage.READ)
    assert read.rate == pytest.approx(4 / 20, rel=0.2)
    assert read.eta == pytest.approx(2 / read.rate)


def test_stages__what_was_finished_long_ago_makes_no_rate(make_asset: MakeAsset) -> None:
    make_asset()
    ledger.settle(ledger.claim(Stage.READ, 1), ["value"], lambda done: None)
    Job.objects.filter(state="done").update(finished_at=Now() - timedelta(seconds=301))
    read = of(Stage.READ)
    assert (read.rate, read.last_sign, read.eta) == (0, None, 0)


def test_stages__one_without_a_reader_shows_where_it_has_a_past() -> None:
    assert Stage.DESCRIBE not in [s.stage for s in status().stages]
    Tally.objects.count_up(Stage.DESCRIBE, {"skipped": 3})
    assert of(Stage.DESCRIBE).skipped == 3


def test_status__costs_the_same_few_statements(
    make_asset: MakeAsset, active_generation: Generation, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(3):
        make_asset()
    ledger.settle(ledger.claim(Stage.READ, 2), [NotAnImage(), "value"], lambda done: None)
    with django_assert_num_queries(9):
        status()


def test_status__is_json(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    ledger.pause(Stage.READ, EncoderUnavailable("Gone."))
    told = json.loads(json.dumps(status().as_dict(), cls=DjangoJSONEncoder))
    assert told["assets"] == 1
    assert told["stages"][0]["due"] == 1
    assert told["stages"][1]["paused"]["reason"] == "Gone."


# Generations


def test_coverage__counts_image_vectors(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> None:
    make_asset("red", caption="red")
    make_asset("blue")
    index_all()
    make_asset("green")
    bad = make_asset(b"a shopping list", name="list.png", caption="blue")
    index_all()
    waiting = make_asset("black", caption="black")
    assert Embedding.objects.filter(asset=bad, image=None, caption__isnull=False).exists()
    assert active() == GenerationStatus(
        active_generation.pk, "active", "fake/16", images=3, failed=1, coverage=3 / 5,
        recall=None, recall_at=None, measured_at=None, flaws=active().flaws,
    )  # fmt: skip
    assert len(active().flaws) == 2  # Its indexes were never built.
    Job.objects.filter(asset=waiting).exclude(stage=Stage.EMBED_CAPTION).update(due_at=Now() + timedelta(minutes=1))
    index_all()
    assert Embedding.objects.filter(asset=waiting, image=None).exists()
    assert active().images == 3


def test_coverage__an_old_vector_counts_while_a_new_one_is_owed(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    make_asset()
    index_all()
    ledger.reindex(Asset.objects.all())
    assert (active().images, active().coverage) == (1, 1.0)


def test_coverage__of_a_site_without_images(active_generation: Generation) -> None:
    assert active().coverage is None


def test_generations__those_that_are_built_have_their_own(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    make_asset()
    index_all()
    building = Generation.objects.create(
        encoder={}, fingerprint="next", dimensions=16, caption_fingerprint="next", caption_dimensions=16
    )
    Job.objects.owe(list(Asset.objects.all()), generations=[building])
    Generation.objects.create(
        encoder={}, fingerprint="old", dimensions=16, caption_fingerprint="old", caption_dimensions=16, state="retired"
    )
    assert [(g.encoder, g.state, g.coverage) for g in status().generations] == [
        ("fake/16", "active", 1.0),
        ("next", "building", 0.0),
    ]


def test_recall__as_it_was_measured(active_generation: Generation) -> None:
    active_generation.calibration = {"recall": 0.987, "recall_at": 10, "measured_at": "2026-03-01T12:00:00+00:00"}
    active_generation.save()
    assert (active().recall, active().recall_at) == (0.987, 10)
    assert active().measured_at == "2026-03-01T12:00:00+00:00"


# Failures


def test_failures__the_same_reason_is_told_once(make_asset: MakeAsset) -> None:
    assets = [make_asset() for _ in range(3)]
    reasons = ["There is no file 'a.jpg' (error 2).", "There is no file 'b.jpg' (error 13).", "It is a shopping list."]
    ledger.settle(ledger.claim(Stage.READ, 3), [NotAnImage(reason) for reason in reasons], lambda done: None)
    ledger.settle(ledger.claim(Stage.INSPECT, 1), [NotAnImage(reasons[2])], lambda done: None)
    told = {failure.error: failure for failure in status().failures}
    assert set(told) == {reasons[1], reasons[2]}
    assert (told[reasons[1]].count, told[reasons[1]].assets) == (2, [assets[0].pk, assets[1].pk])
    assert (told[reasons[2]].count, told[reasons[2]].stages) == (2, ["inspect", "read"])


# Alarms


def test_alarms__none_while_work_is_young(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    assert alarms() == {}


def test_alarms__none_while_work_is_done(active_generation: Generation, make_asset: MakeAsset) -> None:
    for _ in range(2):
        make_asset()
    due_since(600)
    for stage in Stage:
        ledger.claim(stage, 1)
    assert alarms() == {}


def test_alarms__work_that_nobody_is_at(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset(caption="red")
    due_since(55)
    told = status()
    assert alarms(told) == {"silent": ["embed_image", "embed_caption", "inspect", "read"]}
    assert "celery -A yoursite worker -Q mediasearch.embed" in told.alarms[0].sentence


def test_alarms__within_a_minute_of_the_last_thing_done(active_generation: Generation, make_asset: MakeAsset) -> None:
    for _ in range(2):
        make_asset()
    due_since(600)
    for stage in (Stage.INSPECT, Stage.READ, Stage.EMBED_IMAGE):
        ledger.settle(ledger.claim(stage, 1), [ledger.Skip("Nothing to do.")], lambda done: None)
    Job.objects.filter(state="skipped").update(finished_at=Now() - timedelta(seconds=45))
    assert alarms() == {}
    Job.objects.filter(state="skipped").update(finished_at=Now() - timedelta(seconds=55))
    assert alarms() == {"silent": ["embed_image", "inspect", "read"]}


def test_alarms__a_worker_that_died_with_all_the_work(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    for stage in Stage:
        ledger.claim(stage, 1)
    lease = timedelta(seconds=conf.settings().lease_seconds)
    Job.objects.filter(state="running").update(lease_until=Now() + lease - timedelta(seconds=55))
    assert alarms() == {"silent": ["embed_image", "inspect", "read"]}


def test_alarms__a_long_batch_of_one_stage_excuses_the_others_of_its_queue_for_a_while(
    active_generation: Generation, make_asset: MakeAsset
) -> None:
    make_asset()
    ledger.claim(Stage.READ, 1)
    ledger.claim(Stage.EMBED_IMAGE, 1)
    due_since(290)
    assert alarms() == {}
    due_since(310)
    assert alarms() == {"silent": ["inspect"]}


def test_alarms__messages_of_another_site_for_an_hour(settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUEUE_PREFIX": "shop"}
    for _ in range(2):
        Stray.objects.note("shop.query")
    (alarm,) = status().alarms
    assert alarm.kind == "foreign"
    assert "shares the queue shop.query: 2 messages were refused" in alarm.sentence
    assert "QUEUE_PREFIX" in alarm.sentence
    Stray.objects.update(last_at=Now() - timedelta(minutes=61))
    assert alarms() == {}


def test_alarms__an_index_that_searches_lack(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, settings: Any
) -> None:
    make_asset("red")
    make_asset("blue")
    index_all()
    assert alarms() == {}  # So few pictures are compared one by one.
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1}
    (alarm,) = status().alarms
    assert alarm.kind == "index"
    assert f"mediasearch_hnsw_{active_generation.pk}_image of the active generation" in alarm.sentence
    assert "mediasearch_indexes --repair" in alarm.sentence


def test_alarms__back_off_is_no_waiting(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    due_since(-60)
    assert alarms() == {}


def test_alarms__a_pause_and_why(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    due_since(600)
    for stage in Stage:
        ledger.pause(stage, EncoderUnavailable("No route to files.example.org."))
    told = status()
    assert set(alarms(told)) == {"paused"}
    assert of(Stage.READ).paused is not None
    assert told.alarms[0].detail == "No route to files.example.org."
    assert "files.example.org" not in told.alarms[0].sentence


def test_alarms__a_pause_that_nobody_renews_is_over(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    ledger.pause(Stage.READ, EncoderUnavailable())
    Pause.objects.update(until=Now() - timedelta(seconds=61))
    assert (of(Stage.READ).paused, alarms()) == (None, {})


def test_alarms__images_without_a_generation(make_asset: MakeAsset) -> None:
    make_asset()
    assert alarms() == {"no-generation": [None]}


def test_alarms__failed_jobs(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    ledger.settle(ledger.claim(Stage.READ, 1), [NotAnImage()], lambda done: None)
    assert alarms() == {"failed": [None]}
    assert "1 of stage read" in status().alarms[0].sentence
    Job.objects.requeue()
    assert alarms() == {}
