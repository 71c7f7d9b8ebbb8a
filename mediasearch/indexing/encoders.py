"""The models in this process: those of a generation, checked against the fingerprints that its vectors bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from mediasearch import conf
from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features import backends
from mediasearch.features.base import Captioner, Encoder
from mediasearch.indexing import sessions
from mediasearch.models import Generation


@dataclass(frozen=True, slots=True)
class Encoders:
    """The encoders of a generation, by the field of `Embedding` that they fill; often one and the same."""

    image: Encoder
    caption: Encoder
    image_caption: Encoder | None = None
    """The image encoder, where captions have one of their own."""

    @property
    def of_captions(self) -> dict[str, Encoder]:
        """Who reads a description, for each field that it goes to."""
        encoders = {"caption": self.caption}
        return encoders if self.image_caption is None else encoders | {"image_caption": self.image_caption}


def of(generation_id: int) -> Encoders:
    """Return the encoders that a generation was made with, loaded once in this process. Raises EncoderUnavailable."""
    # The primary, for a new one may lack on a replica.
    generation = Generation.objects.primary().filter(pk=generation_id).first()
    sessions.give_back()  # Loading and running a model takes long.
    if generation is None:
        raise EncoderUnavailable(f"Generation {generation_id} was deleted.")
    pair = load(generation.encoder, generation.caption_encoder)
    for encoder, expected in ((pair.image, generation.fingerprint), (pair.caption, generation.caption_fingerprint)):
        if encoder.fingerprint != expected:
            raise EncoderUnavailable(
                f"Generation {generation.pk} was made by {expected}, but these weights are {encoder.fingerprint}."
                " Put the old weights back, or start a new generation: `manage.py mediasearch_reindex`."
            )
    return pair


def warm_active(*, texts_only: bool) -> None:
    """Load the encoders of the active generation, if there is one already, and try them once."""
    if generation := Generation.objects.primary().active():
        pair = of(generation.pk)
        for encoder in {pair.image, pair.caption}:
            if texts_only:
                encoder.forget_images()
            encoder.encode_texts(["a picture"])
        if not texts_only:
            pair.image.encode_images([Image.new("RGB", (64, 64))])


def captioner() -> Captioner | None:
    """Return the captioner of the settings, loaded once in this process; None where none is set."""
    spec = conf.settings().captioner
    return None if spec is None else backends.captioner(spec.as_dict())


def load(image: dict[str, Any], caption: dict[str, Any] | None) -> Encoders:
    """Return the encoders that two specs name, loaded once in this process. Raises EncoderUnavailable."""
    encoder = backends.encoder(image)
    return Encoders(encoder, backends.encoder(caption), encoder) if caption else Encoders(encoder, encoder)
