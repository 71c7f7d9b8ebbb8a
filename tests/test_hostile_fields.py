"""What people may put into the admin's fields, and disks that fill up: a sentence, and never an error of the server."""

from __future__ import annotations

import errno
import random
from itertools import count
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from mediasearch.models import Asset
from tests.conftest import MakeAsset, picture
from tests.test_admin import LIST, fields, titles, told

pytestmark = pytest.mark.django_db
CHANCE = random.Random(1)
ODD = {
    "chinese": "".join(chr(CHANCE.randrange(0x4E00, 0x9FA5)) for _ in range(100_000)),
    "one letter": "x" * 100_000,
    "numbers": " ".join(map(str, range(20_000))),
    "nul": "a\x00b",
    "spaces": " \u3000\u00a0 ",
}


def upload(colour: str = "red", name: str = "a.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture(colour), "image/png")


@pytest.mark.parametrize("odd", sorted(ODD))
@pytest.mark.parametrize("field", ["title", "alt_text", "caption", "category", "tags", "language", "copyright"])
def test_add__takes_or_refuses_every_text(admin_client: Client, field: str, odd: str) -> None:
    page = admin_client.post(f"{LIST}add/", fields(file=upload(), **{field: ODD[odd]}))
    assert page.status_code in (200, 302)
    if page.status_code == 200:
        errors = page.context["adminform"].form.errors
        assert set(errors) == {field}
        assert errors[field][0].endswith(".")
        assert not Asset.objects.exists()
        return
    stored = getattr(Asset.objects.get(), field)
    assert all(part == part.strip() for part in (stored if isinstance(stored, list) else [stored]))


@pytest.mark.parametrize("odd", sorted(ODD))
def test_list__answers_every_question(admin_client: Client, make_asset: MakeAsset, odd: str) -> None:
    make_asset("red", title="Fire engine")
    assert admin_client.get("/admin/mediasearch/generation/", {"state__exact": ODD[odd]}).status_code in (200, 302)
    for parameter in ("q", "category", "picture", "is_public__exact", "indexing", "o", "p"):
        page = admin_client.get(LIST, {parameter: ODD[odd]})
        assert page.status_code in (200, 302), parameter
    assert admin_client.get("/admin/mediasearch/job/", {"q": ODD[odd]}).status_code == 200


@pytest.mark.parametrize("odd", sorted(ODD))
@pytest.mark.parametrize("field", ["category", "tags"])
def test_upload__takes_or_refuses_every_text(admin_client: Client, field: str, odd: str) -> None:
    page = admin_client.post(f"{LIST}upload/", {"pictures": [upload()], field: ODD[odd]})
    assert page.status_code in (200, 302)
    assert Asset.objects.exists() is (page.status_code == 302)


@pytest.mark.parametrize("odd", sorted(ODD))
def test_page__answers_every_question(client: Client, make_asset: MakeAsset, odd: str) -> None:
    make_asset("red", title="Fire engine", category="cars")
    for parameter in ("q", "category", "tag", "after", "before", "picture", "scores", "page"):
        assert client.get("/", {parameter: ODD[odd]}).status_code == 200, parameter
        assert client.post("/", {parameter: ODD[odd]}).status_code == 200, parameter


def test_pages__answer_what_is_no_utf8(admin_client: Client, make_asset: MakeAsset) -> None:
    make_asset("red", title="Fire engine")
    for address in (LIST, "/", "/admin/mediasearch/job/"):
        assert admin_client.get(f"{address}?q=a%ED%A0%80b&category=%ff%fe").status_code in (200, 302)


class Filling(FileSystemStorage):
    """A disk that is full when the second picture comes."""

    saved = count(1)

    def _save(self, name: str, content: Any) -> str:
        if next(self.saved) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", "/srv/media/" + name)
        return super()._save(name, content)


@pytest.fixture
def filling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filling, "saved", count(1))
    monkeypatch.setattr(Asset._meta.get_field("file"), "storage", Filling())


def test_upload__onto_a_full_disk_keeps_the_files_before(admin_client: Client, filling: None) -> None:
    files = [upload("red", "1.png"), upload("blue", "2.png"), upload("green", "3.png")]
    page = admin_client.post(f"{LIST}upload/", {"pictures": files}, follow=True)
    assert page.status_code == 200
    assert told(page) == [
        "2 images were added.",
        "“2.png” was not stored: There is no room left for files. Make room, or ask who runs this site.",
    ]
    assert all(asset.file.storage.exists(asset.file.name) for asset in Asset.objects.all())
    assert {asset.file.name.rpartition("/")[2][0] for asset in Asset.objects.all()} == {"1", "3"}


def test_add__onto_a_full_disk_says_so(admin_client: Client, filling: None) -> None:
    assert admin_client.post(f"{LIST}add/", fields(file=upload(), title="one")).status_code == 302
    page = admin_client.post(f"{LIST}add/", fields(file=upload("blue"), title="two"))
    assert page.status_code == 200
    assert "no room left" in page.content.decode()
    assert titles(admin_client.get(LIST)) == ["one"]
