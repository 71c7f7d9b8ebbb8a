from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import Count, F
from django.db.models.functions import Upper
from django.test.utils import CaptureQueriesContext

from mediasearch.models import Asset, Generation, Job, Stage
from mediasearch.querysets import JobQuerySet, jobs_owed
from tests.conftest import MakeAsset, picture


def states(asset: Asset) -> dict[str, str]:
    return dict(asset.jobs.values_list("stage", "state"))


def test_owe__on_upload(active_generation: Generation, make_asset: MakeAsset) -> None:
    assert states(make_asset()) == {
        "inspect": "pending",
        "read": "pending",
        "embed_image": "pending",
        "embed_caption": "done",  # no caption: nothing to do until there is one
    }


def test_owe__without_a_generation(make_asset: MakeAsset) -> None:
    assert set(states(make_asset())) == {"inspect", "read"}


def test_owe__the_same_input_owes_nothing(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    asset = make_asset()
    index_all()
    asset.refresh_from_db()
    assert Job.objects.owe([asset]) == 0
    asset.category, asset.tags, asset.title = "street", ["sign"], "IMG_1234.JPG"
    asset.save()
    assert set(states(asset).values()) == {"done"}


@pytest.mark.parametrize("text", ["title", "alt_text", "caption"])
def test_owe__a_description_owes_its_embedding_alone(
    text: str, active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    asset = make_asset()
    index_all()
    asset.refresh_from_db()
    setattr(asset, text, "Something red")
    asset.save()
    assert [stage for stage, state in states(asset).items() if state == "pending"] == ["embed_caption"]


def test_update__owes_what_its_change_calls_for(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    asset, other = make_asset(), make_asset()
    index_all()
    Asset.objects.filter(pk=asset.pk).update(title="Something red")
    assert [stage for stage, state in states(asset).items() if state == "pending"] == ["embed_caption"]
    assert set(states(other).values()) == {"done"}
    Asset.objects.filter(pk=other.pk).update(file="elsewhere.png")
    assert {stage for stage, state in states(other).items() if state == "pending"} == {"inspect", "read", "embed_image"}


def test_owe__a_new_file_owes_all_that_reads_it(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    from django.core.files.base import ContentFile

    asset = make_asset()
    index_all()
    asset.refresh_from_db()
    asset.file = ContentFile(picture("blue"), name="picture.png")
    asset.save()
    assert {stage for stage, state in states(asset).items() if state == "pending"} == {"inspect", "read", "embed_image"}


def test_owe__forced(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> None:
    asset = make_asset()
    index_all()
    asset.refresh_from_db()
    assert Job.objects.owe([asset], [Stage.READ], force=True) == 1


def test_owe__a_running_job_whose_input_changed_loses_its_token(
    active_generation: Generation, make_asset: MakeAsset
) -> None:
    from mediasearch.indexing import ledger

    asset = make_asset(caption="red")
    (claim,) = ledger.claim(Stage.EMBED_CAPTION, 10)
    asset.caption = "blue"
    asset.save()
    written: list[object] = []
    assert ledger.settle([claim], ["stale"], written.extend).done == 0
    assert written == []
    assert states(asset)["embed_caption"] == "pending"


def test_lacking_jobs__finds_what_was_never_owed(active_generation: Generation, make_asset: MakeAsset) -> None:
    whole, bare, unembedded = make_asset(), make_asset(), make_asset()
    bare.jobs.all().delete()
    unembedded.jobs.filter(stage=Stage.EMBED_IMAGE).delete()
    assert set(Asset.objects.lacking_jobs()) == {bare, unembedded}
    assert whole.jobs.exists()


def mirrored(**fields: Any) -> list[Asset]:
    return [Asset(source="shop", object_id=number, file_version="1", **fields) for number in (1, 2)]


def upsert(assets: list[Asset], *names: str) -> list[Asset]:
    return Asset.objects.bulk_create(
        assets, update_conflicts=True, unique_fields=["source", "object_id"], update_fields=names
    )


def test_upsert__by_the_ids_of_a_source(active_generation: Generation) -> None:
    """What a source that mirrors a site's own model does: text vectors and jobs follow."""
    first = upsert(mirrored(title="Old"), "title")
    Job.objects.update(state="done")
    second = upsert([*mirrored(title="New"), Asset(source="shop", object_id=3, title="More")], "title")
    assert [asset.pk for asset in second[:2]] == [asset.pk for asset in first]
    assert dict(Asset.objects.values_list("object_id", "text_vector")) == {
        1: "'new':1A,2A", 2: "'new':1A,2A", 3: "'more':1A",
    }  # fmt: skip
    pending = Job.objects.filter(state="pending", asset__in=first)
    assert set(pending.values_list("stage", flat=True)) == {"embed_caption"}
    assert set(Job.objects.filter(state="pending").values_list("priority", flat=True)) == {Job.BACKFILL}


def test_upsert__of_a_file_owes_what_reads_it(active_generation: Generation) -> None:
    upsert(mirrored(), "file_version")
    Job.objects.update(state="done")
    changed = mirrored()
    changed[0].file_version = "2"
    upsert(changed, "file_version")
    assert {*Job.objects.filter(state="pending").values_list("asset__object_id", "stage")} == {
        (1, "inspect"), (1, "read"), (1, "embed_image"),
    }  # fmt: skip


def test_upsert__that_changes_nothing_owes_nothing(active_generation: Generation) -> None:
    upsert(mirrored(title="Old"), "title")
    Job.objects.update(state="done")
    upsert(mirrored(title="Old"), "title")
    assert not Job.objects.filter(state="pending").exists()


def test_bulk_create__ignoring_conflicts(active_generation: Generation) -> None:
    (known, _) = upsert(mirrored(title="Known"), "title")
    before = Asset.objects.filter(pk=known.pk).values().get()
    Job.objects.update(state="done")
    new = [*mirrored(title="Other"), Asset(source="shop", object_id=3, title="New", file_version="1"), Asset(pk=1_000)]
    Asset.objects.bulk_create(new, ignore_conflicts=True)
    assert Asset.objects.filter(pk=known.pk).values().get() == before
    owed = set(Job.objects.filter(state="pending").values_list("asset__object_id", "stage"))
    assert owed == {(3, "inspect"), (3, "read"), (3, "embed_image"), (3, "embed_caption")}
    assert Job.objects.filter(asset=1_000).exists()
    assert Asset.objects.get(object_id=3).text_vector == "'new':1A,2A"
    assert not Asset.objects.outdated().exists()


@pytest.mark.parametrize("narrow", [
    lambda assets: assets.annotate(owed=Count("jobs")).filter(owed__gt=0),
    lambda assets: assets.filter(jobs__stage="inspect").distinct(),
    lambda assets: assets.filter(owner__isnull=True).select_related("owner").order_by("-title"),
    lambda assets: assets.filter(pk__in=assets.values("pk")),
], ids=["aggregated", "distinct", "joined", "subselect"])  # fmt: skip
def test_update__of_any_queryset_that_django_updates(narrow: Any, make_asset: MakeAsset) -> None:
    make_asset()
    assert narrow(Asset.objects.all()).update(title="Blue") == 1
    assert "'blue'" in Asset.objects.get().text_vector


def test_update__by_an_expression(make_asset: MakeAsset) -> None:
    make_asset(title="red")
    assert Asset.objects.annotate(loud=Upper("title")).update(caption=F("loud"), popularity=F("popularity") + 2) == 1
    assert Asset.objects.values_list("caption", "popularity").get() == ("RED", 2)


def test_update__nothing_is_left_of_one_that_failed(make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch) -> None:
    make_asset(title="red")

    def lost(*args: Any, **kwargs: Any) -> int:
        raise OperationalError("The process ends here.")

    monkeypatch.setattr(JobQuerySet, "owe_inputs", lost)
    with pytest.raises(OperationalError):
        Asset.objects.update(title="blue")
    asset = Asset.objects.get()
    assert asset.title == "red"
    assert "'red'" in asset.text_vector


def test_update__takes_as_many_statements_for_many_as_for_few(
    active_generation: Generation, make_asset: MakeAsset
) -> None:
    make_asset()
    with CaptureQueriesContext(connection) as few:
        Asset.objects.update(title="blue")
    upsert([Asset(source="shop", object_id=number) for number in range(500)], "title")
    with CaptureQueriesContext(connection) as many:
        assert Asset.objects.update(title="green") == 501
    assert len(many) <= len(few) + 2  # Their jobs are in chunks.


def test_owe__by_the_row_and_not_by_an_object_read_long_ago(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    stale = make_asset()
    Asset.objects.update(title="New")
    index_all()
    assert Job.objects.owe([stale]) == 0


def test_owe__tells_that_jobs_became_due(active_generation: Generation, make_asset: MakeAsset) -> None:
    told: list[Any] = []

    def tell(sender: Any, **_: Any) -> None:
        told.append(sender)

    asset = make_asset()
    Job.objects.update(state="done")
    jobs_owed.connect(tell)
    try:
        Asset.objects.update(category="other")
        assert told == []
        Asset.objects.update(title="other")
        assert told == [Job]
    finally:
        jobs_owed.disconnect(tell)
    assert states(asset)["embed_caption"] == "pending"


def test_requeue(active_generation: Generation, make_asset: MakeAsset) -> None:
    asset = make_asset()
    asset.jobs.update(state="failed", attempts=5, error="no", suspect=True)
    asset.jobs.filter(stage="read").requeue()
    job = asset.jobs.get(stage="read")
    assert (job.state, job.attempts, job.error, job.suspect) == ("pending", 0, "", False)


def test_progress(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    assert Job.objects.progress()["inspect"] == {"pending": 1}
