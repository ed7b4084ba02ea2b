"""The whole chain, small, on generated voices and noise.

Corpus -> labels -> MOSA-Net -> pseudo labels -> MTQ-Net -> encoder and network together -> ONNX -> scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.table import read_clip, read_rows
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import TARGETS
from mtqnet.training import distill, pipeline
from mtqnet.training.config import Config, CorpusConfig, DistillConfig, EncoderConfig, FitConfig, NetworkConfig
from mtqnet.training.data import RunPaths, labels_of
from mtqnet.training.export import load_weights
from mtqnet.training.pipeline import Listener

SPEAKERS, NOISES = 24, 20
VOICE_S = 2.2
USED = frozenset({"RecordedNoise", "WhiteNoise", "ColouredNoise", "Clipping", "Aac", "SpeexDsp", "Playback"})
"""Kinds of processing of this corpus; tests/corpus tests the others. Nearly all time is that of labels, so that few
clips have to suffice, from which all targets can be learnt."""

CONFIG = Config(
    name="tiny",
    seed=5,
    corpus=CorpusConfig(
        ("speech",), ("noise",), train=110, validation=82, test=20, unseen=8, seed=7,
        without=("missing", *sorted(set(STEPS) - USED)),
    ),
    encoder=EncoderConfig(layers=(1,), pool=4),
    network=NetworkConfig(
        conv_channels=(8, 16), time_strides=(4, 2), band_strides=(4, 4), adapter=48, lstm=32, dense=48, dropout=0.0
    ),
    teacher=FitConfig(epochs=25, batch=8, learning_rate=3e-3),
    student=FitConfig(epochs=25, batch=8, learning_rate=3e-3),
    tune_encoder=True,
    tune=FitConfig(epochs=1, steps=8, batch=8, learning_rate=3e-4),
)  # fmt: skip


NOBODY = Listener(lambda *_: None, lambda *_: None)


def noise(seed: int, seconds: float = 6.0) -> NDArray[np.float32]:
    """Coloured noise with its own slope and slow swell."""
    rng = np.random.default_rng(1000 + seed)
    length = round(seconds * SAMPLE_RATE)
    hertz = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 60)
    shape = np.fft.rfft(rng.standard_normal(length)) * hertz ** -rng.uniform(0, 1.2)
    swell = 1 + 0.6 * np.sin(2 * np.pi * rng.uniform(0.2, 3) * np.arange(length) / SAMPLE_RATE)
    sound = np.fft.irfft(shape, length) * swell
    levelled: NDArray[np.float32] = (0.1 * sound / np.sqrt(np.mean(sound**2))).astype(np.float32)
    return levelled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, talker: Callable[..., NDArray[np.float32]]) -> Path:
    """speech/ and noise/ of generated sounds, and the run of the chain on them."""
    root = tmp_path_factory.mktemp("chain")
    (root / "speech").mkdir()
    (root / "noise").mkdir()
    for seed in range(SPEAKERS):
        sf.write(root / "speech" / f"voice{seed:02d}.flac", talker(VOICE_S, seed), SAMPLE_RATE)
    for seed in range(NOISES):
        sf.write(root / "noise" / f"noise{seed:02d}.flac", noise(seed), SAMPLE_RATE)
    pipeline.train(CONFIG, RunPaths(root, root / "run"), NOBODY)
    return root


def test_every_target_beats_the_mean_predictor_on_unseen_voices_and_noises(folder: Path) -> None:
    rows = read_rows(folder / "run/corpus")
    train = labels_of([row for row in rows if row["split"] == "train"], [t.key for t in TARGETS])
    held_out = [row for row in rows if row["split"] != "train"]
    truth = labels_of(held_out, [t.key for t in TARGETS])
    predictor = Predictor(folder / "run/model/tiny.onnx")
    scores = [predictor.score(read_clip(folder / "run/corpus", row), SAMPLE_RATE) for row in held_out]
    assert all(score.error is None for score in scores)
    ratios = []
    for target in TARGETS:
        y = target.compress(truth[target.key])
        by_mean = np.mean((y - target.compress(train[target.key]).mean()) ** 2)
        by_model = np.mean((y - target.compress(np.array([getattr(s, target.key) for s in scores]))) ** 2)
        assert by_model < by_mean, target.key
        ratios.append(by_model / by_mean)
    assert np.mean(ratios) < 0.8, ratios


def test_a_finished_run_is_found_again_and_gives_the_same_model(folder: Path) -> None:
    model = folder / "run/model/tiny.onnx"
    before = model.read_bytes()
    model.unlink()
    pipeline.train(CONFIG, RunPaths(folder, folder / "run"), NOBODY)
    assert model.read_bytes() == before


def test_the_record_contains_figures_of_both_held_out_splits_and_what_made_the_model(folder: Path) -> None:
    record = json.loads((folder / "run/model/tiny.json").read_text())
    assert {(f["split"], f["target"]) for f in record["figures"]} == {
        (split, target.key) for split in ("validation", "calibration", "test", "unseen") for target in TARGETS
    }
    assert {c["kind"].split(":")[0] for c in record["coverage"]} == {"test", "unseen"}
    assert len(record["failures"]) == 2 * 3 * 3
    assert {"RecordedNoise", "Clipping"} <= set(record["kinds"])
    assert record["seed"] == CONFIG.seed
    assert record["config"]["corpus"]["train"] == CONFIG.corpus.train
    assert "3QUEST-style, anchored on public P.835 ratings" in record["labels"]
    assert max(record["parity"].values()) < 1e-3
    assert record["tuned_encoder"] and record["best_epochs"]["end_to_end"] == 1
    assert load_weights(folder / "run/model/tiny.onnx").encoder is not None


def test_scores_of_the_model_carry_intervals(folder: Path) -> None:
    rows = [row for row in read_rows(folder / "run/corpus") if row["split"] == "test"]
    scores = Predictor(folder / "run/model/tiny.onnx").score(
        read_clip(folder / "run/corpus", rows[0]), SAMPLE_RATE
    )
    for target in TARGETS:
        interval, value = scores.intervals[target.key], scores.value(target.key)
        assert value is not None
        assert target.low <= interval.low <= value <= interval.high <= target.high
        assert interval.low < interval.high


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_small_network_is_distilled_from_the_model(weight: float, folder: Path) -> None:
    network = NetworkConfig(front_ends=("logmel",), conv_channels=(8, 8), time_strides=(4, 2), band_strides=(4, 4),
                            lstm=16, dense=16, dropout=0.0)  # fmt: skip
    config = replace(
        CONFIG, name="mini", network=network, tune_encoder=False, student=replace(CONFIG.student, epochs=16),
        distill=DistillConfig(str(folder / "run/model/tiny.onnx"), 0.5, weight),
    )  # fmt: skip
    out = folder / f"mini {weight:g}"
    made = distill.learn(config, RunPaths(folder, out, folder / "run/corpus"), NOBODY)()
    record = json.loads(made.exported.record.read_text())
    assert record["teacher"]["name"] == "tiny"
    assert record["features"] == ["logmel"]
    assert not (out / "corpus").exists()
    assert bool(list(out.glob("teacher/features-*"))) is (weight > 0)
    figures = {f["target"]: f["lcc"] for f in record["figures"] if f["split"] == "test"}
    assert figures["n_mos"] > 0.5
