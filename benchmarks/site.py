"""A fresh site for a measurement: an empty database, the assembled model, workers where they are asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def set_up(*, model: bool = True) -> None:
    """Start the services, load Django, and empty the library; without the demo's model, where none is used."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import django

    django.setup()
    from django.core.management import call_command

    from mediasearch.models import Asset, Generation
    from project.miniclip.assemble import assemble
    from project.settings import DATA

    if model:
        assemble(DATA / "mini-clip")
    call_command("migrate", verbosity=0, skip_checks=True)
    Asset.objects.all().delete()
    Generation.objects.all().delete()


@contextmanager
def workers(*queues: str) -> Iterator[None]:
    """Run one Celery worker for each of the queues, and wait until the model is loaded."""
    from mediasearch.models import Generation

    logs = ROOT / ".bench" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    running = []
    for queue in queues:
        command = [sys.executable, "-m", "celery", "--app", "project", "worker", "--concurrency", "1"]
        command += ["--queues", queue, "--hostname", f"{queue}@bench", "--without-gossip", "--without-mingle"]
        with (logs / f"{queue}.log").open("wb") as output:
            running.append(
                subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
            )
    try:
        until(lambda: Generation.objects.active() is not None, 120)
        time.sleep(3)
        yield
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()


def until(condition: Callable[[], object], seconds: float) -> None:
    """Wait until something holds; end the measurement where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"It did not come about within {seconds:g} s; .bench/logs may say why.")
        time.sleep(0.05)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which so large a share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
