"""`python -m benchmarks.engine [NAME ...] [--n 100000]`: measure the engine beside what others do; `make bench`.

Makes a library of so many assets the first time, under .bench/engine. Exits with 1 where a bar is missed. `--short`
is the form that the test suite runs: what is found, and not how long it takes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks.bars import Bars
from benchmarks.engine import library
from benchmarks.engine.figures import Figures

PLACE = Path(__file__).resolve().parent.parent.parent / ".bench" / "engine"
NUMBER, SHORT = 100_000, 2_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; all by default")
    parser.add_argument("--n", type=int, help=f"assets of the library; {NUMBER:,} by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help=f"the form of the test suite, with {SHORT:,} assets")
    parser.add_argument("--place", type=Path, default=PLACE, help="where libraries and figures are kept")
    given = parser.parse_args()
    number = given.n or (SHORT if given.short else NUMBER)
    made = library.open_or_make(given.place.resolve() / f"{number}-{given.seed}", number, given.seed)

    from benchmarks.engine.rows import ROWS, Bench  # Django is loaded only now.

    if unknown := set(given.names) - set(ROWS):
        parser.error(f"There is no row {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}.")
    bars = Bars(timed=not given.short)
    bench = Bench.over(made, bars, Figures(given.place.resolve(), number), short=given.short)
    print(f"{number:,} assets, seed {given.seed}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name in given.names or ROWS:
        print(f"\n{name}: {(ROWS[name].__doc__ or '').strip()}", flush=True)
        started = time.monotonic()
        ROWS[name](bench)
        print(f"  took {time.monotonic() - started:.0f} s", flush=True)
    print(f"\nMissed: {', '.join(bars.missed)}" if bars.missed else "\nAll bars met.")
    return 1 if bars.missed else 0


if __name__ == "__main__":
    sys.exit(main())
