"""Recordings in all forms of Python data have the same scores or a clear error."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

import mtqnet
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import AudioError, TooShortError, UsageError
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import COLUMNS, Results, Scores
from mtqnet.targets import KEYS


@pytest.fixture(scope="module")
def predictor(toy_model: Path) -> Predictor:
    return Predictor(toy_model, threads=1)


@pytest.fixture(scope="module")
def expected(predictor: Predictor, good_file: Path) -> float:
    value = predictor.score(good_file).g_mos
    assert value is not None
    return value


def test_files_in_every_form(predictor: Predictor, good_file: Path, expected: float) -> None:
    content = good_file.read_bytes()
    with good_file.open("rb") as stream:
        for audio in (str(good_file), content, bytearray(content), io.BytesIO(content), stream):
            assert predictor.score(audio).g_mos == expected


ARRAYS: dict[str, Callable[[Samples], Any]] = {
    "float64": lambda x: x.astype(np.float64),
    "list": lambda x: x.tolist(),
    "(1, n)": lambda x: x[None],
    "(n, 1)": lambda x: x[:, None],
    "two equal channels": lambda x: np.stack([x, x], axis=1),
    "negative strides": lambda x: x[::-1].copy()[::-1],
    "int16": lambda x: np.round(x * 2**15).astype(np.int16),
    "big-endian int16": lambda x: np.round(x * 2**15).astype(">i2"),
    "int32": lambda x: np.round(x.astype(np.float64) * 2**31).astype(np.int32),
    "series": pd.Series,
}


@pytest.mark.parametrize("form", ARRAYS)
def test_samples_in_every_form(predictor: Predictor, good_file: Path, expected: float, form: str) -> None:
    samples, rate = sf.read(good_file, dtype="float32")
    assert predictor.score(ARRAYS[form](samples), rate).g_mos == pytest.approx(expected, abs=1e-3)


def test_tensors(predictor: Predictor, good_file: Path, expected: float) -> None:
    torch = pytest.importorskip("torch")
    samples, rate = sf.read(good_file, dtype="float32")
    tensor = torch.tensor(samples)
    for form in (tensor, tensor[None], tensor.double(), tensor.requires_grad_(), (tensor * 2**15).round().short()):
        assert predictor.score(form, rate).g_mos == pytest.approx(expected, abs=1e-3)
    assert predictor.score(tensor.detach().bfloat16(), rate).g_mos == pytest.approx(expected, abs=0.2)  # 8 bits


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros(16_000), None, "sample rate"),
        (np.zeros(16_000), "fast", "not a number"),
        (np.zeros(16_000), 10**20, "outside"),
        (np.zeros(16_000), 16, "outside"),
        (np.zeros((2, 16_000)), 16_000, r"array\.T"),
        (np.zeros((1, 16_000, 1)), 16_000, "shape"),
        (np.zeros(16_000, complex), 16_000, "complex"),
        (np.zeros(16_000, bool), 16_000, "bool"),
        (None, 16_000, "object"),
        (b"RIFF", 16_000, "arrays only"),
    ],
)
def test_invalid_arguments_are_usage_errors(predictor: Predictor, audio: Any, rate: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        predictor.score(audio, rate)


@pytest.mark.parametrize(
    "path", ["http://127.0.0.1:9/a.wav", "s3://bucket/a.wav", "~/a.wav", "a\0b.wav", "\ud800"]
)
def test_paths_that_do_not_exist_are_errors_of_the_recording(predictor: Predictor, path: str) -> None:
    assert predictor.score(path).error


def test_channels(predictor: Predictor, voice: Callable[..., Samples], tmp_path: Path) -> None:
    left, right = voice(2.0), voice(2.0, level_db=-40, seed=5)
    sf.write(tmp_path / "call.wav", np.stack([left, right], axis=1), SAMPLE_RATE, subtype="FLOAT")
    for audio, rate in ((tmp_path / "call.wav", None), (np.stack([left, right], axis=1), SAMPLE_RATE)):
        both = predictor.score(audio, rate, channels="each")
        assert isinstance(both, Results)
        assert [row.channel for row in both] == [1, 2]
        for number, samples in enumerate((left, right), start=1):
            single = predictor.score(samples, SAMPLE_RATE)
            assert both[number - 1].g_mos == pytest.approx(single.g_mos, abs=1e-5)
            assert predictor.score(audio, rate, channels=number).channel == number
        assert predictor.score(audio, rate).channel is None
    for channels in (0, 3, -1, "left", True):
        with pytest.raises(UsageError, match="channel"):
            predictor.score(tmp_path / "call.wav", channels=channels)  # type: ignore[arg-type]
    (row,) = predictor.score_files([tmp_path / "call.wav"], channels=3)
    assert row.error is not None and "channel" in row.error


def test_a_folder_or_a_list_gives_results(good_file: Path, bad_files: dict[str, Path], toy_model: Path) -> None:
    paths = [good_file, bad_files["silent"], good_file]
    results = mtqnet.score(paths, model=toy_model)
    assert isinstance(results, Results)
    assert [row.file for row in results] == list(map(str, paths))
    folder = mtqnet.score(good_file.parent, model=toy_model)
    assert isinstance(folder, Results) and len(folder) == 1
    assert isinstance(mtqnet.score(good_file, model=toy_model), Scores)


def test_processes_and_progress_change_nothing(
    predictor: Predictor,
    good_file: Path,
    bad_files: dict[str, Path],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mtqnet.scoring.batch.LINE_S", 0.0)  # a line after each recording
    paths = [good_file, bad_files["text"]]
    assert list(predictor.score_files(paths, jobs=2, progress=True)) == list(predictor.score_files(paths, jobs=1))
    assert "scored 2 of 2" in "".join(capfd.readouterr())
    assert len(predictor.score_files(good_file)) == 1
    with pytest.raises(UsageError, match="empty"):
        predictor.score_files([""])


def test_results_are_a_sequence_a_frame_and_a_page(predictor: Predictor, good_file: Path) -> None:
    good = predictor.score(good_file)
    results = Results((good, Scores(file="<b>.wav", error="no <such> file"), Scores(file="c.wav", g_mos=1.0)))
    assert (len(results), results[0], len(results[:2])) == (3, good, 2)
    assert [row.file for row in results.sorted_by("g_mos")] == ["c.wav", str(good_file), "<b>.wav"]
    assert (len(results.scored), len(results.failed)) == (2, 1)
    assert results.mean()["g_mos"] == pytest.approx(((good.g_mos or 0) + 1) / 2)
    with pytest.raises(UsageError, match="sort key"):
        results.sorted_by("quality")
    frame = results.to_frame()
    assert tuple(frame.columns) == COLUMNS
    assert frame.g_mos.dtype == np.float64 and frame.g_mos.isna().tolist() == [False, True, False]
    page = results._repr_html_()
    assert "&lt;b&gt;.wav" in page and "<b>.wav" not in page and "mean of 2" in page
    assert len(repr(results)) < 100 and len(repr(good)) < 300
    assert "S-MOS" in good._repr_html_() and "no &lt;such&gt; file" in results[1]._repr_html_()


def test_without_pandas_and_polars_to_frame_states_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        Results(()).to_frame()


def test_a_predictor_can_be_copied_and_pickled(predictor: Predictor, good_file: Path, expected: float) -> None:
    for other in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor)):
        assert other.score(good_file).g_mos == expected
        assert repr(other) == "Predictor('toy')"


def test_over_time_raises_where_it_has_no_values(voice: Callable[..., Samples], toy_model: Path) -> None:
    with pytest.raises(TooShortError, match="more than 3 s"):
        mtqnet.over_time(voice(2.0), SAMPLE_RATE, model=toy_model)
    silence = np.zeros(8 * SAMPLE_RATE)
    silence[: SAMPLE_RATE // 100] = 0.5
    with pytest.raises(AudioError, match="stretches"):
        mtqnet.over_time(silence, SAMPLE_RATE, model=toy_model)
    assert len(mtqnet.over_time(voice(4.0)[None], SAMPLE_RATE, model=toy_model).times_s) == 8


def test_scoring_a_tensor_does_not_import_torch(toy_model: Path) -> None:
    code = (
        "import sys, numpy as np, mtqnet\n"
        "class Tensor:\n"
        "    dtype = 'torch.float32'\n"
        "    def detach(self): return self\n"
        "    def cpu(self): return self\n"
        "    def numpy(self): return np.random.default_rng(0).standard_normal(16000) / 9\n"
        "assert mtqnet.score(Tensor(), 16000, model=sys.argv[1]).error is None\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(toy_model)], check=True)


def test_keys_of_the_frame_are_documented() -> None:
    assert set(KEYS) < set(mtqnet.COLUMNS)
