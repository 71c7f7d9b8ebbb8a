"""`python -m benchmarks.faults.exits [--seed N] [--short]`: a worker's main process ends with its broker, or for good.

Two workers lose their broker at the same moment, again and again: one set up as docs/deployment.md says, which must
live through it, and one that fetches ahead as Celery does by default, whose main process ends of it now and then. At
last their main processes are killed along with the broker. The supervisor of docs/deployment.md must have each back at
work. Then both are stopped for good with work due: `mediasearch_status`, asked as a probe would, must say so, and must
not have said so before.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
import redis

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import uploads
from benchmarks.faults.site import ROOT, Site, await_model, running, until
from project.services import valkey
from project.supervision import Program

DOCUMENTED, GREEDY, QUEUE = "worker-embed", "worker-greedy", "mediasearch.embed"
TRIES, ENOUGH, SHORT_TRIES = 20, 3, 1
"""How often the broker is killed; that many exits are enough."""
BACK, ALARMED, ASK_EVERY, SHORT_EVERY = 10.0, 60.0, 10.0, 3.0
WATCHED, LONGEST = 3.0, 60.0
"""Seconds that a main process is watched after the broker's end, and that anything else may take."""
BROKEN = "Unrecoverable error"
"""What a main process says when it breaks down."""
SKIPPED = 45.0
"""Seconds of silence that the short form does not wait for, but writes into the ledger."""
JOBS, SHORT_JOBS, BATCH, SECONDS = 8_000, 1_000, 2, 0.5


@dataclass(frozen=True, slots=True)
class Back:
    """How a worker came back."""

    seconds: float
    """From the end of its main process until a new one had done a batch."""
    idle: float
    """From the last batch of its old processes until then: a pool works on while its main process breaks down."""


def run(given: Given, bars: Bars) -> None:
    tries, jobs = (SHORT_TRIES, SHORT_JOBS) if given.short else (TRIES, JOBS)
    encoder = {"BACKEND": "benchmarks.faults.encoders.Recording", "OPTIONS": {"seconds": SECONDS}}
    settings = {"ENCODER": encoder, "BATCH_SIZE": BATCH}
    with running(DOCUMENTED, GREEDY, settings=settings, more=[_greedy_worker()]) as site:
        await_model()
        _owe(jobs)
        chance, alarms = random.Random(given.seed), _alarm_is_told()
        backs: dict[str, list[Back]] = {DOCUMENTED: [], GREEDY: []}
        tried = 0
        while tried < tries and len(backs[GREEDY]) < ENOUGH:
            tried += 1
            for name, back in _lose_broker(site, chance).items():
                backs[name].append(back)
            alarms += _alarm_is_told()
        bars.note("times that the broker was killed", tried)
        bars.equal("main processes that ended of it, set up as documented", len(backs[DOCUMENTED]), 0)
        bars.note("the same, fetching ahead", len(backs[GREEDY]))
        victims = (DOCUMENTED,) if given.short else (DOCUMENTED, GREEDY)
        killed = _lose_broker(site, chance, victims)
        alarms += _alarm_is_told()
        bars.equal("main processes killed", sorted(set(victims) & set(killed)), sorted(victims))
        every = [*backs[GREEDY], *backs[DOCUMENTED], *killed.values()]
        bars.note("seconds until each was back", [round(back.seconds, 1) for back in every])
        longest, idle = max(back.seconds for back in every), max(back.idle for back in every)
        bars.at_most("longest from an exit until the new process had done a batch", longest, BACK, " s")
        bars.at_most("longest from the old processes' last batch to the new ones' first", idle, BACK, " s")
        bars.equal("alarms while they worked", alarms, 0)
        bars.at_most("from their end for good to the alarm", _silence(site, short=given.short), ALARMED, " s")


def _greedy_worker() -> Program:
    own = {"CELERY_WORKER_PREFETCH_MULTIPLIER": 4, "CELERY_WORKER_DISABLE_PREFETCH": False}
    command = (
        "env",
        f"FAULTS_SETTINGS={json.dumps(own)}",
        sys.executable,
        "-m",
        "celery",
        "--app",
        "project",
        "worker",
    )
    command += ("--queues", QUEUE, "--concurrency", "1", "--hostname", "greedy@demo")
    return Program(GREEDY, (*command, "--without-gossip", "--without-mingle"), stop_signal="QUIT")


def _owe(jobs: int) -> None:
    """Owe vectors to many assets that share a file."""
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    from mediasearch.models import Asset, Job

    name = default_storage.save("shared.png", ContentFile(uploads.picture(0)))
    Asset.objects.bulk_create([Asset(file=name) for _ in range(jobs)])
    Job.objects.filter(generation=None).update(state="done")  # No worker does these here.


