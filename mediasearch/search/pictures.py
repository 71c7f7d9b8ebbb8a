"""A picture to search with: a file, an asset, an address, a part of one of these, or what was kept of one before."""

from __future__ import annotations

import io
import re
import secrets
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
from django.db.models import QuerySet
from django.utils.translation import gettext
from PIL import Image

from mediasearch import conf
from mediasearch.exceptions import (
    FileMissing,
    PictureRefused,
    QueryError,
    Refused,
    StorageUnavailable,
    Troublesome,
    Unavailable,
)
from mediasearch.features import hashing, opener
from mediasearch.features.base import Box
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search import addresses, cache, vectors
from mediasearch.search.addresses import Address
from mediasearch.search.crops import Crop
from mediasearch.search.vectors import Vector
from mediasearch.sources import files

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


Whole: TypeAlias = bytes | bytearray | memoryview | BinaryIO | Asset | Address
Given: TypeAlias = Whole | Picture | Crop
Asked: TypeAlias = bytes | Asset | Address | Picture | Crop


def take(given: Given, visible: QuerySet[Asset] | None = None) -> Asked:
    """Return what was given, with a file read into memory. Raises QueryError.

    Of assets that are not among the `visible` ones, no part is ever looked at.
    """
    if isinstance(given, Crop):
        whole = take(given.image)
        if isinstance(whole, Picture):
            raise QueryError(
                "Of this picture only its vector was kept, so nothing can be cut out of it: pass its file."
            )
        if isinstance(whole, Crop):
            raise QueryError("This is a crop of a crop: give one box of the whole picture.")
        return replace(given, image=whole, visible=visible)
    if isinstance(given, Asset | Picture):
        return given
    if isinstance(given, Address):
        return _allowed(given)
    return _read(given)


def _allowed(address: Address) -> Address:
    """Return an address, if addresses are fetched here. Raises QueryError."""
    if not conf.settings().fetch_addresses:
        raise QueryError('Addresses are not fetched here: MEDIASEARCH["FETCH_ADDRESSES"] is off.')
    return address


def _read(given: Any) -> bytes:
    """Return the bytes of a file. Raises QueryError."""
    try:
        stream = io.BytesIO(given) if isinstance(given, bytes | bytearray | memoryview) else given
        if not hasattr(stream, "read"):
            raise QueryError(
                "A search takes a picture as bytes, as a binary file, as an asset, as a Crop or as an Address, not as"
                f' {type(given).__name__}; of a path, pass `open(path, "rb")`.'
            )
        data: Any = opener.load(stream)
    except Refused as refusal:
        raise PictureRefused(str(refusal)) from refusal
    except QueryError:
        raise
    except Exception as error:  # What is given as a file may be anything; a closed one raises ValueError.
        raise QueryError(f"The picture could not be read: {error}") from error
    if not isinstance(data, bytes):
        raise QueryError('This file gives text and not bytes; open it with "rb".')
    return data


def look(asked: Asked, generation: Generation) -> Picture:
    """Return a picture with its vector of a generation. Raises QueryError, PictureRefused, Busy, Unavailable."""
    if isinstance(asked, Crop):
        return _of_file(_whole(asked), generation, asked.box)
    if isinstance(asked, Address):
        return _of_file(_fetched(asked), generation)
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


def _whole(crop: Crop) -> bytes:
    """Return the file that a part is cut out of. Raises QueryError, PictureRefused, Unavailable."""
    if isinstance(crop.image, Address):
        return _fetched(crop.image)
    if not isinstance(crop.image, Asset):
        return cast(bytes, crop.image)  # It was taken, and so read.
    if crop.visible is None or not crop.visible.filter(pk=crop.image.pk).exists():
        raise QueryError("This user may not see the picture that the search is to be like.")
    try:
        return files.read(crop.image)
    except StorageUnavailable as error:
        raise Unavailable(gettext("The file of this picture can't be read now.")) from error
    except FileMissing as error:
        raise PictureRefused(gettext("This picture has no file any more.")) from error
    except Refused as refusal:
        raise PictureRefused(str(refusal)) from refusal


def _fetched(address: Address) -> bytes:
    """Return the file at an address. Raises QueryError, PictureRefused."""
    try:
        from mediasearch.search import download
    except ImportError as error:
        raise QueryError(addresses.EXTRA) from error
    return download.fetch(address)


def _of_file(data: bytes, generation: Generation, box: Box | None = None) -> Picture:
    """Open and encode a file as indexing does, so that a picture of the library finds itself.

    Raises PictureRefused, Busy, Unavailable.
    """
    part = [repr(box)] if box else []
    name = cache.key("picture", generation.fingerprint, hashing.content_hash(data), *part)
    if (known := cache.get(cache.PICTURES, name)) is not None:
        stored, small = _unpacked(known)
        return Picture(generation.fingerprint, np.frombuffer(stored, dtype=np.float32), small)
    try:
        image = opener.for_question(data, generation.input_size, box)
    except (Refused, Troublesome) as refusal:
        raise PictureRefused(str(refusal)) from refusal
    thumbnail = _thumbnail(image)

    def keep_vector(made: Vector) -> None:
        cache.keep(cache.PICTURES, name, _packed(made[0].tobytes(), thumbnail))

    vector = vectors.of_image(image, generation, keep_vector)
    return Picture(generation.fingerprint, vector, thumbnail)


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=80)
    return stream.getvalue()


def keep(picture: Picture, name: str, user: str = "") -> str:
    """Keep a picture, and what its file was called, for the pages that follow; return a key that nobody can guess.

    The key stands in addresses, which are copied, logged and shared. What a user posted shows to that `user` alone, by
    primary key; with "", of visitors who are not logged in, to whoever has the address.
    """
    key = secrets.token_urlsafe(16)
    words = (picture.fingerprint.encode(), name[:_LONGEST_NAME].encode(errors="replace"), user.encode())
    kept = _packed(picture.vector.tobytes(), picture.thumbnail, *words)
    cache.keep(cache.PICTURES, cache.key("kept", key), kept)
    return key


def recall(key: str, user: str = "") -> tuple[Picture, str] | None:
    """Return the picture of a key, and its name; None where it is not kept, not any more, or for another user."""
    if not _KEY.fullmatch(key) or (kept := cache.get(cache.PICTURES, cache.key("kept", key))) is None:
        return None
    vector, thumbnail, *words = _unpacked(kept)
    fingerprint, name, owner = (word.decode() for word in words)
    if owner not in ("", user):
        return None
    return Picture(fingerprint, np.frombuffer(vector, dtype=np.float32), thumbnail), name


def _packed(*parts: bytes) -> bytes:
    """Return bytes that hold others, each behind its length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _unpacked(data: bytes) -> list[bytes]:
    stream = io.BytesIO(data)
    return [stream.read(int.from_bytes(length, "big")) for length in iter(lambda: stream.read(4), b"")]
