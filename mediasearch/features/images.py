"""The one place where a file becomes pixels.

Every file is somebody's upload and may be hostile, so this runs only inside `mediasearch.features.child`, with an
allow-list of formats and limits that are checked before anything is decoded.
"""

from __future__ import annotations

import io
import math
import resource
import warnings
from dataclasses import dataclass
from functools import cache
from typing import cast

from PIL import AvifImagePlugin, ExifTags, Image, ImageOps, UnidentifiedImageError

from mediasearch.exceptions import (
    CropTooSmall,
    FormatNotAllowed,
    ImageTooLarge,
    ImageUnreadable,
    MediaSearchError,
    NotAnImage,
)
from mediasearch.features import structure
from mediasearch.features.base import Box

MIME_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "HEIF": "image/heic",
}
FORMATS = tuple(MIME_TYPES)

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # As many as there are cores would each take memory of their own.

_LONGEST = 65_535
"""Pixels of one side, as in JPEG: each row takes memory beyond its pixels, and so does scaling a long one."""
_BYTES_A_PIXEL = {"WEBP": 16, "AVIF": 9}
"""What opening takes at its worst, where it is more than the picture itself and one copy."""
_OWN_BYTES = 60_000_000
"""What the process takes before it opens anything."""
_ROWS, _LONGEST_STRIP = 256, 8
_DECODED_SMALLER = ("JPEG", "MPO")
"""What can be decoded at a half, a quarter or an eighth of its size. Its EXIF is known before it is decoded."""
_SMALLEST_CROP = 8
"""Pixels of one side; of less, a model sees nothing but its own enlargement."""
_ON_THEIR_SIDE = (5, 6, 7, 8)
"""EXIF's orientations of pictures that are stored lying."""

_BOXED = b"ftyp"
"""What stands at the fifth byte of HEIC and AVIF, and of films."""

# What people upload by mistake, told by its first bytes, so that the message can say more than "not an image".
_SIGNATURES = (
    (b"%PDF", "This is a PDF, not an image. Upload its pages as images."),
    (b"8BPS", "Photoshop files are not accepted. Save it as PNG or JPEG."),
    (b"PK\x03\x04", "This is an archive or an office document, not an image."),
    (b"\x1aE\xdf\xa3", "This is a video, not an image."),
    (b"%!PS", "PostScript files are not accepted. Save it as PNG."),
)

