"""The one place where a file becomes pixels.

Every file is somebody's upload and may be hostile, so this runs only inside `mediasearch.features.child`, with an
allow-list of formats and limits that are checked before anything is decoded.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import cast

from PIL import Image, ImageOps, UnidentifiedImageError

from mediasearch.exceptions import FormatNotAllowed, ImageTooLarge, ImageUnreadable, MediaSearchError, NotAnImage

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

try:
    import pillow_heif
except ImportError:
    HEIC_READABLE = False
else:
    pillow_heif.register_heif_opener()
    HEIC_READABLE = True

# What people upload by mistake, told by its first bytes, so that the message can say more than "not an image".
_SIGNATURES = (
    (b"%PDF", "This is a PDF, not an image. Upload its pages as images."),
    (b"8BPS", "Photoshop files are not accepted. Save it as PNG or JPEG."),
    (b"PK\x03\x04", "This is an archive or an office document, not an image."),
    (b"\x1aE\xdf\xa3", "This is a video, not an image."),
    (b"%!PS", "PostScript files are not accepted. Save it as PNG."),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an upload is looked at: bytes of the file, pixels of the picture, Pillow names of formats."""

    max_bytes: int = 50_000_000
    max_pixels: int = 50_000_000
    formats: tuple[str, ...] = FORMATS


def open_image(data: bytes, limits: Limits, shortest_side: int | None = None) -> Image.Image:
    """Return the first frame as RGB, upright, transparency on white.

    With `shortest_side` (pixels), a much larger picture is reduced on the way, but never below that size.
    Raises a subclass of Refused that says what is wrong with the file.
    """
    try:
        image = identify(data, limits)
        if shortest_side:
            image.draft("RGB", (shortest_side, shortest_side))
        image.load()
        image = ImageOps.exif_transpose(image)
        if shortest_side and (factor := min(image.size) // shortest_side) >= 2:
            image = _eight_bit(image).reduce(factor)
        return _flatten(_eight_bit(image))
    except MediaSearchError:
        raise
    except MemoryError:
        raise ImageTooLarge("This image needs more memory than may be used to open it.") from None
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
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_openable(limits))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ImageTooLarge(
            f"This image has more than {limits.max_pixels / 1e6:g} million pixels"
            ' (MEDIASEARCH["MAX_PIXELS"]). Upload a smaller copy.'
        ) from None
    except UnidentifiedImageError:
        raise _refusal(data, limits) from None
    except Exception as error:  # Plugins fail on hostile headers in their own ways.
        raise ImageUnreadable(f"This image is damaged or cut short ({_reason(error)}).") from error
    return image


def middle(image: Image.Image, most_pixels: int) -> Image.Image:
    """Return the picture; of a strip that has more pixels than that, the middle, which is what most models look at."""
    width, height = image.size
    if width * height <= most_pixels:
        return image
    if width >= height:
        kept = max(most_pixels // height, 1)
        left = (width - kept) // 2
        return image.crop((left, 0, left + kept, height))
    kept = max(most_pixels // width, 1)
    top = (height - kept) // 2
    return image.crop((0, top, width, top + kept))


def mime_type(image: Image.Image) -> str:
    """Return the media type of an opened image."""
    return MIME_TYPES.get("JPEG" if image.format == "MPO" else image.format or "", "application/octet-stream")


def _openable(limits: Limits) -> list[str]:
    return [name for name in limits.formats if name != "HEIF" or HEIC_READABLE]


def _refusal(data: bytes, limits: Limits) -> MediaSearchError:
    head = data[:512]
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
        if HEIC_READABLE:
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


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring deeper pixels to 8 bits by their range; Pillow alone would clip them to white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        deep = image.convert("F")
        brightest = 65_535.0 if image.mode.startswith("I;16") else cast(tuple[float, float], deep.getextrema())[1]
        scale = 255 / brightest if brightest > 255 else 1.0
        return deep.point(lambda value: value * scale + 0).convert("L")
    if image.mode in ("1", "P", "PA", "LAB", "HSV", "CMYK", "YCbCr", "La", "RGBa"):
        return image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") or "transparency" in image.info else "RGB")
    return image


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
