"""Changes of scores: none for changes that the model ignores, and the expected ones for a known model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mtqnet.audio.resampling import Samples
from mtqnet.errors import AudioError
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS
from research import invariance

GROUPS = {"level", "silence", "length", "windows", "rate", "encoding"}


@pytest.fixture(scope="module")
def moved(toy_model: Path, voice: Callable[..., Samples]) -> dict[tuple[str, str], dict[str, invariance.Movement]]:
    """Of the toy model, whose scores rise with the level."""
    found = invariance.measure(Predictor(toy_model), [voice(3.0, seed=1), voice(5.0, seed=2, level_db=-35.0)])
    table: dict[tuple[str, str], dict[str, invariance.Movement]] = {}
    for row in found:
        table.setdefault((row.group, row.change), {})[row.target] = row
    return table


def test_every_group_and_target_is_measured(
    moved: dict[tuple[str, str], dict[str, invariance.Movement]],
) -> None:
    assert {group for group, _ in moved} == GROUPS
    assert all(tuple(rows) == KEYS for rows in moved.values())
    assert all(row.recordings == 2 for rows in moved.values() for row in rows.values())


def test_a_model_that_hears_the_level_moves_with_it(
    moved: dict[tuple[str, str], dict[str, invariance.Movement]],
) -> None:
    softer, louder = moved["level", "-45 dBov"]["s_mos"], moved["level", "-15 dBov"]["s_mos"]
    assert softer.mean < 0 < louder.mean
    assert softer.worst >= softer.mean_abs >= abs(softer.mean) - 1e-4


def test_lossless_copies_hardly_move(moved: dict[tuple[str, str], dict[str, invariance.Movement]]) -> None:
    for change in ("WAV, float", "WAV, 24 bit", "FLAC, 24 bit"):
        assert max(row.worst for row in moved["encoding", change].values()) < 0.01
    for change in ("44100 Hz", "48000 Hz"):
        assert max(row.worst for row in moved["rate", change].values()) < 0.05


def test_lengths_are_compared_with_their_mean(
    moved: dict[tuple[str, str], dict[str, invariance.Movement]],
) -> None:
    means = [rows["g_mos"].mean for (group, _), rows in moved.items() if group == "length"]
    assert len(means) == len(invariance.LENGTHS_S)
    assert np.mean(means) == pytest.approx(0, abs=1e-3)


def test_a_recording_that_cannot_be_scored_is_refused(toy_model: Path) -> None:
    with pytest.raises(AudioError):
        invariance.measure(Predictor(toy_model), [np.zeros(48_000, dtype=np.float32)])