_NO_MEMORY = (
    'Opening this image takes more memory than MEDIASEARCH["OPEN_MEMORY"] allows. Upload a smaller copy, or a JPEG.'
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an upload is looked at: bytes of the file, pixels of the picture, Pillow names of formats."""

    max_bytes: int = 50_000_000
    max_pixels: int = 50_000_000
    formats: tuple[str, ...] = FORMATS


@dataclass(frozen=True, slots=True)
class Opened:
    """A file with its picture."""

    image: Image.Image
    """The first frame as RGB, upright, transparency on white."""
    size: tuple[int, int]
    """Of the upright picture, or of the part of it, before it was reduced."""
    file: Image.Image
    """As Pillow opened it, with what the file says about itself."""


def open_image(data: bytes, limits: Limits, shortest_side: int | None = None) -> Image.Image:
    """Return the first frame as RGB, upright, transparency on white.

    With `shortest_side` (pixels), a much larger picture is reduced on the way, but never below that size.
    Raises a subclass of Refused that says what is wrong with the file.
    """
    return open_file(data, limits, shortest_side).image


def open_file(data: bytes, limits: Limits, shortest_side: int | None = None, box: Box | None = None) -> Opened:
    """Return the same with what else is known of the file; with a box, of that part of the picture alone."""
    image = identify(data, limits)
    try:
        size = image.size
        if shortest_side and image.format in _DECODED_SMALLER:
            factor = max(1, min(_size_of(_upright(image, size), box)) // shortest_side)
            image.draft("RGB", (size[0] // factor, size[1] // factor))
        image.load()
        size = _size_of(_upright(image, size), box)
        ImageOps.exif_transpose(image, in_place=True)
        scale = _scale(image)
        if box:
            image = image.crop(_corners(image.size, box))
        factor = max(1, min(image.size) // shortest_side) if shortest_side else 1
        return Opened(_plain(image, factor, scale), size, image)
    except CropTooSmall:
        raise
    except MemoryError:
        raise ImageTooLarge(_NO_MEMORY) from None
    except Image.DecompressionBombError:
        raise _too_many_pixels(limits) from None
    except Exception as error:  # Pillow raises nearly every class there is on a damaged file.
        raise ImageUnreadable(f"This image is damaged or cut short ({_reason(error)}).") from error


def identify(data: bytes, limits: Limits) -> Image.Image:
    """Return the image opened but not decoded. Raises a subclass of Refused."""
    if not data:
        raise NotAnImage("This file is empty.")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"This file has {len(data) / 1e6:.1f} MB; at most {limits.max_bytes / 1e6:g} MB are accepted"
            ' (MEDIASEARCH["MAX_BYTES"]).'
        )
    structure.check(data, limits.max_pixels)
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_formats(data, limits))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _too_many_pixels(limits) from None
    except UnidentifiedImageError:
        raise _refusal(data, limits) from None
    except Exception as error:  # Plugins fail on hostile headers in their own ways.
        raise ImageUnreadable(f"This image is damaged or cut short ({_reason(error)}).") from error
    _check_size(image)
    return image


def _upright(image: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a picture, which is stored in another, when it is seen as EXIF says."""
    return size[::-1] if image.getexif().get(ExifTags.Base.Orientation) in _ON_THEIR_SIDE else size


def _corners(size: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a part of a picture, in pixels."""
    left, top, width, height = box
    right, bottom = min(1.0, left + width), min(1.0, top + height)
    return round(left * size[0]), round(top * size[1]), round(right * size[0]), round(bottom * size[1])


def _size_of(size: tuple[int, int], box: Box | None) -> tuple[int, int]:
    """Return the size of a picture, or of a part of it. Raises CropTooSmall."""
    if box is None:
        return size
    left, top, right, bottom = _corners(size, box)
    part = right - left, bottom - top
    if min(part) < _SMALLEST_CROP:
        raise CropTooSmall(
            f"This part of the picture has {part[0]} x {part[1]} pixels; at least {_SMALLEST_CROP} each way can be"
            " searched with. Mark a larger part."
        )
    return part


def _check_size(image: Image.Image) -> None:
    """Refuse what would take too much memory; some decoders that find none call the file damaged."""
    if max(image.size) > _LONGEST:
        raise ImageTooLarge(
            f"This image is {max(image.size):,} pixels long; at most {_LONGEST:,} are accepted. Cut it into pieces."
        )
    allowed, _ = resource.getrlimit(resource.RLIMIT_DATA)
    needed = _OWN_BYTES + image.width * image.height * _BYTES_A_PIXEL.get(image.format or "", 8)
    if allowed != resource.RLIM_INFINITY and needed > allowed:
        raise ImageTooLarge(_NO_MEMORY)


def _too_many_pixels(limits: Limits) -> ImageTooLarge:
    return ImageTooLarge(
        f"This image has more than {limits.max_pixels / 1e6:g} million pixels"
        ' (MEDIASEARCH["MAX_PIXELS"]). Upload a smaller copy.'
    )


def in_proportion(image: Image.Image, size: tuple[int, int], input_size: int) -> Image.Image:
    """Return a picture that was reduced from `size`, its longest side a pixel longer or shorter where need be.

    Models scale the shortest side to `input_size` and cut the middle out of the other one; a reduced picture must give
    that as many pixels as the whole one does, or the cut lies elsewhere (cosine .996 between their vectors).
    """
    short, long = sorted(image.size)
    whole_short, whole_long = sorted(size)
    aim = input_size * whole_long // whole_short
    fitting = math.floor(short * whole_long / whole_short)
    if input_size * fitting // short < aim:
        fitting += 1
    if fitting == long or short == whole_short:
        return image
    return image.resize((short, fitting) if image.width < image.height else (fitting, short), Image.Resampling.BICUBIC)


def without_ends(image: Image.Image, shortest_side: int) -> Image.Image:
    """Return the picture; of a long strip its middle, for scaled to a model's input it would fill any memory.

    It is at most 8 times as long as wide, and not larger than a picture of 1 to 8 whose width is `shortest_side`.
    """
    width, height = image.size
    short = min(image.size)
    kept = max(1, min(_LONGEST_STRIP * short, _LONGEST_STRIP * shortest_side**2 // short))
    left, top = max(0, (width - kept) // 2), max(0, (height - kept) // 2)
    return image.crop((left, top, width - left, height - top)) if left or top else image


def mime_type(image: Image.Image) -> str:
    """Return the media type of an opened image."""
    return MIME_TYPES.get("JPEG" if image.format == "MPO" else image.format or "", "application/octet-stream")


@cache
def reads_heic() -> bool:
    """Load what opens HEIC, where it is installed; only files that need it wait the 6 ms that this takes."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(decode_threads=1)
    return True


def _formats(data: bytes, limits: Limits) -> list[str]:
    """Return what a file may be opened as."""
    return _openable(limits) if data[4:8] == _BOXED else [name for name in limits.formats if name != "HEIF"]


def _openable(limits: Limits) -> list[str]:
    return [name for name in limits.formats if name != "HEIF" or reads_heic()]


def _refusal(data: bytes, limits: Limits) -> MediaSearchError:
    head = data[:512]
    brand = head[8:12] if head[4:8] == _BOXED else b""
    if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
        if reads_heic():
            return ImageUnreadable("This HEIC image is damaged or cut short.")
        return FormatNotAllowed("HEIC images need an extra: `pip install mediasearch[heic]` on web and workers.")
    if brand and brand not in (b"avif", b"avis"):
        return FormatNotAllowed("This is a video, not an image.")
    if b"<svg" in head.lower() or head.lstrip().startswith(b"<?xml"):
        return FormatNotAllowed("SVG drawings are not accepted. Export it as PNG.")
    for signature, message in _SIGNATURES:
        if head.startswith(signature):
            return FormatNotAllowed(message)
    accepted = ", ".join(name if name != "HEIF" else "HEIC" for name in _openable(limits))
    return NotAnImage(f"This file is not an image, or not of a format that is accepted ({accepted}).")


def _plain(image: Image.Image, factor: int, scale: float) -> Image.Image:
    """Return a decoded picture as RGB on white, reduced by a factor; `scale` brings deep pixels to 8 bits."""
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        reduced = image.reduce(factor) if factor > 1 else image
        return reduced if reduced.mode == "RGB" else reduced.convert("RGB")
    # A band at a time, for converting all of it at once takes several times its memory.
    rows = max(1, _ROWS // factor) * factor
    plain = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        plain.paste(_flatten(_eight_bit(band, scale).reduce(factor)), (0, top // factor))
    return plain


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _scale(image: Image.Image) -> float:
    """Return what brings deep pixels to 8 bits by their range; Pillow alone would clip them to white."""
    if not _is_deep(image):
        return 1.0
    brightest = 65_535.0 if image.mode.startswith("I;16") else cast(tuple[float, float], image.getextrema())[1]
    return 255 / brightest if brightest > 255 else 1.0


def _eight_bit(image: Image.Image, scale: float) -> Image.Image:
    if _is_deep(image):
        return image.convert("F").point(lambda value: value * scale + 0).convert("L")
    if image.mode in ("1", "P", "PA", "LAB", "HSV", "CMYK", "YCbCr", "La", "RGBa"):
        return image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") or "transparency" in image.info else "RGB")
    return image


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        ground = Image.new("RGB", layer.size, "white")
        ground.paste(layer, mask=layer)
        return ground
    return image if image.mode == "RGB" else image.convert("RGB")


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
