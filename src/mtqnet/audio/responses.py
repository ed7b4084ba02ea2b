"""Frequency responses of devices, in dB: telephone handsets and tone controls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = float | NDArray[np.float64]

TILT_HZ = 1000.0
"""Hz. Frequency at which the slope of a tone control is 0 dB"""

# fmt: off
HANDSET_CURVES = (
    (100, -42.1, -40.1, -28.1), (125, -32.4, -31.4, -21.0), (160, -21.9, -23.4, -13.5),
    (200, -15.5, -15.3, -9.6), (250, -10.6, -9.9, -6.6), (315, -7.1, -5.4, -4.6),
    (400, -4.7, -2.7, -3.3), (500, -3.2, -1.3, -2.6), (630, -2.4, -0.7, -2.2),
    (800, -1.2, -0.3, -1.2), (1000, 0.0, 0.0, 0.0), (1250, 1.4, 0.0, 1.4),
    (1600, 3.1, 0.4, 3.2), (2000, 4.0, 0.5, 3.6), (2500, 5.5, 0.5, 5.0),
    (3150, 5.5, 0.0, 5.8), (3500, -3.6, -8.7, 3.4), (4000, -33.5, -44.2, 0.2),
    (5000, -48.5, -67.5, -5.3), (6300, -69.9, -80.1, -20.0), (8000, -86.3, -90.0, -36.4),
)
# fmt: on
"""Hz, and dB relative to 1 kHz of three responses. Sending and receiving end of the intermediate reference system,
after the nominal values of ITU-T P.48 (1988); the modified sending end, without the filter of the old local line,
after ITU-T P.830 (1996), Annex D: the response of the filter in ITU-T G.191 for it at 16 kHz."""


def handset_db(hertz: NDArray[np.float64], modified: bool, receiving: bool) -> NDArray[np.float64]:
    """Interpolate a handset response in dB relative to 1 kHz, linearly over log frequency.

    Sending end of the intermediate reference system, plain or `modified`; with its earpiece if `receiving`.
    """
    points, sending, earpiece, late = np.array(HANDSET_CURVES).T
    curve = (late if modified else sending) + (earpiece if receiving else 0.0)
    return np.asarray(np.interp(np.log2(np.maximum(hertz, 1.0)), np.log2(points), curve))


def tone_db(
    hertz: NDArray[np.float64],
    slope_db: Numbers,
    resonance_db: Numbers,
    centre_hz: Numbers,
    q: Numbers,
    most_db: float,
) -> NDArray[np.float64]:
    """Compute the response of a tone control in dB: tilt about TILT_HZ and a resonance, at most `most_db`.

    `slope_db` is in dB per octave; `q` is the centre frequency of the resonance over its width. Parameters of the
    shape (controls, 1) result in (controls, frequencies).
    """
    detuned = q * (hertz / centre_hz - centre_hz / hertz)
    level = slope_db * np.log2(hertz / TILT_HZ) + resonance_db / (1 + detuned**2)
    return np.asarray(np.clip(level, -most_db, most_db))
