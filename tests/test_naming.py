from __future__ import annotations

import re

import pytest

from mediasearch import naming
from tests.conftest import picture

JPEG = picture(form="JPEG")
WORDS = {
    "evil.html": "evil",
    "a.jpg.html": "a-jpg",
    ".htaccess": "htaccess",
    "夜里的 红色汽车.jpg": "夜里的-红色汽车",
    "IMG_1234.JPG": "img_1234",
    "\u202egpj.exe": "gpj",
    "a\x00b\r\nc.jpg": "ab-c",
    "trailing. . ": "trailing",
    "CON": "con",
    "aux.jpg": "aux",
    "../../etc/passwd": "passwd",
    "C:\\photos\\me.png": "me",
    "??.svg": "picture",
    "": "picture",
    ".": "picture",
    "St. Ives harbour": "st-ives-harbour",
}


@pytest.mark.parametrize("name", WORDS)
def test_file_name__of_the_uploads_words_and_the_contents_extension(name: str) -> None:
    stored = naming.file_name(name, JPEG)
    assert re.fullmatch(rf"{WORDS[name]}-[0-9a-f]{{24}}\.jpg", stored), stored


@pytest.mark.parametrize("name", ["图" * 200 + ".png", "x" * 300, "a." + "y" * 300, "é" * 300])
def test_file_name__is_short(name: str) -> None:
    assert len(naming.file_name(name, JPEG).encode()) < 120


def test_file_name__is_never_given_twice() -> None:
    assert len({naming.file_name("a.jpg", JPEG) for _ in range(1_000)}) == 1_000
    assert len({naming.thumbnail_name() for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize("data", [b"<html>", b"<svg/>", b"", b"<?php"])
def test_file_name__of_what_is_no_picture_is_inert(data: bytes) -> None:
    assert naming.file_name("a.svg", data).endswith(".bin")


def test_stem__is_that_of_the_upload() -> None:
    assert naming.stem(naming.file_name("Red Car.html", JPEG)) == "red-car"


def test_download_name__of_an_upload_without_a_title() -> None:
    stored = "mediasearch/2026/12/" + naming.file_name("Red Car.html", JPEG)
    assert naming.download_name("", stored, "image/jpeg") == "red-car.jpg"
