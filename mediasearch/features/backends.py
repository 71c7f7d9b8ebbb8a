"""Backends that are costly to make, kept once for each process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mediasearch import conf
from mediasearch.conf import Spec
from mediasearch.exceptions import CaptionerUnavailable, EncoderUnavailable, ImproperlySet
from mediasearch.features.base import Captioner, Encoder, QueryEncoder, Reranker
from mediasearch.features.loading import shelf

_KEPT = 4
"""Two generations with two encoders each; a model that nobody uses any more gives its memory back."""


def encoder(spec: Mapping[str, Any]) -> Encoder:
    """Return the encoder that {"BACKEND": ..., "OPTIONS": ...} names, its weights loaded.

    Raises EncoderUnavailable.
    """
    return _encoder(json.dumps(spec, sort_keys=True))


def captioner(spec: Mapping[str, Any]) -> Captioner:
    """Return the captioner that a spec names. Raises CaptionerUnavailable."""
    return _captioner(json.dumps(spec, sort_keys=True))


def query_encoder() -> QueryEncoder:
    """Return the query encoder of the settings, which remembers whether it was answered last time."""
    return _query_encoder(json.dumps(conf.settings().query_encoder.as_dict(), sort_keys=True))


def reranker(spec: Mapping[str, Any]) -> Reranker:
    """Return the reranker that a spec names. Raises whatever making it does."""
    return _reranker(json.dumps(spec, sort_keys=True))


@shelf(_KEPT)
def _encoder(key: str) -> Encoder:
    try:
        loaded: Encoder = Spec.parse(json.loads(key), "ENCODER").load()
        _ = loaded.fingerprint  # Loads the weights now, so that a fault shows before pictures are claimed.
    except EncoderUnavailable:
        raise
    except Exception as error:  # Whatever a plug-in raises: no picture has a part in it.
        raise EncoderUnavailable(_reason(error)) from error
    return loaded


@shelf(_KEPT)
def _captioner(key: str) -> Captioner:
    try:
        loaded: Captioner = Spec.parse(json.loads(key), "CAPTIONER").load()
    except CaptionerUnavailable:
        raise
    except Exception as error:
        raise CaptionerUnavailable(_reason(error)) from error
    return loaded


@shelf(_KEPT)
def _query_encoder(key: str) -> QueryEncoder:
    loaded: QueryEncoder = Spec.parse(json.loads(key), "QUERY_ENCODER").load()
    return loaded


@shelf(_KEPT)
def _reranker(key: str) -> Reranker:
    loaded: Reranker = Spec.parse(json.loads(key), "RERANKER").load()
    return loaded


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ImproperlySet) else f"The model can't be loaded: {error!r}"
