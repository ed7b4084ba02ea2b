"""The picture of a recording: the worst stretch is where it is worst, and the files are pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mtqnet
from mtqnet.audio import reading
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import UsageError
from mtqnet.evaluation import plots
from mtqnet.evaluation.plots import worst_stretch
from mtqnet.scoring.scores import Track

RATE = 25.0


def track(g_mos: list[float], start_s: float = 0.0, target: str = "g_mos") -> Track:
    """One value per second, repeated for its 25 frames."""
    frames = np.repeat(np.array(g_mos, dtype=np.float64), round(RATE))
    times = start_s + (np.arange(len(frames), dtype=np.float64) + 0.5) / RATE
    return Track(times, frames[:, None], (target,))


def test_worst_stretch_is_where_the_score_is_low() -> None:
    found = worst_stretch(track([4, 4, 4, 2, 2, 2, 4, 4, 3, 3], start_s=1.0))
    assert found is not None
    assert (found.start_s, found.stop_s) == pytest.approx((4.0, 7.0), abs=0.2)
    assert found.value == pytest.approx(2.0, abs=0.15)


def test_bad_second_counts_within_its_stretch() -> None:
    found = worst_stretch(track([4, 4, 4, 4, 1, 4, 4, 4, 4, 4]))
    assert found is not None
    assert found.start_s <= 4.0
    assert found.stop_s >= 5.0


def test_worst_stretch_is_where_a_cause_is() -> None:
    plain = track([3.0] * 10)
    causes = np.full((len(plain.times_s), 2), 0.1)
    causes[100:150, 1] = 0.95
    found = worst_stretch(replace(plain, causes=causes, cause_keys=("noise", "coding")))
    assert found is not None
    assert (found.start_s, found.stop_s) == pytest.approx((4.0, 6.0), abs=0.05)
    assert found.value == pytest.approx(3.0)


def test_long_recording_is_searched_in_groups_of_frames() -> None:
    found = worst_stretch(track([4.0] * 900 + [2.0] * 60 + [4.0] * 900))
    assert found is not None
    assert (found.start_s, found.stop_s) == pytest.approx((900.0, 960.0), abs=4.0)


@pytest.mark.parametrize(
    "made",
    [
        track([3.0] * 10),  # all alike
        track([3.05, 3.0, 3.0, 3.05, 3.05, 3.05]),  # inaudible
        track([4.0, 1.0]),  # shorter than SHORTEST_S
        track([4, 4, 4, 1, 1, 4, 4], target="s_mos"),
    ],
)
def test_nothing_is_marked_where_nothing_stands_out(made: Track) -> None:
    assert worst_stretch(made) is None


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """Half a minute of real speech, whose middle third has white noise as loud as the speech."""
    import soundfile as sf

    clean = reading.read(examples / "1_clean.flac").samples
    whole = np.tile(clean, 1 + 30 * SAMPLE_RATE // len(clean))[: 30 * SAMPLE_RATE].astype(np.float64)
    noise = np.random.default_rng(1).standard_normal(10 * SAMPLE_RATE) * np.sqrt(np.mean(clean**2))
    whole[10 * SAMPLE_RATE : 20 * SAMPLE_RATE] += noise
    path = tmp_path_factory.mktemp("broken") / "broken.wav"
    sf.write(path, 0.3 * whole / np.abs(whole).max(), SAMPLE_RATE)
    return path


def test_noise_in_the_middle_of_a_recording_is_marked(broken: Path) -> None:
    scores = mtqnet.score(broken)
    assert scores.track is not None
    found = worst_stretch(scores.track)
    assert found is not None
    assert abs(found.start_s - 10) < 2
    assert abs(found.stop_s - 20) < 2


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_command_draws(run: Callable[..., Any], broken: Path, tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / f"picture{suffix}"
    done = run("plot", broken, "-o", picture)
    assert done.returncode == 0, done.stderr
    assert "G-MOS" in done.stdout
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert len(content) > 50_000


def test_same_recording_same_picture(examples: Path, tmp_path: Path) -> None:
    file = examples / "5_telephone.flac"
    scores, samples = mtqnet.score(file), reading.read(file).samples
    for name in ("a.svg", "b.svg"):
        plots.draw_recording(samples, scores, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_each_interval_is_a_line_behind_the_end(examples: Path, tmp_path: Path) -> None:
    file = examples / "1_clean.flac"
    scores, samples = mtqnet.score(file), reading.read(file).samples
    assert len(scores.intervals) == 6
    for name, drawn in (("with", scores), ("without", replace(scores, intervals={}))):
        plots.draw_recording(samples, drawn, tmp_path / f"{name}.svg")
    lines = [(tmp_path / f"{name}.svg").read_text().count('id="LineCollection') for name in ("with", "without")]
    assert lines[0] == lines[1] + 6


def test_model_without_track_or_with_fewer_scores_is_drawn(
    make_model: Callable[..., Path], examples: Path, tmp_path: Path
) -> None:
    file = examples / "1_clean.flac"
    scores = mtqnet.score(file, model=make_model(track=False))
    assert scores.track is None
    plots.draw_recording(reading.read(file).samples, scores, tmp_path / "flat.png")
    assert (tmp_path / "flat.png").stat().st_size > 50_000


def test_what_cannot_be_drawn_is_reported(
    run: Callable[..., Any], bad_files: dict[str, Path], examples: Path, tmp_path: Path
) -> None:
    done = run("plot", bad_files["silent"], "-o", tmp_path / "p.png")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert run("plot", examples / "1_clean.flac", "-o", tmp_path / "p.pdf").returncode == 2
    with pytest.raises(UsageError, match=r"must end in \.png, \.svg"):
        plots.draw_recording(np.zeros(9, np.float32), mtqnet.Scores(), tmp_path / "p.pdf")
