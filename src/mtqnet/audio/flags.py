"""Flags as data: the one table from which scores, help, README and docs take their words and thresholds.

A flag says what to keep in mind when reading the scores of a recording. Its level says how much: `ok` (told, and
no reason for doubt), `caution` (read the scores with care) or `refused` (no score). A flag that rests on a number
is raised where a fact of the recording (facts.py) lies beyond its threshold; others where reading failed.

How often each is raised on good, degraded and bad recordings was measured: docs/flags.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mtqnet.audio.facts import Facts
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
"""From the best to the worst"""

MIN_DURATION_S = 0.5
"""Seconds"""
SILENT_DBOV = -70.0
"""dBov, loudest 20 ms"""
SHORT_S = 2.0
"""Seconds"""
LOW_DBOV, HIGH_DBOV = -50.0, -10.0
"""dBov, active level (ITU-T P.56)"""
CLIPPED_SHARE = 0.01
"""Share of samples at the flat top"""
DC = 0.05
"""Of full scale"""
LITTLE_SHARE = 0.2
"""Active time (ITU-T P.56) as a share of what is heard"""
NARROW_SHARE = 0.6
"""Of the highest frequency that the file could hold and the model hears"""
LOW_RATE_HZ = 16_000.0
"""Hz, audio.SAMPLE_RATE: the rate that every score lives at"""
STILL = -0.04
"""log10 of slow over fast change of the spectrum, see character.py"""
LASTING = 0.52
"""Correlation of the spectrum with itself 200 ms later, see character.py"""
CANCEL_DB = -30.0
"""dB, audio.CANCEL_POWER"""


@dataclass(frozen=True)
class Flag:
    """One thing that may be wrong with a recording."""

    key: str
    """What the column `flags` holds."""
    level: Level
    fact: str | None
    """The field of Facts that it rests on; None where the recording could not be read."""
    below: bool
    """Raised below the threshold; else above."""
    threshold: float | None
    unit: str
    says: str
    """One line for help texts and tables."""
    reason: str
    """Why the threshold is where it is."""
    do: str
    """What to do about it."""
    error: type[AudioError] | None = None
    """What refuses the recording, where the level is `refused`."""

    def holds(self, facts: Facts) -> bool:
        """Whether these facts raise it. A fact that is not known (NaN) raises nothing."""
        if self.fact is None:
            return False
        value = getattr(facts, self.fact)
        if isinstance(value, bool):
            return value
        assert self.threshold is not None
        return bool(value < self.threshold if self.below else value > self.threshold)

    @property
    def limit(self) -> str:
        """The threshold for people, such as "below 0.5 s"; nothing where there is none."""
        if self.threshold is None:
            return ""
        unit = "" if self.unit == "1" else f" {self.unit}"
        return f"{'below' if self.below else 'above'} {self.threshold:g}{unit}"


def _refused(
    key: str, error: type[AudioError], says: str, do: str, *, limit: tuple[float, str] | None = None, why: str = ""
) -> Flag:
    threshold, unit = limit or (None, "")
    return Flag(key, "refused", None, True, threshold, unit, says, why or "There is nothing to score.", do, error)


REFUSED: tuple[Flag, ...] = (
    _refused(
        "too_short", TooShortError, "less sound than a score can rest on", "Give more of the recording.",
        limit=(MIN_DURATION_S, "s"),
        why="Less holds no whole word, and no rater of P.835 was ever asked about so little.",
    ),
    _refused(
        "silent", SilentError, "nothing to hear in its loudest 20 ms", "Check the source: muted, unplugged?",
        limit=(SILENT_DBOV, "dBov"),
        why="Speech this faint lies under the noise of any microphone; dither of 16-bit PCM is at about -95 dBov.",
    ),
    _refused("not_finite", NotFiniteError, "samples that are NaN or infinite", "Mend what wrote the recording."),
    _refused("empty", EmptyAudioError, "no samples", "Record or copy it again."),
    _refused("unreadable", UnreadableError, "not audio that libsndfile reads", "Convert it to WAV or FLAC."),
    _refused("missing", MissingFileError, "no such file", "Check the path."),
)  # fmt: skip

RAISED: tuple[Flag, ...] = (
    Flag(
        "short", "caution", "heard_s", True, SHORT_S, "s",
        "little time, without the silence at its ends",
        "The training clips are 3 s and longer, and P.835 rates sentences of about that length.",
        "Take 4 s or more, or the mean over several recordings.",
    ),
    Flag(
        "clipped", "caution", "clipped_share", False, CLIPPED_SHARE, "1",
        "a share of its samples lies at a flat top",
        "Of 250 recordings of speech and noise, 99 % stay below 0.005. With 1 % of their samples cut off, half "
        "show more than 0.01, even where a change of rate made the top ring. A pure tone has a flat top, too.",
        "If the clipping is not what you test: lower the gain and record again.",
    ),
    Flag(
        "low_level", "caution", "active_dbov", True, LOW_DBOV, "dBov",
        "faint while somebody speaks (ITU-T P.56)",
        "24 dB below the -26 dBov at which telephone speech is kept (ITU-T P.830).",
        "If the level is not what you test: raise the gain of the recording.",
    ),
    Flag(
        "high_level", "caution", "active_dbov", False, HIGH_DBOV, "dBov",
        "loud while somebody speaks (ITU-T P.56)",
        "Peaks of speech stand 12 dB and more above it: here they overload, or float samples were never scaled to "
        "full scale 1.",
        "Scale float samples to full scale 1; else lower the gain.",
    ),
    Flag(
        "dc", "caution", "dc", False, DC, "1",
        "a constant offset, in shares of full scale",
        "As strong as speech at its nominal -26 dBov. Nine recordings moved by 0.05 on N-MOS and 0.03 on G-MOS "
        "with it, by 0.16 and 0.09 with 0.2. Of 359 recordings of clean speech, 358 stay below 0.04; one "
        "has 0.26.",
        "Take the mean off, or mend the sound card or converter.",
    ),
    Flag(
        "little_speech", "caution", "active_share", True, LITTLE_SHARE, "1",
        "a small share of the time is active (ITU-T P.56)",
        "In 1,067 recordings of speech, good and bad, the share is 0.26 or more. Frames without speech have a "
        "say in the scores of their window. Behind noise less than 15.9 dB below the speech P.56 hears no pauses.",
        "Cut the pauses out, or score the spoken parts alone.",
    ),
    Flag(
        "narrow_band", "caution", "band_share", True, NARROW_SHARE, "1",
        "sound reaches less far up than the file could hold it (up to 8 kHz)",
        "A telephone call has sound up to 3.5 or 4 kHz: at most half of what a file of 16 kHz or more holds. Of "
        "359 recordings of clean wide-band speech none is below 0.78.",
        "If you expected wide band: look for a telephone, a codec or a low rate on the way. What holds nothing "
        "above 4 kHz is scored as its listeners would, who know nothing wider; PESQ alone misses the rest.",
    ),
    Flag(
        "low_rate", "ok", "source_rate", True, LOW_RATE_HZ, "Hz",
        "the file's own rate leaves out a part of what is scored",
        "Scores are made at 16 kHz. What a lower rate cannot hold is missing, and is heard as missing.",
        "Compare such files with others of the same rate.",
    ),
    Flag(
        "noise_only", "caution", "movement", True, STILL, "1",
        "its spectrum does not change as that of speech does: noise, no speech",
        "log10 of what 100 ms change in the spectrum over what 10 ms change. White noise has -0.18, clean speech "
        "0.3 and more. Of 1,067 recordings of speech, noisy at 0 dB, reverberant, coded and whispered ones among "
        "them, one is below -0.04.",
        "Check that somebody speaks. S-MOS and the estimates say nothing without speech.",
    ),
    Flag(
        "music_only", "caution", "persistence", False, LASTING, "1",
        "its tones last longer than speech keeps its pitch: music, alarm or hum, no speech",
        "Correlation of the fine spectrum with itself 200 ms later: 0 for noise, 0.4 at most for clean speech. Of "
        "1,067 recordings of speech, good and bad, none is above 0.52; of 300 in other noise and rooms, 3 are: "
        "two beside a ship's horn as loud, one in 13 s of reverberation.",
        "Check that somebody speaks. S-MOS and the estimates say nothing without speech.",
    ),
    Flag(
        "channels_cancel", "caution", "channels_cancel", True, CANCEL_DB, "dB",
        "the mean of its channels would cancel: the loudest is scored alone",
        "Independent channels lose 18 dB at most when they are averaged, one silent partner 6 dB. More is a wire "
        "the wrong way round.",
        "Turn the sign of one channel, or give the channel you mean.",
    ),
)  # fmt: skip

FLAGS: tuple[Flag, ...] = (*REFUSED, *RAISED)
BY_KEY: dict[str, Flag] = {flag.key: flag for flag in FLAGS}


def raised(facts: Facts) -> tuple[str, ...]:
    """Keys of the flags that these facts raise, in the order of the table."""
    return tuple(flag.key for flag in RAISED if flag.holds(facts))


def of_error(error: Exception) -> tuple[str, ...]:
    """The key of the flag for what kept a recording from being scored; nothing for what is no fault of its own."""
    return tuple(flag.key for flag in REFUSED if type(error) is flag.error)


def level_of(keys: tuple[str, ...]) -> Level:
    """The worst level among flags. A key that this version does not know counts as caution."""
    levels = [BY_KEY[key].level if key in BY_KEY else "caution" for key in keys]
    return max(levels, key=LEVELS.index, default="ok")


def cells(flag: Flag) -> tuple[str, ...]:
    """A row of the table of flags, in the order of HEADINGS."""
    return flag.key, flag.level, flag.limit, flag.says, flag.reason, flag.do


HEADINGS: tuple[str, ...] = ("flag", "level", "raised", "says", "why there", "what to do")


def markdown() -> str:
    """The table of flags for the docs."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(cells(flag) for flag in FLAGS)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
