"""A HuBERT, WavLM or wav2vec 2.0 as front end is exported to one file that scores without torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import CHANNEL, FAMILIES, model_folder

from mtqnet.scoring.models import find
from mtqnet.scoring.runtime import Runtime
from mtqnet.targets import KEYS
from mtqnet.training.config import EncoderConfig
from mtqnet.training.encoder import load
from mtqnet.training.export import Scorer, export
from mtqnet.training.model import Network

os.environ["HF_HUB_OFFLINE"] = "1"
pytest.importorskip("transformers")


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_graph_has_the_scores_of_torch(family: str, tmp_path: Path) -> None:
    encoder = load(EncoderConfig(str(model_folder(family, tmp_path)), layers=(1, 3), pool=2))
    torch.manual_seed(1)
    network = Network(CHANNEL, KEYS, encoder.width).eval()
    made = export(network, encoder, "tiny", tmp_path / "model", {"licence": "MIT"})
    assert max(made.difference.values()) < 1e-3
    record = find(made.model)
    assert set(record.features) == {"logmel", "wave"}
    rng = np.random.default_rng(0)
    clips = [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in (16_000, 23_456)]
    runtime = Runtime(record)
    for clip in clips:
        np.testing.assert_allclose(runtime.run(clip).values, _by_torch(Scorer(network, encoder), clip), atol=1e-3)


def _by_torch(scorer: Scorer, clip: NDArray[np.float32]) -> NDArray[np.float32]:
    from mtqnet.audio.features import FEATURES

    views = [torch.from_numpy(FEATURES[name].compute(clip))[None] for name in scorer.features]
    with torch.inference_mode():
        values: NDArray[np.float32] = scorer.eval()(*views, torch.tensor([len(clip)]))[0][0].numpy()
    return values
