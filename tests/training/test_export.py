"""The exported file has the scores of torch, alone and in batches, and a changed file is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray

from mtqnet.audio.features import FEATURES, peak_normalised
from mtqnet.audio.windows import pad
from mtqnet.errors import ModelError
from mtqnet.scoring import models
from mtqnet.scoring.runtime import Runtime
from mtqnet.targets import KEYS, TARGETS
from mtqnet.training import export as exporting
from mtqnet.training.config import NetworkConfig
from mtqnet.training.encoder import SpeechEncoder
from mtqnet.training.export import PARITY, Exported, Scorer, export
from mtqnet.training.model import Network

Samples = NDArray[np.float32]

LENGTHS = (16_000, 9_999, 24_321, 12_801, 20_480, 8_064)
"""Samples: whole frames of 160, 256 and 320, and parts of them"""
ABOUT = {"licence": "MIT", "seed": 3}


@dataclass(frozen=True)
class Case:
    """An exported network and the original in torch."""

    scorer: Scorer
    made: Exported
    runtime: Runtime

    def torch(self, clips: list[Samples]) -> NDArray[np.float64]:
        scaled = [peak_normalised(clip) for clip in clips] if self.scorer.network.config.peak_normalise else clips
        views = [pad([FEATURES[name].compute(clip) for clip in scaled])[0] for name in self.scorer.features]
        with torch.inference_mode():
            output = self.scorer(*map(torch.from_numpy, views), torch.tensor([len(clip) for clip in clips]))
        return np.asarray(output[0].numpy(), dtype=np.float64)


def encoder_of(kind: str) -> SpeechEncoder | None:
    return None if kind == "plain" else tiny.whisper()


@pytest.fixture(scope="module", params=tiny.KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Without encoder; log-mel or spectrum together with Whisper."""
    kind = request.param
    encoder = encoder_of(kind)
    torch.manual_seed(1)
    network = Network(tiny.KINDS[kind], KEYS, encoder.width if encoder is not None else 0).eval()
    made = export(network, encoder, "small", tmp_path_factory.mktemp(kind), ABOUT)
    return Case(Scorer(network, encoder).eval(), made, Runtime(models.find(made.model), threads=1))


@pytest.fixture(scope="module")
def clips(voice: Callable[..., Samples]) -> list[Samples]:
    whole = voice(2.0)
    noise = np.float32(0.003) * np.random.default_rng(0).standard_normal(len(whole), dtype=np.float32)
    return [(whole + noise)[:length] for length in LENGTHS]


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Case:
    encoder = tiny.whisper()
    torch.manual_seed(1)
    network = Network(tiny.KINDS["channel"], KEYS, encoder.width).eval()
    made = export(network, encoder, "small", tmp_path_factory.mktemp("int8"), ABOUT, int8=True)
    return Case(Scorer(network, encoder).eval(), made, Runtime(models.find(made.model), threads=1))


def test_eight_bit_scores_differ_little(int8: Case, clips: list[Samples]) -> None:
    import onnx

    kinds = {node.op_type for node in onnx.load(int8.made.model).graph.node}
    assert "MatMulInteger" in kinds
    record = json.loads(int8.made.record.read_text())
    assert record["int8"]
    scores = np.stack([int8.runtime.run(clip).values for clip in clips])
    for index, clip in enumerate(clips):
        expected = int8.torch([clip])[0]
        for target, a, b in zip(TARGETS, scores[index], expected, strict=True):
            difference = abs(target.compress(np.array(a)) - target.compress(np.array(b)))
            assert difference <= exporting.INT8_PARITY
    assert np.abs(scores - int8.torch(clips)).max() > 1e-6  # the arithmetic does differ


def test_scores_equal_those_of_torch_at_any_length_and_in_a_batch(case: Case, clips: list[Samples]) -> None:
    alone = np.stack([case.runtime.run(clip).values for clip in clips])
    for clip, scores in zip(clips, alone, strict=True):
        np.testing.assert_allclose(scores, case.torch([clip])[0], atol=PARITY)
    np.testing.assert_allclose(alone, case.torch(clips), atol=PARITY)


def test_parity_is_recorded_and_small(case: Case) -> None:
    assert set(case.made.difference) == set(KEYS)
    assert max(case.made.difference.values()) < PARITY
    record = json.loads(case.made.record.read_text())
    assert set(record["parity"]) == set(KEYS)
    assert max(record["parity"].values()) < PARITY


def test_record_contains_what_scoring_needs(case: Case) -> None:
    record = json.loads(case.made.record.read_text())
    assert set(record) >= {"name", "targets", "features", "peak_normalise", "frame_rate_hz", "sha256", "licence"}
    assert record["targets"] == list(KEYS)
    assert record["seed"] == 3, "entries of `about` are added"
    assert record["sha256"] == hashlib.sha256(case.made.model.read_bytes()).hexdigest()
    assert record["peak_normalise"] == case.scorer.network.config.peak_normalise
    assert sorted(path.name for path in case.made.model.parent.iterdir()) == [
        "small.json",
        "small.onnx",
        "small.safetensors",
    ]


def test_recorded_frame_rate_is_that_of_the_frames(case: Case, voice: Callable[..., Samples]) -> None:
    rate = models.find(case.made.model).frame_rate_hz
    assert len(case.runtime.run(voice(4.0)).frames) / 4.0 == pytest.approx(rate, abs=0.6)


def test_changed_file_is_refused(case: Case, tmp_path: Path) -> None:
    for file in (case.made.model, case.made.record):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray(case.made.model.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "small.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="is not the file"):
        Runtime(models.find(tmp_path))


def test_graph_with_other_scores_than_torch_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "parity", lambda *_: dict.fromkeys(KEYS, 2 * PARITY))
    with pytest.raises(ModelError, match="differ from those of torch"):
        export(tiny.network(tiny.PLAIN), None, "small", tmp_path, ABOUT)
    assert not list(tmp_path.iterdir())


def test_network_that_cannot_be_exported_is_an_error(tmp_path: Path) -> None:
    network = tiny.network(tiny.PLAIN)
    network.images = Unwritable()  # type: ignore[assignment]
    with pytest.raises(ModelError, match="cannot export this network to ONNX"):
        export(network, None, "small", tmp_path, ABOUT)
    assert not list(tmp_path.iterdir())


class Unwritable(torch.nn.Module):
    """Uses an operator that ONNX does not have."""

    def forward(self, x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.sinc(x)[:, :, :15], rows


def test_parity_check_finds_a_difference(tmp_path: Path) -> None:
    network = tiny.network(tiny.PLAIN)
    made = export(network, None, "small", tmp_path, ABOUT)
    torch.nn.init.constant_(network.heads["n_mos"].score.bias, 0.5)  # type: ignore[arg-type, union-attr]
    difference = exporting.parity(Scorer(network, None).eval(), made.model)
    assert difference["n_mos"] > PARITY > difference["s_mos"]


def test_large_weights_take_two_bytes_each(tmp_path: Path) -> None:
    kind = NetworkConfig(front_ends=("logmel",), lstm=64, dense=64)
    network = tiny.network(kind)
    made = export(network, None, "wide", tmp_path, ABOUT)
    numbers = sum(p.numel() for p in network.parameters())
    assert made.model.stat().st_size < 2.5 * numbers


def test_scores_are_in_the_targets_units(case: Case) -> None:
    """SDI above all: its training scale is a logarithm."""
    scale = np.linspace(-2, 2, 6)
    found = case.scorer._own_units(torch.from_numpy(np.tile(scale[:, None], (1, 6))))
    expected = np.stack([target.from_training(scale) for target in TARGETS], axis=1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
