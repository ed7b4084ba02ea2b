"""Align the signals of a set, and check that they belong together before they are labelled.

A label compares signals, so it is meaningless for signals of different recordings, and wrong where the delay
between them is outside the search range or changes within the recording. Two measures tell whether two signals
contain the same speech:

    coherence   of the waveform (labels/speech.py); high for everything that only distorts or adds noise
    similarity  correlation of the band envelopes; high for speech that was resynthesised without its waveform

Signals with a low value of both do not belong together. Clock drift is the slope of the delay that is measured in
segments of half a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.features import MEL_BANDS, MEL_HOP, log_mel
from mtqnet.audio.level import fast_length
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import LabelError
from mtqnet.labels.speech import coherence

MAX_DELAY_S = 0.5
"""Seconds. Longer delays are not searched for: they are other recordings."""
LEAST_COHERENCE = 0.25
"""Coherence above which the waveform of the speech is present. Unrelated speech has at most 0.11."""
LEAST_SIMILARITY = 0.5
"""Correlation of the band envelopes above which two signals contain the same speech. Resynthesised speech has at
least 0.71, another sentence of the same speaker at most 0.41."""
ENVELOPE_BANDS = 16
"""Bands of the envelopes, five mel bands each"""
ENVELOPE_DEPTH_DB = 40.0
"""dB below the loudest frames at which an envelope ends; below it noise and silence are the same."""
LEAST_OVERLAP = 0.4
"""Fraction of the shorter signal that both must share at a delay"""
SURE_SIMILARITY = 0.7
"""Similarity at another delay from which a signal is called late and not foreign"""

SEGMENT = SAMPLE_RATE // 2
"""Samples of a segment in which the delay is measured"""
REACH = SAMPLE_RATE // 50
"""Samples, 20 ms: largest change of the delay that is searched for"""
LOW_HZ = 1000.0
"""Hz: the delay is measured on the signals below"""
LEAST_PEAK = 0.7
"""Normalised correlation of a segment from which its delay is reliable"""
LEAST_SEGMENTS = 6
"""Segments with a reliable delay without which no drift is estimated"""
ON_LINE, LEAST_ON_LINE = 0.5, 0.7
"""Samples from the line within which a segment follows the drift, and the fraction of segments that must do so.
The delay of a codec at a low rate changes by whole pitch periods."""
DRIFT_PPM, MOST_DRIFT_PPM = 12.0, 30.0
"""Clock drift that is reported as a caution, and above which there is no label. 30 ppm are 4 samples in 8 s."""
SIGNIFICANT = 12.0
"""Standard errors from which a drift is reported. Codecs at low rates reach 10, 50 ppm in 3 s with noise 40."""
LEAST_JUMP = 16
"""Samples, 1 ms: smallest change of the delay that is reported where it is no drift"""
LEAST_DRIFT = 0.8
"""Samples between the first and the last segment; smaller changes are within the error of the estimate."""

AUDIBLE_COHERENCE = 0.4
"""Coherence of clean and unprocessed below which noise may hide the speech in the processed signal as well"""

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """Change of the delay between two signals within a recording."""

    ppm: float
    """Slope of the delay; positive where the second signal is too slow (too long)"""
    samples: float
    """Change of the delay over the recording"""
    error: float
    """Standard error of `ppm`"""


def delay(clean: Samples, processed: Samples) -> int:
    """Samples by which `processed` lags `clean` (negative: leads), from the peak of the cross-correlation."""
    size = 1 << int(np.ceil(np.log2(len(clean) + len(processed))))
    spectrum = np.fft.rfft(processed, size) * np.conj(np.fft.rfft(clean, size))
    correlation = np.abs(np.fft.irfft(spectrum, size))
    reach = min(round(MAX_DELAY_S * SAMPLE_RATE), size // 2 - 1)
    lags = np.concatenate([correlation[: reach + 1], correlation[-reach:]])
    best = int(np.argmax(lags))
    return best if best <= reach else best - len(lags)


def align(clean: Samples, *others: Samples) -> tuple[Samples, ...]:
    """Recordings of one utterance -> the stretch that all cover, equally long and without delay; clean first.

    Raises LabelError if no sample remains.
    """
    lags = [0, *(delay(clean, other) for other in others)]
    start = max(-lag for lag in lags)
    cut = [signal[start + lag :] for signal, lag in zip((clean, *others), lags, strict=True)]
    length = min(map(len, cut))
    if length == 0:
        raise LabelError("the recordings do not overlap: are they of one utterance?")
    return tuple(signal[:length] for signal in cut)


def check_pair(clean: Samples, other: Samples, name: str) -> None:
    """Raise LabelError unless `other` contains the clean speech; both aligned, (samples,) at 16 kHz."""
    if belong(clean, other):
        return
    found = best_delay(clean, other)[1]
    if found >= SURE_SIMILARITY:
        raise LabelError(
            f"the {name} signal is more than {MAX_DELAY_S} s late or early, the most that is compensated: trim the "
            "recordings to the same start"
        )
    raise LabelError(
        f"the clean speech was not found in the {name} signal (similarity {max(found, 0.0):.2f}, at least "
        f"{LEAST_SIMILARITY}): the recordings do not belong together, or the speech is not audible in it"
    )


def check_processed(clean: Samples, unprocessed: Samples, processed: Samples) -> str:
    """A caution where noise hides whether the processed signal belongs to the set, or an empty text.

    Aligned (samples,) at 16 kHz. Raises LabelError where it does not belong to the set.
    """
    try:
        check_pair(clean, processed, "processed")
    except LabelError:
        if coherence(clean, unprocessed) >= AUDIBLE_COHERENCE or not belong(unprocessed, processed):
            raise
        return (
            "noise hides the speech in the unprocessed and in the processed signal: it cannot be verified that the "
            "recordings belong together"
        )
    return ""


def check_delay(clean: Samples, other: Samples, name: str) -> str:
    """A caution where the delay between two aligned signals changes a little, or an empty text.

    Raises LabelError for a clock drift of more than MOST_DRIFT_PPM.
    """
    places, lags = segment_delays(clean, other)
    found = drift(places, lags)
    if found is None:
        jump = 1000 * delay_jump(lags) / SAMPLE_RATE
        text = f"the delay of the {name} signal changes by {jump:.0f} ms within the recording, as after a jitter buffer"
        return f"{text}: the labels may be too low" if jump else ""
    if abs(found.ppm) < max(DRIFT_PPM, SIGNIFICANT * found.error) or abs(found.samples) < LEAST_DRIFT:
        return ""
    text = (
        f"the clock of the {name} signal differs from that of the clean speech by {found.ppm:+.0f} ppm "
        f"({abs(found.samples):.1f} samples within the recording)"
    )
    if abs(found.ppm) > MOST_DRIFT_PPM:
        raise LabelError(f"{text}: resample it to the same clock, at most {MOST_DRIFT_PPM:.0f} ppm are accepted")
    return f"{text}: the labels may be too low"


def belong(one: Samples, other: Samples) -> bool:
    """Whether two aligned signals contain the same speech."""
    return coherence(one, other) >= LEAST_COHERENCE or similarity(one, other) >= LEAST_SIMILARITY


def similarity(one: Samples, other: Samples) -> float:
    """Correlation of the band envelopes of two aligned signals, -1 to 1; 0 for silence."""
    x, y = _envelopes(one), _envelopes(other)
    x, y = x[: len(y)], y[: len(x)]
    energy = float(np.sum(x**2)) * float(np.sum(y**2))
    return float(np.sum(x * y)) / np.sqrt(energy) if energy > 0 else 0.0


def best_delay(clean: Samples, other: Samples) -> tuple[float, float]:
    """Seconds by which `other` lags `clean` where their envelopes are most alike, and the similarity there."""
    x, y = _envelopes(clean), _envelopes(other)
    size = 1 << int(np.ceil(np.log2(len(x) + len(y))))
    products = np.fft.irfft(np.fft.rfft(y, size, axis=0) * np.conj(np.fft.rfft(x, size, axis=0)), size, axis=0)
    shared = products.sum(axis=1)
    least = max(1, round(LEAST_OVERLAP * min(len(x), len(y))))
    best = (0, 0.0)
    for lag in range(least - len(x), len(y) - least + 1):
        first, second = x[max(0, -lag) : len(y) - lag], y[max(0, lag) : len(x) + lag]
        energy = float(np.sum(first**2)) * float(np.sum(second**2))
        value = float(shared[lag % size]) / np.sqrt(energy) if energy > 0 else 0.0
        best = max(best, (lag, value), key=lambda entry: entry[1])
    return best[0] * MEL_HOP / SAMPLE_RATE, best[1]


def drift(places: Array, lags: Array) -> Drift | None:
    """Slope of the delays of segments; None where too few of them are reliable or on one line."""
    if len(places) < LEAST_SEGMENTS:
        return None
    first, second = np.triu_indices(len(places), 1)
    slope = float(np.median((lags[second] - lags[first]) / (places[second] - places[first])))  # Theil and Sen
    rest = lags - slope * places
    rest = np.abs(rest - np.median(rest))
    if np.mean(rest <= ON_LINE + abs(slope) * SEGMENT / 4) < LEAST_ON_LINE:
        return None
    error = 1.4826 * float(np.median(rest)) / np.sqrt(np.sum((places - places.mean()) ** 2))
    return Drift(1e6 * slope, slope * float(places[-1] - places[0]), 1e6 * float(error))


def delay_jump(lags: Array) -> float:
    """Samples by which the delay of the last third of the segments differs from that of the first; 0 for none."""
    third = len(lags) // 3
    if third < LEAST_SEGMENTS // 2:
        return 0.0
    first, last = lags[:third], lags[-third:]
    steady = all(np.median(np.abs(part - np.median(part))) <= ON_LINE for part in (first, last))
    jump = float(np.median(last) - np.median(first))
    return jump if steady and abs(jump) >= LEAST_JUMP else 0.0


def segment_delays(clean: Samples, other: Samples) -> tuple[Array, Array]:
    """Centres of energy of the segments with a reliable delay, and their delays, in samples."""
    places, lags = [], []
    first, second = _low_passed(clean), _low_passed(other)
    for start in range(REACH, len(clean) - SEGMENT - REACH + 1, SEGMENT // 2):
        part = first[start : start + SEGMENT]
        around = second[start - REACH : start + SEGMENT + REACH]
        size = 1 << int(np.ceil(np.log2(len(around) + len(part))))
        products = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(part, size)), size)
        products = products[: 2 * REACH + 1]
        sums = np.concatenate([[0.0], np.cumsum(around**2)])
        energy = (sums[SEGMENT:] - sums[: len(sums) - SEGMENT])[: 2 * REACH + 1] * float(part @ part)
        peaks = products / np.sqrt(np.maximum(energy, 1e-20))
        best = int(np.argmax(np.abs(peaks)))
        if abs(peaks[best]) >= LEAST_PEAK and 0 < best < 2 * REACH:
            before, top, after = np.abs(peaks[best - 1 : best + 2])
            bend = before - 2 * top + after
            places.append(start + float(part**2 @ np.arange(SEGMENT)) / float(part @ part))
            lags.append(best - REACH + (0.5 * (before - after) / bend if bend < 0 else 0.0))
    return np.array(places), np.array(lags)


def _low_passed(samples: Samples) -> Array:
    """Below LOW_HZ: the waveform that noise suppressors and codecs at low rates keep best."""
    size = fast_length(len(samples))
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(samples.astype(np.float64), size) / (1 + (hertz / LOW_HZ) ** 8)
    return np.fft.irfft(spectrum, size)[: len(samples)]


def _envelopes(samples: Samples) -> Array:
    """(frames, bands): level of each band in dB above the floor, without its mean over time."""
    levels = 10 * log_mel(samples).astype(np.float64)
    bands = levels.reshape(len(levels), ENVELOPE_BANDS, MEL_BANDS // ENVELOPE_BANDS).mean(axis=2)
    floor = np.quantile(bands, 0.99) - ENVELOPE_DEPTH_DB
    bands = np.maximum(bands, floor)
    return np.asarray(bands - bands.mean(axis=0))
