"""Fit the labeller's curves to rated P.835 reference conditions: `mtqnet labels fit`.

What it needs is a folder like `p835_csp835_refconditions`: labels.csv with, for each clip, its clean file,
the MNRU Q and the SNR that made it, and the mean votes for SIG, BAK and OVRL. Each condition is made anew
from the clean file, with its two components known, and measured by the labeller's own measures. So whatever
those measures think of a Q of 16 dB, listeners' SIG at 16 dB belongs to it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import CorpusError
from mtqnet.labels.intrusive import pesq_wb
from mtqnet.labels.three_signal import (
    MAX_SNR_DB,
    Curves,
    equivalent_q,
    general_mos,
    heard_snr,
    noise_mos,
    speech_mos,
)
from mtqnet.signal import audio
from mtqnet.signal.level import active_level
from mtqnet.signal.mnru import mnru

Q_GRID_DB = tuple(float(q) for q in range(-5, 55, 5))
"""dB: where mean PESQ of clean talkers is measured."""
MAX_TALKERS = 24
"""Clean clips behind each point of that measurement."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rated:
    """Reference conditions, one clip an entry: nominal and measured, and what listeners said."""

    condition: tuple[str, ...]
    nominal_q_db: Array
    nominal_snr_db: Array
    q_db: Array
    snr_db: Array
    sig: Array
    bak: Array
    ovrl: Array


@dataclass(frozen=True)
class Fit:
    """Curves and how well they pass through the condition means."""

    curves: Curves
    error_mos: dict[str, float]
    """Root mean square over conditions, in MOS, for s, n, g."""
    lcc_clip: dict[str, float]
    clips: int
    talkers: int


def fit(rated_dir: Path, clean_files: Sequence[Path], seed: int = 0) -> Fit:
    """Measure, fit, and tell the error. Raises CorpusError for a folder without rated conditions."""
    if not clean_files:
        raise CorpusError("no clean speech to measure PESQ against Q on: give a folder of clean recordings")
    talkers = [audio.read(path).samples[: 6 * audio.SAMPLE_RATE] for path in clean_files[:MAX_TALKERS]]
    grid = np.array([np.mean([_pesq_at(x, q, seed) for x in talkers]) for q in Q_GRID_DB])
    grid = np.maximum.accumulate(grid + 1e-6 * np.arange(len(grid)))  # np.interp wants it rising
    start = Curves(Q_GRID_DB, tuple(grid.tolist()), (), (), ())
    rated = read_rated(rated_dir, start, seed)
    curves = _fit_curves(rated, start)
    return judge(rated, curves, len(talkers))


def write(result: Fit, path: Path, command: str) -> None:
    """Store the curves with what made them."""
    record = {
        "about": "Written by `mtqnet labels fit`; do not edit.",
        "labels": "3QUEST-style, anchored on public P.835 ratings",
        "command": command,
        "error_mos_per_condition": {k: round(v, 3) for k, v in result.error_mos.items()},
        "lcc_per_clip": {k: round(v, 3) for k, v in result.lcc_clip.items()},
        "clips": result.clips,
        "clean_talkers_for_pesq_at_q": result.talkers,
        "curves": {k: [round(x, 6) for x in v] for k, v in asdict(result.curves).items()},
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def read_rated(folder: Path, curves: Curves, seed: int) -> Rated:
    """labels.csv of a folder of reference conditions -> what was rated and what the labeller measures."""
    table = folder / "labels.csv"
    if not table.exists():
        raise CorpusError(f"{folder} has no labels.csv: give a folder of rated reference conditions")
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    q = np.array([_db(row["mnru_q_db"], Q_GRID_DB[-1]) for row in rows])
    snr = np.array([_db(row["snr_db"], MAX_SNR_DB) for row in rows])
    measured = [
        _measure(folder / row["clean_ref"], q_db, snr_db, curves, seed)
        for row, q_db, snr_db in zip(rows, q, snr, strict=True)
    ]
    votes = {key: np.array([float(row[f"{key}_mos"]) for row in rows]) for key in ("sig", "bak", "ovrl")}
    heard = np.array(measured)
    return Rated(tuple(row["condition"] for row in rows), q, snr, heard[:, 0], heard[:, 1], **votes)


def _db(text: str, clean: float) -> float:
    return clean if text == "clean" else float(text)


def _measure(clean_file: Path, q_db: float, snr_db: float, curves: Curves, seed: int) -> tuple[float, float]:
    """The labeller's (Q, SNR) of a condition made anew from its clean file."""
    clean = audio.read(clean_file).samples
    rng = np.random.default_rng([seed, round(q_db) + 1000, round(snr_db) + 1000])
    speech = clean if q_db >= Q_GRID_DB[-1] else mnru(clean, q_db, rng)
    gain = 10 ** ((active_level(clean) - snr_db) / 20) if snr_db < MAX_SNR_DB else 0.0
    noise = (gain * rng.standard_normal(len(clean))).astype(np.float32)
    return equivalent_q(pesq_wb(clean, speech), curves), heard_snr(clean, speech, noise)


def _pesq_at(clean: NDArray[np.float32], q_db: float, seed: int) -> float:
    return pesq_wb(clean, mnru(clean, q_db, np.random.default_rng([seed, round(q_db) + 1000])))


def _fit_curves(rated: Rated, start: Curves) -> Curves:
    from scipy.optimize import least_squares

    def fitted(shape: object, guess: list[float], low: list[float], high: list[float], y: Array) -> Array:
        def residual(p: Array) -> Array:
            return shape(rated.q_db, rated.snr_db, p) - y  # type: ignore[operator, no-any-return]

        return np.asarray(least_squares(residual, guess, bounds=(low, high), max_nfev=20_000).x)

    speech = fitted(
        speech_mos, [2, 0.8, -2, 18, 9, 4.9], [-2, 0.2, -6, 0, 2, 4.5], [6, 3, 1, 40, 20, 5.0], rated.sig
    )
    noise = fitted(noise_mos, [-2, 27, 12, 4.9], [-6, 0, 2, 4.5], [0, 50, 25, 5.0], rated.bak)
    # G from what listeners said of S and N, not from our S and N: their errors must not bend it.
    terms = np.stack([general_mos(rated.sig, rated.bak, unit) for unit in np.eye(6)], axis=1)
    general = np.linalg.lstsq(terms, rated.ovrl, rcond=None)[0]
    return Curves(
        start.q_db, start.pesq_at_q, tuple(speech.tolist()), tuple(noise.tolist()), tuple(general.tolist())
    )


def judge(rated: Rated, curves: Curves, talkers: int) -> Fit:
    s = np.clip(speech_mos(rated.q_db, rated.snr_db, curves.speech), 1, 5)
    n = np.clip(noise_mos(rated.q_db, rated.snr_db, curves.noise), 1, 5)
    g = np.clip(general_mos(s, n, curves.general), 1, 5)
    error, lcc = {}, {}
    for key, made, heard in (("s", s, rated.sig), ("n", n, rated.bak), ("g", g, rated.ovrl)):
        difference = [
            np.mean((made - heard)[np.array(rated.condition) == c]) for c in sorted(set(rated.condition))
        ]
        error[key] = float(np.sqrt(np.mean(np.square(difference))))
        lcc[key] = float(np.corrcoef(made, heard)[0, 1])
    return Fit(curves, error, lcc, len(s), talkers)
