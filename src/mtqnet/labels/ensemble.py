"""S-, N- and G-MOS labels as an ensemble of sources, with weights for each kind of processing.

The sources are the three-signal labeller (labels/three_signal.py) and predictors that were trained on human
ratings: DNSMOS P.835 (SIG, BAK, OVRL), DNSMOS P.808 and Distill-MOS. No source is right everywhere: the labeller
knows the noise exactly but was fitted to few listeners, and the predictors learned from many votes but have no
reference. So each source has a weight for each label and each kind of processing.

    line      each source is mapped to the scale of the label by a straight line for each kind: by least squares on
              ratings where MOS ratings of this kind exist, otherwise to the labeller's mean and deviation
    weight    r^2 / (1 - r^2), the precision of a source whose agreement is r; normalised over the sources. r is the
              correlation with ratings where rated recordings of this kind exist, otherwise the correlation with the
              mean of the sources of other families. Where ratings exist, the weights are then moved to the labeller
              until the ensemble is not worse than the labeller on talkers that were left out
    after a suppressor, where no ratings are public, the weights are those with the best agreement with all
              predictors of the same quality
    label     weighted mean over the sources that are known, and over the kinds of the clip

The standard deviation of the sources about the label is the disagreement. A clip with a large disagreement gets a
smaller weight in the loss. The numbers are in ensemble.json, written by research/fit_ensemble.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import CorpusError
from mtqnet.targets import QUEST, named

ENSEMBLE = Path(__file__).with_name("ensemble.json")

NOISE, SUPPRESSION, CODEC = "background noise", "suppression", "codec"
LOSS, ROOM, BAND, MODULATED = "packet loss", "reverberation", "band limitation and clipping", "modulated noise"
VOCODER = "neural codec or vocoder"
KINDS = (NOISE, SUPPRESSION, CODEC, VOCODER, LOSS, ROOM, BAND, MODULATED)
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
GENERATED = frozenset({"LyraV2", "NeuralVocoder", "Resynthesis"})
"""Steps that `kinds_of` counts as VOCODER instead of CODEC: the decoder makes a new waveform"""

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
class Mix:
    """Combination of the sources of one label for one kind of processing."""

    lines: Mapping[str, Line]
    """By source: from the scale of the source to the label's"""
    weights: Mapping[str, float]
    """By source; they sum to 1"""


Label = Mapping[str, Mix]
"""Combination of the sources of one label, by kind of processing"""


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
        found.add(VOCODER if step in GENERATED else KIND_OF[step])
    if SUPPRESSION in found:
        found.discard(NOISE)
    return tuple(kind for kind in KINDS if kind in found)


def combine(target: str, sources: Columns, kinds: Sequence[tuple[str, ...]], label: Label) -> Agreed:
    """One label of clips whose kinds of processing are known; NaN where no source with a weight is known.

    The label of a clip is the mean over its kinds, or that of NOISE if it has no kind, as clean speech is among the
    rated conditions of NOISE. Sources that are unknown (NaN, or absent) are omitted, and the other weights are scaled
    up; the labeller alone stays as it is.
    """
    keys = [key for key in SOURCES[target] if key in sources]
    raw = np.stack([np.asarray(sources[key], dtype=np.float64) for key in keys])
    alone = np.array([~np.isnan(raw[i]) if key == target else np.isnan(raw[i]) for i, key in enumerate(keys)])
    made, deviation = np.full(raw.shape[1], np.nan), np.full(raw.shape[1], np.nan)
    for group in set(kinds):
        at = np.flatnonzero([of_clip == group for of_clip in kinds])
        mixes = [label[kind] for kind in group or (NOISE,)]
        values = np.concatenate(
            [[mix.lines[key](x[at]) for key, x in zip(keys, raw, strict=True)] for mix in mixes]
        )
        weights = np.concatenate([[mix.weights.get(key, 0.0) for key in keys] for mix in mixes])
        made[at], deviation[at] = _mean_and_deviation(values, weights)
        several = (
            np.array([~np.isnan(x[at]) for x in raw]) & (weights.reshape(len(mixes), -1).sum(axis=0) > 0)[:, None]
        )
        deviation[at] = np.where(several.sum(axis=0) >= 2, deviation[at], np.nan)
    if target in keys:
        only = alone.all(axis=0)
        made[only] = raw[keys.index(target)][only]
    return Agreed(np.clip(made, 1.0, 5.0), deviation)


def _mean_and_deviation(values: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean and standard deviation over the known of (sources, clips); NaN where none has a weight."""
    weights = np.where(np.isnan(values), 0.0, weights[:, None])
    total = weights.sum(axis=0)
    filled = np.nan_to_num(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = weights / total
        mean = np.sum(weights * filled, axis=0)
        variance = np.sum(weights * (filled - mean) ** 2, axis=0)
    mean[total == 0] = np.nan
    return mean, np.sqrt(np.maximum(variance, 0))


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


@lru_cache(maxsize=1)
def labels() -> dict[str, Label]:
    """The fitted labels that ship with the package, by target key."""
    return read(json.loads(ENSEMBLE.read_text(encoding="utf-8"))["labels"])


def read(stored: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Label]:
    """The labels of a record as research/fit_ensemble.py writes it."""
    return {
        target.key: {kind: _mix(record) for kind, record in stored[target.key].items()}
        for target in named([key for key in SOURCES if key in stored])
    }


def _mix(record: Mapping[str, Any]) -> Mix:
    return Mix({key: Line(**line) for key, line in record["lines"].items()}, dict(record["weights"]))
