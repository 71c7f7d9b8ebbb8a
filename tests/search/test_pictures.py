"""Searching with a picture: as a file, as an asset, and again without its file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from PIL import Image

import mediasearch
from mediasearch import Crop
from mediasearch.exceptions import Busy, EncoderUnavailable, PictureRefused, QueryError, SandboxUnavailable, Unavailable
from mediasearch.features import opener
from mediasearch.features.local import Local
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search import pictures
from mediasearch.search.query import Part
from mediasearch.sources.library import Library
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db
Index = Callable[[], None]
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def titles(results: mediasearch.Results) -> list[str]:
    return [hit.asset.title for hit in results]


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> dict[str, Asset]:
    """One picture of each of four colours; two bear captions that fit badly."""
    captions = {"red": "white", "green": "purple"}
    assets = {
        colour: make_asset(colour, title=colour, caption=captions.get(colour, ""))
        for colour in ("green", "red", "blue", "white")
    }
    index_all()
    return assets


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO])
def test_search__finds_what_looks_alike(library: dict[str, Asset], wrap: Callable[[bytes], Any]) -> None:
    results = mediasearch.search(image=wrap(picture("red", (300, 200), "JPEG")))
    assert results[0].asset == library["red"]
    assert results[0].signals["image"].score == pytest.approx(1.0, abs=0.01)
    assert (len(results), results.total, results.degraded) == (4, 4, ())


def test_search__a_picture_of_the_library_comes_first_whatever_its_caption_says(library: dict[str, Asset]) -> None:
    for colour, asset in library.items():
        hit = mediasearch.search(image=picture(colour))[0]
        assert hit.asset == asset
        assert set(hit.signals) == {"image"}
        assert hit.signals["image"].share == pytest.approx(1.0)


def test_search__a_picture_and_words_are_each_found_by_their_signals(library: dict[str, Asset]) -> None:
    hits = {hit.asset.title: hit for hit in mediasearch.search("purple", image=picture("red"))}
    assert hits["red"].signals["image"].rank == 1  # By the picture, to which the words were added,
    assert hits["green"].signals["caption"].rank == 1  # and these two by the words.
    assert hits["green"].signals["text"].rank == 1
    assert next(iter(hits)) == "green"


def test_search__filters_pages_and_scopes_hold(library: dict[str, Asset]) -> None:
    Asset.objects.filter(pk=library["green"].pk).update(category="cool")
    assert titles(mediasearch.search(image=picture("red"), category="cool")) == ["green"]
    whole = titles(mediasearch.search(image=picture("red")))
    assert titles(mediasearch.search(image=picture("red"), limit=3, offset=1)) == whole[1:]
    assert titles(mediasearch.search(image=picture("red"), scope=Asset.objects.filter(title="blue"))) == ["blue"]


def test_search__hidden_pictures_stay_hidden(library: dict[str, Asset]) -> None:
    Asset.objects.filter(pk=library["red"].pk).update(is_public=False)
    results = mediasearch.search(image=picture("red"))
    assert "red" not in titles(results)
    assert results.total == 3


def test_search__is_lazy(library: dict[str, Asset], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        stream = io.BytesIO(picture("red"))
        results = mediasearch.search(image=stream)
        stream.close()  # It was read.
    assert results[0].asset == library["red"]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("/etc/passwd", r"not as str.*open\(path"),
        ("https://example.org/a.png", "as an Address, not as str"),
        (Path("/etc/passwd"), "not as PosixPath|not as PurePosixPath|not as Path"),
        (io.StringIO("words"), "text and not bytes"),
        (42, "not as int"),
    ],
)
def test_search__takes_no_paths_and_no_addresses(library: dict[str, Asset], image: Any, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        mediasearch.search(image=image)


def test_search__a_file_that_cannot_be_read(library: dict[str, Asset]) -> None:
    stream = io.BytesIO(picture())
    stream.close()
    with pytest.raises(QueryError, match="could not be read"):
        mediasearch.search(image=stream)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "This file is empty"),
        (b"just words", "not an image"),
        (SVG, "SVG drawings are not accepted"),
        (picture("red", (400, 300), "JPEG")[:-400], "damaged or cut short"),
    ],
)
def test_search__a_picture_that_cannot_be_opened(library: dict[str, Asset], data: bytes, sentence: str) -> None:
    results = mediasearch.search("red", image=data)
    for _ in range(2):
        with pytest.raises(PictureRefused, match=sentence):
            list(results)


def test_search__a_picture_that_is_too_large(library: dict[str, Asset], settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"MAX_BYTES": 60}
    with pytest.raises(PictureRefused, match="MAX_BYTES"):
        mediasearch.search(image=picture())
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"MAX_BYTES": 10_000, "MAX_PIXELS": 100}
    with pytest.raises(PictureRefused, match="MAX_PIXELS"):
        list(mediasearch.search(image=picture()))


def test_search__without_a_weight_for_pictures(library: dict[str, Asset]) -> None:
    with pytest.raises(QueryError, match="a weight above 0"):
        mediasearch.search(image=picture(), weights={"text": 1})


@pytest.mark.parametrize("error", [EncoderUnavailable("Down."), RuntimeError("CUDA is out of memory")])
def test_search__an_encoder_that_fails_leaves_the_words(
    library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(Local, "encode_images", fail)
    results = mediasearch.search("blue", image=picture("red"))
    assert results[0].asset == library["blue"]
    (notice,) = results.degraded
    assert notice.signal == "image"
    assert "CUDA" not in notice.reason
    failed = [record.fault for record in caplog.records if getattr(record, "event", "") == "question-failed"]
    assert failed == ([] if isinstance(error, EncoderUnavailable) else ["RuntimeError"])
    assert results.picture is None
    alone = mediasearch.search(image=picture("red"))
    assert (list(alone), alone.total, len(alone.degraded)) == ([], 0, 1)


@pytest.mark.parametrize("vectors", [np.zeros((1, 3)), np.full((1, 16), np.nan), np.zeros((2, 16)), "nonsense"])
def test_search__an_encoder_that_returns_nonsense_is_down(
    library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch, vectors: Any
) -> None:
    for name in ("encode_images", "encode_texts"):
        monkeypatch.setattr(Local, name, lambda *args: vectors)
    for asked in ({"image": picture("red")}, {"text": "blue"}):
        assert mediasearch.search(**asked).degraded  # type: ignore[arg-type]


def test_search__a_sandbox_that_fails_is_no_pictures_fault(
    library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise SandboxUnavailable

    monkeypatch.setattr(opener, "for_question", fail)
    assert "could not be started" in mediasearch.search(image=picture()).degraded[0].reason


@pytest.mark.parametrize("ask", [mediasearch.search, mediasearch.describe])
def test_search__while_other_pictures_are_opened(
    library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Any]
) -> None:
    def turn_away(*args: Any) -> None:
        raise Busy

    with monkeypatch.context() as patch:
        patch.setattr(opener, "for_question", turn_away)
        for image in (picture("red"), Crop(library["red"], (0, 0, 1, 0.5))):
            with pytest.raises(Busy, match="Search again in a moment"):
                list(ask(image=image))
    assert list(ask(image=picture("red")))


def test_search__before_anything_is_encoded(make_asset: MakeAsset) -> None:
    asset = make_asset(title="red")
    assert [hit.asset for hit in mediasearch.search("red", image=picture())] == [asset]
    results = mediasearch.search(image=picture())
    assert list(results) == []
    assert [notice.signal for notice in results.degraded] == ["image"]


def test_search__the_same_content_is_opened_and_encoded_once(
    library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(mediasearch.search(image=picture("red")))
    monkeypatch.setattr(opener, "for_question", lambda *args: pytest.fail("It was opened again."))
    again = mediasearch.search(image=picture("red"))
    assert list(again) == expected
    assert again.picture is not None
    assert again.picture.thumbnail[8:12] == b"WEBP"


def test_search__like_an_asset_finds_the_others(
    library: dict[str, Asset], make_asset: MakeAsset, index_all: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = make_asset(picture("red", (200, 100)), title="twin")
    index_all()
    for name in ("encode_images", "encode_texts"):
        monkeypatch.setattr(Local, name, lambda *args: pytest.fail("Its vector is stored."))
    results = mediasearch.search(image=library["red"])
    assert results[0].asset == twin
    assert library["red"] not in [hit.asset for hit in results]
    assert results.total == 4


def test_search__like_an_asset_that_may_not_be_seen(library: dict[str, Asset]) -> None:
    owner = User.objects.create_user("owner")
    Asset.objects.filter(pk=library["red"].pk).update(is_public=False, owner=owner)
    for user in (None, User.objects.create_user("other")):
        with pytest.raises(QueryError, match="may not see"):
            list(mediasearch.search(image=library["red"], user=user))
    assert len(mediasearch.search(image=library["red"], user=owner)) == 3


def test_search__like_an_asset_that_has_no_vector_yet(library: dict[str, Asset], make_asset: MakeAsset) -> None:
    results = mediasearch.search(image=make_asset("red"))
    assert list(results) == []
    assert "not indexed yet" in results.degraded[0].reason


def test_search__again_without_the_file(library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    first = mediasearch.search(image=picture("red"))
    assert first.picture is not None
    monkeypatch.setattr(opener, "for_question", lambda *args: pytest.fail("It was opened again."))
    assert list(mediasearch.search(image=first.picture)) == list(first)
    Generation.objects.update(fingerprint="another/16")
    with pytest.raises(PictureRefused, match="another model"):
        list(mediasearch.search(image=first.picture))


LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)


def two(left: str, right: str, size: tuple[int, int] = (640, 320)) -> bytes:
    """A picture of two halves."""
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO])
def test_search__a_crop_finds_what_looks_like_it(library: dict[str, Asset], wrap: Callable[[bytes], Any]) -> None:
    both = two("red", "blue")
    for box, colour in ((LEFT, "red"), (RIGHT, "blue")):
        hit = mediasearch.search(image=Crop(wrap(both), box))[0]
        assert hit.asset == library[colour]
        assert hit.signals["image"].score == pytest.approx(1.0, abs=0.01)
    assert titles(mediasearch.search(Part(image=Crop(both, RIGHT), weight=0.5)))[0] == "blue"


def test_look__each_crop_is_kept_by_itself(active_generation: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    both = two("red", "blue")

    def looked(given: pictures.Given) -> bytes:
        return pictures.look(pictures.take(given), active_generation).vector.tobytes()

    asked = [both, Crop(both, LEFT), Crop(both, RIGHT)]
    first = [looked(given) for given in asked]
    assert len(set(first)) == 3
    monkeypatch.setattr(opener, "for_question", lambda *args: pytest.fail("It was opened again."))
    assert [looked(given) for given in asked] == first


def test_look__all_of_a_picture_as_a_crop_is_that_picture(active_generation: Generation) -> None:
    data = two("red", "blue")
    whole, crop = (pictures.look(pictures.take(given), active_generation) for given in (data, Crop(data, (0, 0, 1, 1))))
    assert np.array_equal(whole.vector, crop.vector)
    assert whole.thumbnail == crop.thumbnail


def test_look__shows_what_was_cropped(active_generation: Generation) -> None:
    seen = pictures.look(pictures.take(Crop(two("red", "blue"), RIGHT)), active_generation)
    with Image.open(io.BytesIO(seen.thumbnail)) as small:
        assert small.size == (64, 128) or small.size == (128, 128)
        assert small.convert("RGB").getpixel((2, 2)) == pytest.approx((0, 0, 255), abs=4)


def test_search__a_crop_of_a_few_pixels(library: dict[str, Asset]) -> None:
    results = mediasearch.search(image=Crop(picture(size=(100, 100)), (0.5, 0.5, 0.05, 0.5)))
    with pytest.raises(PictureRefused, match="at least 8 each way"):
        list(results)


def test_take__what_can_not_be_cropped(library: dict[str, Asset]) -> None:
    seen = mediasearch.search(image=picture("red")).picture
    for given, sentence in ((seen, "only its vector was kept"), (Crop(picture(), LEFT), "a crop of a crop")):
        with pytest.raises(QueryError, match=sentence):
            pictures.take(Crop(given, LEFT))  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="not as str"):
        pictures.take(Crop("picture.png", LEFT))  # type: ignore[arg-type]


@pytest.fixture
def halves(library: dict[str, Asset], make_asset: MakeAsset) -> Asset:
    """An asset that is not indexed, and of which only the logged-in see anything."""
    return make_asset(two("blue", "white"), title="halves", is_public=False)


def test_look__a_crop_of_an_asset(halves: Asset, active_generation: Generation, library: dict[str, Asset]) -> None:
    whole = mediasearch.search(image=two("blue", "white")).picture
    crop = pictures.look(pictures.take(Crop(halves, LEFT), Asset.objects.all()), active_generation)
    blue = mediasearch.search(image=picture("blue")).picture
    assert whole
    assert blue
    assert float(crop.vector @ blue.vector) == pytest.approx(1.0, abs=0.01) != float(whole.vector @ blue.vector)


@pytest.mark.parametrize("visible", [None, Asset.objects.none(), Asset.objects.filter(is_public=True)])
def test_look__no_crop_of_an_asset_that_may_not_be_seen(
    halves: Asset, active_generation: Generation, visible: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures.look(pictures.take(Crop(halves, LEFT), Asset.objects.all()), active_generation)  # It is cached now.
    monkeypatch.setattr(Library, "open", lambda *args: pytest.fail("It was opened."))
    itself = Crop(halves, LEFT, visible=Asset.objects.all())
    with pytest.raises(QueryError, match="may not see"):
        pictures.look(pictures.take(itself, visible), active_generation)


def test_search__a_crop_of_an_asset_is_for_those_who_may_see_it(halves: Asset, index_all: Index) -> None:
    index_all()
    crop = Crop(halves, RIGHT)
    for user in (None, User.objects.create_user("other")):
        with pytest.raises(QueryError, match="may not see"):
            list(mediasearch.search(image=crop, user=user))
    Asset.objects.filter(pk=halves.pk).update(is_public=True)
    found = titles(mediasearch.search(image=crop))
    assert found[0] == "white"
    assert "halves" in found  # It is compared as a whole, and is a hit like any other.
    Asset.objects.filter(pk=halves.pk).update(is_public=False)
    scope = Asset.objects.exclude(pk=halves.pk)  # Whoever passes one has seen to what may be seen.
    assert titles(mediasearch.search(image=crop, scope=scope))[0] == "white"


@pytest.mark.parametrize(
    ("fault", "error", "sentence"),
    [
        (FileNotFoundError("/srv/media/secret.png"), PictureRefused, "has no file any more"),
        (ConnectionError("s3.internal:9000 refused"), Unavailable, "can't be read now"),
    ],
)
def test_look__a_crop_of_an_asset_whose_file_is_not_there(
    halves: Asset,
    active_generation: Generation,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    error: type[Exception],
    sentence: str,
) -> None:
    def fail(*args: Any) -> None:
        raise fault

    monkeypatch.setattr(Library, "open", fail)
    with pytest.raises(error, match=sentence) as caught:
        pictures.look(pictures.take(Crop(halves, LEFT), Asset.objects.all()), active_generation)
    assert str(fault) not in str(caught.value)


def test_keep__is_recalled_by_its_key_alone(library: dict[str, Asset]) -> None:
    seen = mediasearch.search(image=picture("red")).picture
    assert seen is not None
    key = pictures.keep(seen, "n" * 500)
    kept, name = pictures.recall(key) or pytest.fail("It was not kept.")
    assert np.array_equal(kept.vector, seen.vector)
    assert (kept.fingerprint, kept.thumbnail, name) == (seen.fingerprint, seen.thumbnail, "n" * 80)
    assert pictures.keep(seen, "again") != key


@pytest.mark.parametrize("key", ["", "x", "x" * 22, "é" * 22, "x" * 5_000, "../../../etc/passwd..", "\x00" * 22])
def test_recall__of_what_is_not_kept(key: str) -> None:
    assert pictures.recall(key) is None


@pytest.mark.parametrize("size", [(10, 10), (64, 48), (700, 500), (3_000, 2_000), (6_000, 300), (300, 6_000)])
def test_look__makes_the_vector_that_indexing_makes(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index, size: tuple[int, int]
) -> None:
    stream = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size).save(stream, "PNG")
    asset = make_asset(stream.getvalue())
    index_all()
    stored = np.asarray(Embedding.objects.get(asset=asset).image, dtype=np.float32)
    made = pictures.look(stream.getvalue(), active_generation).vector
    least = 0.9999 if max(size) < 10 * min(size) else 0.98  # The fake encoder looks at a strip's ends, too.
    assert float(stored @ made) > least
