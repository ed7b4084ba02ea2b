"""Scores as metrics for training loops, after the interface of torchmetrics.

>>> from mtqnet.integrations.metric import GMOS, SpeechQuality                    # doctest: +SKIP
>>> metric = GMOS(fs=16000)                                          # doctest: +SKIP
>>> metric.update(enhanced)                    # (batch, samples)    # doctest: +SKIP
>>> metric.compute(), metric.per_file          # mean, and each      # doctest: +SKIP

They are subclasses of torchmetrics.Metric: they move between devices, synchronise between processes and can be part
of a MetricCollection. They have no gradient; `mtqnet.integrations.torch` has one. Needs the extra `[metric]`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mtqnet.errors import missing_extra

try:
    import torch
    from torchmetrics import Metric
except ImportError as error:  # pragma: no cover - depends on what is installed
    raise missing_extra("mtqnet.integrations.metric", "metric") from error

from torch import Tensor

from mtqnet.errors import UsageError
from mtqnet.scoring import predictor
from mtqnet.targets import named

__all__ = ["GMOS", "NMOS", "PESQ", "SDI", "SMOS", "STOI", "SpeechQuality"]


class _Scored(Metric):  # type: ignore[misc, unused-ignore]  # torchmetrics has no type information
    """Sums and counts of some targets, and the scores of every file."""

    is_differentiable: bool | None = False
    higher_is_better: bool | None = None
    full_state_update: bool | None = False

    total: Tensor
    scored: Tensor
    unscored: Tensor
    values: list[Tensor] | Tensor
    """Rows of each update; one tensor after a synchronisation between processes"""

    def __init__(
        self, fs: int, targets: Sequence[str], model: str | os.PathLike[str] = "base", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.fs, self.model, self.targets = fs, os.fspath(model), tuple(targets)
        self.add_state("total", torch.zeros(len(self.targets)), dist_reduce_fx="sum")
        self.add_state("scored", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("unscored", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("values", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, lengths: Sequence[int] | Tensor | None = None) -> None:
        """Score recordings.

        A recording that cannot be scored (silent, too short) is not part of the mean. It is counted in `unscored`,
        and its row of `per_file` is NaN.

        Args:
            preds: Shape (batch, samples), or (samples,) for one recording.
            lengths: Number of samples of each recording, if shorter ones are padded at the end.

        Raises:
            UsageError: Another shape.
        """
        rows = torch.stack([self._row(clip) for clip in _clips(preds, lengths)])
        known = rows[~rows.isnan().any(dim=1)]
        self.total = self.total + _compressed(known, self.targets).sum(dim=0).to(self.total)
        self.scored = self.scored + len(known)
        self.unscored = self.unscored + (len(rows) - len(known))
        assert isinstance(self.values, list)  # updates come before a synchronisation, or after it was undone
        self.values.append(rows.to(self.total.device))

    @property
    def per_file(self) -> Tensor:
        """(files, targets) in the order of the updates, each in its own unit; NaN for one without a score."""
        values = self.values
        if isinstance(values, Tensor):
            return values
        return torch.cat(values) if values else torch.empty(0, len(self.targets))

    def _means(self) -> dict[str, Tensor]:
        means = self.total / self.scored
        return {t.key: 10 ** means[i] if t.log else means[i] for i, t in enumerate(named(self.targets))}

    def _row(self, clip: Tensor) -> Tensor:
        # by its name each time: a loaded model could be neither copied nor sent to another process
        samples = clip.detach().cpu()
        if samples.is_floating_point():  # numpy has no bfloat16; integers are scaled by `score`
            samples = samples.to(torch.float32)
        scores = predictor.cached(self.model).score(samples.numpy(), self.fs)
        values = [scores.value(key) for key in self.targets]
        missing = [key for key, value in zip(self.targets, values, strict=True) if value is None]
        if scores.error is None and missing:
            raise UsageError(f"{scores.model} has no score {missing[0]!r}")
        return torch.tensor([float("nan") if value is None else value for value in values])


class SpeechQuality(_Scored):
    """All scores of a model at once: `compute` returns a dictionary of means by target.

    The mean of SDI is geometric, because its scale is logarithmic. `higher_is_better` is None, because lower is
    better for SDI and higher for the other scores.
    """

    def __init__(self, fs: int, model: str | os.PathLike[str] = "base", **kwargs: Any) -> None:
        """Set up the metric.

        Args:
            fs: Sample rate in Hz.
            model: Name of a shipped model, or path of your own.
            **kwargs: Arguments of torchmetrics.Metric.

        Raises:
            ModelError: The model is missing, damaged or incompatible.
        """
        super().__init__(fs, predictor.cached(model).record.targets, model, **kwargs)

    def compute(self) -> dict[str, Tensor]:
        """The mean over all scored recordings, by target: scalars; NaN if no recording was scored."""
        return self._means()


class _One(_Scored):
    """One target. Every such metric scores the recordings again: use SpeechQuality for several targets."""

    key: str

    def __init__(self, fs: int, model: str | os.PathLike[str] = "base", **kwargs: Any) -> None:
        """Set up the metric.

        Args:
            fs: Sample rate in Hz.
            model: Name of a shipped model, or path of your own. It is loaded by the first `update`, which may raise
                ModelError.
            **kwargs: Arguments of torchmetrics.Metric.
        """
        super().__init__(fs, (self.key,), model, **kwargs)

    def compute(self) -> Tensor:
        """The mean over all scored recordings, a scalar; NaN if no recording was scored."""
        return self._means()[self.key]


class SMOS(_One):
    """Mean S-MOS: quality of the speech signal, 1 to 5."""

    key, higher_is_better = "s_mos", True


class NMOS(_One):
    """Mean N-MOS: absence of disturbing background noise, 1 to 5."""

    key, higher_is_better = "n_mos", True


class GMOS(_One):
    """Mean G-MOS: overall quality, 1 to 5."""

    key, higher_is_better = "g_mos", True


class PESQ(_One):
    """Mean of the estimate of wideband PESQ, 1 to 4.64."""

    key, higher_is_better = "pesq_est", True


class STOI(_One):
    """Mean of the estimate of STOI, 0 to 1."""

    key, higher_is_better = "stoi_est", True


class SDI(_One):
    """Geometric mean of the estimate of the speech distortion index (SDI), 0.0001 to 10; lower is better."""

    key, higher_is_better = "sdi_est", False


def _compressed(rows: Tensor, keys: Sequence[str]) -> Tensor:
    """(files, targets): log10 of logarithmic targets."""
    columns = [rows[:, i].log10() if t.log else rows[:, i] for i, t in enumerate(named(list(keys)))]
    return torch.stack(columns, dim=1)


def _clips(preds: Tensor, lengths: Sequence[int] | Tensor | None) -> list[Tensor]:
    batch = preds[None] if preds.ndim == 1 else preds
    if batch.ndim != 2 or not len(batch):
        raise UsageError(f"expected (batch, samples) or (samples,), got {tuple(preds.shape)}")
    counts = [batch.shape[1]] * len(batch) if lengths is None else [int(n) for n in lengths]
    if len(counts) != len(batch):
        raise UsageError(f"{len(counts)} lengths for {len(batch)} recordings")
    return [clip[:n] for clip, n in zip(batch, counts, strict=True)]
