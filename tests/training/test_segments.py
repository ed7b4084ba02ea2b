"""Segments of recordings are trimmed, cut and weighted as in scoring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.reading import read_excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.scoring.predictor import Predictor
from mtqnet.training.ratings import Segments, segments

Samples = NDArray[np.float32]


def hear(paths: list[Path], store: Path) -> tuple[Segments, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    return segments(paths, store, lambda done, total: told.append((done, total))), told


@pytest.fixture
def recordings(tmp_path: Path, voice: Callable[..., Samples]) -> list[Path]:
    """Plain, at another rate, longer than a window, with silence at both ends."""
    contents = {
        "plain": (voice(2.0), SAMPLE_RATE),
        "rate": (voice(1.0, rate=44_100), 44_100),
        "long": (np.concatenate([voice(12.0), 0.1 * voice(11.0, seed=1)]), SAMPLE_RATE),
        "padded": (np.pad(voice(1.5), 16_000), SAMPLE_RATE),
    }
    for name, (samples, rate) in contents.items():
        sf.write(tmp_path / f"{name}.wav", samples, rate, subtype="FLOAT")
    return [tmp_path / f"{name}.wav" for name in contents]


def test_scores_of_segments_combine_to_the_score_of_the_recording(
    recordings: list[Path], toy_model: Path, tmp_path: Path
) -> None:
    found, told = hear(recordings, tmp_path / "windows")
    assert found.scorable == [0, 1, 2, 3] and not found.refused and told[-1] == (4, 4)
    predictor = Predictor(toy_model)
    said = np.array([predictor.score(read_excerpt(piece), SAMPLE_RATE).g_mos for piece in found.clips])
    for place, path in enumerate(recordings):
        mine = found.recording == place
        assert found.shares[mine].sum() == pytest.approx(1.0)
        whole = predictor.score(path).g_mos
        assert float(found.shares[mine] @ said[mine]) == pytest.approx(whole, abs=1e-5)


def test_only_cut_segments_are_stored_and_used_again(recordings: list[Path], tmp_path: Path) -> None:
    found, _ = hear(recordings, tmp_path / "windows")
    kept = {piece.path for piece in found.clips if piece.path.parent == tmp_path / "windows"}
    assert len(kept) == 4  # three of 23 s, one without its silence
    assert recordings[0] in {piece.path for piece in found.clips}
    before = {path: path.stat().st_mtime_ns for path in kept}
    again, _ = hear(recordings, tmp_path / "windows")
    assert again.clips == found.clips
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_recordings_that_cannot_be_scored_are_reported_and_skipped(
    recordings: list[Path], bad_files: dict[str, Path], tmp_path: Path
) -> None:
    paths = [bad_files["silent"], recordings[0], bad_files["missing"], recordings[1]]
    found, _ = hear(paths, tmp_path / "windows")
    assert found.scorable == [1, 3]
    assert found.recording.tolist() == [0, 1]
    assert [path for path, _ in found.refused] == [bad_files["silent"], bad_files["missing"]]
    assert "silent: its loudest" in found.refused[0][1]
