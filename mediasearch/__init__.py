"""Find a Django site's pictures by what they show and what is written in them.

    import mediasearch

    for hit in mediasearch.search("a red car at night"):
        print(hit.score, hit.asset)

Everything that is not named here may move.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Address",
    "Crop",
    "Description",
    "Descriptions",
    "Hit",
    "MediaSearchError",
    "Part",
    "Results",
    "Source",
    "Texts",
    "__version__",
    "adescribe",
    "asearch",
    "describe",
    "open_original",
    "register",
    "reindex",
    "retry",
    "search",
]

if TYPE_CHECKING:
    from mediasearch.exceptions import MediaSearchError
    from mediasearch.indexing.ledger import reindex, retry
    from mediasearch.search.addresses import Address
    from mediasearch.search.crops import Crop
    from mediasearch.search.describe import adescribe, describe
    from mediasearch.search.descriptions import Description, Descriptions
    from mediasearch.search.engine import asearch, search
    from mediasearch.search.query import Part
    from mediasearch.search.results import Hit, Results
    from mediasearch.sources.base import Source, Texts
    from mediasearch.sources.files import open_original
    from mediasearch.sources.registry import register

# Loaded when first asked for: importing this package must need neither Django's settings nor its models.
_HOMES = {
    "Address": "mediasearch.search.addresses",
    "Crop": "mediasearch.search.crops",
    "Description": "mediasearch.search.descriptions",
    "Descriptions": "mediasearch.search.descriptions",
    "Hit": "mediasearch.search.results",
    "MediaSearchError": "mediasearch.exceptions",
    "Part": "mediasearch.search.query",
    "Results": "mediasearch.search.results",
    "Source": "mediasearch.sources.base",
    "Texts": "mediasearch.sources.base",
    "adescribe": "mediasearch.search.describe",
    "asearch": "mediasearch.search.engine",
    "describe": "mediasearch.search.describe",
    "open_original": "mediasearch.sources.files",
    "register": "mediasearch.sources.registry",
    "reindex": "mediasearch.indexing.ledger",
    "retry": "mediasearch.indexing.ledger",
    "search": "mediasearch.search.engine",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
