"""What can't be asked is refused with a sentence, whatever it is."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from PIL import Image

import mediasearch
from mediasearch import conf
from mediasearch.exceptions import MediaSearchError, QueryError
from mediasearch.models import Asset, Generation
from mediasearch.search.query import Filters, Part, Query, several
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db
NAN, INFINITY = float("nan"), float("inf")
HUGE = 10**5_000


class Broken:
    """A file that fails in a way of its own."""

    def read(self, size: int) -> bytes:
        raise RuntimeError("the tape is torn")


class Blocked:
    """A file of a socket that does not block and has nothing yet."""

    def read(self, size: int) -> None:
        return None


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> Asset:
    asset = make_asset("red", title="Fire engine", category="cool", tags=["a"])
    index_all()
    return asset


TEXTS = {
    "10 MB": ("x" * 10_000_000, "10000000 characters"),
    "10 MB of Chinese": ("红" * 3_400_000, "3400000 characters"),
    "bytes": (b"red", "not bytes"),
    "none": (None, "not NoneType"),
    "a number": (5, "not int"),
    "a dict": ({"red": 1}, "not dict"),
    "a generator": ((word for word in ["red"]), "not generator"),
    "a list with a number": (["red", 5], "not int"),
    "a list with none": ([None], "not NoneType"),
    "half a character": ("red \ud800", "no text"),
    "many parts": (["red"] * 9, "9 parts"),
    "a million parts": (["red"] * 1_000_000, "1000000 parts"),
    "long together": (["x" * 1_500] * 2, "3000 characters"),
}
IMAGES = {
    "text": ("picture.png", "not as str"),
    "a list": ([picture()], "not as list"),
    "a dict": ({}, "not as dict"),
    "a number": (0, "not as int"),
    "nan": (NAN, "not as float"),
    "pixels": (np.zeros((8, 8, 3), np.uint8), "not as ndarray"),
    "an opened picture": (Image.new("RGB", (8, 8)), "not as Image"),
    "a user": (User(), "not as User"),
    "a class": (io.BytesIO, "could not be read"),
    "a torn file": (Broken(), "the tape is torn"),
    "a file without bytes": (Blocked(), "could not be read"),
    "a file of text": (io.StringIO("red"), "not bytes"),
    "every other byte": (memoryview(picture())[::2], "could not be read"),
    "an asset that is not saved": (Asset(), "may not see"),
}
WEIGHTS = {
    "a weight that is no number": ({"image": NAN}, "numbers of 0 or more"),
    "an endless weight": ({"image": INFINITY}, "numbers of 0 or more"),
    "a huge weight": ({"image": HUGE}, "1,000,000"),
    "a weight beyond a database": ({"image": 1e300, "text": 1e300}, "1,000,000"),
    "a weight next to nothing": ({"image": 5e-324}, "0.000001"),
    "a true weight": ({"image": True}, "numbers of 0 or more"),
    "a weight of text": ({"image": "1"}, "numbers of 0 or more"),
    "a weight of none": ({"image": None}, "numbers of 0 or more"),
    "no weights": ([], "not list"),
    "weights as text": ("image", "not str"),
    "weights as a number": (1, "not int"),
    "a signal that is no text": ({1: 1, "x": 2}, "not int, x"),
    "boosts alone": ({"recency": 1.0}, "at least one of image"),
}
TAGS = {
    "tags as text": ("abc", "not str"),
    "no tags": (None, "not NoneType"),
}
OTHERS = {
    "a huge offset": ({"offset": HUGE}, "limit or offset"),
    "a large offset": ({"offset": 2**63}, "limit or offset"),
    "a negative offset": ({"offset": -1}, "limit or offset"),
    "an offset of text": ({"offset": "5"}, "`offset` is an int, not str"),
    "an offset that is no number": ({"offset": NAN}, "`offset` is an int, not float"),
    "no offset": ({"offset": None}, "`offset` is an int, not NoneType"),
    "a huge limit": ({"limit": HUGE}, "limit or offset"),
    "a negative limit": ({"limit": -(2**70)}, "limit or offset"),
    "a true limit": ({"limit": True}, "`limit` is an int, not bool"),
    "half a limit": ({"limit": 2.5}, "`limit` is an int, not float"),
    "a category that is no text": ({"category": 5}, "A category is a str, not int"),
    "a category without end": ({"category": "x" * 10_000_000}, "10000000 characters"),
    "a category with NUL": ({"category": "a\x00"}, "no text"),
    "a tag that is no text": ({"tags": ["a", 5]}, "A tag is a str, not int"),
    "half a tag": ({"tags": ["\udfff"]}, "no text"),
    "a day of text": ({"after": "2026-01-31"}, "`after` is a date or a datetime, not str"),
    "a day of a number": ({"before": 2026}, "`before` is a date or a datetime, not int"),
    "a language that is no text": ({"language": None}, "`language` is a str, not NoneType"),
    "a fusion that is no text": ({"fusion": []}, "`fusion` is a str, not list"),
    "an unknown fusion": ({"fusion": "borda"}, "There is no fusion 'borda'"),
}


def table(cases: dict[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("given", "sentence"), cases.values(), ids=cases)


@table(TEXTS)
def test_search__texts_that_can_not_be_asked(given: Any, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        list(mediasearch.search(given))


@table(IMAGES)
def test_search__what_is_no_picture(given: Any, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        list(mediasearch.search(image=given))


@table(WEIGHTS)
def test_weights__that_can_not_be_counted_with(given: Any, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        conf.weights(given, "weights", QueryError)


@table(TAGS)
def test_several__takes_no_tags_but_a_list(given: Any, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence):
        several(given)


@table(OTHERS)
def test_search__what_else_can_not_be_asked(given: dict[str, Any], sentence: str) -> None:
    for text in ("red", ""):
        with pytest.raises(QueryError, match=sentence):
            list(mediasearch.search(text, **given))


@pytest.mark.parametrize("place", range(12))
def test_part__weights_that_can_not_be_counted_with(place: int) -> None:
    weight: Any = [0, NAN, INFINITY, -INFINITY, HUGE, -HUGE, 1e300, 1e-300, True, "1", None, Decimal(1)][place]
    with pytest.raises(QueryError, match="weight is a number") as caught:
        Part("red", weight=weight)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("weights", [{"image": 1e6}, {"image": 1e-6, "text": 1e6}, {"image": 1e-6, "caption": 1e-6}])
@pytest.mark.parametrize("part", [Part("red"), Part("red", weight=1e6), Part("red", weight=-1e6)])
def test_search__the_largest_and_smallest_weights_can_be_counted_with(
    library: Asset, weights: dict[str, float], part: Part
) -> None:
    (hit,) = mediasearch.search(part, weights=weights)
    assert math.isfinite(hit.score)


@pytest.mark.parametrize("first", [date.min, datetime.min, date(2, 1, 1)])
@pytest.mark.parametrize("last", [date.max, datetime.max, date(9998, 12, 31)])
def test_search__the_first_and_the_last_day_of_all_leave_nothing_out(
    make_asset: MakeAsset, first: date, last: date
) -> None:
    asset = make_asset(title="red")
    assert [hit.asset for hit in mediasearch.search("red", after=first, before=last)] == [asset]
    assert list(mediasearch.search("red", after=last)) == list(mediasearch.search("red", before=first)) == []


@pytest.mark.parametrize("day", [date(2, 1, 1), date(9998, 12, 31), datetime(2, 1, 1), datetime(9998, 12, 31)])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_search__the_first_and_last_days(library: Asset, settings: Any, day: date, zone: str) -> None:
    settings.TIME_ZONE = zone
    assert len(mediasearch.search("red", after=day)) + len(mediasearch.search("red", before=day)) == 1


def test_query__counts_what_is_asked_together() -> None:
    Query(parts=(Part("x" * 1_000), Part("y" * 1_000)))
    with pytest.raises(QueryError, match="2001 characters"):
        Query(parts=(Part("x" * 1_000), Part("y" * 1_001)))


def test_filters__of_nothing_hold_nothing_back(library: Asset) -> None:
    assert Filters().apply(Asset.objects.all()).get() == library
    assert issubclass(QueryError, MediaSearchError)
