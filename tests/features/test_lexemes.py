from __future__ import annotations

import pytest

from mediasearch.features import lexemes


def texts(text: str) -> list[str]:
    return [lexeme.text for lexeme in lexemes.lexemes(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Red Car", ["red", "car"]),
        ("Café", ["cafe"]),
        ("ＥＸＩＴ", ["exit"]),  # full-width letters
        ("ﬁre", ["fire"]),  # a ligature
        ("snake_case", ["snake-case", "snake", "case"]),
        ("€3.50!", ["3-50", "3", "50"]),
        ("5km", ["5-km", "5", "km"]),
        ("!!! ---", []),
        ("", []),
    ],
)
def test_lexemes__latin(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_lexemes__a_code_as_a_whole_its_parts_and_their_pairs() -> None:
    assert texts("A-1312/B") == ["a-1312-b", "a", "1312", "b", "a-1312", "1312-b"]


@pytest.mark.parametrize("same", ["RE16", "re-16", "RE/16", "Re.16"])
def test_lexemes__dividing_signs_make_no_difference(same: str) -> None:
    assert texts(same)[0] == "re-16"


def test_lexemes__parts_are_marked() -> None:
    assert [(found.text, found.is_part) for found in lexemes.lexemes("2.40 2")] == [
        ("2-40", False),
        ("2", True),
        ("40", True),
        ("2", False),
    ]


def test_lexemes__positions_follow_each_other() -> None:
    found = {lexeme.text: lexeme.position for lexeme in lexemes.lexemes("at 10:00 安全 door", 7)}
    assert (found["at"], found["10-00"], found["00"], found["安全"], found["door"]) == (7, 8, 9, 10, 12)


def test_lexemes__chinese_has_characters_and_pairs() -> None:
    assert set(texts("安全出口")) == {"安", "全", "出", "口", "安全", "全出", "出口"}


def test_lexemes__mixed_scripts() -> None:
    assert texts("B座12层") == ["b", "座", "12", "层"]


def test_lexemes__endless_word_is_cut() -> None:
    assert texts("x" * 5_000) == ["x" * lexemes.LONGEST]


def test_terms__each_once_in_order() -> None:
    assert [t.lexemes for t in lexemes.terms("car red Car")] == [("car",), ("red",)]


def test_terms__run_of_chinese_becomes_neighbouring_pairs() -> None:
    (term,) = lexemes.terms("安全出口")
    assert term == lexemes.Term(("安全", "全出", "出口"), is_cjk=True)


def test_terms__every_pair_of_a_stored_line_can_be_asked_for() -> None:
    line = "请勿靠近车门"
    stored = set(texts(line))
    for start in range(len(line) - 1):
        (term,) = lexemes.terms(line[start : start + 2])
        assert set(term.lexemes) <= stored


def test_terms__a_code_and_its_parts() -> None:
    assert lexemes.terms("A-12") == [lexemes.Term(("a-12", "a", "12"))]


@pytest.mark.parametrize(
    ("words", "line"),
    [(["NO", "ENTRY"], "NO ENTRY"), (["安", "全", "出口"], "安全出口"), (["出口", "EXIT"], "出口 EXIT"), ([], "")],
)
def test_join_words(words: list[str], line: str) -> None:
    assert lexemes.join_words(words) == line
