"""`python -m benchmarks.faults.fuzz [FOLDER] [--count 10000] [--seed 1] [--only NUMBER] [--short]`, or `make fuzz`.

Damaged files, as many as asked for, go through the opener as uploads and workers use it, in two processes. FOLDER is
../shared/data/hostile by default, the sample library's pictures where that is absent. What was found is kept in
.bench/, so that a run that was stopped goes on. `--only` does one of them, and writes the file to the present folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import mutations

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = (ROOT.parent / "shared" / "data" / "hostile", ROOT / "project" / "library" / "pictures")
COUNT, SHORT, AT_ONCE, PROCESSES = 10_000, 300, 50, 2
LARGEST = 1_000_000
Found = dict[str, Any]
_files: Mapping[str, bytes] = {}


def run(given: Given, bars: Bars) -> None:
    folder = given.options.folder or next(folder for folder in FOLDERS if folder.is_dir())
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if _is_file(path)}
    if given.options.only is not None:
        _show(files, given.seed, given.options.only)
        return
    count = SHORT if given.short else given.options.count
    record = _Record(given.seed, files, keep=not given.short)
    bars.note("files", f"{len(files)} of {folder}")
    if record.found:
        bars.note("done before", len(record.found))
    started, signals = time.monotonic(), _all(files, given.seed, count, record, quiet=given.short)
    found = [record.found[number] for number in sorted(record.found) if number < count]
    bars.note("took", f"{time.monotonic() - started:.0f} s")
    _tell(found, bars)
    bars.equal("mutations", len(found), count)
    bars.equal("signals in the worker", signals, 0)
    bars.equal("time-outs", [one["number"] for one in found if one["outcome"].endswith("Timeout")], [])
    bars.equal("without a typed reason", [one["number"] for one in found if one["outcome"].startswith("!")], [])
    record.close()


def _tell(found: Sequence[Found], bars: Bars) -> None:
    reasons = Counter(one["outcome"] for one in found)
    bars.note("outcomes", ", ".join(f"{number} {outcome}" for outcome, number in reasons.most_common()))
    deaths = [f"{one['number']}: {one['file']} ({one['how']}): {one['said']}" for one in found if one["died"]]
    bars.note("children that died by a signal", deaths or 0)
    differ = [one["number"] for one in found if one["differ"]]
    bars.note("accepted by one operation and refused by another", differ or 0)
    bars.note("slowest, s", max((one["seconds"] for one in found), default=0.0))
    bars.note("most memory of a child, MB", max((one["memory"] for one in found), default=0))


def _all(files: Mapping[str, bytes], seed: int, count: int, record: _Record, *, quiet: bool) -> int:
    """Do what is not done yet; return how many processes died over it."""
    left = [number for number in range(count) if number not in record.found]
    parts = [left[at : at + AT_ONCE] for at in range(0, len(left), AT_ONCE)]
    started, told = time.monotonic(), time.monotonic()
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), _prepare, (files,)) as pool:
        coming = [pool.submit(_some, seed, part) for part in parts]
        try:
            for done, future in enumerate(as_completed(coming), start=1):
                record.add(future.result())
                if not quiet and time.monotonic() - told > 10:
                    told = time.monotonic()
                    rate = done * AT_ONCE / (told - started)
                    print(f"         {len(record.found)} of {count}, {rate:.0f} a second", flush=True)
        except BrokenProcessPool:
            return 1
    return 0


class _Record:
    """What was found so far, in a file of one line each."""

    def __init__(self, seed: int, files: Mapping[str, bytes], *, keep: bool) -> None:
        digest = hashlib.sha256(Path(mutations.__file__).read_bytes())
        for name in sorted(files):
            digest.update(name.encode() + hashlib.sha256(files[name]).digest())
        self._path = ROOT / ".bench" / f"fuzz-{seed}-{digest.hexdigest()[:12]}.jsonl"
        self._keep, self.found = keep, dict[int, Found]()
        if keep and self._path.exists():
            lines = self._path.read_text().splitlines()
            self.found = {one["number"]: one for one in map(json.loads, lines)}

    def add(self, found: Sequence[Found]) -> None:
        self.found |= {one["number"]: one for one in found}
        if self._keep:
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a") as file:
                file.writelines(f"{json.dumps(one)}\n" for one in found)

    def close(self) -> None:
        """Forget a run that came to its end."""
        self._path.unlink(missing_ok=True)


def _prepare(files: Mapping[str, bytes]) -> None:
    """Become a process that opens files as a worker does."""
    global _files
    from django.conf import settings

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings.configure(MEDIASEARCH={}, LOGGING_CONFIG=None)
    _files = files


def _some(seed: int, numbers: Sequence[int]) -> list[Found]:
    return [_one(seed, number) for number in numbers]


def _one(seed: int, number: int) -> Found:
    name, how, data = mutations.mutation(_files, seed, number)
    started = time.monotonic()
    outcomes = dict(_outcomes(data))
    first = next(iter(outcomes.values()))
    said = next((said for _, said in outcomes.values() if said), "")
    return {
        "number": number, "file": name, "how": how, "outcome": first[0], "said": said,
        "differ": len({outcome for outcome, _ in outcomes.values()}) > 1,
        "died": any(outcome == "DecoderCrashed" for outcome, _ in outcomes.values()),
        "seconds": round(time.monotonic() - started, 3), "memory": _memory(),
    }  # fmt: skip


def _outcomes(data: bytes) -> Iterator[tuple[str, tuple[str, str]]]:
    from mediasearch.exceptions import MediaSearchError
    from mediasearch.features import opener

    for operation, call in {
        "verify": opener.verify,
        "inspect": opener.inspect,
        "pixels": lambda data: opener.pixels(data, 672, input_size=224),
    }.items():
        try:
            call(data)
            yield operation, ("opened", "")
        except MediaSearchError as error:
            yield operation, (type(error).__name__, str(error))
        except Exception as error:  # What has no type here is what is looked for.
            yield operation, (f"!{type(error).__name__}", str(error))


def _memory() -> int:
    """Return the most memory that the child of this process has ever had, in MB."""
    import psutil

    peaks = [0]
    for child in psutil.Process().children(recursive=True):
        try:
            status = Path(f"/proc/{child.pid}/status").read_text()
        except OSError:
            continue
        peaks += [int(line.split()[1]) // 1_000 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


def _show(files: Mapping[str, bytes], seed: int, number: int) -> None:
    name, how, data = mutations.mutation(files, seed, number)
    path = Path(f"fuzz-{seed}-{number}-{name}")
    path.write_bytes(data)
    _prepare(files)
    print(f"{path}: {how}, {len(data)} bytes", *(f"  {what}: {said}" for what, said in _outcomes(data)), sep="\n")


def _is_file(path: Path) -> bool:
    return path.is_file() and path.suffix not in (".csv", ".json", ".py") and path.stat().st_size <= LARGEST


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--only", type=int, metavar="NUMBER")


if __name__ == "__main__":
    experiment(run, _options)
