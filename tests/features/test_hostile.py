"""Odd and malicious files, where the corpus is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mediasearch.exceptions import Refused
from mediasearch.features.images import FORMATS
from mediasearch.features.sandbox import Sandbox

CORPUS = Path(__file__).resolve().parents[3] / "shared/data/hostile"
FILES = sorted(path for path in CORPUS.glob("*") if path.suffix != ".csv") if CORPUS.is_dir() else []
OPTIONS = {"max_bytes": 50_000_000, "max_pixels": 50_000_000, "formats": list(FORMATS), "thumbnail_size": 512}
MOST_MEMORY = 600_000_000


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


@pytest.mark.skipif(not FILES, reason="the corpus of hostile files is not at hand")
def test_inspect__every_hostile_file_is_done_or_refused(sandbox: Sandbox) -> None:
    outcomes: dict[str, str] = {}
    for path in FILES:
        try:
            found, _ = sandbox.call("inspect", path.read_bytes(), OPTIONS)
            outcomes[path.name] = f"{found['width']} pixels wide."
        except Refused as refusal:
            outcomes[path.name] = str(refusal)
    assert len(outcomes) == len(FILES)
    assert all(outcome.endswith(".") for outcome in outcomes.values()), outcomes
    assert sandbox._process, "a file killed the process that opened it"
    assert psutil.Process(sandbox._process.pid).memory_info().rss < MOST_MEMORY
