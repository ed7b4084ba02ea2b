"""Tools that take samples and give samples: codecs, noise reducers of other packages, neural networks.

Nothing is known of what they do inside. What they did to the speech and to the noise is estimated from what went
in and what came out (labels/components.py), after their delay is taken off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtqnet.corpus.tracks import Tracks
from mtqnet.labels.components import components

Samples = NDArray[np.float32]

TAIL = 4800
"""Samples, 0.3 s of silence behind a clip: a tool that holds samples back gives the clip's end after it."""
HEADROOM = 0.98
"""Largest magnitude that a tool is given; louder clips go through it softer and come back as loud as they were."""


def through(tracks: Tracks, tool: Callable[[Samples], Samples], delay: int) -> Tracks:
    """Both tracks after a tool that hears the mixture.

    `tool` takes (samples,) at 16 kHz, full scale 1, and gives about as many; `delay` is the number of samples by
    which what it gives is late (constant for a tool; tests pin it). The mixture of the result is what it gave.
    """
    mixture = tracks.mixture
    peak = float(np.abs(mixture).max(initial=0.0))
    if peak == 0.0:
        return tracks
    gain = np.float32(min(1.0, HEADROOM / peak))
    given = np.pad(mixture * gain, (0, TAIL))
    processed = fitted(np.asarray(tool(given), dtype=np.float32), delay, len(mixture)) / gain
    speech, noise = components(tracks.speech, mixture, processed)
    return replace(tracks, speech=speech, noise=noise)


def fitted(processed: Samples, delay: int, length: int) -> Samples:
    """`length` samples of what a tool gave, from `delay` on (negative: it came early), silence behind its end."""
    late = processed[delay:] if delay >= 0 else np.pad(processed, (-delay, 0))
    late = late[:length]
    return np.pad(late, (0, length - len(late)))
