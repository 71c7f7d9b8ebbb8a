from __future__ import annotations

import hashlib
import io

import numpy as np
from PIL import Image

from mediasearch.features import hashing


def scene(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)


def distance(one: int, other: int) -> int:
    return ((one ^ other) & (2**64 - 1)).bit_count()


def test_content_hash__is_sha256() -> None:
    assert hashing.content_hash(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_perceptual_hash__survives_resizing_and_compression() -> None:
    stream = io.BytesIO()
    scene(1).resize((200, 150)).save(stream, "JPEG", quality=60)
    assert distance(hashing.perceptual_hash(scene(1)), hashing.perceptual_hash(Image.open(stream))) <= 4


def test_perceptual_hash__tells_pictures_apart() -> None:
    assert distance(hashing.perceptual_hash(scene(1)), hashing.perceptual_hash(scene(2))) >= 16


def test_perceptual_hash__fits_a_signed_bigint() -> None:
    values = [hashing.perceptual_hash(scene(seed)) for seed in range(20)]
    assert all(-(2**63) <= value < 2**63 for value in values)
    assert min(values) < 0 < max(values)
