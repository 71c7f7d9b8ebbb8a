"""A picture is described with texts of the library."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.utils import translation
from PIL import Image

import mediasearch
from mediasearch import conf
from mediasearch.exceptions import EncoderUnavailable, PictureRefused, QueryError
from mediasearch.features.fake import FakeEncoder
from mediasearch.features.local import Local
from mediasearch.indexing import generations
from mediasearch.models import Asset, Generation, Job
from mediasearch.search import describe as module
from mediasearch.search import texts
from mediasearch.search.pictures import Picture
from tests.conftest import MakeAsset, picture, workers_write
from tests.vectors import fill

pytestmark = pytest.mark.django_db
Index = Callable[[], None]
Library = dict[str, Asset]
ENGLISH = {"a red car", "red", "a green and white field", "green field", "grass", "NO ENTRY", "blue sky", "blue"}


@pytest.fixture(params=["one encoder", "another for captions"])
def library(request: Any, active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> Library:
    """Pictures with texts of each kind; whether their captions are read by the image encoder makes no difference."""
    if request.param != "one encoder":
        request.getfixturevalue("foreign_generation")
    assets = {
        "red": make_asset("red", title="IMG_1", caption="a red car", tags=["red"]),
        "green": make_asset("green", title="green-field.jpg", alt_text="a green and white field", tags=["grass"]),
        "blue": make_asset("blue", title="blue", caption="blue sky", tags=["blue"]),
        "white": make_asset("white"),
    }
    index_all()
    workers_write(Asset.objects.filter(pk=assets["white"].pk), ocr_text="NO ENTRY\n安全出口\n--", tags=["red"])
    return assets


def said(described: mediasearch.Descriptions) -> list[str]:
    return [each.text for each in described]


def cosines(colour: str, wanted: set[str]) -> dict[str, float]:
    """What an exact comparison with each of these texts comes to."""
    encoder = FakeEncoder()
    (seen,) = encoder.encode_images([Image.open(io.BytesIO(picture(colour)))])
    ordered = sorted(wanted)
    return dict(zip(ordered, (encoder.encode_texts(ordered) @ seen).tolist(), strict=True))


@pytest.mark.parametrize("exact_scope", [10_000, 1], ids=["exact", "hnsw"])
@pytest.mark.parametrize("colour", ["red", "green", "blue", "white", "black"])
def test_describe__ranks_each_text_by_its_cosine(
    library: Library, settings: Any, colour: str, exact_scope: int
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": exact_scope}
    described = list(mediasearch.describe(picture(colour), limit=50))
    expected = cosines(colour, ENGLISH)
    assert {each.text: each.score for each in described} == pytest.approx(expected, abs=2e-3)
    scores = [each.score for each in described]
    assert scores == sorted(scores, reverse=True)


def test_describe__says_where_each_text_is_from(library: Library) -> None:
    described = {each.text: each for each in mediasearch.describe(picture("red"), limit=50)}
    kinds = {text: set(each.kinds) for text, each in described.items()}
    assert kinds == {
        "a red car": {"caption"},
        "red": {"tag"},
        "green field": {"title"},
        "a green and white field": {"alt_text"},
        "grass": {"tag"},
        "blue": {"title", "tag"},
        "blue sky": {"caption"},
        "NO ENTRY": {"ocr_line"},
    }
    assert set(described["red"].assets) == {library["red"], library["white"]}
    assert described["blue"].assets == (library["blue"],)
    assert len(described["blue"].origins) == 2


def test_describe__texts_in_other_languages_are_left_out_and_that_is_said(library: Library) -> None:
    described = mediasearch.describe(picture("white"), limit=50)
    assert "安全出口" not in said(described)
    (notice,) = described.degraded
    assert "reads English" in notice.reason
    with translation.override("zh-hans"):
        (notice,) = mediasearch.describe(picture("white")).degraded
    assert "编码器只懂英语" in notice.reason


def test_describe__the_limit_cuts_one_ranking(library: Library) -> None:
    whole = said(mediasearch.describe(picture("red"), limit=50))
    assert said(mediasearch.describe(picture("red"), limit=3)) == whole[:3]
    assert len(mediasearch.describe(picture("red"))[1:3]) == 2


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_describe__limits_that_cannot_be(limit: int) -> None:
    with pytest.raises(QueryError, match="change limit"):
        mediasearch.describe(picture(), limit=limit)


def test_describe__an_asset_with_its_own_texts_or_without(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Local, "encode_images", lambda *args: pytest.fail("Its vector is stored."))
    described = list(mediasearch.describe(library["red"], limit=50))
    assert {described[0].text, described[1].text} == {"red", "a red car"}
    without = {each.text: each for each in mediasearch.describe(library["red"], limit=50, own=False)}
    assert set(without) == ENGLISH - {"a red car"}
    assert without["red"].assets == (library["white"],)


def test_describe__an_asset_keeps_its_own_texts_however_many_are_nearer(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "nearest", lambda *args: [[(library["blue"].pk, 0.9)]] * 2)
    assert set(said(mediasearch.describe(library["red"], limit=50))) == {"a red car", "red", "blue", "blue sky"}


def test_describe__again_without_the_file(library: Library) -> None:
    first = mediasearch.describe(io.BytesIO(picture("red")))
    assert first.picture is not None
    assert said(mediasearch.describe(first.picture)) == said(first)
    Generation.objects.update(fingerprint="another/16")
    with pytest.raises(PictureRefused, match="another model"):
        list(mediasearch.describe(first.picture))


def test_describe__is_lazy(library: Library, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        described = mediasearch.describe(picture("red"))
    assert said(described)
    with django_assert_num_queries(0):
        assert [described[0], *described[1:]] == list(described)


def test_describe__takes_a_bounded_number_of_statements(library: Library, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(
        9
    ):  # Generation, the scope's size in two steps for each field, two fields, assets, cosines, generation.
        list(mediasearch.describe(picture("red")))


@pytest.mark.parametrize("data", [b"", b"just words", picture("red", (400, 300), "JPEG")[:-400]])
def test_describe__a_picture_that_cannot_be_opened(library: Library, data: bytes) -> None:
    with pytest.raises(PictureRefused):
        list(mediasearch.describe(data))


@pytest.mark.parametrize("image", ["/etc/passwd", "https://example.org/a.png", 42])
def test_describe__takes_no_paths_and_no_addresses(image: Any) -> None:
    with pytest.raises(QueryError, match="takes a picture as bytes"):
        mediasearch.describe(image)


@pytest.mark.parametrize("exact_scope", [10_000, 1], ids=["exact", "hnsw"])
def test_describe__hidden_texts_stay_hidden(library: Library, settings: Any, exact_scope: int) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": exact_scope}
    owner, other = User.objects.create_user("owner"), User.objects.create_user("other")
    Asset.objects.filter(pk=library["red"].pk).update(is_public=False, owner=owner)
    for user in (None, other):
        for asked in (picture("red"), picture("green"), library["green"]):
            described = {each.text: each for each in mediasearch.describe(asked, limit=50, user=user)}
            assert set(described) == ENGLISH - {"a red car"}
            assert described["red"].assets == (library["white"],)  # It has the same tag.
            assert library["red"] not in {asset for each in described.values() for asset in each.assets}
    assert "a red car" in said(mediasearch.describe(picture("red"), limit=50, user=owner))


def test_describe__hidden_texts_stay_hidden_when_the_encoder_is_away(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    Asset.objects.filter(pk=library["red"].pk).update(is_public=False)
    asked = mediasearch.describe(picture("red")).picture
    assert asked is not None
    monkeypatch.setattr(Local, "encode_texts", down)
    described = list(mediasearch.describe(asked, limit=50))
    assert described
    assert library["red"] not in {asset for each in described for asset in each.assets}


@pytest.mark.parametrize("exact_scope", [10_000, 1], ids=["exact", "hnsw"])
def test_describe__many_questions_to_a_library_of_which_half_is_hidden(
    foreign_generation: Generation, settings: Any, monkeypatch: pytest.MonkeyPatch, exact_scope: int
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": exact_scope}
    fill(foreign_generation, 200)
    assets = list(Asset.objects.order_by("pk"))
    for number, asset in enumerate(assets):
        asset.is_public, asset.caption = number % 2 == 0, f"number {number}"
        asset.tags = [f"tag {number}", "shared"]
        workers_write(Asset.objects.filter(pk=asset.pk), ocr_text=f"line {number}")
    Asset.objects.bulk_update(assets, ["is_public", "caption", "tags"])
    Job.objects.all().delete()  # The vectors that there are stand for these captions.
    seen = set(assets[::2])
    monkeypatch.setattr(module, "MOST", 30)
    rng = np.random.default_rng(1)
    for number in range(40):
        vector = rng.normal(size=16).astype(np.float32)
        asked = Picture(foreign_generation.fingerprint, vector / np.linalg.norm(vector))
        if number == 20:
            monkeypatch.setattr(Local, "encode_texts", down)
        described = list(mediasearch.describe(asked, limit=30))
        assert len(described) == 30
        for each in described:
            assert set(each.assets) <= seen
            assert each.text == "shared" or int(each.text.rpartition(" ")[2]) % 2 == 0


def test_describe__an_asset_that_may_not_be_seen(library: Library) -> None:
    owner = User.objects.create_user("owner")
    Asset.objects.filter(pk=library["red"].pk).update(is_public=False, owner=owner)
    for user in (None, User.objects.create_user("other")):
        for own in (True, False):
            with pytest.raises(QueryError, match="may not see"):
                list(mediasearch.describe(library["red"], user=user, own=own))
    assert "a red car" in said(mediasearch.describe(library["red"], user=owner))


@pytest.mark.parametrize("exact_scope", [10_000, 1], ids=["exact", "hnsw"])
def test_describe__a_scope_of_ones_own(library: Library, settings: Any, exact_scope: int) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": exact_scope}
    scope = Asset.objects.filter(pk__in=[library["blue"].pk, library["white"].pk])
    described = mediasearch.describe(picture("red"), limit=50, scope=scope)
    assert set(said(described)) == {"blue", "blue sky", "red", "NO ENTRY"}
    assert {asset for each in described for asset in each.assets} == {library["blue"], library["white"]}


def test_describe__empty_scopes(library: Library) -> None:
    for scope in (Asset.objects.none(), Asset.objects.filter(title="nothing")):
        described = mediasearch.describe(picture("red"), scope=scope)
        assert (list(described), described.degraded) == ([], ())


def test_describe__an_empty_library(active_generation: Generation) -> None:
    described = mediasearch.describe(picture("red"))
    assert (list(described), described.degraded) == ([], ())


def test_describe__before_anything_is_encoded(make_asset: MakeAsset) -> None:
    make_asset("red", caption="red")
    described = mediasearch.describe(picture("red"))
    assert list(described) == []
    assert "No picture has been encoded yet" in described.degraded[0].reason


def test_describe__an_asset_that_has_no_vector_yet(library: Library, make_asset: MakeAsset) -> None:
    described = mediasearch.describe(make_asset("red"))
    assert list(described) == []
    assert "not indexed yet" in described.degraded[0].reason


def down(*args: Any) -> None:
    raise EncoderUnavailable("No query worker answers.")


def test_describe__whole_descriptions_where_no_text_can_be_encoded(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Local, "encode_texts", down)
    described = mediasearch.describe(picture("red"), limit=50)
    assert {each.text: each.kinds for each in described} == {
        "a red car": ("caption",),
        "green field\na green and white field": ("description",),
        "blue\nblue sky": ("description",),
    }
    assert described[0].text == "a red car"
    assert described[0].score == pytest.approx(cosines("red", {"a red car"})["a red car"], abs=2e-3)
    assert [notice.reason for notice in described.degraded] == ["No query worker answers."]


def test_describe__a_picture_that_cannot_be_encoded(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Local, "encode_images", down)
    described = mediasearch.describe(picture("red"))
    assert list(described) == []
    assert [notice.signal for notice in described.degraded] == ["image"]
    assert "a red car" in said(mediasearch.describe(library["red"]))  # Its vector is stored.


def test_describe__texts_are_encoded_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [(each.text, each.score) for each in mediasearch.describe(picture("red"))]
    monkeypatch.setattr(Local, "encode_texts", lambda *args: pytest.fail("They were encoded before."))
    assert [(each.text, each.score) for each in mediasearch.describe(picture("red"))] == first


def test_describe__a_description_of_one_text_needs_no_encoding(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode = Local.encode_texts

    def note(self: Local, question: Any, some: Any) -> Any:
        asked.extend(some)
        return encode(self, question, some)

    monkeypatch.setattr(Local, "encode_texts", note)
    assert "a red car" in said(mediasearch.describe(picture("red"), limit=50))
    assert set(asked) == ENGLISH - {"a red car"}


def test_describe__a_caption_that_was_changed_is_scored_by_what_it_says_now(library: Library) -> None:
    Asset.objects.filter(pk=library["red"].pk).update(caption="white")  # No worker has seen it yet.
    described = {each.text: each.score for each in mediasearch.describe(picture("red"), limit=50)}
    assert "a red car" not in described
    assert described["white"] == pytest.approx(cosines("red", {"white"})["white"], abs=2e-3)


def test_describe__time_that_does_not_suffice(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", -1.0)
    described = mediasearch.describe(picture("blue"), limit=50)
    assert said(described) == ["a red car"]
    assert "no time" in described.degraded[-1].reason
    monkeypatch.setattr(module, "_SECONDS", 60.0)
    assert set(said(mediasearch.describe(picture("blue"), limit=50))) == ENGLISH
    monkeypatch.setattr(module, "_SECONDS", -1.0)
    assert set(said(mediasearch.describe(picture("blue"), limit=50))) == ENGLISH  # They are known by now.


def test_describe__bounds_what_it_encodes(
    library: Library, make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = make_asset("black", tags=[f"tag {number}" for number in range(100)], caption="black " * 50_000)
    index_all()
    workers_write(Asset.objects.filter(pk=asset.pk), ocr_text="\n".join(f"line {number}" for number in range(1_000)))
    asked: list[str] = []
    encode = Local.encode_texts

    def note(self: Local, question: Any, some: Any) -> Any:
        assert len(some) <= 16
        asked.extend(some)
        return encode(self, question, some)

    monkeypatch.setattr(Local, "encode_texts", note)
    described = mediasearch.describe(picture("black"), limit=200)
    assert sum(text.startswith(("tag", "line")) for text in said(described)) == 40
    assert max(map(len, asked)) <= 2_000
    assert described[0].text == asset.caption.strip()
    monkeypatch.setattr(texts, "_FRESH", 3)
    assert len(mediasearch.describe(picture("black"), limit=200)) <= 3 + 2  # And two stored captions.


@pytest.mark.parametrize("answer", [np.zeros((1, 3)), np.full((3, 16), np.nan), "nonsense"])
def test_describe__an_encoder_that_returns_nonsense_is_down(
    library: Library, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(Local, "encode_texts", lambda *args: answer)
    described = mediasearch.describe(picture("red"), limit=50)
    assert described[0].text == "a red car"
    assert described.degraded


def test_describe__starts_again_where_the_model_was_changed_meanwhile(
    library: Library, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare, changes = module.cosines, [conf.Spec("mediasearch.features.fake.FakeEncoder", {"name": "new"})]

    def changed_meanwhile(*args: Any) -> dict[int, float]:
        if changes:
            before = Generation.objects.active()
            other = generations.create(changes.pop())
            generations.owe_all(other)
            index_all()
            generations.activate(other)
            Generation.objects.filter(pk=before.pk).delete()
        return compare(*args)

    monkeypatch.setattr(module, "cosines", changed_meanwhile)
    described = mediasearch.describe(picture("red"), limit=50)
    assert set(said(described)) == ENGLISH
    assert described.picture is not None
    assert described.picture.fingerprint == "new/16"


@pytest.mark.django_db(transaction=True)
def test_adescribe__is_the_same_for_coroutines(library: Library) -> None:
    async def ask() -> list[mediasearch.Description]:
        try:
            return list(await mediasearch.adescribe(picture("red"), limit=3, scope=Asset.objects.all()))
        finally:
            await sync_to_async(connections.close_all)()

    assert asyncio.run(ask()) == list(mediasearch.describe(picture("red"), limit=3))


@pytest.mark.django_db(transaction=True)
def test_adescribe__has_run_when_it_returns(library: Library) -> None:
    async def ask() -> None:
        try:
            with pytest.raises(PictureRefused):
                await mediasearch.adescribe(b"no picture")
        finally:
            await sync_to_async(connections.close_all)()

    asyncio.run(ask())
