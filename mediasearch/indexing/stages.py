"""The five stages: each opens and computes outside any transaction and writes inside one.

`open` reads and decodes the files of a batch, while the batch before is computed; `compute` runs the model. Both
answer for each asset with a value, a Skip, or the error that it met, and raise Unavailable where something is down
that all pictures need. `write` stores the values, in the transaction that closes their jobs, and may be called again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, ClassVar

from django.core.files.base import ContentFile
from django.db import DatabaseError, InterfaceError, connections, router
from django.utils import timezone
from pgvector import HalfVector
from PIL import Image

from mediasearch import naming, storing
from mediasearch.exceptions import MediaSearchError, StorageUnavailable, ThumbnailsUnavailable, Unavailable
from mediasearch.features import hashing, language, opener
from mediasearch.features.base import Encoder
from mediasearch.indexing import encoders, files, twins, witnesses
from mediasearch.indexing.ledger import Claim, Skip
from mediasearch.models import Asset, Discard, Embedding, Stage, storage

CAPTIONER = "captioner"
"""The `caption_source` of what a captioner wrote."""
Tick = Callable[[], None]
"""Called between two files: keeps the lease."""


class Work(ABC):
    """How one stage is done."""

    stage: ClassVar[Stage]
    batch: ClassVar[int | None] = None
    """Jobs that are claimed at once; None means MEDIASEARCH["BATCH_SIZE"]."""

    def open(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        """Return what `compute` needs of each asset."""
        return list(assets)

    def compute(self, claims: Sequence[Claim], opened: list[Any]) -> list[Any]:
        """Return the result of each asset."""
        return opened

    def probe(self, claims: Sequence[Claim]) -> None:
        """Run the model on something of our own. Raises whatever that raises."""
        return None

    @abstractmethod
    def write(self, done: Sequence[tuple[Claim, Any]]) -> None: ...

    def drop(self, results: Sequence[Any]) -> None:
        """Give up what was stored for results that were not written. Those that were lose nothing."""
        return None


def _for_each(assets: Sequence[Asset], tick: Tick, task: Callable[[Asset, bytes], Any]) -> list[Any]:
    """Run a task on each asset's file, and tell the files' own faults from those of a storage that is down."""
    results: list[Any] = []
    for asset, data in files.read_ahead(assets):
        tick()
        try:
            results.append(data if isinstance(data, MediaSearchError) else task(asset, data))
        except StorageUnavailable as error:
            results.append(error)
        except Unavailable:
            raise
        except MediaSearchError as error:
            results.append(error)
    return witnesses.judge(assets, results)


def _follow(done: Sequence[tuple[Claim, Any]]) -> None:
    """Have text vectors and jobs follow from what was recorded, as urgent as the jobs that it came from."""
    for priority in sorted({claim.priority for claim, _ in done}):
        ids = sorted(claim.asset for claim, _ in done if claim.priority == priority)
        Asset.objects.primary().follow(ids, priority=priority)


def _record(claim: Claim, **found: Any) -> None:
    Asset.objects.primary().filter(pk=claim.asset).record(**found, modified_at=timezone.now())


class Inspect(Work):
    """Hashes, size, metadata and thumbnail. What people wrote is never replaced by what the file says."""

    stage = Stage.INSPECT

    def open(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        return _for_each(assets, tick, self._inspect)

    @staticmethod
    def _inspect(asset: Asset, data: bytes) -> dict[str, Any]:
        found, thumbnail = opener.inspect(data)
        return found | {"thumbnail": _stored(thumbnail)}

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        ids = [claim.asset for claim, _ in done]
        assets = Asset.objects.primary().only(*Asset.ADOPTED).in_bulk(ids)  # As they are now, and locked.
        for claim, found in done:
            measured = {field: value for field, value in found.items() if field != "metadata"}
            _record(claim, **measured, **self._adopted(assets[claim.asset], found["metadata"]))
        _follow(done)

    def drop(self, results: Sequence[Any]) -> None:
        if names := [found["thumbnail"] for found in results if isinstance(found, dict)]:
            Discard.objects.primary().hasten(names)

    @staticmethod
    def _adopted(asset: Asset, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return values for the fields that nobody has filled."""
        taken_at = metadata["taken_at"] and datetime.fromisoformat(metadata["taken_at"])
        offered = {
            "title": metadata["title"][:255],
            "caption": metadata["caption"],
            "tags": [keyword[:100] for keyword in metadata["keywords"]],
            "copyright": metadata["copyright"],
            "taken_at": taken_at,
        }
        adopted = {name: value for name, value in offered.items() if value and not getattr(asset, name)}
        return adopted | ({"caption_source": "file"} if "caption" in adopted else {})


def _stored(thumbnail: bytes) -> str:
    """Store a thumbnail and return its name, which is its own: a worker that is late must not take another's along."""
    try:
        return storing.store(storage(), naming.thumbnail_name(), ContentFile(thumbnail), router.db_for_write(Discard))
    except (DatabaseError, InterfaceError):
        raise
    except Exception as error:  # Whatever the storage's own library raises. The picture has no part in it.
        raise ThumbnailsUnavailable(f"The file storage takes no thumbnails: {error}.") from error


