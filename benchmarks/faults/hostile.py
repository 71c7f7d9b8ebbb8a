"""`python -m benchmarks.faults.hostile [FOLDER] [--short]`: odd and malicious files through the whole site.

Each is uploaded on the admin's page for several and in its form for one, under a hostile name and as what it is not;
what the forms refuse is then put into the library behind their back, so that the workers meet it, too; and each is
asked with on the search page and in the admin. FOLDER (../shared/data/hostile by default) has a manifest.csv beside
its files; where it is absent, and in the short form, only files that are made here are used.
"""

from __future__ import annotations

import argparse
import ast
import csv
import itertools
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import made
from benchmarks.faults.browser import Browser, File
from benchmarks.faults.peaks import Peaks
from benchmarks.faults.site import ROOT, Site, patiently, running, until

FOLDER = ROOT.parent / "shared" / "data" / "hostile"
ADMIN = "/admin/mediasearch/asset/"
WORKERS = ("worker-read", "worker-embed", "beat")
CONTENT_TYPES = (
    "image/png", "text/html", "image/svg+xml", "application/x-php", "", "image/png; charset=nonsense", "x" * 300,
)  # fmt: skip
AT_ONCE = 20
LONGEST = 1_500.0
FORM_SENTENCES = ("The submitted file is empty.",)
"""What Django's own fields say of a file that they refuse before it is opened."""
_LACKING = "pictures are not indexed"
"""What a search says of a library where many pictures could not be opened, whatever it was asked with."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A hostile file, what it is called when it is uploaded, and what the opener says of it."""

    name: str
    content: bytes
    called: str
    refusal: str
    """The sentence of its typed reason; empty where it is a picture."""

    def file(self, number: int) -> File:
        return File(self.called, self.content, CONTENT_TYPES[number % len(CONTENT_TYPES)])


def run(given: Given, bars: Bars) -> None:
    settings: dict[str, Any] = {"READER": {"BACKEND": "mediasearch.features.reading.Combined"}}
    programs = ["web", *WORKERS]
    if not given.short:
        settings |= {"ENCODER": _miniclip(), "QUERY_ENCODER": {"BACKEND": "mediasearch.features.remote.Remote"}}
        programs.append("worker-query")
    with (
        running(*programs, settings=settings, environment={"FAULTS_LOGS": "json"}) as site,
        Peaks(site, programs) as peaks,
    ):
        samples = _samples(given, bars)
        browser = _logged_in(site)
        before = _identities(site, programs)
        _upload(browser, samples, bars)
        pushed = _push([sample for sample in samples if sample.refusal])
        _ask(browser, samples, bars)
        settled = until(lambda: not _unfinished(), LONGEST, every=0.5)
        _look_at_everything(browser)
        bars.note("settled after, s", settled)
        _judge_site(site, browser, programs, before, bars)
        _judge_jobs(site, pushed, bars)
        peaks.tell(bars)


def _miniclip() -> dict[str, Any]:
    from project.miniclip.assemble import assemble

    folder = assemble(ROOT / ".bench" / "mini-clip")
    return {
        "BACKEND": "mediasearch.features.openclip.OpenClip",
        "OPTIONS": {"model": f"local-dir:{folder}", "threads": 1},
    }


def _samples(given: Given, bars: Bars) -> list[Sample]:
    """Return the files with what the opener says of each; tell how long it takes for that."""
    from mediasearch.exceptions import MediaSearchError, Refused
    from mediasearch.features import opener

    operations: dict[str, Callable[[bytes], object]] = {
        "verify": opener.verify,
        "inspect": opener.inspect,
        "pixels": lambda content: opener.pixels(content, 672, input_size=224),
    }
    samples, seconds, untyped = [], [], []
    for name, called, content in _files(given):
        refusal = ""
        for what, operation in operations.items():
            started = time.monotonic()
            try:
                operation(content)
            except MediaSearchError as error:
                refusal = str(error)
                if not isinstance(error, Refused):
                    untyped.append(f"{what} {name}: {type(error).__name__}: {error}")
            seconds.append((time.monotonic() - started, f"{what} {name}"))
        samples.append(Sample(name, content, called, refusal))
    opener.close()
    bars.note("files", f"{len(samples)}, of which {sum(not sample.refusal for sample in samples)} are pictures")
    bars.equal("neither opened nor refused for a typed reason", untyped, [])
    cuts = statistics.quantiles([one for one, _ in seconds], n=100, method="inclusive")
    bars.note("opening one, for an upload, for its inspection or its pixels: p50, s", cuts[49])
    bars.note("the same, worst", "{:.2f} s, {}".format(*max(seconds)))
    bars.at_most("the same, p99", cuts[98], 2.0, " s")
    return samples


