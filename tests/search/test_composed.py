"""Questions of several words and pictures, added and subtracted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import mediasearch
from mediasearch import Part
from mediasearch.exceptions import EncoderUnavailable, QueryError
from mediasearch.features.local import Local
from mediasearch.models import Asset, Generation
from mediasearch.search.encode import encode
from mediasearch.search.query import Query
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db
IMAGE = {"image": 1.0}


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> dict[str, Asset]:
    assets = {colour: make_asset(colour, title=f"IMG_{colour}") for colour in ("red", "green", "blue", "white")}
    index_all()
    return assets


def test_search__parts_add_up(library: dict[str, Asset]) -> None:
    first, second, *others = mediasearch.search(["red", Part("blue", weight=2)], weights=IMAGE)
    assert (first.asset, second.asset) == (library["blue"], library["red"])
    assert first.signals["image"].score == pytest.approx(2 / 5**0.5, abs=0.01)
    assert second.signals["image"].score == pytest.approx(1 / 5**0.5, abs=0.01)
    assert all(hit.signals["image"].score < 0.01 for hit in others)


def test_search__a_part_below_nothing_is_subtracted(library: dict[str, Asset]) -> None:
    hits = list(mediasearch.search(["red green", Part("green", weight=-1)], weights=IMAGE))
    assert hits[0].asset == library["red"]
    assert hits[-1].asset == library["green"]


def test_search__only_subtracted_comes_last(library: dict[str, Asset]) -> None:
    assert list(mediasearch.search(Part("red", weight=-1), weights=IMAGE))[-1].asset == library["red"]


def test_search__words_and_pictures_together(library: dict[str, Asset]) -> None:
    together = mediasearch.search("blue", image=picture("red"), weights=IMAGE)
    assert {hit.asset for hit in together[:2]} == {library["red"], library["blue"]}
    assert together[0].signals["image"].score == pytest.approx(2**-0.5, abs=0.01)
    same = mediasearch.search(["blue", Part(image=picture("red"))], weights=IMAGE)
    assert [(hit.asset, hit.score) for hit in same] == [(hit.asset, hit.score) for hit in together]


def test_search__like_several_assets_finds_others(library: dict[str, Asset]) -> None:
    asked = [Part(image=library["red"]), Part(image=library["blue"], weight=-0.5)]
    hits = {hit.asset for hit in mediasearch.search(asked, weights=IMAGE)}
    assert hits == {library["green"], library["white"]}


def test_search__full_text_looks_for_what_is_wanted(library: dict[str, Asset]) -> None:
    Asset.objects.filter(pk=library["white"].pk).update(title="harbour")
    outcome = mediasearch.search(["harbour", Part("crane", weight=-1)]).outcome
    assert outcome.words == ("harbour",)
    assert outcome.hits[0].asset == library["white"]


def test_search__a_part_that_cannot_be_encoded_is_left_out(
    library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> None:
        raise EncoderUnavailable("No query worker answers.")

    monkeypatch.setattr(Local, "encode_texts", down)
    results = mediasearch.search(["purple", Part(image=library["red"])], weights=IMAGE)
    assert len(results) == 3
    assert [notice.reason for notice in results.degraded] == ["No query worker answers."]


def test_search__parts_that_cancel_each_other_out(library: dict[str, Asset]) -> None:
    results = mediasearch.search(["red", Part("red", weight=-1)], weights=IMAGE)
    assert list(results) == []
    assert "cancel each other out" in results.degraded[0].reason


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"text": "a", "image": b"b"}, "either words or a picture"),
        ({}, "either words or a picture"),
        ({"text": "a", "weight": 0}, "weight is a number from"),
        ({"text": "a", "weight": float("nan")}, "weight is a number from"),
        ({"text": "a", "weight": "2"}, "weight is a number from"),
        ({"text": 7}, "a str, not int"),
    ],
)
def test_part__what_it_may_not_be(asked: dict[str, Any], error: str) -> None:
    with pytest.raises(QueryError, match=error):
        Part(**asked)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (7, "a str, a Part or a list of these, not int"),
        (["a", 7], "a str or a Part, not int"),
        (["a"] * 9, "at most 8"),
        (["a" * 1_500, "b" * 1_500], "3000 characters"),
    ],
)
def test_search__what_cannot_be_asked(asked: Any, error: str) -> None:
    with pytest.raises(QueryError, match=error):
        mediasearch.search(asked)


def test_encode__one_part_is_asked_as_it_is(library: dict[str, Asset], active_generation: Generation) -> None:
    alone = encode(Query(parts=(Part("red"),)), active_generation).image
    twice = encode(Query(parts=(Part("red", weight=2.0),)), active_generation).image
    hardly = encode(Query(parts=(Part("red", weight=1e-5),)), active_generation).image
    assert alone is not None
    assert twice is not None
    assert hardly is not None
    assert np.allclose(alone, twice)
    assert np.allclose(alone, hardly)
    assert np.linalg.norm(twice) == pytest.approx(1.0, abs=1e-5)
