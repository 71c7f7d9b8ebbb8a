"""The benchmark of the engine: what it makes, how it judges, and its short form; never how long anything takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine import data, statements
from benchmarks.engine.figures import Figures
from benchmarks.engine.rounds import Ran, compare, ratio
from benchmarks.engine.truth import Best, best
from benchmarks.engine.words import Writer

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".test" / "engine"
LONGEST = 300


def columns(seed: int = 1, number: int = 3_000) -> data.Columns:
    return data.Columns(seed, number, data.World(seed))


@pytest.fixture(scope="module")
def lot() -> data.Lot:
    (only,) = data.lots(columns())
    return only


def test_vectors__lie_as_those_of_clip_do(lot: data.Lot) -> None:
    others = np.random.default_rng(1).permutation(len(lot.image))
    strangers = (lot.image * lot.image[others]).sum(1)
    assert abs(strangers.mean() - 0.48) < 0.02
    assert 0.02 < np.median(np.abs(strangers - strangers.mean())) / 0.6745 < 0.06
    assert abs((lot.caption * lot.image[others]).sum(1).mean()) < 0.03
    assert abs((lot.caption * lot.image).sum(1).mean() - 0.30) < 0.02
    assert np.allclose(np.linalg.norm(lot.caption, axis=1), 1, atol=1e-5)


def test_vectors__of_one_cluster_are_nearer(lot: data.Lot) -> None:
    cluster = columns().cluster
    largest = np.flatnonzero(cluster == np.bincount(cluster).argmax())
    inside = lot.image[largest] @ lot.image[largest].T
    assert inside[np.triu_indices(len(largest), 1)].mean() > 0.6


def test_vectors__are_those_of_the_seed(lot: data.Lot) -> None:
    (again,) = data.lots(columns())
    (other,) = data.lots(columns(seed=2))
    assert np.array_equal(lot.image, again.image)
    assert not np.allclose(lot.image, other.image)


def test_questions__are_about_their_pictures(lot: data.Lot) -> None:
    asked = data.questions(columns(), lot.image.astype(np.float16), 40)
    own = (asked.text * lot.image[asked.about]).sum(1)
    ranks = (asked.text @ lot.image.T > own[:, None]).sum(1)
    assert 0.2 < own.mean() < 0.35
    assert np.median(ranks) < 30  # Of 3,000: what else is as near shows nearly the same.


def test_columns__filters_keep_what_they_say() -> None:
    made = columns()
    assert sorted(made.added) == sorted(made.taken) == list(range(3_000))
    early = made.taken < 300
    assert len(np.unique(made.cluster[early])) < len(np.unique(made.cluster[made.added < 300])) * 0.8
    assert abs(np.corrcoef(made.added, np.arange(3_000))[0, 1]) < 0.1


def test_words__tell_questions_apart_and_stand_in_the_texts() -> None:
    writer = Writer(columns())
    texts = list(writer.write())
    assert len(texts) == 3_000
    asked = writer.ask(np.arange(200))
    assert len(set(asked)) == 200
    said = {word for text in texts for word in f"{text.title} {text.caption}".split()}
    assert all(set(words.split()) & said for words in asked)


def test_best__takes_ties_for_equal() -> None:
    scores = np.array([0.5] * 12 + [0.4, -np.inf])
    found = best(scores)
    assert len(found.places) == 10
    assert found.recall(range(2, 12)) == 1.0
    assert found.recall([*range(2, 11), 12]) == 0.9
    assert found.recall([*range(3), *range(100, 107)]) == 0.3


def test_best__of_a_small_scope_is_all_of_it() -> None:
    found = best(np.array([-np.inf, 0.2, -np.inf, 0.1]))
    assert found.places == (1, 3)
    assert found.recall([3, 1]) == 1.0
    assert found.recall([3]) == 0.5
    assert Best((), frozenset()).recall([]) == 1.0


def test_rounds__every_question_is_answered_in_every_way() -> None:
    asked: list[tuple[str, int]] = []

    def way(name: str, ms: float) -> object:
        def run(number: int) -> Ran:
            asked.append((name, number))
            return Ran((number,), ms)

        return run

    times = compare({"slow": way("slow", 6.0), "fast": way("fast", 2.0)}, range(5), rounds=3)  # type: ignore[dict-item]
    assert {name: sorted(one.runs) for name, one in times.items()} == {"slow": [*range(5)], "fast": [*range(5)]}
    assert all(len(runs) == 3 for one in times.values() for runs in one.runs.values())
    assert len(asked) == 2 * (1 + 3 * 5)  # Once more to warm up.
    assert ratio(times["slow"], times["fast"]) == 3.0
    assert [number for name, number in asked if name == "slow"][1:6] != [*range(5)]


def test_rounds__end_in_time() -> None:
    times = compare({"one": lambda number: Ran((), 1.0)}, range(10_000), rounds=1_000, seconds=0.1)
    assert 0 < sum(len(runs) for runs in times["one"].runs.values()) < 10_000_000


def test_legs__are_cut_out_with_what_they_depend_on() -> None:
    sql = (
        "WITH asked AS (SELECT %s AS image), image_leg AS MATERIALIZED (SELECT ')' || (%s) AS id),"
        " text_leg AS MATERIALIZED (SELECT %s AS id), candidates AS (SELECT id FROM image_leg) SELECT %s"
    )
    found = statements.legs(sql, (1, 2, 3, 4))
    assert found["image_leg"] == (
        "WITH asked AS (SELECT %s AS image), image_leg AS MATERIALIZED (SELECT ')' || (%s) AS id)"
        " SELECT count(*) FROM image_leg",
        (1, 2),
    )
    assert found["text_leg"][1] == (1, 2, 3)


def test_figures__of_other_sizes_are_kept(tmp_path: Path) -> None:
    Figures(tmp_path, 100).keep("p50", 2.0)
    small = Figures(tmp_path, 100)
    small.keep("recall", 0.9)
    assert list(Figures(tmp_path, 1_000).others()) == [(100, {"p50": 2.0, "recall": 0.9})]
    assert list(small.others()) == []


def test_short_form__finds_what_is_there() -> None:
    command = [sys.executable, "-m", "benchmarks.engine", "--short", "--place", str(PLACE)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-4_000:]
    assert "MISSED" not in ended.stdout
    assert ended.stdout.count("recall by exact: 1 ") == 14
    assert "page of 1000, by HNSW: {2}" in ended.stdout
