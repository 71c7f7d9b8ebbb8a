"""The process that opens files: ``python -m mediasearch.features.child``.

It imports neither Django nor torch, knows no secret, lives under its own limits, and may die: `sandbox.Sandbox`
starts another. Requests and answers travel over its standard input and output as frames: lengths, a JSON header,
and bytes.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import resource
import struct
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any, BinaryIO

from mediasearch.exceptions import DecoderCrashed, ImageTooLarge, MediaSearchError, ReaderUnavailable

LENGTHS = struct.Struct(">IQ")
Answer = tuple[dict[str, Any], bytes]


def write_frame(stream: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    """Send one frame."""
    encoded = json.dumps(header).encode()
    stream.write(LENGTHS.pack(len(encoded), len(payload)) + encoded)
    stream.write(payload)
    stream.flush()


def read_frame(stream: BinaryIO) -> Answer | None:
    """Receive one frame; None when the other side has gone."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    header_length, payload_length = LENGTHS.unpack(lengths)
    header, payload = stream.read(header_length), stream.read(payload_length)
    if len(header) < header_length or len(payload) < payload_length:
        return None
    return json.loads(header), payload


def inspect(data: bytes, options: dict[str, Any]) -> Answer:
    """Hashes, size, metadata, and as payload a WebP thumbnail."""
    from mediasearch.features import hashing, images, metadata

    limits = _limits(options)
    opened = images.identify(data, limits)
    found = asdict(metadata.read(opened))
    found["taken_at"] = found["taken_at"] and found["taken_at"].isoformat()
    side = options["thumbnail_size"]
    image = images.open_image(data, limits)
    answer = {
        "content_hash": hashing.content_hash(data),
        "perceptual_hash": hashing.perceptual_hash(image),
        "mime_type": images.mime_type(opened),
        "byte_size": len(data),
        "width": image.width,
        "height": image.height,
        "metadata": found,
    }
    image.thumbnail((side, side), reducing_gap=2.0)
    thumbnail = io.BytesIO()
    image.save(thumbnail, "WEBP", quality=80)
    return answer, thumbnail.getvalue()


def verify(data: bytes, options: dict[str, Any]) -> Answer:
    """Decode the picture and say only that it can be."""
    from mediasearch.features import images

    images.open_image(data, _limits(options), shortest_side=64)
    return {}, b""


def pixels(data: bytes, options: dict[str, Any]) -> Answer:
    """The picture as raw RGB bytes, row by row, reduced to no less than `shortest_side`; cut to `most_pixels`."""
    from mediasearch.features import images

    image = images.open_image(data, _limits(options), options["shortest_side"])
    if most_pixels := options.get("most_pixels"):
        image = images.middle(image, most_pixels)
    return {"width": image.width, "height": image.height}, image.tobytes()


def read(data: bytes, options: dict[str, Any]) -> Answer:
    """The words in the picture."""
    from mediasearch.features import images

    reader = _reader(options["backend"], json.dumps(options["backend_options"]))
    reading = reader.read(images.open_image(data, _limits(options)))
    return {"text": reading.text, "words": [asdict(word) for word in reading.words]}, b""


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
    operation.__name__: operation for operation in (inspect, verify, pixels, read)
}


def answer(header: dict[str, Any], payload: bytes) -> Answer:
    """Carry out one request; what is wrong with the file becomes an answer, not a crash."""
    try:
        return OPERATIONS[header["operation"]](payload, header["options"])
    except MemoryError:
        error: Exception = ImageTooLarge("This image needs more memory than may be used to open it.")
    except MediaSearchError as refusal:
        error = refusal
    except Exception as unexpected:
        error = DecoderCrashed(f"This image could not be processed ({type(unexpected).__name__}: {unexpected}).")
    return {"error": type(error).__name__, "message": str(error)}, b""


def main() -> None:
    """Answer requests until the input closes. The one argument is the memory limit in bytes."""
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Libraries that print must not write into the frames.
    while frame := read_frame(requests):
        write_frame(answers, *answer(*frame))


if __name__ == "__main__":
    main()
