"""`python -m benchmarks.latency [UPLOADS]`: from the commit of an upload until a search finds it by its image vector.

Real Celery workers, one that embeds and one that inspects and reads, mini-clip, the sample library's photographs,
one upload at a time with the workers idle before it.
"""

from __future__ import annotations

import sys
import time

from benchmarks import site

LIMITS = {0.5: 1.0, 0.95: 2.0}


def main(uploads: int) -> int:
    site.set_up()
    from django.core.files.base import ContentFile

    import mediasearch
    from mediasearch.models import Asset, Job
    from project.library.catalog import pictures

    files = [picture.path for picture in pictures()]
    found_after, read_after = [], []
    with site.workers("mediasearch.embed", "mediasearch.read"):
        len(mediasearch.search("a picture", weights={"image": 1}))  # Loads the query's model, and fills its cache.
        for number in range(uploads):
            path = files[number % len(files)]
            asset = Asset.objects.create(file=ContentFile(path.read_bytes(), name=path.name))
            committed = time.monotonic()
            own = Asset.objects.filter(pk=asset.pk)
            while not mediasearch.search("a picture", weights={"image": 1}, scope=own).total:
                time.sleep(0.005)
            found_after.append(time.monotonic() - committed)
            site.until(lambda asset=asset: not asset.jobs.unfinished().exists(), 60)
            read_after.append(time.monotonic() - committed)
    failed = Job.objects.filter(state=Job.State.FAILED).count()
    print(f"{uploads} uploads, {failed} failed jobs; seconds from commit")
    for what, values in (("found by its image vector", found_after), ("all stages done, words read", read_after)):
        p50, p95 = (site.percentile(values, share) for share in LIMITS)
        print(f"{what}: p50 {p50:.2f}, p95 {p95:.2f}, longest {max(values):.2f}")
    return 0 if all(site.percentile(found_after, share) <= limit for share, limit in LIMITS.items()) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
