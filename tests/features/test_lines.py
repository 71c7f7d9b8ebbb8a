from __future__ import annotations

import time

import pytest

from mediasearch.exceptions import Crowded
from mediasearch.features.lines import Lines


def test_join__the_first_has_its_turn_and_the_next_when_it_leaves() -> None:
    lines = Lines()
    first, second, third = (lines.join("a", 1.0) for _ in range(3))
    assert first.turn.done()
    assert not second.turn.done()
    lines.leave(second, in_vain=True)
    lines.leave(first)
    assert third.turn.done()


def test_join__each_client_has_a_line_and_nobody_in_particular_has_none() -> None:
    lines = Lines()
    assert all(lines.join(client, 1.0).turn.done() for client in ("a", "b", "", ""))


def test_join__no_longer_than_there_is_time_for() -> None:
    lines = Lines()
    place = lines.join("a", 1.0)
    place.began -= 0.2  # So long a turn takes.
    lines.leave(place)
    lines.join("a", 0.5)
    lines.join("a", 0.5)
    with pytest.raises(Crowded):
        lines.join("a", 0.5)
    assert lines.join("b", 0.01).turn.done()


def test_leave__a_line_that_is_over_is_forgotten() -> None:
    lines = Lines()
    for number in range(100):
        lines.leave(lines.join(str(number), 1.0))
    assert lines._lines == {}


def test_leave__a_place_that_never_had_its_turn_says_nothing_of_how_long_one_takes() -> None:
    lines = Lines()
    lines.join("a", 1.0)
    waiting = lines.join("a", 1.0)
    time.sleep(0.05)
    lines.leave(waiting, in_vain=True)
    assert lines._pace is None
