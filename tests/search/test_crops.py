from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mediasearch import Crop
from mediasearch.exceptions import QueryError
from mediasearch.features.base import Word
from tests.conftest import picture

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 1, 1),
        [0.25, 0.5, 0.25, 0.5],
        (0.1, 0.7, 0.9000000000000001, 0.30000000000000004),
        tuple(np.float32([0, 0, 0.5, 0.5])),
        Word("STOP", (0.1, 0.2, 0.3, 0.05), 0.9, 0).box,
    ],
)
def test_crop__holds_a_box_of_floats(box: Any) -> None:
    crop = Crop(picture(), box)
    assert crop.box == tuple(map(float, box))
    assert all(type(number) is float for number in crop.box)
    assert crop == Crop(picture(), tuple(crop.box))


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        ((0.5, 0.5, 0, 0.5), "is empty"),
        ((0.5, 0.5, 0.5, -0.5), "is empty"),
        ((-0.1, 0, 0.5, 0.5), "beyond the picture"),
        ((0, 0.6, 0.5, 0.5), "beyond the picture"),
        ((0, 0, 1.1, 1), "beyond the picture"),
        ((10, 10, 200, 100), "beyond the picture"),  # Pixels.
        ((0, 0, NAN, 1), "four numbers"),
        ((NAN, 0, 1, 1), "four numbers"),
        ((0, 0, INFINITY, 1), "four numbers"),
        ((0, 0, 10**5_000, 1), "four numbers"),
        ((0, 0, 1), "four numbers"),
        ((0, 0, 1, 1, 1), "four numbers"),
        ((0, 0, True, True), "four numbers"),
        (("0", "0", "1", "1"), "four numbers"),
        ((0, 0, 1j, 1), "four numbers"),
        ("0011", "four numbers"),
        (None, "four numbers"),
        ({0, 1, 2, 3}, "four numbers"),
        ([0.0] * 1_000_000, "four numbers"),
    ],
)
def test_crop__refuses_a_box_that_is_none(box: Any, sentence: str) -> None:
    with pytest.raises(QueryError, match=sentence) as caught:
        Crop(picture(), box)
    assert len(str(caught.value)) < 250
