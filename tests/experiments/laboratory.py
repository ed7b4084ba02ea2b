"""Material for the experiments: two dozen clips of generated voices and noises, and generated ratings."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.training.config import Config, CorpusConfig, EncoderConfig, FitConfig, NetworkConfig
from mtqnet.training.data import RunPaths, build_corpus
from research.experiments import schedule
from research.experiments.arms import Lab
from research.experiments.material import RATED, Material
from research.experiments.study import Arm, Study, Table

FIT = FitConfig(epochs=2, steps=3, batch=4, unlabelled_batch=4)
BASE = Config(
    "tiny",
    CorpusConfig(("speech",), ("noise",), train=12, validation=6, test=6, unseen=4, without=("missing",)),
    encoder=EncoderConfig(layers=(1,), pool=4),
    network=NetworkConfig(
        conv_channels=(4, 4), time_strides=(4, 2), band_strides=(4, 4), adapter=8, lstm=6, dense=8
    ),
    teacher=FIT,
    student=FIT,
)
ARMS = {
    "teacher": Arm("MOSA-Net", kind="teacher"),
    "scratch": Arm("three heads", labelled=5),
    "transfer": Arm("from the teacher", labelled=5, change={"transfer": True, "student": {"frozen_epochs": 1}}),
    "mpl": Arm("six heads", labelled=5, objective="pseudo", unlabelled=True),
    "true": Arm("true labels", labelled=5, objective="true", unlabelled=True),
    "noisy": Arm(
        "few raters", labelled=5, objective="pseudo", unlabelled=True, rater_noise=True, against=("mpl", "true")
    ),
    "frozen": Arm(
        "mean pooling", kind="mean_pool", labelled=5, change={"network": {"front_ends": ["encoder"]}}
    ),
    "tuned": Arm(
        "fine-tuned", kind="fine_tuned", labelled=5,
        change={"network": {"front_ends": ["logmel"]}, "student": {"epochs": 1, "steps": 1}},
    ),
    "spectrum": Arm(
        "spectrum alone", labelled=5, change={"network": {"front_ends": ["spectrum"], "peak_normalise": True}}
    ),
    "ridge": Arm("ridge", kind="ridge", labelled=0, change={"network": {"front_ends": ["logmel"]}}),
}  # fmt: skip
TABLE = Table("tiny", "Tiny", "Does it run?", "scratch", ARMS)
SEEDS = 2


def silent(_name: str, _done: int, _total: int) -> None: ...


def write_rated(data: Path, talker: Callable[..., NDArray[np.float32]]) -> None:
    """The three rated sets with three recordings each, one of them at 8 kHz; the ratings are generated."""
    for number, rated in enumerate(RATED.values()):
        folder = data / rated.folder
        folder.mkdir(parents=True)
        rows = []
        for clip in range(3):
            sf.write(
                folder / f"{clip}.flac", talker(2.0, 100 * number + clip), 8000 if number == 1 else SAMPLE_RATE
            )
            votes = dict.fromkeys(rated.columns.values(), 1 + clip if rated.is_mos else 20 + 30 * clip)
            rows.append({"file": f"{clip}.flac", **votes})
        with (folder / rated.table).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def made(root: Path, talker: Callable[..., NDArray[np.float32]]) -> Lab:
    """The material, before any run."""
    (root / "data/speech").mkdir(parents=True)
    (root / "data/noise").mkdir()
    for seed in range(30):
        sf.write(root / f"data/speech/voice{seed:02d}.flac", talker(3.0, seed), SAMPLE_RATE)
        noise = 0.1 * np.random.default_rng(seed).standard_normal(2 * SAMPLE_RATE)
        sf.write(root / f"data/noise/noise{seed:02d}.flac", noise, SAMPLE_RATE)
    write_rated(root / "data", talker)
    build_corpus(BASE.corpus, RunPaths(root / "data", root / "out"), silent)
    material = Material(root / "out/corpus", root / "data", root / "out/features")
    return Lab(BASE, material, root / "out", material.digest())


def run_all(lab: Lab) -> None:
    """All arms with SEEDS seeds."""
    schedule.run_all(lab, Study(BASE, {"tiny": TABLE}), SEEDS, 2, silent, lambda *_: None)
