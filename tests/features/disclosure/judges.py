"""What others read in a file: Pillow, and exiftool where it is installed."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from PIL import Image, ImageSequence

EXIFTOOL = shutil.which("exiftool")
needs_exiftool = pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed")
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
