"""`python -m benchmarks.faults.backlog [--seed N] [--short]`: how much later an upload is found while much is owed.

The models write down each batch that they are given, whatever its stage, and take their time over it. What counts
against an upload are the batches that were at work after its commit and before its own: by design the one at hand and
the one that was opened already. The same uploads are made with an empty queue first.
"""

from __future__ import annotations

import io
import random
import statistics
import time
from dataclasses import dataclass

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import uploads
from benchmarks.faults.site import await_model, running, until

OWED, UPLOADS, SECONDS, LATER = 100_000, 20, 0.3, 2
SHORT_OWED, SHORT_UPLOADS, SHORT_SECONDS = 6_000, 6, 0.1
SPARE = 1.2
"""More jobs than the bar asks for, as some are done while the uploads come."""
SOME_FILES, CLAIMS, LONGEST = 8, 20, 60.0
QUEUE, INDEX = "mediasearch.embed", "using mediasearch_job_due on"
_KEY = "left(encode(sha256(convert_to(%s, 'UTF8')), 'hex'), 32)"
# A third of the assets is owed each stage; only those with a caption have text to embed.
_FILL = [
    "INSERT INTO mediasearch_asset (source, file, file_version, title, alt_text, caption, caption_source, category,"
    " tags, language, copyright, is_public, created_at, modified_at, mime_type, content_hash, thumbnail, ocr_text,"
    " ocr_words, settled) SELECT 'library', name, name, '', '',"
    " CASE stage WHEN 'embed_caption' THEN 'red ' || n ELSE '' END, '', stage, '{}', 'en', '', true, now(), now(), '',"
    " '', '', '', '[]', '{}' FROM generate_series(1, %s) n,"
    " LATERAL (SELECT (%s::text[])[1 + n %% %s] AS name,"
    " (ARRAY['embed_image', 'embed_caption', 'describe'])[1 + n %% 3] AS stage) AS chosen",
    "INSERT INTO mediasearch_job (asset_id, stage, generation_id, state, input_key, attempts, suspect, priority,"
    " due_at, error, created_at) SELECT id, category, CASE category WHEN 'describe' THEN NULL ELSE %s END, 'pending',"
    f" CASE category WHEN 'embed_caption' THEN {_KEY % 'caption'} ELSE {_KEY % 'file_version'} END, 0, false, 10,"
    " now(), '', now() FROM mediasearch_asset WHERE category <> ''",
]


@dataclass(frozen=True, slots=True)
class Came:
    """How an upload fared."""

    before: int
    """Batches that were at work between its commit and its own."""
    seconds: float
    """From its commit until it could be found."""


def run(given: Given, bars: Bars) -> None:
    owed, count = (SHORT_OWED, SHORT_UPLOADS) if given.short else (OWED, UPLOADS)
    options = {"seconds": SHORT_SECONDS if given.short else SECONDS}
    settings = {
        "ENCODER": {"BACKEND": "benchmarks.faults.encoders.Recording", "OPTIONS": options},
        "CAPTIONER": {"BACKEND": "benchmarks.faults.encoders.RecordingCaptioner", "OPTIONS": options},
    }
    with running("worker-embed", settings=settings):
        from mediasearch.indexing import doorbell
        from mediasearch.models import Generation, Job

        await_model()
        chance = random.Random(given.seed)
        empty = [_upload(number, chance) for number in range(count)]
        claim_empty = _claim_ms()
        _fill(int(owed * SPARE), Generation.objects.active().pk)
        doorbell.ring([QUEUE])
        until(lambda: Job.objects.filter(state="done", priority=Job.BACKFILL).exists(), LONGEST)
        behind = [_upload(number, chance) for number in range(count, 2 * count)]
        claim_behind, plans = _claim_ms(), _plans()
        left = Job.objects.unfinished().count()
        bars.at_least("jobs owed at the end", left, owed)
        for what, came in (("empty queue", empty), (f"{owed:,} jobs owed", behind)):
            bars.note(f"{what}: batches before its own", [one.before for one in came])
            bars.note(f"{what}: median seconds until found", statistics.median(one.seconds for one in came))
        later = max(one.before for one in behind) - min(one.before for one in empty)
        bars.at_most("batches later than with an empty queue, at most", later, LATER)
        bars.equal(
            "statements before a batch that ask the index of due jobs", sum(INDEX in p for p in plans), len(plans)
        )
        bars.note("median ms of a claim: of nothing, and of 32 jobs among so many", [claim_empty, claim_behind])


def _upload(number: int, chance: random.Random) -> Came:
    """Upload a picture at a random moment, and wait until it can be found by what it shows."""
    from PIL import Image

    from benchmarks.faults.counting import notes
    from benchmarks.faults.encoders import digest
    from mediasearch.models import Embedding

    own = digest(Image.open(io.BytesIO(uploads.picture(number))))
    time.sleep(chance.uniform(0.0, 1.0))
    asset = uploads.upload(number)
    committed = time.time()
    found = until(Embedding.objects.filter(asset=asset, image__isnull=False).exists, LONGEST, every=0.02)
    if found is None:
        raise TimeoutError(f"Upload {number} was not found within {LONGEST:g} s.")
    calls = notes.read(notes.ENCODED)
    began = next(call["began"] for call in calls if own in call.get("pictures", []))
    return Came(sum(call["at"] > committed and call["began"] < began for call in calls), found)


def _fill(jobs: int, generation: int) -> None:
    """Owe so many jobs to assets that share a few files."""
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage
    from django.db import connection, transaction

    pictures = [uploads.picture(1_000_000 + number) for number in range(SOME_FILES)]
    files = [default_storage.save("shared.png", ContentFile(picture)) for picture in pictures]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FILL[0], [jobs, files, SOME_FILES])
        cursor.execute(_FILL[1], [generation])


def _claim_ms() -> float:
    from mediasearch.indexing import ledger
    from mediasearch.models import Stage

    def claim() -> float:
        started = time.perf_counter()
        ledger.release(ledger.claim(Stage.EMBED_IMAGE, 32), "")
        return time.perf_counter() - started

    return round(1e3 * statistics.median(claim() for _ in range(CLAIMS)), 1)


def _plans() -> list[str]:
    """How PostgreSQL goes about each statement that comes before a batch."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from mediasearch.indexing import doorbell, ledger
    from mediasearch.models import Stage

    with CaptureQueriesContext(connection) as asked:
        ledger.urgency(doorbell.queues()[QUEUE])
        claims = ledger.claim(Stage.EMBED_IMAGE, 32)
    ledger.release(claims, "")
    plans = []
    with connection.cursor() as cursor:
        for query in asked:
            cursor.execute("EXPLAIN " + query["sql"].replace("%", "%%"))
            plans.append("\n".join(line for (line,) in cursor.fetchall()))
    return plans


if __name__ == "__main__":
    experiment(run)
