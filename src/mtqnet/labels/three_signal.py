"""S-, N- and G-MOS from three signals: clean, unprocessed and processed (the inputs of 3QUEST).

The labels are "3QUEST-style, anchored on public P.835 ratings", never 3QUEST. The way:
  1. S: how far the processed *speech component* is from clean, as an equivalent Q: the level of modulated
     noise (MNRU, ITU-T P.810) of the same degradation; narrowband is compared with narrowband
     (labels/speech.py).
  2. N: the level of the processed *noise component* in the speech pauses and over the whole recording, with the
     recording's own background, as an equivalent SNR: active speech level (P.56) over the A-weighted noise level
     (labels/background.py).
  3. Curves fitted to rated P.835 reference conditions turn (Q, SNR) into S and N, and (S, N) into G.
A simulation knows both components exactly (`label`); for a black box they are estimated from the three signals
(`label_three`, `components`); with clean and processed only, N-MOS is limited (`label_two`).
`label_files` computes all labels of one set of files, as `mtqnet label` does.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio import reading
from mtqnet.audio.features import istft, stft
from mtqnet.audio.level import nominal_gain
from mtqnet.errors import AudioError, LabelError, with_file
from mtqnet.labels.background import background, own_snr, pause_frames
from mtqnet.labels.intrusive import Composite, Objective, composite, objective
from mtqnet.labels.pairing import align, check_delay, check_pair, check_processed
from mtqnet.labels.speech import Curves, curves, q_in_its_band
from mtqnet.targets import G_MOS, N_MOS, S_MOS

Samples = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Quest:
    """The three labels and their reasons."""

    s_mos: float
    n_mos: float
    g_mos: float
    equivalent_q_db: float
    equivalent_snr_db: float
    caution: str = ""
    """Limits of the labels in words; empty if there are none"""


MOST_LEAK_Q_DB = 12.0
"""dB of Q below which modulated noise lowers N no further: listeners rated BAK 3.3 at Q 8, 3.1 at Q 16 (CSP835)"""
LEAST_LIKENESS = 0.05
"""Normalised correlation of clean and unprocessed: at -20 dB SNR it is 0.1, of unlike recordings about 0.01"""
PAUSES_LOUDER_DB = 10.0
"""dB by which the pauses may be louder without a caution: of 64 coded recordings one exceeds it, by 17 dB"""
FAINTEST = 1e-4
"""Largest sample of a clean recording that is not silent; full scale is 1"""
WITHOUT_UNPROCESSED = (
    "without --unprocessed, every difference from the clean speech counts as distortion of the speech, and N-MOS is "
    "the clean recording's own background: suitable for codecs, concealment and rooms, not for noise suppression"
)


def label(clean: Samples, speech: Samples, noise: Samples, fitted: Curves | None = None) -> Quest:
    """Components of the processed signal, known exactly in a simulation -> labels. (samples,) each, aligned.

    Raises LabelError where PESQ of the speech component is not defined.
    """
    fitted = fitted or curves()
    q_db = q_in_its_band(clean, speech, fitted, speech + noise)
    found = background(clean, speech, noise)
    return quest(q_db, found.snr(), fitted, found.snr(0.0))


def label_three(clean: Samples, unprocessed: Samples, processed: Samples, fitted: Curves | None = None) -> Quest:
    """Clean, unprocessed (speech + noise) and processed, (samples,) at 16 kHz -> labels.

    Delay, level and polarity are compensated: each signal may be up to 0.5 s late and have any gain. What
    `unprocessed` contains in addition to the clean speech is noise here, the room's reverberation included. Raises
    LabelError where the clean speech is not found in the unprocessed or the processed signal, where their clocks
    differ by more than 30 ppm, or where PESQ is not defined; `caution` reports smaller changes of the delay.
    """
    clean, unprocessed, processed = (
        signal * np.float32(nominal_gain(signal)) for signal in align(clean, unprocessed, processed)
    )
    if abs(_likeness(clean, unprocessed)) < LEAST_LIKENESS:
        raise LabelError(
            "the unprocessed signal does not contain the clean speech: do the files belong together, "
            "less than 0.5 s apart?"
        )
    unprocessed, processed = (_upright(clean, signal) for signal in (unprocessed, processed))
    cautions = (
        check_processed(clean, unprocessed, processed),
        check_delay(clean, unprocessed, "unprocessed"),
        check_delay(clean, processed, "processed"),
    )
    gain = float(clean.astype(np.float64) @ unprocessed) / float(clean.astype(np.float64) @ clean)
    speech, noise = components(clean * np.float32(gain), unprocessed, processed)
    made = label(clean, speech, noise, fitted)
    return replace(made, caution="; ".join(filter(None, cautions)))


def label_two(clean: Samples, processed: Samples, fitted: Curves | None = None) -> Quest:
    """Clean and processed alone, (samples,) at 16 kHz -> labels of speech without background.

    The unprocessed signal is assumed to be the clean one: every difference is distortion of the speech, and N
    describes how loud the clean recording's own background is. For codecs, concealment and rooms that is as good as
    three signals. If the pauses are PAUSES_LOUDER_DB louder, `caution` describes the limits of the labels.
    Raises LabelError as `label_three`.
    """
    fitted = fitted or curves()
    clean, processed = align(clean, processed)
    processed = _upright(clean, processed)
    check_pair(clean, processed, "processed")
    drifted = check_delay(clean, processed, "processed")
    pauses = pause_frames(clean)
    before, after = own_snr(clean, pauses), own_snr(processed, pauses)
    unseen = (
        f"the pauses are {before - after:.0f} dB louder than in the clean speech. Without the unprocessed signal "
        "background cannot be distinguished from distortion: it lowers S-MOS, and N-MOS does not include it"
    )
    cautions = (drifted, unseen if before - after > PAUSES_LOUDER_DB else "")
    made = quest(q_in_its_band(clean, processed, fitted), before, fitted)
    return replace(made, caution="; ".join(filter(None, cautions)))


def _upright(clean: Samples, signal: Samples) -> Samples:
    """The signal, or its negative if that is what the clean speech came out as."""
    return -signal if _likeness(clean, signal) < 0 else signal


def _likeness(one: Samples, other: Samples) -> float:
    """Normalised correlation, -1 to 1; 0 with silence."""
    x, y = one.astype(np.float64), other.astype(np.float64)
    return float(x @ y / np.sqrt(max(float((x @ x) * (y @ y)), 1e-30)))


def quest(q_db: float, snr_db: float, fitted: Curves, masking_db: float | None = None) -> Quest:
    """Equivalent Q and SNR in dB -> labels within their ranges.

    `masking_db` is the SNR without the pauses, for S-MOS; None if it is the same.
    """
    masking = np.array(snr_db if masking_db is None else masking_db)
    s = float(speech_mos(np.array(q_db), masking, fitted.speech))
    n = float(noise_mos(np.array(q_db), np.array(snr_db), fitted.noise))
    s, n = S_MOS.clip(s), N_MOS.clip(n)
    g = G_MOS.clip(float(general_mos(np.array(s), np.array(n), fitted.general)))
    return Quest(s, n, g, q_db, snr_db)


def speech_mos(q_db: Array, snr_db: Array, p: tuple[float, ...] | Array) -> Array:
    """S-MOS: a logistic curve over an effective Q.

    Noise does two things to distorted speech: it hides some of the distortion (k, a), and it is itself taken
    for a little damage (c). Effective distortion = D / (1 + k M^a) + c M, with D = 10^(-Q/10) and
    M = 10^(-SNR/10).
    p = (log10 k, a, log10 c, middle in dB, width in dB, top).
    """
    log_k, a, log_c, middle, width, top = p
    distortion, masker = 10 ** (-q_db / 10), 10 ** (-snr_db / 10)
    effective = distortion / (1 + 10**log_k * masker**a) + 10**log_c * masker
    return _logistic(-10 * np.log10(effective), middle, width, top)


def noise_mos(q_db: Array, snr_db: Array, p: tuple[float, ...] | Array) -> Array:
    """N-MOS: a logistic curve over the SNR, in which modulated noise counts a little as background (c).

    No more of it than at MOST_LEAK_Q_DB. p = (log10 c, middle in dB, width in dB, top).
    """
    log_c, middle, width, top = p
    heard = 10 ** (-snr_db / 10) + 10**log_c * 10 ** (-np.maximum(q_db, MOST_LEAK_Q_DB) / 10)
    return _logistic(-10 * np.log10(heard), middle, width, top)


def general_mos(s: Array, n: Array, p: tuple[float, ...] | Array) -> Array:
    """G-MOS: quadratic in S and N, the form of EG 202 396-3, with coefficients of our own."""
    terms = np.stack([np.ones_like(s), s, n, s * n, s * s, n * n])
    return np.tensordot(np.asarray(p), terms, axes=1)


def _logistic(x: Array, middle: float, width: float, top: float) -> Array:
    return 1 + (top - 1) / (1 + np.exp(-(x - middle) / width))


# Estimate of the speech and noise in the output of a codec or suppressor, from its input and output (`components`)

PIECE = (1, 3)
"""Frames of 16 ms and bins of 31 Hz in which each part has one gain. Larger pieces follow musical noise
worse: with three frames S of a known reducer is off by 0.06 MOS on average, with one by 0.04."""
TIE = 0.3
"""Coupling of the two gains, as a fraction of the weaker part's energy: if one part is nearly absent, or both are
alike, their gains cannot be determined separately."""
GAIN_LIMIT = 4.0
"""12 dB: what comes out louder than that is new sound, not amplified input."""
AROUND = (5, 9)
"""Frames and bins over which it is decided which part is the stronger: 80 ms by 280 Hz, as far as one masks the
other."""
TINY = 1e-12
"""Power of a bin (full scale is 1) below which it is empty."""


def components(speech: Samples, unprocessed: Samples, processed: Samples) -> tuple[Samples, Samples]:
    """(speech, noise) of `processed`: two arrays of (samples,) whose sum is `processed`.

    `speech` is the speech in `unprocessed`; all three are aligned (samples,) at 16 kHz. Frames of 32 ms.
    Raises LabelError for unlike lengths.

    A codec or a noise suppressor processes the mixture, so its effect on each part is not known exactly. Both parts
    of its input are known: in each small piece of time and frequency the output is a gain times the speech plus a gain
    times the noise ("shadow filtering"). What neither explains (coding noise, new sound, changed phases) is assigned
    to the part that is stronger around it.
    """
    if not len(speech) == len(unprocessed) == len(processed):
        raise LabelError("clean, unprocessed and processed must be aligned and equally long")
    s, n, p = stft(speech), stft(unprocessed - speech), stft(processed)
    gain_s, gain_n = _gains(s, n, p)
    unexplained = p - gain_s * s - gain_n * n
    power_s, power_n = _mean(np.abs(s) ** 2, AROUND), _mean((gain_n * np.abs(n)) ** 2, AROUND)
    share = (power_s + TINY) / (power_s + power_n + TINY)
    out = istft(gain_s * s + share * unexplained, len(speech))
    return out, (processed - out).astype(np.float32)


def _gains(
    s: NDArray[np.complexfloating], n: NDArray[np.complexfloating], p: NDArray[np.complexfloating]
) -> tuple[Array, Array]:
    """(frames, bins) real gains a, b of speech and noise: least squares of |p - a s - b n|^2 over each PIECE."""
    ss, nn = _mean(np.abs(s) ** 2, PIECE), _mean(np.abs(n) ** 2, PIECE)
    sn = _mean((s * np.conj(n)).real, PIECE)
    ps, pn = _mean((p * np.conj(s)).real, PIECE), _mean((p * np.conj(n)).real, PIECE)
    tie = TIE * np.minimum(ss, nn)
    ss, nn, sn = ss + tie + TINY**2, nn + tie + TINY**2, sn - tie
    determinant = np.maximum(ss * nn - sn**2, TINY**4)
    a, b = (nn * ps - sn * pn) / determinant, (ss * pn - sn * ps) / determinant
    return np.clip(a, 0, GAIN_LIMIT), np.clip(b, 0, GAIN_LIMIT)


def _mean(values: Array, window: tuple[int, int]) -> Array:
    """Over frames and bins. No running sum: behind loud speech its rounding would be louder than a pause."""
    from scipy.ndimage import correlate1d

    over_frames, over_bins = (np.full(width, 1 / width) for width in window)
    by_frame = correlate1d(values, over_frames, axis=0, mode="nearest")
    return np.asarray(correlate1d(by_frame, over_bins, axis=1, mode="nearest"))


@dataclass(frozen=True)
class LabelledSet:
    """All labels of one set."""

    quest: Quest
    objective: Objective
    """Processed against clean"""
    composite: Composite
    """Likewise, with wideband PESQ"""
    cautions: tuple[str, ...]
    """What the labels cannot represent"""

    def record(self) -> dict[str, float | list[str]]:
        """All numbers flat, by name."""
        numbers = asdict(self.quest) | asdict(self.objective) | asdict(self.composite)
        del numbers["caution"]
        return {name: round(float(value), 4) for name, value in numbers.items()} | {
            "cautions": list(self.cautions)
        }


def label_files(clean: Path, unprocessed: Path | None, processed: Path) -> LabelledSet:
    """Read, align and label a set; files of any rate, each up to 0.5 s late and of any level.

    Raises AudioError for a file that cannot be read, LabelError for signals that have no label.
    """
    files = [path for path in (clean, unprocessed, processed) if path is not None]
    recordings = []
    for path in files:
        try:
            recordings.append(reading.read(path))
        except AudioError as error:
            raise with_file(error, path) from error
    reference, *between, heard = (one.samples for one in recordings)
    if np.abs(reference).max(initial=0.0) < FAINTEST:
        raise LabelError(
            f"{clean}: the clean recording is silent; name the recording of the clean speech (--clean)"
        )
    quest = label_three(reference, between[0], heard) if between else label_two(reference, heard)
    cautions = [f"{path}: {one.problem}" for path, one in zip(files, recordings, strict=True) if one.problem]
    cautions += [] if between else [WITHOUT_UNPROCESSED]
    cautions += [quest.caution] if quest.caution else []
    begun, given = align(reference, heard)
    measures = objective(begun, given)
    return LabelledSet(quest, measures, composite(begun, given, measures.pesq), tuple(cautions))
