"""`python -m benchmarks.faults.leases --workers celery|command [--short]`: a worker loses its hold on what it computes.

It is killed in the midst of inference, with a machine that knows of it and with one that does not; it stalls for longer
than its lease and wakes up; its connections to the database are cut; the database's clock is set forward by an hour,
and back; and its own clock is wrong. Each time it must get done in time, and no result must be written twice.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults.clocks import Clock, NoFaketime
from benchmarks.faults.site import ROOT, Site, await_model, await_processes, patiently, running, until
from benchmarks.faults.troubled import HELD, HOLD, RELEASED, noted, place
from benchmarks.faults.uploads import upload
from project.supervision import Program

FIRST = {"celery": "worker-embed", "command": "worker"}
SECOND, WRONG = "second", {"ahead": 3_600, "behind": -3_600}
LEASE, SHORT_LEASE, MORE, HOUR = 150, 6, 10.0, 3_600
CUTS, UPLOADS = 20, 100
REFUSED = "embed_image: 0 of 1 done"
"""What a worker says whose result was not written."""
_numbers = count()


@dataclass(frozen=True, slots=True)
class Scene:
    """A site with a worker, and others that can be started, which know nothing of the first one's end."""

    site: Site
    bars: Bars
    first: str
    lease: float
    clock: Clock
    """The database's."""

    def hold(self) -> tuple[int, int]:
        """Upload a picture and have the first worker stay in the midst of it; return its asset and the process."""
        known = len(noted(HELD))
        place(HOLD).touch()
        asset = upload(next(_numbers))
        if until(lambda: len(noted(HELD)) > known, 30.0) is None:
            raise TimeoutError("No worker took the picture; FAULTS_KEEP=1 keeps the logs.")
        return asset, int(noted(HELD)[-1])

    def release(self, process: int) -> None:
        place(f"{HELD}-{process}").unlink(missing_ok=True)

    def await_done(self, what: str, *assets: int, since: float) -> None:
        """Wait until these have their vectors, and hold the time to the bar."""
        until(lambda: all(map(_is_done, assets)), 3 * self.lease)
        took = time.monotonic() - since if all(map(_is_done, assets)) else float("inf")
        self.bars.at_most(f"{what}: done", took, self.lease + MORE, " s")

    def lose(self) -> None:
        """End the first worker in a way that nobody sees, as if its machine were gone; there is soon another."""
        for folder in Path(self.site.folder, "tmp").glob("mediasearch-*"):
            shutil.rmtree(folder)
        self.site.kill(self.first)

    @contextmanager
    def worker(self, name: str) -> Iterator[None]:
        """Have one more worker."""
        self.start(name)
        yield
        self.site.supervisor.end(name)

    def start(self, name: str) -> None:
        """Start a worker, and wait until it runs."""
        self.site.start(name)
        await_processes(self.site, name)

    def expect_refusal(self, what: str, process: int, asset: int) -> None:
        """Let a process finish what it holds, and see that it writes nothing."""
        written, refused = _version(asset), self.site.log(self.first).count(REFUSED)
        self.release(process)
        finished = until(lambda: str(process) in noted(RELEASED), 20.0)
        self.bars.hold(f"{what}: the inference that was too late ended", finished is not None, "True", bool(finished))
        told = until(lambda: self.site.log(self.first).count(REFUSED) > refused, 20.0)
        self.bars.equal(f"{what}: the log says that nothing of it was written", told is not None, True)
        self.bars.equal(f"{what}: the vector is as it was", _version(asset), written)


def run(given: Given, bars: Bars) -> None:
    workers = given.options.workers
    lease = SHORT_LEASE if given.short else LEASE
    settings = {
        "DOORBELL": "celery" if workers == "celery" else "postgresql",
        "ENCODER": {"BACKEND": "benchmarks.faults.troubled.Holding"},
        "LEASE_SECONDS": lease,
    }
    with tempfile.TemporaryDirectory(prefix="mediasearch-faults-") as elsewhere:
        Path(elsewhere).chmod(0o711)
        clock = Clock(Path(elsewhere, "clock"))
        clock.set(0)
        try:
            prefixes = {"postgres": clock.prefix()}
        except NoFaketime as reason:
            bars.note("skipped, for clocks can't be set here", reason)
            return
        more = [_another(SECOND, workers, f"TMPDIR={elsewhere}")]
        more += [_another(name, workers, f"FAULTS_AHEAD={seconds}") for name, seconds in WRONG.items()]
        with running(FIRST[workers], settings=settings, more=more, prefixes=prefixes) as site:
            await_model()
            scene = Scene(site, bars, FIRST[workers], lease, clock)
            for case in (SHORT_CASES if given.short else CASES)[workers]:
                case(scene)
            _nothing_twice(bars)


