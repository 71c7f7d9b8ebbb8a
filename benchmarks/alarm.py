"""`python -m benchmarks.alarm`: seconds from the end of all workers (kill -9) until the status raises an alarm.

Real Celery workers, one that embeds and one that inspects and reads, the sample library's photographs over and over,
asked every ten seconds as a probe would, with work due all the time.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress

import psutil

from benchmarks import site

UPLOADS, WORK_FOR, ASK_EVERY, LIMIT = 300, 15.0, 10.0, 60.0


def main() -> int:
    site.set_up()
    from django.core.files.base import ContentFile

    from mediasearch.indexing.status import status
    from mediasearch.models import Asset
    from project.library.catalog import pictures

    files = [picture.path for picture in pictures()]
    with site.workers("mediasearch.embed", "mediasearch.read"):
        for number in range(UPLOADS):
            path = files[number % len(files)]
            Asset.objects.create(file=ContentFile(path.read_bytes(), name=path.name))
        time.sleep(WORK_FOR)
        working = [alarm.sentence for alarm in status().alarms]
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "celery" in " ".join(process.cmdline()):
                    process.kill()
        ended = time.monotonic()
        while not (told := [alarm for alarm in status().alarms if alarm.kind == "silent"]):
            time.sleep(ASK_EVERY)
        took = time.monotonic() - ended
    print(f"Alarms while they worked: {working or 'none'}")
    print(f"{took:.0f} s after their end: {told[0].sentence}")
    return 0 if took <= LIMIT and not working else 1


if __name__ == "__main__":
    sys.exit(main())
