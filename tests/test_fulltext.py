from __future__ import annotations

import pytest
from django.db import connection

from mediasearch import fulltext


def run(query: fulltext.TextQuery) -> tuple[list[str], str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT words::text[], query::text FROM ({query.sql}) AS asked", query.params)
        return cursor.fetchone()


@pytest.mark.django_db
def test_query__each_word_by_itself_or_its_stem() -> None:
    asked = fulltext.query("the red bicycles", "")
    assert asked is not None
    assert asked.words == ("red", "bicycles")
    assert run(asked) == (["'red' | 'red'", "'bicycles' | 'bicycl'"], "'red' | 'red' | 'bicycles' | 'bicycl'")


@pytest.mark.django_db
def test_query__chinese_by_its_neighbouring_pairs() -> None:
    asked = fulltext.query("安全出口", "zh")
    assert asked is not None
    assert asked.words == ("安全", "全出", "出口")
    assert run(asked)[0] == ["'安全'", "'全出'", "'出口'"]


def test_query__stop_words_only_when_there_is_nothing_else() -> None:
    asked = fulltext.query("to the", "")
    assert asked is not None
    assert asked.words == ("to", "the")


@pytest.mark.parametrize("text", ["", "!!!", "🚗"])
def test_query__no_words(text: str) -> None:
    assert fulltext.query(text, "") is None


@pytest.mark.django_db
def test_query__endless_questions_are_bounded() -> None:
    asked = fulltext.query(" ".join(f"word{n}" for n in range(500)), "")
    assert asked is not None
    assert len(asked.words) == fulltext.MOST_WORDS
    assert len(run(asked)[0]) == fulltext.MOST_WORDS


@pytest.mark.django_db
def test_query__another_language_has_no_english_stems() -> None:
    asked = fulltext.query("bicycles", "de")
    assert asked is not None
    assert run(asked)[0] == ["'bicycles'"]
