"""Clips whose labels are linear in the mean and spread of their log-mel."""

from __future__ import annotations

import numpy as np

from mtqnet.targets import QUEST
from mtqnet.training.batches import Dataset
from mtqnet.training.features import Clip


def linear(clips: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    level, spread = rng.uniform(-5, -2, clips), rng.uniform(0.2, 1.5, clips)
    views = [
        (level[n] + spread[n] * rng.standard_normal((int(rng.integers(60, 90)), 80))).astype(np.float16)
        for n in range(clips)
    ]
    values = 3 + (level + 3.5) * 0.8 + (spread - 0.85)
    labels = {target.key: np.clip(values + 0.1 * place, 1, 5) for place, target in enumerate(QUEST)}
    return Dataset([Clip(160 * len(view), {"logmel": view}) for view in views], labels)
