"""Ask a killable child what is in a file: the same way for uploads, for indexing and for pictures in a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from PIL import Image

from mediasearch import conf
from mediasearch.exceptions import Busy, DecoderCrashed, ImageTooLarge, ReaderFailed, StorageUnavailable
from mediasearch.features.base import Box, Reading, Word
from mediasearch.features.sandbox import Budget, Sandbox

DETAIL = 3
"""How many times as large as the model's input a picture stays that is reduced: below, its vector moves."""
_FILES_PER_READER = 200
_CLEARING_SECONDS = 10.0
"""At most, for a file that somebody waits for; one of 50 MB takes less than one."""
_ENOUGH_TO_READ = 12_000_000
"""Pixels; a picture of four times as many, or more, is halved before its words are read."""


def load(stream: BinaryIO) -> bytes:
    """Read a file that may be too large, or whose storage may fail half-way.

    Raises ImageTooLarge, StorageUnavailable.
    """
    limit = conf.settings().max_bytes
    try:
        data = stream.read(limit + 1)
    except OSError as error:
        raise StorageUnavailable(f"The storage failed while a file was read: {error}.") from error
    if len(data) > limit:
        raise ImageTooLarge(f'This file has more than the {limit / 1e6:g} MB that MEDIASEARCH["MAX_BYTES"] allows.')
    return data


def verify(data: bytes) -> None:
    """Return if the picture can be opened and decoded. Raises a subclass of Refused or of Troublesome."""
    _opener().call("verify", data, _limits())


def inspect(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what `child.inspect` found, and a WebP thumbnail."""
    return _opener().call("inspect", data, _limits() | {"thumbnail_size": conf.settings().thumbnail_size})


def pixels(data: bytes, shortest_side: int, *, input_size: int | None = None, box: Box | None = None) -> Image.Image:
    """Return the picture in RGB, reduced on the way where its shortest side is far above `shortest_side` pixels.

    With `input_size`, in the proportion that a model needs that scales the shortest side to so many pixels. Of a long
    strip it is the middle. With a `box`, all this of that part of the picture, which is cut out before it is reduced.
    """
    reduction = {"shortest_side": shortest_side, "input_size": input_size, "box": box}
    return _image(*_opener().call("pixels", data, _limits() | reduction))


def for_model(data: bytes, input_size: int, box: Box | None = None) -> Image.Image:
    """Return the picture, or a part of it, as a model sees best that looks at `input_size` pixels of its shortest side.

    Raises a subclass of Refused or of Troublesome.
    """
    return pixels(data, DETAIL * input_size, input_size=input_size, box=box)


def for_question(data: bytes, input_size: int, box: Box | None = None) -> Image.Image:
    """Return the same of a picture that somebody searches with, within MEDIASEARCH["QUESTION_SECONDS"].

    It is opened by a process that neither uploads nor indexing wait for, and never waits itself. Raises a subclass of
    Refused or of Troublesome, and Busy while all MEDIASEARCH["QUESTION_OPENERS"] are opening others.
    """
    reduction = {"shortest_side": DETAIL * input_size, "input_size": input_size, "box": box}
    for sandbox in _question_openers():
        with suppress(Busy):
            return _image(*sandbox.call("pixels", data, _limits() | reduction, waits=False))
    raise Busy


def _image(size: dict[str, Any], raw: bytes) -> Image.Image:
    """Return the picture that a child answered with. Raises DecoderCrashed where the answer is none."""
    width, height = size.get("width"), size.get("height")
    # A file that took the child over chooses what it answers.
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and len(raw) == 3 * width * height):
        raise DecoderCrashed("The process that opened this file answered with something that is no picture.")
    return Image.frombytes("RGB", (width, height), raw)


def read(data: bytes) -> Reading:
    """Return the words in a picture, read by MEDIASEARCH["READER"]."""
    spec = conf.settings().reader
    if spec is None:
        return Reading()
    size, raw = _opener().call("page", data, _limits() | {"enough_pixels": _ENOUGH_TO_READ})
    options = {"backend": spec.backend, "backend_options": dict(spec.options)}
    answer, _ = _reader().call("read", raw, size | options)
    try:
        return Reading(tuple(_word(**word) for word in answer["words"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ReaderFailed("The process that read this picture answered with something that is no text.") from error


def _word(text: str, box: Sequence[float], confidence: float, line: int) -> Word:
    """Return a word of a child's answer. Raises TypeError, ValueError."""
    left, top, width, height = map(float, box)
    return Word(str(text), (left, top, width, height), float(confidence), int(line))


def cleared(data: bytes) -> bytes:
    """Return a picture's file with only that metadata which may leave with it, its pixels bit for bit.

    A child of its own does it, so that downloads don't wait for pictures to be decoded. Raises Withheld where metadata
    can't be told from the picture, Troublesome, Unavailable.
    """
    settings = conf.settings()
    seconds = min(settings.open_seconds, _CLEARING_SECONDS)
    sandbox = _sandbox("clear", Budget(seconds, settings.open_memory))
    _, payload = sandbox.call("clear", data, {})
    return payload


def exposures() -> set[str]:
    """Return what children could still do if a file took one over, of `exposure.EXPOSURES`: one of each kind tries."""
    sandbox = _opener()
    sandbox.call("idle", b"", {})
    exposed = set(sandbox.exposed)
    if spec := conf.settings().reader:
        sandbox = _reader()
        sandbox.call("idle", b"", {"backend": spec.backend, "backend_options": dict(spec.options)})
        exposed |= set(sandbox.exposed)
    return exposed


def _limits() -> dict[str, Any]:
    settings = conf.settings()
    return {"max_bytes": settings.max_bytes, "max_pixels": settings.max_pixels, "formats": list(settings.formats)}


def _opener() -> Sandbox:
    settings = conf.settings()
    return _sandbox("open", Budget(settings.open_seconds, settings.open_memory))


def _question_openers() -> Iterator[Sandbox]:
    """Yield the openers of questions' pictures, the same one first: others are started when it is at work."""
    settings = conf.settings()
    budget = Budget(settings.question_seconds, settings.open_memory)
    return (_sandbox(f"question {number}", budget) for number in range(settings.question_openers))


def _reader() -> Sandbox:
    settings = conf.settings()
    return _sandbox("read", Budget(settings.read_seconds, settings.read_memory, _FILES_PER_READER, gives_back=False))


def _sandbox(purpose: str, budget: Budget) -> Sandbox:
    return _sandboxes.setdefault((purpose, budget), Sandbox(budget))


def close() -> None:
    """End the children that this process started."""
    for sandbox in _sandboxes.values():
        sandbox.close()


_sandboxes: dict[tuple[str, Budget], Sandbox] = {}
