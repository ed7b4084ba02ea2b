"""What the judge is worth as a loss: through gains it leads to better sound, through free samples to a better
score alone."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mtqnet.audio import reading
from mtqnet.integrations.torch import ScoreModule

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 40_000
STEPS = 20


@pytest.fixture(scope="module")
def ascend() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples"))
        return importlib.import_module("ascend")


@pytest.fixture(scope="module")
def judge() -> ScoreModule:
    return ScoreModule("base", ["g_mos"])


@pytest.mark.shared
@pytest.mark.parametrize("name", ["p232_003.flac", "p232_005.flac"])
def test_through_gains_the_sound_is_better_and_through_samples_only_the_score(
    ascend: ModuleType, judge: ScoreModule, shared_data: Path, name: str
) -> None:
    """docs/judge.md has what was measured."""
    folder = shared_data / "pairs_voicebank_demand_cmgan"
    clean, noisy = (
        torch.from_numpy(np.array(reading.read(folder / kind / name).samples))[:SAMPLES]
        for kind in ("clean", "noisy")
    )
    found = ascend.ways_up(judge, clean, noisy, STEPS)
    before, gains, samples = found["noisy"], found["gains"], found["samples"]
    assert gains.g_mos > before.g_mos + 0.05 and samples.g_mos > gains.g_mos
    assert gains.si_sdr > before.si_sdr + 0.05
    assert samples.si_sdr < before.si_sdr + 0.05 and samples.stoi < gains.stoi
