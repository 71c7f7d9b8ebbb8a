"""What the search page is asked."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from mediasearch import asking
from mediasearch.features import opener
from mediasearch.search import pictures
from mediasearch.search.results import Outcome
from tests.conftest import MakeAsset

SEEN = pictures.Picture("fake/16", np.ones(16, dtype=np.float32), b"a small one")


def asked(query: str, categories: tuple[str, ...] = (), *uploads: SimpleUploadedFile) -> asking.SearchForm:
    return asking.SearchForm(QueryDict(query), categories, MultiValueDict({"upload": list(uploads)} if uploads else {}))


def upload(data: bytes, name: str = "a.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, "image/png")


@pytest.mark.parametrize("query", ["tag=sea&tag=evening", "tag=sea,evening", "tag=sea%2C+evening,", "tag=sea，evening"])
def test_search_form__takes_tags_in_every_way(query: str) -> None:
    form = asked(query)
    assert form.is_valid()
    assert form.question()["tags"] == ["sea", "evening"]


def test_search_form__turns_into_a_question() -> None:
    form = asked("q=+red+car+&category=cars&after=2024-01-01&before=2024-12-31", ("cars",))
    assert form.is_valid()
    assert form.question() == {
        "text": "red car",
        "image": None,
        "category": "cars",
        "tags": [],
        "after": date(2024, 1, 1),
        "before": date(2024, 12, 31),
    }


@pytest.mark.parametrize(
    ("query", "field", "sentence"),
    [
        ("after=nonsense", "after", "“nonsense” is not a day. Write it like 2026-01-31."),
        ("after=0001-01-01", "after", "Choose a day of the years 1000 to 9998."),
        ("before=9999-12-31", "before", "Choose a day of the years 1000 to 9998."),
        ("after=2025-01-02&before=2025-01-01", "before", "The last day is before the first. Change one of them."),
        (f"tag={'x' * 101}", "tag", f"The tag “{'x' * 20}…” is too long: a tag has at most 100 characters."),
    ],
)
def test_search_form__says_what_to_change(query: str, field: str, sentence: str) -> None:
    assert asked(query).errors[field] == [sentence]


def test_search_form__keeps_a_category_that_is_not_offered() -> None:
    form = asked("category=gone", ("cars",))
    assert form.is_valid()
    assert '<option value="gone" selected>gone</option>' in str(form["category"])


def test_search_form__takes_a_picture_unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opener, "load", lambda stream: pytest.fail("The file was read."))
    form = asked("q=red", (), upload(b"anything"))
    assert form.is_valid()
    assert form.question()["image"].read() == b"anything"


def test_search_form__looks_at_the_size_before_anything_is_read(settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"MAX_BYTES": 1_000}
    form = asked("", (), upload(b"x" * 1_001))
    assert form.errors["upload"] == ["This file has 0.0 MB; at most 0.001 MB are accepted. Upload a smaller copy."]


def test_search_form__knows_a_picture_by_its_key() -> None:
    key = pictures.keep(SEEN, "cat.jpg")
    form = asked(f"picture={key}")
    assert form.is_valid()
    assert np.array_equal(form.question()["image"].vector, SEEN.vector)
    shown = asking.shown(form, Outcome())
    assert shown is not None
    assert (shown.name, shown.parameters) == ("cat.jpg", {"picture": [key]})
    assert shown.thumbnail == "data:image/webp;base64,YSBzbWFsbCBvbmU="


@pytest.mark.parametrize("key", ["gone", "x" * 22, "x" * 5_000, "é" * 22])
def test_search_form__says_that_a_picture_is_gone(key: str) -> None:
    form = asked(f"picture={key}")
    assert form.errors["upload"] == ["This picture is no longer kept here. Choose it again."]
    assert asking.shown(form, None) is None


@pytest.mark.parametrize(
    ("owner", "asker", "kept"), [("1", "1", True), ("1", "2", False), ("1", "", False), ("", "2", True)]
)
def test_search_form__a_picture_that_a_user_posted_is_theirs(owner: str, asker: str, kept: bool) -> None:
    key = pictures.keep(SEEN, "cat.jpg", owner)
    form = asking.SearchForm(QueryDict(f"picture={key}"), user=asker)
    assert form.is_valid() is kept
    shown = asking.shown(form, Outcome())
    assert (shown.name if shown else None) == ("cat.jpg" if kept else None)


def test_search_form__forgets_a_picture_with_its_cache() -> None:
    key = pictures.keep(SEEN, "cat.jpg")
    cache.clear()
    assert "upload" in asked(f"picture={key}").errors


def test_search_form__a_new_picture_replaces_the_one_before() -> None:
    form = asked("picture=gone", (), upload(b"new"))
    assert form.is_valid()
    assert form.question()["image"].read() == b"new"


def test_shown__keeps_what_was_posted() -> None:
    form = asked("", (), upload(b"new", "cat.jpg"))
    assert form.is_valid()
    shown = asking.shown(form, Outcome(picture=SEEN))
    assert shown is not None
    kept, name = pictures.recall(shown.parameters["picture"][0]) or pytest.fail("It was not kept.")
    assert (name, kept.thumbnail) == ("cat.jpg", SEEN.thumbnail)
    assert asking.shown(form, Outcome()) == asking.Shown("cat.jpg")  # No vector: nothing to keep.


def test_shown__an_asset_by_its_own_thumbnail(make_asset: MakeAsset) -> None:
    asset = make_asset("red", title="Fire engine")
    form = asking.SearchForm(QueryDict(""), like=asset)
    assert form.is_valid()
    assert form.question()["image"] == asset
    assert asking.shown(form, None) == asking.Shown("Fire engine", "", {"like": [str(asset.pk)]})
