from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from mediasearch.indexing import generations, indexes
from mediasearch.indexing.watching import Step
from mediasearch.management.progress import Steps
from mediasearch.models import Generation
from tests.vectors import fill

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def filled(active_generation: Generation) -> Iterator[Generation]:
    fill(active_generation, 50)
    yield active_generation
    generations.drop_indexes(active_generation)


def said(**options: Any) -> dict[str, str]:
    """What is said of each index."""
    stream = io.StringIO()
    call_command("mediasearch_indexes", stdout=stream, **options)
    return {line.split()[0]: line.partition(" ")[2].strip() for line in stream.getvalue().splitlines()}


def test_indexes__says_what_is_wrong_and_repairs_it(filled: Generation) -> None:
    image, caption = (index.name for index in indexes.wanted(filled))
    assert "is missing" in said()[image]
    mended = said(repair=True)
    assert set(mended) == {"index", image, caption, "mediasearch_asset_text", "mediasearch_asset_tags"}
    assert 0.7 <= float(mended[image].split()[-1]) <= 1.4  # Four pages, or one more where chance has high nodes.
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX mediasearch_asset_text_ccnew ON mediasearch_asset USING gin (text_vector)")
    assert "was left by a rebuild" in said()["mediasearch_asset_text_ccnew"]
    assert said(repair=True) == mended


def test_indexes__rebuilds_some_or_all(filled: Generation) -> None:
    image, caption = (index.name for index in indexes.wanted(filled))
    said(repair=True)

    def files() -> dict[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^mediasearch_(hnsw|asset_t)'")
            return dict(cursor.fetchall())

    before = files()
    said(rebuild=[image])
    after = files()
    assert {name for name in before if before[name] != after[name]} == {image}
    said(rebuild=[])
    last = files()
    changed = {name for name in before if after[name] != last[name]}
    assert changed >= {image, caption, "mediasearch_asset_text", "mediasearch_asset_tags"}


def test_indexes__a_building_generation_gets_its_own_at_its_end(filled: Generation) -> None:
    Generation.objects.update(state="building")
    assert set(said(repair=True)) == {"index", "mediasearch_asset_text", "mediasearch_asset_tags"}


def test_indexes__a_name_that_is_not_there(filled: Generation) -> None:
    with pytest.raises(CommandError, match="no index nothing"):
        said(rebuild=["nothing"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_steps__each_has_its_line_and_those_of_unknown_length_have_none() -> None:
    terminal = Terminal()
    steps = Steps(terminal)
    for step in (Step("Waiting", 0, 0), Step("Building", 5, 10), Step("Scanning", 1, 4), Step("Scanning", 4, 4)):
        steps.show(step)
    steps.end()
    lines = terminal.getvalue().splitlines()
    assert [line.split(" [")[0] for line in lines if line] == ["Building", "Scanning"]
    assert "5/10" in terminal.getvalue()
    assert "left" in terminal.getvalue()
