"""S-, N- and G-MOS labels as an ensemble of sources, with weights for each kind of processing.

The sources are the three-signal labeller (labels/three_signal.py) and predictors that were trained on human
ratings: DNSMOS P.835 (SIG, BAK, OVRL), DNSMOS P.808 and Distill-MOS. No source is right everywhere: the labeller
knows the noise exactly but was fitted to few listeners, and the predictors learned from many votes but have no
reference. So each source has a weight for each label and each kind of processing.

    scale     each source is mapped by one straight line per label to the labeller's mean and standard deviation
    weight    r^2 / (1 - r^2), the precision of a source whose agreement is r; normalised over the sources
    r         correlation with human ratings where rated recordings of this kind exist, otherwise the correlation
              with the mean of the sources of other families
    label     weighted mean over the sources that are known, then one line back to that mean and deviation,
              because averaging shrinks the variance

The standard deviation of the sources about the label is the disagreement. A clip with a large disagreement gets a
smaller weight in the loss. The numbers are in ensemble.json, written by research/fit_ensemble.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import CorpusError
from mtqnet.targets import QUEST, named

ENSEMBLE = Path(__file__).with_name("ensemble.json")

NOISE, SUPPRESSION, CODEC = "background noise", "suppression", "codec"
LOSS, ROOM, BAND, MODULATED = "packet loss", "reverberation", "band limitation and clipping", "modulated noise"
KINDS = (NOISE, SUPPRESSION, CODEC, LOSS, ROOM, BAND, MODULATED)
"""Kinds of processing that have weights of their own"""

KIND_OF: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "RecordedNoise", "WhiteNoise", "ColouredNoise", "ModulatedNoise", "Babble", "CompetingTalker",
            "MainsHum", "WindBursts", "Clicks", "NoiseSwing",
        ),
        NOISE,
    ),
    **dict.fromkeys(
        (
            "SpectralGain", "SpectralSubtraction", "LogMmse", "NoiseReduce", "WebRtc", "SpeexDsp", "RnNoise",
            "Nsnet2", "Dtln", "Gtcrn", "DeepFilterNet", "UlUnas", "Hush", "ConvTasNet", "NeuralEnhancer",
        ),
        SUPPRESSION,
    ),
    **dict.fromkeys(
        (
            "Opus", "AmrNb", "G711", "G722", "G726", "G7231", "Mp3", "Aac", "Vorbis", "Sbc", "Mp2", "RealAudio",
            "Nellymoser", "Resynthesis", "AptX", "Wma", "Ac3", "Adpcm", "Dpcm", "AmrWb", "Codec2", "Cvsd", "G729",
            "GsmFr", "Lc3", "Lpc10", "Silk", "Siren", "Speex", "LyraV2", "OpusNeural", "NeuralVocoder",
        ),
        CODEC,
    ),
    **dict.fromkeys(("FrameLoss", "Jitter", "Dropouts"), LOSS),
    **dict.fromkeys(("MeasuredRoom", "DecayRoom", "SimulatedRoom"), ROOM),
    **dict.fromkeys(("BandLimit", "TelephoneBand", "Equaliser", "Clipping", "Overdrive", "Quantisation"), BAND),
    "Mnru": MODULATED,
    **dict.fromkeys(("AutomaticGain", "DcOffset", "Splice", "Playback"), ""),
}  # fmt: skip
"""Step of a recipe -> kind of processing; empty for steps that change the level alone"""

SOURCES: Mapping[str, tuple[str, ...]] = {
    "s_mos": ("s_mos", "dnsmos_sig", "dnsmos_p808", "distillmos"),
    "n_mos": ("n_mos", "dnsmos_bak"),
    "g_mos": ("g_mos", "dnsmos_ovrl", "dnsmos_p808", "distillmos"),
}
"""Label -> its source columns; the first is that of the labeller"""
PREDICTORS = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808", "distillmos")

TOLERANCE_MOS = 0.5
"""MOS: at this disagreement a clip counts half. It is about the confidence interval of a clip with seven votes."""

Array = NDArray[np.float64]
Columns = Mapping[str, Array]
"""Values by source, (clips,) each; NaN where unknown"""


@dataclass(frozen=True)
class Line:
    """y = slope x + offset"""

    slope: float
    offset: float

    def __call__(self, x: Array) -> Array:
        return self.slope * x + self.offset


@dataclass(frozen=True)
class Label:
    """Combination of the sources of one label."""

    lines: Mapping[str, Line]
    """By source: from the scale of the source to the label's"""
    weights: Mapping[str, Mapping[str, float]]
    """By kind and source; of each kind they sum to 1"""
    widen: Line
    """From the weighted mean to the label's scale"""


