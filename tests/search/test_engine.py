from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

import mediasearch
from mediasearch import conf
from mediasearch.exceptions import EncoderUnavailable, QueryError
from mediasearch.features.local import Local
from mediasearch.indexing import encoders, generations
from mediasearch.models import Asset, Generation
from mediasearch.search import answering
from tests.conftest import MakeAsset, workers_write

pytestmark = pytest.mark.django_db
Index = Callable[[], None]
Changes = list[conf.Spec]


def titles(results: mediasearch.Results) -> list[str]:
    return [hit.asset.title for hit in results]


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> dict[str, Asset]:
    """One picture of each of four colours, which nothing describes."""
    assets = {
        colour: make_asset(colour, title=f"IMG_{n}") for n, colour in enumerate(["red", "green", "blue", "white"])
    }
    index_all()
    return assets


def test_search__finds_by_what_a_picture_shows(library: dict[str, Asset]) -> None:
    hits = list(mediasearch.search("something red"))
    assert hits[0].asset == library["red"]
    assert len(hits) == 4
    evidence = hits[0].signals["image"]
    assert evidence.score == pytest.approx(1.0, abs=0.01)
    assert (evidence.rank, evidence.normalized) == (1, 1.0)
    assert set(hits[0].signals) == {"image"}


def test_search__finds_by_caption(active_generation: Generation, make_asset: MakeAsset, index_all: Index) -> None:
    make_asset("white", title="told", caption="blue")
    make_asset("white", title="IMG_1")
    index_all()
    results = mediasearch.search("blue", weights={"caption": 1})
    assert titles(results) == ["told"]
    assert set(results[0].signals) == {"caption"}


def test_search__finds_by_text(library: dict[str, Asset]) -> None:
    Asset.objects.filter(pk=library["blue"].pk).update(title="Harbour")
    hits = list(mediasearch.search("harbours", weights={"text": 1}))
    assert [hit.asset.title for hit in hits] == ["Harbour"]
    assert hits[0].signals["text"].score > 0
    assert hits[0].signals["text"].share == pytest.approx(1.0)


@pytest.mark.parametrize("word", ["the", "NO", "entry", "A-12", "12", "出口", "安全", "全出", "é"])
def test_search__any_word_of_a_sign_finds_it_first(library: dict[str, Asset], word: str) -> None:
    workers_write(Asset.objects.filter(pk=library["white"].pk), title="", ocr_text="The NO ENTRY sign A-12 É\n安全出口")
    Asset.objects.exclude(pk=library["white"].pk).update(title="")
    assert mediasearch.search(word)[0].asset == library["white"]


@pytest.mark.parametrize("question", ["2.40", "2,40", "2", "40"])
def test_search__a_word_as_a_whole_comes_before_its_parts(library: dict[str, Asset], question: str) -> None:
    whole = {"2.40": "Tea 2.40", "2,40": "Tea 2.40", "2": "room 2", "40": "bus 40"}[question]
    others = {"Tea 2.40", "room 2", "bus 40"} - {whole}
    texts = [whole, *others, "2 of 40"] if "." in question or "," in question else [whole, "Tea 2.40"]
    Asset.objects.update(title="")
    for asset, text in zip(library.values(), texts, strict=False):
        workers_write(Asset.objects.filter(pk=asset.pk), ocr_text=text)
    assert mediasearch.search(question, weights={"text": 1})[0].asset.ocr_text == whole


def test_search__every_candidate_is_scored_on_every_signal(library: dict[str, Asset]) -> None:
    Asset.objects.filter(pk=library["blue"].pk).update(title="red herring")
    first, second = mediasearch.search("red")[:2]
    assert [first.asset, second.asset] == [library["blue"], library["red"]]
    assert first.signals["image"].rank > 1  # Found by its title, scored by its picture all the same.
    assert first.signals["text"].rank == 1
    assert sum(evidence.share for evidence in first.signals.values()) == pytest.approx(1.0)


