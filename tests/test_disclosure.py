"""What leaves the site: each format, by each way."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from benchmarks.faults import judges
from benchmarks.faults import telltale as samples
from mediasearch.models import Asset, Generation
from tests.conftest import MakeAsset
from tests.features.disclosure import needs_exiftool

IndexAll = Callable[[], None]
EACH = pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "avif", "heic", "gif"])


def user(name: str = "eve", *permissions: str, **fields: Any) -> Any:
    made = get_user_model().objects.create_user(name, **fields)
    made.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return made


def fetched(client: Client, address: str, **options: Any) -> Any:
    """Return a response with all that was sent, headers too, as `sent`."""
    response = client.get(address, **options)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    response.body = body
    response.sent = str(dict(response.headers)).encode() + body
    return response


def secrets(sent: bytes) -> list[bytes]:
    return [secret for secret in samples.SECRETS if secret in sent]


@pytest.fixture
def indexed(active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll) -> Callable[[str], Asset]:
    def make(name: str, **fields: Any) -> Asset:
        made = make_asset(samples.FORMATS[name](), f"a.{name}", **fields)
        index_all()
        made.refresh_from_db()
        return made

    return make


@EACH
def test_ways_out__say_nothing_private(client: Client, indexed: Callable[[str], Asset], name: str) -> None:
    asset = indexed(name)
    original, page, thumbnail = (
        fetched(client, reverse(f"mediasearch:{way}", args=[asset.pk])) for way in ("original", "asset", "thumbnail")
    )
    upload = {"upload": SimpleUploadedFile("a.jpg", samples.FORMATS[name]())}
    asked = client.post(reverse("mediasearch:search"), upload)
    (inline,) = re.findall(rb"data:image/webp;base64,([\w+/=]+)", asked.content)
    client.force_login(user("editor", "view_asset", "change_asset", "view_job", is_staff=True))
    changing = fetched(client, reverse("admin:mediasearch_asset_change", args=[asset.pk]))
    ways = {
        "original": original.sent, "page": page.sent, "thumbnail": thumbnail.sent, "search": asked.content,
        "inline": base64.b64decode(inline), "admin": changing.sent,
        "original for an editor": fetched(client, reverse("mediasearch:original", args=[asset.pk])).sent,
    }  # fmt: skip
    assert {way: found for way, sent in ways.items() if (found := secrets(sent))} == {}
    assert list(judges.frames(original.body)) == list(judges.frames(samples.FORMATS[name]()))
    assert b"Exif" not in thumbnail.body
    assert b"xmp" not in thumbnail.body.lower()


@needs_exiftool
@EACH
def test_ways_out__exiftool_finds_nothing_private(client: Client, indexed: Callable[[str], Asset], name: str) -> None:
    asset = indexed(name)
    for way in ("original", "thumbnail"):
        assert judges.private(fetched(client, reverse(f"mediasearch:{way}", args=[asset.pk])).body) == set()


@EACH
def test_original__is_untouched_for_those_who_may(client: Client, indexed: Callable[[str], Asset], name: str) -> None:
    asset = indexed(name)
    client.force_login(user("archivist", "download_untouched"))
    assert fetched(client, reverse("mediasearch:original", args=[asset.pk])).body == samples.FORMATS[name]()


def test_original__is_cached_apart_for_those_who_may(client: Client, indexed: Callable[[str], Asset]) -> None:
    asset = indexed("jpeg")
    address = reverse("mediasearch:original", args=[asset.pk]) + f"?v={asset.content_hash[:12]}"
    cleared = fetched(client, address)
    assert fetched(client, address, headers={"If-None-Match": cleared.headers["ETag"]}).status_code == 304
    client.force_login(user("archivist", "download_untouched"))
    untouched = fetched(client, address, headers={"If-None-Match": cleared.headers["ETag"]})
    assert (untouched.status_code, untouched.body) == (200, samples.jpeg())
    assert untouched.headers["Cache-Control"] == "private, no-cache"
    assert untouched.headers["ETag"] != cleared.headers["ETag"]
    client.logout()
    again = fetched(client, address, headers={"If-None-Match": untouched.headers["ETag"]})
    assert (again.status_code, again.body) == (200, cleared.body)
    assert cleared.headers["Cache-Control"].startswith("public")


def test_original__head_says_what_get_says(client: Client, indexed: Callable[[str], Asset]) -> None:
    address = reverse("mediasearch:original", args=[indexed("png").pk])
    head, got = client.head(address), fetched(client, address)
    head.close()
    assert head.headers == got.headers
    assert int(head.headers["Content-Length"]) == len(got.body)


@pytest.mark.django_db
def test_original__that_can_not_be_cleared_is_refused(client: Client, make_asset: MakeAsset) -> None:
    owner = user("owner")
    asset = make_asset(samples.jpeg()[:2_000], "a.jpg", owner=owner)
    address = reverse("mediasearch:original", args=[asset.pk])
    refused = fetched(client, address)
    assert (refused.status_code, refused.headers["Cache-Control"]) == (403, "no-store")
    assert b"Only its owner and those who are permitted may download it." in refused.body
    client.force_login(owner)
    assert fetched(client, address).body == samples.jpeg()[:2_000]
