"""Another microphone: the colour of a training clip's source, drawn anew each time the clip comes.

A talker on a handset, or one who likes the treble turned up, is a source of another colour, not a damaged one.
Held against a reference of the same colour, PESQ, STOI and SDI stay what they are, and P.835 listeners give clean
speech through a handset's filter what they give any clean speech (SIG 4.3 to 4.4 in the rated narrowband
conditions). Where few sources of a corpus are like that, a network hears damage in them. So clips are coloured and
keep their labels: one offset a band on log-mel, which is what a filter does there.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtqnet.audio.features import MEL_HOP, SILENT, mel_matrix
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.audio.responses import handset_db, tone_db
from mtqnet.labels.band import EDGE_HZ, NOTHING_DB
from mtqnet.training.dropout import Rows
from mtqnet.training.masks import masked_mean

HANDSETS = ((True, False), (False, False), (False, True))
"""Modified, receiving (signal/responses.py). The first is the one that lets wideband through"""
WIDE_STRENGTH, NARROW_STRENGTH = 0.6, 1.2
"""Of a handset's dB, at most. More of it on a wideband clip would be a change of band, which is damage."""
SLOPE_DB, RESONANCE_DB, MOST_DB = 4.0, 8.0, 12.0
"""A tone control: tilt in dB an octave about 1 kHz, a resonance in dB, and the sum of both at most"""
LOWEST_EDGE_HZ, HIGHEST_EDGE_HZ, BEYOND_DB = 3200.0, 3900.0, -80.0
"""Where narrowband systems end, and what is left above; the corpus has most at 3.8 kHz and more"""

Levels = NDArray[np.float32]


def coloured(
    logmel: Tensor, samples: Tensor, chance: float, rng: np.random.Generator, rows: Rows | None = None
) -> Tensor:
    """Log-mel (batch, frames, 80) and sample counts (batch,) -> each clip of another colour with this chance.

    `rows` are the clips of a whole batch that these are; the draws are those of the whole.
    """
    clips = len(logmel) if rows is None else rows.size
    wide, narrow = drawn(clips, chance, rng)
    if rows is not None:
        wide, narrow = (levels[rows.places.cpu().numpy()] for levels in (wide, narrow))
    levels = np.where(is_narrow(logmel, samples)[:, None], narrow, wide) / 10
    offset = torch.from_numpy(levels.astype(np.float32))[:, None, :]
    return (logmel + offset).clamp(min=SILENT)


def drawn(clips: int, chance: float, rng: np.random.Generator) -> tuple[Levels, Levels]:
    """dB a band, (clips, 80): if the clip is wideband, and if it is narrowband. 0 where it keeps its colour."""
    hertz = band_hz()
    used, handset, cut = (rng.random(clips) < share for share in (chance, 0.5, 0.5))
    kind, strength = rng.integers(len(HANDSETS), size=clips), rng.random(clips)
    tone = _tones(clips, rng)
    edge = rng.uniform(LOWEST_EDGE_HZ, HIGHEST_EDGE_HZ, clips)
    curves = np.stack([handset_db(hertz, *ends) for ends in HANDSETS])
    wide = np.where(handset[:, None], WIDE_STRENGTH * strength[:, None] * curves[0], tone)
    narrow = np.where(handset[:, None], NARROW_STRENGTH * strength[:, None] * curves[kind], tone)
    narrow = np.where(cut[:, None] & (hertz > edge[:, None]), BEYOND_DB, narrow)
    return (wide * used[:, None]).astype(np.float32), (narrow * used[:, None]).astype(np.float32)


def is_narrow(logmel: Tensor, samples: Tensor) -> NDArray[np.bool_]:
    """(batch,): which clips have nothing above EDGE_HZ, told as labels/band.py tells it of samples."""
    width = torch.from_numpy(1 / mel_matrix().max(axis=0))  # triangles of unit area: mel power is a density
    power = masked_mean(10**logmel, samples // MEL_HOP) * width
    upper = power[:, torch.from_numpy(band_hz() > EDGE_HZ)].sum(dim=1)
    return np.asarray((upper < power.sum(dim=1) * 10 ** (-NOTHING_DB / 10)).numpy())


@lru_cache(maxsize=1)
def band_hz() -> NDArray[np.float64]:
    """(80,): middle frequencies of the mel bands."""
    weights = mel_matrix().astype(np.float64)
    return np.asarray(np.linspace(0, SAMPLE_RATE / 2, len(weights)) @ weights / weights.sum(axis=0))


def _tones(clips: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """dB a band, (clips, 80), of tone controls."""
    slope, resonance = (rng.uniform(-most, most, clips)[:, None] for most in (SLOPE_DB, RESONANCE_DB))
    centre, q = 200 * 30 ** rng.random(clips)[:, None], rng.uniform(0.7, 4, clips)[:, None]
    return tone_db(band_hz(), slope, resonance, centre, q, MOST_DB)
