"""A library of so many assets: made once, kept with its database, made anew when the generator changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine import data, server
from benchmarks.engine.asked import FILE
from benchmarks.engine.words import Writer
from project.services import postgres

if TYPE_CHECKING:
    from mediasearch.models import Generation

QUESTIONS = 200
_HERE = Path(__file__).resolve().parent
_MADE_BY = ("data.py", "words.py", "library.py", "loading.py")
"""The modules that decide what a library is like."""


@dataclass(frozen=True)
class Library:
    """What was made: vectors and questions in files, everything in the database."""

    place: Path
    columns: data.Columns

    @property
    def number(self) -> int:
        return self.columns.number

    @cached_property
    def image(self) -> NDArray[np.float16]:
        return np.load(self.place / "image.npy", mmap_mode="r")

    @cached_property
    def caption(self) -> NDArray[np.float16]:
        return np.load(self.place / "caption.npy", mmap_mode="r")

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The questions: `words`, the vectors `text` and `picture`, and the places that they are `about`."""
        with np.load(self.place / FILE) as kept:
            return {name: kept[name] for name in kept.files}

    @cached_property
    def writer(self) -> Writer:
        return Writer(self.columns)

    @cached_property
    def generation(self) -> Generation:
        from mediasearch.models import Generation

        found = Generation.objects.active()
        assert found is not None
        return found


def open_or_make(place: Path, number: int, seed: int) -> Library:
    """Start the server of a library, load Django, and make the library where it is not there as it should be."""
    library = Library(place, data.Columns(seed, number, data.World(seed)))
    mark, note = _mark(number, seed), place / "made.json"
    made = json.loads(note.read_text()).get("mark") if note.exists() else None
    if made != mark and place.exists():
        if postgres.running(place / "postgres"):
            raise SystemExit(f"{place} is to be made anew, and a server runs in it: end that run first.")
        shutil.rmtree(place)
    os.environ["BENCH_PLACE"] = str(place)
    os.environ["DATABASE_URL"] = server.start(place / "postgres")
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.engine.settings"
    import django

    django.setup()
    if made == mark:
        _bring_up_to_date(library)
        return library
    started = time.monotonic()
    _make(library)
    note.write_text(json.dumps({"mark": mark, "seconds": round(time.monotonic() - started)}))
    return library


def _mark(number: int, seed: int) -> str:
    source = b"".join((_HERE / name).read_bytes() for name in _MADE_BY)
    return hashlib.sha256(source + f"{number} {seed} {QUESTIONS}".encode()).hexdigest()


def _make(library: Library) -> None:
    from django.core.management import call_command

    from benchmarks.engine import loading

    print(f"Making a library of {library.number:,} assets in {library.place}, this one time.", flush=True)
    with step("vectors"):
        _write_vectors(library)
        _write_questions(library)
    call_command("migrate", verbosity=0, skip_checks=True)
    with loading.without_indexes():
        with step("assets"):
            loading.load_assets(library)
        with step("embeddings"):
            loading.load_embeddings(library)
        print("  indexes of the tables", flush=True)
    _index(library)


def _bring_up_to_date(library: Library) -> None:
    """Follow the app where its tables, its text vectors or its indexes changed since the library was made."""
    from django.core.management import call_command

    from benchmarks.engine import loading

    call_command("migrate", verbosity=0, skip_checks=True)
    if not loading.texts_are_current():
        raise SystemExit(f"The app makes other text vectors than those of {library.place}: remove that folder.")
    _index(library)


def _index(library: Library) -> None:
    """Build what is missing of the app's own vector indexes, by the app's own code, and calibrate where it can."""
    from django.core.management import call_command, get_commands

    from benchmarks.engine import loading
    from mediasearch.indexing import generations, indexes

    if any(index.name not in indexes.found() for index in indexes.wanted(library.generation)):
        with step("HNSW indexes"):
            generations.build_indexes(library.generation)
        loading.settle()
    if "mediasearch_calibrate" in get_commands():
        with step("calibration"):
            call_command("mediasearch_calibrate", if_due=True)
        library.generation.refresh_from_db()


def _write_vectors(library: Library) -> None:
    shape = (library.number, data.DIMENSIONS)
    files = {
        name: np.lib.format.open_memmap(library.place / f"{name}.npy", mode="w+", dtype=np.float16, shape=shape)
        for name in ("image", "caption")
    }
    for lot in data.lots(library.columns):
        for name, file in files.items():
            vectors = getattr(lot, name)
            file[lot.first : lot.first + len(vectors)] = vectors
    for file in files.values():
        file.flush()


def _write_questions(library: Library) -> None:
    asked = data.questions(library.columns, library.image, QUESTIONS)
    words = library.writer.ask(asked.about)
    np.savez(library.place / FILE, words=words, text=asked.text, picture=asked.picture, about=asked.about)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say how long something took."""
    started = time.monotonic()
    yield
    print(f"  {name}: {time.monotonic() - started:.1f} s", flush=True)