def _files(given: Given) -> list[tuple[str, str, bytes]]:
    """Return name, hostile name and content of each file."""
    good = made.saved("PNG", (120, 90))
    own = [(name, name, content) for name, content in made.files(large=not given.short).items()]
    own += [(f"named {number}", name, good) for number, name in enumerate(made.NAMES, start=1)]
    folder = given.options.folder
    if given.short or not (folder / "manifest.csv").exists():
        return own
    with (folder / "manifest.csv").open(newline="") as manifest:
        listed = [(row["file"], _called(row)) for row in csv.DictReader(manifest)]
    return [*own, *((name, called, (folder / name).read_bytes()) for name, called in listed)]


def _called(row: Mapping[str, str]) -> str:
    named = re.search(r"upload_name=('.*'|\".*\")$", row["origin"])
    return str(ast.literal_eval(named.group(1))) if named else row["origin"].rpartition("/")[2] or row["file"]


def _logged_in(site: Site) -> Browser:
    from django.contrib.auth import get_user_model

    get_user_model().objects.create_superuser("admin", password="hostile")
    browser = Browser(site.port)
    if until(lambda: _answers(browser), 60.0) is None:
        raise RuntimeError(f"The web server does not answer: {site.log('web')[-2_000:]}")
    browser.login("admin", "hostile")
    return browser


def _answers(browser: Browser) -> bool:
    try:
        return browser.get("/admin/login/").status == 200
    except OSError:
        return False


def _upload(browser: Browser, samples: Sequence[Sample], bars: Bars) -> None:
    """Upload each on the page for several and in the form for one; compare what is said with the typed reasons."""
    surprises: list[str] = []
    stored = 0
    browser.get(f"{ADMIN}upload/")
    for at in range(0, len(samples), AT_ONCE):
        some = samples[at : at + AT_ONCE]
        files = [("pictures", sample.file(at + number)) for number, sample in enumerate(some)]
        said = browser.follow(browser.post(f"{ADMIN}upload/", {"is_public": "on"}, files)).told()
        refused = [words for kind, words in said if kind == "error"]
        stored += sum(int(words.split()[0]) for kind, words in said if kind == "success")
        surprises += _differences([sample for sample in some if sample.refusal], refused)
    for number, sample in enumerate(samples):
        answer = browser.post(f"{ADMIN}add/", {"is_public": "on"}, [("file", sample.file(number))])
        refused = [words for kind, words in answer.told() if kind == "error"]
        if sample.refusal:
            surprises += _differences([sample], refused)
        elif answer.status != 302:
            surprises.append(f"{sample.name} was not taken: {answer.status} {refused}")
        stored += answer.status == 302
    bars.equal("uploads that were stored", stored, 2 * sum(not sample.refusal for sample in samples))
    bars.equal("uploads refused without their typed reason in the page's words", surprises, [])


def _differences(samples: Sequence[Sample], said: Sequence[str]) -> list[str]:
    """Compare the reasons of refused files, in order, with what a page said."""
    return [
        f"{sample.name if sample else '-'} should be “{sample.refusal if sample else ''}”, but: {words}"
        for sample, words in itertools.zip_longest(samples, said)
        if not sample or not words or not (words.endswith(sample.refusal) or words.endswith(FORM_SENTENCES))
    ]


def _push(samples: Sequence[Sample]) -> set[int]:
    """Put files into the library that no form would have taken; return their ids."""
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset

    return {
        Asset.objects.create(file=ContentFile(sample.content, name=f"pushed-{number}.jpg"), title=sample.name[:200]).pk
        for number, sample in enumerate(samples)
    }


