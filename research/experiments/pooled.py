"""Plain rivals: a speech encoder with mean pooling and a linear head, and ridge regression on log-mel statistics.

The first is what the field calls MOS-SSL (Cooper et al., "Generalization ability of MOS prediction networks",
ICASSP 2022): the encoder's frames, their mean over time, one linear layer; the encoder frozen or fine-tuned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mtqnet.targets import QUEST
from mtqnet.training.batches import Dataset, Labels
from mtqnet.training.config import Config
from mtqnet.training.encoder import SpeechEncoder
from mtqnet.training.evaluation import ridge
from mtqnet.training.model import Output, Trainable, frame_mask, masked_mean

PENALTIES = tuple(10.0**power for power in range(-3, 5))
"""Of the ridge, on statistics of spread 1; chosen on the validation clips"""


class MeanPooled(Trainable):
    """Encoder frames -> one linear layer -> their mean. Linear, so the mean of scores is the score of the mean."""

    def __init__(self, config: Config, targets: Sequence[str], encoder: SpeechEncoder | int) -> None:
        """`encoder` to be fine-tuned, or the width of the stored frames of a frozen one."""
        super().__init__()
        self.config, self.targets = config.encoder, tuple(targets)
        self.encoder = encoder.requires_grad_(True) if isinstance(encoder, SpeechEncoder) else None
        width = encoder.width if isinstance(encoder, SpeechEncoder) else encoder
        self.heads = nn.ModuleDict({"score": nn.Linear(width, len(self.targets))})

    def forward(self, inputs: Mapping[str, Tensor], samples: Tensor) -> Output:
        """Log-mel (fine-tuned) or encoder frames (frozen), sample counts (batch,) -> scores."""
        if self.encoder is not None:
            frames, counts = self.encoder(inputs[self.encoder.feature], samples)
        else:
            frames, counts = inputs["encoder"], inputs["encoder_counts"]
        scores = self.heads["score"](frames) * frame_mask(counts, frames.shape[1])[:, :, None]
        return Output(masked_mean(scores, counts), scores, counts)


class Ridge:
    """S-, N- and G-MOS as weighted sums of the mean and spread of each mel band over time."""

    def __init__(self, train: Dataset, validation: Dataset) -> None:
        """Fit to the labelled clips of `train`; the penalty by the error on `validation`."""
        places = np.flatnonzero(train.labelled)
        x = _statistics(train)[places]
        self.mean, self.spread = x.mean(axis=0), x.std(axis=0) + 1e-9
        x = (x - self.mean) / self.spread
        y = np.stack([t.to_training(train.labels[t.key][places]) for t in QUEST], axis=1)
        self.offset = y.mean(axis=0)
        held_out = (_statistics(validation) - self.mean) / self.spread
        truth = np.stack([t.to_training(validation.labels[t.key]) for t in QUEST], axis=1)
        fits = {penalty: ridge(x, y - self.offset, penalty) for penalty in PENALTIES}
        errors = {p: float(np.mean((held_out @ w + self.offset - truth) ** 2)) for p, w in fits.items()}
        self.penalty = min(errors, key=errors.__getitem__)
        self.weights = fits[self.penalty]

    def predict(self, data: Dataset) -> Labels:
        """S-, N- and G-MOS by target, (clips,) each, not clipped."""
        said = (_statistics(data) - self.mean) / self.spread @ self.weights + self.offset
        return {target.key: target.from_training(said[:, place]) for place, target in enumerate(QUEST)}


def _statistics(data: Dataset) -> NDArray[np.float64]:
    """(clips, 160): mean and standard deviation of each log-mel band."""
    views = [clip.features["logmel"].astype(np.float64) for clip in data.clips]
    return np.array([np.concatenate([view.mean(axis=0), view.std(axis=0)]) for view in views])
