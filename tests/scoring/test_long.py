"""Length changes neither scores nor memory: in blocks as whole, window by window as at once."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import mtqnet
from mtqnet.audio import analysis
from mtqnet.audio.reading import MonoSignal
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.scoring import predictor
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS

Voice = Callable[..., Samples]
RATE = 8_000
EXACT = 1e-6
"""Blocks against whole: the same samples go through the same graph."""


def conversation(voice: Voice, seconds: float) -> Samples:
    """(seconds * RATE,): changing levels, a pause, silence at both ends, a little noise."""
    sound = np.concatenate([voice(11.0, rate=RATE, level_db=level, seed=3) for level in (-20, -40, -30)])
    sound = np.resize(sound, round(seconds * RATE))
    sound += 1e-4 * np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    sound[18 * RATE : 40 * RATE] *= np.float32(1e-3)
    return np.concatenate([np.zeros(2 * RATE), sound, np.zeros(9 * RATE)]).astype(np.float32)


@pytest.fixture(scope="module")
def long_file(voice: Voice, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "long.wav"
    sf.write(path, conversation(voice, 64.7), RATE)
    return path


def in_blocks(scorer: Predictor, path: Path, monkeypatch: pytest.MonkeyPatch) -> mtqnet.Scores:
    with monkeypatch.context() as patch:
        patch.setattr(predictor, "analyse", partial(analysis.analyse, hold_s=10.0))
        return scorer.score(path)


@pytest.mark.parametrize("model", ["toy", "base"])
def test_in_blocks_equals_whole(
    model: str, toy_model: Path, long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Predictor(toy_model if model == "toy" else model)
    whole, blocks = scorer.score(long_file), in_blocks(scorer, long_file, monkeypatch)
    assert whole.track is not None and blocks.track is not None
    np.testing.assert_allclose(
        [blocks.value(key) or 0 for key in KEYS], [whole.value(key) or 0 for key in KEYS], atol=EXACT
    )
    np.testing.assert_allclose(blocks.track.times_s, whole.track.times_s)
    np.testing.assert_allclose(blocks.track.values, whole.track.values, atol=EXACT)
    assert (blocks.duration_s, blocks.flags) == (whole.duration_s, whole.flags)
    for one, other in zip(blocks.windows, whole.windows, strict=True):
        assert (one.start_s, one.end_s) == (other.start_s, other.end_s)
        assert (one.weight, *one.values) == pytest.approx((other.weight, *other.values), abs=EXACT)


def test_windows_follow_each_other_and_add_up_to_the_scores(toy_model: Path, long_file: Path) -> None:
    scores = Predictor(toy_model).score(long_file)
    found = scores.windows
    assert len(found) == 7
    assert found[0].start_s == pytest.approx(2.0, abs=0.05)
    assert found[-1].end_s == pytest.approx(66.7, abs=0.1)
    assert [window.end_s for window in found[:-1]] == [window.start_s for window in found[1:]]
    assert sum(window.weight for window in found) == pytest.approx(1.0)
    assert min(window.weight for window in found) == 0.0  # the pause
    for key in KEYS:
        assert sum(w.weight * (w.value(key) or 0) for w in found) == pytest.approx(scores.value(key), abs=EXACT)


def test_each_window_scores_as_its_excerpt_does(voice: Voice, toy_model: Path) -> None:
    """Within 0.02: the samples next to a cut are mirrored in the one, and go on in the other's resampler."""
    scorer, samples = Predictor(toy_model), np.tile(voice(4.0), 6)
    for window in scorer.score(samples, 16_000).windows:
        alone = scorer.score(samples[round(window.start_s * 16_000) : round(window.end_s * 16_000)], 16_000)
        for key in KEYS:
            assert alone.value(key) == pytest.approx(window.value(key), abs=0.02)


def test_a_short_recording_is_one_window(toy_model: Path, good_file: Path) -> None:
    scores = Predictor(toy_model).score(good_file)
    (window,) = scores.windows
    assert (window.start_s, window.end_s, window.weight) == (0.0, scores.duration_s, 1.0)
    assert [window.value(key) for key in KEYS] == [scores.value(key) for key in KEYS]


def test_without_track_all_else_is_the_same(
    toy_model: Path, long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, bare = Predictor(toy_model), Predictor(toy_model, track=False)
    assert bare.score(long_file).track is None
    assert bare.score(long_file) == plain.score(long_file)
    assert in_blocks(bare, long_file, monkeypatch) == plain.score(long_file)


def test_a_long_file_that_is_refused_states_why(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sf.write(tmp_path / "silent.wav", np.zeros(30 * RATE), RATE)
    scores = in_blocks(Predictor(toy_model), tmp_path / "silent.wav", monkeypatch)
    assert scores.error is not None and "silent" in scores.error


PEAK = """
import resource, sys
import mtqnet
scores = mtqnet.Predictor(sys.argv[1], threads=1, track=False).score(sys.argv[2])
assert scores.error is None, scores.error
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
GROWTH_KB = 12_000
"""Allowed growth of memory for a file of four times the duration: half an hour of samples in memory would take 115
MB."""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is kilobytes on Linux")
def test_memory_does_not_grow_with_length(voice: Voice, toy_model: Path, tmp_path: Path) -> None:
    def peak(repeats: int) -> int:
        path = tmp_path / f"{repeats}.wav"
        minute = (conversation(voice, 49.0) * 32767).astype(np.int16)
        with sf.SoundFile(path, "w", RATE, 1) as file:
            for _ in range(repeats):
                file.write(minute)
        command = [sys.executable, "-c", PEAK, str(toy_model), str(path)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    ten_minutes, forty_minutes = peak(10), peak(40)
    assert forty_minutes < ten_minutes + GROWTH_KB


def test_a_file_that_becomes_shorter_between_the_passes_is_no_score(
    toy_model: Path, long_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def longer(signal: MonoSignal, hold_s: float) -> analysis.AnalysedSignal:
        result = analyse(signal, hold_s)
        changed = dataclasses.replace(result.analysis, stop=result.analysis.stop + 30 * SAMPLE_RATE)
        return dataclasses.replace(result, analysis=changed)

    analyse = analysis.analyse
    monkeypatch.setattr(analysis, "analyse", longer)
    scores = in_blocks(Predictor(toy_model), long_file, monkeypatch)
    assert scores.error is not None and "became shorter" in scores.error
