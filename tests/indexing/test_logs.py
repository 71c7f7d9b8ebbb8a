"""Each important event is one log record with a stable `event` and its facts, here as python-json-logger writes it."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.db.models.functions import Now

from mediasearch.exceptions import DecoderCrashed, EncoderUnavailable
from mediasearch.indexing import discards, generations, ledger, stages
from mediasearch.models import Discard, Generation, Job, Stage
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "monitoring.md").read_text()
Events = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def events() -> Iterator[Events]:
    """What was logged of one event, through the formatter of the LOGGING that the documentation shows."""
    example: dict[str, Any] = {}
    exec(re.search(r"```python\n# settings.py\n(LOGGING.+?)```", PAGE, re.DOTALL)[1], example)  # type: ignore[index]
    configurator = logging.config.DictConfigurator(example["LOGGING"])
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(configurator.configure_formatter(example["LOGGING"]["formatters"]["json"]))  # type: ignore[attr-defined]
    logger = logging.getLogger("mediasearch")
    logger.addHandler(handler)
    yield lambda name: [line for line in map(json.loads, stream.getvalue().splitlines()) if line.get("event") == name]
    logger.removeHandler(handler)


def test_batch(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None], events: Events
) -> None:
    make_asset("red")
    make_asset(b"a shopping list", name="list.png")
    index_all()
    batch = next(line for line in events("batch") if line["stage"] == "embed_image")
    assert (batch["claimed"], batch["done"], batch["generation"]) == (2, 1, active_generation.pk)
    assert 0 < batch["seconds"] < 60
    assert (batch["levelname"], batch["name"]) == ("INFO", "mediasearch.indexing.batch")
    assert batch["message"].startswith("embed_image: 1 of 2 done in ")
    assert re.match(r"\d{4}-\d\d-\d\d", batch["asctime"])


def test_failed(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None], events: Events
) -> None:
    bad = make_asset(b"a shopping list", name="list.png")
    index_all()
    told = next(line for line in events("failed") if line["stage"] == "inspect")
    assert (told["asset"], told["job"]) == (bad.pk, bad.jobs.get(stage=Stage.INSPECT).pk)
    assert (told["fault"], told["attempts"]) == ("NotAnImage", 1)
    assert told["reason"] == bad.jobs.get(stage=Stage.INSPECT).error


def test_retried(make_asset: MakeAsset, events: Events) -> None:
    asset = make_asset()
    ledger.settle(ledger.claim(Stage.READ, 1), [DecoderCrashed()], lambda done: None)
    assert [(line["asset"], line["fault"]) for line in events("retried")] == [(asset.pk, "DecoderCrashed")]


def test_lost(make_asset: MakeAsset, events: Events) -> None:
    for _ in range(2):
        make_asset()
    ledger.claim(Stage.READ, 2)
    Job.objects.filter(state="running").update(lease_until=Now() - timedelta(seconds=1))
    ledger.sweep()
    assert [(line["stage"], line["lost"], line["failed"]) for line in events("lost")] == [("read", 2, 0)]


def test_paused(
    active_generation: Generation,
    make_asset: MakeAsset,
    index_all: Callable[[], None],
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def down(*args: Any) -> None:
        raise EncoderUnavailable("The weights are gone.")

    monkeypatch.setattr(stages.encoders, "of", down)
    make_asset()
    index_all()
    assert [(line["stage"], line["reason"], line["fault"]) for line in events("paused")] == [
        ("embed_image", "The weights are gone.", "EncoderUnavailable")
    ]


def test_activated(active_generation: Generation, events: Events) -> None:
    generations.activate(active_generation)
    (line,) = events("activated")
    assert (line["generation"], line["fingerprint"]) == (active_generation.pk, "fake/16")


def test_child_killed(make_asset: MakeAsset, index_all: Callable[[], None], settings: Any, events: Events) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "READER": {"BACKEND": "tests.features.nasty.Killer"},
        "MAX_CLAIMS": 1,
    }
    make_asset()
    index_all()
    assert [line["expired"] for line in events("child-killed")] == [False]


def test_files_deleted(make_asset: MakeAsset, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(storage: Any, name: str) -> None:
        raise ConnectionError("no route")

    asset = make_asset()
    name = str(asset.file.name)
    asset.delete()
    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "delete", down)
        discards.delete_due()
    (line,) = events("delete-failed")
    assert (line["file"], line["reason"], line["fault"]) == (name, "no route", "ConnectionError")
    Discard.objects.hasten([name])
    discards.delete_due()
    assert [line["files"] for line in events("files-deleted")] == [1]


def test_documentation__names_each_event() -> None:
    code = "".join(path.read_text() for path in Path(ledger.__file__).parent.parent.rglob("*.py"))
    used = {name for names in re.findall(r'"event": ([^,]+),', code) for name in re.findall(r'"([a-z-]+)"', names)}
    documented = set(re.findall(r"^\| `([a-z-]+)` \| (?:INFO|WARNING|ERROR) \|", PAGE, re.MULTILINE))
    assert used == documented
