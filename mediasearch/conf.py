"""The MEDIASEARCH setting: one dict, read when first needed, reset when tests override it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from mediasearch.exceptions import ImproperlySet, MediaSearchError

_OPENCLIP_PATH = "mediasearch.features.openclip.OpenClip"
_PERIODS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_RATE = re.compile(rf"([1-9]\d{{0,8}})/({'|'.join(_PERIODS)})", re.ASCII)
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
"""What every broker takes as the beginning of a queue's name."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A backend by dotted path, with the options it is made with."""

    backend: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: Any, key: str) -> Spec:
        """Read Django's shape: {"BACKEND": "dotted.path", "OPTIONS": {...}}. Raises ImproperlySet."""
        shape = '{"BACKEND": "dotted.path", "OPTIONS": {...}}'
        if not isinstance(value, Mapping) or not isinstance(value.get("BACKEND"), str):
            raise ImproperlySet(f'MEDIASEARCH["{key}"] must look like {shape}.')
        if unknown := set(value) - {"BACKEND", "OPTIONS"}:
            raise ImproperlySet(f'MEDIASEARCH["{key}"] must look like {shape}; it also has {sorted(unknown)}.')
        return cls(value["BACKEND"], dict(value.get("OPTIONS") or {}))

    @classmethod
    def named(cls, text: str, like: Spec) -> Spec:
        """Read what a person types: a JSON spec, a dotted path, or an open_clip model as NAME:PRETRAINED.

        `local-dir:/a/folder` and `hf-hub:owner/name` are whole names. A model takes device, threads and the like from
        the spec `like`. Raises ImproperlySet.
        """
        if text.startswith("{"):
            try:
                return cls.parse(json.loads(text), "ENCODER")
            except json.JSONDecodeError as error:
                raise ImproperlySet(f"{text} is no JSON: {error}.") from error
        if _DOTTED.fullmatch(text):
            return cls(text)
        kept = dict(like.options) if like.backend == _OPENCLIP_PATH else {}
        kept = {name: value for name, value in kept.items() if name not in ("model", "pretrained", "languages")}
        whole = text.startswith(("local-dir:", "hf-hub:"))
        model, _, pretrained = (text, "", "") if whole else text.partition(":")
        named = {"model": model} | ({"pretrained": pretrained} if pretrained else {})
        return cls(_OPENCLIP_PATH, named | kept)

    def as_dict(self) -> dict[str, Any]:
        return {"BACKEND": self.backend, "OPTIONS": dict(self.options)}

    def load(self, *given: Any) -> Any:
        """Make the backend, of what is given and its options. Raises ImproperlySet where the path or one is wrong."""
        try:
            return import_string(self.backend)(*given, **self.options)
        except ImportError as error:
            raise ImproperlySet(f"The backend {self.backend} can't be imported: {error}.") from error
        except TypeError as error:
            raise ImproperlySet(f"The backend {self.backend} refuses its OPTIONS: {error}.") from error


@dataclass(frozen=True, slots=True)
class Rate:
    """How often one client may ask."""

    number: int
    seconds: int

    @classmethod
    def parse(cls, value: Any, key: str) -> Rate:
        """Read "240/minute". Raises ImproperlySet."""
        found = _RATE.fullmatch(value) if isinstance(value, str) else None
        if not found:
            raise ImproperlySet(f'MEDIASEARCH["{key}"] must be like "240/minute", or None, not {value!r}.')
        return cls(int(found[1]), _PERIODS[found[2]])


_OPENCLIP = Spec(_OPENCLIP_PATH, {"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"})
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "HEIF")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every key with its default. In `MEDIASEARCH` the keys are upper case; docs/settings.md explains each."""

    encoder: Spec = _OPENCLIP
    caption_encoder: Spec | None = None
    query_encoder: Spec = field(default_factory=lambda: Spec("mediasearch.features.remote.Remote"))
    reader: Spec | None = field(default_factory=lambda: Spec("mediasearch.features.reading.Combined"))
    captioner: Spec | None = None
    leg: Spec | None = None
    reranker: Spec | None = None
    doorbell: str = "celery"
    queue_prefix: str = "mediasearch"
    weights: Mapping[str, float] = field(
        default_factory=lambda: {"image": 1.0, "caption": 0.75, "text": 2.0, "recency": 0.0, "popularity": 0.0}
    )
    fusion: str = "minmax"
    recency_days: float = 365.0
    popular: float = 100.0
    candidates: int = 100
    exact_scope: int = 9_000
    ef_search: int = 200
    recall_target: float = 0.95
    page_size: int = 24
    rerank_top: int = 50
    rerank_seconds: float = 0.2
    text_configs: Mapping[str, str] = field(default_factory=lambda: {"en": "english"})
    storage: str = "default"
    cache: str = "default"
    cache_seconds: int = 86_400
    rate: Rate | None = field(default_factory=lambda: Rate(240, 60))
    proxies: int = 0
    fetch_addresses: bool = False
    fetch_seconds: float = 5.0
    question_seconds: float = 2.5
    question_openers: int = 2
    thumbnail_size: int = 512
    max_bytes: int = 50_000_000
    max_pixels: int = 50_000_000
    formats: tuple[str, ...] = _FORMATS
    batch_size: int = 32
    lease_seconds: int = 150
    max_claims: int = 5
    open_seconds: float = 20.0
    read_seconds: float = 45.0
    open_memory: int = 560_000_000
    read_memory: int = 1_100_000_000
    index_memory: int = 1_000_000_000
    index_workers: int = 0
    keep_done_days: int = 30
    metrics_token: str = field(default="", repr=False)

    def queue(self, kind: str) -> str:
        """Return the name of this site's queue of a kind: `embed`, `read` or `query`."""
        return f"{self.queue_prefix}.{kind}"


