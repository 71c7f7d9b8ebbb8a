"""The process that opens files, whose other half, `warden`, has started it.

It imports neither Django nor torch, knows no secret, lives under its own limits, and may die: `sandbox.Sandbox`
starts another. One opens files, another reads words and is only given pixels: its first request says which it is, and
it gives up all else before it looks at the bytes. Requests and answers travel over its standard input and output as
frames: lengths, a JSON header, and bytes.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from mediasearch.exceptions import (
    DecoderCrashed,
    ImageTooLarge,
    MediaSearchError,
    ReaderFailed,
    ReaderUnavailable,
)
from mediasearch.features import confinement, exposure, warden

if TYPE_CHECKING:
    from PIL import Image

LENGTHS = struct.Struct(">IQ")
LARGEST_HEADER = 16_000_000
"""Bytes; the words of a page of a newspaper are a hundredth of it."""
LEAVES = "leaves"
"""In each answer: has something that was started been left behind, so that this child should be replaced?"""
EXPOSED = "exposed"
"""In each answer: the names of what the child could still do if a file took it over, of `exposure.EXPOSURES`."""
_FOR_READER = ("read", "idle")
Answer = tuple[dict[str, Any], bytes]


def write_frame(stream: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    """Send one frame."""
    encoded = json.dumps(header).encode()
    stream.write(LENGTHS.pack(len(encoded), len(payload)) + encoded)
    stream.write(payload)
    stream.flush()


def read_frame(stream: BinaryIO, most: int = 1 << 63) -> Answer | None:
    """Receive one frame; None when the other side has gone, or sends too large a header or more than `most` bytes.

    Raises ValueError, RecursionError where the header is no JSON.
    """
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    header_length, payload_length = LENGTHS.unpack(lengths)
    if header_length > LARGEST_HEADER or payload_length > most:
        return None
    header, payload = stream.read(header_length), stream.read(payload_length)
    if len(header) < header_length or len(payload) < payload_length:
        return None
    return json.loads(header), payload


def inspect(data: bytes, options: dict[str, Any]) -> Answer:
    """Hashes, size, metadata, and as payload a WebP thumbnail."""
    from mediasearch.features import hashing, images, metadata

    side = options["thumbnail_size"]
    opened = images.open_file(data, _limits(options), 2 * side)
    found = asdict(metadata.read(opened.file))
    found["taken_at"] = found["taken_at"] and found["taken_at"].isoformat()
    width, height = opened.size
    answer = {
        "content_hash": hashing.content_hash(data),
        "perceptual_hash": hashing.perceptual_hash(opened.image),
        "mime_type": images.mime_type(opened.file),
        "byte_size": len(data),
        "width": width,
        "height": height,
        "metadata": found,
    }
    opened.image.thumbnail((side, side), reducing_gap=2.0)
    thumbnail = io.BytesIO()
    opened.image.save(thumbnail, "WEBP", quality=80)
    return answer, thumbnail.getvalue()


def verify(data: bytes, options: dict[str, Any]) -> Answer:
    """Decode the picture and say only that it can be."""
    from mediasearch.features import images

    images.open_image(data, _limits(options), shortest_side=64)
    return {}, b""


def pixels(data: bytes, options: dict[str, Any]) -> Answer:
    """The picture as raw RGB bytes, row by row, reduced to no less than `shortest_side`; a long strip to its middle.

    With `input_size`, in the proportion that a model needs that scales the shortest side to that. With a `box`, all
    this of that part of the picture.
    """
    from mediasearch.features import images

    side, box = options["shortest_side"], options.get("box")
    opened = images.open_file(data, _limits(options), side, tuple(box) if box else None)
    image = opened.image
    if input_size := options.get("input_size"):
        image = images.in_proportion(image, opened.size, input_size)
    return _raw(images.without_ends(image, side))


def page(data: bytes, options: dict[str, Any]) -> Answer:
    """The same for a reader of words: reduced to no less than `enough_pixels`, and whole."""
    from mediasearch.features import images

    limits = _limits(options)
    width, height = images.identify(data, limits).size
    factor = max(1, math.isqrt(width * height // options["enough_pixels"]))
    return _raw(images.open_image(data, limits, max(1, min(width, height) // factor)))


def _raw(image: Image.Image) -> Answer:
    return {"width": image.width, "height": image.height}, image.tobytes()


def read(data: bytes, options: dict[str, Any]) -> Answer:
    """The words in a picture, of which `data` are the pixels."""
    from PIL import Image

    reader = _reader(*(reader_of("read", options) or ("", "")))
    try:
        reading = reader.read(Image.frombytes("RGB", (options["width"], options["height"]), data))
    except MediaSearchError:
        raise
    except (PermissionError, ImportError) as error:  # No picture's fault.
        raise ReaderUnavailable(
            f"The reader {options['backend']} lacks something ({error}). If that is there, it must be named in the"
            " reader's access(): docs/security.md."
        ) from error
    except MemoryError:
        raise ImageTooLarge('Reading this picture takes more memory than MEDIASEARCH["READ_MEMORY"] allows.') from None
    except Exception as error:  # Readers are plug-ins, and engines fail in their own ways.
        raise ReaderFailed(f"The reader failed on this picture ({type(error).__name__}: {error}).") from error
    return {"text": reading.text, "words": [asdict(word) for word in reading.words]}, b""


def clear(data: bytes, options: dict[str, Any]) -> Answer:
    """The file with only that metadata which may leave with it."""
    from mediasearch.features.disclosure import files

    return {}, files.cleared(data)


def idle(data: bytes, options: dict[str, Any]) -> Answer:
    """Nothing, for a caller that only wants to know how far the child is confined."""
    return {}, b""


def reader_of(operation: str, options: dict[str, Any]) -> tuple[str, str] | None:
    """Return the reader's path and its options as JSON; None for what needs no reader. A child serves only one."""
    if operation not in _FOR_READER or "backend" not in options:
        return None
    return options["backend"], json.dumps(options["backend_options"])


