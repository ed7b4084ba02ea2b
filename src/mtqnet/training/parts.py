"""Labels of parts of a clip: which degradations it has, and where.

A clip has at most one part whose processing differs from the rest: a splice of the corpus
(corpus/degradations/network.py), or a piece of another clip that `with_pieces` inserts during training (partial
mix-up). Frame scores and causes are trained on the labels of the part inside it, and on those of the clip outside.

The causes of a clip follow from its recipe. A degradation whose strength is near the limit of audibility is neither
present nor absent (NaN) and has no influence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtqnet.audio.features import MEL_HOP
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.causes import CAUSE_KEYS
from mtqnet.labels.ensemble import CODEC, KIND_OF, LOSS, NOISE, ROOM, SUPPRESSION

NARROWBAND = frozenset({"AmrNb", "G711", "GsmFr", "G729", "G7231", "G726", "Codec2", "Lpc10", "Nellymoser"})
"""Codecs that remove everything above 4 kHz"""
UNCLEAR_BAND = frozenset(
    (
        "Equaliser", "Opus", "OpusNeural", "Speex", "Silk", "Mp3", "Mp2", "Aac", "Vorbis", "RealAudio", "Cvsd",
        "Adpcm", "Dpcm", "Wma", "Siren", "TelephoneBand", "Sbc", "Ac3", "Lc3", "G722", "AptX",
    )
)  # fmt: skip
"""Steps that limit the band or not, depending on their parameters"""
AUDIBLE_SNR_DB, INAUDIBLE_SNR_DB = 30.0, 40.0
"""Equivalent SNR of the clip below which its noise is a cause, and above which it is none"""
EVENTS = ("packet_loss",)
"""Causes that are short events: where they are present, the frames in which they occur are not known"""
SHORTEST_S, LONGEST_S = 0.6, 4.0
"""Length of the piece that `with_pieces` inserts"""
FRAME_ROWS = 8
"""Rows of log-mel, 80 ms: the piece begins and ends at multiples of it"""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parts:
    """Causes of clips, and the part of each that differs from the rest."""

    span_s: Array
    """(clips, 2): begin and end of the part in seconds; both 0 without one"""
    outside: Array
    """(clips, causes): 1 present, 0 absent, NaN unknown"""
    inside: Array
    """The same for the part; equal to `outside` without one"""

    def take(self, indices: NDArray[np.int64]) -> Parts:
        """Return those of the clips at these indices."""
        return Parts(self.span_s[indices], self.outside[indices], self.inside[indices])


@dataclass(frozen=True)
class PartLabels:
    """Labels of the frames of a batch."""

    span_s: Tensor
    """(batch, 2)"""
    outside: Tensor
    """(batch, targets): labels on the training scale; NaN where unknown"""
    inside: Tensor
    causes_outside: Tensor
    """(batch, causes)"""
    causes_inside: Tensor
    padded_s: float
    """Duration of the padded batch in seconds"""

    def within(self, frames: int) -> Tensor:
        """(batch, frames): whether the centre of a frame is in the part."""
        centre = (torch.arange(frames, device=self.span_s.device) + 0.5) * (self.padded_s / frames)
        return (centre >= self.span_s[:, :1]) & (centre < self.span_s[:, 1:])

    def to(self, device: torch.device) -> PartLabels:
        """Return these labels on another device."""
        span_s, outside, inside = (part.to(device) for part in (self.span_s, self.outside, self.inside))
        causes_outside, causes_inside = self.causes_outside.to(device), self.causes_inside.to(device)
        return PartLabels(span_s, outside, inside, causes_outside, causes_inside, self.padded_s)


def of_rows(rows: Sequence[Mapping[str, Any]]) -> Parts:
    """Read spans and causes from the recipes of a corpus' rows."""
    spans, outside, inside = [], [], []
    for row in rows:
        steps = json.loads(row["recipe"])["steps"]
        splice = next((step for step in steps if step["step"] == "Splice"), None)
        snr_db = float("nan") if row["equivalent_snr_db"] is None else float(row["equivalent_snr_db"])
        whole = [step["step"] for step in steps if step["step"] != "Splice"]
        if splice is None:
            spans.append((0.0, 0.0))
            outside.append(causes_of(whole, snr_db))
            inside.append(outside[-1])
            continue
        both = [*whole, *(step["step"] for step in splice["steps"])]
        spans.append((splice["start_s"], splice["end_s"]))
        bad, good = causes_of(both, float("nan")), causes_of(whole, float("nan"))
        outside.append(good if splice["kind"] == "degraded" else bad)
        inside.append(bad if splice["kind"] == "degraded" else good)
    return Parts(np.array(spans).reshape(-1, 2), np.array(outside), np.array(inside))


