"""The admin: uploads are checked, searches rank, jobs are tried again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mediasearch.exceptions import Busy, EncoderUnavailable
from mediasearch.features import opener
from mediasearch.features.local import Local
from mediasearch.indexing import pruning
from mediasearch.models import Asset, Generation, Job, Pause, Stage
from tests.conftest import MakeAsset, picture

IndexAll = Callable[[], None]
LIST = "/admin/mediasearch/asset/"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def upload(data: bytes, name: str = "a.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, "image/png")


def fields(**given: Any) -> dict[str, Any]:
    return {"title": "", "tags": "", "is_public": "on", "taken_at_0": "", "taken_at_1": ""} | given


def change(asset: Asset) -> str:
    return reverse("admin:mediasearch_asset_change", args=[asset.pk])


def staff(*permissions: str) -> Client:
    user = get_user_model().objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def told(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def titles(response: Any) -> list[str]:
    return [asset.title for asset in response.context["cl"].result_list]


@pytest.fixture
def three(active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll) -> None:
    for colour in ("blue", "red", "green"):
        make_asset(colour, title=f"{colour} thing", category="cold" if colour == "blue" else "warm")
    index_all()


def test_add__stores_the_picture_and_its_owner(admin_client: Client, admin_user: Any) -> None:
    data = picture("red")
    answer = admin_client.post(f"{LIST}add/", fields(file=upload(data), title="Fire", tags="a, b, a", category="cars"))
    assert answer.status_code == 302
    asset = Asset.objects.get()
    assert (asset.title, asset.tags, asset.owner) == ("Fire", ["a", "b"], admin_user)
    with asset.file.open() as stored:
        assert stored.read() == data
    assert asset.jobs.filter(state=Job.State.PENDING).exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"just words", "This file is not an image"),
        (SVG, "SVG drawings are not accepted. Export it as PNG."),
        (picture("red", (400, 300), "JPEG")[:-400], "This image is damaged or cut short"),
        (b"", "The submitted file is empty."),
    ],
)
def test_add__refuses_with_a_sentence(admin_client: Client, data: bytes, sentence: str) -> None:
    answer = admin_client.post(f"{LIST}add/", fields(file=upload(data), title="Kept"))
    assert sentence in answer.content.decode()
    assert 'value="Kept"' in answer.content.decode()
    assert not Asset.objects.exists()


def test_add__refuses_what_is_too_large(admin_client: Client, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"MAX_BYTES": 50}
    answer = admin_client.post(f"{LIST}add/", fields(file=upload(picture("red"))))
    assert "Upload a smaller copy." in answer.content.decode()
    assert not Asset.objects.exists()


def test_change__of_a_title_owes_the_caption_vector_alone(
    admin_client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    asset = make_asset("red", title="Old", tags=["a"], alt_text="alt")
    index_all()
    Asset.objects.filter(pk=asset.pk).record(ocr_text="read", ocr_words=[{"text": "read"}])
    asset.refresh_from_db()
    answer = admin_client.post(change(asset), fields(title="New", tags="a", alt_text="alt"))
    assert answer.status_code == 302
    now = Asset.objects.get()
    assert now.title == "New"
    for name in ("file", "tags", "alt_text", "ocr_text", "ocr_words", "content_hash", "thumbnail", "width", "owner"):
        assert getattr(now, name) == getattr(asset, name), name
    assert [job.stage for job in Job.objects.filter(state=Job.State.PENDING)] == [Stage.EMBED_CAPTION]
    assert "new" in str(Asset.objects.values_list("text_vector", flat=True).get())


def test_change__of_the_file_indexes_it_again(
    admin_client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    asset = make_asset("red", title="Old")
    index_all()
    admin_client.post(change(asset), fields(title="Old", file=upload(picture("blue"), "b.png")))
    pending = set(Job.objects.filter(state=Job.State.PENDING).values_list("stage", flat=True))
    assert pending >= {Stage.INSPECT, Stage.EMBED_IMAGE}


def test_change__shows_what_is_known(
    admin_client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    asset = make_asset("red", title="Fire")
    make_asset(b"no picture", "broken.png", title="Broken")
    index_all()
    html = admin_client.get(change(asset)).content.decode()
    assert "64 × 48, image/png" in html
    assert "embed image: done" in html
    assert (
        "failed (This file is not an image"
        in admin_client.get(change(Asset.objects.get(title="Broken"))).content.decode()
    )


def test_change__of_another_source_is_left_to_it(admin_client: Client) -> None:
    asset = Asset.objects.create(source="elsewhere", object_id=1, title="Foreign")
    page = admin_client.get(change(asset))
    assert page.status_code == 200
    assert "elsewhere, which is not registered" in page.content.decode()
    assert 'name="title"' not in page.content.decode()
    assert admin_client.post(change(asset), fields(title="New")).status_code == 403
    assert admin_client.get(LIST).status_code == 200


def test_delete__needs_no_permission_for_jobs(make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    client = staff("view_asset", "delete_asset")
    assert client.post(reverse("admin:mediasearch_asset_delete", args=[asset.pk]), {"post": "yes"}).status_code == 302
    assert not Asset.objects.exists()


def test_list__says_how_far_indexing_is(
    admin_client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    make_asset("red", title="Fine")
    make_asset(b"no picture", "broken.png", title="Broken")
    index_all()
    make_asset("red", title="New")
    html = admin_client.get(LIST).content.decode()
    assert "failed: This file is not an image" in html
    assert titles(admin_client.get(LIST, {"indexing": "failed"})) == ["Broken"]
    assert titles(admin_client.get(LIST, {"indexing": "waiting"})) == ["New"]


def test_indexing__is_done_where_the_jobs_were_pruned(
    admin_client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    asset = make_asset("red", title="Old")
    index_all()
    Job.objects.update(finished_at=timezone.now() - timedelta(days=40))
    pruning.prune_jobs(100)
    assert not asset.jobs.exists()
    assert "waiting</td>" not in admin_client.get(LIST).content.decode()
    page = admin_client.get(change(asset)).content.decode()
    assert "inspect: done<br>read: done<br>embed image: done<br>embed caption: done" in page


def test_list__costs_the_same_queries_for_any_number_of_pictures(
    admin_client: Client, make_asset: MakeAsset, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        make_asset("red", title=f"No {number}")
    with django_assert_max_num_queries(12):
        admin_client.get(LIST)


def test_list__shows_what_is_paused(admin_client: Client) -> None:
    until = timezone.now() + timedelta(minutes=1)
    Pause.objects.create(stage=Stage.READ, reason="No <tesseract>.", until=until)
    html = admin_client.get(LIST).content.decode()
    assert "Indexing waits (read): No &lt;tesseract&gt;." in html


def test_search__ranks(admin_client: Client, three: None) -> None:
    assert titles(admin_client.get(LIST, {"q": "red"}))[0] == "red thing"
    assert titles(admin_client.get(LIST, {"q": "blue"}))[0] == "blue thing"


def test_search__stays_within_the_filters(admin_client: Client, three: None) -> None:
    page = admin_client.get(LIST, {"q": "blue", "category": "warm"})
    assert sorted(titles(page)) == ["green thing", "red thing"]
    assert page.context["cl"].result_count == 2


def test_search__respects_a_sorted_column(admin_client: Client, three: None) -> None:
    assert titles(admin_client.get(LIST, {"q": "red", "o": "2"})) == ["blue thing", "green thing", "red thing"]
    assert titles(admin_client.get(LIST, {"q": "red", "o": "-2"})) == ["red thing", "green thing", "blue thing"]


def test_search__with_counts_of_filters(admin_client: Client, three: None) -> None:
    page = admin_client.get(LIST, {"q": "red", "_facets": "True"})
    assert page.status_code == 200
    assert titles(page)[0] == "red thing"


def test_search__that_cannot_be_asked_says_so(admin_client: Client, three: None) -> None:
    page = admin_client.get(LIST, {"q": "x" * 2_001, "_facets": "True"})
    assert titles(page) == []
    assert told(page) == ["A question has 2001 characters; at most 2000 can be asked."]


def test_search__says_which_signals_stepped_aside(admin_client: Client, make_asset: MakeAsset) -> None:
    make_asset("red", title="Fire engine")
    page = admin_client.get(LIST, {"q": "fire"})
    assert titles(page) == ["Fire engine"]
    assert any(sentence.startswith("Appearance: No picture has been encoded yet") for sentence in told(page))


@pytest.mark.parametrize("text", ["%", "'", '"', "\x00", "🦄", "!!!", " ", "-x"])
def test_search__survives_every_input(admin_client: Client, three: None, text: str) -> None:
    assert admin_client.get(LIST, {"q": text}).status_code == 200


def send(client: Client, data: bytes, name: str = "mine.png", query: str = "") -> Any:
    return client.post(f"{LIST}with-picture/{query}", {"upload": upload(data, name)}, follow=True)


def test_picture__ranks_the_list_under_its_filters(admin_client: Client, three: None) -> None:
    page = send(admin_client, picture("green", (300, 200), "JPEG"), "my <b>cat.jpg")
    assert page.redirect_chain[-1][0].startswith(f"{LIST}?picture=")
    assert titles(page)[0] == "green thing"
    html = page.content.decode()
    assert "Most like my &lt;b&gt;cat.jpg first." in html
    assert 'src="data:image/webp;base64,' in html
    narrowed = send(admin_client, picture("blue"), query="?category=warm&p=1")
    assert sorted(titles(narrowed)) == ["green thing", "red thing"]
    assert "category=warm" in narrowed.redirect_chain[-1][0]
    assert "p=1" not in narrowed.redirect_chain[-1][0]
    assert 'href="?category=warm"' in narrowed.content.decode()  # The way back.


def test_picture__stays_with_words_columns_and_counts(admin_client: Client, three: None) -> None:
    address = send(admin_client, picture("red")).redirect_chain[-1][0]
    assert 'type="hidden" name="picture"' in admin_client.get(address).content.decode()
    assert titles(admin_client.get(f"{address}&q=blue"))[:2] == ["blue thing", "red thing"]
    assert titles(admin_client.get(f"{address}&o=2")) == ["blue thing", "green thing", "red thing"]
    assert titles(admin_client.get(f"{address}&_facets=True"))[0] == "red thing"
    data = {"action": "index_again", "_selected_action": [str(Asset.objects.first().pk)]}
    assert admin_client.post(address, data, follow=True).status_code == 200


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"just words", "This file is not an image"),
        (b"", "The submitted file is empty."),
        (SVG, "SVG drawings are not accepted. Export it as PNG."),
        (picture("red", (400, 300), "JPEG")[:-400], "This image is damaged or cut short"),
    ],
)
def test_picture__that_is_refused_says_why(admin_client: Client, three: None, data: bytes, sentence: str) -> None:
    page = send(admin_client, data, query="?category=warm")
    assert [said for said in told(page) if sentence in said]
    assert sorted(titles(page)) == ["green thing", "red thing"]
    assert page.redirect_chain[-1][0] == f"{LIST}?category=warm"


@pytest.mark.parametrize("key", ["x", "x" * 22, "%00", "<script>", "p" * 5_000])
def test_picture__that_is_gone_is_asked_for_again(admin_client: Client, three: None, key: str) -> None:
    page = admin_client.get(f"{LIST}?picture={key}")
    assert told(page) == ["This picture is no longer kept here. Choose it again."]
    assert len(titles(page)) == 3


def test_picture__before_anything_is_encoded(admin_client: Client, make_asset: MakeAsset) -> None:
    make_asset("red")
    assert told(send(admin_client, picture())) == ["No picture has been encoded yet."]


def test_picture__while_the_encoder_is_down(admin_client: Client, three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise EncoderUnavailable("Down.")

    monkeypatch.setattr(Local, "encode_images", fail)
    assert told(send(admin_client, picture())) == ["Down."]


def test_picture__while_others_are_opened_is_to_be_sent_again(
    admin_client: Client, three: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn_away(*args: Any) -> None:
        raise Busy

    monkeypatch.setattr(opener, "for_question", turn_away)
    page = send(admin_client, picture(), query="?category=warm")
    assert told(page) == ["Other searches are having their pictures opened. Search again in a moment."]
    assert page.redirect_chain[-1][0] == f"{LIST}?category=warm"


def test_picture__is_for_those_who_may_see_images(three: None) -> None:
    assert send(staff("view_job"), picture()).status_code == 403
    assert Client().post(f"{LIST}with-picture/").status_code == 302
    guarded = Client(enforce_csrf_checks=True)
    guarded.force_login(get_user_model().objects.get())
    assert send(guarded, picture()).status_code == 403


def test_picture__is_only_sent(admin_client: Client) -> None:
    assert admin_client.get(f"{LIST}with-picture/").status_code == 405


def test_action__indexes_again(
    admin_client: Client, active_generation: Generation, make_asset: MakeAsset, index_all: IndexAll
) -> None:
    asset = make_asset("red")
    index_all()
    data = {"action": "index_again", "_selected_action": [asset.pk]}
    page = admin_client.post(LIST, data, follow=True)
    assert told(page) == ["1 image will be indexed again."]
    assert asset.jobs.filter(stage=Stage.INSPECT, state=Job.State.PENDING).exists()


@pytest.mark.parametrize("text", ["", "red"])
def test_action__works_on_what_a_search_found(admin_client: Client, three: None, text: str) -> None:
    data = {"action": "index_again", "_selected_action": [], "select_across": "1", "index": "0"}
    data["_selected_action"] = [str(Asset.objects.first().pk)]
    assert admin_client.post(f"{LIST}?q={text}", data, follow=True).status_code == 200
    assert Job.objects.filter(stage=Stage.INSPECT, state=Job.State.PENDING).count() == 3


def test_upload__stores_the_good_and_names_the_others(admin_client: Client, admin_user: Any) -> None:
    files = [upload(picture("red"), "red.png"), upload(SVG, "drawing.svg"), upload(picture("blue"), "blue.png")]
    page = admin_client.post(f"{LIST}upload/", {"pictures": files, "category": "cars", "tags": "a,b"}, follow=True)
    assert told(page) == [
        "2 images were added.",
        "“drawing.svg” was refused: SVG drawings are not accepted. Export it as PNG.",
    ]
    assert Asset.objects.count() == 2
    for asset in Asset.objects.all():
        assert (asset.category, asset.tags, asset.owner, asset.is_public) == ("cars", ["a", "b"], admin_user, False)


def test_upload__of_nothing_good_stays_on_the_page(admin_client: Client) -> None:
    page = admin_client.post(f"{LIST}upload/", {"pictures": [upload(b"words", "a.png")]}, follow=True)
    assert page.request["PATH_INFO"] == f"{LIST}upload/"
    assert len(told(page)) == 1
    assert not Asset.objects.exists()


def test_upload__needs_files(admin_client: Client) -> None:
    page = admin_client.post(f"{LIST}upload/", {"category": "cars"})
    assert "This field is required." in page.content.decode()


def test_upload__is_for_those_who_may_add(make_asset: MakeAsset) -> None:
    client = staff("view_asset")
    assert client.get(f"{LIST}upload/").status_code == 403
    assert "Upload images" not in client.get(LIST).content.decode()
    assert Client().get(f"{LIST}upload/").status_code == 302


def test_upload__is_linked_from_the_list(admin_client: Client) -> None:
    assert f'href="{LIST}upload/"' in admin_client.get(LIST).content.decode()
    assert "multiple" in admin_client.get(f"{LIST}upload/").content.decode()


def test_jobs__are_tried_again(admin_client: Client, make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    asset.jobs.update(state=Job.State.FAILED, attempts=5, error="It <broke>.")
    running = asset.jobs.get(stage=Stage.READ)
    Job.objects.filter(pk=running.pk).update(state=Job.State.RUNNING)
    html = admin_client.get("/admin/mediasearch/job/").content.decode()
    assert "It &lt;broke&gt;." in html
    assert change(asset) in html
    data = {"action": "try_again", "_selected_action": list(Job.objects.values_list("pk", flat=True))}
    page = admin_client.post("/admin/mediasearch/job/", data, follow=True)
    assert told(page) == ["1 job will be tried again."]
    again = asset.jobs.get(stage=Stage.INSPECT)
    assert (again.state, again.attempts, again.error) == (Job.State.PENDING, 0, "")
    running.refresh_from_db()
    assert running.state == Job.State.RUNNING


def test_jobs__can_only_be_looked_at(
    admin_client: Client, make_asset: MakeAsset, active_generation: Generation
) -> None:
    job = make_asset("red").jobs.first()
    assert admin_client.get("/admin/mediasearch/job/add/").status_code == 403
    assert admin_client.post(f"/admin/mediasearch/job/{job.pk}/change/", {"state": "done"}).status_code == 403
    assert admin_client.post(f"/admin/mediasearch/job/{job.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "try_again" not in staff("view_job").get("/admin/mediasearch/job/").content.decode()


def test_status__says_how_far_it_is(
    admin_client: Client, make_asset: MakeAsset, active_generation: Generation, index_all: IndexAll
) -> None:
    make_asset("red")
    bad = make_asset(b"<b>a shopping list</b>", name="list.png")
    index_all()
    waiting = make_asset("blue")
    waiting.jobs.update(due_at=timezone.now() - timedelta(hours=3))
    Job.objects.filter(asset=bad, state=Job.State.FAILED).update(error="It is <b>bold</b>.")
    Pause.objects.create(stage=Stage.READ, reason="No reader.", until=timezone.now() + timedelta(minutes=1))
    assert 'href="/admin/mediasearch/job/status/"' in admin_client.get("/admin/mediasearch/job/").content.decode()
    page = admin_client.get("/admin/mediasearch/job/status/")
    html = page.content.decode()
    assert [s.stage for _, s in page.context["stages"]] == ["inspect", "read", "embed_image", "embed_caption"]
    assert "<td>3 h</td>" in html
    assert "It is &lt;b&gt;bold&lt;/b&gt;." in html
    assert f'<a href="{change(bad)}">{bad.pk}</a>' in html
    assert "No reader." in html
    assert "not measured" in html
    failed = admin_client.get("/admin/mediasearch/job/?stage__exact=inspect&state__exact=failed")
    assert "/admin/mediasearch/job/?stage__exact=inspect&amp;state__exact=failed" in html
    assert [job.asset_id for job in failed.context["cl"].result_list] == [bad.pk]


def test_status__speaks_chinese(admin_client: Client, make_asset: MakeAsset) -> None:
    make_asset("red")
    html = admin_client.get("/admin/mediasearch/job/status/", headers={"Accept-Language": "zh-CN"}).content.decode()
    assert "索引状态" in html
    assert "有图片，但没有可供搜索的向量" in html
    assert "1 张图片" in html


@pytest.mark.django_db
def test_status__for_those_who_may_see_jobs() -> None:
    assert staff("view_asset").get("/admin/mediasearch/job/status/").status_code == 403


@pytest.fixture
def secret(make_asset: MakeAsset) -> Asset:
    """A private picture of nobody, whose jobs failed with its file's name in the error."""
    asset = make_asset("red", name="divorce.png", title="Eve's secret", is_public=False)
    asset.refresh_from_db()
    error = f"The storage has no file for this image ([Errno 2] No such file: '/srv/{asset.file.name}'). Mount it."
    asset.jobs.update(state=Job.State.FAILED, error=error)
    Pause.objects.create(
        stage=Stage.READ, reason=f"Denied: s3://bucket/{asset.file.name}.", until=timezone.now() + timedelta(minutes=1)
    )
    return asset


