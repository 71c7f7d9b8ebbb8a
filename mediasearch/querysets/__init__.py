"""Questions to the tables, how assets are written, and the one way in which work comes to be owed."""

from __future__ import annotations

from mediasearch.querysets.assets import AssetQuerySet
from mediasearch.querysets.jobs import SETTLED_KEY, JobQuerySet, jobs_owed, owed_stages, settled_key
from mediasearch.querysets.tables import (
    DiscardQuerySet,
    EmbeddingQuerySet,
    GenerationQuerySet,
    PauseQuerySet,
    StrayQuerySet,
    TallyQuerySet,
)

__all__ = [
    "SETTLED_KEY",
    "AssetQuerySet",
    "DiscardQuerySet",
    "EmbeddingQuerySet",
    "GenerationQuerySet",
    "JobQuerySet",
    "PauseQuerySet",
    "StrayQuerySet",
    "TallyQuerySet",
    "jobs_owed",
    "owed_stages",
    "settled_key",
]
