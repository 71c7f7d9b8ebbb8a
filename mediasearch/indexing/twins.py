"""What was computed for another asset with the very same file.

An asset's content hash says what its vectors and words were made of only while nothing is owed to it; what is being
made again is not lent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from django.db.models import Exists, OuterRef, Q
from numpy.typing import NDArray

from mediasearch.models import Asset, Embedding, Job, Stage


def image_vector(asset: Asset, digest: str, generation: int | None) -> NDArray[np.float32] | None:
    """Return the image vector, float32, of another asset with this sha256 in a generation; None where there is none."""
    busy = _jobs("asset").filter(Q(stage=Stage.INSPECT) | Q(stage=Stage.EMBED_IMAGE, generation=generation))
    found = Embedding.objects.filter(
        ~Exists(busy), generation=generation, asset__content_hash=digest, image__isnull=False
    )
    vector = found.exclude(asset=asset).values_list("image", flat=True).first()
    return None if vector is None else np.asarray(vector, dtype=np.float32)


def reading(asset: Asset, digest: str) -> tuple[str, list[Any]] | None:
    """Return text and words that were read in another asset with this sha256; None where none was read."""
    busy = _jobs("pk").filter(stage__in=[Stage.INSPECT, Stage.READ])
    was_read = Job.objects.filter(asset=OuterRef("pk"), stage=Stage.READ, state=Job.State.DONE)
    found = Asset.objects.filter(~Exists(busy), Exists(was_read) | Q(settled__has_key=Stage.READ), content_hash=digest)
    return found.exclude(pk=asset.pk).values_list("ocr_text", "ocr_words").first()


def _jobs(asset: str) -> Any:
    """Jobs of an outer row's asset that are not done."""
    return Job.objects.filter(asset=OuterRef(asset)).exclude(state=Job.State.DONE)
