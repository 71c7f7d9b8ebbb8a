"""Pixels on their way to the query worker, which trusts them only as far as they say."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mediasearch.exceptions import Refused
from mediasearch.features import wire

SIZE = 32


def image(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8))


def rgb(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def test_pack__arrives_as_it_was() -> None:
    sent = [image(), image(1, 1), image(4 * SIZE, 8 * SIZE)]
    arrived = wire.unpack(json.loads(json.dumps([wire.pack(each) for each in sent])), SIZE)
    assert [each.tobytes() for each in arrived] == [each.tobytes() for each in sent]
    assert [each.size for each in arrived] == [each.size for each in sent]


@pytest.mark.parametrize(
    "change",
    [
        {"width": 41},
        {"width": 39},
        {"width": 0},
        {"width": -40, "height": -30},
        {"width": 10**6, "height": 10**6},
        {"width": 10**400},
        {"width": "wide"},
        {"width": None},
        {"width": float("inf")},
        {"width": float("nan")},
        {"rgb": "?"},
        {"rgb": ""},
        {"rgb": None},
        {"rgb": base64.b64encode(b"no zlib").decode()},
        {"rgb": rgb(b"short")},
        {"rgb": rgb(bytes(200_000_000))},
    ],
    ids=str,
)
def test_unpack__refuses_what_is_not_as_it_says(change: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        wire.unpack([wire.pack(image()) | change], SIZE)


def test_unpack__refuses_more_pixels_than_the_model_needs() -> None:
    with pytest.raises(Refused, match="more than a question may have"):
        wire.unpack([wire.pack(image(12 * SIZE + 1, 6 * SIZE))], SIZE)


def test_unpack__refuses_many_pictures() -> None:
    with pytest.raises(Refused, match="at most 8 pictures, not 9"):
        wire.unpack([wire.pack(image())] * 9, SIZE)
