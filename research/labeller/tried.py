"""Measures that were tried for the labeller, compared with ratings: what `python -m research.labeller compare` writes
down.

Each measure of the speech component is turned into an equivalent Q by what clean talkers get at each MNRU Q, as
the labeller does it, and then has to do two things:
  - S-MOS of rated reference conditions (CSP835), each speaker by curves fitted to the others;
  - the order of neural codecs in a MUSHRA test, from clean and coded speech alone.
Each measure of the background has to do N-MOS of the same reference conditions.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio import reading
from mtqnet.audio.level import a_weighted_power, active_level, rms_level, to_db
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.device import mnru
from mtqnet.errors import CorpusError, MissingExtraError
from mtqnet.labels.background import MAX_SNR_DB, background, equivalent_snr, own_snr, pause_frames
from mtqnet.labels.intrusive import pesq_wb, stoi
from mtqnet.labels.pairing import align
from mtqnet.labels.speech import PESQ_WEIGHT, Curves, Looks, coherence, curves, envelope_distance, equivalent_q
from mtqnet.labels.three_signal import label_three, label_two, noise_mos, quest, speech_mos
from research.labeller import fit
from research.labeller.rated import Agreement, Heard, Rated, agreement, left_out

Samples = NDArray[np.float32]
Array = NDArray[np.float64]
Measures = Mapping[str, float]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RatedCodec:
    """A coded recording, its ratings, and the labels that are computed from two signals."""

    condition: str
    mushra: float
    """0 to 100"""
    clean: Samples
    coded: Samples
    background_db: float
    """Equivalent SNR"""
    g_mos: float


@dataclass(frozen=True)
class Triples:
    """Labels of clean / noisy / enhanced triples by the labeller, (sentences, 3) each: S, N and G."""

    clean: Array
    noisy: Array
    """The noisy recordings, as if nothing had been done to them"""
    enhanced: Array

    def ordered(self) -> tuple[int, int, int]:
        """Sentences with clean > enhanced > noisy, by S, N and G."""
        s, n, g = ((self.clean > self.enhanced) & (self.enhanced > self.noisy)).sum(axis=0).tolist()
        return s, n, g


@dataclass(frozen=True)
class Row:
    """One measure and how it did."""

    name: str
    ratings: Agreement
    codecs: tuple[float, float] | None
    """Spearman's rank correlation of G with MUSHRA, per condition and per clip; None for the background"""


def rate_codecs(folder: Path) -> list[RatedCodec]:
    """labels.csv of a MUSHRA set (file, clean_ref, condition, mushra_mean). Raises CorpusError without one."""
    table = folder / "labels.csv"
    if not table.exists():
        raise CorpusError(f"{folder} has no labels.csv: give a folder of coded speech rated by MUSHRA")
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rated = []
    for row in rows:
        clean, coded = (reading.read(folder / row[name]).samples for name in ("clean_ref", "file"))
        clean, coded = align(clean, coded)
        made = label_two(clean, coded)
        heard = float(row["mushra_mean"])
        rated.append(RatedCodec(row["condition"], heard, clean, coded, made.equivalent_snr_db, made.g_mos))
    return rated


def rate_triples(folder: Path) -> Triples:
    """Folders clean/ and noisy/ and one more, with the same file names. Raises CorpusError without them."""
    others = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in ("clean", "noisy"))
    names = sorted(path.name for path in (folder / "clean").glob("*.flac"))
    if not others or not names:
        raise CorpusError(f"{folder} needs clean/, noisy/ and a folder of enhanced recordings")
    parts = (folder / "clean", folder / "noisy", others[0])
    scores: dict[str, list[tuple[float, float, float]]] = {"clean": [], "noisy": [], "enhanced": []}
    for name in names:
        clean, given, made = (reading.read(part / name).samples for part in parts)
        for kind, before, after in (("clean", clean, clean), ("noisy", given, given), ("enhanced", given, made)):
            quest = label_three(clean, before, after)
            scores[kind].append((quest.s_mos, quest.n_mos, quest.g_mos))
    return Triples(*(np.array(found) for found in scores.values()))


