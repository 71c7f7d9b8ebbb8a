"""A site whose role is no superuser, in a database where one has created the extension."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.conftest import picture
from tests.elsewhere import address, new_database, run

SITE = """
call_command("migrate", verbosity=0)
call_command("mediasearch_import", {folder!r}, titles=True, verbosity=0)
worker.warm(list(Stage))
worker.drain(list(Stage))
first = Generation.objects.active()
before = found("red", weights={{"image": 1}})
spec = json.dumps({{"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {{"dimensions": 24}}}})
call_command("mediasearch_reindex", encoder=spec, no_wait=True)
worker.drain(list(Stage))
call_command("mediasearch_reindex", encoder=spec)
call_command("mediasearch_indexes", rebuild=[])
Generation.objects.filter(pk=first.pk).update(retired_at="2020-01-01T00:00Z")
Job.objects.update(finished_at="2020-01-01T00:00Z")
call_command("mediasearch_prune", keep=0)
call_command("mediasearch_status")
call_command("check", databases=["default"], fail_level="ERROR")
told({{
    "states": list(Generation.objects.values_list("state", "dimensions")),
    "jobs": Job.objects.count(),
    "before": before,
    "after": found("red", weights={{"image": 1}}),
    "flaws": [flaw.sentence for flaw in indexes.flaws(Generation.objects.living(), indexes.found())],
    "recall": Generation.objects.active().calibration["recall"],
}})
"""


@pytest.mark.django_db
def test_humble_role__can_do_all(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in ("red", "blue", "green"):
        (folder / f"{colour}.png").write_bytes(picture(colour))
    with new_database("mediasearch_humble", owner="mediasearch_humble") as url:
        with psycopg.connect(address("mediasearch_humble"), autocommit=True) as superuser:
            superuser.execute("CREATE EXTENSION vector")
        found = run(SITE.format(folder=str(folder)), url, tmp_path)
    assert (found["states"], found["jobs"], found["flaws"]) == ([["active", 24]], 0, [])
    assert (len(found["before"]), len(found["after"])) == (3, 3)
    assert found["before"][0][0] == found["after"][0][0]
    assert found["recall"] == 1.0
