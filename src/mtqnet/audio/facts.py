"""What can be said of a recording without any model: the numbers that flags.py decides by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """Found by checks.py in a recording that is held, by survey.py in one that comes in blocks."""

    duration_s: float
    peak: float
    """Largest magnitude; full scale is 1."""
    loudest_dbov: float
    """Level of the loudest 20 ms."""
    active_dbov: float
    """Level while somebody speaks, ITU-T P.56."""
    clipped_share: float
    """Share of all samples that lie at a flat top, 0 to 1."""
    heard_s: float
    """Seconds without the silence at the ends, see checks.heard."""
    active_share: float
    """Active time (ITU-T P.56) as a share of `heard_s`, 0 to 1."""
    dc: float
    """Magnitude of the mean of all samples; full scale is 1."""
    band_share: float
    """Highest frequency with sound in it, as a share of the highest that the file could hold and the model hears;
    see character.py. NaN where too little was heard."""
    movement: float
    """Whether the spectrum changes as that of speech does, see character.py. NaN as before."""
    persistence: float
    """Whether tones last as in music, see character.py. NaN as before."""
    source_rate: float
    """Hz"""
    channels_cancel: bool
    """See Recording."""
