"""`python -m benchmarks.faults.hanging --ended-by reader|sandbox [--short]`: tesseract hangs, and its worker is killed.

First on the PATH of a real worker stands a tesseract that answers what it is and hangs over each picture. It ignores
SIGTERM, and has a process of its own that holds its pipes open. Either the reader's own limit ends it, or the
sandbox's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults.site import Site, running, until

STUB = """#!/bin/sh
mode=$(cat "{folder}/mode")
if [ "$mode" = real ]; then exec {real} "$@"; fi
if [ "$mode" = pictures ]; then
    case "$1" in
        --list-langs) echo eng; exit;;
        --version) echo tesseract 5.3.0; exit;;
    esac
fi
trap '' TERM
sleep {mark} &
wait
sleep {mark}
"""
PROGRAMS = ("worker-read", "worker-embed", "beat")
LIMIT, FAR = 4.0, 60.0
GRACE = 2.0
ORPHANS_GONE = 3.0


def run(given: Given, bars: Bars) -> None:
    folder = Path(tempfile.mkdtemp(prefix="mediasearch-stub-"))
    folder.chmod(0o755)
    mark = f"9{os.getpid()}"
    stub = folder / "tesseract"
    real = shutil.which("tesseract")
    stub.write_text(STUB.format(folder=folder, real=real or "false", mark=mark))
    stub.chmod(0o755)
    by_reader = given.options.ended_by == "reader"
    programs = [str(folder), "cat", "sleep", *filter(None, [real])]
    reader = {"timeout": LIMIT if by_reader else FAR, "overview": 0, "languages": ["eng"], "programs": programs}
    settings = {
        "READER": {"BACKEND": "mediasearch.features.tesseract.Tesseract", "OPTIONS": reader},
        "READ_SECONDS": FAR if by_reader else LIMIT,
        "MAX_CLAIMS": 1 if given.short else 2,
        "LEASE_SECONDS": 10,
    }
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    try:
        _mode(folder, "pictures")
        with running(*PROGRAMS, settings=settings, environment=environment) as site:
            _go(given, bars, site, folder, mark, real)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _go(given: Given, bars: Bars, site: Site, folder: Path, mark: str, real: str | None) -> None:
    from mediasearch.models import Job

    litter = _litter()
    asset = _upload("red")
    longest = _watch(mark, lambda: Job.objects.filter(asset=asset, stage="read", state="failed").exists())
    bars.at_most("a tesseract that hangs is ended after", longest, LIMIT + GRACE, " s")
    bars.equal(
        "what becomes of its job", _read_job(asset), f"failed after {1 if given.short else 2} claims: {_reason(given)}"
    )
    found = until(lambda: asset in _found_by_vector("red"), 30.0)
    bars.hold("found by its vector all the same", found is not None, "True", found is not None)
    _no_zombies(bars, site)
    bars.equal("temporary files that are left", sorted(_litter() - litter), [])
    _kill_its_worker(bars, site, mark)
    # The reader finds this out after 10 s; the other form's sandbox ends whatever takes 4.
    if not given.short and real and given.options.ended_by == "reader":
        _hang_always(bars, folder)
    _no_zombies(bars, site)


def _no_zombies(bars: Bars, site: Site) -> None:
    """What is killed goes to process 1, which takes a moment to ask how it ended; what stays with a worker stays."""
    until(lambda: not _zombies(site), ORPHANS_GONE)
    bars.equal("zombies", _zombies(site), [])


def _kill_its_worker(bars: Bars, site: Site, mark: str) -> None:
    """`kill -9` a worker, but not what it started, while its child waits for tesseract."""
    _upload("blue")
    if until(lambda: _stubs(mark), 60.0) is None:
        bars.hold("a tesseract to orphan", "none", "one", False)
        return
    processes = site.processes("worker-read")
    workers = [one for one in processes if "celery" in " ".join(one.cmdline())]
    others = [one for one in processes if one not in workers]
    killed = time.monotonic()
    for process in workers:
        process.send_signal(signal.SIGKILL)
    gone = until(lambda: not any(_alive(one) for one in others), 60.0, every=0.05)
    bars.note("processes of the killed worker that were left", len(others))
    bars.at_most("they are gone after", float("inf") if gone is None else time.monotonic() - killed, ORPHANS_GONE, " s")


def _hang_always(bars: Bars, folder: Path) -> None:
    """A tesseract that does not even say what it is: nobody's picture is at fault, and the stage waits for it."""
    from mediasearch.models import Job, Pause

    _mode(folder, "always")
    asset = _upload("green")
    paused = until(lambda: Pause.objects.filter(stage="read").exists(), 90.0)
    reason = Pause.objects.filter(stage="read").values_list("reason", flat=True).first()
    bars.hold("the stage pauses", reason, "a reason", paused is not None and "hangs" in (reason or ""))
    _mode(folder, "real")
    done = until(lambda: Job.objects.filter(asset=asset, stage="read", state="done").exists(), 120.0)
    bars.hold("done once it works again, s", done, "some time", done is not None)


