"""The pages that visitors see."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import timedelta
from gettext import GNUTranslations
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import ExifTags, Image

from mediasearch import views
from mediasearch.exceptions import Busy, EncoderUnavailable
from mediasearch.features import opener
from mediasearch.features.local import Local
from mediasearch.models import Asset, Generation
from mediasearch.search.results import Notice, Outcome
from tests.conftest import MakeAsset, picture, workers_write

HOME = "/"
IndexAll = Callable[[], None]


def text_of(response: Any) -> str:
    return response.content.decode()


def fetched(client: Client, address: str, **options: Any) -> Any:
    """Return a response whose file was read to its end, which closes it."""
    response = client.get(address, **options)
    if response.streaming:
        response.sent = b"".join(response.streaming_content)
    return response


def user(name: str = "eve", *permissions: str) -> Any:
    made = get_user_model().objects.create_user(name)
    made.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return made


def test_search__shows_the_best_first_with_its_scores(
    client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    make_asset("blue", title="Sea")
    make_asset("red", title="Fire engine")
    index_all()
    page = client.get(HOME, {"q": "red", "scores": "1"})
    html = text_of(page)
    assert page.context["outcome"].hits[0].asset.title == "Fire engine"
    assert html.index(">Fire engine<") < html.index(">Sea<")
    assert "2 pictures" in html
    assert html.count('<details class="ms-why" open>') == 2
    assert "Appearance" in html


@pytest.mark.parametrize(
    ("flags", "shown"),
    [(None, False), ({}, False), ({"is_staff": True}, True), ({"is_staff": True, "is_superuser": True}, True)],
)
def test_search__shows_timings_to_staff_alone(
    client: Client,
    active_generation: Generation,
    make_asset: MakeAsset,
    index_all: IndexAll,
    flags: dict[str, bool] | None,
    shown: bool,
) -> None:
    make_asset("red", title="Fire engine")
    index_all()
    if flags is not None:
        client.force_login(get_user_model().objects.create_user("eve", **flags))
    for asked in ({"q": "red", "scores": "1"}, {"q": "red"}, {}):
        page = client.get(HOME, asked)
        assert bool(re.search(r"\d ms\b", text_of(page))) is shown
        assert bool(page.context["timings"]) is shown
        assert not [name for name in page.headers if "timing" in name.lower()]
        assert ("<dt>encode</dt>" in text_of(page)) is (shown and "scores" in asked)


def test_search__hides_scores_until_asked(
    client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    make_asset("red", title="Fire engine")
    index_all()
    html = text_of(client.get(HOME, {"q": "red"}))
    assert '<details class="ms-why">' in html
    assert 'href="?q=red&amp;scores=1"' in html


def test_search__names_sizes_and_texts_of_pictures(
    client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    asset = make_asset(picture("red", (64, 48)), title="A title", alt_text="An alt text")
    index_all()
    html = text_of(client.get(HOME))
    asset.refresh_from_db()
    assert f'src="/thumbnail/{asset.pk}/?v={asset.content_hash[:12]}"' in html
    assert 'alt="An alt text" width="64" height="48"' in html


def test_search__without_words_shows_the_newest_and_examples(client: Client, make_asset: MakeAsset) -> None:
    make_asset("red", title="Older", created_at=timezone.now() - timedelta(days=1))
    make_asset("red", title="Newer")
    html = text_of(client.get(HOME))
    assert html.index("Newer") < html.index("Older")
    assert html.count('<li><a href="/?q=') == 3


@pytest.mark.django_db
def test_search__of_an_empty_library_says_how_to_fill_it(client: Client, admin_client: Client) -> None:
    assert "There are no pictures here yet" in text_of(client.get(HOME))
    assert "mediasearch_import" not in text_of(client.get(HOME))
    staff = text_of(admin_client.get(HOME))
    assert "mediasearch_import" in staff
    assert reverse("admin:mediasearch_asset_upload") in staff


def test_search__that_finds_nothing_says_what_to_try(client: Client, make_asset: MakeAsset) -> None:
    make_asset("red", title="Fire engine", category="cars")
    html = text_of(client.get(HOME, {"q": "zebra", "category": "ships"}))
    assert "Nothing was found" in html
    assert 'href="?q=zebra"' in html


def test_search__says_which_signals_stepped_aside(client: Client, make_asset: MakeAsset) -> None:
    make_asset("red", title="Fire engine")
    html = text_of(client.get(HOME, {"q": "fire"}))
    assert "This search did without some of its signals" in html
    assert "No picture has been encoded yet" in html
    assert "Fire engine" in html


def test_search__says_how_many_wait(
    client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    for number in range(10):
        make_asset("red", title=f"Fire engine {number}")
    index_all()
    make_asset("red", title="Just added")
    assert "1 picture is not fully indexed yet" in text_of(client.get(HOME, {"q": "red"}))
    make_asset("red", title="Added, too")
    said = text_of(client.get(HOME, {"q": "red"}))
    assert "2 of 12 pictures are not indexed: only their words find them." in said
    assert "fully" not in said


def test_search__marks_a_total_that_is_a_lower_bound(
    client: Client, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = views.engine.search(scope=Asset.objects.filter(pk=make_asset("red").pk)).outcome.hits
    outcome = Outcome(hits=hits, total=1_234, total_is_exact=False, notices=(Notice("image", "<b>Why</b>"),))
    monkeypatch.setattr(views, "_outcome", lambda form, page, user, client: form.is_valid() and outcome)
    html = text_of(client.get(HOME, {"q": "red"}))
    assert "at least 1,234 pictures" in html
    assert "&lt;b&gt;Why" in html


HOSTILE = [
    "page=0", "page=-1", "page=x", "page=99999999999999999999", "page=²", "page=1000", "page=",
    "q=a%00b", "q=%00", "q=" + "x" * 10_000, "q=" + "x" * 2_000, "q=%F0%9F%A6%84", "q=100%25", "q=%25s", "q=%zz",
    "q='", "q=%22", "q='%3B DROP TABLE mediasearch_asset%3B--", "q=%ff%fe", "q=%ED%A0%80", "q=!!!", "q=()%26|:*",
    "q=<script>",
    "q=-", "category=%00", "category=" + "c" * 500, "category='", "tag=%00", "tag=" + "t," * 600, "tag=,,,", "tag={a}",
    "after=x", "after=2024-02-30", "after=0000-00-00", "after=0001-01-01", "before=9999-12-31", "before=%00",
    "after=1000-01-01&before=9998-12-31", "after=2025-01-01&before=2024-01-01", "scores=x", "scores=%00",
    "page=2&scores=1", "q=red&page=42", "unknown=1", "picture=%00", "picture=x", "picture=<script>", "upload=a.png",
    "picture=" + "p" * 5_000, "like=&q=red",
]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai"])
def test_search__survives_every_input(
    client: Client, active_generation: Generation, make_asset: MakeAsset, settings: Any, zone: str, query: str
) -> None:
    settings.TIME_ZONE = zone
    make_asset("red", title="Fire engine", category="cars")
    page = client.get(f"{HOME}?{query}")
    assert page.status_code == 200
    assert b"<script>alert" not in page.content
    assert b"q=<script>" not in page.content


def test_search__escapes_what_it_repeats(client: Client, make_asset: MakeAsset) -> None:
    make_asset("red", title="<script>alert(1)</script>", category="<i>", tags=["<u>"])
    page = client.get(HOME, {"q": '"><script>alert(1)</script>', "tag": "<u>", "category": "<i>"})
    for tag in (b"<script>alert", b"<i>", b"<u>"):
        assert tag not in page.content


def test_search__pages(client: Client, make_asset: MakeAsset, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"PAGE_SIZE": 2}
    for number in range(5):
        make_asset("red", title=f"No {number}")
    first, second, last = (client.get(HOME, {"page": number}) for number in (1, 2, 3))
    titles = [hit.asset.title for page in (first, second, last) for hit in page.context["outcome"].hits]
    assert titles == ["No 4", "No 3", "No 2", "No 1", "No 0"]
    assert (first.context["links"]["previous"], first.context["links"]["next"]) == ("", "?page=2")
    assert (last.context["links"]["previous"], last.context["links"]["next"]) == ("?page=2", "")
    assert 'rel="prev"' in text_of(last)
    beyond = client.get(HOME, {"page": 4})
    assert "There are no more pictures on this page" in text_of(beyond)


def test_search__pages_no_deeper_than_can_be_ranked(
    client: Client, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = views.engine.search(scope=Asset.objects.filter(pk=make_asset("red").pk)).outcome.hits
    outcome = Outcome(hits=hits * 16, total=5_000)
    monkeypatch.setattr(views, "_outcome", lambda form, page, user, client: form.is_valid() and outcome)
    page = client.get(HOME, {"page": 900})
    assert page.context["page"].number == 42
    assert page.context["page"].offset + page.context["page"].limit == 1_000
    assert page.context["links"]["next"] == ""
    assert "These are the last" in text_of(page)


@pytest.mark.parametrize("method", ["put", "delete"])
def test_search__is_only_read(client: Client, method: str) -> None:
    assert getattr(client, method)(HOME).status_code == 405


@pytest.fixture
def colours(active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll) -> dict[str, Asset]:
    """Five indexed pictures, each of its colour; two of a category."""
    made = {
        colour: make_asset(colour, title=f"{colour} one", category="warm" if colour in ("red", "yellow") else "")
        for colour in ("blue", "red", "green", "yellow", "purple")
    }
    index_all()
    return made


def titles(page: Any) -> list[str]:
    return [hit.asset.title for hit in page.context["outcome"].hits]


def post(client: Client, data: bytes, name: str = "mine.png", **fields: Any) -> Any:
    return client.post(HOME, {"upload": SimpleUploadedFile(name, data, "image/png"), **fields})


def test_picture__finds_what_looks_alike(client: Client, colours: dict[str, Asset]) -> None:
    page = post(client, picture("red", (300, 200), "JPEG"), "my cat.jpg")
    html = text_of(page)
    assert (page.status_code, titles(page)[0]) == (200, "red one")
    assert 'src="data:image/webp;base64,' in html
    assert "my cat.jpg" in html
    assert "most alike first" in html
    assert 'enctype="multipart/form-data"' in html


def test_picture__pages_filters_and_words_need_no_second_upload(
    client: Client, colours: dict[str, Asset], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"PAGE_SIZE": 2}
    first = post(client, picture("red"))
    monkeypatch.setattr(opener, "for_question", lambda *args: pytest.fail("It was opened again."))
    second = client.get(HOME + first.context["links"]["next"])
    third = client.get(HOME + second.context["links"]["next"])
    assert sorted(titles(first) + titles(second) + titles(third)) == sorted(a.title for a in colours.values())
    assert titles(first)[0] == "red one"
    (key,) = first.context["picture"].parameters["picture"]
    assert f'<input type="hidden" name="picture" value="{key}">' in text_of(second)
    narrowed = client.get(HOME, {"picture": key, "category": "warm", "q": "yellow"})
    assert titles(narrowed) == ["yellow one", "red one"]
    assert narrowed.context["links"]["without_picture"] == "?q=yellow&category=warm"
    assert f"picture={key}" in narrowed.context["links"]["anything"]
    assert f"picture={key}" in narrowed.context["links"]["scores"]


def test_picture__of_a_user_shows_to_nobody_else(client: Client, colours: dict[str, Asset]) -> None:
    client.force_login(user("eve"))
    page = client.post(HOME, {"upload": SimpleUploadedFile("mine.png", picture("red"))})
    address = page.context["address"]
    assert "mine.png" in text_of(client.get(HOME + address))
    client.force_login(user("dan"))
    for other in (client, Client()):
        html = text_of(other.get(HOME + address))
        assert "no longer kept here" in html
        assert "mine.png" not in html
        assert "data:image/webp" not in html


def test_picture__is_posted_with_words_and_filters(client: Client, colours: dict[str, Asset]) -> None:
    page = post(client, picture("red"), q="yellow", category="warm", tag="", after="", before="", scores="1")
    assert titles(page) == ["yellow one", "red one"]
    (key,) = page.context["picture"].parameters["picture"]
    assert page.context["address"] == f"?q=yellow&picture={key}&category=warm&scores=1"
    assert f'data-address="?q=yellow&amp;picture={key}' in text_of(page)


def test_picture__is_protected_from_other_sites(colours: dict[str, Asset]) -> None:
    client = Client(enforce_csrf_checks=True)
    assert post(client, picture("red")).status_code == 403
    client.get(HOME)
    token = client.cookies["csrftoken"].value
    assert titles(post(client, picture("red"), csrfmiddlewaretoken=token))[0] == "red one"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"just words", "This file is not an image"),
        (b"", "The submitted file is empty."),
        (b"%PDF-1.7", "This is a PDF, not an image."),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG drawings are not accepted. Export it as PNG."),
        (picture("red", (400, 300), "JPEG")[:-400], "This image is damaged or cut short"),
    ],
)
def test_picture__that_is_refused_says_why(
    client: Client, colours: dict[str, Asset], data: bytes, sentence: str
) -> None:
    page = post(client, data, q="red", category="warm")
    html = text_of(page)
    assert page.status_code == 200
    assert sentence in html
    assert page.context["outcome"] is None
    assert page.context["address"] == "?q=red&category=warm"
    assert 'value="red"' in html


def test_picture__that_is_too_large_is_not_read(
    client: Client, colours: dict[str, Asset], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"MAX_BYTES": 100}
    monkeypatch.setattr(opener, "load", lambda stream: pytest.fail("The file was read."))
    assert "Upload a smaller copy." in text_of(post(client, picture("red")))


def test_picture__while_others_are_opened_is_to_be_sent_again(
    client: Client, colours: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn_away(*args: Any) -> None:
        raise Busy

    with monkeypatch.context() as patch:
        patch.setattr(opener, "for_question", turn_away)
        page = post(client, picture("red"), q="yellow", category="warm")
    html = text_of(page)
    assert (page.status_code, page.headers["Retry-After"]) == (503, "2")
    assert "Other searches are having their pictures opened. Search again in a moment." in html
    assert page.context["address"] == "?q=yellow&category=warm"
    assert html.count('value="yellow"') == 2  # In the form of the words, and in that of the picture.
    assert "Retry-After" not in (again := post(client, picture("red"), q="yellow", category="warm")).headers
    assert titles(again) == ["yellow one", "red one"]


def test_picture__that_is_gone_is_asked_for_again(client: Client, colours: dict[str, Asset]) -> None:
    first = post(client, picture("red"))
    (key,) = first.context["picture"].parameters["picture"]
    cache.clear()
    page = client.get(HOME, {"picture": key, "q": "red"})
    assert "This picture is no longer kept here. Choose it again." in text_of(page)
    assert page.context["outcome"] is None
    assert f'value="{key}"' not in text_of(page)


def test_picture__of_another_model_is_asked_for_again(client: Client, colours: dict[str, Asset]) -> None:
    first = post(client, picture("red"))
    Generation.objects.update(fingerprint="another/16")
    page = client.get(HOME + first.context["links"]["first"])
    assert "Searches use another model since this picture was chosen." in text_of(page)


def test_picture__while_the_encoder_is_down(
    client: Client, colours: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise EncoderUnavailable("Nobody <answers>.")

    monkeypatch.setattr(Local, "encode_images", fail)
    page = post(client, picture("red"))
    html = text_of(page)
    assert page.status_code == 200
    assert "This picture could not be compared" in html
    assert "Nobody &lt;answers&gt;." in html
    assert page.context["address"] == "?"
    assert titles(post(client, picture("red"), q="blue"))[0] == "blue one"


def test_picture__escapes_its_name(client: Client, colours: dict[str, Asset]) -> None:
    page = post(client, picture("red"), "<script>alert(1)<\"'x>.png")
    assert b"<script>alert" not in page.content
    assert b"&lt;script&gt;" in page.content
    again = client.get(HOME + page.context["links"]["first"])
    assert b"<script>alert" not in again.content


def test_picture__shows_nothing_that_the_file_says(client: Client, colours: dict[str, Asset]) -> None:
    """Where a visitor's own photo was taken is no business of the page, nor of what it keeps."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (47.0, 22.0, 33.0)
    exif[ExifTags.Base.ImageDescription] = "At home"
    page = post(client, picture("red", (300, 200), "JPEG", exif=exif))
    kept = page.context["outcome"].picture
    small = Image.open(io.BytesIO(kept.thumbnail))
    assert (small.size, dict(small.getexif())) == ((128, 85), {})
    assert b"At home" not in page.content + kept.thumbnail


