from __future__ import annotations

from collections.abc import Callable

import pytest

from mediasearch.models import Asset, Generation, Job, Stage
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


def test_requeue(active_generation: Generation, make_asset: MakeAsset) -> None:
    asset = make_asset()
    asset.jobs.update(state="failed", attempts=5, error="no", suspect=True)
    asset.jobs.filter(stage="read").requeue()
    job = asset.jobs.get(stage="read")
    assert (job.state, job.attempts, job.error, job.suspect) == ("pending", 0, "", False)


def test_progress(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    assert Job.objects.progress()["inspect"] == {"pending": 1}
