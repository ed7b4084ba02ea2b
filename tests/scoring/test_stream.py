"""A stream has the scores of a file with the last seconds, for every size of the chunks."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import mtqnet
from mtqnet.audio import reading
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.audio.windows import MAX_WINDOW_S
from mtqnet.errors import NotFiniteError, SilentError, UsageError
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores
from mtqnet.scoring.stream import Stream
from mtqnet.targets import KEYS

Voice = Callable[..., Samples]
AGREE = 1e-4
"""Between rows of a stream, windows of a file and the whole file, where their edges fall on the same samples."""


@pytest.fixture(scope="module")
def toy(toy_model: Path) -> Predictor:
    return Predictor(toy_model)


def numbers(scores: Scores) -> list[float]:
    assert scores.error is None, scores.error
    return [scores.value(key) or 0.0 for key in KEYS]


def rolled(stream: Stream, samples: Samples, chunk: int) -> list[Scores]:
    rows = [row for at in range(0, len(samples), chunk) for row in stream.feed(samples[at : at + chunk])]
    return rows + stream.finish()


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_chunks_of_any_size_give_the_same_rows(toy: Predictor, voice: Voice, rate: int) -> None:
    samples = voice(3.3, rate=rate)
    at_once = rolled(Stream(toy, rate), samples, len(samples))
    assert [row.windows[0].end_s for row in at_once] == pytest.approx([1, 2, 3, 3.3], abs=1e-3)
    for chunk in (37, 160, rate):
        rows = rolled(Stream(toy, rate), samples, chunk)
        assert [numbers(row) for row in rows] == [numbers(row) for row in at_once]
        assert [row.windows for row in rows] == [row.windows for row in at_once]


def test_a_row_is_the_score_of_the_last_window(toy: Predictor, voice: Voice) -> None:
    samples = np.concatenate([voice(4.0, level_db=level) for level in (-20, -40)])
    stream = Stream(toy, SAMPLE_RATE, window_s=2.5, hop_s=0.5)
    rows = rolled(stream, samples, 1000)
    assert len(rows) == 16
    for row in rows[1:]:
        (window,) = row.windows
        assert window.end_s - window.start_s == pytest.approx(min(2.5, window.end_s))
        excerpt = samples[round(window.start_s * SAMPLE_RATE) : round(window.end_s * SAMPLE_RATE)]
        assert numbers(row) == numbers(toy.score(excerpt, SAMPLE_RATE))
        assert row.track is not None
        assert window.start_s < row.track.times_s[0] < row.track.times_s[-1] < window.end_s


@pytest.mark.parametrize("model", ["toy", "base"])
def test_whole_windows_and_stream_agree(model: str, toy_model: Path, voice: Voice, tmp_path: Path) -> None:
    """Half a minute at 8 kHz: three windows of the file are three rows of the stream, and add up to the whole."""
    predictor = Predictor(toy_model if model == "toy" else "base")
    samples = np.concatenate([voice(10.0, rate=8_000, level_db=level, seed=3) for level in (-30, -20, -35)])
    sf.write(tmp_path / "half.wav", samples, 8_000, subtype="FLOAT")
    whole = predictor.score(tmp_path / "half.wav")
    rows = [row for row in rolled(Stream(predictor, 8_000), samples, 480) if row.windows[0].end_s % 10 == 0]
    for row, window in zip(rows, whole.windows, strict=True):
        np.testing.assert_allclose(numbers(row), [window.value(key) or 0 for key in KEYS], atol=AGREE)
    combined = np.average([numbers(row) for row in rows], axis=0, weights=[w.weight for w in whole.windows])
    np.testing.assert_allclose(combined, numbers(whole), atol=AGREE)


def test_rows_of_the_shipped_model_stay_near_the_whole() -> None:
    """Of one voice under one condition, full windows differ from the whole by what the words make: 0.5 at most."""
    folder = Path(__file__).parents[2] / "examples/recordings"
    predictor = mtqnet.load("base")
    for name in ("1_clean", "3_crowd", "5_telephone"):
        samples = np.tile(reading.read(folder / f"{name}.flac").samples, 4)[: 24 * SAMPLE_RATE]
        rows = rolled(mtqnet.stream(SAMPLE_RATE, model=predictor), samples, SAMPLE_RATE)
        full = [numbers(row)[:3] for row in rows if row.windows[0].end_s >= MAX_WINDOW_S]
        whole = numbers(predictor.score(samples, SAMPLE_RATE))[:3]
        assert np.abs(np.array(full) - whole).max() < 0.5
        np.testing.assert_allclose(np.mean(full, axis=0), whole, atol=0.2)


def test_a_pause_has_no_score_but_a_time_and_scores_come_back(toy: Predictor, voice: Voice) -> None:
    silence = np.zeros(3 * SAMPLE_RATE, dtype=np.float32)
    rows = rolled(Stream(toy, SAMPLE_RATE, window_s=1.0), np.concatenate([voice(2.0), silence, voice(2.0)]), 4_000)
    assert [row.error is None for row in rows] == [True, True, False, False, False, True, True]
    assert isinstance(rows[3].exception, SilentError)
    assert (rows[3].windows[0].start_s, rows[3].windows[0].end_s) == (3.0, 4.0)
    assert rows[3].windows[0].value("s_mos") is None


def test_bad_samples_pass(toy: Predictor, voice: Voice) -> None:
    samples = voice(4.0)
    samples[SAMPLE_RATE + 5] = np.nan
    rows = rolled(Stream(toy, SAMPLE_RATE, window_s=1.0), samples, 1_000)
    assert [row.error is None for row in rows] == [True, False, True, True]
    assert isinstance(rows[1].exception, NotFiniteError)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_channels_and_integers_are_taken_as_in_a_file(toy: Predictor, voice: Voice, rate: int) -> None:
    mono = np.round(voice(2.0, rate=rate) * 32767).astype(np.int16)
    two = np.stack([mono, mono // 2], axis=1)
    rows = rolled(Stream(toy, rate, channels=2), two, 999)  # type: ignore[arg-type]
    np.testing.assert_allclose(numbers(rows[1]), numbers(toy.score(two, rate)), atol=1e-4)
    turned = rolled(Stream(toy, rate, channels=2), np.stack([mono, -mono], axis=1), 999)
    assert "channels_cancel" in turned[1].flags


def test_reset_begins_again(toy: Predictor, voice: Voice) -> None:
    stream = Stream(toy, 8_000)
    first = rolled(stream, voice(2.2, rate=8_000), 500)
    stream.feed(voice(1.7, rate=8_000, seed=5))
    stream.reset()
    assert stream.heard_s == 0
    again = rolled(stream, voice(2.2, rate=8_000), 500)
    assert [(row, row.windows) for row in again] == [(row, row.windows) for row in first]


def test_memory_is_that_of_a_window(toy: Predictor) -> None:
    chunk = (0.1 * np.random.default_rng(0).standard_normal(20 * SAMPLE_RATE)).astype(np.float32)
    stream = Stream(toy, SAMPLE_RATE, window_s=1.0, hop_s=1.0)

    def held(times: int) -> int:
        for _ in range(times):
            stream.feed(chunk)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first = held(1)
        assert held(8) < first + 200_000  # one second of samples has 64 kB
    finally:
        tracemalloc.stop()


def test_mistakes_are_reported(toy: Predictor) -> None:
    for options in (
        {"rate": 100},
        {"channels": 0},
        {"window_s": 0.1},
        {"window_s": 11},
        {"hop_s": 0},
        {"hop_s": 11},
    ):
        with pytest.raises(UsageError):
            Stream(toy, **({"rate": 16_000} | options))
    stream = Stream(toy, 16_000, channels=2)
    for chunk in (np.zeros(10), np.zeros((10, 3)), np.zeros((10, 2), dtype=complex)):
        with pytest.raises(UsageError):
            stream.feed(chunk)