_SPECS = {"encoder", "caption_encoder", "query_encoder", "reader", "captioner", "leg", "reranker"}
_OPTIONAL = {"caption_encoder", "reader", "captioner", "leg", "reranker"}
_CHOICES = {
    "doorbell": ("celery", "postgresql"),
    "fusion": ("minmax", "dbsf", "arctan", "calibrated", "rrf"),
}
SIGNALS = ("image", "caption", "text")
LIGHTEST, HEAVIEST = 1e-6, 1e6
"""Weights other than 0; what PostgreSQL multiplies by must be neither lost nor out of its range."""
_LONGEST_NAME = 40
BOOSTS = ("recency", "popularity")
"""What makes a picture count more, whatever is asked; nothing is found by it."""


@cache
def settings() -> Settings:
    """Return the settings in force. Raises ImproperlySet, as the system check does at start."""
    given = getattr(django_settings, "MEDIASEARCH", {})
    if not isinstance(given, Mapping):
        raise ImproperlySet("MEDIASEARCH must be a dict.")
    known = {f.name.upper(): f for f in fields(Settings)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ImproperlySet(f'MEDIASEARCH has no key "{key}". Known keys: {", ".join(sorted(known))}.')
        values[key.lower()] = _typed(key.lower(), value)
    return Settings(**values)


def _typed(name: str, value: Any) -> Any:
    key = name.upper()
    if name in _SPECS:
        return None if value is None and name in _OPTIONAL else Spec.parse(value, key)
    if name == "rate":
        return None if value is None else Rate.parse(value, key)
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ImproperlySet(f'MEDIASEARCH["{key}"] must be one of {", ".join(_CHOICES[name])}, not {value!r}.')
    if name == "queue_prefix" and not (isinstance(value, str) and _PREFIX.fullmatch(value)):
        raise ImproperlySet(
            'MEDIASEARCH["QUEUE_PREFIX"] begins with a letter or digit, and has up to 60 letters, digits and'
            f" . _ - in all, not {value!r}."
        )
    default = getattr(Settings(), name)
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(value)
    if name == "weights" and isinstance(value, Mapping):
        return weights(value, 'MEDIASEARCH["WEIGHTS"]')
    kind: Any = (
        int | float if isinstance(default, float) else Mapping if isinstance(default, Mapping) else type(default)
    )
    if not isinstance(value, kind) or isinstance(value, bool) != isinstance(default, bool):
        raise ImproperlySet(f'MEDIASEARCH["{key}"] must be like {default!r}, not {value!r}.')
    if isinstance(value, int | float) and value <= 0 and value != default:
        raise ImproperlySet(f'MEDIASEARCH["{key}"] must be above zero, not {value!r}.')
    return value


def weights(given: Mapping[str, float], where: str, error: type[MediaSearchError] = ImproperlySet) -> dict[str, float]:
    """Return a weight for each signal and boost, 0 for those not named. Raises `error`."""
    known = (*SIGNALS, *BOOSTS)
    if not isinstance(given, Mapping):
        raise error(f"{where} must be a dict of signals and their weights, not {type(given).__name__}.")
    if unknown := {_name(name) for name in given if name not in known}:
        raise error(f"{where} knows the signals {', '.join(known)}, not {', '.join(sorted(unknown))}.")
    if not all(map(_is_weight, given.values())) or not any(map(given.get, SIGNALS)):
        raise error(
            f"{where} needs weights that are numbers of 0 or more, from {LIGHTEST:f} to {HEAVIEST:,.0f} where they are"
            f" above, and at least one of {', '.join(SIGNALS)} above 0."
        )
    return {name: float(given.get(name, 0.0)) for name in known}


def _name(key: Any) -> str:
    return key[:_LONGEST_NAME] if isinstance(key, str) else type(key).__name__


def _is_weight(value: Any) -> bool:
    return is_number(value) and (value == 0 or LIGHTEST <= value <= HEAVIEST)


def is_number(value: Any) -> bool:
    """Is this an int or a float, and neither True nor False?"""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reset(*, setting: str, **_: Any) -> None:
    if setting == "MEDIASEARCH":
        settings.cache_clear()


setting_changed.connect(_reset)
