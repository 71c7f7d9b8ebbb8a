"""What there is to say of the write path, as values: for people, probes and metrics alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

ALARMS = {
    "silent": _("Work is due, and nobody does it"),
    "paused": _("Something that a stage needs is down; the stage rests, and goes on by itself"),
    "no-generation": _("There are images, and no vectors that searches could use"),
    "index": _("An index is missing or broken, and searches are slow"),
    "foreign": _("Another site shares a queue, and takes messages that are for this one"),
    "failed": _("Jobs have failed for good"),
}
"""The kinds of alarm."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Why a stage is paused, and since when."""

    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage. `done`, `skipped` and `outcomes` count what ever happened, the other numbers are of this moment."""

    stage: str
    pending: int
    due: int
    """Pending, and could be claimed now."""
    retrying: int
    """Pending, and waiting for the time of the next try."""
    running: int
    failed: int
    done: int
    skipped: int
    outcomes: Mapping[str, int]
    oldest_wait: float | None
    """Seconds since the first of the due jobs became due."""
    rate: float
    """Jobs per second of the last five minutes, or since the first that was finished in them."""
    eta: float | None
    """Seconds until nothing is left, at this rate; None where work is left and none gets done."""
    last_sign: float | None
    """Seconds since a job was claimed, kept or finished; None: not for five minutes, or longer."""
    paused: Rest | None


@dataclass(frozen=True, slots=True)
class GenerationStatus:
    """A generation that is active or building."""

    id: int
    state: str
    encoder: str
    images: int
    """Assets with an image vector."""
    failed: int
    """Assets whose image vector could not be made."""
    coverage: float | None
    """Assets with an image vector, of all: from 0 to 1; None where there are no assets."""
    recall: float | None
    recall_at: int | None
    measured_at: str | None
    """The recall of its index as last measured, among so many results, and when; None: not measured."""
    flaws: list[str]
    """What is wrong with its indexes, a sentence each."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One sentence that jobs failed with; sentences that differ in numbers and quoted names alone are one."""

    error: str
    count: int
    stages: list[str]
    example: int
    """The asset that the sentence was said of."""
    assets: list[int]
    """Some of them."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that needs a person. The sentence holds nothing that a public page must not show; `detail` may."""

    kind: str
    sentence: str
    stage: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """All of it, at one moment of the database's clock."""

    at: datetime
    assets: int
    outdated: int
    """Assets whose words and jobs are yet to follow from their rows, after an upgrade for example."""
    stages: list[StageStatus]
    generations: list[GenerationStatus]
    failures: list[Failure]
    alarms: list[Alarm]

    @property
    def active(self) -> GenerationStatus | None:
        """The generation that searches use."""
        return next((g for g in self.generations if g.state == "active"), None)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
