from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.core.management import CommandError, call_command

from mediasearch.models import Asset
from tests.conftest import picture

pytestmark = pytest.mark.django_db


def run(folder: Path, **options: Any) -> str:
    output = io.StringIO()
    call_command("mediasearch_import", str(folder), stdout=output, **options)
    return output.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, and three files that are none."""
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    (folder / "red_car.png").write_bytes(picture("red"))
    (folder / "deeper" / "blue.jpg").write_bytes(picture("blue", form="JPEG"))
    (folder / "notes.txt").write_text("milk, eggs")
    (folder / "cut.jpg").write_bytes(picture("green", size=(400, 300), form="JPEG")[:800])
    (folder / ".hidden.png").write_bytes(picture("white"))
    (folder / "empty.png").write_bytes(b"")
    return folder


def test_import__takes_pictures_and_says_what_it_skipped(folder: Path) -> None:
    said = run(folder)
    assert Asset.objects.count() == 2
    assert "2 imported, 3 skipped." in said
    assert "not an image" in said
    assert "notes.txt" in said
    assert "cut short" in said
    assert "This file is empty." in said
    assert ".hidden.png" not in said
    assert "Importing" in said
    assert all(asset.jobs.filter(state="pending").exists() for asset in Asset.objects.all())


def test_import__again_takes_nothing_twice(folder: Path) -> None:
    run(folder)
    assert "0 imported, 5 skipped." in run(folder)
    assert "2 x This image is in the library already." in run(folder)
    assert Asset.objects.count() == 2


def test_import__options(folder: Path) -> None:
    User.objects.create_user("ann")
    run(folder, category="cars", tags=["a", "b"], titles=True, private=True, owner="ann", language="de")
    asset = Asset.objects.get(title="red car")
    assert (asset.category, asset.tags, asset.is_public, asset.language) == ("cars", ["a", "b"], False, "de")
    assert asset.owner == User.objects.get()


def test_import__no_texts_unless_asked(folder: Path) -> None:
    run(folder)
    assert set(Asset.objects.values_list("title", "caption")) == {("", "")}


def test_import__too_large(folder: Path, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"MAX_BYTES": 100}
    with pytest.raises(CommandError, match="Nothing was imported"):
        run(folder)


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [("nowhere", {}, "There is no folder"), ("pictures", {"owner": "nobody"}, 'no user "nobody"')],
)
def test_import__one_sentence(folder: Path, name: str, options: dict[str, Any], error: str) -> None:
    with pytest.raises(CommandError, match=error):
        run(folder.parent / name, **options)


def test_import__empty_folder(tmp_path: Path) -> None:
    assert "holds no files" in run(tmp_path)


def test_import__full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storages["default"], "_save", full)
    with pytest.raises(CommandError, match="The disk is full"):
        run(folder)


def test_import__quiet(folder: Path) -> None:
    assert "Importing" not in run(folder, verbosity=0)
