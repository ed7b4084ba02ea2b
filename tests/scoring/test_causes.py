"""Causes of low quality in results, and frame scores of a model that follows changes within a window."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import mtqnet
from command_line import call
from mtqnet.audio.resampling import Samples
from mtqnet.causes import CAUSE_KEYS, Calibration, calibrated, describe, pooled, stretches
from mtqnet.errors import ModelError
from mtqnet.scoring import tables
from mtqnet.scoring.over_time import HOP_S
from mtqnet.scoring.predictor import Predictor

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny_model

    folder = tiny_model.write(tmp_path_factory.mktemp("models") / "little", "causes")
    record = json.loads((folder / "little.json").read_text())
    record["causes"]["noise"] = {"slope": 2.0, "offset": -1.0}
    (folder / "little.json").write_text(json.dumps(record))
    return folder


def test_a_recording_has_a_probability_for_each_cause(model: Path, voice: Callable[..., Samples]) -> None:
    scores = Predictor(str(model)).score(voice(3.0), 16000)
    assert tuple(scores.causes) == CAUSE_KEYS and all(0 <= p <= 1 for p in scores.causes.values())
    assert scores.track is not None and scores.track.causes is not None
    assert scores.track.causes.shape == (len(scores.track.times_s), len(CAUSE_KEYS))
    assert scores.track.cause_keys == CAUSE_KEYS


def test_probabilities_are_calibrated_by_the_record(model: Path, voice: Callable[..., Samples]) -> None:
    predictor = Predictor(str(model))
    raw = predictor._runtime.run(voice(3.0)).causes
    assert raw is not None
    expected = 1 / (1 + np.exp(1 - 2 * np.log(pooled(raw)[0] / (1 - pooled(raw)[0]))))
    assert predictor.score(voice(3.0), 16000).causes["noise"] == pytest.approx(expected, abs=1e-6)


def test_causes_of_a_long_recording_are_those_of_all_its_frames(
    model: Path, voice: Callable[..., Samples]
) -> None:
    scores = Predictor(str(model)).score(voice(23.0), 16000)
    assert scores.track is not None and scores.track.causes is not None and len(scores.windows) == 3
    clipping = pooled(scores.track.causes)[CAUSE_KEYS.index("clipping")]
    assert scores.causes["clipping"] == pytest.approx(clipping, abs=1e-6)


def test_a_predictor_without_tracks_has_the_same_causes(model: Path, voice: Callable[..., Samples]) -> None:
    with_track, without = (Predictor(str(model), track=keep).score(voice(3.0), 16000) for keep in (True, False))
    assert with_track.causes == without.causes and without.track is None


def test_models_without_causes_have_none(toy_model: Path, voice: Callable[..., Samples]) -> None:
    scores = Predictor(str(toy_model)).score(voice(3.0), 16000)
    assert scores.causes == {} and scores.cause == ""


def test_scores_over_time_are_means_of_the_frames(model: Path, voice: Callable[..., Samples]) -> None:
    samples = voice(12.2)
    track = mtqnet.over_time(samples, 16000, model=model)
    frames = Predictor(str(model)).score(samples, 16000).track
    assert frames is not None and frames.causes is not None and track.causes is not None
    inside = (frames.times_s >= 2 * track_hop(12.2)) & (frames.times_s < 3 * track_hop(12.2))
    np.testing.assert_allclose(track.values[2], frames.values[inside].mean(axis=0))
    np.testing.assert_allclose(track.causes[2], frames.causes[inside].mean(axis=0))
    assert len(track.times_s) == 25


def track_hop(seconds: float) -> float:
    return seconds / math.ceil(seconds / HOP_S)


@pytest.mark.parametrize("causes", [{"hum": {"slope": 1, "offset": 0}}, {"noise": {"slope": 1}}, {"noise": 3}])
def test_records_with_wrong_causes_are_refused(make_model: Callable[..., Path], causes: object) -> None:
    with pytest.raises(ModelError):
        Predictor(str(make_model(causes=causes)))


def test_a_graph_without_the_output_is_refused(make_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="do not agree on causes"):
        Predictor(str(make_model(causes={"noise": {"slope": 1.0, "offset": 0.0}})))


def test_a_short_event_counts() -> None:
    frames = np.zeros((100, 1)) + 0.01
    frames[40:45] = 0.95
    assert calibrated(frames, {"packet_loss": Calibration()})["packet_loss"] > 0.7
    assert calibrated(frames * 0.02, {"packet_loss": Calibration()})["packet_loss"] < 0.1


def test_sentence_names_causes_positions_and_a_remedy() -> None:
    times = np.asarray((np.arange(100) + 0.5) * 0.08, dtype=np.float64)
    frames = np.zeros((100, len(CAUSE_KEYS)))
    frames[40:63, CAUSE_KEYS.index("packet_loss")] = 0.9
    frames[:, CAUSE_KEYS.index("coding")] = 0.8
    text = describe({"packet_loss": 0.9, "coding": 0.8, "noise": 0.1}, times, frames)
    assert text.startswith("Packet loss or dropouts between 0:03.2 and 0:05.0, coding. Check the network")
    assert describe({"noise": 0.2}, times, frames) == ""


def test_stretches_are_ordered_by_length_and_short_ones_are_omitted() -> None:
    times = np.asarray((np.arange(50) + 0.5) * 0.1, dtype=np.float64)
    present = np.zeros(50)
    present[[3, *range(10, 15), *range(20, 40)]] = 1
    np.testing.assert_allclose(np.array(stretches(times, present)), [(2.0, 4.0), (1.0, 1.5)])
    assert stretches(times[:1], present[:1]) == []


def test_intervals_widen_with_the_distance_from_the_training_clips(
    model: Path, voice: Callable[..., Samples], tmp_path: Path
) -> None:
    from mtqnet.scoring.intervals import Band, Intervals, as_json
    from mtqnet.targets import KEYS

    weights = (*[0.0] * 28, 0.5)
    bands = {key: Band(weights, -9.0, 9.0, 0.1) for key in KEYS}
    folder = tmp_path / "little"
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    record = json.loads((folder / "little.json").read_text())
    record["intervals"] = as_json(Intervals(0.9, bands))
    (folder / "little.json").write_text(json.dumps(record))
    scores = Predictor(str(folder)).score(voice(3.0), 16000)
    assert scores.distance is not None and scores.distance > 0
    interval = scores.intervals["g_mos"]
    assert interval.high - interval.low == pytest.approx(0.2 * math.sqrt(scores.distance), rel=1e-3)


def test_tables_with_causes_have_a_column_for_each(
    model: Path, voice: Callable[..., Samples], tmp_path: Path
) -> None:
    scores = Predictor(str(model), track=False).score(voice(12.0), 16000)
    layout = tables.with_causes(tables.WINDOWS)
    rows = layout.rows(scores)
    assert len(rows) == 2 and tuple(rows[0]) == layout.columns
    assert rows[1]["cause_coding"] == round(scores.causes["coding"], 4)
    with tables.create(tmp_path / "table.parquet", layout) as table:
        table.write(scores)
    read = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "table.parquet")
    assert read.column("cause_noise").to_pylist() == [rows[0]["cause_noise"]] * 2


def test_sentence_does_not_need_a_track(model: Path, voice: Callable[..., Samples]) -> None:
    with_track, without = (Predictor(str(model), track=keep).score(voice(3.0), 16000) for keep in (True, False))
    assert with_track.cause == without.cause
    assert bool(without.cause) == any(p >= 0.5 for p in without.causes.values())


def test_command_prints_a_sentence_and_refuses_a_model_without_causes(
    model: Path, toy_model: Path, tmp_path: Path, voice: Callable[..., Samples]
) -> None:
    file = tmp_path / "a.wav"
    sf.write(file, voice(2.0), 16000)
    run = call("score", file, "--model", model, "--causes", "-j", "1", terminal=True)
    assert run.returncode == 0 and "a.wav: " in run.stdout
    assert call("score", file, "--model", toy_model, "--causes").returncode == 2