def test_picture__where_searches_take_none(
    client: Client, colours: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Local, "pictures", False)
    assert 'type="file"' not in text_of(client.get(HOME))


def test_like__finds_others_by_the_stored_vector(client: Client, colours: dict[str, Asset]) -> None:
    red = colours["red"]
    address = f"{HOME}?like={red.pk}"
    assert f'href="{address}"' in text_of(client.get(reverse("mediasearch:asset", args=[red.pk])))
    page = client.get(address)
    assert "red one" not in titles(page)
    assert page.context["outcome"].total == 4
    assert f'<input type="hidden" name="like" value="{red.pk}">' in text_of(page)
    assert titles(client.get(address, {"like": red.pk, "category": "warm"})) == ["yellow one"]


def test_like__a_picture_without_a_vector_offers_no_link(client: Client, make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    assert "like=" not in text_of(client.get(reverse("mediasearch:asset", args=[asset.pk])))


@pytest.mark.parametrize("like", ["x", "-1", "0", "99999", "9" * 18, "9" * 19, "9" * 5_000, "1.5", "²", "%00"])
def test_like__what_is_not_there_is_not_found(client: Client, colours: dict[str, Asset], like: str) -> None:
    assert client.get(f"{HOME}?like={like}").status_code == 404


def test_like__what_may_not_be_seen_is_not_found(client: Client, colours: dict[str, Asset]) -> None:
    hidden, owner = colours["red"], user("owner")
    Asset.objects.filter(pk=hidden.pk).update(is_public=False, owner=owner)
    for who, status in ((None, 404), (user("other"), 404), (owner, 200)):
        if who:
            client.force_login(who)
        assert client.get(HOME, {"like": hidden.pk}).status_code == status
        assert client.post(HOME, {"like": hidden.pk}).status_code == status


def test_private__is_nowhere_for_a_visitor(
    client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    make_asset("red", title="Open", category="open")
    hidden = make_asset("red", title="Covert", category="covert", tags=["covert"], is_public=False)
    index_all()
    for query in ({}, {"q": "red"}, {"q": "covert"}, {"category": "covert"}, {"tag": "covert"}):
        page = client.get(HOME, query)
        assert "Covert" not in text_of(page)
        assert page.context["outcome"].total <= 1
    assert "covert" not in text_of(client.get(HOME))
    for name in ("asset", "thumbnail", "original"):
        assert client.get(reverse(f"mediasearch:{name}", args=[hidden.pk])).status_code == 404


def test_private__is_there_for_its_owner_and_for_viewers(
    client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    owner, viewer, other = user("owner"), user("viewer", "view_asset"), user("other")
    hidden = make_asset("red", title="Covert", is_public=False, owner=owner)
    index_all()
    for who, status in ((owner, 200), (viewer, 200), (other, 404)):
        client.force_login(who)
        for name in ("asset", "thumbnail", "original"):
            assert fetched(client, reverse(f"mediasearch:{name}", args=[hidden.pk])).status_code == status


def test_asset__shows_all_that_is_known(
    client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    made = make_asset(
        "red", title="Fire engine", caption="A caption", category="cars & vans", tags=["red, hot"], copyright="Me"
    )
    index_all()
    workers_write(Asset.objects.filter(pk=made.pk), ocr_text="<script>alert(1)</script>")
    html = text_of(client.get(reverse("mediasearch:asset", args=[made.pk])))
    for part in ("Fire engine", "A caption", "?category=cars%20%26%20vans", "64 × 48 pixels", "Me", "&lt;script&gt;"):
        assert part in html
    assert "<script>alert" not in html
    assert "Edit" not in html


def test_asset__links_to_its_editor_for_those_who_may(client: Client, make_asset: MakeAsset) -> None:
    made = make_asset("red")
    client.force_login(user("editor", "change_asset"))
    html = text_of(client.get(reverse("mediasearch:asset", args=[made.pk])))
    assert reverse("admin:mediasearch_asset_change", args=[made.pk]) in html


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["asset", "thumbnail", "original"])
@pytest.mark.parametrize("pk", ["0", "99", "9" * 30, "9" * 5_000])
def test_files__that_do_not_exist(client: Client, name: str, pk: str) -> None:
    address = reverse(f"mediasearch:{name}", args=[12_345]).replace("12345", pk)
    assert client.get(address).status_code == 404


@pytest.fixture
def indexed(active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll) -> Asset:
    made = make_asset("red", title="Fire engine")
    index_all()
    made.refresh_from_db()
    return made


def test_thumbnail__is_kept_by_shared_caches_for_less_than_five_minutes(client: Client, indexed: Asset) -> None:
    page = client.get(reverse("mediasearch:thumbnail", args=[indexed.pk]), {"v": indexed.content_hash[:12]})
    assert page.headers["Content-Type"] == "image/webp"
    assert page.headers["Cache-Control"] == "public, max-age=240"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.content[8:12] == b"WEBP"


@pytest.mark.parametrize("version", ["", "other"])
def test_thumbnail__of_another_version_is_asked_for_again(client: Client, indexed: Asset, version: str) -> None:
    page = client.get(reverse("mediasearch:thumbnail", args=[indexed.pk]), {"v": version})
    assert page.headers["Cache-Control"] == "public, no-cache"


def test_thumbnail__of_a_private_picture_stays_out_of_shared_caches(client: Client, indexed: Asset) -> None:
    Asset.objects.update(is_public=False)
    client.force_login(user("viewer", "view_asset"))
    page = client.get(reverse("mediasearch:thumbnail", args=[indexed.pk]), {"v": indexed.content_hash[:12]})
    assert page.headers["Cache-Control"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize("name", ["thumbnail", "original"])
def test_files__are_not_sent_twice(client: Client, indexed: Asset, name: str) -> None:
    address = reverse(f"mediasearch:{name}", args=[indexed.pk])
    etag = fetched(client, address).headers["ETag"]
    again = client.get(address, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert fetched(client, address, headers={"If-None-Match": '"other"'}).status_code == 200


def test_files__have_another_etag_after_a_change(client: Client, indexed: Asset) -> None:
    address = reverse("mediasearch:original", args=[indexed.pk])
    before = fetched(client, address).headers["ETag"]
    indexed.file.save("new.png", ContentFile(picture("blue")))
    assert fetched(client, address).headers["ETag"] != before


@pytest.mark.parametrize("name", ["thumbnail", "original"])
def test_files__that_are_gone_are_not_found(client: Client, indexed: Asset, name: str) -> None:
    storage = indexed.file.storage
    storage.delete(indexed.thumbnail)
    storage.delete(indexed.file.name)
    assert client.get(reverse(f"mediasearch:{name}", args=[indexed.pk])).status_code == 404


@pytest.mark.parametrize("name", ["thumbnail", "original"])
def test_files__of_a_storage_that_is_down(
    client: Client, indexed: Asset, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(type(indexed.file.storage), "_open", fail)
    page = client.get(reverse(f"mediasearch:{name}", args=[indexed.pk]))
    assert (page.status_code, page.headers["Cache-Control"]) == (503, "no-store")


@pytest.mark.parametrize("name", ["thumbnail", "original"])
def test_files__of_a_public_picture_are_the_same_for_everybody(client: Client, indexed: Asset, name: str) -> None:
    address = reverse(f"mediasearch:{name}", args=[indexed.pk]) + f"?v={indexed.content_hash[:12]}"
    anonymous = client.get(address)
    client.force_login(user("viewer", "view_asset"))
    known = client.get(address)
    assert b"".join(known) == b"".join(anonymous)
    assert dict(known.headers) == dict(anonymous.headers)


@pytest.mark.parametrize("name", ["thumbnail", "original"])
def test_files__made_private_are_gone_though_their_version_is_known(client: Client, indexed: Asset, name: str) -> None:
    address = reverse(f"mediasearch:{name}", args=[indexed.pk])
    etag = fetched(client, address).headers["ETag"]
    Asset.objects.update(is_public=False)
    assert client.get(address, headers={"If-None-Match": etag}).status_code == 404


@pytest.mark.parametrize(
    ("title", "mime_type", "name"),
    [
        ("Fire engine", "image/png", "fire-engine.png"),
        ("", "image/jpeg", "evil.jpg"),
        ("IMG_1234.JPG", "image/heic", "img_1234.heic"),
        ("../../etc/passwd", "text/html", "etc-passwd.bin"),
        ("夜里的红色汽车", "image/png", "夜里的红色汽车.png"),
        ("\u202egpj.exe", "image/png", "gpj.png"),
    ],
)
def test_original__is_called_by_its_title_and_its_content(
    client: Client, make_asset: MakeAsset, title: str, mime_type: str, name: str
) -> None:
    made = make_asset(name="evil.html", title=title)
    workers_write(Asset.objects.all(), mime_type=mime_type)
    header = fetched(client, reverse("mediasearch:original", args=[made.pk])).headers["Content-Disposition"]
    assert unquote(header.partition("filename")[2].partition("=")[2]).strip('"').removeprefix("utf-8''") == name


def test_original__is_sent_as_what_it_is(client: Client, indexed: Asset) -> None:
    page = fetched(client, reverse("mediasearch:original", args=[indexed.pk]))
    assert page.sent == picture("red")
    assert page.headers["Content-Type"] == "image/png"
    assert page.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Content-Disposition"].startswith("inline")


@pytest.mark.parametrize("mime_type", ["", "text/html", "image/svg+xml"])
def test_original__that_is_no_known_picture_is_downloaded(client: Client, indexed: Asset, mime_type: str) -> None:
    workers_write(Asset.objects.all(), mime_type=mime_type)
    page = fetched(client, reverse("mediasearch:original", args=[indexed.pk]))
    assert page.sent
    assert page.headers["Content-Type"] == "application/octet-stream"
    assert page.headers["Content-Disposition"].startswith("attachment")


def test_pages__speak_chinese(client: Client, active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset("red", title="Fire engine")
    html = text_of(client.get(HOME, headers={"Accept-Language": "zh-CN"}))
    assert '<html lang="zh-hans">' in html
    assert "搜索" in html
    assert "1 张图片" in html
    refused = {"upload": SimpleUploadedFile("a.svg", b"<svg/>")}
    assert "不接受这种格式" in text_of(client.post(HOME, refused, headers={"Accept-Language": "zh-CN"}))
    assert "请重新选择" in text_of(client.get(HOME, {"picture": "x" * 22}, headers={"Accept-Language": "zh-CN"}))


def test_translation__is_complete_and_compiled() -> None:
    folder = Path(views.__file__).parent / "locale" / "zh_Hans" / "LC_MESSAGES"
    written = (folder / "django.po").read_text()
    with (folder / "django.mo").open("rb") as compiled:
        known = GNUTranslations(compiled)._catalog  # type: ignore[attr-defined]
    assert "fuzzy" not in written
    assert all(known.values())
    assert len(known) == len(re.findall(r"^msgid ", written, re.MULTILINE))
