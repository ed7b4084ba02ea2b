"""Responses of devices: tone controls. Handsets: tests/corpus/test_device.py."""

from __future__ import annotations

import numpy as np
import pytest

from mtqnet.audio.features import MEL_FLOOR, SILENT
from mtqnet.corpus.degradations.device import tone_db

HERTZ = np.array([250.0, 500.0, 1000.0, 2000.0, 4000.0])


def test_a_slope_turns_about_one_kilohertz() -> None:
    np.testing.assert_allclose(tone_db(HERTZ, 3.0, 0.0, 700.0, 1.0, 20.0), [-6.0, -3.0, 0.0, 3.0, 6.0])


def test_a_resonance_is_highest_in_its_middle_and_alike_on_both_sides() -> None:
    level = tone_db(HERTZ, 0.0, 8.0, 1000.0, 2.0, 20.0)
    assert level[2] == pytest.approx(8.0) and level.argmax() == 2
    np.testing.assert_allclose(level, level[::-1])


def test_no_more_than_the_most() -> None:
    assert np.abs(tone_db(HERTZ, 9.0, 0.0, 700.0, 1.0, 12.0)).max() == 12.0


def test_columns_give_a_row_a_control() -> None:
    slopes, zero = np.array([[3.0], [-3.0]]), np.zeros((2, 1))
    both = tone_db(HERTZ, slopes, zero, zero + 700.0, zero + 1.0, 20.0)
    np.testing.assert_allclose(both, [tone_db(HERTZ, s, 0.0, 700.0, 1.0, 20.0) for s in (3.0, -3.0)])


def test_silence_is_the_floor() -> None:
    assert pytest.approx(np.log10(MEL_FLOOR)) == SILENT
