"""`python -m benchmarks.faults.replicas [--seed N] [--short]`: a site whose reads go to a replica that lags.

A real standby applies what the primary commits some seconds later, and Django's router sends all reads to it, those of
the workers too. Pictures that describe themselves are uploaded and their titles typed anew, by the site on the
primary, while workers index. What is written must follow from the primary's rows, not from those of before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import described
from benchmarks.faults.site import await_model, patiently, running, until
from benchmarks.faults.standby import Standby

FORM, SHORT_FORM = (600, 4.0, 300.0), (40, 2.0, 60.0)
"""Uploads, seconds of delay, and seconds in which all must be done."""
TYPED, EDITS, GAP, GENERATION = 0.6, 3, 0.05, 40.0
"""The share of pictures whose title is typed, how often at most, and seconds between two things that are done."""
WORD = "quay"


def run(given: Given, bars: Bars) -> None:
    uploads, delay, longest = SHORT_FORM if given.short else FORM
    with Standby(delay) as standby:
        settings = {"READER": described.READER, "DOORBELL": "postgresql"}
        with running(settings=settings, environment={"FAULTS_REPLICA": standby.url}) as site:
            standby.start(site.folder)
            site.start("worker")
            _await_generation(bars, standby)
            lag = standby.lag()
            typed = _work(random.Random(given.seed), uploads, delay)
            left = until(lambda: not _unfinished(), longest, every=0.5)
            time.sleep(2 * delay)  # What a worker took for nothing to do, it may find when the replica is as far.
            left = left if left is None else until(lambda: not _unfinished(), longest, every=0.5)
            bars.at_least("seconds that the replica lags", lag, delay / 2)
            bars.equal("all was done in time", left is not None, True)
            standby.stop()  # From here on all is read from the primary.
            _judge(bars, typed)


def _await_generation(bars: Bars, standby: Standby) -> None:
    """Wait until workers have made the first generation, with the standby out of use where they can't with it."""
    from mediasearch.models import Generation

    made = until(Generation.objects.using("default").active, GENERATION) is not None
    bars.equal("the first generation is made while reads lag", made, True)
    if not made:
        standby.ask(False)
        await_model()
        standby.ask(True)


def _work(chance: random.Random, uploads: int, delay: float) -> dict[int, str]:
    """Upload and edit side by side; return the titles that were typed last, "" where none was."""
    from mediasearch.features.fake import COLOURS
    from mediasearch.models import Asset

    typed: dict[int, str] = {}
    planned: list[tuple[float, int]] = []
    for number in range(uploads):
        asset = patiently(lambda number=number: described.upload(number).pk)
        typed[asset] = ""
        if chance.random() < TYPED:
            moments = (chance.uniform(0.0, 2 * delay) for _ in range(chance.randint(1, EDITS)))
            planned += [(time.monotonic() + moment, asset) for moment in moments]
        time.sleep(GAP)
        _edit_due(planned, typed, chance, list(COLOURS), Asset)
    while planned:
        _edit_due(planned, typed, chance, list(COLOURS), Asset)
        time.sleep(GAP)
    return typed


def _edit_due(
    planned: list[tuple[float, int]], typed: dict[int, str], chance: random.Random, colours: Sequence[str], model: Any
) -> None:
    """Type the titles whose moment has come: by a save of what the primary holds, or by update()."""
    for moment, asset in [one for one in planned if one[0] <= time.monotonic()]:
        planned.remove((moment, asset))
        title = f"{WORD} {' '.join(chance.choices(colours, k=3))}"
        if chance.random() < 0.5:
            row = model.objects.using("default").get(pk=asset)
            row.title = title
            row.save()
        else:
            model.objects.using("default").filter(pk=asset).update(title=title)
        typed[asset] = title


def _judge(bars: Bars, typed: Mapping[int, str]) -> None:
    from mediasearch.models import Asset, Job

    assets = Asset.objects.in_bulk(typed)
    edited = [pk for pk, title in typed.items() if title]
    unedited = [pk for pk, title in typed.items() if not title]
    bars.equal("failed", Job.objects.filter(state="failed").count(), 0)
    bars.note("pictures, and of these with a title that was typed", [len(typed), len(edited)])
    bars.equal("typed titles that were replaced", sum(assets[pk].title != typed[pk] for pk in edited), 0)
    taken = sum(assets[pk].title != described.TITLE for pk in unedited)
    bars.equal("titles of files that were not adopted", taken, 0)
    missing = {
        word: described.unfound(ids, word)
        for word, ids in (
            (WORD, edited),
            (described.TITLE.lower(), unedited),
            (described.READ.lower(), list(typed)),
            ("boats", list(typed)),
        )
    }
    bars.equal("pictures not found by a word of theirs", {word: n for word, n in missing.items() if n}, {})
    gone = len(edited) - described.unfound(edited, described.TITLE.lower())
    colours = sum(_missing_colours(assets[pk], typed[pk]) for pk in edited)
    bars.equal("pictures found by a title that they no longer have", gone, 0)
    bars.equal("pictures not found by each word of their title", colours, 0)
    incomplete = [name for row in described.rows(typed).values() for name in described.MEASURED if not row[name]]
    bars.equal("measured fields that are empty", len(incomplete), 0)
    bars.equal("caption jobs with another key than their asset's", _other_keys(assets), 0)
    bars.equal("caption vectors of another description", _other_vectors(assets), 0)


def _missing_colours(asset: Any, title: str) -> bool:
    return any(described.unfound([asset.pk], word) for word in set(title.split()))


def _other_keys(assets: Mapping[int, Any]) -> int:
    from mediasearch.models import Job, Stage

    jobs = Job.objects.filter(asset__in=assets, stage=Stage.EMBED_CAPTION)
    keys = dict(jobs.values_list("asset", "input_key"))
    return sum(keys.get(pk) != asset.input_key(Stage.EMBED_CAPTION) for pk, asset in assets.items())


def _other_vectors(assets: Mapping[int, Any]) -> int:
    """Count the caption vectors that are not what the encoder makes of the row's texts."""
    import numpy as np

    from mediasearch.features import language
    from mediasearch.features.fake import FakeEncoder
    from mediasearch.models import Embedding

    encoder = FakeEncoder()
    stored = dict(Embedding.objects.filter(asset__in=assets).values_list("asset", "caption"))
    wrong = 0
    for pk, asset in assets.items():
        text = language.readable(asset.description, encoder.languages)
        vector = stored.get(pk)
        if not text or vector is None:
            wrong += bool(text) != (vector is not None)
        else:
            wrong += not np.allclose(np.asarray(vector, np.float32), encoder.encode_texts([text])[0], atol=5e-3)
    return wrong


def _unfinished() -> bool:
    from mediasearch.models import Job

    return Job.objects.using("default").unfinished().exists()


if __name__ == "__main__":
    experiment(run)
