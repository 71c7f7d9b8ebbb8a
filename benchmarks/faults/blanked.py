"""`python -m benchmarks.faults.blanked [--seed N] [--short]`: rows that lost what workers had found out about them.

An earlier release let a stale save empty those columns while all jobs stayed done, so a site may have such rows. Here
some of many rows are emptied by SQL; the workers must find them by themselves and make them as they were.
"""

from __future__ import annotations

import time

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import described, library
from benchmarks.faults.site import Site, await_model, running, until

ROWS, BLANKED, MENDED, LONGEST = 100_000, 1_000, 120.0, 300.0
SHORT_ROWS, SHORT_BLANKED = 2_000, 40
_BLANK = (
    "UPDATE mediasearch_asset SET thumbnail = '', content_hash = '', width = NULL, height = NULL, mime_type = '',"
    " byte_size = NULL, perceptual_hash = NULL, ocr_text = '', ocr_words = '[]' WHERE id = ANY (%s)"
)


def run(given: Given, bars: Bars) -> None:
    rows, blanked = (SHORT_ROWS, SHORT_BLANKED) if given.short else (ROWS, BLANKED)
    with running("worker", settings={"READER": described.READER, "DOORBELL": "postgresql"}) as site:
        from mediasearch.models import Asset, Job

        await_model()
        own = [described.upload(number).pk for number in range(blanked)]
        library.fill(rows - blanked)
        if until(lambda: not Job.objects.unfinished().exists(), LONGEST) is None:
            raise TimeoutError(f"The pictures were not indexed within {LONGEST:g} s.")
        bars.at_least("rows", Asset.objects.count(), rows)
        before, done = described.rows(own), _done()
        _blank(own)
        started = time.monotonic()
        if given.short:
            site.kill("worker")  # One that starts looks thoroughly at once.
        until(lambda: _mended(own, before), 0.5 * MENDED if given.short else 1.5 * MENDED, every=1.0)
        took = time.monotonic() - started
        _judge(bars, site, own, before, took, done)


def _judge(
    bars: Bars, site: Site, own: list[int], before: dict[int, dict[str, object]], took: float, done: int
) -> None:
    from mediasearch.models import Job

    after = described.rows(own)
    bars.equal(f"fields still lost in {len(own):,} rows", dict(described.lost(before, after)), {})
    bars.equal("of these not found by the word read", described.unfound(own, described.READ.lower()), 0)
    bars.at_most("until all were mended", took if _mended(own, before) else float("inf"), MENDED, " s")
    left = until(lambda: not Job.objects.unfinished().exists(), LONGEST)
    bars.at_most("until nothing was owed any more", float("inf") if left is None else took + left, LONGEST, " s")
    bars.note("jobs done for it", _done() - done)
    bars.equal("failed", Job.objects.filter(state="failed").count(), 0)


def _blank(ids: list[int]) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_BLANK, [ids])


def _mended(ids: list[int], before: dict[int, dict[str, object]]) -> bool:
    return not described.lost(before, described.rows(ids))


def _done() -> int:
    """How many jobs were ever closed as done, by PostgreSQL's own count."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM faults_effect WHERE what = 'job'")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    experiment(run)
