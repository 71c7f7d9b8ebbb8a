"""`python -m benchmarks.demo [PORT]`: `make demo` in a clean clone, and again: when does the page answer?

The clone lies in a temporary folder; pip's cache is as warm as it is. Exits 1 where a time is over its bar.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE, INDEXED, PAGE_AGAIN = 300.0, 420.0, 15.0
_LIMIT = 900.0


def main(port: int) -> int:
    with tempfile.TemporaryDirectory(prefix="mediasearch-demo-", ignore_cleanup_errors=True) as place:
        clone = Path(place) / "mediasearch"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        page, indexed = run(clone, port)
        again, _ = run(clone, port)
    print(f"clean clone: page answers after {page:.0f} s, library indexed after {indexed:.0f} s")
    print(f"again: page answers after {again:.1f} s")
    return 0 if page <= PAGE and indexed <= INDEXED and again <= PAGE_AGAIN else 1


def run(clone: Path, port: int) -> tuple[float, float]:
    """Start the demo, wait until all is indexed, end it; return seconds until the page answered and until then."""
    log = clone.parent / "demo.log"
    started = time.monotonic()
    with log.open("wb") as output:
        demo = subprocess.Popen(
            ["make", "demo", f"PORT={port}"],
            cwd=clone,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        page = wait(lambda: answers(port), demo, log) - started
        indexed = wait(lambda: "pictures are indexed (" in log.read_text(), demo, log) - started
    finally:
        os.killpg(demo.pid, signal.SIGINT)  # As Ctrl-C does: to make, and to what make runs.
        demo.wait(60)
    return page, indexed


def wait(condition: Callable[[], bool], demo: subprocess.Popen[bytes], log: Path) -> float:
    """Return the moment at which something held."""
    end = time.monotonic() + _LIMIT
    while not condition():
        if demo.poll() is not None or time.monotonic() > end:
            sys.exit(f"The demo did not come up: {log.read_text()[-1_000:]}")
        time.sleep(0.1)
    return time.monotonic()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8077))