def test_search__score_is_the_weighted_sum(library: dict[str, Asset]) -> None:
    Asset.objects.filter(pk=library["blue"].pk).update(title="red herring")
    weights = {"image": 0.5, "text": 2.0}
    for hit in mediasearch.search("red", weights=weights):
        expected = sum(weights[name] * evidence.normalized for name, evidence in hit.signals.items())
        assert hit.score == pytest.approx(expected)


def test_search__no_caption_is_no_handicap(
    active_generation: Generation, make_asset: MakeAsset, index_all: Index
) -> None:
    undescribed, described = make_asset("red"), make_asset("green", caption="green and a little red")
    index_all()
    first, second = mediasearch.search("red", weights={"image": 1, "caption": 1})
    assert (first.asset, second.asset) == (undescribed, described)
    assert first.signals["image"].share == pytest.approx(1.0)


def test_search__one_word_of_a_sentence_is_weak_evidence(library: dict[str, Asset]) -> None:
    Asset.objects.filter(pk=library["blue"].pk).update(title="a parked lorry")
    sentence = "something red parked beside houses under trees near water"
    assert mediasearch.search(sentence)[0].asset == library["red"]
    assert mediasearch.search("parked")[0].asset == library["blue"]
    evidence = {hit.asset: hit.signals.get("text") for hit in mediasearch.search(sentence)}[library["blue"]]
    assert evidence is not None
    assert evidence.normalized < 0.05


