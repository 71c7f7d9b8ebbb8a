"""What an experiment found, each figure beside its bar."""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

TIMES = (" s", " ms", " x")
"""The units of durations, and of how fast one thing is beside another."""


@dataclass
class Bars:
    """Figures and their bars, printed as they come."""

    timed: bool = True
    """Whether being slow is a miss; the suite, which shares its machine with whatever else runs, only wants an end."""
    missed: list[str] = field(default_factory=list)

    def hold(self, what: str, figure: object, bar: str, met: bool, *, excused: bool = False) -> None:
        """Print a figure and whether its bar is met; a miss that is `excused` is told, and does not count."""
        if not met and not excused:
            self.missed.append(what)
        verdict = "ok    " if met else "slow  " if excused else "MISSED"
        print(f"  {verdict} {what}: {_short(figure)} (bar {bar})", flush=True)

    def equal(self, what: str, figure: object, wanted: object) -> None:
        self.hold(what, figure, _short(wanted), figure == wanted)

    def at_most(self, what: str, figure: float, most: float, unit: str = "") -> None:
        self.hold(
            what, f"{figure:.4g}{unit}", f"<= {most:g}{unit}", figure <= most, excused=self._excuses(figure, unit)
        )

    def at_least(self, what: str, figure: float, least: float, unit: str = "") -> None:
        self.hold(
            what, f"{figure:.4g}{unit}", f">= {least:g}{unit}", figure >= least, excused=self._excuses(figure, unit)
        )

    def _excuses(self, figure: float, unit: str) -> bool:
        return not self.timed and unit in TIMES and math.isfinite(figure)

    def note(self, what: str, figure: object) -> None:
        """Print a figure that has no bar."""
        print(f"         {what}: {_short(figure)}", flush=True)


@dataclass(frozen=True, slots=True)
class Given:
    """How an experiment is to be run."""

    seed: int
    short: bool
    options: argparse.Namespace


def experiment(run: Callable[[Given, Bars], None], add_options: Callable[[argparse.ArgumentParser], None] = id) -> None:
    """Run an experiment from the command line; exit with 1 where it misses a bar."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="the form that the test suite runs")
    add_options(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that the site that was started ends, too.
    bars = Bars(timed=not options.short)
    run(Given(options.seed, options.short, options), bars)
    sys.exit(1 if bars.missed else 0)


def _short(figure: object) -> str:
    return f"{figure:.4g}" if isinstance(figure, float) else str(figure)
