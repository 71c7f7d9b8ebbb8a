"""The most memory that the processes which open files, and tesseract beside them, ever had."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.bars import Bars
from benchmarks.faults.site import Site

MOST = {"open": 600, "read": 1_200}
"""MB of each kind of child."""
_LOOK_EVERY = 0.2


class Peaks(threading.Thread):
    """Looks at a site's processes until the `with` ends; a long-lived one remembers its own peak."""

    def __init__(self, site: Site, programs: Sequence[str]) -> None:
        super().__init__(name="peaks", daemon=True)
        self._site, self._programs = site, programs
        self._over = threading.Event()
        self.megabytes: Counter[str] = Counter()

    def __enter__(self) -> Peaks:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            for name in self._programs:
                with suppress(OSError, psutil.Error):
                    self._look(self._site.processes(name))

    def tell(self, bars: Bars) -> None:
        for kind, most in MOST.items():
            what = {"open": "the process that opens files", "read": "the process that reads words"}[kind]
            bars.at_most(f"most memory of {what}", self.megabytes[kind], most, " MB")
        bars.note(
            "the same of tesseract, and of both at once, MB", [self.megabytes["tesseract"], self.megabytes["both"]]
        )

    def _look(self, processes: Sequence[psutil.Process]) -> None:
        from mediasearch import conf

        now: Counter[str] = Counter()
        for process in processes:
            with suppress(OSError, psutil.Error):
                words = process.cmdline()
                if "mediasearch.features.child" in words:
                    kind = "read" if str(conf.settings().read_memory) in words else "open"
                elif words and Path(words[0]).name == "tesseract":
                    kind = "tesseract"
                else:
                    continue
                self.megabytes[kind] = max(self.megabytes[kind], _peak(process.pid))
                if kind != "open":
                    now["both"] += process.memory_info().rss // 1_000_000
        self.megabytes["both"] = max(self.megabytes["both"], now["both"])


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1_024 // 1_000_000 for line in lines if line.startswith("VmHWM")), 0)