@dataclass(frozen=True)
class Agreed:
    """One label of all clips, (clips,) each."""

    values: Array
    """1 to 5"""
    disagreement: Array
    """Weighted standard deviation of the sources, in MOS; NaN where fewer than two are known"""


def kinds_of(steps: Iterable[str]) -> tuple[str, ...]:
    """The kinds of processing in a recipe, each once, in the order of KINDS.

    Where a suppressor has changed the background, the kind "background noise" is omitted. Raises CorpusError for
    a step without a kind.
    """
    found = set()
    for step in steps:
        if step not in KIND_OF:
            raise CorpusError(f"the step {step!r} has no kind of processing: add it to KIND_OF in {__name__}")
        found.add(KIND_OF[step])
    if SUPPRESSION in found:
        found.discard(NOISE)
    return tuple(kind for kind in KINDS if kind in found)


def combine(target: str, sources: Columns, kinds: Sequence[tuple[str, ...]], label: Label) -> Agreed:
    """One label of clips whose kinds of processing are known; NaN where no source with a weight is known.

    The weights of a clip are the mean over its kinds, or over all kinds if it has no kind. Sources that are
    unknown (NaN, or absent) are omitted, and the other weights are scaled up.
    """
    keys = [key for key in SOURCES[target] if key in sources]
    values = np.stack([label.lines[key](np.asarray(sources[key], dtype=np.float64)) for key in keys])
    rows = {
        group: [np.mean([label.weights[kind].get(key, 0.0) for kind in group or KINDS]) for key in keys]
        for group in set(kinds)
    }
    weights = np.array([rows[group] for group in kinds]).reshape(len(kinds), len(keys)).T
    known = ~np.isnan(values)
    weights = np.where(known, weights, 0.0)
    total = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = weights / total
        filled = np.where(known, values, 0.0)
        mean = np.sum(weights * filled, axis=0)
        variance = np.sum(weights * (filled - mean) ** 2, axis=0)
    several = (weights > 0).sum(axis=0) >= 2
    made = np.where(total > 0, np.clip(label.widen(mean), 1.0, 5.0), np.nan)
    return Agreed(made, np.where(several, np.sqrt(np.maximum(variance, 0)), np.nan))


def ensemble_labels(sources: Columns, kinds: Sequence[tuple[str, ...]]) -> dict[str, Agreed]:
    """S-, N- and G-MOS of clips by the weights that ship with the package, by target key."""
    fitted = labels()
    return {target.key: combine(target.key, sources, kinds, fitted[target.key]) for target in QUEST}


def loss_weights(disagreement: Array) -> Array:
    """Weight of each clip in the loss of one label, (clips,), with a mean of 1 over the clips.

    1 / (1 + (d / TOLERANCE_MOS)^2): the precision of a label with the disagreement d relative to one without
    disagreement. A clip with an unknown disagreement counts as the average clip.
    """
    weights = 1 / (1 + (np.asarray(disagreement, dtype=np.float64) / TOLERANCE_MOS) ** 2)
    known = ~np.isnan(weights)
    if not known.any():
        return np.ones(len(weights))
    return np.where(known, weights / weights[known].mean(), 1.0)


def precision(agreement: float) -> float:
    """Weight before normalisation of a source whose correlation with the truth is `agreement`."""
    r = min(max(agreement, 0.0), 0.99)
    return r**2 / (1 - r**2)


def line_between(x: Array, y: Array) -> Line:
    """Return the line that standardises x to the mean and standard deviation of y, over the clips that have both."""
    both = ~np.isnan(x) & ~np.isnan(y)
    spread = float(np.std(x[both]))
    slope = float(np.std(y[both])) / spread if spread > 0 else 0.0
    return Line(slope, float(np.mean(y[both]) - slope * np.mean(x[both])))


@lru_cache(maxsize=1)
def labels() -> dict[str, Label]:
    """The fitted labels that ship with the package, by target key."""
    return read(json.loads(ENSEMBLE.read_text(encoding="utf-8"))["labels"])


def read(stored: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> dict[str, Label]:
    """The labels of a record as research/fit_ensemble.py writes it."""
    made = {}
    for target in named([key for key in SOURCES if key in stored]):
        record = stored[target.key]
        lines = {key: Line(**line) for key, line in record["lines"].items()}
        weights = {kind: dict(found) for kind, found in record["weights"].items()}
        made[target.key] = Label(lines, weights, Line(**record["widen"]))  # type: ignore[arg-type]
    return made
