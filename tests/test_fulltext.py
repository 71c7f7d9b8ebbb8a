from __future__ import annotations

import pytest
from django.db import connection

from mediasearch import fulltext
from mediasearch.models import Asset


def run(query: fulltext.TextQuery) -> dict[str, list[str]]:
    def shown(form: fulltext.Form) -> str:
        sql, params = form
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT ({sql})::text", params)
            return str(cursor.fetchone()[0])

    return {
        "exact": [shown(word.exact) for word in query.words],
        "stems": [shown(word.stem) for word in query.words],
        "anywhere": [shown(word.anywhere) for word in query.words],
        "query": [shown(query.any_word)],
    }


def words(query: fulltext.TextQuery) -> tuple[str, ...]:
    return tuple(word.text for word in query.words)


@pytest.mark.django_db
def test_query__a_word_by_itself_by_its_stem_and_as_a_part() -> None:
    asked = fulltext.query("the bicycles", "")
    assert asked is not None
    assert words(asked) == ("bicycles",)
    assert run(asked) == {
        "exact": ["'bicycles':ABC"],
        "stems": ["'bicycles':ABC | 'bicycl':ABC"],
        "anywhere": ["'bicycles' | 'bicycl':ABC"],
        "query": ["'bicycles' | 'bicycl':ABC"],
    }


@pytest.mark.django_db
def test_query__a_code_as_a_whole_and_in_parts() -> None:
    asked = fulltext.query("A-12", "")
    assert asked is not None
    assert words(asked) == ("a-12", "a", "12")
    assert run(asked)["exact"] == ["'a-12':ABC", "'a'", "'12'"]
    assert run(asked)["anywhere"][0] == "'a-12'"


@pytest.mark.django_db
def test_query__chinese_by_its_neighbouring_pairs() -> None:
    asked = fulltext.query("安全出口", "zh")
    assert asked is not None
    assert words(asked) == ("安全", "全出", "出口")
    assert run(asked)["exact"] == ["'安全'", "'全出'", "'出口'"]


def test_query__stop_words_only_when_there_is_nothing_else() -> None:
    asked = fulltext.query("to the", "")
    assert asked is not None
    assert words(asked) == ("to", "the")


@pytest.mark.parametrize("text", ["", "!!!", "🚗"])
def test_query__no_words(text: str) -> None:
    assert fulltext.query(text, "") is None


@pytest.mark.django_db
def test_query__endless_questions_are_bounded() -> None:
    asked = fulltext.query(" ".join(f"word{n}" for n in range(500)), "")
    assert asked is not None
    assert len(asked.words) == fulltext.MOST_WORDS
    assert len(run(asked)["exact"]) == fulltext.MOST_WORDS


@pytest.mark.django_db
def test_query__another_language_has_no_english_stems() -> None:
    asked = fulltext.query("bicycles", "de")
    assert asked is not None
    assert run(asked)["stems"] == ["'bicycles':ABC"]


@pytest.mark.parametrize(
    "text",
    [
        "".join(chr(0x4E00 + n * 7_919 % 20_901) for n in range(100_000)),
        " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}tions" for n in range(17_576)),
        "a1b2c3d4e5f6g7" * 7_000,
        "𠀀𠀁𠀂" * 30_000,
    ],
    ids=["chinese", "stems", "parts", "rare chinese"],
)
def test_document__fits_into_a_tsvector_whatever_is_said(text: str, db: None) -> None:
    for language in ("en", "", "zh"):
        asset = Asset.objects.create(caption=text, alt_text=text[::-1], title=text[:200], language=language)
        asset.refresh_from_db()
        assert len(asset.text_vector) > 1_000


def test_document__texts_that_fit_are_whole(db: None) -> None:
    text = "海边的红色汽车" * 10_000 + "末尾"
    asset = Asset.objects.create(caption=text)
    asset.refresh_from_db()
    assert "'末尾'" in asset.text_vector
