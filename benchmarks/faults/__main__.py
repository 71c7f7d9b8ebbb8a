"""`python -m benchmarks.faults [NAME ...] [--short] [--seeds 1 2 3]`: run experiments, each in a process of its own.

Exits with 1 where a bar is missed. `--short` is the form that the test suite runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "chaos-celery": ("chaos", "--workers", "celery"),
    "chaos-command": ("chaos", "--workers", "command"),
    "leases-celery": ("leases", "--workers", "celery"),
    "leases-command": ("leases", "--workers", "command"),
    "deaths-celery": ("deaths", "--workers", "celery"),
    "deaths-command": ("deaths", "--workers", "command"),
    "broker": ("broker",),
    "cache-full-shared": ("cache_full", "--where", "shared"),
    "cache-full-apart": ("cache_full", "--where", "apart"),
    "doorbells": ("doorbells",),
    "exits": ("exits",),
    "poison-celery": ("poison", "--workers", "celery"),
    "poison-command": ("poison", "--workers", "command"),
    "outages-storage": ("outages", "--of", "storage"),
    "outages-encoder": ("outages", "--of", "encoder"),
    "outages-disk": ("outages", "--of", "disk"),
    "swap-exact": ("swap", "--plan", "exact"),
    "swap-hnsw": ("swap", "--plan", "hnsw"),
    "reindex-missing": ("missing",),
    "calibration-killed-celery": ("calibrating", "--workers", "celery"),
    "calibration-killed-command": ("calibrating", "--workers", "command"),
    "backlog": ("backlog",),
    "hostile": ("hostile",),
    "captive": ("captive",),
    "fuzz": ("fuzz",),
    "disclosure": ("disclosure",),
    "slow-files": ("slow",),
    "visitors": ("visitors",),
    "hanging-reader": ("hanging", "--ended-by", "reader"),
    "hanging-sandbox": ("hanging", "--ended-by", "sandbox"),
    "stale": ("stale",),
    "edits": ("edits",),
    "blanked": ("blanked",),
    "held-update": ("held", "--by", "update"),
    "held-select": ("held", "--by", "select"),
    "crossed": ("crossed",),
    "bulk": ("bulk",),
    "files": ("files",),
    "caching-nginx": ("caching",),
    "versions": ("versions",),
    "replicas": ("replicas",),
    "pools-solo": ("pools", "--pool", "solo"),
    "pools-threads": ("pools", "--pool", "threads"),
    "pools-gevent": ("pools", "--pool", "gevent"),
    "pools-prefork": ("pools", "--pool", "prefork"),
    "pools-command": ("pools", "--pool", "command"),
    "crowding": ("crowding",),
    "two-sites": ("neighbours",),
}
"""Each name with the module and its own arguments."""
SEEDED = ("chaos-celery", "chaos-command")
"""Those that chance has a part in: run once for each seed."""
LONGEST = 3_600.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}; all by default")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    given = parser.parse_args()
    if unknown := set(given.names) - set(EXPERIMENTS):
        parser.error(f"There is no experiment {', '.join(sorted(unknown))}; there are {', '.join(EXPERIMENTS)}.")
    missed = []
    for name in given.names or EXPERIMENTS:
        for seed in given.seeds if name in SEEDED else given.seeds[:1]:
            print(f"\n{name}, seed {seed}", flush=True)
            started = time.monotonic()
            if not _run(name, seed, short=given.short):
                missed.append(f"{name} (seed {seed})")
            print(f"  took {time.monotonic() - started:.0f} s", flush=True)
    print(f"\nMissed: {', '.join(missed)}" if missed else "\nAll bars met.")
    return 1 if missed else 0


def _run(name: str, seed: int, *, short: bool) -> bool:
    module, *arguments = EXPERIMENTS[name]
    command = [sys.executable, "-m", f"benchmarks.faults.{module}", *arguments, "--seed", str(seed)]
    try:
        return subprocess.run([*command, *["--short"] * short], cwd=ROOT, timeout=LONGEST).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"  It did not end within {LONGEST:.0f} s.")
        return False


if __name__ == "__main__":
    sys.exit(main())
