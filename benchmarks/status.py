"""`python -m benchmarks.status`: how long `mediasearch_status` asks the database, with a million jobs.

200,000 assets, five jobs and one vector of 512 dimensions each, straight after they were written (no VACUUM yet) and
after one; once with all jobs done, 60,000 of them within the last five minutes, once with all of them waiting, and
once with 100,000 failed.
"""

from __future__ import annotations

import statistics
import sys
import time

from benchmarks import site

ASSETS, DIMENSIONS, LIMIT = 200_000, 512, 1.0
FILL = [
    "INSERT INTO mediasearch_generation (id, state, encoder, fingerprint, dimensions, caption_fingerprint,"
    " caption_dimensions, calibration, created_at)"
    f" VALUES (1, 'active', '{{}}', 'bench', {DIMENSIONS}, 'bench', {DIMENSIONS}, '{{}}', now())",
    "INSERT INTO mediasearch_asset (id, source, file, file_version, title, alt_text, caption, caption_source, category,"
    " tags, language, copyright, is_public, created_at, modified_at, mime_type, content_hash, thumbnail, ocr_text,"
    " ocr_words, settled) SELECT n, 'library', n || '.jpg', n || '.jpg', 'Picture ' || n, '', '', '', '', '{}', 'en',"
    " '', true, now(), now(), 'image/jpeg', md5(n::text), '', repeat('word ', 40), '[]', '{}'"
    f" FROM generate_series(1, {ASSETS}) n",
    "INSERT INTO mediasearch_job (asset_id, stage, generation_id, state, input_key, attempts, suspect, priority,"
    " due_at, error, created_at, finished_at) SELECT n, s, CASE WHEN s LIKE 'embed%%' THEN 1 END, 'done', md5(n::text),"
    " 1, false, 0, now() - interval '1 day', '', now() - interval '1 day', now() - n * interval '1 second' / 40"
    f" FROM generate_series(1, {ASSETS}) n,"
    " unnest(ARRAY['inspect', 'read', 'describe', 'embed_image', 'embed_caption']) s",
    "INSERT INTO mediasearch_embedding (generation_id, asset_id, image) SELECT 1, n,"
    f" array_fill({DIMENSIONS**-0.5}, ARRAY[{DIMENSIONS}])::vector::halfvec FROM generate_series(1, {ASSETS}) n",
    "ANALYZE",
]
SCENES = {
    "all done": [],
    "all waiting": ["UPDATE mediasearch_job SET state = 'pending'", "ANALYZE mediasearch_job"],
    "100,000 failed, the rest done": [
        "UPDATE mediasearch_job SET state = CASE WHEN id %% 10 = 0 THEN 'failed' ELSE 'done' END,"
        " error = CASE WHEN id %% 10 = 0 THEN 'There is no file ''' || id || '.jpg''.' ELSE '' END",
        "ANALYZE mediasearch_job",
    ],
}


def main() -> int:
    site.set_up()
    from django.db import connection

    from mediasearch.indexing.status import status

    def run(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement.replace("%%", "%"))

    def measure(what: str) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            status()
            times.append(time.perf_counter() - started)
        median = statistics.median(times)
        print(f"{what}: median {median * 1e3:.0f} ms, longest of 5 {max(times) * 1e3:.0f} ms", flush=True)
        return median

    for statement in FILL:
        run(statement)
    slowest = 0.0
    for scene, statements in SCENES.items():
        for statement in statements:
            run(statement)
        slowest = max(slowest, measure(f"{scene}, just written"))
        run("VACUUM mediasearch_job, mediasearch_asset, mediasearch_embedding")
        slowest = max(slowest, measure(f"{scene}, after VACUUM"))
    run("TRUNCATE mediasearch_asset, mediasearch_generation CASCADE")
    return 0 if slowest <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