def _mode(folder: Path, mode: str) -> None:
    (folder / "mode").write_text(mode)


def _upload(colour: str) -> int:
    from django.core.files.base import ContentFile

    from benchmarks.faults.made import saved
    from mediasearch.models import Asset

    content = saved("PNG", inks=(colour, colour))
    return int(Asset.objects.create(file=ContentFile(content, name=f"{colour}.png")).pk)


def _read_job(asset: int) -> str:
    from mediasearch.models import Job

    job = Job.objects.get(asset=asset, stage="read")
    return f"{job.state} after {job.attempts} claims: {job.error}"


def _reason(given: Given) -> str:
    if given.options.ended_by == "reader":
        return f"tesseract took more than {LIMIT:g} s over this picture."
    return f"Reading this picture took more than {LIMIT:g} seconds."


def _found_by_vector(colour: str) -> list[int]:
    import mediasearch

    return [hit.asset.pk for hit in mediasearch.search(colour, weights={"image": 1.0})]


def _watch(mark: str, over: Callable[[], bool]) -> float:
    """Return how long the longest-lived of the processes that hang was there, until something is over."""
    longest, known, looked, ended = 0.0, set[psutil.Process](), 0.0, False
    end = time.monotonic() + 120.0
    while not ended or known:
        if time.monotonic() > end:
            return float("inf")
        if time.monotonic() - looked > 0.5:  # To look at all processes takes a while; at those that are known, none.
            known, looked, ended = known | set(_stubs(mark)), time.monotonic(), over()
        known = {one for one in known if _alive(one)}
        longest = max([longest, *map(_age, known)])
        time.sleep(0.02)
    return longest


def _age(process: psutil.Process) -> float:
    """Return how long a process has been there; psutil's own time of its start may be a second off."""
    with suppress(OSError):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _stubs(mark: str) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [one for one in found if (one.info["cmdline"] or [])[-2:] == ["sleep", mark]]


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _zombies(site: Site) -> list[str]:
    """The processes of a site, and those with a stub's names, that ended and that nobody asked how."""
    ours = {one.pid for name in PROGRAMS for one in site.processes(name)}
    found = psutil.process_iter(["pid", "ppid", "status", "name"])
    dead = [one.info for one in found if one.info["status"] == psutil.STATUS_ZOMBIE]
    return [str(one) for one in dead if {one["pid"], one["ppid"]} & ours or one["name"] in ("tesseract", "sleep")]


def _litter() -> set[str]:
    folder = Path(tempfile.gettempdir())
    return {str(path) for pattern in ("tess_*", "mediasearch-*/tess_*") for path in folder.glob(pattern)}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ended-by", choices=("reader", "sandbox"), default="reader")


if __name__ == "__main__":
    experiment(run, _options)
