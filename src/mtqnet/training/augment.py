"""Augmentation of log-mel features: random level, and the response of a random microphone.

A handset, or a treble control, changes the spectrum of a source without degrading the speech: compared with a
reference of the same spectrum, PESQ, STOI and SDI do not change, and P.835 listeners rate clean speech through a
handset's filter like any clean speech (SIG 4.3 to 4.4 in the rated narrowband conditions). A network whose
training corpus has few such sources predicts too low scores for them. So clips are filtered at random and keep
their labels. On log-mel a filter is one offset per band.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtqnet.audio.features import MEL_HOP, SILENT, mel_matrix
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.device import handset_db, tone_db
from mtqnet.labels.speech import EDGE_HZ, NOTHING_DB
from mtqnet.training.model import masked_mean

HANDSETS = ((True, False), (False, False), (False, True))
"""Arguments of audio.responses.handset_db: modified, receiving. Only the first passes wideband speech"""
WIDE_STRENGTH, NARROW_STRENGTH = 0.6, 1.2
"""Largest fraction of a handset's response in dB. A larger one would limit the band of a wideband clip, which is a
degradation"""
SLOPE_DB, RESONANCE_DB, MOST_DB = 4.0, 8.0, 12.0
"""Tone control: tilt in dB per octave about 1 kHz, resonance in dB, and the largest sum of both"""
LOWEST_EDGE_HZ, HIGHEST_EDGE_HZ, BEYOND_DB = 3200.0, 3900.0, -80.0
"""Upper edge of narrowband systems and the level above it; in most clips of the corpus the edge is above 3.8
kHz"""

Levels = NDArray[np.float32]


def random_level(logmel: Tensor, level_db: float, rng: np.random.Generator) -> Tensor:
    """Change the level of each clip by up to `level_db` dB: log-mel (batch, frames, 80) -> the same shape."""
    offset = torch.from_numpy(rng.uniform(-level_db, level_db, len(logmel)).astype(np.float32) / 10)
    return (logmel + offset[:, None, None]).clamp(min=SILENT)


def random_response(logmel: Tensor, samples: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    """Apply a random microphone response to each clip with this probability.

    Args:
        logmel: (batch, frames, 80)
        samples: Lengths of the clips, (batch,)
        probability: From 0 to 1.
        rng: Source of the random numbers.
    """
    wide, narrow = random_offsets(len(logmel), probability, rng)
    levels = np.where(is_narrow(logmel, samples)[:, None], narrow, wide) / 10
    offset = torch.from_numpy(levels.astype(np.float32))[:, None, :]
    return (logmel + offset).clamp(min=SILENT)


def random_offsets(clips: int, probability: float, rng: np.random.Generator) -> tuple[Levels, Levels]:
    """Draw offsets in dB per band, (clips, 80): for a wideband clip, and for a narrowband clip; 0 if not
    applied."""
    hertz = band_hz()
    used, handset, cut = (rng.random(clips) < chance for chance in (probability, 0.5, 0.5))
    kind, strength = rng.integers(len(HANDSETS), size=clips), rng.random(clips)
    tone = _tone_controls(clips, rng)
    edge = rng.uniform(LOWEST_EDGE_HZ, HIGHEST_EDGE_HZ, clips)
    curves = np.stack([handset_db(hertz, *ends) for ends in HANDSETS])
    wide = np.where(handset[:, None], WIDE_STRENGTH * strength[:, None] * curves[0], tone)
    narrow = np.where(handset[:, None], NARROW_STRENGTH * strength[:, None] * curves[kind], tone)
    narrow = np.where(cut[:, None] & (hertz > edge[:, None]), BEYOND_DB, narrow)
    return (wide * used[:, None]).astype(np.float32), (narrow * used[:, None]).astype(np.float32)


def is_narrow(logmel: Tensor, samples: Tensor) -> NDArray[np.bool_]:
    """(batch,): whether a clip has no power above EDGE_HZ, by the criterion of labels/speech.py."""
    width = torch.from_numpy(1 / mel_matrix().max(axis=0))  # triangles of unit area: mel power is a density
    power = masked_mean(10**logmel, samples // MEL_HOP) * width
    upper = power[:, torch.from_numpy(band_hz() > EDGE_HZ)].sum(dim=1)
    return np.asarray((upper < power.sum(dim=1) * 10 ** (-NOTHING_DB / 10)).numpy())


@lru_cache(maxsize=1)
def band_hz() -> NDArray[np.float64]:
    """(80,): centre frequencies of the mel bands in Hz."""
    weights = mel_matrix().astype(np.float64)
    return np.asarray(np.linspace(0, SAMPLE_RATE / 2, len(weights)) @ weights / weights.sum(axis=0))


def _tone_controls(clips: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw responses of tone controls in dB per band, (clips, 80)."""
    slope, resonance = (rng.uniform(-most, most, clips)[:, None] for most in (SLOPE_DB, RESONANCE_DB))
    centre, q = 200 * 30 ** rng.random(clips)[:, None], rng.uniform(0.7, 4, clips)[:, None]
    return tone_db(band_hz(), slope, resonance, centre, q, MOST_DB)
