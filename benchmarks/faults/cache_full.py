"""`python -m benchmarks.faults.cache_full --where shared|apart [--short]`: the cache of searches is full.

`shared`: it lies in the broker's server, which has room for 64 MB more and evicts nothing, and visitors fill all that
searches may remember. `apart`: it is a server of its own that others have filled to the last byte. Pictures are
uploaded before and after, and none may wait longer then.
"""

from __future__ import annotations

import argparse
import os
import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import uploads
from benchmarks.faults.site import await_model, running, until
from project.addresses import other_number
from project.services import start_valkey

UPLOADS, SHORT_UPLOADS = 40, 10
DELAYED, LONGEST = 3.0, 120.0
"""Seconds by which a picture must wait longer than the slowest before, to count as delayed."""
ROOM = 64_000_000
CLIENTS, SHORT_CLIENTS = 60_000, 1_000
"""That ask within a minute."""
PROGRAMS = ("worker-read", "worker-embed", "beat")


def run(given: Given, bars: Bars) -> None:
    count = SHORT_UPLOADS if given.short else UPLOADS
    with ExitStack() as ending:
        environment = {}
        if given.options.where == "apart":
            server = start_valkey(Path(ending.enter_context(tempfile.TemporaryDirectory())) / "cache")
            ending.callback(server.stop)
            environment["CACHE_URL"] = server.url
        ending.enter_context(running(*PROGRAMS, environment=environment))
        await_model()
        before = _upload(range(count))
        if given.options.where == "apart":
            _fill(bars, redis.Redis.from_url(environment["CACHE_URL"]))
        else:
            _ask(bars, SHORT_CLIENTS if given.short else CLIENTS)
        after = _upload(range(count, 2 * count))
        bars.note("the longest wait of a picture before and after, s", f"{max(before):.2f}, {max(after):.2f}")
        bars.equal("pictures delayed", sum(wait > max(before) + DELAYED for wait in after), 0)
        bars.equal("searches that failed", _failing_searches(), 0)


def _upload(numbers: range) -> list[float]:
    """Upload pictures one by one; return how many seconds each waited until all was done."""
    from mediasearch.models import Job

    for number in numbers:
        uploads.upload(number)
    until(lambda: not Job.objects.unfinished().exists(), LONGEST)
    return uploads.waits()[-len(numbers) :]


def _ask(bars: Bars, clients: int) -> None:
    """Have visitors ask until all that may be remembered is, each entry as long as it can be, and more than once."""
    from mediasearch.search import cache

    broker = redis.Redis.from_url(os.environ["REDIS_URL"])
    before = _used(broker)
    broker.config_set("maxmemory", before + ROOM)
    for pool in cache.POOLS:
        value = secrets.token_bytes(pool.piece - 28)
        for _ in range(0, 4 * pool.slots, 100):
            cache.keep_many(pool, {secrets.token_hex(8): value for _ in range(100)})
    for number in range(clients):
        cache.count(cache.key("asked", str(number)), 1, 600)
    bars.at_most("MB that visitors' entries take", (_used(broker) - before) / 1e6, ROOM / 1e6)
    bars.equal("writes that the server refused", _refusals(broker), 0)
    bars.equal("broker and cache are one server", broker.dbsize() > 0, True)
    other = redis.Redis.from_url(other_number(os.environ["REDIS_URL"]))
    bars.note("entries", other.dbsize())


def _fill(bars: Bars, server: Any) -> None:
    """Fill a cache to the last byte with what is not ours."""
    server.config_set("maxmemory", 64_000_000)
    server.config_set("maxmemory-policy", "noeviction")
    size = 1_000_000
    while size >= 1:
        try:
            server.set(secrets.token_hex(8), b"x" * size)
        except redis.RedisError:
            size //= 4
    bars.at_least("writes that the cache refused", _refusals(server), 1)


def _used(server: Any) -> int:
    return int(server.info("memory")["used_memory"])


def _refusals(server: Any) -> int:
    return int(server.info("errorstats").get("errorstat_OOM", {}).get("count", 0))


def _failing_searches() -> int:
    import mediasearch

    return sum(bool(mediasearch.search(f"red {number}").degraded) for number in range(10))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--where", choices=["shared", "apart"], required=True)


if __name__ == "__main__":
    experiment(run, _options)
