"""Fit the labeller's curves to rated P.835 reference conditions: `python -m research.labeller fit`.

calibrate   what clean talkers look like at each MNRU Q        -> equivalent Q
fit_curves  (Q, SNR) of the rated conditions -> S and N, and (S, N) -> G
fit         both, and the error of the ratings of a speaker who was left out
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio import reading, resampling
from mtqnet.corpus.degradations.device import mnru
from mtqnet.errors import CorpusError
from mtqnet.labels.background import background
from mtqnet.labels.speech import NARROW_RATE, Curves, Looks, brought_back, equivalent_q, look, narrowed
from mtqnet.labels.three_signal import general_mos, noise_mos, speech_mos
from research.labeller.rated import CLEAN_Q_DB, Agreement, Rated, agreement, left_out, read_rated

Q_GRID_DB = tuple(float(q) for q in range(-5, round(CLEAN_Q_DB) + 5, 5))
"""dB: where clean talkers are measured."""
MAX_TALKERS = 24
"""Clean clips behind each point of that measurement."""

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """Curves and how well they pass through the ratings, by s, n, g."""

    curves: Curves
    fitted: dict[str, Agreement]
    """With the ratings that they were fitted to"""
    left_out: dict[str, Agreement]
    """With each speaker's ratings, by curves fitted to the other speakers"""
    clips: int
    talkers: int
    """Clean talkers of the calibration"""


def fit(rated_dir: Path, clean_files: Sequence[Path], seed: int = 0) -> Fit:
    """Measure, fit, and return the error. Raises CorpusError for a folder without rated conditions."""
    if not clean_files:
        raise CorpusError("no clean speech to measure PESQ against Q on: give a folder of clean recordings")
    talkers = [reading.read(path).samples[: 6 * resampling.SAMPLE_RATE] for path in clean_files[:MAX_TALKERS]]
    start = calibrate(talkers, seed)
    rated = read_rated(rated_dir, seed)
    measured = measure(rated, start)
    curves = fit_curves(rated, measured, start)
    unseen = np.zeros((3, len(rated.sig)))
    if len(set(rated.talker)) > 1:
        unseen = left_out_scores(rated, measured, start)
    fitted = judge(rated, predict(measured, curves))
    return Fit(curves, fitted, judge(rated, unseen), len(rated.sig), len(talkers))


def calibrate(talkers: Sequence[Samples], seed: int) -> Curves:
    """Mean looks of clean talkers at each Q of the grid, in both bands; the other fields still empty."""
    grid = [[_look_at(talker, q, seed) for talker in talkers] for q in Q_GRID_DB]
    pesq = np.array([np.mean([look.pesq for look in looks]) for looks in grid])
    envelope = np.array([np.mean([look.envelope_db for look in looks]) for looks in grid])
    tiny = 1e-6 * np.arange(len(grid))  # np.interp wants them strictly rising and falling
    rising = np.maximum.accumulate(pesq + tiny)
    falling = np.minimum.accumulate(envelope + tiny[::-1])
    wide = Curves(Q_GRID_DB, tuple(rising.tolist()), tuple(falling.tolist()), (), (), (), ())
    narrow = [
        np.mean([equivalent_q(_narrow_look_at(talker, q, seed), wide) for talker in talkers]) for q in Q_GRID_DB
    ]
    return replace(wide, narrow_q_at_q=tuple(np.maximum.accumulate(np.array(narrow) + tiny).tolist()))


@dataclass(frozen=True)
class Measured:
    """What the labeller measures on clips, (clips,) each, in dB."""

    q_db: Array
    snr_db: Array
    masking_db: Array
    """SNR without the pauses"""

    def of(self, chosen: NDArray[np.bool_]) -> Measured:
        """The chosen clips."""
        return Measured(self.q_db[chosen], self.snr_db[chosen], self.masking_db[chosen])


def measure(rated: Rated, curves: Curves) -> Measured:
    """The labeller's equivalent Q and SNR of rated clips."""
    q = [equivalent_q(look(clip.clean, clip.speech), curves) for clip in rated.heard]
    found = [background(clip.clean, clip.speech, clip.noise) for clip in rated.heard]
    return Measured(np.array(q), np.array([b.snr() for b in found]), np.array([b.snr(0.0) for b in found]))


