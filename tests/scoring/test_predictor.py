"""Recordings in, scores out: the same whichever way they come in, and never a traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import mtqnet
from mtqnet import errors
from mtqnet.audio import decoding, resampling, windows
from mtqnet.audio.analysis import analyse
from mtqnet.audio.flags import BY_KEY
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring.batch import Job
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS, TARGETS

Voice = Callable[..., Samples]


@pytest.fixture(scope="module")
def predictor(toy_model: Path) -> Predictor:
    return mtqnet.load(str(toy_model))


def numbers(scores: mtqnet.Scores) -> list[float]:
    found = [scores.value(key) for key in KEYS]
    assert scores.error is None, scores.error
    return [value for value in found if value is not None]


def test_file_array_and_shortcut_agree(predictor: Predictor, toy_model: Path, good_file: Path) -> None:
    array, rate = sf.read(good_file)
    by_file, by_array = predictor.score(good_file), predictor.score(array, rate)
    assert numbers(by_file) == numbers(by_array)
    assert (by_file.file, by_array.file) == (str(good_file), None)
    assert mtqnet.score(str(good_file), model=toy_model) == by_file
    assert mtqnet.score(array, rate=rate, model=str(toy_model)) == by_array


def test_a_row_states_where_it_comes_from(predictor: Predictor, good_file: Path) -> None:
    scores = predictor.score(good_file)
    assert (scores.model, scores.model_sha256) == ("toy", predictor.record.sha256)
    assert scores.version == mtqnet.__version__
    assert scores.duration_s == pytest.approx(3.0)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_copies_at_other_rates_score_the_same(predictor: Predictor, voice: Voice, rate: int) -> None:
    """Within 0.1: the toy model also uses the end of the band, where the filter of a resampler attenuates."""
    noise = 1e-3 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE).astype(np.float32)
    here = voice(3.0) + noise
    away = resampling.resample(here, SAMPLE_RATE, rate)
    np.testing.assert_allclose(
        numbers(predictor.score(away, rate)), numbers(predictor.score(here, SAMPLE_RATE)), atol=0.1
    )


def test_stereo_and_integers_score_the_same(predictor: Predictor, voice: Voice) -> None:
    integers = np.round(voice(2.0) * 32767).astype(np.int16)
    mono = numbers(predictor.score(integers / 32768, SAMPLE_RATE))
    assert numbers(predictor.score(integers, SAMPLE_RATE)) == mono
    assert numbers(predictor.score(np.stack([integers, integers], axis=1), SAMPLE_RATE)) == mono


def test_scores_stay_in_their_ranges(predictor: Predictor, voice: Voice) -> None:
    noise = 0.3 * np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE)
    assert predictor.score(noise, SAMPLE_RATE).s_mos == 5.0  # the graph has more outputs
    for samples in (voice(2.0, level_db=-65), voice(2.0), noise):
        scores = predictor.score(samples, SAMPLE_RATE)
        for target in TARGETS:
            value = scores.value(target.key)
            assert value is not None
            assert target.low <= value <= target.high


def test_a_long_recording_is_the_mean_of_its_windows(predictor: Predictor, voice: Voice) -> None:
    samples = np.concatenate([voice(25 / 3, level_db=level, seed=3) for level in (-40, -30, -20)])
    whole = predictor.score(samples, SAMPLE_RATE)
    pieces = [numbers(predictor.score(piece, SAMPLE_RATE)) for piece in np.array_split(samples, 3)]
    spoken = windows.weights(windows.cut(len(samples)), samples)
    np.testing.assert_allclose(numbers(whole), np.average(pieces, axis=0, weights=spoken), atol=1e-4)


def test_a_long_pause_changes_nothing(predictor: Predictor, voice: Voice) -> None:
    speech = voice(10.0, seed=3)
    pause = np.zeros(3 * len(speech), dtype=np.float32)
    with_pause = np.concatenate([speech, pause, speech])
    apart = [numbers(predictor.score(samples, SAMPLE_RATE)) for samples in (np.tile(speech, 2), with_pause)]
    np.testing.assert_allclose(apart[0], apart[1], atol=1e-2)


def test_track_runs_along_the_whole_recording(predictor: Predictor, voice: Voice) -> None:
    scores = predictor.score(voice(61.0), SAMPLE_RATE)  # seven windows: more than one batch of them
    track = scores.track
    assert track is not None
    assert track.values.shape == (len(track.times_s), 6)
    assert (np.diff(track.times_s) > 0).all()
    assert track.times_s[0] == pytest.approx(0.005)
    assert track.times_s[-1] == pytest.approx(61.0, abs=0.03)
    for target, column in zip(TARGETS, track.values.T, strict=True):
        assert target.low <= column.min()
        assert column.max() <= target.high


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("missing", errors.MissingFileError, "no such file"),
        ("empty", errors.EmptyAudioError, "0 bytes"),
        ("header", errors.EmptyAudioError, "no samples"),
        ("text", errors.UnreadableError, "not an audio file"),
        ("short", errors.TooShortError, "0.01 s"),
        ("silent", errors.SilentError, "silent: its loudest"),
        ("constant", errors.SilentError, "silent: its loudest"),
        ("nan", errors.NotFiniteError, "NaN"),
    ],
)
def test_bad_recordings_get_a_reason_and_no_score(
    predictor: Predictor, bad_files: dict[str, Path], kind: str, error: type[Exception], says: str
) -> None:
    scores = predictor.score(bad_files[kind])
    assert scores.error is not None
    assert says in scores.error
    assert [scores.value(key) for key in KEYS] == [None] * 6
    assert scores.file == str(bad_files[kind])
    assert scores.level == "refused"
    (flag,) = scores.flags
    assert BY_KEY[flag].error is error
    with pytest.raises(error):
        scores.raise_for_error()


@pytest.mark.parametrize(("audio", "says"), [(None, "None is not"), (5, "type int is not"), ([], "list is empty")])
def test_objects_that_are_no_recordings_are_refused(predictor: Predictor, audio: Any, says: str) -> None:
    with pytest.raises(errors.UsageError, match=says):
        predictor.score(audio)
    with pytest.raises(errors.UsageError, match=says):
        mtqnet.over_time(audio, model=predictor)


def test_over_time_names_the_file(predictor: Predictor) -> None:
    with pytest.raises(errors.MissingFileError, match=r"^gone\.wav: no such file"):
        mtqnet.over_time("gone.wav", model=predictor)


def test_bad_arrays_get_a_reason_too(predictor: Predictor) -> None:
    for samples in (np.zeros(0), np.zeros(SAMPLE_RATE), np.full(SAMPLE_RATE, np.nan), np.ones(10)):
        assert predictor.score(samples, SAMPLE_RATE).error


def test_mistakes_of_the_caller_raise(predictor: Predictor, good_file: Path) -> None:
    with pytest.raises(UsageError, match="rate"):
        predictor.score(np.zeros(16_000))
    with pytest.raises(UsageError, match=r"array\.T"):
        predictor.score(np.zeros((2, 16_000)), 16_000)
    with pytest.raises(UsageError, match="applies to arrays only"):
        predictor.score(good_file, rate=16_000)
    with pytest.raises(ModelError, match="no model named"):
        mtqnet.score(good_file, model="nonesuch")


def test_files_come_in_order_and_no_file_ends_them(
    predictor: Predictor, bad_files: dict[str, Path], good_file: Path
) -> None:
    paths = [bad_files["text"], good_file, bad_files["missing"], good_file]
    scores = list(predictor.score_files(paths))
    assert [row.file for row in scores] == [str(path) for path in paths]
    assert [row.error is None for row in scores] == [False, True, False, True]


def test_jobs_are_scored_as_rows_are_requested(predictor: Predictor, good_file: Path) -> None:
    def jobs() -> Iterator[Job]:
        yield Job(good_file)
        raise RuntimeError("more than one was taken")

    assert next(predictor.score_jobs(jobs())).error is None


def test_what_nobody_foresaw_becomes_an_error_named_by_its_kind(
    predictor: Predictor, good_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise ZeroDivisionError("surprise\nin two lines")

    monkeypatch.setattr(decoding, "open_source", fail)
    (row,) = predictor.score_files([good_file])
    assert row.error == "ZeroDivisionError: surprise in two lines"


@pytest.mark.parametrize(
    "samples", [[[1.0, 2.0], [3.0]], np.zeros((9000, 0)), io.StringIO("text"), memoryview(b"abcd")[::2]]
)
def test_objects_that_are_no_samples_are_mistakes_of_the_caller(predictor: Predictor, samples: Any) -> None:
    with pytest.raises(UsageError):
        predictor.score(samples, None if isinstance(samples, (io.StringIO, memoryview)) else SAMPLE_RATE)


def test_a_refused_recording_does_not_stay_in_memory(predictor: Predictor) -> None:
    """Its row has the exception, whose traceback would keep the samples."""
    for one in (predictor.score(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE), predictor.score(b"RIFF")):
        error: BaseException | None = one.exception
        assert error is not None
        while error is not None:
            assert error.__traceback__ is None
            error = error.__cause__ or error.__context__


def test_memory_and_keyboard_are_not_swallowed(
    predictor: Predictor, good_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (MemoryError, KeyboardInterrupt):

        def fail(_: Path, kind: type[BaseException] = kind) -> None:
            raise kind

        monkeypatch.setattr(decoding, "open_source", fail)
        with pytest.raises(kind):
            list(predictor.score_files([good_file]))


def test_file_names_that_are_no_text_are_distinguished(predictor: Predictor) -> None:
    scores = predictor.score("caf\udce9.wav")
    assert scores.file is not None
    assert scores.file.encode() == b"caf\\xe9.wav"


def test_other_processes_and_thread_counts_get_the_same(toy_model: Path, good_file: Path) -> None:
    def run(threads: int) -> str:
        load = f"mtqnet.load({str(toy_model)!r}, threads={threads})"
        code = f"import mtqnet; print(repr({load}.score({str(good_file)!r})))"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert run(1) == run(1) == run(2)


def test_a_model_with_few_targets_leaves_the_others_empty(
    make_model: Callable[..., Path], good_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mtqnet.scoring import runtime

    monkeypatch.setattr(runtime, "_check", lambda *_: None)  # the toy graph has six columns
    monkeypatch.setattr(runtime.Runtime, "_check_shapes", lambda *_: None)
    narrow = Predictor(make_model(targets=["g_mos", "s_mos"]))
    run = narrow._runtime.run

    def first_two(clip: Samples) -> runtime.Output:
        output = run(clip)
        return runtime.Output(output.values[:2], output.frames[:, :2], output.causes)

    monkeypatch.setattr(narrow._runtime, "run", first_two)
    scores = narrow.score(good_file)
    six = Predictor(make_model()).score(good_file)
    assert (scores.g_mos, scores.s_mos) == (six.s_mos, six.n_mos)
    assert [scores.value(key) for key in ("n_mos", "pesq_est", "stoi_est", "sdi_est")] == [None] * 4


def test_silence_at_the_ends_is_left_out_and_times_are_those_of_the_recording(predictor: Predictor) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE)
    padded = np.concatenate([np.zeros(2 * SAMPLE_RATE), sound, np.zeros(5 * SAMPLE_RATE)])
    alone, longer = predictor.score(sound, SAMPLE_RATE), predictor.score(padded, SAMPLE_RATE)
    np.testing.assert_allclose(numbers(longer), numbers(alone), atol=0.02)
    assert longer.duration_s == 10.0
    assert longer.track is not None
    assert longer.track.times_s[0] == pytest.approx(2.0, abs=0.05)
    assert longer.track.times_s[-1] == pytest.approx(5.0, abs=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
@pytest.mark.parametrize("name", [b"bad\xff\xfe.wav", b"new\nline.wav", b"return\r.wav", b"lone\xed\xa0\x80.wav"])
@pytest.mark.parametrize("long", [False, True])
def test_a_file_is_scored_whatever_its_name(
    toy_model: Path, voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes, long: bool
) -> None:
    if long:
        monkeypatch.setattr("mtqnet.scoring.predictor.analyse", partial(analyse, hold_s=1.0))
    sf.write(tmp_path / "plain.wav", voice(3.0), SAMPLE_RATE)
    odd = (tmp_path / "plain.wav").rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    scores = Predictor(toy_model).score(odd)
    assert scores.error is None
    assert scores.file is not None
    scores.file.encode()
