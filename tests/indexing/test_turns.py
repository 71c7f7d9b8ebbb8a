from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.db.models import F
from django.db.models.functions import Now

from mediasearch.exceptions import CalibrationLost, CalibrationTaken
from mediasearch.indexing import clock, turns
from mediasearch.models import Generation

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def left() -> float:
    """For how many seconds the lease holds."""
    return Generation.objects.values_list(F("calibrating_until") - Now(), flat=True).get().total_seconds()


def leased(ahead: timedelta) -> uuid.UUID:
    """Have another process hold the lease."""
    other = uuid.uuid4()
    Generation.objects.update(calibration_token=other, calibrating_until=Now() + ahead)
    return other


def test_taken__for_a_minute_and_given_back(active_generation: Generation) -> None:
    with turns.taken(active_generation) as turn:
        assert Generation.objects.get().calibration_token == turn.token
        assert left() == pytest.approx(60, abs=2)
    row = Generation.objects.get()
    assert (row.calibration_token, row.calibrating_until) == (None, None)


def test_taken__given_back_where_it_failed(active_generation: Generation) -> None:
    with pytest.raises(KeyError), turns.taken(active_generation):
        raise KeyError
    assert Generation.objects.get().calibration_token is None


def test_taken__not_what_another_holds(active_generation: Generation) -> None:
    other = leased(timedelta(seconds=45))
    with (
        pytest.raises(CalibrationTaken, match=r"came 15 s ago\. .* free again in 45 s"),
        turns.taken(active_generation),
    ):
        pass
    assert Generation.objects.get().calibration_token == other


def test_taken__what_nobody_renewed(active_generation: Generation) -> None:
    leased(timedelta(seconds=-1))
    with turns.taken(active_generation) as turn:
        assert Generation.objects.get().calibration_token == turn.token


def test_taken__a_lease_of_before_the_clock_was_set_back_is_cut(active_generation: Generation) -> None:
    other = leased(HOUR)
    with pytest.raises(CalibrationTaken), turns.taken(active_generation):
        pass
    assert left() == pytest.approx(60, abs=2)
    assert Generation.objects.get().calibration_token == other  # It may live, and then it renews it.


def test_taken__a_generation_that_was_deleted(active_generation: Generation) -> None:
    Generation.objects.all().delete()
    with pytest.raises(CalibrationTaken, match="or deleted"), turns.taken(active_generation):
        pass


def test_keep__renews_now_and_then(active_generation: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    with turns.taken(active_generation) as turn:
        leased(timedelta(seconds=30))
        Generation.objects.update(calibration_token=turn.token)
        turn.keep()
        assert left() == pytest.approx(30, abs=2)
        turn.renewed_at -= turns.RENEW_EVERY
        turn.keep()
        assert left() == pytest.approx(60, abs=2)
        turn.keep()


def test_keep__one_that_is_late_keeps_what_nobody_took(active_generation: Generation) -> None:
    with turns.taken(active_generation) as turn:
        Generation.objects.update(calibrating_until=Now() - HOUR)
        turn.renewed_at -= HOUR.total_seconds()
        turn.keep()
        assert left() == pytest.approx(60, abs=2)


def test_keep__whoever_lost_it_stops_and_clears_nothing(active_generation: Generation) -> None:
    with turns.taken(active_generation) as turn:
        other = leased(timedelta(seconds=30))
        turn.renewed_at -= turns.RENEW_EVERY
        with pytest.raises(CalibrationLost, match="another process took over"):
            turn.keep()
    assert Generation.objects.get().calibration_token == other
    assert left() == pytest.approx(30, abs=2)


def test_taken__a_database_that_went_away_is_what_is_raised(
    active_generation: Generation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*args: Any) -> None:
        raise DatabaseError("It was shut down.")

    def fail() -> None:
        with turns.taken(active_generation):
            monkeypatch.setattr(turns, "_rows", gone)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "ends by itself: It was shut down." in caplog.text


def test_mend__cuts_the_lease_of_a_calibration(active_generation: Generation) -> None:
    leased(HOUR)
    clock.mend("default")
    assert left() == pytest.approx(60, abs=2)