@pytest.mark.parametrize(
    ("weights", "error"),
    [({"colour": 1}, "knows the signals"), ({"image": -1}, "0 or more"), ({}, "above 0"), ({"image": 0}, "above 0")],
)
def test_search__wrong_weights(weights: dict[str, float], error: str) -> None:
    with pytest.raises(QueryError, match=error):
        mediasearch.search("red", weights=weights)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"text": "x" * 2_001}, "characters"), ({"limit": 0}, "limit"), ({"offset": 1_000}, "limit")],
)
def test_search__wrong_question(arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(QueryError, match=error):
        mediasearch.search(**arguments)


@pytest.mark.parametrize(
    "text", ["%", "%s", "'; DROP TABLE x; --", "\\", "\x00", "🚗", "!!!", ":* & |", "()", "$1", "x" * 2_000]
)
def test_search__hostile_text(library: dict[str, Asset], text: str) -> None:
    assert len(mediasearch.search(text)) == 4


def test_search__nothing_asked_shows_the_newest(library: dict[str, Asset]) -> None:
    results = mediasearch.search()
    assert titles(results) == ["IMG_3", "IMG_2", "IMG_1", "IMG_0"]
    assert (results.plan, results.total) == ("newest", 4)


def test_search__is_lazy(library: dict[str, Asset], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        results = mediasearch.search("red")
    assert len(results) == 4
    with django_assert_num_queries(0):
        assert [results[0], *results[1:]] == list(results)
        assert results.total == 4


def test_search__one_statement_ranks(library: dict[str, Asset], django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(4):  # The active generation, the ranking, the hits' rows.
        assert len(mediasearch.search("red")) == 4


def test_search__limit_and_offset_cut_one_ranking(library: dict[str, Asset]) -> None:
    whole = [hit.asset for hit in mediasearch.search("red green")]
    pages = [hit.asset for start in (0, 2) for hit in mediasearch.search("red green", limit=2, offset=start)]
    assert pages == whole
    assert mediasearch.search("red green", limit=2).total == 4


def test_search__filters(library: dict[str, Asset]) -> None:
    red, green = library["red"], library["green"]
    Asset.objects.filter(pk=red.pk).update(
        category="cars", tags=["a", "b"], taken_at=datetime(2020, 5, 1, 23, tzinfo=UTC)
    )
    Asset.objects.filter(pk=green.pk).update(category="boats", tags=["b"], taken_at=datetime(2021, 5, 1, tzinfo=UTC))

    def found(**filters: Any) -> set[Asset]:
        results = mediasearch.search("white", **filters)
        assert results.total == len(results)
        return {hit.asset for hit in results}

    assert found(category="cars") == {red}
    assert found(tags=["b"]) == {red, green}
    assert found(tags=["a", "b"]) == {red}
    assert found(after=date(2021, 1, 1), before=date(2021, 12, 31)) == {green}
    assert found(before=date(2020, 5, 1)) == {red}  # the whole last day
    assert found(before=date(2020, 4, 30)) == set()
    assert found(after=date(2022, 1, 1)) == {library["blue"], library["white"]}  # by the date they were added
    assert found(category="none") == set()
    assert len(found(after=date.min, before=date.max)) == 4


def test_search__filters_without_words(library: dict[str, Asset]) -> None:
    Asset.objects.filter(pk=library["red"].pk).update(category="cars")
    assert titles(mediasearch.search(category="cars")) == ["IMG_0"]


def test_search__hidden_pictures_stay_hidden(library: dict[str, Asset]) -> None:
    owner = User.objects.create_user("owner")
    Asset.objects.filter(pk=library["red"].pk).update(is_public=False, owner=owner, title="red")
    for results in (
        mediasearch.search("red"),
        mediasearch.search(),
        mediasearch.search("red", user=User.objects.create_user("other")),
    ):
        assert library["red"] not in [hit.asset for hit in results]
        assert results.total == 3
    assert mediasearch.search("red", user=owner)[0].asset == library["red"]


def test_search__a_scope_of_ones_own(library: dict[str, Asset]) -> None:
    scope = Asset.objects.filter(pk__in=[library["green"].pk, library["blue"].pk])
    assert {hit.asset for hit in mediasearch.search("red", scope=scope)} == {library["green"], library["blue"]}


def test_search__empty_scopes(library: dict[str, Asset]) -> None:
    for scope in (Asset.objects.none(), Asset.objects.filter(title="nothing")):
        results = mediasearch.search("red", scope=scope)
        assert (list(results), results.total) == ([], 0)


def test_search__a_foreign_language_steps_aside_and_says_so(library: dict[str, Asset]) -> None:
    workers_write(Asset.objects.filter(pk=library["white"].pk), ocr_text="安全出口")
    results = mediasearch.search("出口")
    assert [hit.asset for hit in results] == [library["white"]]
    assert {notice.signal for notice in results.degraded} == {"image", "caption"}
    assert "reads English; this question is in Chinese" in results.degraded[0].reason


def test_search__a_language_that_the_caller_names(library: dict[str, Asset]) -> None:
    results = mediasearch.search("ein rotes Auto", language="de")
    assert list(results) == []
    assert "German" in results.degraded[0].reason


def test_search__an_encoder_that_is_down_leaves_the_text(
    library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any) -> None:
        raise EncoderUnavailable("No query worker answers.")

    Asset.objects.filter(pk=library["white"].pk).update(title="red")
    monkeypatch.setattr(Local, "encode_texts", down)
    results = mediasearch.search("red")
    assert [hit.asset for hit in results] == [library["white"]]
    assert [notice.reason for notice in results.degraded] == ["No query worker answers."] * 2


def test_search__before_anything_is_encoded(make_asset: MakeAsset) -> None:
    asset = make_asset(title="red")
    results = mediasearch.search("red")
    assert [hit.asset for hit in results] == [asset]
    assert "No picture has been encoded yet" in results.degraded[0].reason


def test_search__says_how_many_have_no_vector_yet(library: dict[str, Asset], make_asset: MakeAsset) -> None:
    size = len(library)
    make_asset("red", title="red")
    results = mediasearch.search("red")
    assert results.outcome.uncoded == 1
    assert [notice.signal for notice in results.degraded] == ["image", "caption"]
    assert results.degraded[0].reason.startswith(f"1 of {size + 1} pictures are not indexed: ")


def test_search__query_vectors_are_cached(library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    encode = Local.encode_texts

    def count(self: Local, question: Any, texts: Any) -> Any:
        asked.extend(texts)
        return encode(self, question, texts)

    monkeypatch.setattr(Local, "encode_texts", count)
    first, second = list(mediasearch.search("red")), list(mediasearch.search("red"))
    assert asked == ["red"]
    assert first == second


def test_search__both_plans_agree(library: dict[str, Asset], settings: Any) -> None:
    Asset.objects.filter(pk=library["blue"].pk).update(title="red herring")
    exact = mediasearch.search("red", limit=3)
    assert exact.plan == "exact"
    expected = [(hit.asset, hit.score) for hit in exact]
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1}
    results = mediasearch.search("red", limit=3)
    assert (results.plan, results.outcome.total_is_exact) == ("hnsw", False)
    assert [(hit.asset, hit.score) for hit in results] == expected


def test_search__a_page_is_full_whenever_enough_match(library: dict[str, Asset], settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1, "CANDIDATES": 1}
    assert len(mediasearch.search("red", limit=4)) == 4


def test_search__leaves_no_setting_behind(library: dict[str, Asset], settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.ef_search = 77")
        assert mediasearch.search("red", limit=2).plan == "hnsw"
        cursor.execute("SELECT current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan')")
        assert cursor.fetchone() == ("77", "off")


def test_search__timings_are_in_milliseconds(library: dict[str, Asset]) -> None:
    timings = mediasearch.search("red").timings
    assert set(timings) == {"encode", "rank", "fetch"}
    assert all(0 < value < 60_000 for value in timings.values())


@pytest.fixture
def change_model(library: dict[str, Asset], index_all: Index, monkeypatch: pytest.MonkeyPatch) -> Changes:
    """Have the model changed, and what it replaces deleted, each time that a search has just encoded its question."""
    encode = answering.encode
    changes: Changes = []

    def changed_meanwhile(query: Any, generation: Generation) -> Any:
        vectors = encode(query, generation)
        if changes:
            replace_model(generation, changes.pop(), index_all)
        return vectors

    monkeypatch.setattr(answering, "encode", changed_meanwhile)
    return changes


def replace_model(generation: Generation, spec: conf.Spec, index_all: Index) -> None:
    other = generations.create(spec)
    generations.owe_all(other)
    index_all()
    generations.activate(other)
    Generation.objects.filter(pk=generation.pk).delete()


def other_model(name: str) -> conf.Spec:
    return conf.Spec("mediasearch.features.fake.FakeEncoder", {"name": name})


@pytest.mark.parametrize("exact_scope", [10_000, 1], ids=["exact", "hnsw"])
@pytest.mark.parametrize("weights", [{"image": 1}, {"image": 1, "text": 1}], ids=["image alone", "text too"])
def test_search__starts_again_where_the_model_was_changed_meanwhile(
    change_model: Changes, settings: Any, exact_scope: int, weights: dict[str, float]
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": exact_scope}
    change_model.append(other_model("second"))
    results = mediasearch.search("red", weights=weights, limit=3)
    assert len(results) == 3
    assert "image" in results[0].signals
    assert results.outcome.generation == Generation.objects.active().pk


def test_search__does_not_start_again_for_ever(change_model: Changes) -> None:
    change_model.extend(other_model(str(number)) for number in range(10))
    assert len(mediasearch.search("red", weights={"image": 1})) == 0
    assert len(change_model) == 10 - answering._TRIES


@pytest.mark.parametrize("weights", [{"image": 1}, {"image": 1, "text": 1}], ids=["image alone", "text too"])
def test_search__starts_again_where_the_model_was_deleted_before_its_question_was_encoded(
    library: dict[str, Asset], index_all: Index, monkeypatch: pytest.MonkeyPatch, weights: dict[str, float]
) -> None:
    encode, changes, encode_texts = answering.encode, [other_model("other")], Local.encode_texts

    def as_a_worker(self: Local, question: Any, texts: Any) -> Any:
        encoders.of(question.generation)
        return encode_texts(self, question, texts)

    def changed_just_before(query: Any, generation: Generation) -> Any:
        if changes:
            replace_model(generation, changes.pop(), index_all)
        return encode(query, generation)

    monkeypatch.setattr(Local, "encode_texts", as_a_worker)
    monkeypatch.setattr(answering, "encode", changed_just_before)
    results = mediasearch.search("something red", weights=weights)
    assert [hit.asset for hit in results][:1] == [library["red"]]
    assert results.degraded == ()
