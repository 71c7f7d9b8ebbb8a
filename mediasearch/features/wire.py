"""Pictures on their way to the query worker: raw pixels in JSON, of a size that both sides bound.

No image format travels, so that the worker, which holds the model, never parses a file.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import Any

from PIL import Image

from mediasearch.exceptions import ImageTooLarge, ImageUnreadable
from mediasearch.features import opener

MOST_PICTURES = 8
"""Of one question."""


def most_pixels(input_size: int) -> int:
    """Return how many pixels a picture may have for a model that looks at `input_size` of its shortest side.

    What `opener.for_model` returns is no larger.
    """
    return 8 * (opener.DETAIL * input_size) ** 2


def pack(image: Image.Image) -> dict[str, Any]:
    """Return an RGB image as JSON."""
    packed = zlib.compress(image.tobytes(), level=1)
    return {"width": image.width, "height": image.height, "rgb": base64.b64encode(packed).decode("ascii")}


def unpack(parcels: Sequence[dict[str, Any]], input_size: int) -> list[Image.Image]:
    """Return the images that were packed, each no larger than it says and `most_pixels` allows.

    Raises ImageTooLarge, ImageUnreadable.
    """
    if len(parcels) > MOST_PICTURES:
        raise ImageTooLarge(f"A question has at most {MOST_PICTURES} pictures, not {len(parcels)}.")
    return [_unpack(parcel, most_pixels(input_size)) for parcel in parcels]


def _unpack(parcel: dict[str, Any], most: int) -> Image.Image:
    try:
        width, height = int(parcel["width"]), int(parcel["height"])
        if width < 1 or height < 1 or width * height > most:
            raise ImageTooLarge(f"A picture of {width} x {height} pixels is more than a question may have.")
        size = 3 * width * height
        pixels = zlib.decompressobj().decompress(base64.b64decode(parcel["rgb"], validate=True), size + 1)
    except (KeyError, TypeError, ValueError, OverflowError, binascii.Error, zlib.error) as error:
        raise ImageUnreadable(f"These are no packed pixels ({type(error).__name__}).") from error
    if len(pixels) != size:
        raise ImageUnreadable(f"A picture of {width} x {height} pixels has not as many as it says.")
    return Image.frombytes("RGB", (width, height), pixels)