class Read(Work):
    """The words in the picture. Small batches: reading is slow, and thumbnails should not wait for it."""

    stage = Stage.READ
    batch = 4

    def open(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        read: dict[str, tuple[str, list[Any]]] = {}
        afresh = {claim.asset for claim in claims if claim.afresh}

        def text_and_words(asset: Asset, data: bytes) -> tuple[str, list[Any]]:
            digest = hashing.content_hash(data)
            if digest not in read:
                lent = None if asset.pk in afresh else twins.reading(asset, digest)
                read[digest] = lent or self._read(data)
            return read[digest]

        return _for_each(assets, tick, text_and_words)

    @staticmethod
    def _read(data: bytes) -> tuple[str, list[Any]]:
        reading = opener.read(data)
        return reading.text.replace("\x00", ""), [asdict(word) for word in reading.words]

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        for claim, (text, words) in done:
            _record(claim, ocr_text=text, ocr_words=words, ocr_length=len(text))
        _follow(done)


class Describe(Work):
    """A caption for a picture that has none, or only one by a captioner."""

    stage = Stage.DESCRIBE

    def open(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        if encoders.captioner() is None:
            return [Skip('MEDIASEARCH["CAPTIONER"] is not set.')] * len(assets)
        wanted = [asset for asset in assets if not _is_described(asset)]
        images = _for_each(wanted, tick, lambda asset, data: opener.pixels(data, 384))
        opened = dict(zip([asset.pk for asset in wanted], images, strict=True))
        return [opened.get(asset.pk, Skip("It has a caption.")) for asset in assets]

    def compute(self, claims: Sequence[Claim], opened: list[Any]) -> list[Any]:
        captioner = encoders.captioner()
        if captioner is None:
            return opened
        return _in_places(opened, _is_image, captioner.describe)

    def probe(self, claims: Sequence[Claim]) -> None:
        if captioner := encoders.captioner():
            captioner.describe([_plain(384)])

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        ids = [claim.asset for claim, _ in done]
        assets = Asset.objects.primary().only("caption", "caption_source").in_bulk(ids)  # As they are now, and locked.
        for claim, caption in done:
            if not _is_described(assets[claim.asset]):
                _record(claim, caption=caption, caption_source=CAPTIONER)
        _follow(done)


def _is_described(asset: Asset) -> bool:
    """Has it a caption by a person or of its file?"""
    return bool(asset.caption) and asset.caption_source != CAPTIONER


class EmbedImage(Work):
    """The image vector."""

    stage = Stage.EMBED_IMAGE

    def open(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        size = _encoders(claims).image.input_size
        generation = claims[0].generation
        seen: dict[str, Any] = {}
        afresh = {claim.asset for claim in claims if claim.afresh}

        def image_or_vector(asset: Asset, data: bytes) -> Any:
            digest = hashing.content_hash(data)
            if digest not in seen:
                vector = None if asset.pk in afresh else twins.image_vector(asset, digest, generation)
                seen[digest] = opener.for_model(data, size) if vector is None else vector
            return seen[digest]

        return _for_each(assets, tick, image_or_vector)

    def compute(self, claims: Sequence[Claim], opened: list[Any]) -> list[Any]:
        return _in_places(opened, _is_image, _encoders(claims).image.encode_images)

    def probe(self, claims: Sequence[Claim]) -> None:
        encoder = _encoders(claims).image
        encoder.encode_images([_plain(2 * encoder.input_size)])

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        _store_vectors("image", done)


class EmbedCaption(Work):
    """The vectors of what title, alt text and caption say in a language that an encoder reads: one for each field."""

    stage = Stage.EMBED_CAPTION

    def compute(self, claims: Sequence[Claim], opened: list[Any]) -> list[Any]:
        readers = _encoders(claims).of_captions
        columns = [self._read(opened, reader) for reader in readers.values()]
        return [dict(zip(readers, vectors, strict=True)) for vectors in zip(*columns, strict=True)]

    @staticmethod
    def _read(assets: Sequence[Asset], encoder: Encoder) -> list[Any]:
        captions = [language.readable(asset.description, encoder.languages) or None for asset in assets]
        return _in_places(captions, lambda caption: caption is not None, encoder.encode_texts)

    def probe(self, claims: Sequence[Claim]) -> None:
        for encoder in _encoders(claims).of_captions.values():
            encoder.encode_texts(["a picture"])

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        for field in done[0][1]:
            _store_vectors(field, [(claim, vectors[field]) for claim, vectors in done])


def _plain(side: int) -> Image.Image:
    return Image.new("RGB", (side, side), "grey")


def _is_image(value: Any) -> bool:
    return isinstance(value, Image.Image)


def _in_places(values: Sequence[Any], wanted: Callable[[Any], bool], compute: Callable[[list[Any]], Any]) -> list[Any]:
    """Return the values, with the wanted ones computed together; one that is there twice is computed once."""
    unique = {id(value): value for value in values if wanted(value)}
    computed = dict(zip(unique, compute(list(unique.values())), strict=True)) if unique else {}
    return [computed.get(id(value), value) if wanted(value) else value for value in values]


def _encoders(claims: Sequence[Claim]) -> encoders.Encoders:
    """The encoders of the one generation that a batch is for."""
    generation = claims[0].generation
    assert generation is not None
    return encoders.of(generation)


def _store_vectors(field: str, done: Sequence[tuple[Claim, Any]]) -> None:
    """Write a batch of vectors in one statement; None clears the field."""
    table = Embedding._meta.db_table
    with connections[router.db_for_write(Embedding)].cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {table} (generation_id, asset_id, {field})
            SELECT generation_id, asset_id, vector::halfvec
            FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS batch (generation_id, asset_id, vector)
            ON CONFLICT (generation_id, asset_id) DO UPDATE SET {field} = excluded.{field}
            """,
            [
                [claim.generation for claim, _ in done],
                [claim.asset for claim, _ in done],
                [None if vector is None else HalfVector(vector).to_text() for _, vector in done],
            ],
        )


WORKS: dict[Stage, Work] = {work.stage: work for work in (Inspect(), Read(), Describe(), EmbedImage(), EmbedCaption())}
NEEDS_ENCODER = frozenset({Stage.EMBED_IMAGE, Stage.EMBED_CAPTION})