def _lose_broker(site: Site, chance: random.Random, victims: Collection[str] = ()) -> dict[str, Back]:
    """Kill the broker while messages are under way, and along with it the main processes of some workers.

    Returns how each worker came back whose main process ended.
    """
    _await_messages(full=chance.random() < 0.3)
    time.sleep(chance.uniform(0.0, 1.0))
    until(lambda: all(map(site.processes, (DOCUMENTED, GREEDY))), LONGEST)  # Not while just started.
    before = {name: site.processes(name) for name in (DOCUMENTED, GREEDY)}
    told = {name: site.log(name).count(BROKEN) for name in before}
    site.kill("valkey")
    for name in victims:
        before[name][0].kill()
    ended = _exits(site, {name: main for name, (main, *_) in before.items()}, told)
    old = {process.pid for processes in before.values() for process in processes}
    until(lambda: all(_batches(site, name, old) for name in ended), LONGEST)
    until(lambda: valkey.ping(os.environ["REDIS_URL"]), LONGEST)
    return {name: _back(site, name, {p.pid for p in before[name]}, old, exited) for name, exited in ended.items()}


def _exits(site: Site, mains: Mapping[str, psutil.Process], told: Mapping[str, int]) -> dict[str, float]:
    """Watch main processes, and return when each of those ended that did.

    One that breaks down has its pool end what it is at: a batch after the other, for up to half a minute.
    """
    ended: dict[str, float] = {}
    since = time.monotonic()

    def settled() -> bool:
        for name, main in mains.items():
            if name not in ended and not _lives(main):
                ended[name] = time.time()
        breaking = [name for name in mains if name not in ended and site.log(name).count(BROKEN) > told[name]]
        return len(ended) == len(mains) or (not breaking and time.monotonic() - since > WATCHED)

    until(settled, LONGEST, every=0.05)
    return ended


def _back(site: Site, name: str, own: set[int], old: set[int], exited: float) -> Back:
    from benchmarks.faults.counting import notes

    first = min(_batches(site, name, old), default=float("inf"))
    events = [one for one in notes.read(notes.EVENTS) if one["process"] in own and one["event"] == "batch"]
    return Back(first - exited, first - max(one["at"] for one in events if one["at"] < first))


def _batches(site: Site, name: str, old: set[int]) -> list[float]:
    """When a worker's new processes did their batches."""
    from benchmarks.faults.counting import notes

    new = {process.pid for process in site.processes(name)} - old
    return [one["at"] for one in notes.read(notes.EVENTS) if one["process"] in new and one["event"] == "batch"]


def _await_messages(*, full: bool) -> None:
    """Wait until a worker has fetched a message that its busy pool can't take yet, or `full`, so many that more wait.

    How a worker meets the broker's end differs with that: one that is full has asked for no more.
    """
    from mediasearch.indexing import doorbell

    def under_way() -> bool:
        try:
            with redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=2.0) as broker:
                if broker.hlen("unacked") and (broker.llen(QUEUE) or not full):
                    return True
        except redis.RedisError:
            return False
        doorbell._publish(QUEUE)
        return False

    if until(under_way, LONGEST, every=0.2) is None:
        raise TimeoutError(f"No message is under way after {LONGEST:g} s: the workers do not listen to the broker.")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _silence(site: Site, *, short: bool) -> float:
    """End the workers for good and return after how many seconds the alarm was told, asked now and then."""
    from django.db import connection

    with ThreadPoolExecutor() as both:
        list(both.map(site.supervisor.end, (DOCUMENTED, GREEDY)))
    ended = time.monotonic()
    skipped, every = (SKIPPED, SHORT_EVERY) if short else (0.0, ASK_EVERY)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE mediasearch_job SET due_at = due_at - skipped, lease_until = lease_until - skipped,"
            " finished_at = finished_at - skipped FROM (SELECT %s * interval '1 second' AS skipped) AS _",
            [skipped],
        )
    while not _alarm_is_told() and time.monotonic() - ended < 2 * ALARMED:
        time.sleep(every - (time.monotonic() - ended) % every)
    return skipped + time.monotonic() - ended


def _alarm_is_told() -> bool:
    command = [sys.executable, "manage.py", "mediasearch_status", "--fail-on-alarm", "silent"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    return told.returncode == 1 and "ALARM (silent): No worker is at work on stage embed_image" in told.stdout


if __name__ == "__main__":
    experiment(run)