def _another(name: str, workers: str, variable: str) -> Program:
    """Return a worker of the queue that embeds, with something in its environment."""
    command: tuple[str, ...] = (sys.executable, str(ROOT / "manage.py"), "mediasearch_worker")
    if workers == "celery":
        command = (sys.executable, "-m", "celery", "--app", "project", "worker", "--queues", "mediasearch.embed")
        command += ("--concurrency", "1", "--hostname", f"{name}@demo", "--without-gossip", "--without-mingle")
    return Program(name, ("env", variable, *command), stop_signal="KILL")


# Cases


def _killed(scene: Scene) -> None:
    asset, process = scene.hold()
    since = time.monotonic()
    psutil.Process(process).kill()
    scene.await_done("a process killed in inference", asset, since=since)


def _cut(scene: Scene) -> None:
    asset, process = scene.hold()
    since = time.monotonic()
    _cut_connections()
    scene.release(process)
    scene.await_done("connections cut in inference", asset, since=since)
    since, assets = time.monotonic(), []
    for number in range(UPLOADS):
        assets.append(upload(next(_numbers)))
        if number % (UPLOADS // CUTS) == 0:
            _cut_connections()
    scene.await_done(f"connections cut {CUTS} times in {UPLOADS} uploads", *assets, since=since)


def _wrong(scene: Scene) -> None:
    """Alone, with a clock of its own: doorbells seem to be over before it hears them, or hold for another hour."""
    scene.site.supervisor.end(scene.first)
    for name in WRONG:
        with scene.worker(name):
            assets = [upload(next(_numbers)) for _ in range(5)]
            scene.await_done(f"a worker whose clock is an hour {name}", *assets, since=time.monotonic())
    scene.start(scene.first)


def _gone(scene: Scene) -> None:
    asset, _ = scene.hold()
    since = time.monotonic()
    scene.lose()
    scene.await_done("a machine gone in inference", asset, since=since)


def _stalled(scene: Scene) -> None:
    asset, process = scene.hold()
    stalled = scene.site.processes(scene.first)
    since = time.monotonic()
    for one in stalled:
        one.suspend()
    with scene.worker(SECOND):
        scene.await_done("a worker that stalls", asset, since=since)
        for one in stalled:
            one.resume()
        scene.expect_refusal("a worker that stalls", process, asset)


def _forward(scene: Scene) -> None:
    asset, process = scene.hold()
    with scene.worker(SECOND):
        since = time.monotonic()
        scene.clock.set(HOUR)
        scene.await_done("the database's clock an hour forward", asset, since=since)
        scene.expect_refusal("the database's clock an hour forward", process, asset)


def _back(scene: Scene) -> None:
    """The lease of a lost worker, and what waits meanwhile, lie an hour ahead."""
    asset, _ = scene.hold()
    waiting = upload(next(_numbers))
    scene.clock.set(0)
    since = time.monotonic()
    scene.lose()
    scene.await_done("the database's clock an hour back, and the worker gone", asset, waiting, since=since)


CASES: dict[str, tuple[Callable[[Scene], None], ...]] = {
    "celery": (_killed, _cut, _gone, _stalled, _forward, _back, _wrong),
    "command": (_killed, _cut, _gone, _stalled),
}
SHORT_CASES = {"celery": (_killed, _stalled, _forward, _back), "command": (_killed, _cut)}
"""Whatever the database's clock does, it is the same code that meets it."""


def _is_done(asset: int) -> bool:
    from mediasearch.models import Job

    return patiently(Job.objects.filter(asset=asset, stage="embed_image", state="done").exists)


def _version(asset: int) -> list[tuple[str]]:
    """Return by which transaction an asset's vector was written."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT xmin::text FROM mediasearch_embedding WHERE asset_id = %s", [asset])
        return list(cursor.fetchall())


def _cut_connections() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )


def _nothing_twice(bars: Bars) -> None:
    from benchmarks.faults.counting import effects
    from mediasearch.models import Job

    bars.equal("effects committed more than once", effects.repeated(), [])
    bars.equal("failed", Job.objects.filter(state="failed").count(), 0)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", choices=sorted(FIRST), default="celery")


if __name__ == "__main__":
    experiment(run, _options)