@cache
def _reader(path: str, options: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)(**json.loads(options))
    except (ImportError, AttributeError, TypeError) as error:  # No picture's fault.
        raise ReaderUnavailable(f"The reader {path} can't be loaded: {error}.") from error


def _limits(options: dict[str, Any]) -> Any:
    from mediasearch.features.images import Limits

    return Limits(options["max_bytes"], options["max_pixels"], tuple(options["formats"]))


OPERATIONS: dict[str, Callable[[bytes, dict[str, Any]], Answer]] = {
    operation.__name__: operation for operation in (inspect, verify, pixels, page, read, clear, idle)
}


def answer(header: dict[str, Any], payload: bytes) -> Answer:
    """Carry out one request; what is wrong with the file becomes an answer, not a crash."""
    try:
        return OPERATIONS[header["operation"]](payload, header["options"])
    except MemoryError:
        return _told(ImageTooLarge("This image takes more memory than may be used for it. Upload a smaller copy."))
    except MediaSearchError as refusal:
        return _told(refusal)
    except Exception as unexpected:
        reason = f"{type(unexpected).__name__}: {unexpected}"
        return _told(DecoderCrashed(f"This image could not be processed ({reason})."))


def _told(error: MediaSearchError) -> Answer:
    return {"error": type(error).__name__, "message": str(error)}, b""


def main() -> None:
    """Answer requests until the input closes.

    The last arguments: bytes of memory, seconds of processor time for a file, the process id of the warden's parent,
    and a folder for temporary files.
    """
    memory, seconds, folder = int(sys.argv[-4]), float(sys.argv[-3]), sys.argv[-1]
    confinement.confine(memory)
    warden.adopt_orphans()
    os.environ["TMPDIR"] = os.environ["HOME"] = folder
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Libraries that print must not write into the frames.
    confinement.allow(seconds)
    frame = read_frame(requests)
    exposed = _enclose(frame[0], folder) if frame else []
    while frame is not None:
        confinement.allow(seconds)
        header, payload = answer(*frame)
        write_frame(answers, header | {LEAVES: _is_spent(header), EXPOSED: exposed}, payload)
        frame = read_frame(requests)


def _enclose(header: dict[str, Any], folder: str) -> list[str]:
    """Give up what the first request does not need; return what could not be given up."""
    access = None
    if reader := reader_of(header["operation"], header["options"]):
        with suppress(ReaderUnavailable):  # As the answer will say.
            access = _reader(*reader).access()
    threads = confinement.threads()
    confinement.enclose(folder, access)
    return exposure.exposures(folder) + [exposure.THREADS] * (threads > 1)


def _is_spent(header: dict[str, Any]) -> bool:
    """Should another child take over? Of what a reader lacks, one that is confined sees nothing when it comes."""
    return confinement.left_processes() or header.get("error") == ReaderUnavailable.__name__
