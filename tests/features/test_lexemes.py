from __future__ import annotations

import pytest

from mediasearch.features import lexemes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Red Car", ["red", "car"]),
        ("Café", ["cafe"]),
        ("ＥＸＩＴ", ["exit"]),  # full-width letters
        ("A-1312/B", ["a", "1312", "b"]),
        ("snake_case", ["snake", "case"]),
        ("€3.50", ["3", "50"]),
        ("ﬁre", ["fire"]),  # a ligature
        ("!!! ---", []),
        ("", []),
    ],
)
def test_positions__latin(text: str, expected: list[str]) -> None:
    found, end = lexemes.positions(text)
    assert [lexeme for lexeme, _ in found] == expected
    assert end == len(expected) + 1


def test_positions__chinese_has_characters_and_pairs() -> None:
    found, end = lexemes.positions("安全出口")
    assert {lexeme for lexeme, _ in found} == {"安", "全", "出", "口", "安全", "全出", "出口"}
    assert dict(found)["出口"] == 3
    assert end == 5


def test_positions__mixed_scripts() -> None:
    assert [lexeme for lexeme, _ in lexemes.positions("B座12层")[0]] == ["b", "座", "12", "层"]


def test_positions__endless_word_is_cut() -> None:
    assert lexemes.positions("x" * 5_000)[0] == [("x" * lexemes.LONGEST, 1)]


def test_terms__each_once_in_order() -> None:
    assert [t.lexemes for t in lexemes.terms("car red Car")] == [("car",), ("red",)]


def test_terms__run_of_chinese_becomes_neighbouring_pairs() -> None:
    (term,) = lexemes.terms("安全出口")
    assert term == lexemes.Term(("安全", "全出", "出口"), is_cjk=True)


def test_terms__every_pair_of_a_stored_line_can_be_asked_for() -> None:
    line = "请勿靠近车门"
    stored = {lexeme for lexeme, _ in lexemes.positions(line)[0]}
    for start in range(len(line) - 1):
        (term,) = lexemes.terms(line[start : start + 2])
        assert set(term.lexemes) <= stored


@pytest.mark.parametrize(
    ("words", "line"),
    [(["NO", "ENTRY"], "NO ENTRY"), (["安", "全", "出口"], "安全出口"), (["出口", "EXIT"], "出口 EXIT"), ([], "")],
)
def test_join_words(words: list[str], line: str) -> None:
    assert lexemes.join_words(words) == line
