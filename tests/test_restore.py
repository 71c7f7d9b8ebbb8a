"""A library is dumped and restored: the same answers, and the work goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from project.services import postgres
from tests.conftest import picture
from tests.elsewhere import address, new_database, run

COLOURS = ["red", "blue", "green", "yellow", "black", "white", "orange", "purple", "brown", "pink", "grey", "cyan"]
SEARCHES = """
from django.test import override_settings
from django.conf import settings
reader = {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"dimensions": 24}}
override_settings(MEDIASEARCH=settings.MEDIASEARCH | {"CAPTION_ENCODER": reader}).enable()
def answers():
    asked = [found(text, weights=weights, limit=8) for text in ("red", "a blue square", "green")
             for weights in (None, {"image": 1}, {"caption": 1}, {"text": 1})]
    with override_settings(MEDIASEARCH=settings.MEDIASEARCH | {"EXACT_SCOPE": 1}):
        results = mediasearch.search("red", limit=4)
        asked.append([[hit.asset.pk, round(hit.score, 9)] for hit in results])
        assert results.plan == "hnsw", results.plan
        described = mediasearch.describe(Asset.objects.earliest("pk"), limit=5)
        asked.append([[each.text, round(each.score, 6), [asset.pk for asset in each.assets]] for each in described])
    return asked
"""
BEFORE = """
from mediasearch.indexing import ledger
call_command("migrate", verbosity=0)
call_command("mediasearch_import", {folder!r}, titles=True, language="en", verbosity=0)
Asset.objects.get(title="red").delete()  # A gap, and a dead place in each index.
for asset in Asset.objects.all():
    asset.caption = f"a {{asset.title}} square"
    asset.save()
worker.warm(list(Stage))
worker.drain(list(Stage))
Asset.objects.bulk_create([Asset(file=asset.file, title="waiting") for asset in Asset.objects.all()[:2]])
(claim,) = ledger.claim(Stage.READ, 1)
told({{"answers": answers(), "running": claim.job, "open": Job.objects.unfinished().count()}})
"""
AFTER = """
import time
from django.db import connection
from mediasearch.indexing import generations, ledger
known = Generation.objects.get()
before = answers()
call_command("check", databases=["default"], fail_level="WARNING")
flaws = [flaw.sentence for flaw in indexes.flaws([known], indexes.found())]
assert generations.ensure_active() == known
# What ran when the dump was taken is taken back when its lease is over, as after any crash.
Job.objects.filter(state="running").update(lease_until="2020-01-01T00:00Z")
end = time.monotonic() + 30
while Job.objects.filter(state="running").exists() and time.monotonic() < end:
    ledger.sweep()  # Not in the first seconds of the server.
    time.sleep(0.2)
worker.drain(list(Stage))
new = Asset.objects.create(file=Asset.objects.earliest("pk").file, title="new")
worker.drain(list(Stage))
told({"answers": before, "flaws": flaws, "open": Job.objects.unfinished().count(),
      "failed": Job.objects.filter(state="failed").count(), "new": found("new", weights={"text": 1})[0][0] == new.pk,
      "states": sorted(set(Job.objects.values_list("state", flat=True)))})
"""


def program(name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs."""
    command = [str(postgres._binaries().folder / name), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def library(db: None, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A library in a database of its own, with some work left."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        (folder / f"{colour}.png").write_bytes(picture(colour, (40 + number, 40)))
    with new_database("mediasearch_before") as url:
        yield url, run(SEARCHES + BEFORE.format(folder=str(folder)), url, tmp_path)


def test_restore__the_same_answers_and_the_work_goes_on(library: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    """By a role that is no superuser, with the commands of docs/deployment.md."""
    url, before = library
    assert before["open"] == 8  # Two pictures with four stages each, titles included.
    dump = str(tmp_path / "library.dump")
    program("pg_dump", "--format", "custom", "--file", dump, url)
    with new_database("mediasearch_after", "mediasearch_restorer") as other:
        program("psql", address("mediasearch_after"), "-c", "CREATE EXTENSION vector")
        program("pg_restore", "--no-owner", "--no-comments", "--jobs", "2", "--dbname", other, dump)
        after = run(SEARCHES + AFTER, other, tmp_path)
    assert after["answers"] == before["answers"]
    assert sum(bool(answer) for answer in before["answers"]) > 8
    assert (after["flaws"], after["open"], after["failed"]) == ([], 0, 0)
    assert (after["states"], after["new"]) == (["done"], True)
