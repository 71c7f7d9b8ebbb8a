"""The demo's sample library is complete, small and true to its catalogue."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from project.library import catalog, render
from project.library.catalog import CATALOGUE, pictures
from project.library.layout import Sign, Text
from project.library.signs import SIGNS

PACKAGES = ("matplotlib", "skimage", "sklearn")
CATEGORIES = {
    "animals",
    "food",
    "menus",
    "nature",
    "objects",
    "people",
    "places",
    "posters",
    "receipts",
    "science",
    "signs",
    "space",
    "textures",
}
FORMATS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
LARGEST = 3_000_000

ENTRIES = json.loads(CATALOGUE.read_text(encoding="utf-8"))
RENDERED = [entry for entry in ENTRIES if "file" in entry]
needs_wheels = pytest.mark.skipif(
    any(find_spec(package) is None for package in PACKAGES), reason="the wheels with the photographs are not installed"
)


def by_key(entry: dict[str, object]) -> str:
    return str(entry["key"])


@needs_wheels
def test_pictures__are_at_least_forty() -> None:
    assert len(pictures()) >= 40
    assert len(pictures()) == len(ENTRIES)


def test_pictures__have_unique_keys() -> None:
    keys = [entry["key"] for entry in ENTRIES]

    assert len(set(keys)) == len(keys)


def test_pictures__have_unique_titles() -> None:
    titles = [picture.title for picture in pictures()]

    assert len(set(titles)) == len(titles)


def test_pictures__join_both_languages() -> None:
    picture = next(picture for picture in pictures() if picture.key == "library-silence")

    assert picture.title == "Silence sign in a library / 图书馆请保持安静标志"
    assert picture.caption.splitlines()[1].startswith("图书馆阅览室")
    assert picture.tags[0] == "library"
    assert picture.tags[-1] == "蓝色"
    assert picture.language == "en"


@pytest.mark.parametrize("picture", pictures(), ids=lambda picture: picture.key)
def test_pictures__open_in_the_format_of_their_name(picture: catalog.Picture) -> None:
    with Image.open(picture.path) as image:
        image.load()

        assert image.format == FORMATS[picture.path.suffix]


@pytest.mark.parametrize("entry", ENTRIES, ids=by_key)
def test_entries__say_everything_in_english_and_chinese(entry: dict[str, dict[str, str]]) -> None:
    for language in ("en", "zh"):
        assert entry["title"][language].strip()
        assert entry["caption"][language].strip()
        assert 3 <= len(entry["tags"][language]) <= 6
        assert all(tag.strip() for tag in entry["tags"][language])
    assert any("一" <= letter <= "鿿" for letter in entry["title"]["zh"])


@pytest.mark.parametrize("entry", ENTRIES, ids=by_key)
def test_entries__have_a_known_category_and_a_licence(entry: dict[str, str]) -> None:
    assert entry["category"] in CATEGORIES
    assert entry["licence"].strip()


def test_entries__of_rendered_pictures_have_the_lines_of_their_sign() -> None:
    drawn = {sign.file: list(sign.lines) for sign in SIGNS}

    assert all(drawn.values())
    assert {entry["file"]: entry["lines"] for entry in RENDERED} == drawn


def test_library__is_small() -> None:
    folder = Path(catalog.__file__).parent
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)

    assert sum(path.stat().st_size for path in files) <= LARGEST


def test_script__draws_the_files_in_the_folder() -> None:
    names = [sign.file for sign in SIGNS]

    assert sorted(names) == sorted(path.name for path in render.PICTURES.iterdir())


def test_script__uses_each_format() -> None:
    assert {Path(sign.file).suffix for sign in SIGNS} == set(FORMATS)


def test_pictures__leave_out_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda package: None)

    assert {picture.key for picture in pictures()} == {entry["key"] for entry in RENDERED}


def test_pictures__do_not_import_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in PACKAGES:
        monkeypatch.delitem(sys.modules, package, raising=False)

    pictures()

    assert not set(PACKAGES) & set(sys.modules)


def test_draw__says_which_font_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(render.FONTS, "sans", ("no-such-font.ttc", 0, "Noto Sans CJK", "fonts-noto-cjk"))
    render.font.cache_clear()

    with pytest.raises(render.FontMissing, match="Noto Sans CJK is not installed: apt-get install fonts-noto-cjk"):
        render.font("sans", 20)


def test_draw__refuses_text_that_is_wider_than_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    sign = Sign("wide.png", 100, 0, paper="#ffffff", ink="#000000", blocks=(Text("far too wide", 60),))
    monkeypatch.setattr(render, "font", lambda face, size: render.ImageFont.load_default(size * render.FINENESS))

    with pytest.raises(render.DoesNotFit, match=r"“far too wide” on wide\.png needs \d+% of the width"):
        render.draw(sign)
