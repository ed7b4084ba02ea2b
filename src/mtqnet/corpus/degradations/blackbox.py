"""Tools that convert samples to samples: codecs, noise suppressors of other packages, neural networks.

Their internals are not known. Their effect on the speech and on the noise is estimated from what went
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
"""Samples, 0.3 s of silence behind a clip: a tool with a delay returns the end of the clip during this silence."""
HEADROOM = 0.98
"""Largest magnitude of the input; louder clips are attenuated before the tool and amplified after it."""


def through(tracks: Tracks, tool: Callable[[Samples], Samples], delay: int) -> Tracks:
    """Return both tracks after a tool that processes the mixture.

    `tool` takes (samples,) at 16 kHz, full scale 1, and returns about as many; `delay` is the delay of its output in
    samples (constant for a tool; pinned by tests). The sum of the two tracks is the output of the tool.
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
    """Return `length` samples of the output of a tool from `delay` on (negative: early), padded with silence."""
    late = processed[delay:] if delay >= 0 else np.pad(processed, (-delay, 0))
    late = late[:length]
    return np.pad(late, (0, length - len(late)))