def codec_ranks(rated: Sequence[RatedCodec], g: Array) -> tuple[float, float]:
    """Spearman's rank correlation of G, (clips,), with MUSHRA: over conditions, over clips."""
    from scipy.stats import spearmanr

    names = np.array([clip.condition for clip in rated])
    heard = np.array([clip.mushra for clip in rated])
    conditions = sorted(set(names.tolist()))
    made, rating = (np.array([np.mean(values[names == c]) for c in conditions]) for values in (g, heard))
    return float(spearmanr(made, rating).statistic), float(spearmanr(g, heard).statistic)


def speech_measures(clean: Samples, speech: Samples) -> dict[str, float]:
    """Everything that was tried on a speech component; more is better in each."""
    level = np.float32(10 ** ((active_level(clean) - active_level(speech)) / 20))
    return {
        "PESQ": pesq_wb(clean, speech),
        "STOI": stoi(clean, speech),
        "ESTOI": _estoi(clean, speech),
        "ViSQOL, lattice": _visqol(clean, speech * level),
        "envelope": -envelope_distance(clean, speech),
        "envelope, missing energy in full": -envelope_distance(clean, speech, 1.0),
        "kept": coherence(clean, speech),
    }


MIXES: Mapping[str, Mapping[str, float]] = {
    "PESQ + ViSQOL": {"PESQ": 0.5, "ViSQOL, lattice": 0.5},
    "PESQ + ESTOI": {"PESQ": 0.5, "ESTOI": 0.5},
    "PESQ + envelope": {"PESQ": PESQ_WEIGHT, "envelope": 1 - PESQ_WEIGHT},
    "PESQ + envelope, missing energy in full": {
        "PESQ": PESQ_WEIGHT,
        "envelope, missing energy in full": 1 - PESQ_WEIGHT,
    },
    "ESTOI + envelope": {"ESTOI": 0.5, "envelope": 0.5},
}
"""Weighted means of equivalent Q"""
CHOSEN = "PESQ + envelope, PESQ only if the waveform is preserved (chosen)"


def compare(
    rated: Rated, codecs: Sequence[RatedCodec], talkers: Sequence[Samples], progress: Progress | None = None
) -> list[Row]:
    """All measures of the speech component, then all of the background. Raises MissingExtraError."""
    pairs = [(clip.clean, clip.speech) for clip in rated.heard] + [(c.clean, c.coded) for c in codecs]
    for q_db in fit.Q_GRID_DB:
        pairs += [(x, mnru(x, q_db, np.random.default_rng([0, round(q_db) + 1000]))) for x in talkers]
    found: list[Measures] = []
    for pair in pairs:
        found.append(speech_measures(*pair))
        if progress:
            progress(len(found), len(pairs))
    first, second = len(rated.heard), len(rated.heard) + len(codecs)
    scales = _scales(found[second:], len(talkers))
    by_measure = _equivalent(found[:second], scales)
    rows = [_speech_row(name, rated, codecs, q[:first], q[first:]) for name, q in by_measure.items()]
    return rows + [
        _noise_row(name, rated, by_measure[CHOSEN][:first], level) for name, level in BACKGROUND.items()
    ]


def _scales(found: Sequence[Measures], talkers: int) -> dict[str, Array]:
    """Mean of each measure at each Q of the grid."""
    grid = [found[i : i + talkers] for i in range(0, len(found), talkers)]
    names = [name for name in found[0] if name != "kept"]
    return {name: np.array([np.mean([one[name] for one in at_q]) for at_q in grid]) for name in names}


def _equivalent(found: Sequence[Measures], scales: Mapping[str, Array]) -> dict[str, Array]:
    """(clips,) equivalent Q in dB by each measure and each mix."""
    q: dict[str, Array] = {}
    for name, scale in scales.items():
        rising = np.maximum.accumulate(scale + 1e-6 * np.arange(len(scale)))
        q[name] = np.interp([one[name] for one in found], rising, fit.Q_GRID_DB)
    mixed = {name: np.sum([w * q[part] for part, w in parts.items()], axis=0) for name, parts in MIXES.items()}
    looks = [Looks(one["PESQ"], -one["envelope"], one["kept"]) for one in found]
    return q | mixed | {CHOSEN: np.array([equivalent_q(look, curves()) for look in looks])}


