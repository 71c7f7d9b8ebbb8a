"""`python -m benchmarks.faults.swap --plan exact|hnsw [--seed N] [--short]`: models change while people search.

Two encoders of equal dimension whose scores differ for every question and picture. Searches by the image signal go on
without a pause, their questions encoded by a real query worker, and uploads come in, while `mediasearch_reindex`
changes over to the other encoder and back: to the generation of before, or to a new one where that was deleted at
once. Each hit's score must be the one that the generation which the search names gives, computed here from the
picture itself.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import uploads
from benchmarks.faults.searching import Answer, Searching
from benchmarks.faults.site import await_model, running, until

Spec = dict[str, Any]
PLAIN: Spec = {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"name": "plain"}}
SKEWED: Spec = {"BACKEND": "benchmarks.faults.encoders.Skewed", "OPTIONS": {"name": "skewed"}}
EXACT_SCOPE = {"exact": 10_000, "hnsw": 30}
QUERIES, CHANGES, AT_FIRST = 10_000, 20, 400
SHORT_QUERIES, SHORT_CHANGES, SHORT_AT_FIRST = 150, 3, 60
PER_SECOND, MOST, LONGEST = 4.0, 100_000, 1_500.0


@dataclass
class Changes:
    """What was done to the models."""

    made: dict[int, Spec] = field(default_factory=dict)
    """Which encoder made each generation."""
    done: int = 0
    deleted: int = 0


def run(given: Given, bars: Bars) -> None:
    queries, changes, at_first = QUERIES, CHANGES, AT_FIRST
    if given.short:
        queries, changes, at_first = SHORT_QUERIES, SHORT_CHANGES, SHORT_AT_FIRST
    plan = given.options.plan
    remote = {"BACKEND": "mediasearch.features.remote.Remote"}
    settings = {"ENCODER": PLAIN, "QUERY_ENCODER": remote, "EXACT_SCOPE": EXACT_SCOPE[plan]}
    with running("worker-embed", "worker-query", settings=settings):
        _fill(at_first)
        searching = Searching(given.seed)
        uploading = uploads.Uploading(MOST, PER_SECOND, may=lambda: not searching.over.is_set(), first=at_first)
        searching.start()
        uploading.start()
        seen, end = Changes(), time.monotonic() + LONGEST
        chance = random.Random(given.seed)
        while (seen.done < changes or len(searching.answers) < queries) and time.monotonic() < end:
            _change(seen, delete=chance.random() < 0.5)
        searching.stop()
        bars.at_least("changes of the model", seen.done, changes)
        bars.note("of these, with the generation of before deleted at once", seen.deleted)
        bars.note("uploads meanwhile", uploading.stored)
        bars.at_least("queries", len(searching.answers), queries)
        _judge(bars, plan, searching.answers, seen.made)


def _fill(count: int) -> None:
    """Upload pictures and wait until they and the query worker are ready for searches."""
    from mediasearch.indexing import warming
    from mediasearch.models import Embedding, Generation

    await_model()
    for number in range(count):
        uploads.upload(number)
    until(lambda: Embedding.objects.filter(image__isnull=False).count() == count, 120.0)
    warming.warm_queries(Generation.objects.active())


def _change(seen: Changes, *, delete: bool) -> None:
    """Change to the other encoder, back to its generation of before where there is one; and delete what it replaces."""
    from django.core.management import call_command

    from mediasearch.indexing import generations
    from mediasearch.models import Generation

    before = Generation.objects.active()
    wanted = _other(seen.made.setdefault(before.pk, PLAIN))
    known = Generation.objects.filter(state=Generation.State.RETIRED, encoder=wanted).first()
    chosen: dict[str, Any] = {"activate": known.pk} if known else {"encoder": json.dumps(wanted)}
    with open(os.devnull, "w") as quiet:
        call_command("mediasearch_reindex", **chosen, verbosity=0, stdout=quiet, stderr=quiet)
    seen.made[Generation.objects.active().pk] = wanted
    seen.done += 1
    if delete:
        generations.forget(Generation.objects.get(pk=before.pk))
        seen.deleted += 1


def _judge(bars: Bars, plan: str, answers: Sequence[Answer], made: Mapping[int, Spec]) -> None:
    answered = [answer for answer in answers if not answer.error]
    right = [answer.is_of(made[answer.generation]) for answer in answered if answer.generation in made]
    wrong = [answer.is_of(_other(made[answer.generation])) for answer in answered if answer.generation in made]
    apart = [not other for hits in wrong for other in hits]
    short = [answer for answer in answers if answer.falls_short]
    bars.equal("errors", len(answers) - len(answered), 0)
    bars.equal("results that mix generations", sum(not all(hits) for hits in right) + len(answered) - len(right), 0)
    bars.equal("empty windows: hits, or the whole signal, missing", len(short), 0)
    bars.at_least("share of hits whose score tells the generations apart", sum(apart) / max(1, len(apart)), 0.98)
    by_plan = Counter(answer.plan for answer in answered)
    bars.at_least(f"share of answers by the {plan} plan", by_plan[plan] / max(1, len(answered)), 0.98)
    faults = Counter(answer.error or answer.notice or "hits are missing" for answer in answers if answer.is_faulty)
    for sentence, times in faults.most_common(5):
        bars.note(f"{times} times", sentence)


def _other(spec: Spec) -> Spec:
    return SKEWED if spec is PLAIN else PLAIN


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", choices=sorted(EXACT_SCOPE), default="exact")


if __name__ == "__main__":
    experiment(run, _options)
