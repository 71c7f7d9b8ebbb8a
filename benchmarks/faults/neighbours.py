"""`python -m benchmarks.faults.neighbours [--seed N] [--short]`: two sites whose workers share one broker database.

Each has a database, media and an encoder of its own; the vectors of both are equally long, and comparable with nothing
of the other's. Each has its three workers with Celery, uploads pictures and asks questions at the same time as the
other: first with the same names for the queues, then the second with a prefix of its own. Every vector that a question
is answered with is compared with what the site's own encoder makes of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults.site import ROOT, await_model, await_processes, running, until
from project.supervision import Program, site

QUESTIONS, SHORT_QUESTIONS = 1_000, 50
KINDS, PREFIXES = ("read", "embed", "query"), {"one": "mediasearch", "shop": "shop"}
"""The workers, and the second site's prefix: the same as the first one's, and then its own."""
EMBEDDED_BY = 240.0
ALIKE = 0.999
MODELS: Mapping[str, Mapping[str, Any]] = {
    "first": {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"name": "plain"}},
    "second": {"BACKEND": "benchmarks.faults.encoders.Skewed", "OPTIONS": {"name": "skewed"}},
}
REMOTE = {"BACKEND": "mediasearch.features.remote.Remote", "OPTIONS": {"timeout": 20.0}}
"""Patient: what is not answered here was lost, however busy the machine is."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What one site's people saw."""

    answers: Counter[str]
    """Questions by what became of them: `right`, `wrong`, `refused` by the other's worker, or `unanswered`."""
    wrong_jobs: int
    """Pictures without a vector in time, or with another than the site's own encoder makes."""
    strays: int
    """Messages meanwhile that this site's workers refused, or that were answered by another's."""
    alarms: tuple[str, ...]


def run(given: Given, bars: Bars) -> None:
    number = SHORT_QUESTIONS if given.short else QUESTIONS
    settings = {"ENCODER": MODELS["first"], "QUERY_ENCODER": REMOTE}
    workers = [f"worker-{kind}" for kind in KINDS]
    with running(*workers, settings=settings, more=_neighbours()) as here:
        second = _environment("one")
        _create(second)
        for prefix in PREFIXES:
            name = "with a prefix" if prefix == "shop" else "without"
            others = [f"{prefix}-{kind}" for kind in KINDS]
            here.start(*others)
            await_model()
            for worker in (*workers, *others):
                await_processes(here, worker)
            sites = {"first": dict(os.environ), "second": _environment(prefix)}
            visits = _visits(sites, number, first=number * (prefix == "shop"))
            for site_name, visit in visits.items():
                _judge(bars, f"{name}, {site_name} site", visit, number)
            if prefix == "one":
                raised = sorted({alarm for visit in visits.values() for alarm in visit.alarms})
                bars.equal("without: alarms", raised, ["foreign"])
            for worker in others:
                here.supervisor.end(worker)


def _judge(bars: Bars, name: str, visit: Visit, number: int) -> None:
    bars.note(f"{name}: questions", ", ".join(f"{kind} {count}" for kind, count in sorted(visit.answers.items())))
    bars.note(f"{name}: messages that were not this site's", visit.strays)
    bars.equal(f"{name}: questions answered with another model", visit.answers["wrong"], 0)
    bars.equal(f"{name}: pictures not indexed, or by another model", visit.wrong_jobs, 0)
    if name.startswith("with a prefix"):
        bars.equal(f"{name}: questions that the other site ate", number - visit.answers["right"], 0)
        bars.equal(f"{name}: messages that came to the wrong site", visit.strays, 0)


def _neighbours() -> Iterator[Program]:
    """The second site's workers, once with each prefix."""
    for prefix in PREFIXES:
        environment = _environment(prefix)
        own = [
            f"{name}={environment[name]}" for name in sorted(environment) if environment[name] != os.environ.get(name)
        ]
        for program in site(Path(environment["MEDIASEARCH_DATA"])):
            kind = program.name.removeprefix("worker-")
            if kind in KINDS:
                queue = f"{PREFIXES[prefix]}.{kind}"
                command = [queue if word.endswith(f".{kind}") else word for word in program.command]
                yield replace(program, name=f"{prefix}-{kind}", command=("env", *own, *command))


