"""Rated P.835 reference conditions, generated again from their clean files so that both components are known.

What it reads is a folder like `p835_csp835_refconditions`: labels.csv with, for each clip, its speaker, its clean
file, its MNRU Q and SNR, and the mean votes for SIG, BAK and OVRL. Whatever a measure thinks of a
Q of 16 dB, listeners' SIG at 16 dB belongs to it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio import reading
from mtqnet.audio.level import active_level
from mtqnet.corpus.degradations.device import mnru
from mtqnet.errors import CorpusError
from mtqnet.labels.background import MAX_SNR_DB

CLEAN_Q_DB = 50.0
"""dB: where speech is as good as clean, and replaces it"""

NEEDED = {"condition", "clean_ref", "mnru_q_db", "snr_db", "sig_mos", "bak_mos", "ovrl_mos"}
"""Columns of labels.csv; without `speaker` each clean file is a speaker"""

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Heard:
    """(samples,) each, at 16 kHz: the clip that listeners rated, in its parts."""

    clean: Samples
    speech: Samples
    noise: Samples


@dataclass(frozen=True)
class Rated:
    """Reference conditions, one clip an entry: the signals and their ratings. Arrays are (clips,)."""

    condition: tuple[str, ...]
    talker: tuple[str, ...]
    heard: tuple[Heard, ...]
    sig: Array
    bak: Array
    ovrl: Array

    def per_condition(self, values: Array) -> Array:
        """(clips,) -> (conditions,): means, conditions in order of their names."""
        names = np.array(self.condition)
        return np.array([np.mean(values[names == name]) for name in sorted(set(self.condition))])

    def of(self, chosen: NDArray[np.bool_]) -> Rated:
        """The clips at these places, (clips,)."""
        places = np.flatnonzero(chosen)
        condition, talker = (tuple(c[place] for place in places) for c in (self.condition, self.talker))
        heard = tuple(self.heard[place] for place in places)
        return Rated(condition, talker, heard, self.sig[places], self.bak[places], self.ovrl[places])


def read_rated(folder: Path, seed: int) -> Rated:
    """labels.csv of a folder of reference conditions. Raises CorpusError where there is none."""
    table = folder / "labels.csv"
    if not table.exists():
        raise CorpusError(f"{folder} has no labels.csv: give a folder of rated reference conditions")
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if missing := NEEDED - set(rows[0] if rows else ()):
        raise CorpusError(f"{table} has no column {', '.join(sorted(missing))}")
    heard = tuple(
        make(reading.read(folder / row["clean_ref"]).samples, *_levels(row["mnru_q_db"], row["snr_db"]), seed)
        for row in rows
    )
    votes = {key: np.array([float(row[f"{key}_mos"]) for row in rows]) for key in ("sig", "bak", "ovrl")}
    talkers = tuple(row.get("speaker") or row["clean_ref"] for row in rows)
    return Rated(tuple(row["condition"] for row in rows), talkers, heard, **votes)


def make(clean: Samples, q_db: float, snr_db: float, seed: int) -> Heard:
    """A reference condition: MNRU (P.810) on the speech, white noise below its active level (P.56)."""
    rng = np.random.default_rng([seed, round(q_db) + 1000, round(snr_db) + 1000])
    speech = clean if q_db >= CLEAN_Q_DB else mnru(clean, q_db, rng)
    gain = 10 ** ((active_level(clean) - snr_db) / 20) if snr_db < MAX_SNR_DB else 0.0
    return Heard(clean, speech, (gain * rng.standard_normal(len(clean))).astype(np.float32))


def left_out(rated: Rated, predict: Callable[[NDArray[np.bool_]], Array]) -> Array:
    """(clips,) or (clips, scores): predictions of each speaker's clips by `predict(train)`, fitted on the others."""
    talkers = np.array(rated.talker)
    folds = {name: predict(talkers != name) for name in sorted(set(rated.talker))}
    return np.array([folds[name][place] for place, name in enumerate(rated.talker)])


@dataclass(frozen=True)
class Agreement:
    """How near predictions come to ratings."""

    error: float
    """Root mean square over conditions, in MOS, of the mean of all talkers"""
    lcc: float
    """Pearson over conditions"""
    error_per_talker: float
    """The same error for each speaker separately, averaged: contains the standard deviation of the raters"""
    lcc_clip: float
    """Pearson over clips"""


def agreement(rated: Rated, made: Array, heard: Array) -> Agreement:
    """Predictions and ratings, (clips,) each -> their agreement."""
    talkers = np.array(rated.talker)
    single = [_error(rated.of(talkers == t), (made - heard)[talkers == t]) for t in sorted(set(rated.talker))]
    by_condition = np.corrcoef(rated.per_condition(made), rated.per_condition(heard))[0, 1]
    by_clip = np.corrcoef(made, heard)[0, 1]
    return Agreement(_error(rated, made - heard), float(by_condition), float(np.mean(single)), float(by_clip))


def _error(rated: Rated, difference: Array) -> float:
    return float(np.sqrt(np.mean(rated.per_condition(difference) ** 2)))


def _levels(q: str, snr: str) -> tuple[float, float]:
    return (CLEAN_Q_DB if q == "clean" else float(q)), (MAX_SNR_DB if snr == "clean" else float(snr))
