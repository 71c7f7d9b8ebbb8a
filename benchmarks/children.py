"""`python -m benchmarks.children BEFORE [--pairs 30]`: what a change costs the processes that open files.

BEFORE is another checkout of this repository, such as `git worktree add` makes. Both start children in turn, which
inspect a JPEG of 640 x 480 pixels again and again: the time until the first answer, and the median of the others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = 20
MEASURE = """
import io, statistics, sys, time
from PIL import Image
from mediasearch.features.sandbox import Budget, Sandbox
options = {"max_bytes": 10**7, "max_pixels": 10**7, "formats": ["JPEG"], "thumbnail_size": 512}
stream = io.BytesIO()
Image.effect_noise((640, 480), 60).convert("RGB").save(stream, "JPEG")
sandbox, seconds = Sandbox(Budget()), []
for _ in range(1 + int(sys.argv[1])):
    started = time.perf_counter()
    sandbox.call(sys.argv[2], stream.getvalue(), options)
    seconds.append(time.perf_counter() - started)
sandbox.close()
print(1_000 * seconds[0], 1_000 * statistics.median(seconds[1:]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.children", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("--pairs", type=int, default=30)
    given = parser.parse_args()
    for operation in ("verify", "inspect"):
        pairs = [(_measured(given.before, operation), _measured(ROOT, operation)) for _ in range(given.pairs)]
        for index, what in enumerate(("until the first answer", "each further one")):
            _tell(f"{operation}, {what}", [(before[index], after[index]) for before, after in pairs])


def _measured(tree: Path, operation: str) -> tuple[float, float]:
    """Return milliseconds until a child's first answer, and for each further one."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, "-P", "-c", MEASURE, str(FILES), operation]
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    first, further = map(float, ended.stdout.split())
    return first, further


def _tell(what: str, pairs: Sequence[tuple[float, float]]) -> None:
    befores, afters = zip(*pairs, strict=True)
    differences = sorted(after - before for before, after in pairs)
    low, _, high = statistics.quantiles(differences, n=4)
    print(
        f"{what}: {statistics.median(befores):.2f} ms before, {statistics.median(afters):.2f} ms after;"
        f" median difference {statistics.median(differences):+.2f} ms (quartiles {low:+.2f}, {high:+.2f});"
        f" the quickest of each {min(befores):.2f} and {min(afters):.2f} ms"
    )


if __name__ == "__main__":
    main()
