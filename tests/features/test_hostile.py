"""Odd and malicious files: those made here, and the corpus where it is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.faults import made
from mediasearch.exceptions import Refused
from mediasearch.features.images import FORMATS
from mediasearch.features.sandbox import Budget, Sandbox

CORPUS = Path(__file__).resolve().parents[3] / "shared/data/hostile"
FILES = sorted(path for path in CORPUS.glob("*") if path.suffix != ".csv") if CORPUS.is_dir() else []
OPTIONS: dict[str, Any] = {"max_bytes": 50_000_000, "max_pixels": 50_000_000, "formats": list(FORMATS)}
OPERATIONS: dict[str, dict[str, Any]] = {
    "verify": {},
    "inspect": {"thumbnail_size": 512},
    "pixels": {"shortest_side": 672, "input_size": 224},
    "page": {"enough_pixels": 12_000_000},
}
MOST_MEMORY = 600_000_000


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(Budget(files=10_000))
    yield sandbox
    sandbox.close()


def hostile(source: str) -> dict[str, bytes]:
    if source == "made here":
        return made.files()
    if not FILES:
        pytest.skip("the corpus of hostile files is not at hand")
    return {path.name: path.read_bytes() for path in FILES}


def outcomes(sandbox: Sandbox, data: bytes) -> dict[str, str]:
    """What becomes of a file in each operation: nothing to say, or the sentence of a refusal. Raises whatever else."""
    said = {}
    for operation, options in OPERATIONS.items():
        try:
            sandbox.call(operation, data, OPTIONS | options)
            said[operation] = ""
        except Refused as refusal:
            said[operation] = str(refusal)
    return said


@pytest.mark.parametrize("source", ["made here", "corpus"])
def test_every_hostile_file_is_done_or_refused_by_all_alike(sandbox: Sandbox, source: str) -> None:
    sandbox.call("verify", made.saved("PNG"), OPTIONS)
    first = sandbox._process
    found = {name: outcomes(sandbox, data) for name, data in hostile(source).items()}
    assert {name: said for name, said in found.items() if len(set(said.values())) > 1} == {}
    assert all(sentence == "" or sentence.endswith(".") for said in found.values() for sentence in said.values())
    assert sandbox._process is first, "a file killed the process that opened it"
    assert first
    (opening_half,) = psutil.Process(first.pid).children()
    status = Path(f"/proc/{opening_half.pid}/status").read_text()
    assert 1_000 * int(status.partition("VmHWM:")[2].split()[0]) < MOST_MEMORY
