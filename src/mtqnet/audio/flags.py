"""Flags of a recording: the one table that scores, help texts and documentation use.

A flag states what to consider when interpreting the scores of a recording. Its level is `ok` (for information
only), `caution` (interpret the scores with care) or `refused` (the recording was not scored). A flag of the first
two levels is raised when a measurement of the recording exceeds its threshold; a flag of the last when reading
failed.

docs/flags.md reports how often each flag is raised on good, degraded and unusable recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mtqnet.errors import (
    AudioError,
    EmptyAudioError,
    MissingFileError,
    NotFiniteError,
    SilentError,
    TooShortError,
    UnreadableError,
)

Level = Literal["ok", "caution", "refused"]
LEVELS: tuple[Level, ...] = ("ok", "caution", "refused")
"""Ordered from the best to the worst"""

MIN_DURATION_S = 0.5
"""Seconds of sound that a score needs"""
SILENT_DBOV = -70.0
"""dBov, level of the loudest 20 ms"""
SHORT_S = 2.0
"""Seconds"""
LOW_DBOV, HIGH_DBOV = -50.0, -10.0
"""dBov, active level (ITU-T P.56)"""
CLIPPED_FRACTION = 0.01
"""Fraction of the samples that are at a flat ceiling"""
DC_OFFSET = 0.05
"""Fraction of full scale"""
LITTLE_SPEECH_FRACTION = 0.2
"""Active time (ITU-T P.56) as a fraction of the duration"""
NARROW_BAND_FRACTION = 0.6
"""Fraction of the highest frequency that the file can contain, at most 8 kHz"""
LOW_RATE_HZ = 16_000.0
"""Hz, resampling.SAMPLE_RATE: the sample rate at which scores are computed"""
NOISE_CHANGE = -0.04
"""log10 of slow over fast change of the spectrum, see detection.py"""
MUSIC_PERSISTENCE = 0.52
"""Correlation of the spectrum with itself 200 ms later, see detection.py"""
CANCEL_DB = -30.0
"""dB, reading.CANCEL_POWER"""
CHANNEL_CORRELATION = 0.95
"""Correlation of a channel with the mean of all channels"""


@dataclass(frozen=True)
class Measurements:
    """Measured by analysis.Analyser."""

    duration_s: float
    """Duration in seconds"""
    peak: float
    """Largest magnitude; full scale is 1."""
    loudest_dbov: float
    """Level of the loudest 20 ms in dBov"""
    active_dbov: float
    """Active speech level in dBov, ITU-T P.56"""
    clipped_fraction: float
    """Fraction of all samples that are at a flat ceiling, 0 to 1"""
    trimmed_s: float
    """Duration in seconds without the silence at the ends"""
    active_fraction: float
    """Active time (ITU-T P.56) as a fraction of `trimmed_s`, 0 to 1"""
    dc_offset: float
    """Magnitude of the mean of all samples; full scale is 1."""
    bandwidth_fraction: float
    """Highest frequency with sound, as a fraction of half the sample rate (at most 8 kHz); see detection.py. NaN
    for recordings that are too short."""
    spectral_change: float
    """Slow over fast change of the spectrum, log10; see detection.py. NaN for recordings that are too short."""
    tonal_persistence: float
    """Correlation of the fine spectrum with itself 200 ms later; see detection.py. NaN as above."""
    source_rate: float
    """Sample rate of the file in Hz"""
    channels_cancel: bool
    """Whether the mean of the channels would cancel"""
    channel_correlation: float = 1.0
    """Smallest correlation of an audible channel with the mean of the channels; 1 for mono"""
    truncated: bool = False
    """Whether header and content of the file disagree"""


@dataclass(frozen=True)
class Flag:
    """One problem that a recording may have."""

    key: str
    """Value in the column `flags`"""
    level: Level
    measurement: str | None
    """Field of Measurements that is compared with the threshold; None where the recording could not be read."""
    below: bool
    """Whether the flag is raised below the threshold; otherwise above it."""
    threshold: float | None
    unit: str
    summary: str
    """One line for help texts and tables"""
    reason: str
    """Justification of the threshold"""
    advice: str
    """What the user can do"""
    error: type[AudioError] | None = None
    """Error that is raised for the recording, where the level is `refused`"""

    def applies(self, measurements: Measurements) -> bool:
        """Return whether the measurements raise the flag. An unknown measurement (NaN) raises none."""
        if self.measurement is None:
            return False
        value = getattr(measurements, self.measurement)
        if isinstance(value, bool):
            return value
        assert self.threshold is not None
        return bool(value < self.threshold if self.below else value > self.threshold)

    @property
    def limit(self) -> str:
        """The threshold as text, such as "below 0.5 s"; empty where there is none."""
        if self.threshold is None:
            return ""
        unit = "" if self.unit == "1" else f" {self.unit}"
        return f"{'below' if self.below else 'above'} {self.threshold:g}{unit}"


def _refused(
    key: str, error: type[AudioError], summary: str, advice: str,
    threshold: float | None = None, unit: str = "", reason: str = "There is nothing to score.",
) -> Flag:  # fmt: skip
    return Flag(key, "refused", None, True, threshold, unit, summary, reason, advice, error)


REFUSED: tuple[Flag, ...] = (
    _refused(
        "too_short", TooShortError, "too little sound for a score", "Record more.",
        MIN_DURATION_S, "s",
        "Shorter recordings contain no complete word, and P.835 ratings exist for sentences only.",
    ),
    _refused(
        "silent", SilentError, "silence", "Check the source: is it muted or disconnected?",
        SILENT_DBOV, "dBov",
        "Speech at this level is below the noise of any microphone; the dither of 16-bit PCM is at about "
        "-95 dBov.",
    ),
    _refused(
        "not_finite", NotFiniteError, "samples that are NaN or infinite",
        "Correct the program that wrote the recording.",
    ),
    _refused("empty", EmptyAudioError, "no samples", "Record or copy it again."),
    _refused(
        "unreadable", UnreadableError, "not a readable audio file",
        "Convert it to WAV or FLAC, or install the extra `[formats]`.",
    ),
    _refused("missing", MissingFileError, "no such file", "Check the path."),
)  # fmt: skip

RAISED: tuple[Flag, ...] = (
    Flag(
        "short", "caution", "trimmed_s", True, SHORT_S, "s",
        "short recording, without the silence at its ends",
        "Training clips are 3 s or longer, and P.835 rates sentences of about that length.",
        "Use 4 s or more, or the mean over several recordings.",
    ),
    Flag(
        "clipped", "caution", "clipped_fraction", False, CLIPPED_FRACTION, "1",
        "amplitude clipping: samples at a flat ceiling",
        "In 250 recordings of speech and noise, 99 % are below 0.005. Of recordings with 1 % of their "
        "samples clipped, half are above 0.01, also after resampling. A pure tone has a flat ceiling, too.",
        "If clipping is not what you test, lower the gain and record again.",
    ),
    Flag(
        "low_level", "caution", "active_dbov", True, LOW_DBOV, "dBov",
        "low active speech level (ITU-T P.56)",
        "24 dB below the nominal -26 dBov of telephone speech (ITU-T P.830).",
        "If the level is not what you test, raise the gain of the recording.",
    ),
    Flag(
        "high_level", "caution", "active_dbov", False, HIGH_DBOV, "dBov",
        "high active speech level (ITU-T P.56)",
        "Peaks of speech are at least 12 dB above the active level, so they are clipped, or float samples were not "
        "scaled to full scale 1.",
        "Scale float samples to full scale 1; otherwise lower the gain.",
    ),
    Flag(
        "dc", "caution", "dc_offset", False, DC_OFFSET, "1",
        "constant offset (DC), as a fraction of full scale",
        "An offset of 0.05 has the level of speech at its nominal -26 dBov. In nine recordings it changed N-MOS by "
        "0.05 and G-MOS by 0.03; an offset of 0.2 changed them by 0.16 and 0.09. Of 359 recordings of clean speech, "
        "358 are below 0.04; one has 0.26.",
        "Remove the mean, or check the sound card or converter.",
    ),
    Flag(
        "little_speech", "caution", "active_fraction", True, LITTLE_SPEECH_FRACTION, "1",
        "only a small part of the recording is active (ITU-T P.56)",
        "In 1,067 recordings of speech, clean and degraded, the fraction is 0.26 or more. Frames without speech "
        "contribute to the scores of their window. P.56 detects no pauses if the noise is less than 15.9 dB below the "
        "speech.",
        "Cut the pauses, or score the spoken parts only.",
    ),
    Flag(
        "narrow_band", "caution", "bandwidth_fraction", True, NARROW_BAND_FRACTION, "1",
        "the bandwidth is smaller than the sample rate allows (up to 8 kHz)",
        "A telephone call reaches 3.5 or 4 kHz, at most half of what a file at 16 kHz or more can contain. Of 359 "
        "recordings of clean wide-band speech, none is below 0.78.",
        "If you expected wide band, look for a telephone, a codec or a low sample rate in the chain. Speech that "
        "ends at 4 kHz is scored as in a listening test with narrowband speech only: the missing band does not lower "
        "S-MOS and G-MOS, but it lowers the estimate of PESQ.",
    ),
    Flag(
        "low_rate", "ok", "source_rate", True, LOW_RATE_HZ, "Hz",
        "the sample rate of the file is below that of the scores",
        "Scores are computed at 16 kHz; the file contains no frequencies above half its own rate.",
        "Compare such files with files of the same rate.",
    ),
    Flag(
        "noise_only", "caution", "spectral_change", True, NOISE_CHANGE, "1",
        "probably noise without speech: the spectrum does not change as that of speech does",
        "Measured is the change of the spectrum within 100 ms, divided by that within 10 ms, as log10. White noise "
        "has -0.18, clean speech 0.3 or more. Of 1,067 recordings of speech, including noisy (0 dB SNR), "
        "reverberant, coded and whispered speech, one is below -0.04.",
        "Check that somebody speaks. S-MOS and the estimates have no meaning without speech.",
    ),
    Flag(
        "music_only", "caution", "tonal_persistence", False, MUSIC_PERSISTENCE, "1",
        "probably music, an alarm or hum without speech: tones last longer than in speech",
        "Measured is the correlation of the fine structure of the spectrum with that 200 ms later: 0 for noise, at "
        "most 0.4 for clean speech. Of 1,067 recordings of speech, clean and degraded, none is above 0.52. Of 300 with "
        "other noise and rooms, three are: two with a ship's horn at the level of the speech, one with 13 s of "
        "reverberation. At least 4 s of sound are needed: in shorter excerpts a synthetic voice reaches 0.64.",
        "Check that somebody speaks. S-MOS and the estimates have no meaning without speech.",
    ),
    Flag(
        "channels_cancel", "caution", "channels_cancel", True, CANCEL_DB, "dB",
        "the mean of the channels would cancel; only the loudest channel is scored",
        "The mean of independent channels (up to 64) is at most 18 dB below one channel, the mean of a signal and a "
        "silent channel 6 dB. A larger loss means that one channel is inverted.",
        "Invert one channel, or select the channel to score.",
    ),
    Flag(
        "channels_differ", "caution", "channel_correlation", True, CHANNEL_CORRELATION, "1",
        "the channels differ; their mean is scored",
        "Measured is the smallest correlation of a channel with the mean of the channels. In 15 pairs of speakers "
        "it is 1.00 for equal channels (also coded, panned, or with noise at 20 dB SNR), 0.98 with noise at 10 dB, "
        "about 0.7 with one party per channel, and 0.44 to 0.81 for microphones 1 ms apart. G-MOS of the mean of "
        "two simultaneous parties is up to 1.6 below that of the worse channel, that of such microphones up to 0.9.",
        "Score every channel by itself: `--channels each`.",
    ),
    Flag(
        "truncated", "caution", "truncated", True, None, "",
        "the file is incomplete or damaged: its header and its content disagree",
        "Found by comparing the sizes, durations and page numbers in the file with what it contains. The scores "
        "are those of the part that could be decoded.",
        "Copy, upload or record the file again.",
    ),
)  # fmt: skip

FLAGS: tuple[Flag, ...] = (*REFUSED, *RAISED)
BY_KEY: dict[str, Flag] = {flag.key: flag for flag in FLAGS}


def raised(measurements: Measurements) -> tuple[str, ...]:
    """Return the keys of the flags that the measurements raise, in the order of the table."""
    return tuple(flag.key for flag in RAISED if flag.applies(measurements))


def of_error(error: Exception) -> tuple[str, ...]:
    """Return the flag of an error that prevented scoring; empty for errors unrelated to the recording."""
    return tuple(flag.key for flag in REFUSED if flag.error is not None and isinstance(error, flag.error))


def level_of(keys: tuple[str, ...]) -> Level:
    """Return the worst level among flags. A key that this version does not know counts as caution."""
    levels = [BY_KEY[key].level if key in BY_KEY else "caution" for key in keys]
    return max(levels, key=LEVELS.index, default="ok")


def markdown() -> str:
    """Return the table of flags for the documentation."""
    headings = ("flag", "level", "raised", "meaning", "reason for the threshold", "what to do")
    cells = ((flag.key, flag.level, flag.limit, flag.summary, flag.reason, flag.advice) for flag in FLAGS)
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, ("---",) * len(headings), *cells))