def _environment(prefix: str) -> dict[str, str]:
    """What the second site's processes have."""
    data = Path(os.environ["TMPDIR"]).parent / "second"
    data.mkdir(exist_ok=True)
    second = {"ENCODER": MODELS["second"], "QUERY_ENCODER": REMOTE}
    return os.environ | {
        "DATABASE_URL": os.environ["DATABASE_URL"].replace("/mediasearch?", "/neighbour?"),
        "MEDIASEARCH_DATA": str(data),
        "FAULTS_MEDIASEARCH": json.dumps(second),
        "QUEUE_PREFIX": PREFIXES[prefix],
    }


def _create(environment: Mapping[str, str]) -> None:
    """Make the second site's database and its tables."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute("CREATE DATABASE neighbour")
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0", "--skip-checks"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def _visits(sites: Mapping[str, Mapping[str, str]], number: int, first: int) -> dict[str, Visit]:
    """Have people of each site come at the same time, in a process of the site's own; return what they saw."""
    command = [sys.executable, "-m", __spec__.name, "--visit", str(number), "--first", str(first)]
    running = {
        name: subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for name, environment in sites.items()
    }
    seen = {name: json.loads(process.communicate(timeout=900)[0].splitlines()[-1]) for name, process in running.items()}
    return {
        name: Visit(Counter(told["answers"]), told["wrong_jobs"], told["strays"], tuple(told["alarms"]))
        for name, told in seen.items()
    }


# In a process of either site's own.


def visit(number: int, first: int) -> None:
    """Upload pictures and ask as many questions; print what came of it."""
    import django

    django.setup()
    from benchmarks.faults import uploads
    from mediasearch.indexing.status import status
    from mediasearch.models import Generation

    await_model()
    generation = Generation.objects.get(state="active")
    _await_answer(generation)
    answers, before = Counter[str](), _strays()
    for place in range(first, first + number):
        uploads.upload(place)
        answers[_asked(generation, f"red blue {place} {os.getpid()}")] += 1
    wrong = _wrong_jobs(range(first, first + number))
    alarms = sorted({alarm.kind for alarm in status().alarms})
    told = {"answers": answers, "wrong_jobs": wrong, "strays": _strays() - before, "alarms": alarms}
    print(json.dumps(told))


def _strays() -> int:
    from mediasearch.models import Stray

    return sum(Stray.objects.values_list("number", flat=True))


def _await_answer(generation: Any) -> None:
    """Ask until this site's query worker has loaded its model."""
    until(lambda: _asked(generation, f"green {time.monotonic_ns()}") == "right", 60.0)


def _asked(generation: Any, text: str) -> str:
    """Ask what nobody asked before, and say what became of it."""
    from mediasearch.exceptions import EncoderUnavailable
    from mediasearch.features import backends
    from mediasearch.search import vectors

    try:
        vector = vectors.of_words(text, generation, "image")
    except EncoderUnavailable as error:
        return "refused" if type(error).__name__ == "Foreign" else "unanswered"
    (own,) = backends.encoder(generation.encoder).encode_texts([text])
    return "right" if float(own @ vector) > ALIKE else "wrong"


def _wrong_jobs(numbers: range) -> int:
    """Wait until all is indexed, and compare each picture's vector with what the site's own encoder makes of it."""
    import io

    import numpy as np
    from PIL import Image

    from benchmarks.faults import uploads
    from mediasearch.features import backends
    from mediasearch.models import Embedding, Generation, Job

    until(lambda: not Job.objects.unfinished().exists(), EMBEDDED_BY)
    encoder = backends.encoder(Generation.objects.get(state="active").encoder)
    stored = dict(Embedding.objects.filter(image__isnull=False).values_list("asset__title", "image"))
    right = 0
    for number in numbers:
        if (vector := stored.get(f"picture {number}")) is not None:
            (own,) = encoder.encode_images([Image.open(io.BytesIO(uploads.picture(number))).convert("RGB")])
            right += float(own @ np.asarray(vector, dtype=np.float32)) > ALIKE
    return len(numbers) - right


if __name__ == "__main__":
    if "--visit" in sys.argv:
        visit(int(sys.argv[sys.argv.index("--visit") + 1]), int(sys.argv[sys.argv.index("--first") + 1]))
    else:
        experiment(run)
