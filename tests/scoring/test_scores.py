"""One row: its columns, its words, its error."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mtqnet.errors import AudioError, SilentError
from mtqnet.scoring.intervals import Interval
from mtqnet.scoring.scores import COLUMNS, ENDS, Results, Scores, Track
from mtqnet.targets import KEYS

GOOD = Scores(
    3.5, 2.25, 2.5, 1.75, 0.875, 0.00123, file="a.wav", duration_s=3.0,
    model="toy", model_sha256="ab", version="1", flags=("short", "clipped"),
)  # fmt: skip


def test_columns_are_these() -> None:
    assert COLUMNS == (
        "file", "channel", "s_mos", "n_mos", "g_mos", "pesq_est", "stoi_est", "sdi_est",
        "s_mos_low", "s_mos_high", "n_mos_low", "n_mos_high", "g_mos_low", "g_mos_high",
        "pesq_est_low", "pesq_est_high", "stoi_est_low", "stoi_est_high", "sdi_est_low", "sdi_est_high",
        "duration_s", "model", "model_sha256", "version", "flags", "error",
    )  # fmt: skip


def test_every_column_is_a_field_or_an_end_of_an_interval() -> None:
    assert set(COLUMNS) - set(ENDS) <= {field.name for field in dataclasses.fields(Scores)}


def test_row_contains_the_values_in_order() -> None:
    row = GOOD.as_row()
    assert tuple(row) == COLUMNS
    assert [row[key] for key in KEYS] == [3.5, 2.25, 2.5, 1.75, 0.875, 0.00123]
    assert row["flags"] == "short clipped"
    assert Scores().as_row()["flags"] == ""


def test_intervals_are_columns_and_words() -> None:
    sure = dataclasses.replace(GOOD, intervals={"s_mos": Interval(3.1, 3.75), "sdi_est": Interval(0.0004, 0.0041)})
    row = sure.as_row()
    assert (row["s_mos_low"], row["s_mos_high"], row["sdi_est_high"]) == (3.1, 3.75, 0.0041)
    assert row["g_mos_low"] is None
    assert "S-MOS 3.50 [3.10, 3.75]  N-MOS 2.25  " in str(sure)
    assert "SDI 0.0012 [0.0004, 0.0041]" in str(sure)
    assert hash(sure) == hash(GOOD)


def test_values_by_key() -> None:
    assert GOOD.value("stoi_est") == 0.875
    with pytest.raises(KeyError):
        GOOD.value("file")


def test_raise_for_error_raises_the_very_exception() -> None:
    cause = SilentError("nothing to hear")
    with pytest.raises(SilentError) as caught:
        Scores(error=str(cause), exception=cause).raise_for_error()
    assert caught.value is cause
    with pytest.raises(AudioError, match="from a table"):
        Scores(error="from a table").raise_for_error()
    assert GOOD.raise_for_error() is GOOD


def test_raise_for_error_names_the_file() -> None:
    for exception in (SilentError("silent"), None):
        with pytest.raises(AudioError, match=r"^b\.wav channel 2: silent"):
            Scores(file="b.wav", channel=2, error="silent", exception=exception).raise_for_error()


def test_results_of_one_recording_are_not_plural() -> None:
    assert repr(Results((Scores(),))).startswith("Results(1 recording, ")


def test_level_is_that_of_the_worst_flag_and_an_error_refuses() -> None:
    assert Scores().level == "ok"
    assert Scores(flags=("low_rate",)).level == "ok"
    assert Scores(flags=("low_rate", "clipped")).level == "caution"
    assert Scores(flags=("a flag of a later version",)).level == "caution"
    assert Scores(flags=("silent",), error="nothing to hear").level == "refused"
    assert Scores(error="what nobody foresaw").level == "refused"


def test_track_and_exception_are_no_part_of_a_row() -> None:
    track = Track(np.zeros(2), np.zeros((2, 6)), KEYS)
    with_track = dataclasses.replace(GOOD, track=track, exception=ValueError())
    assert with_track == GOOD
    assert repr(with_track) == repr(GOOD)
    assert hash(with_track) == hash(GOOD)


def test_words() -> None:
    assert str(GOOD) == (
        "a.wav: S-MOS 3.50  N-MOS 2.25  G-MOS 2.50  PESQ 1.75  STOI 0.88  SDI 0.0012  (short, clipped)"
    )
    assert str(Scores(s_mos=3.0)) == "recording: S-MOS 3.00"
    assert str(Scores(file="b.wav", error="no such file")) == "b.wav: not scored: no such file"
