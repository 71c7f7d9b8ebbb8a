"""Settings of the engine's benchmark: the app with a library of BENCH_N assets, and an encoder that knows the answers.

The cache is in memory, so that a question's vector costs the same in every run; no search encodes while it is timed.
"""

from __future__ import annotations

import os
from pathlib import Path

PLACE = Path(os.environ["BENCH_PLACE"])
"""Where this library lies, made and kept by `benchmarks.engine.library`."""
os.environ["MEDIASEARCH_DATA"] = str(PLACE)

from project.settings import *  # noqa: E402, F403

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
ASKED = {"BACKEND": "benchmarks.engine.asked.Asked", "OPTIONS": {"folder": str(PLACE)}}
MEDIASEARCH = {
    "ENCODER": ASKED,
    "QUERY_ENCODER": ASKED,
    "INDEX_MEMORY": 4_000_000_000,  # The graph of a million vectors takes 2 GB.
    "INDEX_WORKERS": 1,
}
LOGGING = {"version": 1, "disable_existing_loggers": False}
