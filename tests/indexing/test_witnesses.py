from __future__ import annotations

import errno
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import storages
from django.db.models.functions import Now

import mediasearch
from mediasearch.indexing import discards, ledger, witnesses, worker
from mediasearch.models import Asset, Generation, Job, Pause, Stage
from mediasearch.sources import registry
from mediasearch.sources.library import Library
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
Index = Callable[[], None]
Break = Callable[[Callable[[str], Exception | None]], None]


@pytest.fixture
def break_storage(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Have opening a file raise what a function answers for its name; None leaves it be."""
    storage = storages["default"]
    open_ = storage._open

    def broken(fault: Callable[[str], Exception | None]) -> None:
        def opening(name: str, mode: str = "rb") -> Any:
            if error := fault(name):
                raise error
            return open_(name, mode)

        monkeypatch.setattr(storage, "_open", opening)

    return broken


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> list[Asset]:
    """Pictures that could be read once."""
    assets = [make_asset(colour) for colour in ("white", "black", "green", "orange")]
    index_all()
    return assets


def jobs(asset: Asset) -> set[tuple[str, int]]:
    """State and attempts of the jobs that read the file."""
    return set(asset.jobs.exclude(stage=Stage.EMBED_CAPTION).values_list("state", "attempts"))


def try_again(asset: Asset) -> None:
    asset.jobs.filter(state="pending").update(due_at=Now())


def eio(name: str = "") -> OSError:
    return OSError(errno.EIO, "Input/output error", name)


def test_judge__a_file_of_its_own_fault_fails_alone_and_pauses_nothing(
    library: list[Asset], make_asset: MakeAsset, index_all: Index, break_storage: Break
) -> None:
    bad, *others = [make_asset(colour) for colour in ("red", "blue", "yellow")]
    break_storage(lambda name: eio(name) if name == bad.file.name else None)
    for claims in range(1, 6):
        index_all()
        assert jobs(bad) == {("pending" if claims < 5 else "failed", claims)}
        try_again(bad)
    assert [jobs(asset) for asset in others] == [{("done", 1)}] * 2
    assert not Pause.objects.exists()
    assert all("others of its storage can" in error for error in bad.jobs.values_list("error", flat=True) if error)


def test_judge__files_that_are_bad_together_pause_nothing_either(
    library: list[Asset], make_asset: MakeAsset, index_all: Index, break_storage: Break
) -> None:
    bad = [make_asset("red", name=f"bad{number}.png") for number in range(6)]
    names = {asset.file.name for asset in bad}
    break_storage(lambda name: PermissionError(errno.EACCES, "Permission denied") if name in names else None)
    index_all()
    assert [jobs(asset) for asset in bad] == [{("pending", 1)}] * 6
    assert not Pause.objects.exists()


@pytest.mark.parametrize("error", [eio(), RuntimeError("EndpointConnectionError"), TimeoutError()])
def test_judge__a_storage_that_is_down_burns_nothing(
    library: list[Asset], make_asset: MakeAsset, index_all: Index, break_storage: Break, error: Exception
) -> None:
    assets = [make_asset("red"), make_asset("blue")]
    break_storage(lambda name: error)
    index_all()
    assert [jobs(asset) for asset in assets] == [{("pending", 0)}] * 2
    assert {pause.reason for pause in Pause.objects.all()} == {f"The file storage does not answer: {error}."}
    assert Pause.objects.count() == 3


def test_judge__one_that_goes_down_in_the_middle_of_a_batch(
    library: list[Asset], make_asset: MakeAsset, break_storage: Break
) -> None:
    assets = [make_asset(colour) for colour in ("red", "blue", "yellow", "purple")]
    reads = count()
    break_storage(lambda name: eio() if next(reads) >= 2 else None)
    assert worker.drain([Stage.INSPECT]) is False
    inspect = [asset.jobs.get(stage=Stage.INSPECT) for asset in assets]
    assert [(job.state, job.attempts, job.suspect) for job in inspect] == [
        ("done", 1, False),
        ("done", 1, False),
        ("pending", 0, True),
        ("pending", 0, True),
    ]
    assert Pause.objects.get().stage == Stage.INSPECT
    break_storage(lambda name: None)
    Pause.objects.update(until=Now())
    worker.drain([Stage.INSPECT])
    assert {asset.jobs.get(stage=Stage.INSPECT).state for asset in assets} == {"done"}
    assert not Pause.objects.exists()


def test_judge__one_that_answers_every_second_time_burns_nothing(
    library: list[Asset], make_asset: MakeAsset, index_all: Index, break_storage: Break
) -> None:
    assets = [make_asset(colour) for colour in ("red", "blue", "yellow", "purple", "white")]
    reads = count()
    break_storage(lambda name: eio() if next(reads) % 2 else None)
    for _ in range(10):
        index_all()
        Pause.objects.update(until=Now())
    assert not Job.objects.filter(state="failed").exists()
    assert not Job.objects.filter(state="pending", attempts__gt=0).exists()
    assert [jobs(asset) for asset in assets] == [{("done", 1)}] * 5


def test_judge__with_no_other_file_to_ask_for_the_storage_is_at_fault(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, break_storage: Break
) -> None:
    asset = make_asset("red")
    break_storage(lambda name: eio())
    index_all()
    assert jobs(asset) == {("pending", 0)}
    assert Pause.objects.count() == 3


def test_judge__a_source_that_never_worked_holds_no_other_back(
    library: list[Asset], make_asset: MakeAsset, index_all: Index
) -> None:
    """Perhaps its code is wrong."""

    class Wrong(Library):
        slug = "wrong"

        def open(self, asset: Asset) -> Any:
            raise AttributeError("photo")

    mediasearch.register(Wrong)
    try:
        strangers = [make_asset("red", source="wrong", file_version=version) for version in "ab"]
        index_all()
        assert [jobs(asset) for asset in strangers] == [{("pending", 1)}] * 2
        assert not Pause.objects.exists()
    finally:
        registry.unregister("wrong")


def test_judge__a_storage_that_is_not_mounted_has_lost_no_file(
    library: list[Asset], make_asset: MakeAsset, index_all: Index, settings: Any, tmp_path: Path
) -> None:
    asset = make_asset("red")
    mounted = settings.MEDIA_ROOT
    settings.MEDIA_ROOT = tmp_path / "empty"
    index_all()
    assert jobs(asset) == {("pending", 0)}
    assert "none of several files that it had" in Pause.objects.first().reason  # type: ignore[union-attr]
    settings.MEDIA_ROOT = mounted
    Pause.objects.update(until=Now())
    index_all()
    assert jobs(asset) == {("done", 1)}


def test_judge__a_file_that_alone_is_missing_fails_at_once(
    library: list[Asset], make_asset: MakeAsset, index_all: Index
) -> None:
    asset, other = make_asset("red"), make_asset("blue")
    asset.file.storage.delete(asset.file.name)
    index_all()
    assert (jobs(asset), jobs(other)) == ({("failed", 1)}, {("done", 1)})


def test_judge__a_name_that_the_storage_refuses_is_the_files_own_fault(
    library: list[Asset], make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset("red")
    Asset.objects.filter(pk=asset.pk).update(file="../../etc/passwd")
    with pytest.raises(SuspiciousFileOperation):
        asset.file.storage.open("../../etc/passwd")
    index_all()
    assert jobs(asset) == {("pending", 1)}
    assert not Pause.objects.exists()


def test_storage_works__each_time_or_not(library: list[Asset], break_storage: Break) -> None:
    assert witnesses.storage_works(library[0]) is True
    gone = library[1].file.name
    break_storage(lambda name: eio() if name == gone else None)
    assert witnesses.storage_works(library[0]) is True
    reads = count()
    break_storage(lambda name: eio() if next(reads) % 2 else None)
    assert witnesses.storage_works(library[0]) is False


# Thumbnails


@pytest.mark.parametrize("pictures", [1, 3])
def test_thumbnails__a_full_disk_pauses_and_burns_nothing(
    library: list[Asset], make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch, pictures: int
) -> None:
    assets = [make_asset(colour) for colour in ("red", "blue", "yellow")[:pictures]]

    def full(*args: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storages["default"], "_save", full)
        index_all()
    inspect = Job.objects.filter(asset__in=assets, stage=Stage.INSPECT)
    assert set(inspect.values_list("state", "attempts")) == {("pending", 0)}
    assert "takes no thumbnails" in Pause.objects.get(stage=Stage.INSPECT).reason
    Pause.objects.update(until=Now())
    index_all()
    assert set(inspect.values_list("state", "attempts")) == {("done", 1)}


def test_thumbnails__one_that_was_cut_short_is_written_anew(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    asset = make_asset("red")
    index_all()
    asset.refresh_from_db()
    storage, damaged = storages["default"], asset.thumbnail
    whole = Path(storage.path(damaged)).read_bytes()
    Path(storage.path(damaged)).write_bytes(whole[:10])
    ledger.reindex([asset], [Stage.INSPECT])
    index_all()
    asset.refresh_from_db()
    discards.delete_due()
    assert Path(storage.path(asset.thumbnail)).read_bytes() == whole
    assert not storage.exists(damaged)
