"""Is somebody there who encodes a generation's questions? Asked before it is activated."""

from __future__ import annotations

import logging
import time

from mediasearch import conf
from mediasearch.exceptions import Unavailable
from mediasearch.models import Generation

logger = logging.getLogger(__name__)
_QUERY_SECONDS = 60.0


def warm_queries(generation: Generation, seconds: float = _QUERY_SECONDS) -> bool:
    """Have whoever encodes questions load a generation's model before searches need it; return whether it answered."""
    encoder = conf.settings().query_encoder.load()
    questions = [generation.question("image")]
    if generation.caption_encoder is not None:
        questions.append(generation.question("caption"))
    end = time.monotonic() + seconds
    while questions:
        try:
            encoder.encode_texts(questions[0], ["a picture"])
            questions.pop(0)
        except Unavailable as fault:
            if time.monotonic() > end:
                logger.warning("Nobody encodes questions for generation %s: %s", generation.pk, fault)
                return False
            time.sleep(1.0)
    return True
