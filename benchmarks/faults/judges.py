"""What others read in a file: Pillow, and exiftool where it is installed."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator

from PIL import Image, ImageSequence

EXIFTOOL = shutil.which("exiftool")
PRIVATE = re.compile(
    r"GPS|Serial|OwnerName|CameraOwner|UniqueID|DocumentID|InstanceID|History|MakerNote|Region|Sub-?location|HostComputer"
    r"|ContentLocation|Thumbnail(?!Offset)|(?<!IFD0:)(?<!IFD1:)PreviewImage|Location(Created|Shown)",
    re.IGNORECASE,
)


def said(data: bytes) -> dict[str, str]:
    """All that exiftool finds in a file, unknown tags and embedded files too, by "GROUP:NAME"."""
    command = [str(EXIFTOOL), "-a", "-u", "-U", "-ee", "-G1", "-j", "-n", "-struct", "-"]
    answer = subprocess.run(command, input=data, capture_output=True, check=False).stdout
    return {name: json.dumps(value) for name, value in json.loads(answer)[0].items()}


def private(data: bytes) -> set[str]:
    """The names of all that exiftool finds and that nobody should."""
    return {name for name in said(data) if PRIVATE.search(name) and not name.startswith("File:")}


def frames(data: bytes) -> Iterator[tuple[str, tuple[int, int], bytes]]:
    """The pixels of each frame, as they are stored."""
    with Image.open(io.BytesIO(data)) as image:
        for frame in ImageSequence.Iterator(image):
            yield frame.mode, frame.size, frame.tobytes()


def profile(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.info.get("icc_profile") or b""


def orientation(data: bytes) -> int | None:
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif().get(0x112)


def private_tags(data: bytes) -> set[int]:
    """The tags that Pillow finds in a file and that nobody should; of one that it can't open, none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            exif = image.getexif()
            return {*exif.get_ifd(0x8825), *(exif.get_ifd(0x8769).keys() & {0xA430, 0xA431, 0xA435, 0xA420, 0x927C})}
    except Exception:  # Pillow fails on damaged files in every way there is.
        return set()
