"""The demo site with its real model, on services and data of its own."""

from __future__ import annotations

import os
from pathlib import Path

from project.services import start_postgres, start_valkey

_PLACE = Path(__file__).resolve().parent.parent / ".bench"
os.environ.setdefault("MEDIASEARCH_DATA", str(_PLACE))
if "DATABASE_URL" not in os.environ:
    os.environ["DATABASE_URL"] = start_postgres(_PLACE / "postgres")
if "REDIS_URL" not in os.environ:
    os.environ["REDIS_URL"] = start_valkey(_PLACE / "valkey").url

from project.settings import *  # noqa: E402, F403
from project.settings import MEDIASEARCH  # noqa: E402

MEDIASEARCH["RATE"] = None  # All questions come from one address.
MEDIASEARCH["QUERY_ENCODER"] = {"BACKEND": "mediasearch.features.local.Local"}
if os.environ.get("BENCH_WITHOUT_READING"):
    MEDIASEARCH["READER"] = None