def fit_curves(rated: Rated, measured: Measured, start: Curves) -> Curves:
    """`start` with the curves of S, N and G through these ratings."""
    return replace(
        start,
        speech=fit_speech(measured.q_db, measured.masking_db, rated.sig),
        noise=fit_noise(measured.q_db, measured.snr_db, rated.bak),
        general=fit_general(rated.sig, rated.bak, rated.ovrl),
    )


def fit_speech(q_db: Array, snr_db: Array, sig: Array) -> tuple[float, ...]:
    """Parameters of `speech_mos` by least squares."""
    start, low, high = [2, 0.8, -2, 18, 9, 4.9], [-2, 0.2, -6, 0, 2, 4.5], [6, 3, 1, 40, 20, 5.0]
    return _least_squares(lambda p: speech_mos(q_db, snr_db, p) - sig, start, low, high)


def fit_noise(q_db: Array, snr_db: Array, bak: Array) -> tuple[float, ...]:
    """Parameters of `noise_mos` by least squares."""
    start, low, high = [-2, 27, 12, 4.9], [-6, 0, 2, 4.5], [0, 50, 25, 5.0]
    return _least_squares(lambda p: noise_mos(q_db, snr_db, p) - bak, start, low, high)


def fit_general(sig: Array, bak: Array, ovrl: Array) -> tuple[float, ...]:
    """G from the listeners' S and N, not from our S and N, whose errors would distort the fit."""
    terms = np.stack([general_mos(sig, bak, unit) for unit in np.eye(6)], axis=1)
    return tuple(np.linalg.lstsq(terms, ovrl, rcond=None)[0].tolist())


def predict(measured: Measured, curves: Curves) -> Array:
    """(3, clips): S, N and G."""
    s = np.clip(speech_mos(measured.q_db, measured.masking_db, curves.speech), 1, 5)
    n = np.clip(noise_mos(measured.q_db, measured.snr_db, curves.noise), 1, 5)
    return np.stack([s, n, np.clip(general_mos(s, n, curves.general), 1, 5)])


def left_out_scores(rated: Rated, measured: Measured, start: Curves) -> Array:
    """(3, clips): S, N and G of each speaker's clips by curves fitted to the other speakers."""

    def others(train: NDArray[np.bool_]) -> Array:
        curves = fit_curves(rated.of(train), measured.of(train), start)
        return predict(measured, curves).T

    return left_out(rated, others).T


def judge(rated: Rated, made: Array) -> dict[str, Agreement]:
    """(3, clips) of S, N and G against the ratings."""
    pairs = zip(("s", "n", "g"), made, (rated.sig, rated.bak, rated.ovrl), strict=True)
    return {key: agreement(rated, scores, heard) for key, scores, heard in pairs}


def write(result: Fit, path: Path, command: str) -> None:
    """Store the curves with the data of their fit."""
    record = {
        "about": "Written by `python -m research.labeller fit`; do not edit.",
        "labels": "3QUEST-style, anchored on public P.835 ratings",
        "command": command,
        "fitted": _rounded(result.fitted),
        "left_one_talker_out": _rounded(result.left_out),
        "clips": result.clips,
        "clean_talkers_for_calibration": result.talkers,
        "curves": {k: [round(x, 6) for x in v] for k, v in asdict(result.curves).items()},
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def _rounded(found: dict[str, Agreement]) -> dict[str, dict[str, float]]:
    return {key: {k: round(v, 3) for k, v in asdict(one).items()} for key, one in found.items()}


def _look_at(clean: Samples, q_db: float, seed: int) -> Looks:
    return look(clean, mnru(clean, q_db, np.random.default_rng([seed, round(q_db) + 1000])))


def _narrow_look_at(clean: Samples, q_db: float, seed: int) -> Looks:
    """The same at 8 kHz, where MNRU has all its noise below 4 kHz."""
    there = resampling.resample(clean, resampling.SAMPLE_RATE, NARROW_RATE)
    damaged = mnru(there, q_db, np.random.default_rng([seed, round(q_db) + 1000]))
    return look(narrowed(clean), brought_back(damaged, len(clean)))


def _least_squares(
    residual: Callable[[Array], Array], start: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[float, ...]:
    from scipy.optimize import least_squares

    found = least_squares(residual, start, bounds=(low, high), max_nfev=20_000)
    return tuple(np.asarray(found.x).tolist())
