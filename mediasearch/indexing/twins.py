"""What was computed for another asset with the very same file.

An asset's content hash says what its vectors and words were made of only while nothing is owed to it; what is being
made again is not lent, nor what an older version of a stage made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from django.db.models import Exists, OuterRef, Q
from numpy.typing import NDArray

from mediasearch.models import Asset, Embedding, Job, Stage
from mediasearch.querysets import settled_key

_LOOKED_AT = 3
"""Assets of the same content that are asked whether they can lend."""


def image_vector(asset: Asset, digest: str, generation: int | None) -> NDArray[np.float32] | None:
    """Return the image vector, float32, of another asset with this sha256 in a generation; None where there is none."""
    busy = _jobs("asset").filter(Q(stage=Stage.INSPECT) | Q(stage=Stage.EMBED_IMAGE, generation=generation))
    found = Embedding.objects.primary().filter(
        ~Exists(busy), generation=generation, asset__content_hash=digest, image__isnull=False
    )
    for other in found.exclude(asset=asset).select_related("asset")[:_LOOKED_AT]:
        if _is_current(other.asset, Stage.EMBED_IMAGE, generation):
            return np.asarray(other.image, dtype=np.float32)
    return None


def reading(asset: Asset, digest: str) -> tuple[str, list[Any]] | None:
    """Return text and words that were read in another asset with this sha256; None where none was read."""
    busy = _jobs("pk").filter(stage__in=[Stage.INSPECT, Stage.READ])
    found = Asset.objects.primary().filter(~Exists(busy), content_hash=digest)
    for other in found.exclude(pk=asset.pk)[:_LOOKED_AT]:
        if _is_current(other, Stage.READ, None):
            return other.ocr_text, other.ocr_words
    return None


def _is_current(asset: Asset, stage: Stage, generation: int | None) -> bool:
    """Was a stage done for this asset's file as it is, in the version that the stage has now?"""
    job = Job.objects.primary().filter(asset=asset, stage=stage, generation=generation).first()
    made_of = job.input_key if job else asset.settled.get(settled_key(stage, generation))
    return bool(made_of == asset.input_key(stage))


def _jobs(asset: str) -> Any:
    """Jobs of an outer row's asset that are not done."""
    return Job.objects.filter(asset=OuterRef(asset)).exclude(state=Job.State.DONE)
