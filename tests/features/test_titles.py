from __future__ import annotations

import pytest

from mediasearch.features import titles


@pytest.mark.parametrize(
    "title",
    ["", "IMG_1234", "DSC00012.JPG", "P1010101", "3f2504e0-4f89-41d3.png", "image001",
     "Screenshot 2026-01-31 at 10.11.12",
     "PXL_20260131_101112", "000000397133", "WhatsApp Image 2026-01-31", "Untitled", "a"],
)  # fmt: skip
def test_words__names_of_files_say_nothing(title: str) -> None:
    assert titles.words(title) == ""


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("A red bicycle, at night", "A red bicycle, at night"),
        ("red-bicycle.jpg", "red bicycle"),
        ("red_bicycle_2", "red bicycle 2"),
        ("Boats at dawn.jpeg", "Boats at dawn"),
        ("红色自行车", "红色自行车"),
        ("猫.png", "猫"),
        ("Exit 24", "Exit 24"),
    ],
)
def test_words__titles_say_what_they_say(title: str, said: str) -> None:
    assert titles.words(title) == said
