"""LCC, SRCC and MSE of trainings with several seeds, 95 % intervals, and paired differences between methods.

A figure is uncertain for two reasons: another seed trains another network, and other test recordings give another
correlation. With n seeds, s the standard deviation of the figure between them, and v its variance under resampling
of the test recordings (of the mean over the seeds),

    variance = s^2 / n + v,    interval = mean +- t(df) sqrt(variance)

with the degrees of freedom of Welch and Satterthwaite. For a difference between two methods both parts are paired:
seed by seed, and on the same resampled recordings. Sources: Satterthwaite 1946; Efron and Tibshirani, An Introduction
to the Bootstrap, 1993. `mtqnet train --compare` and the paper's experiments (research/experiments) use this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mtqnet.evaluation.statistics import LEVEL, RESAMPLES, SEED
from mtqnet.targets import Target

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """Agreement of the scores of one training with the labels."""

    lcc: float
    """Pearson; of log10 for SDI"""
    srcc: float
    """Spearman"""
    mse: float
    """In the target's unit, squared; of log10 for SDI; NaN if the labels are on another scale"""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Difference(Interval):
    """One method minus another."""

    p: float
    """Two-sided, of no difference"""


def measure(target: Target, truth: Array, score: Array, is_mos: bool = True) -> Measure:
    """Compare labels and scores, (clips,) each; clips without one of them are ignored."""
    known = ~np.isnan(truth) & ~np.isnan(score)
    y, x = truth[known], target.compress(score[known])
    y = target.compress(y) if is_mos else y
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        lcc = srcc = float("nan")
    else:
        lcc, srcc = float(np.corrcoef(y, x)[0, 1]), float(stats.spearmanr(y, x)[0])
    return Measure(lcc, srcc, float(np.mean((y - x) ** 2)) if is_mos else float("nan"))


@dataclass(frozen=True)
class Resampled:
    """A figure of one method: by seed, and for each resampling of the clips (mean over seeds)."""

    by_seed: Array
    """(seeds,)"""
    by_draw: Array
    """(RESAMPLES,)"""


def mean_lcc(
    targets: Sequence[Target],
    truth: Mapping[str, Array],
    runs: Sequence[Mapping[str, Array]],
    is_mos: bool = True,
    clips: NDArray[np.bool_] | np.bool_ = np.True_,
) -> Resampled:
    """Compute the LCC, averaged over the targets, of one run per seed on the same clips.

    `clips` (clips,) selects clips; those without a score are ignored.
    """
    counts = _draws(len(truth[targets[0].key]))
    seeds, draws = [], []
    for run in runs:
        known = scored(targets, [run]) & clips
        pairs = [
            ((t.compress(truth[t.key]) if is_mos else truth[t.key])[known], t.compress(run[t.key])[known])
            for t in targets
        ]
        seeds.append(np.mean([np.corrcoef(y, x)[0, 1] for y, x in pairs]))
        draws.append(np.mean([weighted_lcc(counts[:, known], y, x) for y, x in pairs], axis=0))
    return Resampled(np.array(seeds), np.mean(draws, axis=0))


def scored(targets: Sequence[Target], runs: Sequence[Mapping[str, Array]]) -> NDArray[np.bool_]:
    """Return which clips have scores of all targets in every run, (clips,)."""
    return np.asarray(~np.isnan([run[t.key] for run in runs for t in targets]).any(axis=0))


def weighted_lcc(counts: Array, y: Array, x: Array) -> Array:
    """Compute Pearson correlations (draws,); `counts` (draws, clips) is how often each clip was drawn."""
    y, x = y - y.mean(), x - x.mean()
    total = counts.sum(axis=1)
    my, mx, myy, mxx, myx = (counts @ term / total for term in (y, x, y * y, x * x, y * x))
    lcc: Array = (myx - my * mx) / np.sqrt(np.maximum((myy - my**2) * (mxx - mx**2), 1e-30))
    return lcc


def interval(figure: Resampled) -> Interval:
    """Return mean and interval of one method."""
    mean, half, _ = _spread(figure.by_seed, figure.by_draw)
    return Interval(mean, mean - half, mean + half)


def difference(one: Resampled, other: Resampled) -> Difference:
    """Return `one` minus `other` with its interval.

    Both have the same clips and the same seeds in the same order, or one of them has a single run.
    """
    mean, half, p = _spread(one.by_seed - other.by_seed, one.by_draw - other.by_draw)
    return Difference(mean, mean - half, mean + half, p)


def _spread(seeds: Array, draws: Array) -> tuple[float, float, float]:
    """Return mean, half the interval, and the two-sided p of no difference."""
    mean = float(np.mean(seeds))
    of_seeds = float(np.var(seeds, ddof=1)) / len(seeds) if len(seeds) > 1 else 0.0
    of_clips = float(np.var(draws, ddof=1))
    total = of_seeds + of_clips
    if total == 0:
        return mean, 0.0, float("nan")
    terms = of_clips**2 / (len(draws) - 1) + (of_seeds**2 / (len(seeds) - 1) if len(seeds) > 1 else 0.0)
    freedom, error = total**2 / terms, float(np.sqrt(total))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return mean, half, float(2 * stats.t.sf(abs(mean) / error, freedom))


def _draws(clips: int) -> Array:
    """Return (RESAMPLES, clips): the same draws for every method, so that differences are paired."""
    rng = np.random.default_rng([SEED, clips])
    return rng.multinomial(clips, np.full(clips, 1 / clips), size=RESAMPLES).astype(np.float64)