def causes_of(steps: Iterable[str], snr_db: float) -> list[float]:
    """Return 1, 0 or NaN for each cause.

    Args:
        steps: Kinds of processing.
        snr_db: Equivalent SNR of the result; NaN if unknown, then noise that was added counts as present.
    """
    steps = set(steps)
    kinds = {KIND_OF[step] for step in steps}
    added = NOISE in kinds
    noise = float(added) if not added or np.isnan(snr_db) or snr_db < AUDIBLE_SNR_DB else float("nan")
    if added and snr_db > INAUDIBLE_SNR_DB:
        noise = 0.0
    band = 1.0 if steps & (NARROWBAND | {"BandLimit"}) else float("nan") if steps & UNCLEAR_BAND else 0.0
    found = {
        "noise": noise,
        "reverberation": float(ROOM in kinds),
        "clipping": float(bool(steps & {"Clipping", "Overdrive"})),
        "band_limitation": band,
        "coding": float(CODEC in kinds),
        "packet_loss": float(LOSS in kinds),
        "suppression": float(SUPPRESSION in kinds),
    }
    return [found[key] for key in CAUSE_KEYS]


def with_pieces(
    views: Mapping[str, Tensor], samples: Tensor, labels: Tensor, parts: PartLabels, probability: float,
    rng: np.random.Generator,
) -> tuple[dict[str, Tensor], Tensor, PartLabels]:  # fmt: skip
    """Replace a piece of some clips by a piece of another clip of the batch, at the same level.

    Args:
        views: `logmel` (batch, rows, 80), and further views with one row per 80 ms.
        samples: Lengths of the clips, (batch,).
        labels: (batch, targets)
        parts: Labels of the frames.
        probability: Fraction of the clips that get a piece. Clips with a splice do not.
        rng: Source of the random numbers.

    Returns:
        The views, the labels of the whole clips (NaN for a clip with a piece) and the labels of the frames.
    """
    batch = len(samples)
    frames = (samples // (MEL_HOP * FRAME_ROWS)).tolist()
    level = _level(views["logmel"], samples)
    plain = (parts.span_s[:, 1] == 0).tolist()
    new = {name: view.clone() for name, view in views.items()}
    labels, spans = labels.clone(), parts.span_s.clone()
    inside, causes = parts.inside.clone(), parts.causes_inside.clone()
    second = FRAME_ROWS * MEL_HOP / SAMPLE_RATE
    for host, donor in enumerate(rng.permutation(batch).tolist()):
        use, part, place, source = rng.random(4)
        most = min(round(LONGEST_S / second), int(0.7 * frames[host]), frames[donor])
        least = round(SHORTEST_S / second)
        if use > probability or host == donor or not (plain[host] and plain[donor]) or most <= least:
            continue
        length = least + int(part * (most - least))
        to, at = int(place * (frames[host] - length)), int(source * (frames[donor] - length))
        for name, view in views.items():
            rows = FRAME_ROWS if name == "logmel" else 1
            piece = view[donor, at * rows : (at + length) * rows]
            new[name][host, to * rows : (to + length) * rows] = (
                piece + (level[host] - level[donor]) if name == "logmel" else piece
            )
        spans[host] = torch.tensor([to * second, (to + length) * second])
        inside[host], causes[host] = parts.outside[donor], parts.causes_outside[donor]
        labels[host] = torch.nan
    return new, labels, replace(parts, span_s=spans, inside=inside, causes_inside=causes)


def _level(logmel: Tensor, samples: Tensor) -> Tensor:
    """Level of each clip as log10 of its mean power over bands and rows, (batch,)."""
    mask = torch.arange(logmel.shape[1])[None, :] < (samples // MEL_HOP)[:, None]
    power = (10**logmel).mean(dim=2) * mask
    return torch.log10(power.sum(dim=1) / mask.sum(dim=1) + 1e-10)
