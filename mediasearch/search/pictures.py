"""A picture to search with: given as a file, as an asset, or as what was kept of it when it was asked with before."""

from __future__ import annotations

import io
import re
import secrets
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from django.utils.translation import gettext
from PIL import Image

from mediasearch.exceptions import PictureRefused, QueryError, Refused, StorageUnavailable, Troublesome, Unavailable
from mediasearch.features import hashing, opener
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search import cache, vectors
from mediasearch.search.vectors import Vector

THUMBNAIL = 128
"""Longest side, in pixels, of what is shown of a picture that was asked with."""
_KEY = re.compile(r"[\w-]{22}", re.ASCII)
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What remains of a picture that was asked with. It can be asked with again, without its file."""

    fingerprint: str
    """Of the encoder that made the vector."""
    vector: Vector
    thumbnail: bytes = b""
    """A small WebP without metadata; empty for an asset, which has its own."""


Given: TypeAlias = bytes | bytearray | memoryview | BinaryIO | Asset | Picture
Asked: TypeAlias = bytes | Asset | Picture


def take(given: Given) -> Asked:
    """Return what was given, with a file read into memory. Raises QueryError."""
    if isinstance(given, Asset | Picture):
        return given
    if isinstance(given, bytes | bytearray | memoryview):
        given = io.BytesIO(given)
    if not hasattr(given, "read"):
        raise QueryError(
            f"A search takes a picture as bytes, as a binary file or as an asset, not as {type(given).__name__};"
            ' of a path, pass `open(path, "rb")`. Addresses are not fetched.'
        )
    try:
        data: Any = opener.load(given)
    except Refused as refusal:
        raise PictureRefused(str(refusal)) from refusal
    except (StorageUnavailable, ValueError) as error:  # A closed file raises ValueError.
        raise QueryError(f"The picture could not be read: {error}") from error
    if not isinstance(data, bytes):
        raise QueryError('This file gives text and not bytes; open it with "rb".')
    return data


def look(asked: Asked, generation: Generation) -> Picture:
    """Return a picture with its vector of a generation. Raises PictureRefused, Unavailable."""
    if isinstance(asked, Asset):
        return _of_asset(asked, generation)
    if isinstance(asked, bytes):
        return _of_file(asked, generation)
    if asked.fingerprint != generation.fingerprint:
        raise PictureRefused(gettext("Searches use another model since this picture was chosen. Choose it again."))
    return asked


def _of_asset(asset: Asset, generation: Generation) -> Picture:
    found = Embedding.objects.filter(generation=generation, asset_id=asset.pk, image__isnull=False)
    vector = found.values_list("image", flat=True).first()
    if vector is None:
        raise Unavailable(gettext("This picture is not indexed yet. Search with it a little later."))
    return Picture(generation.fingerprint, np.asarray(vector, dtype=np.float32))


def _of_file(data: bytes, generation: Generation) -> Picture:
    """Open and encode a file as indexing does, so that a picture of the library finds itself."""
    name = cache.key("picture", generation.fingerprint, hashing.content_hash(data))
    if (known := cache.get(name)) is not None:
        return Picture(generation.fingerprint, np.frombuffer(known[0], dtype=np.float32), known[1])
    try:
        image = opener.for_model(data, generation.input_size)
    except (Refused, Troublesome) as refusal:
        raise PictureRefused(str(refusal)) from refusal
    vector, thumbnail = vectors.of_image(image, generation), _thumbnail(image)
    cache.keep(name, (vector.tobytes(), thumbnail))
    return Picture(generation.fingerprint, vector, thumbnail)


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=80)
    return stream.getvalue()


def keep(picture: Picture, name: str) -> str:
    """Keep a picture, and what its file was called, for the pages that follow; return a key that nobody can guess."""
    key = secrets.token_urlsafe(16)
    kept = (picture.fingerprint, picture.vector.tobytes(), picture.thumbnail, name[:_LONGEST_NAME])
    cache.keep(cache.key("kept", key), kept)
    return key


def recall(key: str) -> tuple[Picture, str] | None:
    """Return the picture of a key, and its name; None where it is not kept, or not any more."""
    if not _KEY.fullmatch(key) or (kept := cache.get(cache.key("kept", key))) is None:
        return None
    fingerprint, vector, thumbnail, name = kept
    return Picture(fingerprint, np.frombuffer(vector, dtype=np.float32), thumbnail), name
