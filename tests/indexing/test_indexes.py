from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from mediasearch.indexing import construction, generations, indexes
from mediasearch.models import Generation
from tests.vectors import fill

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def indexed(active_generation: Generation) -> Iterator[Generation]:
    """An active generation with its indexes."""
    generations.build_indexes(active_generation)
    yield active_generation
    generations.drop_indexes(active_generation)


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def flaws(*living: Generation) -> dict[str, str]:
    return {flaw.name: flaw.sentence for flaw in indexes.flaws(living, indexes.found())}


def test_flaws__none_where_all_is_well(indexed: Generation) -> None:
    assert flaws(indexed) == {}
    assert set(indexes.found()) == {
        *(index.name for index in indexes.wanted(indexed)),
        "mediasearch_asset_text",
        "mediasearch_asset_tags",
    }


def test_flaws__missing_counts_where_searches_need_it(indexed: Generation) -> None:
    image, caption = indexes.wanted(indexed)
    execute(f"DROP INDEX {image.name}")
    assert list(flaws(indexed)) == [image.name]
    assert "is missing" in flaws(indexed)[image.name]
    indexed.state = Generation.State.BUILDING
    assert flaws(indexed) == {}
    execute(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{caption.name}'::regclass")
    assert "is invalid" in flaws(indexed)[caption.name]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("m = 16", "m = 8"),
        ("ef_construction = 128", "ef_construction = 64"),
        ("WITH (m = 16, ef_construction = 128) ", ""),
        ("halfvec_ip_ops", "halfvec_cosine_ops"),
        ("halfvec(16)", "halfvec(8)"),
        ("image::", "caption::"),
        ("WHERE generation_id = ", "WHERE generation_id > "),
        ("WHERE generation_id = ", "WHERE image IS NOT NULL AND generation_id = "),
    ],
)
def test_flaws__other_parameters(indexed: Generation, right: str, wrong: str) -> None:
    image, _ = indexes.wanted(indexed)
    execute(f"DROP INDEX {image.name}")
    definition = image.definition().replace("CONCURRENTLY ", "")
    assert right in definition
    execute(definition.replace(right, wrong))
    assert "other parameters" in flaws(indexed)[image.name]


def test_flaws__the_order_of_options_and_the_schema_of_a_type_are_no_matter(indexed: Generation) -> None:
    image, _ = indexes.wanted(indexed)
    execute(f"DROP INDEX {image.name}")
    execute(
        image.definition().replace("CONCURRENTLY ", "").replace("m = 16, ef_construction = 128",
                                                                "ef_construction = 128, m = 16")
    )  # fmt: skip
    assert flaws(indexed) == {}
    execute("CREATE SCHEMA elsewhere; ALTER EXTENSION vector SET SCHEMA elsewhere")
    try:
        there = indexes.found()[image.name]
        assert not there.differs_from(image)
    finally:
        execute("ALTER EXTENSION vector SET SCHEMA public; DROP SCHEMA elsewhere")


def test_flaws__what_a_rebuild_left(indexed: Generation) -> None:
    image, _ = indexes.wanted(indexed)
    execute(image.definition("_ccnew1").replace("CONCURRENTLY ", ""))
    execute("CREATE INDEX mediasearch_asset_text_ccold ON mediasearch_asset USING gin (text_vector)")
    try:
        assert list(flaws()) == ["mediasearch_asset_text_ccold", f"{image.name}_ccnew1"]
    finally:
        execute(f"DROP INDEX mediasearch_asset_text_ccold, {image.name}_ccnew1")


def test_size__is_that_of_a_fresh_index(active_generation: Generation) -> None:
    Generation.objects.update(dimensions=96)
    active_generation.refresh_from_db()
    fill(active_generation, 1_000)
    generations.build_indexes(active_generation)
    try:
        for index in indexes.wanted(active_generation):
            assert construction.vectors(index) == 1_000
            assert index.size(1_000) == pytest.approx(indexes.found()[index.name].size, rel=0.05)
    finally:
        generations.drop_indexes(active_generation)
