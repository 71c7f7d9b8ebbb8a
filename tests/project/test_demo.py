"""What the demo puts into the database and says about it."""

from __future__ import annotations

import errno
import sys
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from mediasearch.models import Asset, Generation, Job
from project import content, demo, screen
from project.services import ServiceError
from tests.conftest import picture


def sample(folder: Path, key: str) -> SimpleNamespace:
    path = folder / f"{key}.png"
    path.write_bytes(picture())
    return SimpleNamespace(
        key=key,
        path=path,
        title=f"The {key}",
        caption=f"a picture of {key}",
        tags=("one", "two"),
        category="signs",
        licence="CC0",
        language="en",
        taken=date(2024, 5, 1),
    )


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    found = [sample(tmp_path, key) for key in ("cat", "cat-two", "retina_picture")]
    monkeypatch.setitem(sys.modules, "project.library.catalog", SimpleNamespace(pictures=lambda: found))
    return found


def test_import__all_that_is_known_of_a_picture(db: None, samples: list[Any]) -> None:
    assert list(content.import_library()) == [(1, 3), (2, 3), (3, 3)]

    asset = Asset.objects.get(title="The cat-two")
    assert (asset.caption, asset.tags, asset.category) == ("a picture of cat-two", ["one", "two"], "signs")
    assert (asset.copyright, asset.language, asset.taken_at.date()) == ("CC0", "en", date(2024, 5, 1))
    assert asset.jobs.exists()


def test_import__again_adds_nothing(db: None, samples: list[Any]) -> None:
    for _ in range(3):
        list(content.import_library())

    assert Asset.objects.count() == 3


def test_import__continues_where_it_was_cut_off(db: None, samples: list[Any]) -> None:
    list(content.import_library())
    Asset.objects.get(title="The retina_picture").delete()

    for _ in range(2):
        list(content.import_library())

    assert Asset.objects.count() == 3


def test_import__knows_the_names_of_older_versions(db: None, samples: list[Any]) -> None:
    for name in ("cat.jpg", "cat-two_aBc1234.jpg", "retina_picture.jpg"):
        Asset.objects.create(file=f"mediasearch/2026/01/{name}")
    list(content.import_library())

    assert Asset.objects.count() == 3


def test_prepare__administrator_and_cut_off_jobs(db: None, make_asset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "call_command", lambda *args, **options: None)
    make_asset()
    Job.objects.update(state=Job.State.RUNNING, attempts=3)

    for password in ("first", "second"):
        content.prepare(password)

    user = get_user_model().objects.get()
    assert user.is_superuser
    assert user.check_password("second")
    assert set(Job.objects.values_list("state", "attempts")) == {("pending", 0)}


def test_progress__not_finished_before_the_model_is_there(db: None) -> None:
    assert not content.progress().finished


def test_progress__finished(active_generation: Generation, make_asset: Any, index_all: Any) -> None:
    make_asset()
    before = content.progress()
    index_all()
    after = content.progress()

    assert before.stages["embed_image"] == (0, 1)
    assert not before.finished
    assert after.stages["embed_image"] == (1, 1)
    assert (after.finished, after.pictures, after.failed) == (True, 1, 0)


def test_bars__wide_and_plain() -> None:
    progress = content.Progress(4, {"inspect": (2, 4), "read": (0, 0)}, 0, {"read": "No tesseract."}, False)

    wide = screen.bars(progress, wide=True)
    assert wide[0].count("█") == wide[0].count("░") == 15
    assert wide[2] == "  read waits: No tesseract."
    assert screen.bars(progress, wide=False)[0] == "  inspect 2/4, read 0/0"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ServiceError("PostgreSQL ended at once."), "PostgreSQL ended at once."),
        (OSError(errno.ENOSPC, "No space left on device"), "is full: make room and run it again."),
        (ValueError("what\nelse"), "The demo failed (ValueError: what); see "),
    ],
)
def test_errors__one_sentence(error: Exception, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "LOGS", tmp_path)

    said = demo._sentence(error)

    assert sentence in said
    assert "\n" not in said


def test_secret__kept_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    first = demo._kept_secret(path, 12)

    assert demo._kept_secret(path, 12) == first
    assert path.stat().st_mode & 0o777 == 0o600
