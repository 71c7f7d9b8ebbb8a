"""A part of a picture, to search with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from mediasearch.exceptions import QueryError
from mediasearch.features.base import Box

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from mediasearch.models import Asset
    from mediasearch.search.pictures import Whole

_NUMBERS, _FAR = 4, 1e9
_ROUNDING = 1e-6
"""How far a box may reach over the edge; fractions that were computed do, by less than a pixel."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a picture: what lies in a box of it.

    The box is left, top, width and height as fractions of the picture as people see it, each from 0 to 1, like the box
    of a word that was read in it.
    """

    image: Whole = field(repr=False)
    box: Box
    visible: QuerySet[Asset] | None = field(default=None, repr=False, compare=False, kw_only=True)
    """Set by a search: the assets of which whoever asks may see a part."""

    def __post_init__(self) -> None:
        box = self.box
        if not isinstance(box, tuple | list) or len(box) != _NUMBERS or not all(map(_is_number, box)):
            raise QueryError("The box of a crop is four numbers: left, top, width and height.")
        left, top, width, height = (float(number) for number in box)
        if width <= 0 or height <= 0:
            raise QueryError("The box of a crop is empty: its width and height must be above 0.")
        if min(left, top) < 0 or max(left + width, top + height) > 1 + _ROUNDING:
            raise QueryError(
                "The box of a crop reaches beyond the picture: left, top, width and height are fractions of it,"
                " so that left + width and top + height are at most 1."
            )
        object.__setattr__(self, "box", (left, top, width, height))


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float | np.floating) and not isinstance(value, bool) and abs(cast(float, value)) < _FAR
    )
