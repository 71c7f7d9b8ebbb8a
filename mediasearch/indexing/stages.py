"""The five stages: each computes outside any transaction and writes inside one.

`compute` answers for each asset with a value, a Skip, or the error that it met; it raises Unavailable where
something is down that all pictures need. `write` stores the values, in the transaction that closes their jobs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, ClassVar

from django.core.files.base import ContentFile
from django.db import connections, router
from pgvector import HalfVector

from mediasearch import conf
from mediasearch.exceptions import FileMissing, MediaSearchError, StorageUnavailable, Unavailable
from mediasearch.features import language, opener
from mediasearch.indexing import generations
from mediasearch.indexing.ledger import Claim, Skip
from mediasearch.models import Asset, Embedding, Stage, storage
from mediasearch.sources import registry

Tick = Callable[[], None]
"""Called between two files: keeps the lease."""


class Work(ABC):
    """How one stage is done."""

    stage: ClassVar[Stage]
    batch: ClassVar[int | None] = None
    """Jobs that are claimed at once; None means MEDIASEARCH["BATCH_SIZE"]."""

    @abstractmethod
    def compute(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]: ...

    @abstractmethod
    def write(self, done: Sequence[tuple[Claim, Any]]) -> None: ...


def _for_each(assets: Sequence[Asset], tick: Tick, task: Callable[[bytes], Any]) -> list[Any]:
    """Run a task on each asset's file; a storage that fails for all of them is down, not their fault."""
    results: list[Any] = []
    for asset in assets:
        tick()
        try:
            results.append(task(_bytes_of(asset)))
        except StorageUnavailable as error:
            results.append(error)
        except Unavailable:
            raise
        except MediaSearchError as error:
            results.append(error)
    if results and all(isinstance(result, StorageUnavailable) for result in results):
        raise results[0]
    return results


def _bytes_of(asset: Asset) -> bytes:
    try:
        with registry.source_of(asset).open(asset) as stream:
            return opener.load(stream)
    except FileNotFoundError as error:
        raise FileMissing(f"The storage has no file for this image ({error}).") from error
    except OSError as error:
        raise StorageUnavailable(f"The file storage does not answer: {error}.") from error


class Inspect(Work):
    """Hashes, size, metadata and thumbnail. What people wrote is never replaced by what the file says."""

    stage = Stage.INSPECT

    def compute(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        return _for_each(assets, tick, self._inspect)

    @staticmethod
    def _inspect(data: bytes) -> dict[str, Any]:
        found, thumbnail = opener.inspect(data)
        digest = found["content_hash"]
        name = f"mediasearch/thumbnails/{digest[:2]}/{digest}-{conf.settings().thumbnail_size}.webp"
        try:
            if not storage().exists(name):  # Named by content: the same picture is never written twice.
                name = storage().save(name, ContentFile(thumbnail))
        except OSError as error:
            raise StorageUnavailable(f"The storage takes no thumbnails: {error}.") from error
        return found | {"thumbnail": name}

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        assets = Asset.objects.in_bulk([claim.asset for claim, _ in done])
        for claim, found in done:
            asset = assets[claim.asset]
            written = self._adopt(asset, found.pop("metadata"))
            for field, value in found.items():
                setattr(asset, field, value)
            asset.save(update_fields=[*found, *written, "modified_at"])

    @staticmethod
    def _adopt(asset: Asset, metadata: dict[str, Any]) -> list[str]:
        """Fill the fields that nobody has filled; return their names."""
        taken_at = metadata["taken_at"] and datetime.fromisoformat(metadata["taken_at"])
        offered = {
            "title": metadata["title"][:255],
            "caption": metadata["caption"],
            "tags": [keyword[:100] for keyword in metadata["keywords"]],
            "copyright": metadata["copyright"],
            "taken_at": taken_at,
        }
        adopted = {name: value for name, value in offered.items() if value and not getattr(asset, name)}
        if "caption" in adopted:
            adopted["caption_source"] = "file"
        for name, value in adopted.items():
            setattr(asset, name, value)
        return list(adopted)


class Read(Work):
    """The words in the picture. Small batches: reading is slow, and thumbnails should not wait for it."""

    stage = Stage.READ
    batch = 4

    def compute(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        return _for_each(assets, tick, opener.read)

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        assets = Asset.objects.in_bulk([claim.asset for claim, _ in done])
        for claim, reading in done:
            asset = assets[claim.asset]
            asset.ocr_text = reading.text.replace("\x00", "")
            asset.ocr_words = [asdict(word) for word in reading.words]
            asset.save(update_fields=["ocr_text", "ocr_words", "modified_at"])


class Describe(Work):
    """A caption for a picture that has none."""

    stage = Stage.DESCRIBE

    def compute(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        captioner = generations.captioner()
        if captioner is None:
            return [Skip('MEDIASEARCH["CAPTIONER"] is not set.')] * len(assets)

        def describe(data: bytes) -> str:
            caption: str = captioner.describe([opener.pixels(data, 384)])[0]
            return caption

        wanted = [asset for asset in assets if not asset.caption]
        written = dict(zip([asset.pk for asset in wanted], _for_each(wanted, tick, describe), strict=True))
        return [written.get(asset.pk, Skip("It has a caption.")) for asset in assets]

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        assets = Asset.objects.in_bulk([claim.asset for claim, _ in done])
        for claim, caption in done:
            asset = assets[claim.asset]
            asset.caption, asset.caption_source = caption, "captioner"
            asset.save(update_fields=["caption", "caption_source", "modified_at"])


class EmbedImage(Work):
    """The image vector."""

    stage = Stage.EMBED_IMAGE

    def compute(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        encoder = _encoders(claims).image
        # Reduced to twice the model's input and no further: at the input size itself the vectors move.
        results = _for_each(assets, tick, lambda data: opener.pixels(data, 2 * encoder.input_size))
        readable = [index for index, result in enumerate(results) if not isinstance(result, MediaSearchError)]
        if readable:
            vectors = encoder.encode_images([results[index] for index in readable])
            for index, vector in zip(readable, vectors, strict=True):
                results[index] = vector
        return results

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        _store_vectors("image", done)


class EmbedCaption(Work):
    """The caption vector, of those lines of the caption that the encoder can read."""

    stage = Stage.EMBED_CAPTION

    def compute(self, claims: Sequence[Claim], assets: Sequence[Asset], tick: Tick) -> list[Any]:
        encoder = _encoders(claims).caption
        captions = [language.readable(asset.caption, encoder.languages) for asset in assets]
        texts = [caption for caption in captions if caption]
        vectors: Iterator[Any] = iter(encoder.encode_texts(texts) if texts else [])
        return [next(vectors) if caption else None for caption in captions]

    def write(self, done: Sequence[tuple[Claim, Any]]) -> None:
        _store_vectors("caption", done)


def _encoders(claims: Sequence[Claim]) -> generations.Encoders:
    """The encoders of the one generation that a batch is for."""
    generation = claims[0].generation
    assert generation is not None
    return generations.encoders(generation)


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
