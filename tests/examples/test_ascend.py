"""What the judge is worth as a loss: through gains it leads to better sound, through free samples to a better
score alone. With the shipped model where it has weights to differentiate, else with the one in candidates/."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mtqnet.scoring import models
from mtqnet.signal import audio
from mtqnet.torch import ScoreModule
from mtqnet.training import encoder as encoders
from mtqnet.training.config import EncoderConfig, NetworkConfig, build
from mtqnet.training.export import export
from mtqnet.training.frontend import FrontEnd
from mtqnet.training.network import Network

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = models.WEIGHTS / "base.safetensors"
CANDIDATE = ROOT / "candidates/base"
SAMPLES = 40_000
STEPS = 20


@pytest.fixture(scope="module")
def ascend() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples"))
        return importlib.import_module("ascend")


def exported(source: Path, folder: Path) -> Path:
    """A model of which only weights and record are kept."""
    told = json.loads((source / "base.json").read_text())
    dimensions = build(NetworkConfig, told["config"]["network"], "network")
    front_end = FrontEnd.under(dimensions, build(EncoderConfig, told["config"]["encoder"], "encoder"))
    encoder = encoders.load(front_end.encoder) if front_end.encoder else None
    network = Network(dimensions, tuple(told["targets"]), encoder.width if encoder is not None else 0)
    network.load_state_dict(load_file(source / "base.safetensors"))
    export(network.eval(), encoder, "base", folder, {"licence": told["licence"], "config": told["config"]})
    return folder


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> ScoreModule:
    if SHIPPED.is_file():
        return ScoreModule("base", ["g_mos"])
    if not CANDIDATE.is_dir():
        pytest.skip("no model here has weights to differentiate")
    return ScoreModule(exported(CANDIDATE, tmp_path_factory.mktemp("base")), ["g_mos"])


@pytest.mark.shared
@pytest.mark.parametrize("name", ["p232_003.flac", "p232_005.flac"])
def test_through_gains_the_sound_is_better_and_through_samples_only_the_score(
    ascend: ModuleType, judge: ScoreModule, shared_data: Path, name: str
) -> None:
    """docs/judge.md has what was measured with the model of candidates/."""
    folder = shared_data / "pairs_voicebank_demand_cmgan"
    clean, noisy = (
        torch.from_numpy(np.array(audio.read(folder / kind / name).samples))[:SAMPLES]
        for kind in ("clean", "noisy")
    )
    found = ascend.ways_up(judge, clean, noisy, STEPS)
    before, gains, samples = found["noisy"], found["gains"], found["samples"]
    assert gains.g_mos > before.g_mos + 0.05 and samples.g_mos > gains.g_mos
    assert gains.si_sdr > before.si_sdr + 0.1
    assert samples.si_sdr < before.si_sdr + 0.05 and samples.stoi < before.stoi
