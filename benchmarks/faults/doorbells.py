"""`python -m benchmarks.faults.doorbells [--seed N] [--short]`: one upload's doorbell is delivered fifty times at once.

Two workers with four processes each are halted, an upload is committed, fifty doorbells for it are queued, and the
workers go on: all eight processes start on one at the same moment. The encoder writes down each picture that it is
given.
"""

from __future__ import annotations

import random
import re
import signal
import sys
import time
from contextlib import ExitStack
from unittest import mock

import redis

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import uploads
from benchmarks.faults.site import Site, await_model, await_processes, running, until
from project.supervision import Program

QUEUE, DELIVERED = "mediasearch.embed", 50
ROUNDS, SHORT, LONGEST = 25, 3, 30.0
PROCESSES = 4
WORKERS = ("crowd-1", "crowd-2")


def run(given: Given, bars: Bars) -> None:
    settings = {"ENCODER": {"BACKEND": "benchmarks.faults.encoders.Recording"}}
    rounds = SHORT if given.short else ROUNDS
    with running("worker-read", *WORKERS, settings=settings, more=map(_worker, WORKERS)) as site:
        from benchmarks.faults.counting import effects, notes
        from mediasearch.models import Embedding

        await_model()
        for name in WORKERS:
            await_processes(site, name, 1 + PROCESSES)
        chance = random.Random(given.seed)
        for number in range(rounds):
            _deliver(site, number)
            time.sleep(chance.uniform(0.0, 0.5))
        reached = [_reached(site.log(name)) for name in WORKERS]
        bars.equal("processes that doorbells reached", [*map(len, reached)], [PROCESSES] * len(WORKERS))
        given_to_it = [picture for call in notes.read(notes.ENCODED) for picture in call.get("pictures", [])]
        bars.equal("pictures given to the encoder", len(given_to_it), rounds)
        bars.equal("different ones", len(set(given_to_it)), rounds)
        bars.equal("rows of vectors", Embedding.objects.count(), rounds)
        bars.equal("effects committed more than once", effects.repeated(), [])
        bars.at_least("doorbells", site.doorbells(), rounds * DELIVERED)


def _deliver(site: Site, number: int) -> None:
    """Commit an upload unheard, ring for it fifty times while nobody listens, and wait until all was heard."""
    from mediasearch.indexing import doorbell
    from mediasearch.models import Job

    mains = [site.processes(name)[0] for name in WORKERS]
    with ExitStack() as halted:
        for main in mains:
            main.send_signal(signal.SIGSTOP)
            halted.callback(main.send_signal, signal.SIGCONT)
        with mock.patch.object(doorbell, "ring"):
            uploads.upload(number)
        for _ in range(DELIVERED):
            doorbell._publish(QUEUE)
    until(lambda: not Job.objects.unfinished().exists() and not _unheard(), LONGEST)


def _unheard() -> int:
    """How many messages of the queue no process has taken."""
    from django.conf import settings

    with redis.Redis.from_url(settings.REDIS_URL) as broker:
        return int(broker.llen(QUEUE)) + int(broker.hlen("unacked"))


def _reached(log: str) -> set[str]:
    """Which pool processes did something about a doorbell, as a worker's log has it."""
    return set(re.findall(r"/(ForkPoolWorker-\d+)\] Task mediasearch\.drain\S* succeeded", log))


def _worker(name: str) -> Program:
    command = (sys.executable, "-m", "celery", "--app", "project", "worker", "--queues", QUEUE)
    command += ("--concurrency", str(PROCESSES), "--hostname", f"{name}@demo", "--loglevel", "INFO")
    command += ("--without-gossip", "--without-mingle")
    return Program(name, command, stop_signal="QUIT")


if __name__ == "__main__":
    experiment(run)