JOBS = "/admin/mediasearch/job/"


@pytest.mark.parametrize("path", ["", "status/", "{job}/change/", "?q=divorce", "?q=secret", "?o=2", "{job}/history/"])
def test_jobs__those_who_see_jobs_alone_see_no_names(secret: Asset, path: str) -> None:
    client = staff("view_job")
    page = client.get(JOBS + path.format(job=secret.jobs.first().pk))
    assert page.status_code == 200
    html = page.content.decode()
    for name in ("secret", "divorce"):
        assert name not in html.replace(f"q={name}", "").replace(f'value="{name}"', "")
    assert change(secret) not in html
    if path in ("", "?o=2", "{job}/change/"):
        assert f"image {secret.pk}" in html
        assert "The storage has no file for this image" in html


@pytest.mark.parametrize("words", ["secret", "divorce", "storage"])
def test_jobs__a_search_tells_nothing_of_what_is_hidden(secret: Asset, make_asset: MakeAsset, words: str) -> None:
    shown = make_asset("blue", title="storage and divorce and secret")
    found = staff("view_job").get(JOBS, {"q": words}).context["cl"].result_list
    assert {job.asset_id for job in found} == {shown.pk}


def test_jobs__those_who_may_see_a_picture_see_its_name(secret: Asset) -> None:
    client = staff("view_job", "view_asset")
    job = secret.jobs.first().pk
    for path in ("", f"{job}/change/", "?q=secret", "?q=divorce"):
        html = client.get(JOBS + path).content.decode()
        assert "Eve&#x27;s secret" in html
        assert change(secret) in html
    status = client.get(f"{JOBS}status/").content.decode()
    assert "divorce" in status
    assert "s3://bucket/" in status


def test_jobs__an_owner_sees_their_own(secret: Asset) -> None:
    client = staff("view_job")
    Asset.objects.update(owner=get_user_model().objects.get())
    assert "Eve&#x27;s secret" in client.get(JOBS).content.decode()


def test_status__for_those_who_may_see_jobs_only(active_generation: Generation) -> None:
    assert staff("view_job").get("/admin/mediasearch/job/status/").status_code == 200


def test_generations__can_only_be_looked_at(admin_client: Client, active_generation: Generation) -> None:
    assert "fake/16" in admin_client.get("/admin/mediasearch/generation/").content.decode()
    assert admin_client.get("/admin/mediasearch/generation/add/").status_code == 403
    address = f"/admin/mediasearch/generation/{active_generation.pk}/change/"
    assert admin_client.get(address).status_code == 200
    assert admin_client.post(address, {"state": "retired"}).status_code == 403