def _ask(browser: Browser, samples: Sequence[Sample], bars: Bars) -> None:
    """Ask with each on the search page and in the admin's list, once something can be found."""
    from mediasearch.models import Embedding

    if 'name="upload"' not in browser.get("/").text:
        bars.note("asked with each", "NOT MEASURED: this search page takes no picture")
        return
    until(lambda: Embedding.objects.filter(image__isnull=False).exists(), 120.0)
    surprises, found = [], 0
    for number, sample in enumerate(samples):
        page = browser.post("/", {"q": ""}, [("upload", sample.file(number))])
        refused = [words for kind, words in page.told() if kind == "error"]
        surprises += _differences([sample], refused) if sample.refusal else refused
        found += "data:image/webp" in page.text and not refused  # The page shows which picture it was asked with.
        listed = browser.post(f"{ADMIN}with-picture/", {}, [("upload", sample.file(number))])
        told = [words for kind, words in browser.follow(listed).told() if kind in ("error", "warning")]
        told = [words for words in told if _LACKING not in words]
        surprises += _differences([sample], told) if sample.refusal else told
        found += listed.status == 302 and not told
    bars.equal("asked with, and answered", found, 2 * sum(not sample.refusal for sample in samples))
    bars.equal("asked with, and refused without a typed reason", surprises, [])


def _unfinished() -> bool:
    from mediasearch.models import Job

    return bool(Job.objects.unfinished().exists())


def _look_at_everything(browser: Browser) -> None:
    """Open every page on which a file, its name or what was read in it is shown."""
    from mediasearch.models import Asset

    browser.get("/")
    for page in range(1, -(-Asset.objects.count() // 24) + 1):
        browser.get(f"/?page={page}")
        browser.get(f"{ADMIN}?p={page}")
    for pk in Asset.objects.values_list("pk", flat=True):
        for address in (f"/image/{pk}/", f"/image/{pk}/original/", f"/thumbnail/{pk}/", f"{ADMIN}{pk}/change/"):
            browser.get(address)


def _identities(site: Site, programs: Sequence[str]) -> dict[str, list[int]]:
    """Return the processes of each program but those that open files, which may be replaced."""

    def whole() -> dict[str, list[int]]:
        return {name: [one.pid for one in site.processes(name) if _stays(one)] for name in programs}

    enough = {"web": 3, "beat": 1}
    if until(lambda: all(len(pids) >= enough.get(name, 2) for name, pids in whole().items()), 90.0) is None:
        raise RuntimeError(f"Not everything runs: {whole()}")
    return whole()


def _stays(process: Any) -> bool:
    import psutil

    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return bool(words) and "mediasearch.features.child" not in words and "tesseract" not in words[0]


def _judge_site(
    site: Site, browser: Browser, programs: Sequence[str], before: Mapping[str, list[int]], bars: Bars
) -> None:
    statuses = Counter(status for _, status in browser.statuses)
    bars.note("HTTP answers", ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items())))
    bars.equal("HTTP 500", [path for path, status in browser.statuses if status >= 500], [])
    after = {name: [one.pid for one in site.processes(name) if _stays(one)] for name in programs}
    bars.equal("web or worker deaths", {name: pids for name, pids in before.items() if after[name] != pids}, {})
    bars.equal("tracebacks in the logs", {n: c for n in programs if (c := site.log(n).count("Traceback"))}, {})


def _judge_jobs(site: Site, pushed: set[int], bars: Bars) -> None:
    from mediasearch import exceptions
    from mediasearch.models import Job, Pause

    bars.equal("stuck jobs", patiently(Job.objects.unfinished().count), 0)
    bars.equal("paused stages", list(Pause.objects.current().values_list("stage", "reason")), [])
    faults = {event["job"]: event["fault"] for event in _events(site) if event.get("event") == "failed"}
    failed = list(Job.objects.filter(state="failed").values_list("pk", "stage", "error"))
    typed = Counter(faults.get(pk, "?") for pk, _, _ in failed)
    bars.note("jobs", {stage: dict(states) for stage, states in Job.objects.progress().items()})
    bars.note("failed, by reason", dict(typed.most_common()))
    odd = [
        f"{stage}: {faults.get(pk, '?')}: {error}"
        for pk, stage, error in failed
        if not issubclass(getattr(exceptions, faults.get(pk, "?"), object), exceptions.Refused)
    ]
    bars.equal("failed without a typed reason", sorted(set(odd)), [])
    taken = Job.objects.filter(state="failed").exclude(asset__in=pushed)
    failed_later = list(taken.values_list("asset__file", "stage", "error"))
    bars.equal("taken by a form and refused by a worker", failed_later, [])


def _events(site: Site) -> list[dict[str, Any]]:
    lines = "\n".join(site.log(name) for name in WORKERS).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)


if __name__ == "__main__":
    experiment(run, _options)