def _speech_row(name: str, rated: Rated, codecs: Sequence[RatedCodec], q_db: Array, coded_q_db: Array) -> Row:
    snr_db = np.array([background(clip.clean, clip.speech, clip.noise).snr(0.0) for clip in rated.heard])

    def others(train: NDArray[np.bool_]) -> Array:
        return speech_mos(q_db, snr_db, fit.fit_speech(q_db[train], snr_db[train], rated.sig[train]))

    fitted = Curves(**{**vars(curves()), "speech": fit.fit_speech(q_db, snr_db, rated.sig)})
    pairs = zip(coded_q_db, codecs, strict=True)
    g = np.array([quest(float(q), clip.background_db, fitted).g_mos for q, clip in pairs])
    made = np.clip(left_out(rated, others), 1, 5)
    return Row(name, agreement(rated, made, rated.sig), codec_ranks(codecs, g))


BACKGROUND: Mapping[str, Callable[[Heard], float]] = {
    "level": lambda c: active_level(c.speech) - rms_level(c.noise),
    "A-weighted level": lambda c: active_level(c.speech) - to_db(a_weighted_power(c.noise)),
    "loudness in the pauses (Stevens, 0.3)": lambda c: _loudness_ratio(c),
    "A-weighted level in the pauses": lambda c: own_snr(c.speech + c.noise, pause_frames(c.clean)),
    "A-weighted level, without noise that the speech masks": lambda c: equivalent_snr(c.speech, c.noise),
    "the same, including the background of the clean recording": lambda c: background(
        c.clean, c.speech, c.noise
    ).snr(0.0),
    "the same, and the level in the pauses (chosen)": lambda c: background(c.clean, c.speech, c.noise).snr(),
    "the level in the pauses alone": lambda c: background(c.clean, c.speech, c.noise).snr(1.0),
}


def _noise_row(name: str, rated: Rated, q_db: Array, level: Callable[[Heard], float]) -> Row:
    snr_db = np.minimum([level(clip) for clip in rated.heard], MAX_SNR_DB)

    def others(train: NDArray[np.bool_]) -> Array:
        return noise_mos(q_db, snr_db, fit.fit_noise(q_db[train], snr_db[train], rated.bak[train]))

    return Row(name, agreement(rated, np.clip(left_out(rated, others), 1, 5), rated.bak), None)


def _loudness_ratio(clip: Heard) -> float:
    """20 log10 of the loudness of speech over that of the pauses: mel power to the 0.3 (Stevens), summed."""
    from mtqnet.audio.features import log_mel

    quiet = np.quantile(log_mel(clip.clean).mean(axis=1), 0.06)
    loudness = np.sum(10 ** (0.3 * log_mel(clip.speech + clip.noise).astype(np.float64)), axis=1)
    pauses = log_mel(clip.clean).mean(axis=1) <= quiet
    return 20 * float(np.log10(np.mean(loudness[~pauses]) / np.median(loudness[pauses])))


def _estoi(clean: Samples, speech: Samples) -> float:
    import pystoi

    return float(pystoi.stoi(clean, speech, SAMPLE_RATE, extended=True))


def _visqol(clean: Samples, speech: Samples) -> float:
    return float(
        _visqol_model().measure_from_arrays(clean.astype(float), speech.astype(float), SAMPLE_RATE).moslqo
    )


@lru_cache(maxsize=1)
def _visqol_model() -> Any:
    try:
        from visqol import VisqolApi

        model = VisqolApi()
        model.create(mode="speech", use_lattice_model=True)
    except ImportError as error:
        raise MissingExtraError("ViSQOL is needed: pip install 'visqol-python[lattice]'") from error
    return model
